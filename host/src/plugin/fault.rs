//! What can go wrong in a call, each with a stable code.

use minicbor::{Decode, Encode};

/// Why a release could not answer. The slot's fallback answers instead; the call is recorded with this fault.
///
/// Limits and figures travel with the fault, so that an operator sees which budget to raise without a debugger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum Fault {
    /// The guest stopped itself: a panic, an unreachable instruction, an access out of bounds.
    #[n(0)]
    #[error("the plugin trapped: {0}")]
    Trap(#[n(0)] String),
    /// The guest used up its instruction budget.
    #[n(1)]
    #[error("the plugin used up its fuel of {0}")]
    OutOfFuel(#[n(0)] u64),
    /// The guest did not answer in time.
    #[n(2)]
    #[error("the plugin did not answer within {0} ms")]
    Deadline(#[n(0)] u32),
    /// The guest asked for more memory or table elements than it may have.
    #[n(3)]
    #[error("the plugin asked for more memory than its {0} bytes")]
    Memory(#[n(0)] u64),
    /// The facts of this call are larger than the release may be sent.
    #[n(4)]
    #[error("the call would pass {bytes} bytes to the plugin, more than its {limit}")]
    InputTooLarge {
        /// What the call would have passed.
        #[n(0)]
        bytes: u64,
        /// What the release may be sent.
        #[n(1)]
        limit: u64,
    },
    /// The guest's answer is larger than it may be.
    #[n(5)]
    #[error("the plugin answered with more than its {0} bytes")]
    OutputTooLarge(#[n(0)] u64),
    /// The answer breaks the contract: a wrong count, an index out of range, an amount that cannot be.
    #[n(6)]
    #[error("the plugin gave an answer that cannot be: {0}")]
    BadAnswer(#[n(0)] String),
    /// The caller's own input does not fit the release.
    #[n(7)]
    #[error("the call does not fit the release: {0}")]
    BadInput(#[n(0)] String),
    /// No sandbox became free in time.
    #[n(8)]
    #[error("no sandbox became free within {0} ms")]
    PoolBusy(#[n(0)] u32),
    /// The release failed so often that it is given a rest.
    #[n(9)]
    #[error("the circuit breaker of the release is open")]
    BreakerOpen,
    /// The slot has no live release.
    #[n(10)]
    #[error("the slot has no live release")]
    NoRelease,
    /// The module could not be started.
    #[n(11)]
    #[error("the plugin could not be started: {0}")]
    Start(#[n(0)] String),
}

impl Fault {
    /// Every code, in the order of [`Fault::ordinal`].
    pub const CODES: [&'static str; 12] = [
        "trap",
        "out-of-fuel",
        "deadline",
        "memory",
        "input-too-large",
        "output-too-large",
        "bad-answer",
        "bad-input",
        "pool-busy",
        "breaker-open",
        "no-release",
        "start",
    ];

    /// Position in [`Fault::CODES`].
    pub const fn ordinal(&self) -> usize {
        match self {
            Self::Trap(_) => 0,
            Self::OutOfFuel(_) => 1,
            Self::Deadline(_) => 2,
            Self::Memory(_) => 3,
            Self::InputTooLarge { .. } => 4,
            Self::OutputTooLarge(_) => 5,
            Self::BadAnswer(_) => 6,
            Self::BadInput(_) => 7,
            Self::PoolBusy(_) => 8,
            Self::BreakerOpen => 9,
            Self::NoRelease => 10,
            Self::Start(_) => 11,
        }
    }

    /// Stable and machine-readable; metrics and decisions carry it.
    pub const fn code(&self) -> &'static str {
        Self::CODES[self.ordinal()]
    }

    /// Whether the plugin is to blame: only these open the circuit breaker and are worth a second try item by item.
    pub const fn is_plugins(&self) -> bool {
        !matches!(
            self,
            Self::InputTooLarge { .. } | Self::BadInput(_) | Self::PoolBusy(_) | Self::BreakerOpen | Self::NoRelease
        )
    }
}

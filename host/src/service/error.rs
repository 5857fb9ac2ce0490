//! Why a use case refused: one enum that knows nothing of HTTP.
//!
//! [`Error::code`] is stable and part of the API; [`Error::nature`] says what sort of refusal it is. Messages name the
//! field or the thing and, where there is one, the fix.

use jiff::Timestamp;

use crate::{
    domain::{
        member::{ExternalId, Revision},
        money::{Money, Overflow, Points},
        order::{OrderState, Quote},
    },
    ids::{CouponId, GiftId, OfferId, OrderId, QuoteId, RedemptionId},
    ledger::LedgerError,
    members::vault::VaultError,
    pricing::{PricingError, refund::RefundError},
    scheduler::{BadSchedule, schedules::ScheduleError},
    store::StoreError,
};

/// One thing wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// JSON pointer into the body, for example `/lines/0/quantity`.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl FieldError {
    /// A field and what is wrong with it.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

/// What sort of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// The request is wrong and will always be.
    Invalid,
    /// The thing does not exist, or the caller may not see it.
    NotFound,
    /// The state of things does not allow it now.
    Conflict,
    /// The caller's copy is stale.
    Stale,
    /// The thing was erased.
    Gone,
    /// The caller asked too often.
    TooMany,
    /// Try again later.
    Unavailable,
    /// A defect or a failing machine.
    Internal,
}

/// Why a use case refused. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request are wrong.
    #[error("{}", list(.0))]
    Invalid(Vec<FieldError>),
    /// No such thing.
    #[error("{what} {id} does not exist")]
    Unknown {
        /// For example `member`.
        what: &'static str,
        /// As asked for.
        id: String,
    },
    /// The external id or code is in use.
    #[error("{what} {name} exists already, as {id}")]
    Taken {
        /// For example `member`.
        what: &'static str,
        /// The external id or code.
        name: ExternalId,
        /// The id of the one that has it.
        id: String,
    },
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used before with another request: use a new key")]
    KeyReused,
    /// If-Match names another revision.
    #[error("the revision is {current}, the request names another: read it again", current = .current.get())]
    Stale {
        /// As stored.
        current: Revision,
    },
    /// The member was erased.
    #[error("the member was erased")]
    Erased,
    /// The member changed since the quote; a fresh quote is enclosed.
    #[error("the member or an offer changed since the quote: a fresh one is enclosed")]
    QuoteChanged(Box<Quote>),
    /// The quote was placed before.
    #[error("quote {quote} was placed before, as order {order}")]
    QuotePlaced {
        /// The quote.
        quote: QuoteId,
        /// The order.
        order: OrderId,
    },
    /// The quote no longer holds its price.
    #[error("quote {quote} expired at {at}: ask for a new one")]
    QuoteExpired {
        /// The quote.
        quote: QuoteId,
        /// When.
        at: Timestamp,
    },
    /// The order is not in a state that allows it.
    #[error("order {order} is {state:?}: it cannot be {verb}")]
    WrongState {
        /// The order.
        order: OrderId,
        /// Its state.
        state: OrderState,
        /// For example `paid`.
        verb: &'static str,
    },
    /// Another amount than the order's payable was paid.
    #[error("the order is {payable}, the payment is {paid}")]
    AmountMismatch {
        /// What is to be paid.
        payable: Money,
        /// What was paid.
        paid: Money,
    },
    /// The coupon is not the member's or not in hand.
    #[error("coupon {coupon} cannot be used: it is {why}")]
    CouponNotUsable {
        /// The coupon.
        coupon: CouponId,
        /// For example `redeemed`.
        why: &'static str,
    },
    /// Not enough points.
    #[error("{asked} points were asked for, {available} are available")]
    NotEnoughPoints {
        /// As asked.
        asked: Points,
        /// What can be spent.
        available: Points,
    },
    /// A line needs a prescription.
    #[error("line {line} is a prescription medicine: name the prescription that covers it")]
    PrescriptionRequired {
        /// Index of the line.
        line: usize,
    },
    /// The prescription does not allow it any more, or not yet.
    #[error("prescription {prescription} cannot be used: {why}")]
    PrescriptionNotUsable {
        /// As it was named.
        prescription: String,
        /// For example `it has expired`.
        why: &'static str,
    },
    /// The prescription allows less.
    #[error("line {line}: the prescription allows {left} more items of it")]
    PrescriptionExceeded {
        /// Index of the line.
        line: usize,
        /// Items left.
        left: u32,
    },
    /// A pharmacist has not decided yet.
    #[error("order {order} waits for the review of its prescription: it cannot be {verb}")]
    UnderReview {
        /// The order.
        order: OrderId,
        /// For example `paid`.
        verb: &'static str,
    },
    /// Not enough stock.
    #[error("line {line}: {left} items are left")]
    OutOfStock {
        /// Index of the line.
        line: usize,
        /// Items left.
        left: i64,
    },
    /// The offer cannot be issued now.
    #[error("offer {offer} cannot be issued: {why}")]
    NotIssuable {
        /// The offer.
        offer: OfferId,
        /// For example `it has ended`.
        why: std::borrow::Cow<'static, str>,
    },
    /// Who defined an offer does not approve it.
    #[error("offer {0} was defined with this key: another one has to approve it")]
    OwnApproval(OfferId),
    /// Somebody has redeemed the code.
    #[error("the code was redeemed before")]
    CodeUsed,
    /// Too many wrong codes were tried.
    #[error("too many wrong codes were tried: wait an hour")]
    TooManyGuesses,
    /// The gift cannot be taken now.
    #[error("gift {gift} cannot be taken: {why}")]
    GiftNotAvailable {
        /// The gift.
        gift: GiftId,
        /// For example `it is paused`.
        why: &'static str,
    },
    /// The gift that was taken is not in a state that allows it.
    #[error("redemption {redemption} cannot be {verb}: {why}")]
    WrongRedemption {
        /// What was taken.
        redemption: RedemptionId,
        /// For example `cancelled`.
        verb: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// Shipped medicine comes back only for quality or fault.
    #[error("shipped medicine is refunded only for quality or fault: line {line}")]
    MedicineNotReturnable {
        /// Index of the line.
        line: u16,
    },
    /// A price cannot be computed.
    #[error(transparent)]
    Pricing(#[from] PricingError),
    /// A refund cannot be computed.
    #[error(transparent)]
    Refund(#[from] RefundError),
    /// A plugin was refused, or cannot take a slot.
    #[error("{0}")]
    Plugin(crate::service::releases::PluginRefusal),
    /// An amount does not fit.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// Personal data cannot be read or written.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A file beside the store cannot be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// A slot cannot answer, and its release is declared to fail closed.
    #[error("slot `{slot}` cannot answer: {why}")]
    NoRule {
        /// The slot.
        slot: String,
        /// Why.
        why: String,
    },
    /// A decision cannot be recorded.
    #[error("the decision cannot be recorded: {0}")]
    Decisions(String),
    /// The ledger refused what should have been possible.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Too much happened to the member at once.
    #[error("the member is being changed by others: try again")]
    Busy,
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Error {
    /// An unknown thing.
    pub fn unknown(what: &'static str, id: impl ToString) -> Self {
        Self::Unknown { what, id: id.to_string() }
    }

    /// One wrong field.
    pub fn field(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(pointer, message)])
    }

    /// Stable, in kebab case: clients branch on it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid-request",
            Self::Unknown { .. } => "not-found",
            Self::Taken { .. } => "already-exists",
            Self::KeyReused => "idempotency-key-reused",
            Self::Stale { .. } => "stale-revision",
            Self::Erased => "member-erased",
            Self::QuoteChanged(_) => "quote-changed",
            Self::QuotePlaced { .. } => "quote-placed",
            Self::QuoteExpired { .. } => "quote-expired",
            Self::WrongState { .. } => "wrong-order-state",
            Self::AmountMismatch { .. } => "amount-mismatch",
            Self::CouponNotUsable { .. } => "coupon-not-usable",
            Self::NotEnoughPoints { .. } => "not-enough-points",
            Self::PrescriptionRequired { .. } => "prescription-required",
            Self::PrescriptionNotUsable { .. } => "prescription-not-usable",
            Self::PrescriptionExceeded { .. } => "prescription-exceeded",
            Self::UnderReview { .. } => "prescription-under-review",
            Self::OutOfStock { .. } => "out-of-stock",
            Self::NotIssuable { .. } => "offer-not-issuable",
            Self::OwnApproval(_) => "own-approval",
            Self::CodeUsed => "code-used",
            Self::TooManyGuesses => "too-many-guesses",
            Self::GiftNotAvailable { .. } => "gift-not-available",
            Self::WrongRedemption { .. } => "wrong-redemption-state",
            Self::MedicineNotReturnable { .. } => "medicine-not-returnable",
            Self::Pricing(PricingError::TooManyPoints { .. }) => "points-above-limit",
            Self::Refund(RefundError::Overflow(_)) | Self::Pricing(PricingError::Overflow(_)) | Self::Overflow(_) => {
                "amount-overflow"
            }
            Self::Refund(_) => "refund-refused",
            Self::Plugin(refusal) => refusal.code(),
            Self::NoRule { .. } => "rule-unavailable",
            Self::Ledger(LedgerError::Insufficient { .. }) => "not-enough-points",
            Self::Busy => "member-busy",
            Self::Store(StoreError::Overloaded { .. }) => "overloaded",
            Self::Store(StoreError::DiskFull { .. }) => "disk-full",
            Self::Store(StoreError::Exporting) => "backup-running",
            Self::Vault(_) | Self::Io { .. } | Self::Store(_) | Self::Decisions(_) | Self::Ledger(_) => "internal",
        }
    }

    /// What sort of refusal it is.
    pub fn nature(&self) -> Nature {
        match self {
            Self::Invalid(_)
            | Self::KeyReused
            | Self::PrescriptionRequired { .. }
            | Self::Pricing(_)
            | Self::Refund(_)
            | Self::Overflow(_) => Nature::Invalid,
            Self::Unknown { .. } => Nature::NotFound,
            Self::Stale { .. } => Nature::Stale,
            Self::Erased => Nature::Gone,
            Self::Taken { .. }
            | Self::QuoteChanged(_)
            | Self::QuotePlaced { .. }
            | Self::QuoteExpired { .. }
            | Self::WrongState { .. }
            | Self::AmountMismatch { .. }
            | Self::CouponNotUsable { .. }
            | Self::NotEnoughPoints { .. }
            | Self::PrescriptionNotUsable { .. }
            | Self::PrescriptionExceeded { .. }
            | Self::UnderReview { .. }
            | Self::OutOfStock { .. }
            | Self::NotIssuable { .. }
            | Self::OwnApproval(_)
            | Self::CodeUsed
            | Self::GiftNotAvailable { .. }
            | Self::WrongRedemption { .. }
            | Self::MedicineNotReturnable { .. }
            | Self::Store(StoreError::Exporting) => Nature::Conflict,
            Self::TooManyGuesses => Nature::TooMany,
            Self::Plugin(refusal) => refusal.nature(),
            Self::Busy
            | Self::NoRule { .. }
            | Self::Store(StoreError::Overloaded { .. } | StoreError::DiskFull { .. }) => Nature::Unavailable,
            Self::Ledger(LedgerError::Insufficient { .. }) => Nature::Conflict,
            Self::Vault(_) | Self::Io { .. } | Self::Store(_) | Self::Decisions(_) | Self::Ledger(_) => {
                Nature::Internal
            }
        }
    }
}

impl From<ScheduleError> for Error {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::Unknown(name) => Self::unknown("schedule", name),
            ScheduleError::Bad(bad @ BadSchedule::Zone(_)) => Self::field("/zone", bad.to_string()),
            ScheduleError::Bad(bad) => Self::field("/expression", bad.to_string()),
            ScheduleError::Store(error) => Self::Store(error),
        }
    }
}

fn list(fields: &[FieldError]) -> String {
    let one = |field: &FieldError| match field.pointer.as_str() {
        "" => field.message.clone(),
        pointer => format!("{pointer}: {}", field.message),
    };
    fields.iter().map(one).collect::<Vec<_>>().join("; ")
}

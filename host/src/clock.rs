//! What time it is: read once at the edge of a command and passed down as an argument.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// The system's clock, or one that only moves when told to.
#[derive(Debug)]
pub enum Clock {
    /// The wall clock.
    System,
    /// Milliseconds since the epoch, moved by [`Clock::set`].
    Manual(AtomicI64),
}

/// Only a manual clock can be set.
#[derive(Debug, thiserror::Error)]
#[error("the clock is the system's: start with a manual clock to move it")]
pub struct NotManual;

impl Clock {
    /// A clock that stands at `at` until it is moved.
    pub fn manual(at: Timestamp) -> Self {
        Self::Manual(AtomicI64::new(at.as_millisecond()))
    }

    /// Now, in whole milliseconds.
    pub fn now(&self) -> Timestamp {
        let millis = match self {
            Self::System => Timestamp::now().as_millisecond(),
            Self::Manual(millis) => millis.load(Ordering::Relaxed),
        };
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
    }

    /// Moves a manual clock, forward or back.
    ///
    /// # Errors
    ///
    /// [`NotManual`] for the system's clock.
    pub fn set(&self, at: Timestamp) -> Result<(), NotManual> {
        match self {
            Self::System => Err(NotManual),
            Self::Manual(millis) => {
                millis.store(at.as_millisecond(), Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

//! Which event asks for which message.

use jiff::Timestamp;
use minicbor::{Decode, Encode};

use crate::domain::cbor;

/// An event that asks for a message.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Automation {
    /// The event's name.
    #[n(0)]
    pub event: String,
    /// The template's code.
    #[n(1)]
    pub template: String,
    /// The message is dropped if it cannot go within so many hours.
    #[n(2)]
    pub expires_hours: u32,
    /// When it was set.
    #[cbor(n(3), with = "cbor::instant")]
    pub at: Timestamp,
}

//! How an offer came to be live: who defined it, who approved it, and what stops it.

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::ids::KeyId;

/// Somebody who found an offer right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Approval {
    /// With which key.
    #[n(0)]
    pub by: KeyId,
    /// When.
    #[cbor(n(1), with = "super::cbor::instant")]
    pub at: Timestamp,
}

/// The way of an offer from its draft.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Launch {
    /// Who defined it.
    #[n(0)]
    pub defined_by: KeyId,
    /// Who approved it.
    #[n(1)]
    #[cbor(default)]
    pub approvals: Vec<Approval>,
    /// How many others have to approve it.
    #[n(2)]
    pub needed: u8,
    /// It went live without another person, because no other key could approve it.
    #[n(3)]
    pub alone: bool,
}

/// What paused an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum PauseCause {
    /// An operator did.
    #[n(0)]
    Operator,
    /// It was used faster than its breaker allows.
    #[n(1)]
    Breaker,
}

//! What members do besides buying: reported by partners, judged by the earning rule, counted by day.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{cbor, member::ExternalId, money::Points, order::ReleaseRef, rule::Reason};
use crate::ids::{ActivityId, DecisionId, MemberId, PartnerId};

/// A text that names no kind of activity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a kind has 1 to 32 lower-case letters, digits and hyphens; `purchase` is what paid orders are")]
pub struct BadActivityKind;

/// What a member did, for example `check-in`: which kinds earn what is the earning rule's to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(try_from = "String")]
pub struct ActivityKind(#[n(0)] String);

impl ActivityKind {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ActivityKind {
    type Err = BadActivityKind;

    fn from_str(text: &str) -> Result<Self, BadActivityKind> {
        let letters = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        let fits = (1..=32).contains(&text.len()) && letters && text != "purchase";
        if fits { Ok(Self(text.to_owned())) } else { Err(BadActivityKind) }
    }
}

impl TryFrom<String> for ActivityKind {
    type Error = BadActivityKind;

    fn try_from(text: String) -> Result<Self, BadActivityKind> {
        text.parse()
    }
}

impl fmt::Display for ActivityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Something that a member did, and what it earned.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RecordedActivity {
    /// Its id.
    #[n(0)]
    pub id: ActivityId,
    /// Who did it.
    #[n(1)]
    pub member: MemberId,
    /// The partner that reported it.
    #[n(2)]
    pub partner: PartnerId,
    /// What it was.
    #[n(3)]
    pub kind: ActivityKind,
    /// What the partner calls it: one of a kind counts once.
    #[n(4)]
    pub external_id: ExternalId,
    /// When it was done.
    #[cbor(n(5), with = "cbor::instant")]
    pub at: Timestamp,
    /// When it was reported.
    #[cbor(n(6), with = "cbor::instant")]
    pub recorded_at: Timestamp,
    /// What it earned; zero or more.
    #[n(7)]
    pub points: Points,
    /// From when its points can be spent; none where it earned none.
    #[cbor(n(8), with = "cbor::maybe_instant")]
    pub active_at: Option<Timestamp>,
    /// When its points die.
    #[cbor(n(9), with = "cbor::maybe_instant")]
    pub expires_at: Option<Timestamp>,
    /// Why it earned what it did.
    #[n(10)]
    pub reasons: Vec<Reason>,
    /// The release of the earning rule that was asked.
    #[n(11)]
    pub release: ReleaseRef,
    /// The record of the decision.
    #[n(12)]
    pub decision: DecisionId,
}

/// How often a member did one kind of thing on one day, and what it earned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ActivityDay {
    /// Reported and counted.
    #[n(0)]
    pub count: u32,
    /// Earned by them.
    #[n(1)]
    pub points: Points,
}

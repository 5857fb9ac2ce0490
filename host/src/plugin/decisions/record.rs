//! What is recorded of a decision: enough to replay it bit for bit.

use jiff::Timestamp;
use minicbor::{Decode, Encode};

use crate::{
    domain::{
        order::ReleaseRef,
        rule::{Activity, Award, CartSubject, Code, Proposal, TierSubject, Verdict},
    },
    ids::{DecisionId, MemberId},
    plugin::ModuleDigest,
};

/// One decision: everything that was asked for it, in order.
///
/// The member's id is random and stands for nobody once the member is erased; no other trace of a person is in here but
/// the facts themselves.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DecisionRecord {
    /// What the order or the tier refers to.
    #[n(0)]
    pub id: DecisionId,
    /// When it was decided.
    #[cbor(n(1), with = "crate::domain::cbor::instant")]
    pub at: Timestamp,
    /// About whom.
    #[n(2)]
    pub member: MemberId,
    /// The calls, in order.
    #[n(3)]
    pub calls: Vec<CallRecord>,
}

/// One call of a release.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CallRecord {
    /// The release asked.
    #[n(0)]
    pub release: ReleaseRef,
    /// Its module.
    #[n(1)]
    pub module: ModuleDigest,
    /// The items of the call as they were; a replay asks them together again.
    #[n(2)]
    pub input: CallInput,
    /// The answers, fallbacks included.
    #[n(3)]
    pub output: CallOutput,
    /// What it burnt.
    #[n(4)]
    pub fuel: u64,
    /// Nanoseconds it took.
    #[n(5)]
    pub elapsed_ns: u64,
    /// The code of the first fault.
    #[n(6)]
    pub fault: Option<Code>,
}

/// What a call was about, with all facts known: also those that the release neither wanted nor was granted, so that
/// another can be asked the same.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum CallInput {
    /// Which tier?
    #[n(0)]
    Tier(#[n(0)] Vec<TierSubject>),
    /// How many points?
    #[n(1)]
    Earning(#[n(0)] Vec<Activity>),
    /// What are the offers worth?
    #[n(2)]
    Pricing(#[n(0)] Vec<CartSubject>),
}

/// What came out, one for each item; `None` where neither release nor fallback had an answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum CallOutput {
    /// Tiers.
    #[n(0)]
    Tier(#[n(0)] Vec<Option<Verdict>>),
    /// Points.
    #[n(1)]
    Earning(#[n(0)] Vec<Option<Award>>),
    /// Proposals.
    #[n(2)]
    Pricing(#[n(0)] Vec<Option<Vec<Proposal>>>),
}

//! What a scorer sees and says, as plain values.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{fact::Facts, rule::Reason};

/// A product that might be recommended.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// All facts known of it.
    pub facts: Facts,
    /// When the member bought it, newest first.
    pub purchased_at: Vec<Timestamp>,
}

/// One member and the products in question.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreRequest {
    /// The instant the scores are for.
    pub as_of: Timestamp,
    /// All facts known of the member.
    pub facts: Facts,
    /// At most 1,000.
    pub candidates: Vec<Candidate>,
}

/// Where a recommendation is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shelf {
    /// Bought before, and probably needed again.
    BuyAgain,
    /// Never bought.
    Discover,
}

/// One recommended candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Index into the candidates.
    pub candidate: u32,
    /// Where it belongs.
    pub shelf: Shelf,
    /// Higher comes first; finite.
    pub value: f64,
    /// Why.
    pub reasons: Vec<Reason>,
}

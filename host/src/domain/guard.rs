//! What a content guard sees and finds, as plain values.

use super::{fact::Facts, rule::Reason};

/// A message as it would be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Draft {
    /// All facts known: those that begin with `touch.`.
    pub facts: Facts,
    /// What the reader sees, in order.
    pub parts: Vec<String>,
}

/// A phrase that may not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Index into the parts.
    pub part: u16,
    /// Where the phrase begins, in bytes.
    pub start: u32,
    /// Where it ends.
    pub end: u32,
    /// Which rule forbids it.
    pub reason: Reason,
}

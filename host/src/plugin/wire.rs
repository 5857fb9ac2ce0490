//! The shapes of `wit/v0` as wasmtime lowers and lifts them: borrowed on the way in, owned on the way out.
//!
//! Written by hand rather than generated, so that a call lowers straight from the host's values without a copy.

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::domain::{fact, score};

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(variant)]
pub(super) enum Value<'a> {
    #[component(name = "absent")]
    Absent,
    #[component(name = "flag")]
    Flag(bool),
    #[component(name = "integer")]
    Integer(i64),
    #[component(name = "text")]
    Text(&'a str),
    #[component(name = "texts")]
    Texts(&'a [String]),
}

impl<'a> Value<'a> {
    /// The value as it travels, and what it takes beside its fixed size.
    pub(super) fn of(value: &'a fact::Value) -> (Self, usize) {
        match value {
            fact::Value::Absent => (Self::Absent, 0),
            fact::Value::Flag(flag) => (Self::Flag(*flag), 0),
            fact::Value::Integer(number) => (Self::Integer(*number), 0),
            fact::Value::Text(text) => (Self::Text(text), text.len()),
            fact::Value::Texts(texts) => (Self::Texts(texts), texts.iter().map(|text| 8 + text.len()).sum()),
        }
    }
}

/// What a [`Value`] takes in the guest's memory, beside texts.
pub(super) const VALUE_BYTES: usize = 16;

#[derive(ComponentType, Lift, Clone, Copy, Debug, PartialEq, Eq)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "lifted by number, never built by name")]
pub(super) enum ValueType {
    #[component(name = "flag")]
    Flag,
    #[component(name = "integer")]
    Integer,
    #[component(name = "money")]
    Money,
    #[component(name = "points")]
    Points,
    #[component(name = "basis-points")]
    BasisPoints,
    #[component(name = "instant")]
    Instant,
    #[component(name = "text")]
    Text,
    #[component(name = "texts")]
    Texts,
}

impl From<ValueType> for fact::ValueType {
    fn from(value: ValueType) -> Self {
        match value {
            ValueType::Flag => Self::Flag,
            ValueType::Integer => Self::Integer,
            ValueType::Money => Self::Money,
            ValueType::Points => Self::Points,
            ValueType::BasisPoints => Self::BasisPoints,
            ValueType::Instant => Self::Instant,
            ValueType::Text => Self::Text,
            ValueType::Texts => Self::Texts,
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct WantedFact {
    pub(super) name: String,
    #[component(name = "value-type")]
    pub(super) value_type: ValueType,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct ReasonText {
    pub(super) code: String,
    #[component(name = "zh-cn")]
    pub(super) zh_cn: String,
    pub(super) en: String,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum Parameter {
    #[component(name = "integer")]
    Integer(i64),
    #[component(name = "money")]
    Money(i64),
    #[component(name = "points")]
    Points(i64),
    #[component(name = "basis-points")]
    BasisPoints(i64),
    #[component(name = "text")]
    Text(String),
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Reason {
    pub(super) code: u16,
    pub(super) parameters: Vec<Parameter>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Description {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) summary: String,
    #[component(name = "config-schema")]
    pub(super) config_schema: String,
    pub(super) facts: Vec<WantedFact>,
    pub(super) reasons: Vec<ReasonText>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct FieldError {
    pub(super) pointer: String,
    pub(super) message: String,
}

/// A value that the guest gives: the benefits of a tier.
#[derive(ComponentType, Lift)]
#[component(variant)]
#[expect(dead_code, reason = "today every benefit is an integer; the others are refused unread")]
pub(super) enum OwnedValue {
    #[component(name = "absent")]
    Absent,
    #[component(name = "flag")]
    Flag(bool),
    #[component(name = "integer")]
    Integer(i64),
    #[component(name = "text")]
    Text(String),
    #[component(name = "texts")]
    Texts(Vec<String>),
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Benefit {
    pub(super) name: String,
    pub(super) value: OwnedValue,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Tier {
    pub(super) code: String,
    #[component(name = "name-zh-cn")]
    pub(super) name_zh_cn: String,
    #[component(name = "name-en")]
    pub(super) name_en: String,
    pub(super) benefits: Vec<Benefit>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct Subject<'a> {
    #[component(name = "as-of")]
    pub(super) as_of: i64,
    pub(super) facts: &'a [Value<'a>],
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Verdict {
    pub(super) tier: u16,
    pub(super) reasons: Vec<Reason>,
}

#[derive(ComponentType, Lower)]
#[component(variant)]
pub(super) enum Column<'a> {
    #[component(name = "integers")]
    Integers(&'a [i64]),
    #[component(name = "flags")]
    Flags(&'a [u8]),
    #[component(name = "texts")]
    Texts(&'a [&'a str]),
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct Activity<'a> {
    #[component(name = "as-of")]
    pub(super) as_of: i64,
    pub(super) facts: &'a [Value<'a>],
    pub(super) lines: &'a [&'a [Value<'a>]],
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Award {
    pub(super) points: i64,
    #[component(name = "pending-days")]
    pub(super) pending_days: u16,
    #[component(name = "valid-months")]
    pub(super) valid_months: u16,
    pub(super) reasons: Vec<Reason>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Term {
    pub(super) name: String,
    #[component(name = "value-type")]
    pub(super) value_type: ValueType,
    pub(super) summary: String,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct Cart<'a> {
    #[component(name = "as-of")]
    pub(super) as_of: i64,
    pub(super) facts: &'a [Value<'a>],
    pub(super) lines: &'a [&'a [Value<'a>]],
    pub(super) offers: &'a [&'a [Value<'a>]],
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct SharedDiscount {
    pub(super) amount: i64,
    pub(super) lines: Vec<u16>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct LineDiscount {
    pub(super) line: u16,
    pub(super) amount: i64,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum Outcome {
    #[component(name = "declined")]
    Declined,
    #[component(name = "shared")]
    Shared(SharedDiscount),
    #[component(name = "lines")]
    Lines(Vec<LineDiscount>),
    #[component(name = "delivery")]
    Delivery(i64),
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Proposal {
    pub(super) outcome: Outcome,
    pub(super) reasons: Vec<Reason>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct Candidate<'a> {
    pub(super) facts: &'a [Value<'a>],
    #[component(name = "purchased-at")]
    pub(super) purchased_at: &'a [i64],
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct ScoreRequest<'a> {
    #[component(name = "as-of")]
    pub(super) as_of: i64,
    pub(super) facts: &'a [Value<'a>],
    pub(super) candidates: &'a [Candidate<'a>],
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "lifted by number, never built by name")]
pub(super) enum Shelf {
    #[component(name = "buy-again")]
    BuyAgain,
    #[component(name = "discover")]
    Discover,
}

impl From<Shelf> for score::Shelf {
    fn from(shelf: Shelf) -> Self {
        match shelf {
            Shelf::BuyAgain => Self::BuyAgain,
            Shelf::Discover => Self::Discover,
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Score {
    pub(super) candidate: u32,
    pub(super) shelf: Shelf,
    pub(super) value: f64,
    pub(super) reasons: Vec<Reason>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct Draft<'a> {
    pub(super) facts: &'a [Value<'a>],
    pub(super) parts: &'a [String],
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Finding {
    pub(super) part: u16,
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) reason: Reason,
}

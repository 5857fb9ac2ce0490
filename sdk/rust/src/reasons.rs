//! Reasons: a stable code with texts in two languages, and what was observed and required in one case.

use crate::{
    types::{Parameter, Reason},
    units::{BasisPoints, Money, Points},
};

/// A reason code with its texts, declared by [`reasons!`](crate::reasons!).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonCode {
    /// Its place in the plugin's table.
    pub index: u16,
    /// Stable and machine-readable. At most 64 bytes of `[a-z0-9-]`.
    pub code: &'static str,
    /// The text in simplified Chinese; `{0}` stands for the first parameter.
    pub zh_cn: &'static str,
    /// The text in English.
    pub en: &'static str,
}

impl ReasonCode {
    /// The reason with its first parameter; [`Reason::with`] adds the next.
    pub fn with(self, parameter: impl Into<Parameter>) -> Reason {
        Reason::from(self).with(parameter)
    }
}

impl From<ReasonCode> for Reason {
    /// The reason without parameters.
    fn from(code: ReasonCode) -> Self {
        Self { code: code.index, parameters: Vec::new() }
    }
}

impl Reason {
    /// The same reason with one more parameter.
    #[must_use]
    pub fn with(mut self, parameter: impl Into<Parameter>) -> Self {
        self.parameters.push(parameter.into());
        self
    }
}

impl From<i64> for Parameter {
    fn from(count: i64) -> Self {
        Self::Integer(count)
    }
}

impl From<Money> for Parameter {
    fn from(amount: Money) -> Self {
        Self::Money(amount.get())
    }
}

impl From<Points> for Parameter {
    fn from(points: Points) -> Self {
        Self::Points(points.get())
    }
}

impl From<BasisPoints> for Parameter {
    fn from(rate: BasisPoints) -> Self {
        Self::BasisPoints(rate.get())
    }
}

impl From<&str> for Parameter {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Parameter {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

/// Declares reason codes: each with its stable code and its texts in simplified Chinese and English. `REASONS` is the
/// table of all of them.
///
/// ```
/// use galenic_sdk::prelude::*;
///
/// reasons! {
///     BELOW = "below-threshold": "已消费{0}，需满{1}", "spent {0}, needs {1}";
///     CLOSED = "closed": "活动已结束", "the promotion is over";
/// }
/// let reason = BELOW.with(Money::new(18_200)).with(Money::new(19_900));
/// assert_eq!((reason.code, REASONS[1].code), (0, "closed"));
/// ```
#[macro_export]
macro_rules! reasons {
    ($($name:ident = $code:literal : $zh_cn:literal, $en:literal;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "only counts positions")]
        enum ReasonIndex { $($name),* }
        $(
            #[doc = $en]
            const $name: $crate::ReasonCode = $crate::ReasonCode {
                index: ReasonIndex::$name as u16,
                code: $code,
                zh_cn: $zh_cn,
                en: $en,
            };
        )*
        /// Every reason of this plugin.
        const REASONS: &[$crate::ReasonCode] = &[$($name),*];
    };
}

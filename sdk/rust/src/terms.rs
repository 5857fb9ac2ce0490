//! Terms of offers as plain structs: [`terms!`](crate::terms!) says what an offer under a coupon policy may set.

use crate::types::{Value, ValueType};

/// A term that an offer may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermInfo {
    /// At most 64 bytes of `[a-z0-9-]`.
    pub name: &'static str,
    /// The host converts the offer's JSON to this type or refuses the offer.
    pub value_type: ValueType,
    /// One sentence for the operator.
    pub summary: &'static str,
}

/// A struct of terms, made by [`terms!`](crate::terms!).
pub trait Terms: Sized {
    /// The terms, in the order of the fields.
    const TERMS: &'static [TermInfo];

    /// Reads one value per field.
    fn from_values(values: &mut dyn Iterator<Item = Value>) -> Self;
}

/// Reads the terms of one offer. One value more or less than declared is a broken host: the call traps.
pub(crate) fn read<T: Terms>(values: Vec<Value>) -> T {
    assert_eq!(values.len(), T::TERMS.len(), "as many values as terms");
    T::from_values(&mut values.into_iter())
}

/// Declares the terms of a coupon policy: each with its type, its name in an offer, and its summary as documentation.
/// Every field is an `Option`: `None` where an offer does not set the term.
///
/// ```
/// use galenic_sdk::prelude::*;
///
/// terms! {
///     /// What an offer says.
///     pub struct Terms {
///         /// The amount off.
///         amount: Money = "amount",
///         /// The least that the goods must cost.
///         threshold: Money = "threshold",
///     }
/// }
/// assert_eq!(<Terms as galenic_sdk::Terms>::TERMS[0].summary, "The amount off.");
/// ```
#[macro_export]
macro_rules! terms {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $(#[doc = $summary:literal] $field:ident : $type:ty = $term:literal),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        $vis struct $name {
            $(#[doc = $summary] pub $field: Option<$type>,)*
        }

        impl $crate::Terms for $name {
            const TERMS: &'static [$crate::terms::TermInfo] = &[$($crate::terms::TermInfo {
                name: $term,
                value_type: <$type as $crate::facts::FactType>::TYPE,
                summary: $summary.trim_ascii(),
            }),*];

            fn from_values(values: &mut dyn Iterator<Item = $crate::types::Value>) -> Self {
                Self { $($field: $crate::facts::FactType::from_value(values.next().unwrap_or($crate::types::Value::Absent)),)* }
            }
        }
    };
}

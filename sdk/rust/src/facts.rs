//! Facts as plain structs: [`facts!`](crate::facts!) says what a rule wants to know, the host passes it by position.

use crate::{
    bindings::exports::galenic::plugin::tier_rule::Column,
    types::{Value, ValueType, WantedFact},
    units::{BasisPoints, Instant, Money, Points},
};

/// A fact that a plugin asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name in the host's catalogue.
    pub name: &'static str,
    /// The type the plugin reads it as; the catalogue must say the same.
    pub value_type: ValueType,
}

impl From<&Wanted> for WantedFact {
    fn from(wanted: &Wanted) -> Self {
        Self { name: wanted.name.to_owned(), value_type: wanted.value_type }
    }
}

/// A struct of facts, made by [`facts!`](crate::facts!). `()` wants none.
pub trait Facts: Sized {
    /// The facts, in the order of the fields.
    const WANTED: &'static [Wanted];

    /// Reads one value per field.
    fn from_values(values: &mut dyn Iterator<Item = Value>) -> Self;

    /// Reads one row of one column per field. Texts are taken out of their column.
    fn from_columns(columns: &mut [Column], row: usize) -> Self;
}

impl Facts for () {
    const WANTED: &'static [Wanted] = &[];
    fn from_values(_: &mut dyn Iterator<Item = Value>) -> Self {}
    fn from_columns(_: &mut [Column], _: usize) -> Self {}
}

/// Reads a whole list of values. One value more or less than wanted is a broken host: the call traps.
pub(crate) fn read<F: Facts>(values: Vec<Value>) -> F {
    assert_eq!(values.len(), F::WANTED.len(), "as many values as wanted facts");
    F::from_values(&mut values.into_iter())
}

/// Whether all these facts belong to cart lines, or none of them does.
pub const fn all_in_scope(wanted: &[Wanted], of_lines: bool) -> bool {
    all_about(wanted, "line.", of_lines)
}

/// Whether the names of all these facts begin with `prefix`, or none of them does.
pub const fn all_about(wanted: &[Wanted], prefix: &str, all: bool) -> bool {
    let mut i = 0;
    while i < wanted.len() {
        if begins_with(wanted[i].name.as_bytes(), prefix.as_bytes()) != all {
            return false;
        }
        i += 1;
    }
    true
}

const fn begins_with(name: &[u8], prefix: &[u8]) -> bool {
    let mut i = 0;
    while i < prefix.len() {
        if i >= name.len() || name[i] != prefix[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// A type that a fact or a term can be read as.
///
/// A plain type reads what the host does not know as nothing: zero, false or empty. `Option` tells the difference.
pub trait FactType: Sized {
    /// The type on the wire.
    const TYPE: ValueType;

    /// Reads a value.
    fn from_value(value: Value) -> Self;

    /// Reads a row of a column.
    fn from_column(column: &mut Column, row: usize) -> Self;
}

macro_rules! fact_type {
    ($type:ty, $wire:ident, $from_value:expr, $from_column:expr) => {
        impl FactType for Option<$type> {
            const TYPE: ValueType = ValueType::$wire;
            fn from_value(value: Value) -> Self {
                let read: fn(Value) -> Self = $from_value;
                read(value)
            }
            #[inline]
            fn from_column(column: &mut Column, row: usize) -> Self {
                let read: fn(&mut Column, usize) -> Self = $from_column;
                read(column, row)
            }
        }
        impl FactType for $type {
            const TYPE: ValueType = ValueType::$wire;
            fn from_value(value: Value) -> Self {
                <Option<$type>>::from_value(value).unwrap_or_default()
            }
            #[inline]
            fn from_column(column: &mut Column, row: usize) -> Self {
                <Option<$type>>::from_column(column, row).unwrap_or_default()
            }
        }
    };
}

macro_rules! number_types {
    ($($type:ty, $wire:ident;)*) => {$(
        fact_type!($type, $wire, |value| integer(value).map(Into::into), |column, row| integer_at(column, row).map(Into::into));
    )*};
}

number_types! {
    i64, Integer;
    Money, Money;
    Points, Points;
    BasisPoints, BasisPoints;
    Instant, Instant;
}
fact_type!(bool, Flag, flag, flag_at);
fact_type!(String, Text, text, text_at);
fact_type!(Vec<String>, Texts, texts, |_, _| wrong_type());

/// The host checked names and types at admission: a value of another type means that it broke the contract.
#[cold]
fn wrong_type() -> ! {
    panic!("a value of another type than wanted")
}

fn integer(value: Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(number),
        Value::Absent => None,
        _ => wrong_type(),
    }
}

fn flag(value: Value) -> Option<bool> {
    match value {
        Value::Flag(flag) => Some(flag),
        Value::Absent => None,
        _ => wrong_type(),
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        Value::Absent => None,
        _ => wrong_type(),
    }
}

fn texts(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Texts(texts) => Some(texts),
        Value::Absent => None,
        _ => wrong_type(),
    }
}

#[inline]
fn integer_at(column: &mut Column, row: usize) -> Option<i64> {
    match column {
        Column::Integers(rows) => Some(rows[row]).filter(|number| *number != i64::MIN),
        _ => wrong_type(),
    }
}

#[inline]
fn flag_at(column: &mut Column, row: usize) -> Option<bool> {
    match column {
        Column::Flags(rows) => match rows[row] {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        _ => wrong_type(),
    }
}

#[inline]
fn text_at(column: &mut Column, row: usize) -> Option<String> {
    match column {
        Column::Texts(rows) => Some(std::mem::take(&mut rows[row])).filter(|text| !text.is_empty()),
        _ => wrong_type(),
    }
}

/// Declares a struct of facts: each field with its type and the fact's name in the host's catalogue.
///
/// ```
/// use galenic_sdk::prelude::*;
///
/// facts! {
///     /// What the rule wants to know of the member.
///     pub struct Known {
///         /// Goods paid since registration, less refunds.
///         spend: Money = "member.lifetime-net-spend",
///         /// `None` where the member's birthday is not known.
///         birthday_month: Option<bool> = "member.birthday-month",
///     }
/// }
/// assert_eq!(Known::WANTED[0].name, "member.lifetime-net-spend");
/// ```
///
/// Fields are `bool`, `i64`, [`Money`], [`Points`], [`BasisPoints`], [`Instant`], `String` or `Vec<String>`. What the host
/// does not know, or the release was not granted, reads as zero, false or empty; write `Option<…>` where that makes a
/// difference. Names that begin with `line.` are facts of cart lines, those that begin with `candidate.` of candidates: they belong in
/// a struct of their own.
#[macro_export]
macro_rules! facts {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$doc:meta])* $field:ident : $type:ty = $fact:literal),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis struct $name {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl $crate::Facts for $name {
            const WANTED: &'static [$crate::facts::Wanted] = &[$($crate::facts::Wanted {
                name: $fact,
                value_type: <$type as $crate::facts::FactType>::TYPE,
            }),*];

            fn from_values(values: &mut dyn Iterator<Item = $crate::types::Value>) -> Self {
                Self { $($field: $crate::facts::FactType::from_value(values.next().unwrap_or($crate::types::Value::Absent)),)* }
            }

            #[inline]
            fn from_columns(columns: &mut [$crate::tier_rule::Column], row: usize) -> Self {
                let mut columns = columns.iter_mut();
                Self { $($field: $crate::facts::FactType::from_column(columns.next().expect("one column per fact"), row),)* }
            }
        }
    };
}

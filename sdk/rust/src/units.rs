//! Money, points, rates and instants: whole numbers that cannot be mistaken for each other.
//!
//! Arithmetic is exact. `+`, `-` and [`Money::times`] stop at the ends of 64 bits instead of wrapping, which no amount
//! of a real shop reaches; `checked_…` tells.

use std::{
    iter::Sum,
    ops::{Add, AddAssign, Sub, SubAssign},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What every unit has: a name for a whole number.
macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            #[doc = concat!("This many ", $what, ".")]
            pub const fn new(units: i64) -> Self {
                Self(units)
            }

            #[doc = concat!("How many ", $what, ".")]
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl From<i64> for $name {
            fn from(units: i64) -> Self {
                Self(units)
            }
        }
    };
}

/// What can be added up and shared out.
macro_rules! amount {
    ($name:ident) => {
        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0);

            /// The sum, or `None` if it does not fit.
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(units) => Some(Self(units)),
                    None => None,
                }
            }

            /// The difference, or `None` if it does not fit.
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(units) => Some(Self(units)),
                    None => None,
                }
            }

            /// `count` times this.
            #[must_use]
            pub const fn times(self, count: i64) -> Self {
                Self(self.0.saturating_mul(count))
            }

            /// This share of it, rounded down: the product is exact, however large.
            #[must_use]
            pub fn share(self, rate: BasisPoints) -> Self {
                self.scaled(rate.0, BasisPoints::WHOLE.0)
            }

            /// `numerator` out of `denominator` parts of it, rounded down: the product is exact, however large.
            ///
            /// # Panics
            ///
            /// If `denominator` is not above zero.
            #[must_use]
            pub fn scaled(self, numerator: i64, denominator: i64) -> Self {
                assert!(denominator > 0, "a share of nothing");
                let exact = i128::from(self.0) * i128::from(numerator);
                let floor = exact.div_euclid(i128::from(denominator));
                Self(i64::try_from(floor).unwrap_or(if floor < 0 { i64::MIN } else { i64::MAX }))
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                *self = *self - other;
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
                all.fold(Self::ZERO, Add::add)
            }
        }
    };
}

unit! {
    /// Money in minor units of the deployment's currency: 19 900 is ¥199.00.
    Money, "minor units"
}
amount!(Money);

unit! {
    /// Loyalty points. One point is the smallest unit.
    Points, "points"
}
amount!(Points);

unit! {
    /// A rate in basis points: 10 000 is 100 %.
    BasisPoints, "basis points"
}

impl BasisPoints {
    /// 100 %, or once.
    pub const WHOLE: Self = Self(10_000);
}

unit! {
    /// An instant: milliseconds since 1970-01-01T00:00:00Z. The only "now" of a rule is the `as_of` it is given.
    Instant, "milliseconds since 1970-01-01T00:00:00Z"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_and_rounded_down() {
        assert_eq!(Money::new(13_000).share(BasisPoints::new(8_800)), Money::new(11_440));
        assert_eq!(Money::new(999).share(BasisPoints::new(3_333)), Money::new(332));
        assert_eq!(Money::new(-1).share(BasisPoints::new(1)), Money::new(-1));
        assert_eq!(Money::new(i64::MAX).share(BasisPoints::WHOLE), Money::new(i64::MAX));
        assert_eq!(Money::new(i64::MAX).share(BasisPoints::new(20_000)), Money::new(i64::MAX));
    }

    #[test]
    fn sums_stop_at_the_end_of_64_bits() {
        let most = Points::new(i64::MAX);
        assert_eq!(most + Points::new(1), most);
        assert_eq!(most.checked_add(Points::new(1)), None);
        assert_eq!([Points::new(2), Points::new(3)].into_iter().sum::<Points>(), Points::new(5));
    }
}

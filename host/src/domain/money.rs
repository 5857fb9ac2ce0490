//! Money, points and rates: whole numbers that refuse to overflow.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// A sum or product that does not fit 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the amount does not fit 64 bits")]
pub struct Overflow;

macro_rules! amount {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
        #[cbor(transparent)]
        #[serde(transparent)]
        pub struct $name(#[n(0)] i64);

        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0);

            /// This many of the smallest unit.
            pub const fn new(units: i64) -> Self { Self(units) }

            /// How many of the smallest unit.
            pub const fn get(self) -> i64 { self.0 }

            /// Whether it is exactly zero.
            pub const fn is_zero(self) -> bool { self.0 == 0 }

            /// The sum.
            ///
            /// # Errors
            ///
            /// [`Overflow`] if it does not fit; callers refuse, never wrap.
            pub fn plus(self, other: Self) -> Result<Self, Overflow> {
                self.0.checked_add(other.0).map(Self).ok_or(Overflow)
            }

            /// The difference.
            ///
            /// # Errors
            ///
            /// [`Overflow`] if it does not fit.
            pub fn minus(self, other: Self) -> Result<Self, Overflow> {
                self.0.checked_sub(other.0).map(Self).ok_or(Overflow)
            }

            /// The same amount with the other sign.
            ///
            /// # Errors
            ///
            /// [`Overflow`] for the smallest i64.
            pub fn negated(self) -> Result<Self, Overflow> {
                self.0.checked_neg().map(Self).ok_or(Overflow)
            }

            /// `count` times the amount.
            ///
            /// # Errors
            ///
            /// [`Overflow`] if it does not fit.
            pub fn times(self, count: i64) -> Result<Self, Overflow> {
                self.0.checked_mul(count).map(Self).ok_or(Overflow)
            }

            /// The sum of all.
            ///
            /// # Errors
            ///
            /// [`Overflow`] if it does not fit.
            pub fn sum(all: impl IntoIterator<Item = Self>) -> Result<Self, Overflow> {
                all.into_iter().try_fold(Self::ZERO, Self::plus)
            }
        }
    )*};
}

amount! {
    /// Money in minor units (fen) of the deployment's currency.
    Money;
    /// Loyalty points. One point is the smallest unit; only a house account or a declared clawback is ever negative.
    Points;
}

impl fmt::Display for Money {
    /// `199.00`, without a currency.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:02}", self.0.unsigned_abs() / 100, self.0.unsigned_abs() % 100)
    }
}

impl fmt::Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A rate in basis points: 10 000 is 100 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct BasisPoints(#[n(0)] u32);

impl BasisPoints {
    /// 100 %.
    pub const ONE: Self = Self(10_000);

    /// This many basis points.
    pub const fn new(basis_points: u32) -> Self {
        Self(basis_points)
    }

    /// How many basis points.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// This share of `amount`, rounded down.
    ///
    /// # Errors
    ///
    /// [`Overflow`] if it does not fit, which needs a rate above 100 %.
    pub fn of(self, amount: Money) -> Result<Money, Overflow> {
        let product = i128::from(amount.0) * i128::from(self.0);
        i64::try_from(product.div_euclid(10_000)).map(Money).map_err(|_| Overflow)
    }
}

/// Splits `total` in proportion to `weights` by largest remainder: the shares sum to `total` exactly, ties go to the
/// first. Weights are zero or more; where all are zero the first share takes everything.
///
/// # Errors
///
/// [`Overflow`] if `total` or a weight is negative.
pub fn allocate(total: i64, weights: &[i64]) -> Result<Vec<i64>, Overflow> {
    if total < 0 || weights.iter().any(|w| *w < 0) {
        return Err(Overflow);
    }
    let sum: i128 = weights.iter().map(|w| i128::from(*w)).sum();
    if sum == 0 {
        let mut shares = vec![0; weights.len()];
        if let Some(first) = shares.first_mut() {
            *first = total;
        }
        return Ok(shares);
    }
    let exact = |w: i64| i128::from(total) * i128::from(w);
    let mut shares: Vec<i64> =
        weights.iter().map(|w| i64::try_from(exact(*w) / sum)).collect::<Result<_, _>>().map_err(|_| Overflow)?;
    let mut left = total - shares.iter().sum::<i64>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(exact(weights[*i]) % sum));
    for i in order {
        if left == 0 {
            break;
        }
        shares[i] += 1;
        left -= 1;
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(total: i64, weights: &[i64], expect: &[i64]) {
        assert_eq!(allocate(total, weights).expect("allocates"), expect, "{total} over {weights:?}");
    }

    #[test]
    fn allocation_by_largest_remainder() {
        check(2_000, &[15_000, 6_000], &[1_429, 571]);
        check(100, &[1, 1, 1], &[34, 33, 33]);
        check(1, &[5, 5], &[1, 0]);
        check(7, &[0, 0], &[7, 0]);
        check(0, &[3, 4], &[0, 0]);
        assert_eq!(allocate(-1, &[1]), Err(Overflow));
    }

    #[test]
    fn money_shows_with_two_decimals() {
        assert_eq!(Money::new(19_900).to_string(), "199.00");
        assert_eq!(Money::new(-5).to_string(), "-0.05");
        assert_eq!(Money::new(i64::MIN).to_string(), "-92233720368547758.08");
    }

    proptest! {
        /// Whatever the weights, nothing is lost, and no share differs from the exact one by a whole unit.
        #[test]
        fn shares_sum_to_the_total(total in 0..i64::MAX, weights in prop::collection::vec(0..i64::MAX, 1..40)) {
            let shares = allocate(total, &weights).expect("allocates");
            prop_assert_eq!(shares.iter().map(|s| i128::from(*s)).sum::<i128>(), i128::from(total));
            let sum: i128 = weights.iter().map(|w| i128::from(*w)).sum();
            if sum > 0 {
                for (share, weight) in shares.iter().zip(&weights) {
                    let exact = i128::from(total) * i128::from(*weight) / sum;
                    prop_assert!((i128::from(*share) - exact).abs() <= 1);
                }
            }
        }
    }
}

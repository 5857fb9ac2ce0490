//! From proposals to a price that sums to the fen. Pure: no I/O, no clock, no plugin.
//!
//! A [`Draft`] walks through the stages of a price in their one order: the lower of member price and tier price,
//! promotions, one coupon, points, delivery. Before each stage the caller asks the policy with [`Draft::subject`] and
//! hands the proposals back; the draft picks, clamps and allocates. [`Draft::finish`] gives the explained price.
//!
//! Invariants: no line below zero; list less allocations is payable, for each line and in sum; every offer that was
//! considered ends as applied with an amount or as declined with a reason.

mod draft;
pub mod promotable;
pub mod reasons;
pub mod refund;
#[cfg(test)]
mod tests;

pub use draft::{Candidate, CartLine, Draft, PointsTerms, PricingError, priced_line_facts};

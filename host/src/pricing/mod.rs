//! From proposals to a price that sums to the fen. Pure: no I/O, no clock, no plugin.
//!
//! A [`Draft`] walks through the stages of a price in their one order: the lower of member price and tier price,
//! promotions, one coupon, points, delivery. Before each stage the caller asks each slot's policy once, with the carts
//! of [`Draft::carts`], collects the answers in a [`Round`] and hands it to [`Draft::take`]; the draft picks, clamps
//! and allocates. [`Draft::finish`] gives the explained price.
//!
//! Where offers exclude each other, through a group or because an order takes one coupon, the draft follows every way
//! of combining them, at most [`COMBINATIONS_MAX`] at a time, and takes the one that saves the member most. Of those
//! that save the same, one without a coupon comes first, then the coupon that dies first, then the higher priority, the
//! earlier end, the smaller id. The way that takes offers greedily by priority is always among those followed; a price
//! for which some were left out says so.
//!
//! Where a limit has less left than an offer would take off, the offer takes nothing: there are no partial savings.
//!
//! Invariants: no line below zero, none below its floor price but for points; list less allocations is payable, for
//! each line and in sum; every offer that was considered ends as applied with an amount or as declined with a reason.

mod branch;
mod draft;
mod effect;
pub mod funders;
mod member_price;
pub mod promotable;
#[cfg(test)]
mod properties;
pub mod reasons;
pub mod refund;
mod round;
#[cfg(test)]
mod tests;

pub use branch::COMBINATIONS_MAX;
pub use draft::{Candidate, CartLine, Draft, PointsTerms, PricingError, priced_line_facts};
pub use round::Round;

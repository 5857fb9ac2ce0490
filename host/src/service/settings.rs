//! What the operator configured, as the use cases need it.

use jiff::{SignedDuration, tz::TimeZone};

use crate::domain::money::{BasisPoints, Money};

/// Deployment-wide numbers. Thresholds and amounts of offers and tiers are not here: they are plugin configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// ISO 4217 code of all amounts.
    pub currency: String,
    /// The zone of business calendars.
    pub zone: TimeZone,
    /// How long a quote holds its price.
    pub quote_holds: SignedDuration,
    /// How long an unpaid order holds coupon, points, budget and stock.
    pub order_holds: SignedDuration,
    /// Minor units that 100 points take off at checkout.
    pub points_value_per_100: Money,
    /// The largest share of the goods' payable that points may cover.
    pub points_most: BasisPoints,
    /// The most coupons of one member that a quote considers.
    pub coupons_per_quote: usize,
}

//! What the operator configured, as the use cases need it.

use jiff::{SignedDuration, civil::time, tz::TimeZone};

use crate::{
    domain::money::{BasisPoints, Money},
    reach::gate::QuietHours,
};

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
    /// How members are reached.
    pub reach: ReachSettings,
}

/// How members are reached.
#[derive(Clone, Debug)]
pub struct ReachSettings {
    /// When members sleep.
    pub quiet: QuietHours,
    /// Content and marketing touches of one member and day.
    pub cap_per_day: usize,
    /// What links in messages begin with, without a slash at its end.
    pub public_url: String,
    /// Touches worked on at one time.
    pub at_once: usize,
    /// How long one attempt may take before its end counts as unknown.
    pub attempt_max: std::time::Duration,
}

impl ReachSettings {
    /// 21:00 to 9:00, one a day, 64 at once, 25 seconds an attempt: more than a call of a channel may wait for its turn and then take.
    pub fn standard() -> Self {
        Self {
            quiet: QuietHours { from: time(21, 0, 0, 0), to: time(9, 0, 0, 0) },
            cap_per_day: 1,
            public_url: "http://127.0.0.1:8080".to_owned(),
            at_once: 64,
            attempt_max: std::time::Duration::from_secs(25),
        }
    }
}

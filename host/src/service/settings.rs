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
    /// What happens by itself.
    pub schedule: ScheduleSettings,
}

/// When things happen by themselves, and how long what is past is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleSettings {
    /// The name of this node: leases bear it. No two nodes over one store share it.
    pub node: String,
    /// A coupon's member is told so many days before it dies.
    pub coupon_notice_days: u16,
    /// A member is told so many days before points die.
    pub points_notice_days: u16,
    /// The hour of birthdays, anniversaries and notices, in the deployment's zone: 0 to 23.
    pub hour: i8,
    /// Members that one job deals with in a second, at most.
    pub members_per_second: u32,
    /// Recorded decisions are kept so many days.
    pub decisions_kept_days: u32,
    /// Answers to idempotency keys are kept so many days: a retry after that is a new request.
    pub idempotency_kept_days: u32,
}

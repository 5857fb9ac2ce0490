//! What the operator configured, as the use cases need it.

use jiff::{SignedDuration, civil::time, tz::TimeZone};

use crate::{
    domain::{
        money::{BasisPoints, Money},
        points::Clawback,
        service_hours::ServiceHours,
    },
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
    /// How far earned points are taken back when a refund undoes them.
    pub clawback: Clawback,
    /// The most coupons of one member that a quote considers.
    pub coupons_per_quote: usize,
    /// How orders are checked and waited for.
    pub orders: OrderSettings,
    /// How members are reached.
    pub reach: ReachSettings,
    /// What happens by itself.
    pub schedule: ScheduleSettings,
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
    /// Those of one channel among them.
    pub per_channel: usize,
    /// How long one attempt may take before its end counts as unknown.
    pub attempt_max: std::time::Duration,
    /// Touches are kept so many days after they ended.
    pub touches_kept_days: u32,
    /// What they said is kept so many days after they ended.
    pub contents_kept_days: u32,
}

impl ReachSettings {
    /// 21:00 to 9:00, one a day, 64 at once and 24 of one channel, 25 seconds an attempt: more than a call of a channel may
    /// wait for its turn and then take. Touches are kept 400 days, what they said
    /// 30.
    pub fn standard() -> Self {
        Self {
            quiet: QuietHours { from: time(21, 0, 0, 0), to: time(9, 0, 0, 0) },
            cap_per_day: 1,
            public_url: "http://127.0.0.1:8080".to_owned(),
            at_once: 64,
            per_channel: 24,
            attempt_max: std::time::Duration::from_secs(25),
            touches_kept_days: 400,
            contents_kept_days: 30,
        }
    }
}

/// How orders are checked and waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderSettings {
    /// How long a prescription is valid, from when it was written.
    pub prescription_valid: SignedDuration,
    /// In how much service time a pharmacist is to decide.
    pub review_within: SignedDuration,
    /// When people answer, in the deployment's zone.
    pub service_hours: ServiceHours,
    /// How long an order with cash on delivery holds what it holds until it is shipped.
    pub cash_ships_within: SignedDuration,
    /// How long it may then stay unpaid before it counts as lost.
    pub cash_due_within: SignedDuration,
    /// The least that can be paid in instalments.
    pub instalments_from: Money,
    /// Whether the plan with interest is offered.
    pub quarterly: bool,
    /// Its interest of a month.
    pub quarterly_rate: BasisPoints,
}

impl OrderSettings {
    /// Three days; three hours of 9:00 to 21:00; cash on delivery ships in 7 days and is paid in 30 more;
    /// instalments from 200.00, the plan with interest (3 % a month) off.
    pub fn standard() -> Self {
        Self {
            prescription_valid: SignedDuration::from_hours(72),
            review_within: SignedDuration::from_hours(3),
            service_hours: ServiceHours { from: time(9, 0, 0, 0), to: time(21, 0, 0, 0) },
            cash_ships_within: SignedDuration::from_hours(7 * 24),
            cash_due_within: SignedDuration::from_hours(30 * 24),
            instalments_from: Money::new(20_000),
            quarterly: false,
            quarterly_rate: BasisPoints::new(300),
        }
    }
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
    /// A member is told so many days before a medicine runs out.
    pub refill_notice_days: u16,
    /// The hour of birthdays, anniversaries and notices, in the deployment's zone: 0 to 23.
    pub hour: i8,
    /// Members that one job deals with in a second, at most.
    pub members_per_second: u32,
    /// Recorded decisions are kept so many days.
    pub decisions_kept_days: u32,
    /// Events that every consumer has seen are kept so many days: no consumer can be put back further.
    pub events_kept_days: u32,
    /// Answers to idempotency keys are kept so many days: a retry after that is a new request.
    pub idempotency_kept_days: u32,
}

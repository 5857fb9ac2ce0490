//! `[schedule]`: what happens by itself, and how long what is past is kept.

use serde::{Deserialize, Serialize};

use crate::service::ScheduleSettings;

/// What happens by itself, and how long what is past is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The name of this node: leases bear it. No two nodes over one store may share it.
    pub node: String,
    /// Members are told so many days before a coupon dies; 0 tells nobody.
    pub coupon_notice_days: u16,
    /// Members are told so many days before points die; 0 tells nobody.
    pub points_notice_days: u16,
    /// Members are told so many days before a medicine runs out; 0 tells nobody.
    pub refill_notice_days: u16,
    /// The hour of birthdays, anniversaries and notices, in the programme's zone.
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

impl Schedule {
    /// The defaults.
    pub(super) fn standard() -> Self {
        Self {
            node: "node-1".to_owned(),
            coupon_notice_days: 7,
            points_notice_days: 30,
            refill_notice_days: 3,
            hour: 9,
            members_per_second: 2_000,
            decisions_kept_days: 400,
            events_kept_days: 400,
            idempotency_kept_days: 30,
        }
    }

    pub(super) fn check(&self, require: &mut impl FnMut(bool, String)) {
        let named = (1..=64).contains(&self.node.len()) && self.node.bytes().all(|byte| byte.is_ascii_graphic());
        require(named, "schedule.node must be 1 to 64 visible ASCII characters".to_owned());
        require((0..=23).contains(&self.hour), "schedule.hour must be 0 to 23".to_owned());
        let pace = (1..=1_000_000).contains(&self.members_per_second);
        require(pace, "schedule.members_per_second must be 1 to 1000000".to_owned());
        for (name, days) in [
            ("coupon_notice_days", u32::from(self.coupon_notice_days)),
            ("points_notice_days", u32::from(self.points_notice_days)),
            ("refill_notice_days", u32::from(self.refill_notice_days)),
        ] {
            require(days <= 365, format!("schedule.{name} must be 0 to 365"));
        }
        for (name, days) in [
            ("decisions_kept_days", self.decisions_kept_days),
            ("events_kept_days", self.events_kept_days),
            ("idempotency_kept_days", self.idempotency_kept_days),
        ] {
            require((1..=36_600).contains(&days), format!("schedule.{name} must be 1 to 36600"));
        }
    }

    pub(super) fn settings(&self) -> ScheduleSettings {
        let Self {
            node,
            coupon_notice_days,
            points_notice_days,
            refill_notice_days,
            hour,
            members_per_second,
            decisions_kept_days,
            events_kept_days,
            idempotency_kept_days,
        } = self.clone();
        ScheduleSettings {
            node,
            coupon_notice_days,
            points_notice_days,
            refill_notice_days,
            hour,
            members_per_second,
            decisions_kept_days,
            events_kept_days,
            idempotency_kept_days,
        }
    }
}

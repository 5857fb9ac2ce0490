//! `[orders]`: how orders are checked and waited for.

use anyhow::Context as _;
use jiff::{SignedDuration, civil::Time};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        money::{BasisPoints, Money},
        service_hours::ServiceHours,
    },
    service::settings::OrderSettings,
};

/// How orders are checked and waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// How long a prescription is valid, from when it was written.
    pub prescription_hours: u32,
    /// In how many minutes of service time a pharmacist is to decide.
    pub review_minutes: u32,
    /// When people begin to answer, in the programme's zone, as `09:00`.
    pub service_from: String,
    /// Until when; later than `service_from`.
    pub service_to: String,
    /// Days that an order with cash on delivery holds what it holds until it is shipped.
    pub cash_ship_days: u32,
    /// Days that it may then stay unpaid before it counts as lost.
    pub cash_due_days: u32,
    /// The least, in minor units, that can be paid in instalments.
    pub instalments_from: i64,
    /// Whether the instalment plan with interest is offered.
    pub quarterly: bool,
    /// Its interest of a month; 10 000 is all of what is owed.
    pub quarterly_basis_points: u32,
}

impl Orders {
    pub(super) fn standard() -> Self {
        Self {
            prescription_hours: 72,
            review_minutes: 180,
            service_from: "09:00".to_owned(),
            service_to: "21:00".to_owned(),
            cash_ship_days: 7,
            cash_due_days: 30,
            instalments_from: 20_000,
            quarterly: false,
            quarterly_basis_points: 300,
        }
    }

    pub(super) fn check(&self, require: &mut impl FnMut(bool, String)) {
        require((1..=720).contains(&self.prescription_hours), "orders.prescription_hours must be 1 to 720".to_owned());
        require((1..=10_000).contains(&self.review_minutes), "orders.review_minutes must be 1 to 10000".to_owned());
        require((1..=365).contains(&self.cash_ship_days), "orders.cash_ship_days must be 1 to 365".to_owned());
        require((1..=365).contains(&self.cash_due_days), "orders.cash_due_days must be 1 to 365".to_owned());
        require(self.instalments_from > 0, "orders.instalments_from must be above 0".to_owned());
        let rate = (0..=1_000).contains(&self.quarterly_basis_points);
        require(rate, "orders.quarterly_basis_points must be 0 to 1000".to_owned());
        let (from, to) = (self.service_from.parse::<Time>(), self.service_to.parse::<Time>());
        let fits = matches!((from, to), (Ok(from), Ok(to)) if from < to);
        let message = "orders.service_from and orders.service_to must be times like `09:00`, the first one earlier";
        require(fits, message.to_owned());
    }

    pub(super) fn settings(&self) -> anyhow::Result<OrderSettings> {
        Ok(OrderSettings {
            prescription_valid: SignedDuration::from_hours(self.prescription_hours.into()),
            review_within: SignedDuration::from_mins(self.review_minutes.into()),
            service_hours: ServiceHours {
                from: self.service_from.parse().context("orders.service_from")?,
                to: self.service_to.parse().context("orders.service_to")?,
            },
            cash_ships_within: SignedDuration::from_hours(24 * i64::from(self.cash_ship_days)),
            cash_due_within: SignedDuration::from_hours(24 * i64::from(self.cash_due_days)),
            instalments_from: Money::new(self.instalments_from),
            quarterly: self.quarterly,
            quarterly_rate: BasisPoints::new(self.quarterly_basis_points),
        })
    }
}

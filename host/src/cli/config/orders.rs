//! `[orders]`: how orders are checked and waited for.

use anyhow::Context as _;
use jiff::{SignedDuration, civil::Time};
use serde::{Deserialize, Serialize};

use crate::{domain::service_hours::ServiceHours, service::settings::OrderSettings};

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
}

impl Orders {
    pub(super) fn standard() -> Self {
        Self {
            prescription_hours: 72,
            review_minutes: 180,
            service_from: "09:00".to_owned(),
            service_to: "21:00".to_owned(),
        }
    }

    pub(super) fn check(&self, require: &mut impl FnMut(bool, String)) {
        require((1..=720).contains(&self.prescription_hours), "orders.prescription_hours must be 1 to 720".to_owned());
        require((1..=10_000).contains(&self.review_minutes), "orders.review_minutes must be 1 to 10000".to_owned());
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
        })
    }
}

//! Paying in instalments: which plans an order may take, and what is recorded.

use jiff::{Timestamp, civil::Date};

use super::seen_order;
use crate::{
    domain::{
        instalment::{InstalmentConsent, InstalmentPlan, Instalments},
        money::BasisPoints,
        order::Order,
    },
    ids::OrderId,
    service::{Caller, Error, Services, check::Checks},
};

const VERSION_CHARS_MAX: usize = 64;

/// The plan that a payment names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayInInstalments {
    /// Which one.
    pub plan: InstalmentPlan,
    /// The text that the member agreed to; needed where there is interest.
    pub consent: Option<String>,
}

impl Services {
    /// The plans that an order may take, as if it was paid now.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn instalment_plans(&self, caller: Caller, id: OrderId) -> Result<Vec<Instalments>, Error> {
        let order = self.store.read(move |tx| seen_order(tx, caller, id)).await?;
        let today = self.date_of(self.clock.now());
        let open = InstalmentPlan::ALL.into_iter().filter(|plan| self.refusal(&order, *plan).is_none());
        let schedule = |plan| Instalments::new(plan, self.rate(plan), None, order.priced.payable, today);
        Ok(open.map(schedule).collect::<Result<_, _>>()?)
    }

    /// What is recorded of a payment in instalments.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the order may not take the plan, or the member did not agree.
    pub(super) fn instalments(
        &self,
        order: &Order,
        ask: &PayInInstalments,
        now: Timestamp,
    ) -> Result<Instalments, Error> {
        let mut checks = Checks::default();
        if let Some(why) = self.refusal(order, ask.plan) {
            checks.wrong("/instalments/plan", why);
        }
        let rate = self.rate(ask.plan);
        let agreed = rate.get() == 0 || ask.consent.is_some();
        checks.require(agreed, "/instalments/consent", "the plan has interest: name the text the member agreed to");
        if let Some(version) = &ask.consent {
            checks.text("/instalments/consent", version, VERSION_CHARS_MAX);
        }
        checks.finish()?;
        let consent = ask.consent.clone().map(|text_version| InstalmentConsent { text_version, at: now });
        Ok(Instalments::new(ask.plan, rate, consent, order.priced.payable, self.date_of(now))?)
    }

    fn refusal(&self, order: &Order, plan: InstalmentPlan) -> Option<String> {
        let orders = &self.settings.orders;
        if order.priced.payable < orders.instalments_from {
            return Some(format!(
                "instalments begin at {}, the order is {}",
                orders.instalments_from, order.priced.payable
            ));
        }
        if order.cash_on_delivery {
            return Some("an order with cash on delivery is paid at once".to_owned());
        }
        (plan == InstalmentPlan::Quarterly && !orders.quarterly).then(|| "the plan is not offered".to_owned())
    }

    fn rate(&self, plan: InstalmentPlan) -> BasisPoints {
        match plan {
            InstalmentPlan::Monthly => BasisPoints::new(0),
            InstalmentPlan::Quarterly => self.settings.orders.quarterly_rate,
        }
    }

    fn date_of(&self, at: Timestamp) -> Date {
        self.settings.zone.to_datetime(at).date()
    }
}

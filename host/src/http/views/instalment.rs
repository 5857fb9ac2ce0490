//! Instalments: what is due when.

use jiff::{Timestamp, ToSpan as _, civil::Date};
use serde::Serialize;
use utoipa::ToSchema;

use super::{MoneyView, Show, schema};
use crate::domain::instalment::{Instalment, InstalmentPlan, Instalments};

/// How an order is paid in parts.
#[derive(Serialize, ToSchema)]
#[schema(as = Instalments)]
pub(crate) struct InstalmentsView {
    /// `monthly`: three months at no fee. `quarterly`: four quarters with simple interest.
    #[schema(schema_with = schema::instalment_plan)]
    plan: InstalmentPlan,
    /// Of a month, on what is owed.
    interest_basis_points: u32,
    /// The version of the text that the member agreed to.
    consent: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    consented_at: Option<Timestamp>,
    /// After refunds.
    schedule: Vec<InstalmentView>,
    /// As agreed with the payment.
    agreed: Vec<InstalmentView>,
    /// What refunds pay back of instalments that were due before.
    paid_back: MoneyView,
}

/// One part.
#[derive(Serialize, ToSchema)]
#[schema(as = Instalment)]
pub(crate) struct InstalmentView {
    #[schema(value_type = String, format = Date)]
    due: Date,
    /// Of the order's payable.
    principal: MoneyView,
    /// On top.
    interest: MoneyView,
}

impl Show<'_> {
    /// How an order is paid in parts.
    pub(crate) fn instalments(&self, from: Instalments) -> InstalmentsView {
        let (consent, consented_at) = from.consent.map(|consent| (consent.text_version, consent.at)).unzip();
        let rows = |parts: Vec<Instalment>| parts.into_iter().map(|part| self.instalment(part)).collect();
        InstalmentsView {
            plan: from.plan,
            interest_basis_points: from.rate.get(),
            consent,
            consented_at,
            schedule: rows(from.current),
            agreed: rows(from.agreed),
            paid_back: self.money(from.paid_back),
        }
    }

    fn instalment(&self, part: Instalment) -> InstalmentView {
        InstalmentView {
            due: jiff::civil::date(1970, 1, 1).saturating_add(part.due.days()),
            principal: self.money(part.principal),
            interest: self.money(part.interest),
        }
    }
}

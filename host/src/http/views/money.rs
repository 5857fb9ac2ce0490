//! Settlements, and refunds to make.

use std::fmt::Write as _;

use jiff::{Timestamp, civil::Date};
use serde::Serialize;
use utoipa::ToSchema;

use super::{MoneyView, Show, schema};
use crate::{
    domain::{
        member::ExternalId,
        money::Money,
        offer::Funder,
        order::PaymentMethod,
        payment::{MoneyKind, RefundDue},
    },
    ids::{OrderId, PartnerId, RefundId},
    pricing::funders::ByFunder,
    service::{Error, settlement::MoneySums},
};

/// A payment that came for an order that was given up.
#[derive(Serialize, ToSchema)]
#[schema(as = RefundDue)]
pub(crate) struct RefundDueView {
    #[schema(value_type = String)]
    id: RefundId,
    #[schema(value_type = String)]
    order: OrderId,
    /// Whose order.
    #[schema(value_type = String)]
    partner: PartnerId,
    /// The payment provider's reference of the payment.
    #[schema(value_type = String)]
    reference: ExternalId,
    #[schema(schema_with = schema::payment_method)]
    method: PaymentMethod,
    amount: MoneyView,
    /// When it was reported.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The reference of the refund, once it was paid back.
    #[schema(value_type = Option<String>)]
    refund_reference: Option<ExternalId>,
    #[schema(value_type = Option<String>, format = DateTime)]
    refunded_at: Option<Timestamp>,
}

/// What each funder owes for a period.
#[derive(Serialize, ToSchema)]
#[schema(as = Settlement)]
pub(crate) struct SettlementView {
    #[schema(value_type = String, format = Date)]
    from: Date,
    #[schema(value_type = String, format = Date)]
    to: Date,
    funders: Vec<FunderOwesView>,
    /// Of all funders together.
    total: OwedView,
    /// What members paid in the period, late payments aside.
    paid: MoneyView,
    /// What they were paid back.
    refunded: MoneyView,
}

/// What one funder owes.
#[derive(Serialize, ToSchema)]
#[schema(as = FunderOwes)]
pub(crate) struct FunderOwesView {
    #[schema(schema_with = schema::funder)]
    funder: Funder,
    #[serde(flatten)]
    owed: OwedView,
}

/// Discounts given, got back, and the difference.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[schema(as = Owed)]
pub(crate) struct OwedView {
    /// Discounts of orders paid in the period.
    discounts: MoneyView,
    /// Discounts that came back with refunds of the period.
    returned: MoneyView,
    /// Discounts less what was returned; negative where more came back than was given.
    owed: MoneyView,
}

impl Show<'_> {
    /// A refund to make.
    pub(crate) fn refund_due(&self, due: RefundDue) -> RefundDueView {
        let (refund_reference, refunded_at) = due.done.map(|done| (done.reference, done.at)).unzip();
        RefundDueView {
            id: due.id,
            order: due.order,
            partner: due.partner,
            reference: due.reference,
            method: due.method,
            amount: self.money(due.amount),
            at: due.at,
            refund_reference,
            refunded_at,
        }
    }

    /// A settlement.
    ///
    /// # Errors
    ///
    /// [`Error::Overflow`].
    pub(crate) fn settlement(&self, from: Date, to: Date, sums: &MoneySums) -> Result<SettlementView, Error> {
        let (given, back) = (sums.of(MoneyKind::Payment), sums.of(MoneyKind::Refund));
        let owed = |discounts: Money, returned: Money, owed: Money| OwedView {
            discounts: self.money(discounts),
            returned: self.money(returned),
            owed: self.money(owed),
        };
        let rows = ByFunder::FUNDERS
            .into_iter()
            .zip(given.discounts.amounts())
            .zip(back.discounts.amounts().into_iter().zip(sums.owed()?.amounts()))
            .map(|((funder, given), (back, due))| FunderOwesView { funder, owed: owed(given, back, due) });
        Ok(SettlementView {
            from,
            to,
            funders: rows.collect(),
            total: owed(given.discounts.total()?, back.discounts.total()?, sums.owed()?.total()?),
            paid: self.money(given.amount),
            refunded: self.money(back.amount),
        })
    }
}

impl SettlementView {
    /// The same as CSV, in minor units.
    pub(crate) fn csv(&self) -> String {
        let mut text = "funder,discounts,returned,owed\n".to_owned();
        let mut line = |name: &str, owed: &OwedView| {
            let OwedView { discounts, returned, owed } = owed;
            let _infallible = writeln!(text, "{name},{},{},{}", discounts.minor, returned.minor, owed.minor);
        };
        for row in &self.funders {
            let name = serde_json::to_string(&row.funder).unwrap_or_default();
            line(name.trim_matches('"'), &row.owed);
        }
        line("total", &self.total);
        text
    }
}

//! What the programme owes in points.

use jiff::{Timestamp, civil::Date};
use serde::Serialize;
use utoipa::ToSchema;

use super::{MoneyView, Show};
use crate::service::liability::{Liability, MonthFlow, Worth};

/// Points and what they are worth at checkout.
#[derive(Serialize, ToSchema)]
#[schema(as = Worth)]
pub(crate) struct WorthView {
    points: i64,
    /// Rounded down.
    money: MoneyView,
}

/// What can be spent and dies in one month.
#[derive(Serialize, ToSchema)]
#[schema(as = ExpiringPoints)]
pub(crate) struct ExpiringView {
    /// In the deployment's zone.
    #[schema(example = "2027-03")]
    month: String,
    #[serde(flatten)]
    worth: WorthView,
}

/// What happened to points in one month.
#[derive(Serialize, ToSchema)]
#[schema(as = PointsFlow)]
pub(crate) struct FlowView {
    /// In the deployment's zone.
    #[schema(example = "2026-03")]
    month: String,
    /// Given for orders and activities.
    issued: WorthView,
    /// Taken over from an earlier programme.
    opening: WorthView,
    /// Given by operators, less what they took.
    adjusted: WorthView,
    /// Spent, less what refunds gave back.
    redeemed: WorthView,
    /// Died.
    expired: WorthView,
    /// Taken back after refunds.
    clawed_back: WorthView,
    /// With members at its end; in the month that is not over, now.
    outstanding: WorthView,
}

/// What the programme owes its members in points.
#[derive(Serialize, ToSchema)]
#[schema(as = PointsLiability)]
pub(crate) struct LiabilityView {
    /// As of.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Earned, not yet to be spent.
    pending: WorthView,
    /// Can be spent.
    active: WorthView,
    /// Reserved.
    held: WorthView,
    /// Owed by members: taken off.
    debt: WorthView,
    /// All of it.
    outstanding: WorthView,
    /// What can be spent, by the month it dies in.
    expiring: Vec<ExpiringView>,
    /// Whether members hold exactly what the house accounts gave beyond what they took.
    reconciled: bool,
    /// By how many points they do not.
    #[schema(value_type = i64)]
    difference: i128,
    /// Oldest first.
    months: Vec<FlowView>,
}

fn name(month: Date) -> String {
    month.strftime("%Y-%m").to_string()
}

impl Show<'_> {
    fn worth(&self, worth: Worth) -> WorthView {
        WorthView { points: worth.points, money: self.money(worth.money) }
    }

    /// The whole report.
    pub(crate) fn liability(&self, liability: Liability) -> LiabilityView {
        let expiring = |(month, worth)| ExpiringView { month: name(month), worth: self.worth(worth) };
        LiabilityView {
            at: liability.at,
            pending: self.worth(liability.pending),
            active: self.worth(liability.active),
            held: self.worth(liability.held),
            debt: self.worth(liability.debt),
            outstanding: self.worth(liability.outstanding),
            expiring: liability.expiring.into_iter().map(expiring).collect(),
            reconciled: liability.difference == 0,
            difference: liability.difference,
            months: liability.months.into_iter().map(|flow| self.flow(flow)).collect(),
        }
    }

    fn flow(&self, flow: MonthFlow) -> FlowView {
        FlowView {
            month: name(flow.month),
            issued: self.worth(flow.issued),
            opening: self.worth(flow.opening),
            adjusted: self.worth(flow.adjusted),
            redeemed: self.worth(flow.redeemed),
            expired: self.worth(flow.expired),
            clawed_back: self.worth(flow.clawed_back),
            outstanding: self.worth(flow.outstanding),
        }
    }
}

/// The same as CSV: one line for each number.
pub(crate) fn liability_lines(liability: &Liability) -> String {
    let mut csv = "section,month,name,points,minor\n".to_owned();
    let mut line = |section: &str, month: &str, what: &str, worth: Worth| {
        csv.push_str(&format!("{section},{month},{what},{},{}\n", worth.points, worth.money.get()));
    };
    let Liability { pending, active, held, debt, outstanding, .. } = *liability;
    let states =
        [("pending", pending), ("active", active), ("held", held), ("debt", debt), ("outstanding", outstanding)];
    states.into_iter().for_each(|(what, worth)| line("state", "", what, worth));
    liability.expiring.iter().for_each(|(month, worth)| line("expiring", &name(*month), "active", *worth));
    for flow in &liability.months {
        let flows = [
            ("issued", flow.issued),
            ("opening", flow.opening),
            ("adjusted", flow.adjusted),
            ("redeemed", flow.redeemed),
            ("expired", flow.expired),
            ("clawed-back", flow.clawed_back),
            ("outstanding", flow.outstanding),
        ];
        flows.into_iter().for_each(|(what, worth)| line("month", &name(flow.month), what, worth));
    }
    csv
}

//! The points ledger of one member.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{ReleaseRefView, Show, reason::ReasonView, schema};
use crate::{
    domain::{
        activity::RecordedActivity,
        member::ExternalId,
        points::{Account, Balances, Entry, Purse, Subject},
    },
    ids::{ActivityId, DecisionId, KeyId, MemberId, OrderId, RedemptionId, RefundId},
    store::Row,
};

/// A member's points at a glance.
#[derive(Serialize, ToSchema)]
#[schema(as = Balances)]
pub(crate) struct BalancesView {
    /// Earned, not yet to be spent.
    pending: i64,
    /// Can be spent.
    active: i64,
    /// Reserved by an unpaid order or for a gift.
    held: i64,
    /// Owed, where the programme claws back beyond the balance: what is earned later pays it first.
    debt: i64,
}

/// One side of a posting.
#[derive(Serialize, ToSchema)]
#[schema(as = Entry)]
pub(crate) struct EntryView {
    /// Counts up within the purse.
    number: u64,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Added to the purse; negative when taken.
    amount: i64,
    /// The purse's balance after this entry.
    balance: i64,
    /// What it is about.
    #[schema(schema_with = schema::entry_cause)]
    cause: &'static str,
    /// The order it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    order: Option<OrderId>,
    /// The refund it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    refund: Option<RefundId>,
    /// The activity it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    activity: Option<ActivityId>,
    /// The gift it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    redemption: Option<RedemptionId>,
    /// Why it was corrected, for one that is no order's and no activity's: as given with a correction by hand, `tier-gift`
    /// for what reaching a tier brings, `bonus` for a month's spending.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The API key that corrected it by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    by: Option<KeyId>,
    /// The other side: a purse of the same member, or one of the programme's accounts.
    #[schema(example = "house:issued")]
    counterpart: String,
}

impl From<Balances> for BalancesView {
    fn from(balances: Balances) -> Self {
        let Balances { pending, active, held, debt } = balances;
        Self { pending: pending.get(), active: active.get(), held: held.get(), debt: debt.get() }
    }
}

impl EntryView {
    /// The entry of this number.
    pub(crate) fn new(number: u64, row: Row<Entry>) -> Self {
        let counterpart = counterpart(&row.value);
        let Entry { amount, balance, cause, note, .. } = row.value;
        let (by, reason) = note.map_or((None, None), |note| (note.by, Some(note.why.to_string())));
        let mut view = Self {
            number,
            at: row.at,
            amount: amount.get(),
            balance: balance.get(),
            cause: cause.name(),
            order: None,
            refund: None,
            activity: None,
            redemption: None,
            reason,
            by,
            counterpart,
        };
        match cause.subject() {
            Some(Subject::Order(id)) => view.order = Some(id),
            Some(Subject::Refund(id)) => view.refund = Some(id),
            Some(Subject::Activity(id)) => view.activity = Some(id),
            Some(Subject::Redemption(id)) => view.redemption = Some(id),
            None => {}
        }
        view
    }
}

/// The other side of an entry, by name.
fn counterpart(entry: &Entry) -> String {
    match entry.counterpart {
        Account::Member(_, purse) => format!("member:{}", name(&purse)),
        Account::House(house, _) => format!("house:{}", name(&house)),
    }
}

/// The columns of a statement as CSV.
pub(crate) const STATEMENT_COLUMNS: &str = "purse,number,at,amount,balance,cause,subject,counterpart,reason,by\n";

/// A line of a statement as CSV: no field needs quotes.
pub(crate) fn statement_line(purse: Purse, number: u64, row: &Row<Entry>) -> String {
    let Entry { amount, balance, cause, note, .. } = &row.value;
    let subject = match cause.subject() {
        Some(Subject::Order(id)) => id.to_string(),
        Some(Subject::Refund(id)) => id.to_string(),
        Some(Subject::Activity(id)) => id.to_string(),
        Some(Subject::Redemption(id)) => id.to_string(),
        None => String::new(),
    };
    let reason = note.as_ref().map_or("", |note| &note.why);
    let by = note.as_ref().and_then(|note| note.by).map_or_else(String::new, |key| key.to_string());
    let (purse, at, cause, counterpart) = (name(&purse), row.at, cause.name(), counterpart(&row.value));
    format!("{purse},{number},{at},{amount},{balance},{cause},{subject},{counterpart},{reason},{by}\n")
}

/// Something that a member did, and what it earned.
#[derive(Serialize, ToSchema)]
#[schema(as = Activity)]
pub(crate) struct ActivityView {
    #[schema(value_type = String)]
    id: ActivityId,
    #[schema(value_type = String)]
    member: MemberId,
    /// What it was.
    #[schema(example = "check-in")]
    kind: String,
    /// What the partner calls it.
    #[schema(value_type = String)]
    external_id: ExternalId,
    /// When it was done.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// When it was reported.
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Timestamp,
    /// What it earned.
    points: i64,
    /// From when that can be spent.
    #[schema(value_type = Option<String>, format = DateTime)]
    active_at: Option<Timestamp>,
    /// When it dies.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Why it earned what it did.
    reasons: Vec<ReasonView>,
    /// The release that was asked.
    release: ReleaseRefView,
    /// The record of the decision.
    #[schema(value_type = String)]
    decision: DecisionId,
}

impl Show<'_> {
    /// An activity.
    pub(crate) fn activity(&self, activity: RecordedActivity) -> ActivityView {
        let release = activity.release;
        ActivityView {
            id: activity.id,
            member: activity.member,
            kind: activity.kind.to_string(),
            external_id: activity.external_id,
            at: activity.at,
            recorded_at: activity.recorded_at,
            points: activity.points.get(),
            active_at: activity.active_at,
            expires_at: activity.expires_at,
            reasons: self.reasons(activity.reasons, std::slice::from_ref(&release)),
            release: release.into(),
            decision: activity.decision,
        }
    }
}

/// The name that serde gives a plain choice.
fn name(choice: &impl Serialize) -> String {
    serde_json::to_value(choice).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

//! The points ledger of one member.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::schema;
use crate::{
    domain::points::{Account, Balances, Cause, Entry},
    ids::{OrderId, RefundId},
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
    /// Reserved by an unpaid order.
    held: i64,
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
    /// The other side: a purse of the same member, or one of the programme's accounts.
    #[schema(example = "house:issued")]
    counterpart: String,
}

impl From<Balances> for BalancesView {
    fn from(balances: Balances) -> Self {
        Self { pending: balances.pending.get(), active: balances.active.get(), held: balances.held.get() }
    }
}

impl EntryView {
    /// The entry of this number.
    pub(crate) fn new(number: u64, row: Row<Entry>) -> Self {
        let (cause, order, refund) = match row.value.cause {
            Cause::Earned(order) => ("earned", Some(order), None),
            Cause::Activated(order) => ("activated", Some(order), None),
            Cause::Held(order) => ("held", Some(order), None),
            Cause::Released(order) => ("released", Some(order), None),
            Cause::Spent(order) => ("spent", Some(order), None),
            Cause::Restored(refund) => ("restored", None, Some(refund)),
            Cause::ClawedBack(refund) => ("clawed-back", None, Some(refund)),
            Cause::Expired => ("expired", None, None),
            Cause::Adjusted => ("adjusted", None, None),
            Cause::Opening => ("opening", None, None),
        };
        let counterpart = match row.value.counterpart {
            Account::Member(_, purse) => format!("member:{}", name(&purse)),
            Account::House(house, _) => format!("house:{}", name(&house)),
        };
        Self {
            number,
            at: row.at,
            amount: row.value.amount.get(),
            balance: row.value.balance.get(),
            cause,
            order,
            refund,
            counterpart,
        }
    }
}

/// The name that serde gives a plain choice.
fn name(choice: &impl Serialize) -> String {
    serde_json::to_value(choice).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

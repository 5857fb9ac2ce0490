//! What keeps an offer from being used now, as a reason with what was observed and what is required.

use jiff::civil::DateTime;

use crate::{
    domain::{
        fact::{Facts, Value},
        limit::{Measure, Period, Room, Short, Whose},
        offer::Offer,
        rule::{Parameter, Reason},
        window,
    },
    ids::MemberId,
    ledger::limits::{self, Taking},
    pricing::reasons,
    service::Error,
    store::Tx,
};

/// How the limits of an offer stand for one more use by this member: the tightest one of amounts, or why there is no use
/// left. What the use takes off is not known yet: it is one fen at least, and pricing holds it against the limit.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn standing(
    tx: &mut Tx<'_>,
    offer: &Offer,
    member: MemberId,
    local: DateTime,
) -> Result<Result<Option<Room>, Reason>, Error> {
    let amounts = [(Measure::Uses, 1), (Measure::Amount, 1)];
    let limits = limits::limits(offer);
    let standing = Taking { offer: offer.id, limits: &limits, member, local, amounts: &amounts }.standing(tx)?;
    Ok(standing.map_err(reasons::limited))
}

/// Why none of an offer's windows is open to this member at this time.
pub(in crate::service) fn closed(offer: &Offer, local: DateTime, birthday_month: bool) -> Option<Reason> {
    if window::is_open(&offer.windows, local, birthday_month) {
        return None;
    }
    let observed = local.strftime("%Y-%m-%d %H:%M W%u").to_string();
    Some(reasons::NOT_OPEN.with(vec![Parameter::Text(observed), Parameter::Text(windows(offer))]))
}

/// The first condition that the facts of a member do not meet.
pub(in crate::service) fn ineligible(offer: &Offer, facts: &Facts) -> Option<Reason> {
    let unmet = offer.conditions.iter().find(|condition| !condition.holds(facts))?;
    let texts = [unmet.fact.clone(), shown(unmet.observed(facts)), unmet.to_string()];
    Some(reasons::NOT_ELIGIBLE.with(texts.map(Parameter::Text).to_vec()))
}

/// What a fact says, in signs.
pub(in crate::service) fn shown(value: &Value) -> String {
    match value {
        Value::Absent => "unknown".to_owned(),
        Value::Flag(flag) => flag.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Texts(texts) => texts.join(", "),
    }
}

/// A limit that does not allow it, for an error.
pub(in crate::service) fn words(short: Short) -> String {
    let period = match short.limit.period {
        Period::Ever => "in all",
        Period::Day => "a day",
        Period::Week => "a week",
        Period::Month => "a month",
        Period::Hour => "an hour",
        Period::Minute => "a minute",
    };
    match short.limit.whose {
        Whose::All => format!("{} are left of {} {period}", short.observed, short.limit.most),
        Whose::Member => format!("the member has had {}, the limit is {} {period}", short.observed, short.limit.most),
    }
}

/// An offer's windows, in signs.
pub(in crate::service) fn windows(offer: &Offer) -> String {
    let windows: Vec<String> = offer.windows.iter().map(ToString::to_string).collect();
    windows.join("; ")
}

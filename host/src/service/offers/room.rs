//! What keeps an offer from being used now, as a reason with what was observed and what is required.

use jiff::civil::DateTime;

use crate::{
    domain::{
        fact::{Facts, Value},
        limit::{Measure, Period, Whose},
        money::Money,
        offer::Offer,
        rule::{Parameter, Reason},
        window,
    },
    ids::MemberId,
    ledger::limits::{self, Short, Taking},
    pricing::reasons,
    service::Error,
    store::Tx,
};

/// The limit that one more use by this member would break, as far as can be told before the order is placed: the amount
/// is not known yet, and counts as one.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn shortage(
    tx: &mut Tx<'_>,
    offer: &Offer,
    member: MemberId,
    local: DateTime,
) -> Result<Option<Reason>, Error> {
    let amounts = [(Measure::Uses, 1), (Measure::Amount, 1)];
    let limits = limits::limits(offer);
    let short = Taking { offer: offer.id, limits: &limits, member, local, amounts: &amounts }.shortage(tx)?;
    Ok(short.map(reason))
}

/// A limit that does not allow it, as a reason.
pub(in crate::service) fn reason(short: Short) -> Reason {
    let number = |count: i64| match short.limit.measure {
        Measure::Amount => Parameter::Money(Money::new(count)),
        Measure::Uses | Measure::Issues => Parameter::Integer(count),
    };
    match short.limit.whose {
        Whose::All => reasons::BUDGET_GONE.with(vec![number(short.observed), number(short.wanted)]),
        Whose::Member => reasons::MEMBER_LIMIT.with(vec![number(short.observed), number(short.limit.most)]),
    }
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

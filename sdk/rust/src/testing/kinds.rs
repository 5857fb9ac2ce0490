//! How the cases of each kind are run.

use serde_json::{Value as Json, json};

use super::{
    case::{Case, Named, positional, reason_json},
    contract::{check_description, check_findings, check_proposal, check_reasons, check_scores, is_name},
    refused, run,
};
use crate::{
    ContentGuard, CouponPolicy, EarningRule, Facts, Scorer, Terms, TierRule,
    bindings::exports::galenic::plugin::{
        content_guard::Draft as WireDraft,
        coupon_policy::Cart as WireCart,
        scorer::{Candidate as WireCandidate, Request as WireRequest},
    },
    config, content_guard,
    content_guard::Finding,
    coupon_policy,
    coupon_policy::{Outcome, Proposal},
    earning_rule,
    earning_rule::Activity,
    scorer,
    scorer::{Score, Shelf},
    tier_rule,
    tier_rule::{Column, Subject, Tier},
    types::{Reason, Value, ValueType},
};

/// Runs the cases of a tier rule; `config` is the configuration of those that bring none.
///
/// # Panics
///
/// If a case fails or the rule breaks the contract, with everything that differs.
pub fn tier_rule<T: TierRule>(config: &str, cases: &str) {
    check_description(&tier_rule::describe::<T>(), T::REASONS);
    run(config, cases, |case, config| {
        let rule = match config::parse(config).and_then(T::configure) {
            Ok(rule) => rule,
            Err(errors) => return Ok(refused(&errors)),
        };
        let tiers = rule.tiers();
        check_tiers(&tiers)?;
        let facts = facts::<T::Facts>(&case.facts)?;
        check_columns(&rule, case, &facts)?;
        let subject = Subject { as_of: case.as_of.as_millisecond(), facts };
        let verdict = only(tier_rule::evaluate(&rule, vec![subject]))?;
        let tier = tiers.get(usize::from(verdict.tier)).ok_or("a tier that the rule does not list")?;
        Ok(json!({ "tier": tier.code, "reasons": reasons(&verdict.reasons, T::REASONS)? }))
    });
}

fn check_tiers(tiers: &[Tier]) -> Result<(), String> {
    if !(1..=32).contains(&tiers.len()) {
        return Err(format!("{} tiers; a rule has 1 to 32", tiers.len()));
    }
    match tiers.iter().find(|tier| !is_name(&tier.code) || tier.code.len() > 32) {
        Some(tier) => Err(format!("the code `{}` is not 1 to 32 bytes of a-z, 0-9 and -", tier.code)),
        None => Ok(()),
    }
}

/// Bulk evaluation agrees with single verdicts, here and next to here.
fn check_columns<T: TierRule>(rule: &T, case: &Case, facts: &[Value]) -> Result<(), String> {
    if T::Facts::WANTED.is_empty() || T::Facts::WANTED.iter().any(|wanted| wanted.value_type == ValueType::Texts) {
        return Ok(());
    }
    let as_of = case.as_of.as_millisecond();
    let rows = neighbours(facts);
    let columns =
        (0..facts.len()).map(|i| column(T::Facts::WANTED[i].value_type, rows.iter().map(|row| &row[i]))).collect();
    let bulk = tier_rule::evaluate_columns(rule, crate::Instant::new(as_of), columns);
    let single = tier_rule::evaluate(rule, rows.iter().map(|row| Subject { as_of, facts: row.clone() }).collect());
    for ((row, bulk), single) in rows.iter().zip(bulk).zip(single) {
        if bulk != single.tier {
            return Err(format!("columns give tier {bulk}, a single verdict gives {}, for {row:?}", single.tier));
        }
    }
    Ok(())
}

/// The facts themselves, and with one of them moved a little, to an end, or away.
fn neighbours(facts: &[Value]) -> Vec<Vec<Value>> {
    let mut rows = vec![facts.to_vec()];
    for (i, value) in facts.iter().enumerate() {
        let others = match value {
            Value::Integer(n) => {
                [n.saturating_sub(1), n.saturating_add(1), 0, -1, i64::MAX, i64::MIN + 1].map(Value::Integer).to_vec()
            }
            Value::Flag(flag) => vec![Value::Flag(!flag)],
            Value::Absent | Value::Text(_) | Value::Texts(_) => Vec::new(),
        };
        for other in others.into_iter().chain([Value::Absent]) {
            let mut row = facts.to_vec();
            row[i] = other;
            rows.push(row);
        }
    }
    rows
}

fn column<'a>(value_type: ValueType, values: impl Iterator<Item = &'a Value>) -> Column {
    match value_type {
        ValueType::Flag => {
            Column::Flags(values.map(|value| if let Value::Flag(flag) = value { u8::from(*flag) } else { 2 }).collect())
        }
        ValueType::Text | ValueType::Texts => Column::Texts(
            values.map(|value| if let Value::Text(text) = value { text.clone() } else { String::new() }).collect(),
        ),
        _ => Column::Integers(
            values.map(|value| if let Value::Integer(number) = value { *number } else { i64::MIN }).collect(),
        ),
    }
}

/// Runs the cases of an earning rule; `config` is the configuration of those that bring none.
///
/// # Panics
///
/// If a case fails or the rule breaks the contract, with everything that differs.
pub fn earning_rule<T: EarningRule>(config: &str, cases: &str) {
    check_description(&earning_rule::describe::<T>(), T::REASONS);
    run(config, cases, |case, config| {
        let rule = match config::parse(config).and_then(T::configure) {
            Ok(rule) => rule,
            Err(errors) => return Ok(refused(&errors)),
        };
        let activity = Activity {
            as_of: case.as_of.as_millisecond(),
            facts: facts::<T::Facts>(&case.facts)?,
            lines: lines::<T::Line>(&case.lines)?,
        };
        let award = only(earning_rule::evaluate(&rule, vec![activity]))?;
        if award.points < 0 || award.pending_days > 366 || !(1..=120).contains(&award.valid_months) {
            return Err(format!("an award beyond its limits: {award:?}"));
        }
        Ok(json!({
            "points": award.points,
            "pending_days": award.pending_days,
            "valid_months": award.valid_months,
            "reasons": reasons(&award.reasons, T::REASONS)?,
        }))
    });
}

/// Runs the cases of a coupon policy; `config` is the configuration of those that bring none.
///
/// # Panics
///
/// If a case fails or the policy breaks the contract, with everything that differs.
pub fn coupon_policy<T: CouponPolicy>(config: &str, cases: &str) {
    check_description(&coupon_policy::describe::<T>(), T::REASONS);
    let terms = T::Terms::TERMS;
    assert!(terms.len() <= 64, "more than 64 terms");
    assert!(terms.iter().all(|term| is_name(term.name)), "a term's name is not 1 to 64 bytes of a-z, 0-9 and -");
    run(config, cases, |case, config| {
        let policy = match config::parse(config).and_then(T::configure) {
            Ok(policy) => policy,
            Err(errors) => return Ok(refused(&errors)),
        };
        case.offers.iter().map(|offer| judge(&policy, case, offer)).collect()
    });
}

/// What the policy makes of one offer for the case's cart.
fn judge<T: CouponPolicy>(policy: &T, case: &Case, offer: &Named) -> Result<Json, String> {
    let terms = positional(T::Terms::TERMS.iter().map(|term| (term.name, term.value_type)), offer)?;
    if let Err(errors) = coupon_policy::check_terms(policy, terms.clone()) {
        return Ok(refused(&errors));
    }
    let cart = WireCart {
        as_of: case.as_of.as_millisecond(),
        facts: facts::<T::Facts>(&case.facts)?,
        lines: lines::<T::Line>(&case.lines)?,
        offers: vec![terms],
    };
    let proposal = only(only(coupon_policy::evaluate(policy, vec![cart]))?)?;
    let amount = |named: &Named, name| named.get(name).and_then(Json::as_i64).unwrap_or_default();
    let amounts: Vec<_> = case.lines.iter().map(|line| amount(line, "line.amount")).collect();
    check_proposal(&proposal, &amounts, amount(&case.facts, "cart.delivery-fee"))?;
    let mut json = outcome(&proposal);
    json["reasons"] = reasons(&proposal.reasons, T::REASONS)?;
    Ok(json)
}

fn outcome(proposal: &Proposal) -> Json {
    match &proposal.outcome {
        Outcome::Declined => json!({ "outcome": "declined" }),
        Outcome::Shared(shared) => json!({ "outcome": "shared", "amount": shared.amount, "lines": shared.lines }),
        Outcome::Lines(lines) => {
            let amounts: Vec<_> = lines.iter().map(|discount| json!([discount.line, discount.amount])).collect();
            json!({ "outcome": "lines", "amounts": amounts })
        }
        Outcome::Delivery(amount) => json!({ "outcome": "delivery", "amount": amount }),
    }
}

/// Runs the cases of a scorer; `config` is the configuration of those that bring none.
///
/// # Panics
///
/// If a case fails or the scorer breaks the contract, with everything that differs.
pub fn scorer<T: Scorer>(config: &str, cases: &str) {
    check_description(&scorer::describe::<T>(), T::REASONS);
    run(config, cases, |case, config| {
        let scorer = match config::parse(config).and_then(T::configure) {
            Ok(scorer) => scorer,
            Err(errors) => return Ok(refused(&errors)),
        };
        let mut candidates = Vec::with_capacity(case.candidates.len());
        for candidate in &case.candidates {
            candidates.push(WireCandidate {
                facts: facts::<T::Candidate>(&candidate.facts)?,
                purchased_at: candidate.purchased_at.iter().map(|at| at.as_millisecond()).collect(),
            });
        }
        let (as_of, facts) = (case.as_of.as_millisecond(), facts::<T::Facts>(&case.facts)?);
        let scores = only(scorer::evaluate(&scorer, vec![WireRequest { as_of, facts, candidates }]))?;
        check_scores(&scores, case.candidates.len())?;
        ranked(scores).iter().map(|score| score_json::<T>(score)).collect()
    });
}

/// As the host shows them: the highest first, then in the order of the candidates.
fn ranked(mut scores: Vec<Score>) -> Vec<Score> {
    scores.sort_by(|one, other| other.value.total_cmp(&one.value).then(one.candidate.cmp(&other.candidate)));
    scores
}

fn score_json<T: Scorer>(score: &Score) -> Result<Json, String> {
    let shelf = match score.shelf {
        Shelf::BuyAgain => "buy-again",
        Shelf::Discover => "discover",
    };
    let value = (score.value * 1e4).round() / 1e4;
    let reasons = reasons(&score.reasons, T::REASONS)?;
    Ok(json!({ "candidate": score.candidate, "shelf": shelf, "value": value, "reasons": reasons }))
}

/// Runs the cases of a content guard; `config` is the configuration of those that bring none.
///
/// # Panics
///
/// If a case fails or the guard breaks the contract, with everything that differs.
pub fn content_guard<T: ContentGuard>(config: &str, cases: &str) {
    check_description(&content_guard::describe::<T>(), T::REASONS);
    run(config, cases, |case, config| {
        let guard = match config::parse(config).and_then(T::configure) {
            Ok(guard) => guard,
            Err(errors) => return Ok(refused(&errors)),
        };
        let draft = WireDraft { facts: facts::<T::Facts>(&case.facts)?, parts: case.parts.clone() };
        let findings = only(content_guard::check(&guard, vec![draft]))?;
        check_findings(&findings, &case.parts)?;
        findings.iter().map(|finding| finding_json::<T>(finding, &case.parts)).collect()
    });
}

fn finding_json<T: ContentGuard>(finding: &Finding, parts: &[String]) -> Result<Json, String> {
    let part = parts.get(usize::from(finding.part));
    let text = part.and_then(|part| part.get(finding.start as usize..finding.end as usize));
    let reason = reasons(std::slice::from_ref(&finding.reason), T::REASONS)?;
    Ok(json!({
        "part": finding.part, "start": finding.start, "end": finding.end, "text": text, "reason": reason[0],
    }))
}

fn facts<F: Facts>(named: &Named) -> Result<Vec<Value>, String> {
    positional(F::WANTED.iter().map(|wanted| (wanted.name, wanted.value_type)), named)
}

fn lines<F: Facts>(lines: &[Named]) -> Result<Vec<Vec<Value>>, String> {
    lines.iter().map(facts::<F>).collect()
}

fn reasons(given: &[Reason], codes: &[crate::ReasonCode]) -> Result<Json, String> {
    check_reasons(given, codes)?;
    Ok(given.iter().map(|reason| reason_json(reason, codes)).collect())
}

/// One question, one answer.
fn only<T>(mut answers: Vec<T>) -> Result<T, String> {
    match (answers.pop(), answers.is_empty()) {
        (Some(answer), true) => Ok(answer),
        _ => Err("not one answer for one question".to_owned()),
    }
}

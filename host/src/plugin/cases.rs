//! Runs a plugin's `cases.json` through its component: the file that the SDK's test kit runs natively.
//!
//! The kit (`galenic_sdk::testing`) says what a case may hold and how `expect` is compared; this is the same, with the
//! engine between the case and the plugin.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{
    budget::{Budgets, Grants},
    engine::Engine,
    fault::Fault,
    module::{FieldError, Module},
    release::{Fallback, Release, ReleaseError, ReleaseSpec},
};
use crate::domain::{
    fact::{Fact, Facts, Scope, Value, ValueType},
    rule::{Activity, CartSubject, Kind, Outcome, Parameter, Proposal, Reason, TierSubject},
};

/// Facts or terms by name.
type Named = BTreeMap<String, Json>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    config: Option<Json>,
    #[serde(default)]
    as_of: Timestamp,
    #[serde(default)]
    facts: Named,
    #[serde(default)]
    lines: Vec<Named>,
    #[serde(default)]
    offers: Vec<Named>,
    expect: Json,
}

/// Why a plugin's cases are not all right.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// The file is no list of cases.
    #[error("cases.json: {0}")]
    Format(String),
    /// Cases that came out differently.
    #[error("{} of {cases} cases failed:\n{}", .failures.len(), .failures.join("\n"))]
    Failed {
        /// How many there are.
        cases: usize,
        /// Each with its name and what differs.
        failures: Vec<String>,
    },
}

/// Runs every case; returns how many there are. `config` is the configuration of those that bring none.
///
/// # Errors
///
/// [`CasesError`] with everything that differs.
pub async fn run_cases(engine: &Engine, module: &Arc<Module>, config: &Json, cases: &str) -> Result<usize, CasesError> {
    let cases: Vec<Case> = serde_json::from_str(cases).map_err(|error| CasesError::Format(error.to_string()))?;
    if cases.is_empty() {
        return Err(CasesError::Format("it holds no case".to_owned()));
    }
    let usual = prepare(engine, module, config).await;
    let mut failures = Vec::new();
    for case in &cases {
        let own = match &case.config {
            Some(config) => Some(prepare(engine, module, config).await),
            None => None,
        };
        let mut differences = Vec::new();
        match answer(own.as_ref().unwrap_or(&usual), case).await {
            Ok(actual) => compare(&case.expect, &actual, "", &mut differences),
            Err(error) => differences.push(error),
        }
        if !differences.is_empty() {
            failures.push(format!("  {}\n    {}", case.name, differences.join("\n    ")));
        }
    }
    if failures.is_empty() { Ok(cases.len()) } else { Err(CasesError::Failed { cases: cases.len(), failures }) }
}

async fn prepare(engine: &Engine, module: &Arc<Module>, config: &Json) -> Result<Arc<Release>, ReleaseError> {
    let spec = ReleaseSpec {
        slot: "cases".into(),
        number: 1,
        module: Arc::clone(module),
        config: config.clone(),
        grants: Grants { personal: true, health: true },
        budgets: Budgets::standard(),
        fallback: Fallback::Skip,
        previous: None,
    };
    engine.prepare(spec).await
}

/// What comes out, as a case spells it.
async fn answer(release: &Result<Arc<Release>, ReleaseError>, case: &Case) -> Result<Json, String> {
    let release = match release {
        Ok(release) => release,
        Err(ReleaseError::Config(fields)) => return Ok(refused(fields)),
        Err(error) => return Err(error.to_string()),
    };
    let wanted = &release.module().description().facts;
    let facts = facts(wanted, Scope::Subject, &case.facts)?;
    let lines = case.lines.iter().map(|line| self::facts(wanted, Scope::Line, line));
    let lines: Vec<Facts> = lines.collect::<Result<_, _>>()?;
    match release.module().kind() {
        Kind::TierRule => tier(release, TierSubject { as_of: case.as_of, facts }).await,
        Kind::EarningRule => {
            let answered = release.earn(&[Activity { as_of: case.as_of, facts, lines }]).await;
            let award = answered.answers[0].value().ok_or_else(|| failed(answered.fault()))?;
            Ok(json!({
                "points": award.points,
                "pending_days": award.pending_days,
                "valid_months": award.valid_months,
                "reasons": reasons(&award.reasons),
            }))
        }
        Kind::CouponPolicy => {
            let mut judged = Vec::new();
            for offer in &case.offers {
                let cart =
                    CartSubject { as_of: case.as_of, facts: facts.clone(), lines: lines.clone(), offers: vec![] };
                judged.push(judge(release, cart, offer).await?);
            }
            Ok(Json::Array(judged))
        }
    }
}

/// A single verdict, with which the bulk evaluation must agree.
async fn tier(release: &Release, subject: TierSubject) -> Result<Json, String> {
    let answered = release.tier(std::slice::from_ref(&subject)).await;
    let verdict = answered.answers[0].value().ok_or_else(|| failed(answered.fault()))?;
    if release.module().description().facts.iter().all(|fact| fact.value_type != ValueType::Texts) {
        let columns = release.tier_columns(subject.as_of, std::slice::from_ref(&subject.facts)).await;
        let columns = columns.map_err(|fault| format!("by column: {fault}"))?;
        let bulk = &release.tiers()[usize::from(columns.tiers[0])].code;
        if *bulk != verdict.tier {
            return Err(format!("columns give tier {bulk}, a single verdict gives {}", verdict.tier));
        }
    }
    Ok(json!({ "tier": verdict.tier.to_string(), "reasons": reasons(&verdict.reasons) }))
}

/// What the policy makes of one offer.
async fn judge(release: &Release, mut cart: CartSubject, offer: &Named) -> Result<Json, String> {
    let known = &release.module().description().terms;
    check_names(known.iter().map(|term| term.name.as_str()), offer)?;
    let value_of = |term: &super::Term| value(&term.name, term.value_type, offer.get(&term.name));
    let terms: Vec<Value> = known.iter().map(value_of).collect::<Result<_, _>>()?;
    match release.check_terms(&terms).await {
        Ok(Ok(())) => {}
        Ok(Err(fields)) => return Ok(refused(&fields)),
        Err(fault) => return Err(fault.to_string()),
    }
    cart.offers.push(terms);
    let answered = release.price(&[cart]).await;
    let proposals = answered.answers[0].value().ok_or_else(|| failed(answered.fault()))?;
    let proposal = proposals.first().ok_or("no proposal")?;
    let mut json = outcome(proposal);
    json["reasons"] = reasons(&proposal.reasons);
    Ok(json)
}

fn failed(fault: Option<&Fault>) -> String {
    fault.map_or_else(|| "no answer".to_owned(), Fault::to_string)
}

/// A refusal: each pointer once, because the schema finds every fault of a field and the plugin alone the first.
fn refused(fields: &[FieldError]) -> Json {
    let mut pointers: Vec<&str> = fields.iter().map(|field| field.pointer.as_str()).collect();
    pointers.dedup();
    json!({ "refused": pointers })
}

fn check_names<'a>(known: impl Iterator<Item = &'a str> + Clone, named: &Named) -> Result<(), String> {
    match named.keys().find(|name| known.clone().all(|known| known != name.as_str())) {
        Some(unknown) => {
            let known: Vec<&str> = known.collect();
            Err(format!("the plugin does not ask for `{unknown}`; it asks for {}", known.join(", ")))
        }
        None => Ok(()),
    }
}

/// The facts of a case. Those that pricing checks amounts against need not be wanted.
fn facts(wanted: &[&'static Fact], scope: Scope, named: &Named) -> Result<Facts, String> {
    let always = [&crate::domain::fact::LINE_AMOUNT, &crate::domain::fact::CART_DELIVERY_FEE];
    let known = wanted.iter().copied().chain(always).filter(|fact| fact.scope == scope);
    check_names(known.clone().map(|fact| fact.name), named)?;
    let mut facts = Facts::of(scope);
    for fact in known {
        facts.set(fact, value(fact.name, fact.value_type, named.get(fact.name))?);
    }
    Ok(facts)
}

fn value(name: &str, value_type: ValueType, json: Option<&Json>) -> Result<Value, String> {
    let json = json.unwrap_or(&Json::Null);
    let read = match (value_type, json) {
        (_, Json::Null) => Some(Value::Absent),
        (ValueType::Flag, Json::Bool(flag)) => Some(Value::Flag(*flag)),
        (ValueType::Text, Json::String(text)) => Some(Value::Text(text.clone())),
        (ValueType::Instant, Json::String(text)) => {
            text.parse::<Timestamp>().ok().map(|instant| Value::Integer(instant.as_millisecond()))
        }
        (ValueType::Texts, Json::Array(items)) => {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>().map(Value::Texts)
        }
        (ValueType::Flag | ValueType::Text | ValueType::Texts, _) => None,
        (_, number) => number.as_i64().map(Value::Integer),
    };
    read.ok_or_else(|| format!("`{name}` is of type {} and cannot be {json}", value_type.name()))
}

fn outcome(proposal: &Proposal) -> Json {
    match &proposal.outcome {
        Outcome::Declined => json!({ "outcome": "declined" }),
        Outcome::Shared { amount, lines } => json!({ "outcome": "shared", "amount": amount, "lines": lines }),
        Outcome::Lines(amounts) => json!({ "outcome": "lines", "amounts": amounts }),
        Outcome::Delivery(amount) => json!({ "outcome": "delivery", "amount": amount }),
    }
}

fn reasons(reasons: &[Reason]) -> Json {
    let parameter = |parameter: &Parameter| match parameter {
        Parameter::Integer(count) => json!({ "integer": count }),
        Parameter::Money(amount) => json!({ "money": amount }),
        Parameter::Points(points) => json!({ "points": points }),
        Parameter::BasisPoints(rate) => json!({ "basis_points": rate }),
        Parameter::Text(text) => json!({ "text": text }),
    };
    let reason = |reason: &Reason| -> Json {
        std::iter::once(json!(reason.code.to_string())).chain(reason.parameters.iter().map(parameter)).collect()
    };
    reasons.iter().map(reason).collect()
}

/// Notes where `actual` differs from what is expected. A member of an object that is not expected is not looked at.
fn compare(expected: &Json, actual: &Json, pointer: &str, differences: &mut Vec<String>) {
    match (expected, actual) {
        (Json::Object(expected), Json::Object(members)) => {
            for (name, expected) in expected {
                compare(expected, members.get(name).unwrap_or(&Json::Null), &format!("{pointer}/{name}"), differences);
            }
        }
        (Json::Array(expected), Json::Array(items)) if expected.len() == items.len() => {
            for (index, (expected, item)) in expected.iter().zip(items).enumerate() {
                compare(expected, item, &format!("{pointer}/{index}"), differences);
            }
        }
        _ if expected == actual => {}
        _ => differences.push(format!("at {pointer}\n      expected {expected}\n      got      {actual}")),
    }
}

//! Runs a plugin's `cases.json` through WASM: the file that the SDK's test kit runs natively, with the same meaning.
//!
//! Each case is a call of a release with the case's configuration and must give what it expects; a fault fails it. The
//! format stands in the SDK, at `galenic_sdk::testing`.

mod channel;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{
    budget::{Budgets, Grants},
    call::Answered,
    engine::Engine,
    module::{FieldError, Module},
    outbound::Step,
    release::{Fallback, Release, ReleaseError, ReleaseSpec},
};
use crate::domain::{
    fact::{self, Facts, Scope, Value, ValueType},
    guard::{Draft, Finding},
    rule::{Activity, CartSubject, Kind, Outcome, Parameter, Proposal, Reason, TierSubject},
    score::{Candidate, Score, ScoreRequest, Shelf},
};

/// Facts or terms by name.
type Named = BTreeMap<String, Json>;

/// One entry of the file.
#[derive(Debug, Deserialize)]
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
    /// For channels: what is to be delivered, or the report to be read; neither asks for the traits.
    message: Option<channel::CaseMessage>,
    incoming: Option<channel::CaseIncoming>,
    /// For channels: secrets by name, and what the vendor is sent and answers.
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default)]
    exchange: Vec<Step>,
    #[serde(default)]
    candidates: Vec<CandidateCase>,
    #[serde(default)]
    parts: Vec<String>,
    expect: Json,
}

/// A candidate of a scorer's case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CandidateCase {
    #[serde(default)]
    facts: Named,
    #[serde(default)]
    purchased_at: Vec<Timestamp>,
}

/// What became of the cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CasesReport {
    /// How many there are.
    pub cases: usize,
    /// Those that failed, in words: the name, then every difference.
    pub failures: Vec<String>,
}

/// The file holds no cases.
#[derive(Debug, thiserror::Error)]
#[error("the cases cannot be read: {0}")]
pub struct BadCases(String);

/// A release, or why its configuration was refused.
type Configured = Result<Arc<Release>, Vec<FieldError>>;

/// Runs every case; `config` is the configuration of those that bring none. All facts are granted.
///
/// # Errors
///
/// [`BadCases`] if the text is no list of cases.
pub async fn run_cases(
    engine: &Engine,
    module: &Arc<Module>,
    config: &Json,
    cases: &str,
) -> Result<CasesReport, BadCases> {
    let cases: Vec<Case> = serde_json::from_str(cases).map_err(|error| BadCases(error.to_string()))?;
    if cases.is_empty() {
        return Err(BadCases("the list is empty".to_owned()));
    }
    let mut releases: BTreeMap<String, Configured> = BTreeMap::new();
    let mut report = CasesReport { cases: cases.len(), failures: Vec::new() };
    for case in &cases {
        let config = case.config.as_ref().unwrap_or(config);
        let key = config.to_string();
        if !releases.contains_key(&key) {
            match configure(engine, module, config).await {
                Ok(configured) => drop(releases.insert(key.clone(), configured)),
                Err(why) => {
                    report.failures.push(format!("{}: {why}", case.name));
                    continue;
                }
            }
        }
        let outcome = match &releases[&key] {
            Ok(release) => answer(release, case).await,
            Err(fields) => Ok(refused(fields)),
        };
        let differences = match outcome {
            Ok(actual) => differences(&case.expect, &actual),
            Err(why) => vec![why],
        };
        if !differences.is_empty() {
            report.failures.push(format!("{}: {}", case.name, differences.join("; ")));
        }
    }
    Ok(report)
}

async fn configure(engine: &Engine, module: &Arc<Module>, config: &Json) -> Result<Configured, String> {
    let spec = ReleaseSpec {
        slot: "cases".into(),
        number: 1,
        module: Arc::clone(module),
        config: config.clone(),
        grants: Grants { personal: true, health: true, ..Grants::default() },
        budgets: Budgets::of(module.kind()),
        fallback: Fallback::FailClosed,
        previous: None,
    };
    match engine.rehearse(spec).await {
        Ok(release) => Ok(Ok(release)),
        Err(ReleaseError::Config(fields)) => Ok(Err(fields)),
        Err(other) => Err(other.to_string()),
    }
}

async fn answer(release: &Release, case: &Case) -> Result<Json, String> {
    let facts = facts(release.module(), Scope::Subject, &case.facts)?;
    let line = |named| self::facts(release.module(), Scope::Line, named);
    let lines: Vec<Facts> = case.lines.iter().map(line).collect::<Result<_, _>>()?;
    match release.module().kind() {
        Kind::TierRule => {
            let verdict = only(release.tier(&[TierSubject { as_of: case.as_of, facts }]).await)?;
            Ok(json!({ "tier": &*verdict.tier, "reasons": reasons(&verdict.reasons) }))
        }
        Kind::EarningRule => {
            let award = only(release.earn(&[Activity { as_of: case.as_of, facts, lines }]).await)?;
            Ok(json!({
                "points": award.points,
                "pending_days": award.pending_days,
                "valid_months": award.valid_months,
                "reasons": reasons(&award.reasons),
            }))
        }
        Kind::CouponPolicy => {
            let mut judged = Vec::with_capacity(case.offers.len());
            for offer in &case.offers {
                judged.push(judge(release, case, facts.clone(), lines.clone(), offer).await?);
            }
            Ok(Json::Array(judged))
        }
        Kind::Channel => channel::answer(release, case).await,
        Kind::Scorer => {
            let candidate = |named: &CandidateCase| {
                let facts = self::facts(release.module(), Scope::Candidate, &named.facts)?;
                Ok(Candidate { facts, purchased_at: named.purchased_at.clone() })
            };
            let candidates = case.candidates.iter().map(candidate).collect::<Result<_, String>>()?;
            let request = ScoreRequest { as_of: case.as_of, facts, candidates };
            Ok(scores(only(release.score(&[request]).await)?))
        }
        Kind::ContentGuard => {
            let findings = only(release.guard(&[Draft { facts, parts: case.parts.clone() }]).await)?;
            Ok(findings.iter().map(|found| finding(found, &case.parts)).collect())
        }
    }
}

/// Scores as the host shows them: the highest first, then in the order of the candidates.
fn scores(mut scores: Vec<Score>) -> Json {
    scores.sort_by(|one, other| other.value.total_cmp(&one.value).then(one.candidate.cmp(&other.candidate)));
    let spell = |score: Score| {
        let shelf = match score.shelf {
            Shelf::BuyAgain => "buy-again",
            Shelf::Discover => "discover",
        };
        let value = (score.value * 1e4).round() / 1e4;
        json!({ "candidate": score.candidate, "shelf": shelf, "value": value, "reasons": reasons(&score.reasons) })
    };
    scores.into_iter().map(spell).collect()
}

/// A finding and the text it is about, as it stands there.
fn finding(finding: &Finding, parts: &[String]) -> Json {
    let part = parts.get(usize::from(finding.part));
    let text = part.and_then(|part| part.get(finding.start as usize..finding.end as usize));
    let reason = reasons(std::slice::from_ref(&finding.reason));
    json!({ "part": finding.part, "start": finding.start, "end": finding.end, "text": text, "reason": reason[0] })
}

/// What the policy makes of one offer for the case's cart.
async fn judge(release: &Release, case: &Case, facts: Facts, lines: Vec<Facts>, offer: &Named) -> Result<Json, String> {
    let said = release.module().description();
    if let Some(unknown) = offer.keys().find(|name| said.terms.iter().all(|term| term.name != **name)) {
        return Err(format!("the policy has no term `{unknown}`"));
    }
    let term = |name: &str, value_type| value(name, value_type, offer.get(name).unwrap_or(&Json::Null));
    let terms: Vec<Value> =
        said.terms.iter().map(|known| term(&known.name, known.value_type)).collect::<Result<_, _>>()?;
    match release.check_terms(&terms).await {
        Ok(Ok(())) => {}
        Ok(Err(fields)) => return Ok(refused(&fields)),
        Err(fault) => return Err(fault.to_string()),
    }
    let cart = CartSubject { as_of: case.as_of, facts, lines, offers: vec![terms] };
    let proposals: Vec<Proposal> = only(release.price(&[cart]).await)?;
    let [proposal] = <[Proposal; 1]>::try_from(proposals).map_err(|_| "not one proposal for one offer".to_owned())?;
    let mut shown = match &proposal.outcome {
        Outcome::Declined => json!({ "outcome": "declined" }),
        Outcome::Shared { amount, lines } => json!({ "outcome": "shared", "amount": amount, "lines": lines }),
        Outcome::Lines(amounts) => json!({ "outcome": "lines", "amounts": amounts }),
        Outcome::Delivery(amount) => json!({ "outcome": "delivery", "amount": amount }),
    };
    shown["reasons"] = reasons(&proposal.reasons);
    Ok(shown)
}

/// The one answer of a call with one item.
fn only<T>(answered: Answered<T>) -> Result<T, String> {
    if let Some(fault) = answered.fault() {
        return Err(fault.to_string());
    }
    let answer = answered.answers.into_iter().next().and_then(super::call::Answer::into_value);
    answer.ok_or_else(|| "no answer".to_owned())
}

/// The facts of one scope that a case names. One that the plugin does not ask for is a slip of the pen.
fn facts(module: &Module, scope: Scope, named: &Named) -> Result<Facts, String> {
    let wanted = &module.description().facts;
    let mut facts = Facts::of(scope);
    for (name, json) in named {
        let fact = fact::find(name).filter(|fact| fact.scope == scope);
        let fact = fact.filter(|fact| wanted.iter().any(|wanted| wanted.name == fact.name));
        let fact = fact.ok_or_else(|| format!("the plugin does not ask for `{name}`"))?;
        facts.set(fact, value(name, fact.value_type, json)?);
    }
    Ok(facts)
}

fn value(name: &str, value_type: ValueType, json: &Json) -> Result<Value, String> {
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

/// Reasons as a case spells them: the code, then each parameter with its unit.
fn reasons(reasons: &[Reason]) -> Json {
    let parameter = |parameter: &Parameter| match parameter {
        Parameter::Integer(count) => json!({ "integer": count }),
        Parameter::Money(amount) => json!({ "money": amount }),
        Parameter::Points(points) => json!({ "points": points }),
        Parameter::BasisPoints(rate) => json!({ "basis_points": rate }),
        Parameter::Text(text) => json!({ "text": text }),
    };
    let spell = |reason: &Reason| -> Json {
        std::iter::once(json!(&*reason.code)).chain(reason.parameters.iter().map(parameter)).collect()
    };
    reasons.iter().map(spell).collect()
}

/// The places that are refused: the schema may find several things wrong at one place, where a plugin names the first.
fn refused(fields: &[FieldError]) -> Json {
    let mut pointers: Vec<&str> = fields.iter().map(|field| field.pointer.as_str()).collect();
    pointers.dedup();
    json!({ "refused": pointers })
}

pub(super) fn differences(expected: &Json, actual: &Json) -> Vec<String> {
    let mut found = Vec::new();
    compare(expected, actual, "", &mut found);
    found
}

/// Notes where `actual` differs from what is expected. A member of an object that is not expected is not looked at.
fn compare(expected: &Json, actual: &Json, pointer: &str, found: &mut Vec<String>) {
    match (expected, actual) {
        (Json::Object(expected), Json::Object(members)) => {
            for (name, expected) in expected {
                compare(expected, members.get(name).unwrap_or(&Json::Null), &format!("{pointer}/{name}"), found);
            }
        }
        (Json::Array(expected), Json::Array(items)) if expected.len() == items.len() => {
            for (at, (expected, item)) in expected.iter().zip(items).enumerate() {
                compare(expected, item, &format!("{pointer}/{at}"), found);
            }
        }
        _ if expected == actual => {}
        _ => found.push(format!("at `{pointer}` expected {expected}, got {actual}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{EngineConfig, embedded::EMBEDDED};

    #[tokio::test]
    async fn the_reference_plugins_do_through_wasm_what_they_do_natively() {
        let engine = Engine::new(EngineConfig { sandboxes: 4, ..EngineConfig::standard(None) }).expect("an engine");
        for plugin in EMBEDDED {
            let module = engine.admit(plugin.component).await.expect("is admitted");
            let config: Json = serde_json::from_str(plugin.config).expect("is JSON");
            let report = run_cases(&engine, &module, &config, plugin.cases).await.expect("cases");
            assert!(report.cases > 10, "{}: {} cases", plugin.name, report.cases);
            assert!(report.failures.is_empty(), "{}:\n{}", plugin.name, report.failures.join("\n"));
        }
    }

    #[test]
    fn a_difference_names_its_place() {
        assert_eq!(differences(&json!({"a": 1}), &json!({"a": 1, "b": 2})), Vec::<String>::new());
        assert_eq!(differences(&json!({"a": [1, 2]}), &json!({"a": [1, 3]})), ["at `/a/1` expected 2, got 3"]);
        assert_eq!(differences(&json!({"a": 1}), &json!({})), ["at `/a` expected 1, got null"]);
    }
}

//! A case: what goes in, what must come out, and how the two are compared.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::types::{Parameter, Reason, Value, ValueType};

/// Facts or terms by name.
pub(super) type Named = BTreeMap<String, Json>;

/// One entry of `cases.json`, see the [module](super) for its fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub name: String,
    pub config: Option<Json>,
    #[serde(default)]
    pub as_of: jiff::Timestamp,
    #[serde(default)]
    pub facts: Named,
    #[serde(default)]
    pub lines: Vec<Named>,
    #[serde(default)]
    pub offers: Vec<Named>,
    #[serde(default)]
    pub candidates: Vec<CandidateCase>,
    #[serde(default)]
    pub parts: Vec<String>,
    pub message: Option<super::channel::CaseMessage>,
    pub incoming: Option<super::channel::CaseIncoming>,
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    #[serde(default)]
    pub exchange: Vec<super::script::Step>,
    pub expect: Json,
}

/// A candidate of a scorer's case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CandidateCase {
    #[serde(default)]
    pub facts: Named,
    #[serde(default)]
    pub purchased_at: Vec<jiff::Timestamp>,
}

/// The values that a call passes by position, of those that a case gives by name.
pub(super) fn positional<'a>(
    wanted: impl Iterator<Item = (&'a str, ValueType)> + Clone,
    named: &Named,
) -> Result<Vec<Value>, String> {
    if let Some(unknown) = named.keys().find(|name| wanted.clone().all(|(known, _)| known != name.as_str())) {
        let known: Vec<_> = wanted.map(|(name, _)| name).collect();
        return Err(format!("the plugin does not ask for `{unknown}`; it asks for {}", known.join(", ")));
    }
    wanted.map(|(name, value_type)| value(name, value_type, named.get(name).unwrap_or(&Json::Null))).collect()
}

fn value(name: &str, value_type: ValueType, json: &Json) -> Result<Value, String> {
    let read = match (value_type, json) {
        (_, Json::Null) => Some(Value::Absent),
        (ValueType::Flag, Json::Bool(flag)) => Some(Value::Flag(*flag)),
        (ValueType::Text, Json::String(text)) => Some(Value::Text(text.clone())),
        (ValueType::Instant, Json::String(text)) => {
            text.parse::<jiff::Timestamp>().ok().map(|instant| Value::Integer(instant.as_millisecond()))
        }
        (ValueType::Texts, Json::Array(items)) => {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>().map(Value::Texts)
        }
        (ValueType::Flag | ValueType::Text | ValueType::Texts, _) => None,
        (_, number) => number.as_i64().map(Value::Integer),
    };
    read.ok_or_else(|| format!("`{name}` is of type {value_type:?} and cannot be {json}"))
}

/// A reason as a case spells it: the code, then each parameter with its unit.
pub(super) fn reason_json(reason: &Reason, codes: &[crate::ReasonCode]) -> Json {
    let code = codes.get(usize::from(reason.code)).map_or("a code that is not in the table", |code| code.code);
    let parameters = reason.parameters.iter().map(|parameter| match parameter {
        Parameter::Integer(count) => json!({ "integer": count }),
        Parameter::Money(amount) => json!({ "money": amount }),
        Parameter::Points(points) => json!({ "points": points }),
        Parameter::BasisPoints(rate) => json!({ "basis_points": rate }),
        Parameter::Text(text) => json!({ "text": text }),
    });
    std::iter::once(json!(code)).chain(parameters).collect()
}

/// Notes where `actual` differs from what is expected. A member of an object that is not expected is not looked at.
pub(super) fn compare(expected: &Json, actual: &Json, pointer: &str, differences: &mut Vec<String>) {
    match (expected, actual) {
        (Json::Object(expected), Json::Object(members)) => {
            for (name, expected) in expected {
                compare(expected, members.get(name).unwrap_or(&Json::Null), &format!("{pointer}/{name}"), differences);
            }
        }
        (Json::Array(expected), Json::Array(items)) if expected.len() == items.len() => {
            for (i, (expected, item)) in expected.iter().zip(items).enumerate() {
                compare(expected, item, &format!("{pointer}/{i}"), differences);
            }
        }
        _ if expected == actual => {}
        _ => differences.push(format!("at {pointer}\n      expected {expected}\n      got      {actual}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &Json, actual: &Json, places: &[&str]) {
        let mut differences = Vec::new();
        compare(expected, actual, "", &mut differences);
        let found: Vec<_> =
            differences.iter().map(|difference| difference.lines().next().unwrap_or_default()).collect();
        assert_eq!(found, places, "{expected} against {actual}");
    }

    #[test]
    fn a_difference_names_its_place() {
        check(&json!({"a": 1}), &json!({"a": 1, "b": 2}), &[]);
        check(&json!({"a": [1, 2]}), &json!({"a": [1, 3]}), &["at /a/1"]);
        check(&json!({"a": [1]}), &json!({"a": []}), &["at /a"]);
        check(&json!({"a": 1}), &json!({"b": 1}), &["at /a"]);
    }

    #[test]
    fn values_are_read_by_the_type_that_is_wanted() {
        let wanted = [("spend", ValueType::Money), ("since", ValueType::Instant), ("tags", ValueType::Texts)];
        let named = |json: Json| serde_json::from_value::<Named>(json).expect("is an object");
        let read = |json| positional(wanted.into_iter(), &named(json));
        assert_eq!(
            read(json!({"since": "1970-01-01T00:00:01Z", "tags": ["a"]})),
            Ok(vec![Value::Absent, Value::Integer(1_000), Value::Texts(vec!["a".to_owned()])])
        );
        assert_eq!(
            read(json!({"spend": true})),
            Err("`spend` is of type ValueType::Money and cannot be true".to_owned())
        );
        assert!(read(json!({"spent": 1})).is_err_and(|error| error.contains("does not ask for `spent`")));
    }
}

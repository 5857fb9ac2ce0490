//! An offer's terms: from JSON to the values that a policy is asked with.

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use crate::{
    domain::{
        fact::{Value, ValueType},
        offer::Offer,
    },
    plugin::{Release, Term},
    service::{Error, check::Checks},
};

/// Bytes of a text, and texts of a list.
const TEXT_BYTES_MAX: usize = 256;
const TEXTS_MAX: usize = 200;

/// The values in the policy's order; absent where a term is not given, or null.
pub(super) fn convert(known: &[Term], given: &Map<String, Json>, currency: &str) -> Result<Vec<Value>, Error> {
    let mut checks = Checks::default();
    for name in given.keys().filter(|name| known.iter().all(|term| term.name != **name)) {
        let names: Vec<&str> = known.iter().map(|term| term.name.as_str()).collect();
        let message = format!("the policy has no such term; it has {}", names.join(", "));
        checks.wrong(format!("/terms/{}", escaped(name)), message);
    }
    let mut values = Vec::with_capacity(known.len());
    for term in known {
        let value = match given.get(&term.name) {
            None | Some(Json::Null) => Ok(Value::Absent),
            Some(json) => value_of(term.value_type, json, currency),
        };
        values.push(value.unwrap_or_else(|message| {
            checks.wrong(format!("/terms/{}", term.name), message);
            Value::Absent
        }));
    }
    checks.finish().map(|()| values)
}

/// A name as a part of a JSON pointer, cut to a length that can be shown.
fn escaped(name: &str) -> String {
    let short: String = name.chars().take(64).collect();
    short.replace('~', "~0").replace('/', "~1")
}

fn value_of(value_type: ValueType, json: &Json, currency: &str) -> Result<Value, String> {
    let integer = || json.as_i64().map(Value::Integer);
    match value_type {
        ValueType::Flag => json.as_bool().map(Value::Flag).ok_or_else(|| "must be true or false".to_owned()),
        ValueType::Integer | ValueType::Points => integer().ok_or_else(|| "must be a whole number".to_owned()),
        ValueType::BasisPoints => {
            let rate = json.as_u64().and_then(|rate| u32::try_from(rate).ok());
            let rate = rate.map(|rate| Value::Integer(i64::from(rate)));
            rate.ok_or_else(|| "must be a rate in basis points: 10000 is 100 %".to_owned())
        }
        ValueType::Money => money(json, currency),
        ValueType::Instant => {
            let instant = json.as_str().and_then(|text| text.parse::<Timestamp>().ok());
            let instant = instant.map(|instant| Value::Integer(instant.as_millisecond()));
            instant.ok_or_else(|| "must be an instant like 2026-03-01T00:00:00Z".to_owned())
        }
        ValueType::Text => text(json).map(Value::Text),
        ValueType::Texts => {
            let texts = json.as_array().filter(|texts| texts.len() <= TEXTS_MAX);
            let texts = texts.ok_or_else(|| format!("must be a list of at most {TEXTS_MAX} texts"))?;
            texts.iter().map(text).collect::<Result<_, _>>().map(Value::Texts)
        }
    }
}

fn text(json: &Json) -> Result<String, String> {
    let text = json.as_str().filter(|text| text.len() <= TEXT_BYTES_MAX);
    text.map(str::to_owned).ok_or_else(|| format!("must be text of at most {TEXT_BYTES_MAX} bytes"))
}

/// An amount as the API writes it, or its minor units alone.
fn money(json: &Json, currency: &str) -> Result<Value, String> {
    let object = || {
        let object = json.as_object().filter(|object| object.len() == 2)?;
        let (minor, given) = (object.get("minor")?.as_i64()?, object.get("currency")?.as_str()?);
        (given == currency).then_some(minor)
    };
    let minor = json.as_i64().or_else(object).map(Value::Integer);
    minor.ok_or_else(|| format!(r#"must be an amount like {{"minor": 19900, "currency": "{currency}"}}"#))
}

/// Why a policy cannot judge an offer: it has lost one of the offer's terms, or changed its type.
pub(in crate::service) fn misfit(offer: &Offer, policy: &Release) -> Option<String> {
    misfit_of(offer, &policy.module().description().terms)
}

fn misfit_of(offer: &Offer, known: &[Term]) -> Option<String> {
    let Offer { code, id, terms, .. } = offer;
    terms.iter().find_map(|(name, value)| match known.iter().find(|term| term.name == *name) {
        None => Some(format!("offer {code} ({id}) has the term `{name}`, which the policy does not know")),
        Some(term) if !fits(term.value_type, value) => {
            let wanted = term.value_type.name();
            Some(format!("offer {code} ({id}) has the term `{name}`, which the policy wants as {wanted}"))
        }
        Some(_) => None,
    })
}

const fn fits(value_type: ValueType, value: &Value) -> bool {
    use ValueType::{BasisPoints, Flag, Instant, Integer, Money, Points, Text, Texts};
    match value {
        Value::Absent => true,
        Value::Flag(_) => matches!(value_type, Flag),
        Value::Integer(_) => matches!(value_type, Integer | Money | Points | BasisPoints | Instant),
        Value::Text(_) => matches!(value_type, Text),
        Value::Texts(_) => matches!(value_type, Texts),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn terms() -> Vec<Term> {
        let term = |name: &str, value_type| Term { name: name.to_owned(), value_type, summary: String::new() };
        vec![
            term("threshold", ValueType::Money),
            term("percent", ValueType::BasisPoints),
            term("categories", ValueType::Texts),
            term("from", ValueType::Instant),
            term("free-delivery", ValueType::Flag),
            term("items", ValueType::Integer),
            term("product", ValueType::Text),
        ]
    }

    fn check(given: Json, expect: Result<Vec<Value>, Vec<&str>>) {
        let given = given.as_object().expect("an object").clone();
        let found = match convert(&terms(), &given, "CNY") {
            Ok(values) => Ok(values),
            Err(Error::Invalid(fields)) => Err(fields.into_iter().map(|field| field.pointer).collect::<Vec<_>>()),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(found, expect.map_err(|pointers| pointers.into_iter().map(str::to_owned).collect()), "{given:?}");
    }

    #[test]
    fn every_type_converts() {
        let given = json!({
            "threshold": {"minor": 19_900, "currency": "CNY"}, "percent": 500, "categories": ["VITAMINS"],
            "from": "1970-01-01T00:00:01Z", "free-delivery": true, "items": 3, "product": "p-1",
        });
        let values = vec![
            Value::Integer(19_900),
            Value::Integer(500),
            Value::Texts(vec!["VITAMINS".to_owned()]),
            Value::Integer(1_000),
            Value::Flag(true),
            Value::Integer(3),
            Value::Text("p-1".to_owned()),
        ];
        check(given, Ok(values));
        let mut absent = vec![Value::Absent; 7];
        check(json!({"threshold": null}), Ok(absent.clone()));
        absent[0] = Value::Integer(2_000);
        check(json!({"threshold": 2_000}), Ok(absent));
    }

    #[test]
    fn every_wrong_term_is_named() {
        let given = json!({
            "threshold": {"minor": 19_900, "currency": "USD"}, "percent": -1, "categories": "VITAMINS",
            "from": 5, "free-delivery": "yes", "items": 1.5, "product": ["p"], "a/b": 1,
        });
        let pointers = ["a~1b", "threshold", "percent", "categories", "from", "free-delivery", "items", "product"];
        let pointers: Vec<String> = pointers.iter().map(|name| format!("/terms/{name}")).collect();
        check(given, Err(pointers.iter().map(String::as_str).collect()));
    }
}

//! Holds what the engine shows against what the oracle expects, and an explanation against itself.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

/// The script's names of what the engine made.
#[derive(Default)]
pub(crate) struct Names {
    ids: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
}

impl Names {
    pub(crate) fn learn(&mut self, name: &str, id: &str) {
        self.ids.insert(name.to_owned(), id.to_owned());
        self.names.insert(id.to_owned(), name.to_owned());
    }

    /// The engine's id; of what was never made one that nobody has.
    pub(crate) fn id(&self, name: &str) -> &str {
        self.ids.get(name).map_or("never-made", String::as_str)
    }

    /// The same with money as plain fen, ids as names, and of a price's offers those that were applied.
    pub(crate) fn plain(&self, json: &Json) -> Json {
        match json {
            Json::String(id) => Json::String(self.names.get(id).unwrap_or(id).clone()),
            Json::Array(items) => items.iter().map(|item| self.plain(item)).collect(),
            Json::Object(fields) if fields.len() == 2 && fields.contains_key("minor") => fields["minor"].clone(),
            Json::Object(fields) => {
                let mut plain: serde_json::Map<String, Json> =
                    fields.iter().map(|(name, value)| (name.clone(), self.plain(value))).collect();
                if fields.contains_key("goods_payable") {
                    plain.insert("applied".to_owned(), applied(&plain["offers"]));
                }
                Json::Object(plain)
            }
            other => other.clone(),
        }
    }
}

/// The offers that took something off, by code and coupon.
fn applied(offers: &Json) -> Json {
    let applied = offers.as_array().into_iter().flatten().filter(|offer| offer["applied"] == true);
    let mut applied: Vec<Json> = applied
        .map(|offer| match &offer["coupon"] {
            Json::Null => json!({"code": offer["code"], "amount": offer["amount"]}),
            coupon => json!({"code": offer["code"], "coupon": coupon, "amount": offer["amount"]}),
        })
        .collect();
    let key = |offer: &Json| {
        (offer["code"].to_string(), offer["coupon"].as_str().map(str::to_owned), offer["amount"].as_i64())
    };
    applied.sort_by_key(key);
    Json::Array(applied)
}

/// Whether everything expected is there, arrays in full; else where it differs, a line for each place.
pub(crate) fn covers(expected: &Json, actual: &Json) -> Result<(), String> {
    match (expected, actual) {
        (Json::Object(expected), Json::Object(actual)) => {
            let each = expected.iter().filter_map(|(name, expected)| {
                let difference = covers(expected, actual.get(name).unwrap_or(&Json::Null)).err()?;
                Some(difference.split('\n').map(|line| format!("/{name}{line}")).collect::<Vec<_>>().join("\n"))
            });
            let all: Vec<String> = each.collect();
            if all.is_empty() { Ok(()) } else { Err(all.join("\n")) }
        }
        (Json::Array(expected), Json::Array(actual)) if expected.len() == actual.len() => {
            for (at, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                covers(expected, actual).map_err(|difference| format!("/{at}{difference}"))?;
            }
            Ok(())
        }
        _ if expected == actual => Ok(()),
        _ => Err(format!(": the oracle says {expected}, the engine {actual}")),
    }
}

/// Whether every price within adds up: lines and the whole, allocations and what offers are said to take off.
pub(crate) fn explained(json: &Json) -> Result<(), String> {
    match json {
        Json::Object(fields) if fields.contains_key("goods_payable") => adds_up(json),
        Json::Object(fields) => fields.values().try_for_each(explained),
        Json::Array(items) => items.iter().try_for_each(explained),
        _ => Ok(()),
    }
}

fn minor(money: &Json) -> i64 {
    money["minor"].as_i64().unwrap_or_else(|| panic!("{money} is no money"))
}

fn adds_up(price: &Json) -> Result<(), String> {
    let array = |json: &Json| json.as_array().cloned().unwrap_or_default();
    let mut off: BTreeMap<String, i64> = BTreeMap::new();
    let mut goods = 0;
    let mut points = 0;
    let mut allocations = array(&price["delivery_allocations"]);
    for line in array(&price["lines"]) {
        let taken: i64 = array(&line["allocations"]).iter().map(|taken| minor(&taken["amount"])).sum();
        if minor(&line["list"]) - taken != minor(&line["payable"]) || minor(&line["payable"]) < 0 {
            return Err(format!("a line does not add up: {line:#}"));
        }
        goods += minor(&line["payable"]);
        allocations.extend(array(&line["allocations"]));
    }
    for taken in &allocations {
        let amount = minor(&taken["amount"]);
        let shares: i64 =
            array(&taken["funders"]).iter().map(|share| share["share_basis_points"].as_i64().unwrap_or(0)).sum();
        if amount <= 0 || (taken["source"] == "offer" && shares != 10_000) {
            return Err(format!("an allocation of nothing, or of nobody's money: {taken:#}"));
        }
        match taken["source"].as_str() {
            Some("offer") => *off.entry(format!("{} {}", taken["offer"], taken["coupon"])).or_default() += amount,
            Some("points") => points += amount,
            _ => {}
        }
    }
    let freed: i64 = array(&price["delivery_allocations"]).iter().map(|taken| minor(&taken["amount"])).sum();
    let delivery = minor(&price["delivery_fee"]) - freed;
    let sums = [
        (goods, &price["goods_payable"]),
        (delivery, &price["delivery_payable"]),
        (goods + delivery, &price["payable"]),
        (points, &price["points_value"]),
    ];
    if sums.iter().any(|(sum, said)| *sum != minor(said)) {
        return Err(format!("a price does not add up: {price:#}"));
    }
    for offer in array(&price["offers"]) {
        let taken = off.remove(&format!("{} {}", offer["offer"], offer["coupon"])).unwrap_or(0);
        let applied = offer["applied"] == true;
        if minor(&offer["amount"]) != taken || applied != (taken > 0) || array(&offer["reasons"]).is_empty() {
            return Err(format!("an offer took {taken} and says otherwise: {offer:#}"));
        }
    }
    if off.is_empty() { Ok(()) } else { Err(format!("offers that nobody considered took {off:?}")) }
}

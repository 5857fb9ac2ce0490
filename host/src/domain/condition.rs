//! What a member must be to have an offer: conditions on the facts that the host knows of them.

use std::fmt;

use minicbor::{Decode, Encode};

use super::fact::{self, Fact, Facts, Scope, Value, ValueType};

/// One condition. A fact that is not known meets none.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Condition {
    /// The fact's name.
    #[n(0)]
    pub fact: String,
    /// A number not below this.
    #[n(1)]
    pub at_least: Option<i64>,
    /// A number not above this.
    #[n(2)]
    pub at_most: Option<i64>,
    /// One of these texts; any where there are none.
    #[n(3)]
    #[cbor(default)]
    pub one_of: Vec<String>,
    /// A flag that says this.
    #[n(4)]
    pub is: Option<bool>,
}

impl Condition {
    /// Whether the facts meet it.
    pub fn holds(&self, facts: &Facts) -> bool {
        match self.observed(facts) {
            Value::Integer(number) => {
                self.at_least.is_none_or(|least| *number >= least) && self.at_most.is_none_or(|most| *number <= most)
            }
            Value::Text(text) => self.one_of.iter().any(|known| known == text),
            Value::Flag(flag) => self.is == Some(*flag),
            Value::Absent | Value::Texts(_) => false,
        }
    }

    /// What the facts say.
    pub fn observed<'a>(&self, facts: &'a Facts) -> &'a Value {
        self.about().map_or(&Value::Absent, |fact| facts.get(fact))
    }

    /// Why no member could ever be asked this.
    pub fn wrong(&self) -> Option<&'static str> {
        let Some(fact) = self.about() else {
            return Some("there is no such fact of a member: see the catalogue of facts");
        };
        let numbers = self.at_least.is_some() || self.at_most.is_some();
        let said = (numbers, !self.one_of.is_empty(), self.is.is_some());
        let fits = match fact.value_type {
            ValueType::Flag => said == (false, false, true),
            ValueType::Text => said == (false, true, false),
            ValueType::Texts => false,
            ValueType::Integer | ValueType::Points | ValueType::BasisPoints | ValueType::Money | ValueType::Instant => {
                said == (true, false, false)
            }
        };
        (!fits).then_some("numbers take `at_least` or `at_most`, texts `one_of`, flags `is`")
    }

    /// The fact, if it is one of a member alone: what a cart holds is the policy's to judge.
    fn about(&self) -> Option<&'static Fact> {
        let of_member = |fact: &&Fact| fact.scope == Scope::Subject && !fact.name.starts_with("cart.");
        fact::find(&self.fact).filter(of_member)
    }
}

impl fmt::Display for Condition {
    /// What is required, without the fact's name: `>= 1`, `in gold, silver`, `true`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.at_least.map(|least| format!(">= {least}")));
        parts.extend(self.at_most.map(|most| format!("<= {most}")));
        if !self.one_of.is_empty() {
            parts.push(format!("in {}", self.one_of.join(", ")));
        }
        parts.extend(self.is.map(|flag| flag.to_string()));
        f.write_str(&parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(fact: &Fact) -> Condition {
        Condition { fact: fact.name.to_owned(), at_least: None, at_most: None, one_of: Vec::new(), is: None }
    }

    #[test]
    fn every_type_has_its_question() {
        let facts = Facts::of(Scope::Subject)
            .with(&fact::MEMBER_LIFETIME_PAID_ORDERS, 1.into())
            .with(&fact::MEMBER_TIER, "gold".into())
            .with(&fact::MEMBER_BIRTHDAY_MONTH, true.into());
        let orders = condition(&fact::MEMBER_LIFETIME_PAID_ORDERS);
        let tier = condition(&fact::MEMBER_TIER);
        let born = condition(&fact::MEMBER_BIRTHDAY_MONTH);
        for (condition, holds) in [
            (Condition { at_least: Some(1), ..orders.clone() }, true),
            (Condition { at_least: Some(2), ..orders.clone() }, false),
            (Condition { at_most: Some(0), ..orders.clone() }, false),
            (Condition { one_of: vec!["silver".into(), "gold".into()], ..tier.clone() }, true),
            (Condition { one_of: vec!["silver".into()], ..tier.clone() }, false),
            (Condition { is: Some(true), ..born.clone() }, true),
            (Condition { is: Some(false), ..born }, false),
        ] {
            assert_eq!((condition.wrong(), condition.holds(&facts)), (None, holds), "{condition}");
            assert!(!condition.holds(&Facts::of(Scope::Subject)), "{condition}: what is not known meets nothing");
        }
        assert!(orders.wrong().is_some() && Condition { at_least: Some(1), ..tier }.wrong().is_some());
        assert!(Condition { fact: "cart.amount".into(), at_least: Some(1), ..orders }.wrong().is_some());
    }
}

//! Reasons in words: the host's own and those that plugins ship, in both languages at once.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Currency, MoneyView};
use crate::{
    domain::{
        order::ReleaseRef,
        rule::{Parameter, Reason, ReasonText},
    },
    pricing::reasons,
};

/// Where the texts of plugin reasons come from.
pub(crate) trait Texts {
    /// The texts of a code, as one of these releases ships them.
    fn find(&self, releases: &[ReleaseRef], code: &str) -> Option<ReasonText>;
}

/// What views need beyond the value they show.
#[derive(Clone, Copy)]
pub(crate) struct Show<'a> {
    /// Of all amounts.
    pub(crate) currency: Currency,
    /// Of reasons.
    pub(crate) texts: &'a dyn Texts,
}

/// Why something came out as it did.
#[derive(Serialize, ToSchema)]
#[schema(as = Reason)]
pub(crate) struct ReasonView {
    /// Stable, for machines.
    #[schema(example = "below-threshold")]
    code: String,
    /// What was observed and required, in the order of the texts.
    parameters: Vec<ParameterView>,
    /// For people.
    text: TextView,
}

/// The same in each language.
#[derive(Serialize, ToSchema)]
#[schema(as = Text)]
pub(crate) struct TextView {
    /// Simplified Chinese.
    pub(super) zh_cn: String,
    /// English.
    pub(super) en: String,
}

/// A parameter of a reason, by its type.
#[derive(Serialize, ToSchema)]
#[schema(as = Parameter)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum ParameterView {
    /// A count.
    Integer {
        /// How many.
        value: i64,
    },
    /// An amount.
    Money {
        /// How much.
        value: MoneyView,
    },
    /// Points.
    Points {
        /// How many.
        value: i64,
    },
    /// A rate: 10 000 is 100 %.
    BasisPoints {
        /// How much.
        value: i64,
    },
    /// A name.
    Text {
        /// The name.
        value: String,
    },
}

impl Show<'_> {
    /// Reasons with their texts, as these releases ship them.
    pub(crate) fn reasons(&self, reasons: Vec<Reason>, releases: &[ReleaseRef]) -> Vec<ReasonView> {
        reasons.into_iter().map(|reason| self.reason(reason, releases)).collect()
    }

    fn reason(&self, reason: Reason, releases: &[ReleaseRef]) -> ReasonView {
        let words: Vec<String> = reason.parameters.iter().map(|parameter| self.in_words(parameter)).collect();
        let text = match reasons::ALL.iter().find(|host| *host.code == *reason.code) {
            Some(host) => TextView { zh_cn: fill(host.zh_cn, &words), en: fill(host.en, &words) },
            None => match self.texts.find(releases, &reason.code) {
                Some(text) => TextView { zh_cn: fill(&text.zh_cn, &words), en: fill(&text.en, &words) },
                None => TextView { zh_cn: reason.code.to_string(), en: reason.code.to_string() },
            },
        };
        let parameters = reason.parameters.into_iter().map(|parameter| self.parameter(parameter)).collect();
        ReasonView { code: reason.code.to_string(), parameters, text }
    }

    fn parameter(&self, parameter: Parameter) -> ParameterView {
        match parameter {
            Parameter::Integer(value) => ParameterView::Integer { value },
            Parameter::Money(amount) => ParameterView::Money { value: self.money(amount) },
            Parameter::Points(points) => ParameterView::Points { value: points.get() },
            Parameter::BasisPoints(value) => ParameterView::BasisPoints { value },
            Parameter::Text(value) => ParameterView::Text { value },
        }
    }

    pub(super) fn in_words(&self, parameter: &Parameter) -> String {
        match parameter {
            Parameter::Integer(value) => value.to_string(),
            Parameter::Money(amount) if self.currency.as_str() == "CNY" => format!("¥{amount}"),
            Parameter::Money(amount) => format!("{amount} {}", self.currency.as_str()),
            Parameter::Points(points) => points.to_string(),
            Parameter::BasisPoints(rate) => percent(*rate),
            Parameter::Text(text) => text.clone(),
        }
    }
}

/// `1250` as `12.5%`.
fn percent(basis_points: i64) -> String {
    let sign = if basis_points < 0 { "-" } else { "" };
    let (whole, part) = (basis_points.unsigned_abs() / 100, basis_points.unsigned_abs() % 100);
    match part {
        0 => format!("{sign}{whole}%"),
        part if part % 10 == 0 => format!("{sign}{whole}.{}%", part / 10),
        part => format!("{sign}{whole}.{part:02}%"),
    }
}

/// Puts parameters in place of `{0}`, `{1}` …; what stands for no parameter stays. A parameter's own braces are text.
fn fill(text: &str, words: &[String]) -> String {
    let mut filled = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let word =
            after.split_once('}').and_then(|(number, tail)| Some((words.get(number.parse::<usize>().ok()?)?, tail)));
        match word {
            Some((word, tail)) => {
                filled.push_str(word);
                rest = tail;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Money;

    struct NoTexts;

    impl Texts for NoTexts {
        fn find(&self, _: &[ReleaseRef], _: &str) -> Option<ReasonText> {
            None
        }
    }

    #[test]
    fn texts_are_filled_once() {
        let words = ["¥1.00".to_owned(), "{0}".to_owned()];
        assert_eq!(fill("spent {0}, needs {1}", &words), "spent ¥1.00, needs {0}");
        assert_eq!(fill("{2} {x} {", &words), "{2} {x} {");
    }

    #[test]
    fn rates_show_as_percent() {
        assert_eq!(percent(500), "5%");
        assert_eq!(percent(1_250), "12.5%");
        assert_eq!(percent(-5), "-0.05%");
    }

    #[test]
    fn host_reasons_have_texts_and_unknown_codes_show_as_they_are() {
        let show = Show { currency: Currency::new("CNY").expect("a code"), texts: &NoTexts };
        let applied = show.reason(reasons::APPLIED.with(vec![Parameter::Money(Money::new(500))]), &[]);
        assert_eq!((applied.text.zh_cn.as_str(), applied.text.en.as_str()), ("已优惠¥5.00", "took off ¥5.00"));
        let unknown = show.reason(Reason { code: "odd".into(), parameters: Vec::new() }, &[]);
        assert_eq!(unknown.text.en, "odd");
    }
}

//! Templates: the texts of touches, per channel and language, each version approved by a person before it goes out.
//!
//! Texts are minijinja, strict: a variable that is not declared, or not given, is an error and never an empty place.
//! Rendering burns fuel and stops at [`TEXT_BYTES_MAX`]; nothing is escaped, because nothing here is HTML.

use std::{collections::BTreeMap, fmt, io};

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde::{Deserialize, Serialize};

use super::tables::{HEADS, VARIANTS};
use crate::{
    domain::{
        cbor,
        touch::{Channel, Class, ConsentPurpose, Language},
    },
    ids::KeyId,
    store::{StoreError, Tx},
};

/// Bytes of a rendered subject or text, and of a source.
pub const TEXT_BYTES_MAX: usize = 4 * 1024;
/// Variables that a text may declare.
pub const VARIABLES_MAX: usize = 32;
/// Instructions that rendering may take.
const FUEL: u64 = 20_000;
/// What every text may use without declaring it: the member's name (empty where unknown), and the link that
/// unsubscribes.
pub const BUILT_IN: [&str; 2] = ["member_name", "unsubscribe_url"];

/// What all texts of one code share.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Template {
    /// How others ask for it.
    #[n(0)]
    pub code: String,
    /// Fixed by the first text.
    #[n(1)]
    pub class: Class,
    /// The consent it needs beyond its class's.
    #[n(2)]
    pub purpose: Option<ConsentPurpose>,
    /// Its channels, the preferred first.
    #[n(3)]
    pub channels: Vec<Channel>,
}

/// The versions of one text that matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Head {
    /// The newest.
    #[n(0)]
    pub latest: u32,
    /// The one that goes out.
    #[n(1)]
    pub approved: Option<u32>,
}

/// Whether a version may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// Nobody decided yet.
    #[n(0)]
    Draft,
    /// Yes.
    #[n(1)]
    Approved,
    /// No.
    #[n(2)]
    Rejected,
}

/// One version of a text for one channel and language.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Variant {
    /// The code of its template.
    #[n(0)]
    pub code: String,
    /// Where it goes.
    #[n(1)]
    pub channel: Channel,
    /// In which language.
    #[n(2)]
    pub language: Language,
    /// Counts from one.
    #[n(3)]
    pub version: u32,
    /// The vendor's id of the template that the vendor approved.
    #[n(4)]
    pub vendor_template_id: Option<String>,
    /// The sender's signature that the vendor approved.
    #[n(5)]
    pub signature: Option<String>,
    /// The subject's source.
    #[n(6)]
    pub subject: Option<String>,
    /// The text's source.
    #[n(7)]
    pub text: String,
    /// The variables that must be given, in the vendor's order.
    #[n(8)]
    pub variables: Vec<String>,
    /// Whether it may go out.
    #[n(9)]
    pub approval: Approval,
    /// Who wrote it.
    #[n(10)]
    pub written_by: KeyId,
    /// When.
    #[cbor(n(11), with = "cbor::instant")]
    pub written_at: Timestamp,
    /// Who decided.
    #[n(12)]
    pub decided_by: Option<KeyId>,
    /// When.
    #[cbor(n(13), with = "cbor::maybe_instant")]
    pub decided_at: Option<Timestamp>,
}

/// Why a text cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The template, its channel and language.
    pub template: String,
    /// `subject` or `text`.
    pub part: &'static str,
    /// The line of the source, from one.
    pub line: Option<usize>,
    /// The variable it is about.
    pub variable: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template `{}`, {}", self.template, self.part)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(variable) = &self.variable {
            write!(f, ", variable `{variable}`")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for TemplateError {}

/// What a member reads.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: Option<String>,
    /// The text.
    pub text: String,
}

impl Variant {
    /// Checks the sources: they parse, use only what is declared, and render with any values.
    ///
    /// # Errors
    ///
    /// The first [`TemplateError`].
    pub fn check(&self) -> Result<(), TemplateError> {
        for (part, source) in self.sources() {
            if source.len() > TEXT_BYTES_MAX {
                return Err(self.error(part, format!("is longer than {TEXT_BYTES_MAX} bytes")));
            }
            let environment = environment();
            let template = environment.template_from_str(source).map_err(|error| self.explain(part, source, &error))?;
            let mut used: Vec<String> = template.undeclared_variables(false).into_iter().collect();
            used.sort();
            let known = |name: &String| self.variables.contains(name) || BUILT_IN.contains(&name.as_str());
            if let Some(unknown) = used.iter().find(|name| !known(name)) {
                let message = "is not declared: add it to `variables` or correct it".to_owned();
                let line = line_of(source, unknown);
                return Err(TemplateError { line, variable: Some(unknown.clone()), ..self.error(part, message) });
            }
        }
        let samples: Vec<(String, String)> = self.variables.iter().map(|name| (name.clone(), "1".to_owned())).collect();
        self.render(&samples, "", "https://example.com/u/0").map(drop)
    }

    /// Renders the subject and the text with these values.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] if a declared variable is not given, or a source does not render within its bounds.
    pub fn render(
        &self,
        variables: &[(String, String)],
        member_name: &str,
        unsubscribe_url: &str,
    ) -> Result<Rendered, TemplateError> {
        let given: BTreeMap<&str, &str> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
        let mut values = BTreeMap::from([("member_name", member_name), ("unsubscribe_url", unsubscribe_url)]);
        for name in &self.variables {
            let Some(value) = given.get(name.as_str()) else {
                let error = self.error("text", "was not given".to_owned());
                return Err(TemplateError { variable: Some(name.clone()), ..error });
            };
            values.insert(name, value);
        }
        let subject = match &self.subject {
            None => None,
            // A subject is one line, whatever the values hold: a line break in it could forge headers.
            Some(source) => Some(self.part("subject", source, &values)?.replace(char::is_control, " ")),
        };
        Ok(Rendered { subject, text: self.part("text", &self.text, &values)? })
    }

    fn part(&self, part: &'static str, source: &str, values: &BTreeMap<&str, &str>) -> Result<String, TemplateError> {
        let environment = environment();
        let template = environment.template_from_str(source).map_err(|error| self.explain(part, source, &error))?;
        let mut output = Bounded(Vec::new());
        let rendered = template.render_captured_to(
            minijinja::Value::from_pairs(values.iter().map(|(name, value)| (*name, *value))),
            &mut output,
        );
        match rendered.map(drop) {
            Ok(()) => Ok(String::from_utf8_lossy(&output.0).into_owned()),
            Err(error) => Err(self.explain(part, source, &error)),
        }
    }

    fn sources(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let subject = self.subject.as_deref().map(|source| ("subject", source));
        subject.into_iter().chain([("text", self.text.as_str())])
    }

    /// The template's name for people.
    fn name(&self) -> String {
        format!("{} ({}, {})", self.code, self.channel, self.language)
    }

    fn error(&self, part: &'static str, message: String) -> TemplateError {
        TemplateError { template: self.name(), part, line: None, variable: None, message }
    }

    /// What minijinja says, without values: they may be personal.
    fn explain(&self, part: &'static str, source: &str, error: &minijinja::Error) -> TemplateError {
        let message = match error.kind() {
            ErrorKind::OutOfFuel => format!("takes more than {FUEL} steps: make it simpler"),
            ErrorKind::WriteFailure => format!("comes to more than {TEXT_BYTES_MAX} bytes"),
            ErrorKind::SyntaxError => format!("is no template: {}", error.detail().unwrap_or("syntax error")),
            kind => kind.to_string(),
        };
        let line = error.line().filter(|line| (1..=source.lines().count().max(1)).contains(line));
        TemplateError { line, ..self.error(part, message) }
    }
}

/// Strict, bounded, without escaping, and without loading anything else.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(16);
    // They make large values out of nothing, or show what lies around.
    for name in ["range", "lipsum", "debug", "namespace", "dict"] {
        environment.remove_global(name);
    }
    environment.remove_filter("format");
    environment
}

/// The line on which a name stands as a word.
fn line_of(source: &str, name: &str) -> Option<usize> {
    let word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let names = |line: &str| line.split(|letter| !word(letter)).any(|found| found == name);
    source.lines().position(names).map(|at| at + 1)
}

/// Takes [`TEXT_BYTES_MAX`] and no more.
struct Bounded(Vec<u8>);

impl io::Write for &mut Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > TEXT_BYTES_MAX {
            return Err(io::Error::other("too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The languages to try for a member, in order: theirs, then Chinese, then English.
pub fn languages(own: Option<Language>) -> Vec<Language> {
    let mut order = vec![own.unwrap_or(Language::ZhCn)];
    order.extend([Language::ZhCn, Language::En].into_iter().filter(|language| Some(*language) != own));
    order.dedup();
    order
}

/// The approved version of a text in the first of these languages that has one.
///
/// # Errors
///
/// Those of the store.
pub fn approved(
    tx: &mut Tx<'_>,
    code: &str,
    channel: Channel,
    languages: &[Language],
) -> Result<Option<Variant>, StoreError> {
    for language in languages {
        let head = tx.get(&HEADS, &(code.to_owned(), channel, *language))?;
        if let Some(version) = head.and_then(|head| head.approved) {
            return tx.get(&VARIANTS, &(code.to_owned(), channel, *language, version));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;

    fn variant(text: &str, variables: &[&str]) -> Variant {
        Variant {
            code: "refill".to_owned(),
            channel: Channel::Sms,
            language: Language::ZhCn,
            version: 1,
            vendor_template_id: None,
            signature: None,
            subject: None,
            text: text.to_owned(),
            variables: variables.iter().map(|name| (*name).to_owned()).collect(),
            approval: Approval::Draft,
            written_by: KeyId::from_bits(1),
            written_at: Timestamp::UNIX_EPOCH,
            decided_by: None,
            decided_at: None,
        }
    }

    #[track_caller]
    fn check(text: &str, variables: &[&str], expect: Result<(), &str>) {
        let found = variant(text, variables).check().map_err(|error| error.to_string());
        assert_eq!(found, expect.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_text_uses_what_it_declares() {
        check("您好{{ member_name }},{{ product }}", &["product"], Ok(()));
        check("{% if product == 'x' %}a{% else %}{{ product | upper }}{% endif %}", &["product"], Ok(()));
        let unknown = "template `refill (sms, zh-CN)`, text, line 2, variable `prodct`: is not declared: add it to \
                       `variables` or correct it";
        check("one\n{{ prodct }}", &["product"], Err(unknown));
        let broken = "template `refill (sms, zh-CN)`, text, line 2: is no template: unexpected end of input, expected \
                      end of variable block";
        check("one\n{{ product", &["product"], Err(broken));
    }

    #[test]
    fn a_text_is_bounded() {
        let long = "template `refill (sms, zh-CN)`, text: comes to more than 4096 bytes";
        check("{{ 'x' * 5000 }}", &[], Err(long));
        let endless = "{% macro again(n) %}{{ again(n) }}{% endmacro %}{{ again(1) }}";
        assert!(variant(endless, &[]).check().is_err());
        assert!(variant("{% include 'passwd' %}", &[]).check().is_err());
        let steps = format!(
            "{{% for a in {0:?} %}}{{% for b in {0:?} %}}{{% for c in {0:?} %}}{{{{ '' }}}}{{% endfor %}}{{% endfor %}}{{% endfor %}}",
            "x".repeat(40)
        );
        let slow = "template `refill (sms, zh-CN)`, text, line 1: takes more than 20000 steps: make it simpler";
        check(&steps, &[], Err(slow));
    }

    #[test]
    fn values_stay_as_they_are_and_never_become_templates() {
        let rendered = |values: &[(&str, &str)]| {
            let mut variant = variant("<{{ product }}>", &["product"]);
            variant.subject = Some("{{ product }}".to_owned());
            let values: Vec<_> = values.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            variant.render(&values, "", "").map(|done| (done.subject.unwrap_or_default(), done.text))
        };
        let plain = rendered(&[("product", "a & <b> {{ member_name }}"), ("more", "ignored")]);
        assert_eq!(plain, Ok(("a & <b> {{ member_name }}".to_owned(), "<a & <b> {{ member_name }}>".to_owned())));
        let forged = rendered(&[("product", "x\r\nBcc: all@example.com")]);
        assert_eq!(forged.map(|(subject, _)| subject), Ok("x  Bcc: all@example.com".to_owned()));
        let missing = rendered(&[]).map_err(|error| error.variable);
        assert_eq!(missing, Err(Some("product".to_owned())));
    }

    #[test]
    fn languages_fall_back() {
        use Language::{En, ZhCn};
        assert_eq!(languages(None), [ZhCn, En]);
        assert_eq!(languages(Some(ZhCn)), [ZhCn, En]);
        assert_eq!(languages(Some(En)), [En, ZhCn]);
    }
}

//! Words that advertising for health goods may not use: absolute terms, exaggerated effects, unsupported claims, advice
//! without a source, jargon without an explanation.
//!
//! The phrases are the operator's, in the configuration; this plugin finds them. It reads letters and digits alone:
//! spaces, punctuation, emoji, zero-width characters between them and full-width forms hide nothing, and so a phrase that
//! two sentences make together is found too. English phrases count as whole words. `allowed` lists longer phrases in
//! which a shorter one is harmless: 第一 in 第一次. A rule with `unless` is quiet where the message names a source or an
//! explanation.
//!
//! What it cannot know: what is meant (a denial reads like a claim), whether a source supports the claim, phrases in
//! other words, in pinyin, in look-alike characters, in pictures, or cut in two by the parts of a message. It finds
//! phrases; it does not replace the review.

mod fold;
mod matcher;

use fold::{Letter, fold};
use galenic_sdk::prelude::*;
use matcher::{Hit, Matcher};

/// Findings of one message.
const FINDINGS_MAX: usize = 32;
const RULES_MAX: usize = 64;
/// Of a rule, and of what is allowed.
const PHRASES_MAX: usize = 1_000;
const LETTERS_MAX: usize = 64;

config! {
    /// What may not be said.
    pub struct Config {
        /// The rules; a phrase of several belongs to the first that holds.
        pub rules: Vec<Rule>,
        /// Phrases in which nothing is forbidden.
        #[serde(default)]
        pub allowed: Vec<String>,
    }
    /// Phrases that are forbidden for one reason.
    pub struct Rule {
        /// The rule's own name, 1 to 32 of a-z, 0-9 and -.
        pub code: String,
        /// Why it forbids.
        pub category: Category,
        /// Classes of messages that it holds for; all where none is named.
        #[serde(default)]
        pub classes: Vec<Class>,
        /// What may not be said.
        pub phrases: Vec<String>,
        /// Any of these anywhere in the message silences the rule: a source, an explanation.
        #[serde(default)]
        pub unless: Vec<String>,
    }
    /// Why a phrase is forbidden.
    #[derive(Copy, PartialEq, Eq)]
    #[serde(rename_all = "kebab-case")]
    pub enum Category {
        /// The best, the first, of national rank.
        AbsoluteTerm,
        /// More than the product does.
        ExaggeratedEffect,
        /// A promise that nothing supports.
        UnsupportedClaim,
        /// Advice that names no source.
        UncitedAdvice,
        /// A term of the trade that is not explained.
        MedicalJargon,
    }
    /// A class of messages.
    #[derive(Copy, PartialEq, Eq)]
    #[serde(rename_all = "kebab-case")]
    pub enum Class {
        /// About an order.
        Transactional,
        /// About the member's health.
        Care,
        /// To read.
        Content,
        /// To sell.
        Marketing,
    }
}

facts! {
    /// What the guard wants to know of a message.
    pub struct Known {
        /// Its class; where it is not known every rule holds.
        class: Option<String> = "touch.class",
    }
}

reasons! {
    ABSOLUTE = "absolute-term": "“{0}”是绝对化用语，广告中禁用（规则{1}）", "“{0}” is an absolute term, which advertising may not use (rule {1})";
    EXAGGERATED = "exaggerated-effect": "“{0}”夸大功效（规则{1}）", "“{0}” exaggerates the effect (rule {1})";
    UNSUPPORTED = "unsupported-claim": "“{0}”缺乏依据（规则{1}）", "“{0}” is a claim that nothing supports (rule {1})";
    UNCITED = "uncited-advice": "“{0}”未注明出处（规则{1}）", "“{0}” is advice without a source (rule {1})";
    JARGON = "medical-jargon": "“{0}”是未加解释的医学术语（规则{1}）", "“{0}” is medical jargon without an explanation (rule {1})";
}

impl Category {
    const fn reason(self) -> ReasonCode {
        match self {
            Self::AbsoluteTerm => ABSOLUTE,
            Self::ExaggeratedEffect => EXAGGERATED,
            Self::UnsupportedClaim => UNSUPPORTED,
            Self::UncitedAdvice => UNCITED,
            Self::MedicalJargon => JARGON,
        }
    }
}

impl Class {
    const fn name(self) -> &'static str {
        match self {
            Self::Transactional => "transactional",
            Self::Care => "care",
            Self::Content => "content",
            Self::Marketing => "marketing",
        }
    }
}

/// The guard, configured.
pub struct AdLaw {
    rules: Vec<Rule>,
    matcher: Matcher,
    /// What each phrase of the matcher means.
    meanings: Vec<Meaning>,
}

/// What a phrase means where it stands.
#[derive(Default)]
struct Meaning {
    /// Rules that forbid it, with the phrase as configured: places in both lists.
    forbidden: Vec<(usize, usize)>,
    /// Nothing in it is forbidden.
    allowed: bool,
    /// Rules that it silences.
    silences: Vec<usize>,
}

/// One part of a message and the phrases in it.
struct Read {
    letters: Vec<Letter>,
    hits: Vec<Hit>,
}

impl AdLaw {
    fn learn(&mut self, phrase: &str, teach: impl FnOnce(&mut Meaning)) {
        let number = self.matcher.add(fold(phrase).into_iter().map(|letter| letter.folded), self.meanings.len());
        if number == self.meanings.len() {
            self.meanings.push(Meaning::default());
        }
        teach(&mut self.meanings[number]);
    }

    fn read(&self, part: &str) -> Read {
        let letters = fold(part);
        let mut hits = Vec::new();
        self.matcher.find(letters.iter().map(|letter| letter.folded), |hit| {
            if is_whole(&letters, hit) {
                hits.push(hit);
            }
        });
        Read { letters, hits }
    }

    /// Which rules hold for a message of this class that says all this.
    fn rules_that_hold(&self, class: Option<&str>, message: &[Read]) -> Vec<bool> {
        let of_class = |rule: &Rule| {
            rule.classes.is_empty() || class.is_none_or(|name| rule.classes.iter().any(|class| class.name() == name))
        };
        let mut hold: Vec<bool> = self.rules.iter().map(of_class).collect();
        for hit in message.iter().flat_map(|part| &part.hits) {
            self.meanings[hit.phrase].silences.iter().for_each(|rule| hold[*rule] = false);
        }
        hold
    }

    /// The forbidden phrases of one part, by their place, none inside or across another.
    fn forbidden(&self, part: &Read, hold: &[bool]) -> Vec<(Hit, usize, usize)> {
        let allowed = allowed_from(part, |hit| self.meanings[hit.phrase].allowed);
        let mut found: Vec<(Hit, usize, usize)> = Vec::new();
        for hit in &part.hits {
            let meaning = &self.meanings[hit.phrase];
            let Some((rule, phrase)) = meaning.forbidden.iter().find(|(rule, _)| hold[*rule]) else { continue };
            if allowed[hit.end] <= hit.start {
                continue;
            }
            while found.last().is_some_and(|(last, ..)| hit.start <= last.start && last.end <= hit.end && *last != *hit)
            {
                found.pop();
            }
            if found.last().is_none_or(|(last, ..)| last.end <= hit.start) {
                found.push((*hit, *rule, *phrase));
            }
        }
        found
    }
}

/// For each place the earliest beginning of an allowed phrase that ends there or later: one that begins no later than a
/// phrase which ends there holds all of it.
fn allowed_from(part: &Read, is_allowed: impl Fn(&Hit) -> bool) -> Vec<usize> {
    let mut from = vec![usize::MAX; part.letters.len() + 1];
    for hit in part.hits.iter().filter(|hit| is_allowed(hit)) {
        from[hit.end] = from[hit.end].min(hit.start);
    }
    for end in (1..from.len()).rev() {
        from[end - 1] = from[end - 1].min(from[end]);
    }
    from
}

/// Whether a phrase that begins or ends with a Latin letter or digit begins or ends a word there.
fn is_whole(letters: &[Letter], hit: Hit) -> bool {
    let joined = |left: Option<&Letter>, right: Option<&Letter>| match (left, right) {
        (Some(left), Some(right)) => {
            left.end == right.start && left.folded.is_ascii_alphanumeric() && right.folded.is_ascii_alphanumeric()
        }
        _ => false,
    };
    let before = hit.start.checked_sub(1).and_then(|place| letters.get(place));
    !joined(before, letters.get(hit.start)) && !joined(letters.get(hit.end - 1), letters.get(hit.end))
}

fn check_phrases(errors: &mut Errors, pointer: &str, phrases: &[String]) {
    let count = phrases.len() <= PHRASES_MAX;
    errors.require(count, pointer, format!("must be at most {PHRASES_MAX} phrases"));
    for (at, phrase) in phrases.iter().enumerate().take(PHRASES_MAX) {
        let letters = fold(phrase);
        let fits =
            (1..=LETTERS_MAX).contains(&letters.len()) && letters.iter().any(|letter| !letter.folded.is_ascii_digit());
        let message = format!("must be 1 to {LETTERS_MAX} letters and digits, not digits alone");
        errors.require(fits, format!("{pointer}/{at}"), message);
    }
}

fn check(config: &Config) -> Errors {
    let mut errors = Errors::new();
    errors.require(config.rules.len() <= RULES_MAX, "/rules", format!("must be at most {RULES_MAX} rules"));
    for (at, rule) in config.rules.iter().enumerate() {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let named = (1..=32).contains(&rule.code.len()) && rule.code.bytes().all(plain);
        errors.require(named, format!("/rules/{at}/code"), "must be 1 to 32 of a-z, 0-9 and -");
        let first = config.rules.iter().position(|other| other.code == rule.code) == Some(at);
        errors.require(!named || first, format!("/rules/{at}/code"), "is that of an earlier rule");
        errors.require(!rule.phrases.is_empty(), format!("/rules/{at}/phrases"), "must name a phrase");
        check_phrases(&mut errors, &format!("/rules/{at}/phrases"), &rule.phrases);
        check_phrases(&mut errors, &format!("/rules/{at}/unless"), &rule.unless);
    }
    check_phrases(&mut errors, "/allowed", &config.allowed);
    errors
}

impl ContentGuard for AdLaw {
    type Config = Config;
    type Facts = Known;
    const ABOUT: About = about!();
    const REASONS: &'static [ReasonCode] = REASONS;

    fn configure(config: Config) -> Result<Self, Vec<FieldError>> {
        check(&config).into_result(())?;
        let mut guard = Self { rules: Vec::new(), matcher: Matcher::new(), meanings: Vec::new() };
        for (rule, Rule { phrases, unless, .. }) in config.rules.iter().enumerate() {
            for (at, phrase) in phrases.iter().enumerate() {
                guard.learn(phrase, |meaning| meaning.forbidden.push((rule, at)));
            }
            for phrase in unless {
                guard.learn(phrase, |meaning| meaning.silences.push(rule));
            }
        }
        for phrase in &config.allowed {
            guard.learn(phrase, |meaning| meaning.allowed = true);
        }
        Ok(Self { rules: config.rules, matcher: guard.matcher.link(), meanings: guard.meanings })
    }

    fn check(&self, draft: &Draft<'_, Known>) -> Vec<Finding> {
        let message: Vec<Read> = draft.parts.iter().map(|part| self.read(part)).collect();
        let hold = self.rules_that_hold(draft.facts.class.as_deref(), &message);
        let mut findings = Vec::new();
        for (place, part) in message.iter().enumerate() {
            for (hit, rule, phrase) in self.forbidden(part, &hold) {
                if findings.len() == FINDINGS_MAX {
                    return findings;
                }
                let rule = &self.rules[rule];
                let bytes = part.letters[hit.start].start..part.letters[hit.end - 1].end;
                let reason = rule.category.reason().with(&rule.phrases[phrase]).with(&rule.code);
                findings.push(Finding::new(place, bytes, reason));
            }
        }
        findings
    }
}

export_content_guard!(AdLaw);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases() {
        galenic_sdk::testing::content_guard::<AdLaw>(include_str!("../config.json"), include_str!("../cases.json"));
    }

    fn guard() -> AdLaw {
        let config = galenic_sdk_config(include_str!("../config.json"));
        AdLaw::configure(config).expect("the default configuration is right")
    }

    fn galenic_sdk_config(text: &str) -> Config {
        serde_json::from_str(text).expect("is a configuration")
    }

    /// Whatever is put between the letters of any phrase of the default configuration, it is found.
    #[test]
    fn no_phrase_hides_behind_what_stands_between_its_letters() {
        let guard = guard();
        let fillers =
            ["", " ", "\u{3000}", "\u{200B}", "\u{200D}\u{FEFF}", "·", "！", "-", "🙂", "\u{0301}", "\u{3164}", "\n"];
        for rule in &guard.rules {
            for phrase in &rule.phrases {
                for filler in fillers {
                    let letters: Vec<String> = phrase.chars().map(wide).collect();
                    for text in [phrase.chars().map(String::from).collect::<Vec<_>>(), letters] {
                        let parts = [format!("——{}——", text.join(filler))];
                        let found = guard.check(&Draft { facts: &Known { class: None }, parts: &parts });
                        assert!(!found.is_empty(), "{phrase} with {filler:?} in {parts:?}");
                    }
                }
            }
        }
    }

    fn wide(letter: char) -> String {
        let wide = u32::from(letter).checked_add(0xFEE0).filter(|_| ('!'..='~').contains(&letter));
        wide.and_then(char::from_u32).unwrap_or(letter).to_string()
    }

    /// The longest text that a release may be sent, of nothing but hits, takes one pass.
    #[test]
    fn a_text_of_nothing_but_hits_gives_32_findings() {
        let parts = ["第一最佳".repeat(20_000)];
        let found = guard().check(&Draft { facts: &Known { class: None }, parts: &parts });
        assert_eq!(found.len(), FINDINGS_MAX);
    }
}

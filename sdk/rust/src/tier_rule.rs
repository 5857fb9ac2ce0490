//! Tier rules: which loyalty tier a member holds.

use std::collections::BTreeSet;

pub use crate::bindings::exports::galenic::plugin::tier_rule::{Benefit, Column, Subject, Tier, Verdict};
use crate::{
    About, BasisPoints, Config, Errors, Facts, FieldError, Instant, ReasonCode,
    bindings::exports::galenic::plugin::tier_rule::Guest,
    facts, glue,
    glue::{Export, Plugged},
    types::{Description, Reason, Value},
};

/// Decides which tier a member holds. Export it with [`export_tier_rule!`](crate::export_tier_rule!).
///
/// Write `evaluate` for one member; lists and columns are the SDK's.
pub trait TierRule: Sized + Send + Sync + 'static {
    /// The configuration, see [`config!`](crate::config!).
    type Config: Config;

    /// What the rule wants to know of a member, see [`facts!`](crate::facts!).
    type Facts: Facts;

    /// Who the plugin is: [`about!()`](crate::about!).
    const ABOUT: About;

    /// Every reason the rule may give: the table of [`reasons!`](crate::reasons!).
    const REASONS: &'static [ReasonCode];

    /// Makes a rule of a configuration.
    ///
    /// # Errors
    ///
    /// Every field that is wrong; [`Errors`] collects them.
    fn configure(config: Self::Config) -> Result<Self, Vec<FieldError>>;

    /// The tiers, lowest first: the first is where everybody starts.
    fn tiers(&self) -> Vec<Tier>;

    /// The tier that a member holds, by its place in [`tiers`](Self::tiers), and why.
    fn evaluate(&self, as_of: Instant, facts: &Self::Facts) -> Verdict;

    /// The tier alone, for bulk evaluation. Override it where reasons cost time; the test kit checks that both agree.
    fn tier_of(&self, as_of: Instant, facts: &Self::Facts) -> u16 {
        self.evaluate(as_of, facts).tier
    }
}

impl Verdict {
    /// The tier at this place.
    pub fn new(tier: u16) -> Self {
        Self { tier, reasons: Vec::new() }
    }

    /// The same verdict with one more reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Reason>) -> Self {
        self.reasons.push(reason.into());
        self
    }

    /// The same verdict with these reasons too.
    #[must_use]
    pub fn because_all(mut self, reasons: impl IntoIterator<Item = Reason>) -> Self {
        self.reasons.extend(reasons);
        self
    }
}

crate::config! {
    /// A tier as a configuration spells it: its code, its names and what its members get.
    pub struct TierConfig {
        /// Stable code, stored with the member. At most 32 bytes of `[a-z0-9-]`.
        pub code: String,
        /// The name in simplified Chinese.
        pub name_zh_cn: String,
        /// The name in English.
        pub name_en: String,
        /// Basis points off the list price.
        #[serde(default)]
        pub discount: BasisPoints,
        /// How many times the plain points, in basis points: 10 000 is once.
        #[serde(default = "once")]
        pub points_multiplier: BasisPoints,
        /// The same in the birthday month.
        #[serde(default = "once")]
        pub birthday_points_multiplier: BasisPoints,
    }
}

/// The plain rate.
fn once() -> BasisPoints {
    BasisPoints::WHOLE
}

impl TierConfig {
    /// Notes what is wrong with it; `pointer` is its own place in the configuration.
    pub fn check(&self, pointer: &str, errors: &mut Errors) {
        let code = self.code.as_bytes();
        let plain = code.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        errors.require(
            plain && (1..=32).contains(&code.len()),
            format!("{pointer}/code"),
            "a code is 1 to 32 bytes of a-z, 0-9 and -",
        );
        for (field, name) in [("name_zh_cn", &self.name_zh_cn), ("name_en", &self.name_en)] {
            errors.require(!name.trim().is_empty(), format!("{pointer}/{field}"), "a tier needs a name");
        }
        errors.require(
            (0..=10_000).contains(&self.discount.get()),
            format!("{pointer}/discount"),
            "a discount is 0 to 10000 basis points",
        );
        for (field, rate) in [
            ("points_multiplier", self.points_multiplier),
            ("birthday_points_multiplier", self.birthday_points_multiplier),
        ] {
            errors.require(
                (0..=1_000_000).contains(&rate.get()),
                format!("{pointer}/{field}"),
                "a multiplier is 0 to 1000000 basis points; 10000 is once",
            );
        }
    }
}

impl From<&TierConfig> for Tier {
    fn from(tier: &TierConfig) -> Self {
        let benefit =
            |name: &str, rate: BasisPoints| Benefit { name: name.to_owned(), value: Value::Integer(rate.get()) };
        Self {
            code: tier.code.clone(),
            name_zh_cn: tier.name_zh_cn.clone(),
            name_en: tier.name_en.clone(),
            benefits: vec![
                benefit("discount", tier.discount),
                benefit("points-multiplier", tier.points_multiplier),
                benefit("birthday-points-multiplier", tier.birthday_points_multiplier),
            ],
        }
    }
}

/// Notes what is wrong with a ladder of tiers in the field `tiers`, each with a `tier` and the `from` that it takes.
pub fn check_ladder<'a>(steps: impl ExactSizeIterator<Item = (i64, &'a TierConfig)>, errors: &mut Errors) {
    errors.require((1..=32).contains(&steps.len()), "/tiers", "a ladder has 1 to 32 tiers");
    let mut codes = BTreeSet::new();
    let mut last = None;
    for (i, (from, tier)) in steps.enumerate() {
        tier.check(&format!("/tiers/{i}/tier"), errors);
        errors.require(codes.insert(&tier.code), format!("/tiers/{i}/tier/code"), "another tier has this code");
        match last {
            None => errors.require(from == 0, "/tiers/0/from", "the first tier starts at 0: everybody holds it"),
            Some(last) => errors.require(
                from > last,
                format!("/tiers/{i}/from"),
                format!("must be above {last}, where the tier before starts"),
            ),
        }
        last = Some(from);
    }
}

/// The place of the last step that `reached` says yes to, in a ladder sorted by [`check_ladder`]; 0 if none is reached.
pub fn highest<T>(ladder: &[T], reached: impl Fn(&T) -> bool) -> u16 {
    let above = ladder.partition_point(reached).max(1);
    u16::try_from(above - 1).expect("a ladder has at most 32 tiers")
}

pub(crate) fn describe<T: TierRule>() -> Description {
    glue::describe::<T::Config>(T::ABOUT, &[T::Facts::WANTED], T::REASONS)
}

pub(crate) fn evaluate<T: TierRule>(rule: &T, subjects: Vec<Subject>) -> Vec<Verdict> {
    subjects
        .into_iter()
        .map(|subject| rule.evaluate(Instant::new(subject.as_of), &facts::read(subject.facts)))
        .collect()
}

pub(crate) fn evaluate_columns<T: TierRule>(rule: &T, as_of: Instant, mut columns: Vec<Column>) -> Vec<u16> {
    assert_eq!(columns.len(), T::Facts::WANTED.len(), "as many columns as wanted facts");
    let rows = columns.first().map_or(0, Column::rows);
    assert!(columns.iter().all(|column| column.rows() == rows), "columns of one length");
    (0..rows).map(|row| rule.tier_of(as_of, &T::Facts::from_columns(&mut columns, row))).collect()
}

impl Column {
    /// How many subjects it speaks of.
    pub fn rows(&self) -> usize {
        match self {
            Self::Integers(rows) => rows.len(),
            Self::Flags(rows) => rows.len(),
            Self::Texts(rows) => rows.len(),
        }
    }
}

impl<P: Plugged<Rule: TierRule>> Guest for Export<P> {
    fn describe() -> Description {
        describe::<P::Rule>()
    }

    fn configure(config: String) -> Result<(), Vec<FieldError>> {
        Self::configure(&config, P::Rule::configure)
    }

    fn tiers() -> Vec<Tier> {
        Self::rule().tiers()
    }

    fn evaluate(subjects: Vec<Subject>) -> Vec<Verdict> {
        evaluate(Self::rule(), subjects)
    }

    fn evaluate_columns(as_of: i64, columns: Vec<Column>) -> Vec<u16> {
        evaluate_columns(Self::rule(), Instant::new(as_of), columns)
    }
}

/// Makes the crate a plugin of kind `tier-rule`: `export_tier_rule!(SpendTiers);` where `SpendTiers` is a [`TierRule`].
#[macro_export]
macro_rules! export_tier_rule {
    ($rule:ty) => {
        const _: () = assert!(
            $crate::facts::all_in_scope(<<$rule as $crate::TierRule>::Facts as $crate::Facts>::WANTED, false),
            "a tier rule has no cart lines: no fact may begin with `line.`"
        );
        $crate::__export! { $rule, TIER_RULE,
            use $crate::bindings::exports::galenic::plugin::tier_rule as interface;
            $crate::bindings::exports::galenic::plugin::tier_rule::__export_galenic_plugin_tier_rule_0_1_0_cabi!(
                Export with_types_in interface
            );
        }
    };
}

//! Earning rules: how many points an activity earns.

pub use crate::bindings::exports::galenic::plugin::earning_rule::{Activity, Award};
use crate::{
    About, Config, Facts, FieldError, Instant, Points, ReasonCode,
    bindings::exports::galenic::plugin::earning_rule::Guest,
    facts, glue,
    glue::{Export, Plugged},
    types::{Description, Reason},
};

/// Decides how many points an activity earns. Export it with [`export_earning_rule!`](crate::export_earning_rule!).
pub trait EarningRule: Sized + Send + Sync + 'static {
    /// The configuration, see [`config!`](crate::config!).
    type Config: Config;

    /// What the rule wants to know of the activity and the member, see [`facts!`](crate::facts!).
    type Facts: Facts;

    /// What it wants to know of each line of a paid order: facts that begin with `line.`, or `()`.
    type Line: Facts;

    /// Who the plugin is: [`about!()`](crate::about!).
    const ABOUT: About;

    /// Every reason the rule may give: the table of [`reasons!`](crate::reasons!).
    const REASONS: &'static [ReasonCode];

    /// Makes a rule of a configuration.
    ///
    /// # Errors
    ///
    /// Every field that is wrong; [`Errors`](crate::Errors) collects them.
    fn configure(config: Self::Config) -> Result<Self, Vec<FieldError>>;

    /// What the activity earns. `lines` are those of a paid order, and empty for anything else.
    fn evaluate(&self, as_of: Instant, facts: &Self::Facts, lines: &[Self::Line]) -> Award;
}

impl Award {
    /// Points that can be spent `pending_days` whole days after delivery, until `valid_months` calendar months after that.
    pub fn new(points: Points, pending_days: u16, valid_months: u16) -> Self {
        Self { points: points.get(), pending_days, valid_months, reasons: Vec::new() }
    }

    /// The same award with one more reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Reason>) -> Self {
        self.reasons.push(reason.into());
        self
    }
}

pub(crate) fn describe<T: EarningRule>() -> Description {
    glue::describe::<T::Config>(T::ABOUT, &[T::Facts::WANTED, T::Line::WANTED], T::REASONS)
}

pub(crate) fn evaluate<T: EarningRule>(rule: &T, activities: Vec<Activity>) -> Vec<Award> {
    activities
        .into_iter()
        .map(|activity| {
            let lines: Vec<T::Line> = activity.lines.into_iter().map(facts::read).collect();
            rule.evaluate(Instant::new(activity.as_of), &facts::read(activity.facts), &lines)
        })
        .collect()
}

impl<P: Plugged<Rule: EarningRule>> Guest for Export<P> {
    fn describe() -> Description {
        describe::<P::Rule>()
    }

    fn configure(config: String) -> Result<(), Vec<FieldError>> {
        Self::configure(&config, P::Rule::configure)
    }

    fn evaluate(activities: Vec<Activity>) -> Vec<Award> {
        evaluate(Self::rule(), activities)
    }
}

/// Makes the crate a plugin of kind `earning-rule`: `export_earning_rule!(Standard);` where `Standard` is an [`EarningRule`].
#[macro_export]
macro_rules! export_earning_rule {
    ($rule:ty) => {
        const _: () = assert!(
            $crate::facts::all_in_scope(<<$rule as $crate::EarningRule>::Facts as $crate::Facts>::WANTED, false)
                && $crate::facts::all_in_scope(<<$rule as $crate::EarningRule>::Line as $crate::Facts>::WANTED, true),
            "facts that begin with `line.`, and only those, belong in `Line`"
        );
        $crate::__export! { $rule, EARNING_RULE,
            use $crate::bindings::exports::galenic::plugin::earning_rule as interface;
            $crate::bindings::exports::galenic::plugin::earning_rule::__export_galenic_plugin_earning_rule_0_1_0_cabi!(
                Export with_types_in interface
            );
        }
    };
}

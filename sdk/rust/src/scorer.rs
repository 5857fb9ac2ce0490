//! Scorers: what a member might want, and why.

pub use crate::bindings::exports::galenic::plugin::scorer::{Score, Shelf};
use crate::{
    About, Config, Facts, FieldError, Instant, ReasonCode,
    bindings::exports::galenic::plugin::scorer::{Guest, Request as WireRequest},
    facts, glue,
    glue::{Export, Plugged},
    types::{Description, Reason},
};

/// Says what a member might want, and why. Export it with [`export_scorer!`](crate::export_scorer!).
///
/// The host picks the candidates, and leaves out afterwards what may not be recommended or is sold out, whatever a scorer
/// says of it: a scorer need not know the law or the stock.
pub trait Scorer: Sized + Send + Sync + 'static {
    /// The configuration, see [`config!`](crate::config!).
    type Config: Config;

    /// What the scorer wants to know of the member, see [`facts!`](crate::facts!).
    type Facts: Facts;

    /// What it wants to know of each candidate: facts that begin with `candidate.`, or `()`.
    type Candidate: Facts;

    /// Who the plugin is: [`about!()`](crate::about!).
    const ABOUT: About;

    /// Every reason the scorer may give: the table of [`reasons!`](crate::reasons!).
    const REASONS: &'static [ReasonCode];

    /// Makes a scorer of a configuration.
    ///
    /// # Errors
    ///
    /// Every field that is wrong; [`Errors`](crate::Errors) collects them.
    fn configure(config: Self::Config) -> Result<Self, Vec<FieldError>>;

    /// The scores of those candidates that are recommended, each at most once, in any order.
    fn score(&self, request: &Request<'_, Self::Facts, Self::Candidate>) -> Vec<Score>;
}

/// One member and the products in question.
#[derive(Debug)]
pub struct Request<'a, Facts, Known> {
    /// The instant the scores are for.
    pub as_of: Instant,
    /// The member.
    pub facts: &'a Facts,
    /// At most 1 000.
    pub candidates: &'a [Candidate<Known>],
}

/// A product that might be recommended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<Known> {
    /// What is known of it.
    pub facts: Known,
    /// When the member bought it, newest first; empty if never. At most 32.
    pub purchased_at: Vec<Instant>,
}

impl Score {
    /// Recommends the candidate at this place of the request. Higher values come first; a value that is no finite number
    /// spoils the whole answer.
    pub fn new(candidate: usize, shelf: Shelf, value: f64) -> Self {
        let candidate = u32::try_from(candidate).expect("a request has at most 1 000 candidates");
        Self { candidate, shelf, value, reasons: Vec::new() }
    }

    /// The same score with one more reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Reason>) -> Self {
        self.reasons.push(reason.into());
        self
    }
}

pub(crate) fn describe<T: Scorer>() -> Description {
    glue::describe::<T::Config>(T::ABOUT, &[T::Facts::WANTED, T::Candidate::WANTED], T::REASONS)
}

pub(crate) fn evaluate<T: Scorer>(scorer: &T, requests: Vec<WireRequest>) -> Vec<Vec<Score>> {
    requests
        .into_iter()
        .map(|request| {
            let known: T::Facts = facts::read(request.facts);
            let candidates: Vec<_> = request
                .candidates
                .into_iter()
                .map(|candidate| Candidate {
                    facts: facts::read::<T::Candidate>(candidate.facts),
                    purchased_at: candidate.purchased_at.into_iter().map(Instant::new).collect(),
                })
                .collect();
            let as_of = Instant::new(request.as_of);
            scorer.score(&Request { as_of, facts: &known, candidates: &candidates })
        })
        .collect()
}

impl<P: Plugged<Rule: Scorer>> Guest for Export<P> {
    fn describe() -> Description {
        describe::<P::Rule>()
    }

    fn configure(config: String) -> Result<(), Vec<FieldError>> {
        Self::configure(&config, P::Rule::configure)
    }

    fn evaluate(requests: Vec<WireRequest>) -> Vec<Vec<Score>> {
        evaluate(Self::rule(), requests)
    }
}

/// Makes the crate a plugin of kind `scorer`: `export_scorer!(Rebuy);` where `Rebuy` is a [`Scorer`].
#[macro_export]
macro_rules! export_scorer {
    ($scorer:ty) => {
        const _: () = assert!(
            $crate::facts::all_about(
                <<$scorer as $crate::Scorer>::Facts as $crate::Facts>::WANTED,
                "candidate.",
                false
            ) && $crate::facts::all_about(
                <<$scorer as $crate::Scorer>::Candidate as $crate::Facts>::WANTED,
                "candidate.",
                true
            ),
            "facts that begin with `candidate.`, and only those, belong in `Candidate`"
        );
        $crate::__export! { $scorer, SCORER,
            use $crate::bindings::exports::galenic::plugin::scorer as interface;
            $crate::bindings::exports::galenic::plugin::scorer::__export_galenic_plugin_scorer_0_1_0_cabi!(
                Export with_types_in interface
            );
        }
    };
}

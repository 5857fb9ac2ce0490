//! Coupon policies: what offers and coupons are worth for a cart.

pub use crate::bindings::exports::galenic::plugin::coupon_policy::{Outcome, Proposal};
use crate::{
    About, Config, Facts, FieldError, Instant, Money, ReasonCode, Terms,
    bindings::exports::galenic::plugin::coupon_policy::{Cart as WireCart, Guest, LineDiscount, SharedDiscount, Term},
    facts, glue,
    glue::{Export, Plugged},
    terms,
    types::{Description, Reason, Value},
};

/// Decides what an offer is worth for a cart. Export it with [`export_coupon_policy!`](crate::export_coupon_policy!).
pub trait CouponPolicy: Sized + Send + Sync + 'static {
    /// The configuration, see [`config!`](crate::config!).
    type Config: Config;

    /// What the policy wants to know of the cart and the member, see [`facts!`](crate::facts!).
    type Facts: Facts;

    /// What it wants to know of each cart line: facts that begin with `line.`.
    type Line: Facts;

    /// What an offer may say, see [`terms!`](crate::terms!).
    type Terms: Terms;

    /// Who the plugin is: [`about!()`](crate::about!).
    const ABOUT: About;

    /// Every reason the policy may give: the table of [`reasons!`](crate::reasons!).
    const REASONS: &'static [ReasonCode];

    /// Makes a policy of a configuration.
    ///
    /// # Errors
    ///
    /// Every field that is wrong; [`Errors`](crate::Errors) collects them.
    fn configure(config: Self::Config) -> Result<Self, Vec<FieldError>>;

    /// Looks at an offer's terms when the offer is defined.
    ///
    /// # Errors
    ///
    /// Every term that is wrong, missing or out of place; `/threshold` points at a term.
    fn check_terms(&self, terms: &Self::Terms) -> Result<(), Vec<FieldError>>;

    /// What an offer of these terms would give this cart. The host picks among proposals, allocates to lines and clamps.
    fn evaluate(&self, cart: &Cart<'_, Self::Facts, Self::Line>, terms: &Self::Terms) -> Proposal;
}

/// A cart as it stands before this stage of pricing.
#[derive(Debug)]
pub struct Cart<'a, Facts, Line> {
    /// The instant of the quote.
    pub as_of: Instant,
    /// The cart and the member.
    pub facts: &'a Facts,
    /// The lines; a proposal names them by their place.
    pub lines: &'a [Line],
}

impl Proposal {
    /// Nothing, for this reason.
    pub fn declined(reason: impl Into<Reason>) -> Self {
        Self { outcome: Outcome::Declined, reasons: vec![reason.into()] }
    }

    /// An amount off these lines together, named by their places, ascending.
    pub fn shared(amount: Money, lines: Vec<u16>) -> Self {
        Self { outcome: Outcome::Shared(SharedDiscount { amount: amount.get(), lines }), reasons: Vec::new() }
    }

    /// An amount off each of these lines, ascending.
    pub fn lines(amounts: impl IntoIterator<Item = (u16, Money)>) -> Self {
        let discounts = amounts.into_iter().map(|(line, amount)| LineDiscount { line, amount: amount.get() }).collect();
        Self { outcome: Outcome::Lines(discounts), reasons: Vec::new() }
    }

    /// An amount off the delivery fee.
    pub fn delivery(amount: Money) -> Self {
        Self { outcome: Outcome::Delivery(amount.get()), reasons: Vec::new() }
    }

    /// The same proposal with one more reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Reason>) -> Self {
        self.reasons.push(reason.into());
        self
    }
}

pub(crate) fn describe<T: CouponPolicy>() -> Description {
    glue::describe::<T::Config>(T::ABOUT, &[T::Facts::WANTED, T::Line::WANTED], T::REASONS)
}

pub(crate) fn declared_terms<T: CouponPolicy>() -> Vec<Term> {
    T::Terms::TERMS
        .iter()
        .map(|term| Term { name: term.name.to_owned(), value_type: term.value_type, summary: term.summary.to_owned() })
        .collect()
}

pub(crate) fn check_terms<T: CouponPolicy>(policy: &T, values: Vec<Value>) -> Result<(), Vec<FieldError>> {
    policy.check_terms(&terms::read(values))
}

pub(crate) fn evaluate<T: CouponPolicy>(policy: &T, carts: Vec<WireCart>) -> Vec<Vec<Proposal>> {
    carts
        .into_iter()
        .map(|cart| {
            let facts = facts::read(cart.facts);
            let lines: Vec<T::Line> = cart.lines.into_iter().map(facts::read).collect();
            let offers = cart.offers;
            let cart = Cart { as_of: Instant::new(cart.as_of), facts: &facts, lines: &lines };
            offers.into_iter().map(|values| policy.evaluate(&cart, &terms::read(values))).collect()
        })
        .collect()
}

impl<P: Plugged<Rule: CouponPolicy>> Guest for Export<P> {
    fn describe() -> Description {
        describe::<P::Rule>()
    }

    fn configure(config: String) -> Result<(), Vec<FieldError>> {
        Self::configure(&config, P::Rule::configure)
    }

    fn terms() -> Vec<Term> {
        declared_terms::<P::Rule>()
    }

    fn check_terms(terms: Vec<Value>) -> Result<(), Vec<FieldError>> {
        check_terms(Self::rule(), terms)
    }

    fn evaluate(carts: Vec<WireCart>) -> Vec<Vec<Proposal>> {
        evaluate(Self::rule(), carts)
    }
}

/// Makes the crate a plugin of kind `coupon-policy`: `export_coupon_policy!(Standard);` where `Standard` is a
/// [`CouponPolicy`].
#[macro_export]
macro_rules! export_coupon_policy {
    ($policy:ty) => {
        const _: () = assert!(
            $crate::facts::all_in_scope(<<$policy as $crate::CouponPolicy>::Facts as $crate::Facts>::WANTED, false)
                && $crate::facts::all_in_scope(<<$policy as $crate::CouponPolicy>::Line as $crate::Facts>::WANTED, true),
            "facts that begin with `line.`, and only those, belong in `Line`"
        );
        $crate::__export! { $policy, COUPON_POLICY,
            use $crate::bindings::exports::galenic::plugin::coupon_policy as interface;
            $crate::bindings::exports::galenic::plugin::coupon_policy::__export_galenic_plugin_coupon_policy_0_1_0_cabi!(
                Export with_types_in interface
            );
        }
    };
}

//! Buy again what runs out; discover what others bought together with it.
//!
//! **Buy again.** Every purchase counts, half as much after each half-life, so what was bought often and lately comes
//! first. A pack that is about to run out raises the value, one that must still be nearly full lowers it. How long it
//! lasts is what the catalogue says, and otherwise the member's own rhythm once they bought it three times.
//!
//! **Discover.** How often others bought a candidate together with what the member bought, as the cosine of the two sets
//! of orders; a little is added for each of the member's orders of the same category.
//!
//! What it cannot know: how many packs each purchase was, who in the household takes them, and whether a medicine still
//! suits the patient. It sees the member's last purchases and counts of orders, nobody else's purchases.

use galenic_sdk::prelude::*;
use scorer::{Candidate, Request};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// From how many purchases on their rhythm says something.
const RHYTHM_PURCHASES: usize = 3;
/// Orders of a category that add to the value.
const CATEGORY_ORDERS_MAX: i64 = 5;
/// A hundred times: factors beyond that drown everything else.
const FACTOR_MAX: i64 = 1_000_000;

config! {
    /// What is recommended, and how high.
    pub struct Config {
        /// Products that the member bought before.
        pub buy_again: BuyAgain,
        /// Products that the member never bought.
        pub discover: Discover,
        /// Categories that are never recommended.
        #[serde(default)]
        pub excluded_categories: Vec<String>,
    }
    /// How past purchases count.
    pub struct BuyAgain {
        /// Days after which a purchase counts half, 1 to 3650.
        pub half_life_days: i64,
        /// Purchases that count less than this together are forgotten; 10000 is one purchase of today.
        pub least: BasisPoints,
        /// A pack is due from this many days before it runs out.
        pub lead_days: i64,
        /// It stays due until this many days after it ran out.
        pub due_days: i64,
        /// Times the plain value while it is due; 10000 is once.
        pub due: BasisPoints,
        /// Times the plain value while it is not due yet.
        pub early: BasisPoints,
    }
    /// How the orders of others count.
    pub struct Discover {
        /// Orders that must hold both; fewer are chance.
        pub together_least: i64,
        /// The least similarity; 10000 is always bought together.
        pub similarity_least: BasisPoints,
        /// What each order of the member in the same category adds, for at most five.
        pub category: BasisPoints,
    }
}

facts! {
    /// What the scorer wants to know of the member.
    pub struct Known {
        /// Orders of all members that hold what this one bought.
        bought_baskets: i64 = "member.bought-baskets",
    }
}

facts! {
    /// What it wants to know of a candidate.
    pub struct Product {
        /// Its category.
        category: String = "candidate.category",
        /// How many days one pack lasts.
        days_of_supply: Option<i64> = "candidate.days-of-supply",
        /// Orders of all members that hold it.
        baskets: i64 = "candidate.baskets",
        /// Orders of others that hold it together with what this member bought.
        together: i64 = "candidate.bought-together",
        /// Orders of this member in its category.
        category_bought: i64 = "candidate.category-bought",
    }
}

reasons! {
    RUNS_OUT = "runs-out": "{0}天前购买，一份约用{1}天", "bought {0} days ago, a pack lasts about {1} days";
    RHYTHM = "usual-interval": "{0}天前购买，通常{1}天买一次", "bought {0} days ago, usually every {1} days";
    OFTEN = "bought-before": "买过{0}次，最近一次在{1}天前", "bought {0} times, last {1} days ago";
    TOGETHER = "bought-together": "{0}个订单同时包含它和您买过的商品", "in {0} orders together with what you bought";
    CATEGORY = "same-category": "您有{0}个订单包含同类商品", "{0} of your orders hold something of its category";
}

/// The scorer, configured.
pub struct Rebuy(Config);

/// How long a pack lasts, and how that is known.
enum Lasts {
    /// The catalogue says so.
    Pack(i64),
    /// The member's own rhythm.
    Rhythm(i64),
}

impl Rebuy {
    fn buy_again(&self, place: usize, candidate: &Candidate<Product>, as_of: Instant) -> Option<Score> {
        let rules = &self.0.buy_again;
        let age_ms = |at: &Instant| as_of.get().saturating_sub(at.get()).max(0);
        let newest = age_ms(candidate.purchased_at.first()?);
        let half_life = (rules.half_life_days * DAY_MS) as f64;
        let weight: f64 = candidate.purchased_at.iter().map(|at| (-(age_ms(at) as f64) / half_life).exp2()).sum();
        if weight < rate(rules.least) {
            return None;
        }
        let (ago, times) = (newest / DAY_MS, candidate.purchased_at.len() as i64);
        let mut score = Score::new(place, Shelf::BuyAgain, weight);
        if let Some(lasts) = lasts(candidate) {
            let (Lasts::Pack(days) | Lasts::Rhythm(days)) = lasts;
            let due = ago + rules.lead_days >= days && ago <= days.saturating_add(rules.due_days);
            if ago + rules.lead_days < days {
                score.value *= rate(rules.early);
            } else if due {
                score.value *= rate(rules.due);
                let reason = if matches!(lasts, Lasts::Pack(_)) { RUNS_OUT } else { RHYTHM };
                score = score.because(reason.with(ago).with(days));
            }
        }
        Some(score.because(OFTEN.with(times).with(ago)))
    }

    fn discover(&self, place: usize, product: &Product, known: &Known) -> Option<Score> {
        let rules = &self.0.discover;
        if product.together < rules.together_least || product.baskets <= 0 || known.bought_baskets <= 0 {
            return None;
        }
        let either = product.baskets as f64 * known.bought_baskets as f64;
        let similarity = (product.together as f64 / either.sqrt()).min(1.0);
        if similarity < rate(rules.similarity_least) {
            return None;
        }
        let alike = product.category_bought.clamp(0, CATEGORY_ORDERS_MAX);
        let value = similarity + rate(rules.category) * alike as f64;
        let mut score = Score::new(place, Shelf::Discover, value).because(TOGETHER.with(product.together));
        if alike > 0 {
            score = score.because(CATEGORY.with(product.category_bought));
        }
        Some(score)
    }
}

/// A rate as a number. Values are no money.
fn rate(rate: BasisPoints) -> f64 {
    rate.get() as f64 / BasisPoints::WHOLE.get() as f64
}

fn lasts(candidate: &Candidate<Product>) -> Option<Lasts> {
    if let Some(days) = candidate.facts.days_of_supply.filter(|days| *days > 0) {
        return Some(Lasts::Pack(days));
    }
    let purchases = &candidate.purchased_at;
    let (newest, oldest) = (purchases.first()?, purchases.last()?);
    let gaps = i64::try_from(purchases.len()).ok()? - 1;
    let days = newest.get().saturating_sub(oldest.get()) / gaps.max(1) / DAY_MS;
    (purchases.len() >= RHYTHM_PURCHASES && days > 0).then_some(Lasts::Rhythm(days))
}

impl Scorer for Rebuy {
    type Config = Config;
    type Facts = Known;
    type Candidate = Product;
    const ABOUT: About = about!();
    const REASONS: &'static [ReasonCode] = REASONS;

    fn configure(config: Config) -> Result<Self, Vec<FieldError>> {
        let mut errors = Errors::new();
        let (again, discover) = (&config.buy_again, &config.discover);
        errors.require((1..=3_650).contains(&again.half_life_days), "/buy_again/half_life_days", "must be 1 to 3650");
        for (field, days) in [("lead_days", again.lead_days), ("due_days", again.due_days)] {
            errors.require((0..=365).contains(&days), format!("/buy_again/{field}"), "must be 0 to 365");
        }
        for (field, factor) in [("due", again.due), ("early", again.early)] {
            let fits = (0..=FACTOR_MAX).contains(&factor.get());
            errors.require(fits, format!("/buy_again/{field}"), "must be 0 to 1000000 basis points");
        }
        let share = 0..=BasisPoints::WHOLE.get();
        let shares = [
            ("/buy_again/least", again.least),
            ("/discover/similarity_least", discover.similarity_least),
            ("/discover/category", discover.category),
        ];
        for (pointer, rate) in shares {
            errors.require(share.contains(&rate.get()), pointer, "must be 0 to 10000 basis points");
        }
        errors.require(discover.together_least >= 1, "/discover/together_least", "must be at least 1");
        errors.into_result(Self(config))
    }

    fn score(&self, request: &Request<'_, Known, Product>) -> Vec<Score> {
        let score = |(place, candidate): (usize, &Candidate<Product>)| {
            if self.0.excluded_categories.contains(&candidate.facts.category) {
                None
            } else if candidate.purchased_at.is_empty() {
                self.discover(place, &candidate.facts, request.facts)
            } else {
                self.buy_again(place, candidate, request.as_of)
            }
        };
        request.candidates.iter().enumerate().filter_map(score).collect()
    }
}

export_scorer!(Rebuy);

#[cfg(test)]
mod tests {
    #[test]
    fn cases() {
        galenic_sdk::testing::scorer::<super::Rebuy>(include_str!("../config.json"), include_str!("../cases.json"));
    }
}

//! Quotes: a price that holds for 15 minutes, unless the member or an offer it uses has moved.

use serde_json::{Value as Json, json};

use super::{
    Answer, MINUTE, Oracle,
    pricing::{self, Cart, Line, Price},
    shanghai,
    terms::Day,
    view,
};

/// What a price is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) member: String,
    pub(crate) lines: Vec<(String, i64)>,
    pub(crate) coupon: Option<String>,
    pub(crate) prescription: Option<String>,
    pub(crate) points: i64,
    pub(crate) delivery_fee: i64,
}

/// A priced cart.
#[derive(Clone, Debug)]
pub(crate) struct Quote {
    pub(crate) ask: Ask,
    pub(crate) price: Price,
    expires: i64,
    revision: u64,
    placed: bool,
}

impl Oracle {
    /// Prices a cart and keeps the quote under this name.
    pub(crate) fn quote(&mut self, name: &str, ask: &Ask) -> Answer {
        self.quote_without(name, ask, &[])
    }

    /// The same without offers whose budgets were found to be gone.
    fn quote_without(&mut self, name: &str, ask: &Ask, gone: &[String]) -> Answer {
        let price = self.price(ask, gone)?;
        let quote = Quote {
            ask: ask.clone(),
            expires: self.now + 15 * MINUTE,
            revision: self.members[&ask.member].revision,
            price,
            placed: false,
        };
        let shown = self.show(&quote);
        self.quotes.insert(name.to_owned(), quote);
        Ok(shown)
    }

    fn show(&self, quote: &Quote) -> Json {
        let tier = self.tier_of(&quote.ask.member);
        json!({"member": quote.ask.member, "tier": tier.code, "price": view::price(&quote.price)})
    }

    fn price(&self, ask: &Ask, gone: &[String]) -> Result<Price, Vec<&'static str>> {
        let member = &self.members[&ask.member];
        let tier = self.tier_of(&ask.member);
        let lines: Vec<Line> = ask.lines.iter().map(|(product, quantity)| self.line(product, *quantity)).collect();
        self.covered(&ask.member, &lines, ask.prescription.as_ref())?;
        let day = Day {
            of_month: shanghai(self.now).day(),
            tier: tier.code.to_owned(),
            no_devices: self.no_devices,
            paid_orders: self.paid_orders(&ask.member),
            birthday_month: self.birthday_month(&ask.member),
        };
        let cart = Cart {
            lines,
            discount: tier.discount,
            day,
            candidates: self.candidates(&ask.member, gone),
            named: ask.coupon.clone(),
            points: ask.points.into(),
            delivery_fee: ask.delivery_fee.into(),
        };
        let price = pricing::price(cart);
        let mut problems = Vec::new();
        if i128::from(ask.points) > price.points_max {
            problems.push("points-above-limit");
        }
        if i128::from(ask.points) > member.wallet.active() {
            problems.push("not-enough-points");
        }
        if problems.is_empty() { Ok(price) } else { Err(problems) }
    }

    fn line(&self, name: &str, quantity: i64) -> Line {
        let product = &self.products[name];
        Line {
            product: name.to_owned(),
            category: product.category.clone(),
            class: product.class.clone(),
            quantity: quantity.into(),
            unit: product.price.into(),
            base: 0,
            left: 0,
            taken: Vec::new(),
        }
    }

    /// The same ask with as many of its points as are left and as the new price takes: what a fresh quote is made of. A
    /// quote that changed is always answered with a fresh one. A coupon that the member named stays named: where it is
    /// gone, no other takes its place (R2).
    fn still_possible(&self, ask: &Ask, gone: &[String]) -> Ask {
        let none = Ask { points: 0, ..ask.clone() };
        let takes = self.price(&none, gone).map_or(0, |price| price.points_max);
        let most = takes.min(self.members[&ask.member].wallet.active());
        Ask { points: ask.points.min(i64::try_from(most).expect("fits")), ..none }
    }

    /// A quote that no longer holds is made anew, without offers that are gone.
    fn changed(&mut self, quote: &Quote, fresh: &str, gone: &[String]) -> Refusal {
        let ask = self.still_possible(&quote.ask, gone);
        match self.quote_without(fresh, &ask, gone) {
            Ok(fresh) => Refusal::Changed(fresh),
            Err(codes) => Refusal::Of(codes),
        }
    }

    /// Whether a quote can be placed as it is; what it is, or why not. A quote that no longer holds is made anew, under
    /// the name `fresh`, and shown beside the problem.
    pub(crate) fn accept(&mut self, name: &str, fresh: &str) -> Result<Quote, Refusal> {
        let quote = self.quotes[name].clone();
        // What is past may have been swept.
        if quote.expires <= self.now {
            return Err(Refusal::Of(vec!["quote-expired", "quote-placed", "not-found"]));
        }
        if quote.placed {
            return Err(Refusal::Of(vec!["quote-placed"]));
        }
        if self.members[&quote.ask.member].revision != quote.revision {
            return Err(self.changed(&quote, fresh, &[]));
        }
        self.covered(&quote.ask.member, &quote.price.lines, quote.ask.prescription.as_ref()).map_err(Refusal::Of)?;
        if self.short_of_stock(&quote.ask.lines) {
            return Err(Refusal::Of(vec!["out-of-stock"]));
        }
        let lost = |(code, _, needs): &&(String, Option<String>, i128)| {
            let (uses, budget) = self.budget_left(code);
            self.offers[code].paused || uses < 1 || budget < *needs
        };
        // Offers are reserved one after the other: the first that is paused, or whose budget is gone, is dropped.
        if let Some((gone, ..)) = quote.price.applied.iter().find(lost) {
            return Err(self.changed(&quote, fresh, std::slice::from_ref(gone)));
        }
        self.quotes.get_mut(name).expect("the quote").placed = true;
        Ok(quote)
    }
}

/// Why an order is not placed.
pub(crate) enum Refusal {
    /// One of these.
    Of(Vec<&'static str>),
    /// `quote-changed`, with this quote.
    Changed(Json),
}

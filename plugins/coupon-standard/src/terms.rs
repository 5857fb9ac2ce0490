//! What an offer may say, and which terms go together.

use galenic_sdk::prelude::*;

use crate::{Class, conditions::range};

terms! {
    /// The terms of one offer.
    pub struct Terms {
        /// What the offer gives: amount, percent, nth-item, member-price or free-delivery.
        kind: String = "type",
        /// amount: what is taken off the goods together.
        amount: Money = "amount",
        /// percent, nth-item: the rate that is taken off.
        percent: BasisPoints = "percent",
        /// nth-item: of every so many items, dearest first, the last is reduced.
        every: i64 = "every",
        /// member-price: the price of one item.
        price: Money = "price",
        /// percent, nth-item, free-delivery: the most that is taken off.
        cap: Money = "cap",
        /// The least that the goods must cost after the tier discount.
        threshold: Money = "threshold",
        /// The least number of items.
        min_items: i64 = "min-items",
        /// Only goods of these categories count.
        categories: Vec<String> = "categories",
        /// Only these products count, by the partner's ids.
        products: Vec<String> = "products",
        /// Only goods of these classes count: rx, otc-a, otc-b, device, food, other.
        classes: Vec<String> = "classes",
        /// Each of these products must be among the goods that count: a bundle.
        requires: Vec<String> = "requires",
        /// Only for members of these tiers, by code.
        tiers: Vec<String> = "tiers",
        /// Only for new members (no order paid yet) or existing ones (at least one): new or existing.
        members: String = "members",
        /// Only in the member's birthday month.
        birthday_month: bool = "birthday-month",
        /// Only on these days of the month, single (15) or from-to (1-5).
        days: Vec<String> = "days",
        /// Only on these weekdays, Monday is 1, single (3) or from-to (6-7).
        weekdays: Vec<String> = "weekdays",
        /// Only in these months, single (6) or from-to (11-2).
        months: Vec<String> = "months",
    }
}

/// What each type of offer needs and what else it may set, of the terms that say what it gives.
const TYPES: &[(&str, &[&str], &[&str])] = &[
    ("amount", &["amount"], &[]),
    ("percent", &["percent"], &["cap"]),
    ("nth-item", &["percent", "every"], &["cap"]),
    ("member-price", &["price", "products"], &[]),
    ("free-delivery", &[], &["cap"]),
];

impl Terms {
    /// Every term that is wrong, missing or out of place.
    pub(crate) fn check(&self, percent_max: BasisPoints) -> Result<(), Vec<FieldError>> {
        let mut errors = Errors::new();
        self.check_type(&mut errors);
        self.check_numbers(percent_max, &mut errors);
        self.check_lists(&mut errors);
        let members = self.members.as_deref();
        errors.require(matches!(members, None | Some("new" | "existing")), "/members", "is `new` or `existing`");
        errors.into_result(())
    }

    fn check_type(&self, errors: &mut Errors) {
        let name = self.kind.as_deref().unwrap_or_default();
        let Some((_, needed, allowed)) = TYPES.iter().find(|(known, ..)| *known == name) else {
            let names: Vec<_> = TYPES.iter().map(|(known, ..)| *known).collect();
            errors.require(false, "/type", format!("is one of {}", names.join(", ")));
            return;
        };
        let given = [
            ("amount", self.amount.is_some()),
            ("percent", self.percent.is_some()),
            ("every", self.every.is_some()),
            ("price", self.price.is_some()),
            ("cap", self.cap.is_some()),
        ];
        for (term, is_given) in given.into_iter().chain([("products", self.products.is_some())]) {
            errors.require(
                is_given || !needed.contains(&term),
                format!("/{term}"),
                format!("an offer of type {name} needs it"),
            );
        }
        for (term, is_given) in given {
            let known = needed.contains(&term) || allowed.contains(&term);
            errors.require(
                !is_given || known,
                format!("/{term}"),
                format!("means nothing for an offer of type {name}"),
            );
        }
    }

    fn check_numbers(&self, percent_max: BasisPoints, errors: &mut Errors) {
        for (term, amount) in [("amount", self.amount), ("cap", self.cap), ("threshold", self.threshold)] {
            errors.require(amount.is_none_or(|amount| amount > Money::ZERO), format!("/{term}"), "must be above 0");
        }
        errors.require(self.price.is_none_or(|price| price >= Money::ZERO), "/price", "must be 0 or more");
        let most = percent_max.get();
        let percent = self.percent.is_none_or(|rate| (1..=most).contains(&rate.get()));
        errors.require(percent, "/percent", format!("must be 1 to {most} basis points"));
        errors.require(self.every.is_none_or(|every| (2..=100).contains(&every)), "/every", "must be 2 to 100");
        errors.require(self.min_items.is_none_or(|least| least >= 1), "/min-items", "must be at least 1");
    }

    fn check_lists(&self, errors: &mut Errors) {
        let lists = [
            ("categories", &self.categories),
            ("products", &self.products),
            ("classes", &self.classes),
            ("requires", &self.requires),
            ("tiers", &self.tiers),
            ("days", &self.days),
            ("weekdays", &self.weekdays),
            ("months", &self.months),
        ];
        for (term, list) in lists {
            let full = list.as_ref().is_none_or(|list| !list.is_empty() && list.iter().all(|text| !text.is_empty()));
            errors.require(full, format!("/{term}"), "must not be empty; leave the term out instead");
        }
        for (i, class) in self.classes.iter().flatten().enumerate() {
            let known = Class::named(class).is_some();
            errors.require(known, format!("/classes/{i}"), "is one of rx, otc-a, otc-b, device, food, other");
        }
        for (term, list, most) in
            [("days", &self.days, 31), ("weekdays", &self.weekdays, 7), ("months", &self.months, 12)]
        {
            for (i, entry) in list.iter().flatten().enumerate() {
                let right = range(entry).is_some_and(|(from, to)| from.max(to) <= most && from.min(to) >= 1);
                errors.require(right, format!("/{term}/{i}"), format!("is a number or two like 2-5, from 1 to {most}"));
            }
        }
    }
}

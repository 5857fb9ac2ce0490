//! What an offer says, and what it would take off a cart: a second reading of the standard coupon policy's terms.

use serde::{Deserialize, Serialize};

/// 100 % in basis points.
pub(crate) const WHOLE: i128 = 10_000;

/// The terms of an offer, as the API takes them. What is not said does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Terms {
    pub(crate) r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) amount: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) percent: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) every: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) price: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cap: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threshold: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_items: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) categories: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) products: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) requires: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tiers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) members: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) birthday_month: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) days: Vec<String>,
}

/// The member and the day that conditions look at.
#[derive(Clone, Debug)]
pub(crate) struct Day {
    pub(crate) of_month: i8,
    pub(crate) tier: String,
    pub(crate) paid_orders: i64,
    pub(crate) birthday_month: bool,
    /// Whether the policy leaves devices out.
    pub(crate) no_devices: bool,
}

/// A line as an offer sees it.
#[derive(Clone, Debug)]
pub(crate) struct Goods<'a> {
    pub(crate) product: &'a str,
    pub(crate) category: &'a str,
    pub(crate) class: &'a str,
    pub(crate) quantity: i128,
    pub(crate) base: i128,
    pub(crate) left: i128,
}

/// What an offer would take.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Off these lines together.
    Shared(i128, Vec<usize>),
    /// Off each line.
    PerLine(Vec<(usize, i128)>),
    /// Off the delivery fee.
    Delivery(i128),
}

impl Terms {
    /// What it takes off these goods, or the reason code why nothing.
    pub(crate) fn judge(&self, goods: &[Goods<'_>], fee: i128, day: &Day) -> Result<Effect, &'static str> {
        self.fits(day)?;
        let scope: Vec<usize> = (0..goods.len()).filter(|at| self.covers(&goods[*at], day)).collect();
        self.reached(goods, &scope)?;
        match self.r#type.as_str() {
            "amount" => self.shared(goods, &scope, i128::from(self.amount.unwrap_or(0))),
            "percent" => {
                let left: i128 = scope.iter().map(|at| goods[*at].left).sum();
                let off = left * self.rate() / WHOLE;
                self.shared(goods, &scope, off.min(self.cap()))
            }
            "nth-item" => self.nth_item(goods, &scope),
            "member-price" => self.member_price(goods, &scope),
            "free-delivery" if fee > 0 => Ok(Effect::Delivery(fee.min(self.cap()))),
            "free-delivery" => Err("no-delivery-fee"),
            other => panic!("no offer is of type {other}"),
        }
    }

    fn rate(&self) -> i128 {
        i128::from(self.percent.unwrap_or(0))
    }

    fn cap(&self) -> i128 {
        self.cap.map_or(i128::MAX, i128::from)
    }

    fn fits(&self, day: &Day) -> Result<(), &'static str> {
        let on = |entry: &String| {
            let (from, to) = entry.split_once('-').unwrap_or((entry, entry));
            let (from, to): (i8, i8) = (from.parse().expect("a day"), to.parse().expect("a day"));
            if from <= to { (from..=to).contains(&day.of_month) } else { day.of_month >= from || day.of_month <= to }
        };
        if !self.days.is_empty() && !self.days.iter().any(on) {
            return Err("other-day");
        }
        if !self.tiers.is_empty() && !self.tiers.contains(&day.tier) {
            return Err("other-tier");
        }
        match self.members.as_deref() {
            Some("new") if day.paid_orders > 0 => return Err("not-new"),
            Some("existing") if day.paid_orders == 0 => return Err("no-order-yet"),
            _ => {}
        }
        if self.birthday_month == Some(true) && !day.birthday_month {
            return Err("not-birthday-month");
        }
        Ok(())
    }

    fn covers(&self, goods: &Goods<'_>, day: &Day) -> bool {
        let within = |list: &[String], value: &str| list.is_empty() || list.iter().any(|one| one == value);
        let left_out = day.no_devices && goods.class == "device";
        !left_out && within(&self.categories, goods.category) && within(&self.products, goods.product)
    }

    fn reached(&self, goods: &[Goods<'_>], scope: &[usize]) -> Result<(), &'static str> {
        if scope.is_empty() {
            return Err("no-goods");
        }
        if self.requires.iter().any(|needed| !scope.iter().any(|at| goods[*at].product == needed)) {
            return Err("missing-product");
        }
        let items: i128 = scope.iter().map(|at| goods[*at].quantity).sum();
        if items < i128::from(self.min_items.unwrap_or(0)) {
            return Err("too-few-items");
        }
        let base: i128 = scope.iter().map(|at| goods[*at].base).sum();
        if base < i128::from(self.threshold.unwrap_or(0)) { Err("below-threshold") } else { Ok(()) }
    }

    /// An amount off lines together: never more than they still cost.
    fn shared(&self, goods: &[Goods<'_>], scope: &[usize], amount: i128) -> Result<Effect, &'static str> {
        let left: i128 = scope.iter().map(|at| goods[*at].left).sum();
        let amount = amount.min(left);
        if amount <= 0 { Err("nothing-left") } else { Ok(Effect::Shared(amount, scope.to_vec())) }
    }

    /// Every n-th item is reduced, dearest first; rounded down per line.
    fn nth_item(&self, goods: &[Goods<'_>], scope: &[usize]) -> Result<Effect, &'static str> {
        let mut items: Vec<usize> = Vec::new();
        for at in scope {
            items.extend((0..goods[*at].quantity).map(|_| *at));
        }
        // By the price of one item, compared without dividing.
        items.sort_by(|a, b| {
            let (a, b) = (&goods[*a], &goods[*b]);
            (b.left * a.quantity).cmp(&(a.left * b.quantity))
        });
        let every = usize::try_from(self.every.unwrap_or(2)).expect("a count");
        if items.len() < every {
            return Err("too-few-items");
        }
        let reduced: Vec<usize> = items.iter().copied().skip(every - 1).step_by(every).collect();
        let mut amounts = Vec::new();
        for at in scope {
            let line = &goods[*at];
            let count = i128::try_from(reduced.iter().filter(|one| *one == at).count()).expect("a count");
            let amount = line.left * count * self.rate() / (line.quantity * WHOLE);
            if amount > 0 {
                amounts.push((*at, amount));
            }
        }
        let sum: i128 = amounts.iter().map(|(_, amount)| amount).sum();
        match sum {
            0 => Err("nothing-left"),
            sum if sum > self.cap() => Ok(Effect::Shared(self.cap(), amounts.into_iter().map(|(at, _)| at).collect())),
            _ => Ok(Effect::PerLine(amounts)),
        }
    }

    /// The price of one item, where that is lower.
    fn member_price(&self, goods: &[Goods<'_>], scope: &[usize]) -> Result<Effect, &'static str> {
        let price = i128::from(self.price.unwrap_or(0));
        let off = |at: &usize| (*at, goods[*at].left - price * goods[*at].quantity);
        let amounts: Vec<(usize, i128)> = scope.iter().map(off).filter(|(_, amount)| *amount > 0).collect();
        if amounts.is_empty() { Err("not-cheaper") } else { Ok(Effect::PerLine(amounts)) }
    }
}

//! The oracle: a slow, simple second implementation of the rules, written from `FEATURES.md` and not from the engine.
//!
//! Plain structs, vectors and `i128`; nothing is shared with the engine. Everything has the name the script gives it, so
//! the same step can be told to both. [`Oracle`] is the world; each of its steps answers what the API must answer, or the
//! problem codes of which one must come.

pub(crate) mod coupons;
pub(crate) mod gifts;
pub(crate) mod orders;
pub(crate) mod points;
pub(crate) mod prescriptions;
pub(crate) mod pricing;
pub(crate) mod quotes;
pub(crate) mod terms;
pub(crate) mod tiers;
mod view;
mod ways;

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan as _, Zoned, civil::Date};
use serde_json::{Value as Json, json};

use coupons::{Coupon, Offer};
use gifts::{Gift, Redemption};
use orders::Order;
use points::Wallet;
use prescriptions::Prescription;
use quotes::Quote;
use tiers::{Held, Rule};

pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const DAY: i64 = 24 * 60 * MINUTE;
/// How long points live once they can be spent.
const POINTS_MONTHS: i32 = 12;

/// What the API must answer: some of its fields, or one of these problem codes.
pub(crate) type Answer = Result<Json, Vec<&'static str>>;

/// One refusal.
pub(crate) fn refused<T>(code: &'static str) -> Result<T, Vec<&'static str>> {
    Err(vec![code])
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    joined: i64,
    birthday: Option<Date>,
    pub(crate) tier: Held,
    pub(crate) wallet: Wallet,
    /// By how much each payment and refund moved the goods paid.
    spend: Vec<i128>,
    /// Moved by every write: a quote from before no longer holds.
    revision: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Product {
    pub(crate) price: i64,
    pub(crate) category: String,
    pub(crate) class: String,
    /// Items that can be sold, where it is limited.
    pub(crate) stock: Option<i64>,
}

/// The whole world.
#[derive(Clone, Debug)]
pub(crate) struct Oracle {
    /// Milliseconds since the epoch.
    pub(crate) now: i64,
    pub(crate) members: BTreeMap<String, Member>,
    pub(crate) products: BTreeMap<String, Product>,
    pub(crate) offers: BTreeMap<String, Offer>,
    pub(crate) coupons: BTreeMap<String, Coupon>,
    pub(crate) quotes: BTreeMap<String, Quote>,
    pub(crate) orders: BTreeMap<String, Order>,
    pub(crate) prescriptions: BTreeMap<String, Prescription>,
    pub(crate) gifts: BTreeMap<String, Gift>,
    pub(crate) redemptions: BTreeMap<String, Redemption>,
    /// The tier rule that answers.
    pub(crate) rule: Rule,
    /// Whether the coupon policy that answers leaves devices out.
    pub(crate) no_devices: bool,
}

/// An instant in Shanghai.
pub(crate) fn shanghai(at: i64) -> Zoned {
    Timestamp::from_millisecond(at).expect("an instant").in_tz("Asia/Shanghai").expect("a zone")
}

/// Calendar months later, in Shanghai.
pub(crate) fn months_later(at: i64, months: i32) -> i64 {
    shanghai(at).checked_add(months.months()).expect("an instant").timestamp().as_millisecond()
}

impl Oracle {
    pub(crate) fn new(now: i64) -> Self {
        Self {
            now,
            members: BTreeMap::new(),
            products: BTreeMap::new(),
            offers: BTreeMap::new(),
            coupons: BTreeMap::new(),
            quotes: BTreeMap::new(),
            orders: BTreeMap::new(),
            prescriptions: BTreeMap::new(),
            gifts: BTreeMap::new(),
            redemptions: BTreeMap::new(),
            rule: Rule::Spend,
            no_devices: false,
        }
    }

    /// Tells where an offer or a coupon stands among its like: the business does not say, so the engine does.
    pub(crate) fn rank(&mut self, name: &str, rank: &str) {
        if let Some(offer) = self.offers.get_mut(name) {
            rank.clone_into(&mut offer.rank);
        }
        if let Some(coupon) = self.coupons.get_mut(name) {
            rank.clone_into(&mut coupon.rank);
        }
    }

    pub(crate) fn join(&mut self, member: &str, birthday: Option<Date>) -> Answer {
        let new = Member {
            joined: self.now,
            birthday,
            tier: self.rule.lowest(),
            wallet: Wallet::default(),
            spend: Vec::new(),
            revision: 0,
        };
        self.members.insert(member.to_owned(), new);
        Ok(self.member(member))
    }

    /// What the API shows of a member.
    pub(crate) fn member(&self, name: &str) -> Json {
        let member = &self.members[name];
        let spend: i128 = member.spend.iter().sum();
        json!({
            "state": "active", "tier": {"code": member.tier.code}, "lifetime_net_spend": view::number(spend),
            "lifetime_paid_orders": self.paid_orders(name),
        })
    }

    /// What the API shows of a member's points.
    pub(crate) fn points(&self, name: &str) -> Json {
        let wallet = &self.members[name].wallet;
        let (pending, active, held) = (wallet.pending(), wallet.active(), wallet.held());
        json!({"pending": view::number(pending), "active": view::number(active), "held": view::number(held)})
    }

    /// Grants or takes points by hand.
    pub(crate) fn adjust(&mut self, name: &str, points: i64) -> Answer {
        let expires = months_later(self.now, POINTS_MONTHS);
        let member = self.members.get_mut(name).expect("a member");
        if points >= 0 {
            member.wallet.grant(points.into(), expires);
        } else if member.wallet.active() < i128::from(-points) {
            return refused("not-enough-points");
        } else {
            member.wallet.take(i128::from(-points));
        }
        member.revision += 1;
        Ok(self.points(name))
    }

    pub(crate) fn product(&mut self, name: &str, product: Product) -> Answer {
        let before = self.products.get(name).and_then(|before| before.stock);
        let product = Product { stock: product.stock.or(before), ..product };
        self.products.insert(name.to_owned(), product);
        Ok(json!({}))
    }

    /// Lets time pass: everything that becomes due happens at its own time.
    pub(crate) fn wait(&mut self, to: i64) -> Answer {
        let night = self.next_night().is_some_and(|night| night <= to);
        while let Some(due) = self.next_due().filter(|due| *due <= to) {
            self.now = self.now.max(due);
            self.do_due();
        }
        self.now = to;
        // Nights that were slept through are judged once, in the morning.
        if night {
            self.judge_all();
        }
        Ok(json!({}))
    }

    /// When the next thing happens by itself.
    pub(crate) fn next_due(&self) -> Option<i64> {
        let orders = self.orders.values().filter_map(Order::next_due);
        let lots = self.members.values().flat_map(|member| &member.wallet.active).map(|lot| lot.expires);
        let coupons = self.coupons.values().filter_map(Coupon::next_due);
        let prescriptions = self.prescriptions.values().filter_map(Prescription::next_due);
        let redemptions = self.redemptions.values().filter_map(Redemption::next_due);
        orders.chain(lots).chain(coupons).chain(prescriptions).chain(redemptions).min()
    }

    fn do_due(&mut self) {
        let now = self.now;
        let names: Vec<String> = self.orders.keys().cloned().collect();
        for name in names {
            self.order_due(&name);
        }
        for name in self.prescriptions.keys().cloned().collect::<Vec<String>>() {
            self.prescription_due(&name);
        }
        for name in self.redemptions.keys().cloned().collect::<Vec<String>>() {
            self.redemption_due(&name);
        }
        for coupon in self.coupons.values_mut() {
            let before = coupon.state;
            coupon.expire(now);
            self.members.get_mut(&coupon.member).expect("a member").revision += u64::from(coupon.state != before);
        }
        for member in self.members.values_mut() {
            let before = member.wallet.active();
            member.wallet.expire(now);
            member.revision += u64::from(member.wallet.active() != before);
        }
    }

    fn birthday_month(&self, name: &str) -> bool {
        self.members[name].birthday.is_some_and(|birthday| birthday.month() == shanghai(self.now).month())
    }

    fn paid_orders(&self, member: &str) -> i64 {
        let counts = |order: &&Order| order.member == member && order.counts();
        i64::try_from(self.orders.values().filter(counts).count()).expect("a count")
    }
}

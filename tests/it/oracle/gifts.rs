//! Gifts (C6): a product that is held until it is handed over, a service's code, a coupon.

use serde_json::{Value as Json, json};

use super::{Answer, DAY, Oracle, points::Lot, refused};

/// How long a product waits for its member.
const WAITS: i64 = 14 * DAY;

/// What points buy.
#[derive(Clone, Debug)]
pub(crate) enum Buys {
    Product(String),
    Coupon(String),
    /// A code; so many are left.
    Code(i64),
}

#[derive(Clone, Debug)]
pub(crate) struct Gift {
    pub(crate) buys: Buys,
    pub(crate) points: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redeemed {
    Held,
    Done,
    Cancelled,
}

/// A gift that a member took.
#[derive(Clone, Debug)]
pub(crate) struct Redemption {
    gift: String,
    pub(crate) member: String,
    pub(crate) state: Redeemed,
    points: i64,
    hold_until: i64,
    /// What was paid with.
    lots: Vec<Lot>,
    /// Whether it can come back.
    product: bool,
    /// The product whose stock it took one of.
    stock: Option<String>,
}

impl Redemption {
    /// When nobody came for it.
    pub(crate) fn next_due(&self) -> Option<i64> {
        (self.state == Redeemed::Held).then_some(self.hold_until)
    }
}

impl Oracle {
    /// What the API shows of a gift that was taken.
    pub(crate) fn redemption(&self, name: &str) -> Json {
        let found = &self.redemptions[name];
        let state = match found.state {
            Redeemed::Held => "held",
            Redeemed::Done => "redeemed",
            Redeemed::Cancelled => "cancelled",
        };
        json!({"state": state, "gift": found.gift, "member": found.member, "points": found.points})
    }

    /// Medicine on prescription, and of class A, is never given for points (R4).
    fn may_be_given(&self, product: &str) -> bool {
        !matches!(self.products[product].class.as_str(), "rx" | "otc-a")
    }

    pub(crate) fn gift(&mut self, name: &str, gift: Gift) -> Answer {
        if let Buys::Product(product) = &gift.buys
            && !self.may_be_given(product)
        {
            return refused("invalid-request");
        }
        self.gifts.insert(name.to_owned(), gift);
        Ok(json!({"live": true}))
    }

    /// Adds codes to a service.
    pub(crate) fn codes(&mut self, gift: &str, codes: i64) -> Answer {
        match &mut self.gifts.get_mut(gift).expect("a gift").buys {
            Buys::Code(left) => *left += codes,
            Buys::Product(_) | Buys::Coupon(_) => panic!("only a service has codes"),
        }
        Ok(json!({"added": codes, "known": 0}))
    }

    /// A member takes a gift; a coupon gets the name `coupon`.
    pub(crate) fn take_gift(&mut self, name: &str, gift: &str, member: &str, coupon: &str) -> Answer {
        let Gift { buys, points } = self.gifts[gift].clone();
        if self.members[member].wallet.active() < i128::from(points) {
            return refused("not-enough-points");
        }
        let (mut stock, mut state) = (None, Redeemed::Done);
        match &buys {
            Buys::Product(product) => {
                if !self.may_be_given(product) {
                    return refused("gift-not-available");
                }
                if let Some(left) = &mut self.products.get_mut(product).expect("a product").stock {
                    if *left < 1 {
                        return refused("gift-not-available");
                    }
                    *left -= 1;
                    stock = Some(product.clone());
                }
                state = Redeemed::Held;
            }
            Buys::Coupon(offer) => drop(self.issue(coupon, offer, member)?),
            Buys::Code(0) => return refused("gift-not-available"),
            Buys::Code(left) => self.gifts.get_mut(gift).expect("a gift").buys = Buys::Code(left - 1),
        }
        let buyer = self.members.get_mut(member).expect("a member");
        buyer.revision += 1;
        let lots = if state == Redeemed::Held {
            buyer.wallet.hold(name, points.into());
            Vec::new()
        } else {
            buyer.wallet.take(points.into())
        };
        let redemption = Redemption {
            gift: gift.to_owned(),
            member: member.to_owned(),
            state,
            points,
            hold_until: self.now + WAITS,
            lots,
            product: matches!(buys, Buys::Product(_)),
            stock,
        };
        self.redemptions.insert(name.to_owned(), redemption);
        Ok(self.redemption(name))
    }

    /// The member came for it.
    pub(crate) fn hand_over(&mut self, name: &str) -> Answer {
        let found = self.redemptions.get_mut(name).expect("a redemption");
        if found.state != Redeemed::Held {
            return refused("wrong-redemption-state");
        }
        found.state = Redeemed::Done;
        let member = self.members.get_mut(&found.member).expect("a member");
        found.lots = member.wallet.end_hold(name);
        member.revision += 1;
        Ok(self.redemption(name))
    }

    /// A product goes back, and its points to their lots; what a member has seen does not.
    pub(crate) fn take_back(&mut self, name: &str) -> Answer {
        let found = self.redemptions.get_mut(name).expect("a redemption");
        if found.state == Redeemed::Cancelled || !found.product {
            return refused("wrong-redemption-state");
        }
        let member = self.members.get_mut(&found.member).expect("a member");
        let lots = if found.state == Redeemed::Held { member.wallet.end_hold(name) } else { found.lots.clone() };
        found.state = Redeemed::Cancelled;
        for lot in lots {
            member.wallet.put(lot);
        }
        member.revision += 1;
        if let Some(product) = &found.stock {
            let product = self.products.get_mut(product).expect("a product");
            product.stock = product.stock.map(|left| left + 1);
        }
        Ok(self.redemption(name))
    }

    pub(super) fn redemption_due(&mut self, name: &str) {
        if self.redemptions[name].next_due().is_some_and(|due| due <= self.now) {
            self.take_back(name).expect("it is held");
        }
    }
}

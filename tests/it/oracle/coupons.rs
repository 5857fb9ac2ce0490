//! Offers and coupons: what is live, who may be issued one, what a budget still holds, and when a coupon dies.

use serde_json::json;

use super::{
    Answer, DAY, Oracle, Product,
    points::NEVER,
    pricing::{Candidate, Stage},
    refused,
    terms::Terms,
};

/// Something that can be granted or applied.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) stage: Stage,
    pub(crate) terms: Terms,
    pub(crate) priority: i64,
    pub(crate) group: Option<String>,
    pub(crate) budget_uses: Option<i64>,
    pub(crate) budget_amount: Option<i64>,
    pub(crate) per_member: Option<i64>,
    pub(crate) valid_days: Option<i64>,
    pub(crate) returns_on_refund: bool,
    pub(crate) paused: bool,
    /// Decides where nothing else does: an order that the engine may choose, but must keep.
    pub(crate) rank: String,
}

/// Where a coupon is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CouponState {
    Issued,
    Held,
    Redeemed,
    Expired,
}

/// One issued instance of an offer.
#[derive(Clone, Debug)]
pub(crate) struct Coupon {
    pub(crate) offer: String,
    pub(crate) member: String,
    pub(crate) state: CouponState,
    pub(crate) expires: i64,
    pub(crate) rank: String,
}

impl Coupon {
    /// When it dies in its member's hands.
    pub(crate) fn next_due(&self) -> Option<i64> {
        (self.state == CouponState::Issued && self.expires != NEVER).then_some(self.expires)
    }

    pub(crate) fn expire(&mut self, now: i64) {
        if self.state == CouponState::Issued && self.expires <= now {
            self.state = CouponState::Expired;
        }
    }

    /// It comes back to its member, who may find that it has died.
    pub(crate) fn give_back(&mut self, now: i64) {
        self.state = CouponState::Issued;
        self.expire(now);
    }

    fn name(&self) -> &'static str {
        match self.state {
            CouponState::Issued => "issued",
            CouponState::Held => "held",
            CouponState::Redeemed => "redeemed",
            CouponState::Expired => "expired",
        }
    }
}

impl Oracle {
    pub(crate) fn offer(&mut self, code: &str, offer: Offer) -> Answer {
        self.offers.insert(code.to_owned(), offer);
        Ok(json!({"state": "live"}))
    }

    /// Pauses an offer or resumes it.
    pub(crate) fn pause(&mut self, code: &str, paused: bool) -> Answer {
        let offer = self.offers.get_mut(code).expect("an offer");
        offer.paused = paused;
        Ok(json!({"state": if paused { "paused" } else { "live" }}))
    }

    /// What the API shows of a coupon.
    pub(crate) fn coupon(&self, name: &str) -> serde_json::Value {
        let coupon = &self.coupons[name];
        json!({"state": coupon.name(), "member": coupon.member, "offer": coupon.offer})
    }

    pub(crate) fn issue(&mut self, name: &str, code: &str, member: &str) -> Answer {
        let offer = &self.offers[code];
        let of_both = |coupon: &&Coupon| coupon.offer == code && coupon.member == member;
        let issued = i64::try_from(self.coupons.values().filter(of_both).count()).expect("a count");
        if offer.paused || offer.per_member.is_some_and(|most| issued >= most) {
            return refused("offer-not-issuable");
        }
        let expires = offer.valid_days.map_or(NEVER, |days| self.now + days * DAY);
        let (offer, owner) = (code.to_owned(), member.to_owned());
        let coupon = Coupon { offer, member: owner, state: CouponState::Issued, expires, rank: String::new() };
        self.coupons.insert(name.to_owned(), coupon);
        self.members.get_mut(member).expect("a member").revision += 1;
        Ok(self.coupon(name))
    }

    /// Uses and fen that an offer's budget still holds.
    pub(crate) fn budget_left(&self, code: &str) -> (i128, i128) {
        let offer = &self.offers[code];
        let used: Vec<i128> = self.orders.values().filter_map(|order| order.uses_budget(code)).collect();
        let uses = offer.budget_uses.map_or(i128::MAX, |most| i128::from(most) - used.len() as i128);
        let amount = offer.budget_amount.map_or(i128::MAX, |most| i128::from(most) - used.iter().sum::<i128>());
        (uses, amount)
    }

    /// Everything that may be applied to a cart of this member, by rank.
    pub(crate) fn candidates(&self, member: &str, gone: &[String]) -> Vec<Candidate> {
        let mut offers: Vec<(&String, &Offer)> = self.offers.iter().filter(|(_, offer)| !offer.paused).collect();
        offers.sort_by_key(|(_, offer)| &offer.rank);
        let mut candidates = Vec::new();
        for (code, offer) in offers {
            let (uses, budget) = self.budget_left(code);
            if uses < 1 || budget < 1 || gone.contains(code) {
                continue;
            }
            let candidate = Candidate {
                code: code.clone(),
                stage: offer.stage,
                rank: offer.rank.clone(),
                terms: offer.terms.clone(),
                priority: offer.priority,
                group: offer.group.clone(),
                coupon: None,
                room: budget,
            };
            if offer.stage != Stage::Coupon {
                candidates.push(candidate);
                continue;
            }
            let in_hand = |coupon: &&Coupon| {
                coupon.offer == *code && coupon.member == member && coupon.state == CouponState::Issued
            };
            for (name, coupon) in self.coupons.iter().filter(|(_, coupon)| in_hand(coupon)) {
                let coupon = Some((name.clone(), coupon.expires, coupon.rank.clone()));
                candidates.push(Candidate { coupon, ..candidate.clone() });
            }
        }
        candidates
    }

    /// The items of a cart that there are not enough of.
    pub(crate) fn short_of_stock(&self, lines: &[(String, i64)]) -> bool {
        let left = |product: &Product| product.stock.unwrap_or(i64::MAX);
        self.products.iter().any(|(name, product)| {
            let wanted: i64 = lines.iter().filter(|(line, _)| line == name).map(|(_, quantity)| quantity).sum();
            wanted > left(product)
        })
    }
}

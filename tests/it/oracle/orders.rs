//! Orders: placed, paid, shipped, delivered, cancelled, and refunded by items in any order.

use serde_json::{Value as Json, json};

use super::{
    Answer, DAY, MINUTE, Oracle, POINTS_MONTHS,
    coupons::CouponState,
    months_later,
    points::Lot,
    pricing::{By, Line, Price},
    quotes::Refusal,
    refused,
    tiers::Tier,
    view,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Placed,
    Paid,
    Shipped,
    Delivered,
    Cancelled,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Paid => "paid",
            Self::Shipped => "shipped",
            Self::Delivered => "delivered",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Items of one line that came back.
#[derive(Clone, Debug)]
pub(crate) struct Back {
    pub(crate) line: usize,
    pub(crate) quantity: i128,
    pub(crate) amount: i128,
    pub(crate) points: i128,
}

#[derive(Clone, Debug)]
pub(crate) struct Refund {
    pub(crate) lines: Vec<Back>,
    pub(crate) delivery: i128,
    pub(crate) amount: i128,
    pub(crate) restored: i128,
    pub(crate) clawed_back: i128,
    pub(crate) short: i128,
}

#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) member: String,
    pub(crate) price: Price,
    pub(crate) state: State,
    pub(crate) cash_on_delivery: bool,
    /// The prescription that it uses, if any.
    pub(crate) prescription: Option<String>,
    /// Whether a pharmacist has yet to decide.
    pub(crate) awaits_review: bool,
    /// When it gives up, unless something happens before.
    pub(crate) hold_until: Option<i64>,
    pub(crate) paid_at: Option<i64>,
    delivered_at: Option<i64>,
    pub(crate) refunds: Vec<Refund>,
    pub(crate) earned: i128,
    /// What refunds took back, and what they wrote off.
    pub(crate) no_longer_due: i128,
    /// The tier at payment, and whether it was the birthday month.
    earned_at: Option<(Tier, bool)>,
    /// What was spent, by lot; less what came back.
    spent: Vec<Lot>,
    activates: Option<i64>,
    /// Products that were taken from a limited stock.
    limited: Vec<String>,
    /// Offers whose budgets it no longer uses: of what never left, and of coupons that came back.
    budget_back: Vec<String>,
}

impl Order {
    /// When the next thing happens to it by itself.
    pub(crate) fn next_due(&self) -> Option<i64> {
        self.hold_until.into_iter().chain(self.activates).min()
    }

    /// When it gives up if it is neither paid nor, with cash on delivery, shipped.
    pub(super) fn gives_up_at(&self, now: i64) -> i64 {
        // What nobody ships within a week is given up, too.
        now + if self.cash_on_delivery { 7 * DAY } else { 30 * MINUTE }
    }

    /// Its points can be spent 7 days after delivery, and not before it is paid (R3).
    fn arrived_and_paid(&mut self) {
        if let (Some(delivered), Some(paid)) = (self.delivered_at, self.paid_at) {
            self.activates = Some((delivered + 7 * DAY).max(paid));
        }
    }

    /// Whether it is paid and something of it was kept.
    pub(crate) fn counts(&self) -> bool {
        self.paid_at.is_some() && !self.is_all_back()
    }

    /// How much of an offer's budget it uses.
    pub(crate) fn uses_budget(&self, code: &str) -> Option<i128> {
        let applied = self.price.applied.iter().find(|(applied, ..)| applied == code)?;
        (!self.budget_back.iter().any(|back| back == code)).then_some(applied.2)
    }

    /// Items of a line that were refunded.
    pub(crate) fn back(&self, line: usize) -> i128 {
        let lines = self.refunds.iter().flat_map(|refund| &refund.lines);
        lines.filter(|back| back.line == line).map(|back| back.quantity).sum()
    }

    pub(crate) fn is_all_back(&self) -> bool {
        self.price.lines.iter().enumerate().all(|(at, line)| self.back(at) == line.quantity)
    }

    /// What is left of the goods paid.
    pub(super) fn net(&self) -> i128 {
        let lines = self.refunds.iter().flat_map(|refund| &refund.lines);
        self.price.goods() - lines.map(|back| back.amount).sum::<i128>()
    }

    fn is_medicine(line: &Line) -> bool {
        matches!(line.class.as_str(), "rx" | "otc-a" | "otc-b")
    }
}

/// What of `whole` belongs to items `from` until `to` of a line of `quantity`: shares of all parts sum to the whole.
fn part(whole: i128, quantity: i128, from: i128, to: i128) -> i128 {
    whole * to / quantity - whole * from / quantity
}

impl Oracle {
    /// What the API shows of an order.
    pub(crate) fn order(&self, name: &str) -> Json {
        view::order(&self.orders[name])
    }

    /// Places a quote; where that has changed, the fresh one is kept under the name `fresh`.
    pub(crate) fn place(&mut self, name: &str, quote: &str, fresh: &str, cash_on_delivery: bool) -> Answer {
        let quote = match self.accept(quote, fresh) {
            Ok(quote) => quote,
            Err(Refusal::Of(codes)) => return Err(codes),
            Err(Refusal::Changed(fresh)) => return Ok(json!({"type": "urn:galenic:quote-changed", "quote": fresh})),
        };
        let mut limited = Vec::new();
        for (name, quantity) in &quote.ask.lines {
            let product = self.products.get_mut(name).expect("a product");
            if let Some(stock) = &mut product.stock {
                *stock -= quantity;
                limited.push(name.clone());
            }
        }
        if let Some(coupon) = quote.price.coupon() {
            self.coupons.get_mut(coupon).expect("a coupon").state = CouponState::Held;
        }
        let member = self.members.get_mut(&quote.ask.member).expect("a member");
        member.wallet.hold(name, quote.price.points);
        member.revision += 1;
        let awaits_review = self.use_up(name, &quote.price.lines, quote.ask.prescription.as_ref());
        let mut order = Order {
            member: quote.ask.member.clone(),
            price: quote.price,
            state: State::Placed,
            cash_on_delivery,
            prescription: quote.ask.prescription,
            awaits_review,
            hold_until: None,
            paid_at: None,
            delivered_at: None,
            refunds: Vec::new(),
            earned: 0,
            no_longer_due: 0,
            earned_at: None,
            spent: Vec::new(),
            activates: None,
            limited,
            budget_back: Vec::new(),
        };
        order.hold_until = (!awaits_review).then(|| order.gives_up_at(self.now));
        self.orders.insert(name.to_owned(), order);
        Ok(self.order(name))
    }

    /// Pays an order: not more and not less than it costs.
    pub(crate) fn pay(&mut self, name: &str, amount: i128) -> Answer {
        let order = &self.orders[name];
        // Too late: the money is due back, and nothing else happens (R16). No money is no payment.
        if order.state == State::Cancelled {
            return if amount > 0 { Ok(self.order(name)) } else { refused("invalid-request") };
        }
        let ready = if order.cash_on_delivery { State::Delivered } else { State::Placed };
        if order.state != ready || order.paid_at.is_some() {
            return refused("wrong-order-state");
        }
        if order.awaits_review {
            return refused("prescription-under-review");
        }
        if amount != order.price.payable() {
            return refused("amount-mismatch");
        }
        let (member, goods) = (order.member.clone(), order.price.goods());
        if let Some(coupon) = order.price.coupon().cloned() {
            self.coupons.get_mut(&coupon).expect("a coupon").state = CouponState::Redeemed;
        }
        let tier = self.tier_of(&member);
        let birthday = self.birthday_month(&member);
        let now = self.now;
        let buyer = self.members.get_mut(&member).expect("a member");
        let spent = buyer.wallet.end_hold(name);
        let earned = tier.points(goods, birthday);
        if earned > 0 {
            buyer.wallet.pending.push((name.to_owned(), earned));
        }
        buyer.spend.push(goods);
        buyer.revision += 1;
        let order = self.orders.get_mut(name).expect("the order");
        order.spent = spent;
        order.earned = earned;
        order.earned_at = Some((tier, birthday));
        order.paid_at = Some(now);
        order.hold_until = None;
        order.arrived_and_paid();
        if !order.cash_on_delivery {
            order.state = State::Paid;
        }
        self.judge_tier(&member);
        Ok(self.order(name))
    }

    /// Records that an order left, or arrived.
    pub(crate) fn fulfil(&mut self, name: &str, to: State) -> Answer {
        let order = self.orders.get_mut(name).expect("an order");
        let first = if order.cash_on_delivery { State::Placed } else { State::Paid };
        let from = if to == State::Shipped { first } else { State::Shipped };
        // What came back whole does not leave any more.
        if order.state != from || (to == State::Shipped && order.is_all_back()) {
            return refused("wrong-order-state");
        }
        if order.awaits_review {
            return refused("prescription-under-review");
        }
        order.state = to;
        if to == State::Delivered {
            order.delivered_at = Some(self.now);
            order.arrived_and_paid();
        } else if order.cash_on_delivery {
            // What nobody pays for a month after it left is lost.
            order.hold_until = Some(self.now + 30 * DAY);
        }
        Ok(self.order(name))
    }

    /// Gives an order up: whatever it held goes back; what was paid is paid back.
    pub(crate) fn cancel(&mut self, name: &str) -> Answer {
        match self.orders[name].state {
            State::Placed => {
                let rest = self.rest(name);
                self.restock(&self.orders[name].clone(), &rest, true);
                self.release(name);
            }
            // Nothing is left to give back.
            State::Paid if self.orders[name].is_all_back() => {}
            State::Paid => self.give_back(name, &self.rest(name), true),
            _ => return refused("wrong-order-state"),
        }
        self.orders.get_mut(name).expect("the order").state = State::Cancelled;
        Ok(self.order(name))
    }

    /// Everything but the goods, which may have left.
    pub(super) fn release(&mut self, name: &str) {
        let order = self.orders[name].clone();
        self.prescribe_again(name, &self.rest(name));
        let member = self.members.get_mut(&order.member).expect("a member");
        for part in member.wallet.end_hold(name) {
            member.wallet.put(part);
        }
        member.revision += 1;
        if let Some(coupon) = order.price.coupon() {
            self.coupons.get_mut(coupon).expect("a coupon").give_back(self.now);
        }
        let order = self.orders.get_mut(name).expect("the order");
        order.hold_until = None;
        order.awaits_review = false;
        order.budget_back = order.price.applied.iter().map(|(code, ..)| code.clone()).collect();
    }

    /// Items go back on the shelf; of what was shipped, medicine and what is faulty never does.
    fn restock(&mut self, order: &Order, lines: &[(usize, i128)], mind: bool) {
        for (at, quantity) in lines {
            let line = &order.price.lines[*at];
            let shipped = matches!(order.state, State::Shipped | State::Delivered);
            if !order.limited.contains(&line.product) || (shipped && (!mind || Order::is_medicine(line))) {
                continue;
            }
            let product = self.products.get_mut(&line.product).expect("a product");
            let quantity = i64::try_from(*quantity).expect("a count");
            product.stock = product.stock.map(|stock| stock + quantity);
        }
    }

    /// The items of an order that were not refunded.
    fn rest(&self, name: &str) -> Vec<(usize, i128)> {
        let order = &self.orders[name];
        let rest = order.price.lines.iter().enumerate().map(|(at, line)| (at, line.quantity - order.back(at)));
        rest.filter(|(_, quantity)| *quantity > 0).collect()
    }

    /// Refunds items of lines, or all that is left.
    pub(crate) fn refund(&mut self, name: &str, lines: Option<Vec<(usize, i128)>>, mind: bool) -> Answer {
        let order = &self.orders[name];
        if order.paid_at.is_none() || order.state == State::Cancelled {
            return refused("wrong-order-state");
        }
        let lines = lines.unwrap_or_else(|| self.rest(name));
        let possible = |(at, quantity): &(usize, i128)| {
            order.price.lines.get(*at).is_some_and(|line| *quantity > 0 && order.back(*at) + quantity <= line.quantity)
        };
        if lines.is_empty() || !lines.iter().all(possible) {
            return refused("refund-refused");
        }
        let medicine = |(at, _): &(usize, i128)| Order::is_medicine(&order.price.lines[*at]);
        if mind && order.state != State::Paid && lines.iter().any(medicine) {
            return refused("medicine-not-returnable");
        }
        self.give_back(name, &lines, mind);
        Ok(self.order(name))
    }

    /// Pays back these items: points by share first, then money; what was earned on them is taken back.
    fn give_back(&mut self, name: &str, lines: &[(usize, i128)], mind: bool) {
        let mut order = self.orders[name].clone();
        self.restock(&order, lines, mind);
        if order.state == State::Paid && !order.cash_on_delivery {
            self.prescribe_again(name, lines);
        }
        let mut refund = Refund { lines: Vec::new(), delivery: 0, amount: 0, restored: 0, clawed_back: 0, short: 0 };
        for (at, quantity) in lines {
            let line = &order.price.lines[*at];
            let (from, to) = (order.back(*at), order.back(*at) + quantity);
            let points = line.taken.iter().find(|taken| taken.by == By::Points).map_or(0, |taken| taken.amount);
            refund.lines.push(Back {
                line: *at,
                quantity: *quantity,
                amount: part(line.left, line.quantity, from, to),
                points: part(points, line.quantity, from, to),
            });
        }
        let goods: i128 = refund.lines.iter().map(|back| back.amount).sum();
        refund.restored = refund.lines.iter().map(|back| back.points).sum();
        order.refunds.push(refund.clone());
        if order.is_all_back() {
            refund.delivery = order.price.delivery_left();
        }
        refund.amount = goods + refund.delivery;
        let member = self.members.get_mut(&order.member).expect("a member");
        restore(&mut order.spent, refund.restored, |part| member.wallet.put(part));
        let (tier, birthday) = order.earned_at.expect("it was paid");
        let owed = order.earned - order.no_longer_due - tier.points(order.net(), birthday);
        refund.clawed_back = member.wallet.claw_back(name, owed);
        refund.short = owed - refund.clawed_back;
        order.no_longer_due += owed;
        member.spend.push(-goods);
        member.revision += 1;
        *order.refunds.last_mut().expect("the refund") = refund;
        let all = order.is_all_back();
        if all && order.state == State::Paid {
            let promotions = order.price.applied.iter().filter(|(_, coupon, _)| coupon.is_none());
            order.budget_back = promotions.map(|(code, ..)| code.clone()).collect();
        }
        let owner = order.member.clone();
        if let Some(coupon) = order.price.coupon().cloned().filter(|_| all) {
            let coupon = self.coupons.get_mut(&coupon).expect("a coupon");
            if self.offers[&coupon.offer].returns_on_refund {
                coupon.give_back(self.now);
                order.budget_back.push(coupon.offer.clone());
            }
        }
        self.orders.insert(name.to_owned(), order);
        self.judge_tier(&owner);
    }

    /// What happens to an order by itself by now: nobody paid in time, or its points can be spent.
    pub(super) fn order_due(&mut self, name: &str) {
        let order = &self.orders[name];
        if order.next_due().is_none_or(|due| due > self.now) {
            return;
        }
        if order.hold_until.is_some() {
            if order.state == State::Placed {
                self.cancel(name).expect("it is placed");
            } else {
                self.release(name);
                self.orders.get_mut(name).expect("the order").state = State::Cancelled;
            }
            return;
        }
        let expires = months_later(self.now, POINTS_MONTHS);
        let order = self.orders.get_mut(name).expect("the order");
        order.activates = None;
        let member = self.members.get_mut(&order.member).expect("a member");
        let before = member.wallet.active();
        member.wallet.activate(name, expires);
        member.revision += u64::from(member.wallet.active() != before);
    }
}

/// Gives points back to the lots they came from: those spent last, which live longest, come back first.
fn restore(spent: &mut Vec<Lot>, points: i128, mut put: impl FnMut(Lot)) {
    let mut missing = points;
    for lot in spent.iter_mut().rev() {
        let part = lot.points.min(missing);
        lot.points -= part;
        missing -= part;
        if part > 0 {
            put(Lot { points: part, ..*lot });
        }
    }
    assert_eq!(missing, 0, "more comes back than was spent");
    spent.retain(|lot| lot.points > 0);
}

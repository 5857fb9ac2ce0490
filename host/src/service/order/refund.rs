//! Goods come back: money and points by the shares fixed at commit, earned points and the tier by what stays paid.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    ATTEMPTS_MAX, expire_returned, give_limits_back, give_stock_back, lot_of, money,
    pay::{self, Known, Snapshot},
    prescription, put_moved, return_coupon, rows, save_order,
    tier::{Judge, Judged, judge},
};
use crate::{
    domain::{
        member::{Member, TierCause},
        money::{Money, Points},
        offer::OfferClass,
        order::{Order, OrderState, Refund, RefundCause},
    },
    events::{self, What},
    ids::{DecisionId, OrderId, RefundId},
    ledger::lots,
    pricing::{
        funders::{self, ByFunder},
        refund::{self, Part, RefundPlan},
    },
    service::{
        Caller, Done, Error, Idempotency, Services, Settings,
        facts::{self, change_day, day_number},
        refills,
        rules::Rules,
        tables::{COUPONS, OFFERS},
        tiers,
    },
    store::Tx,
};

/// What a partner asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundOrder {
    /// Why.
    pub cause: RefundCause,
    /// Pairs of line and what comes back of it; everything that is left where none are named.
    pub lines: Option<Vec<(u16, Part)>>,
}

/// What the refund changes.
#[derive(Clone)]
struct Change {
    order: Order,
    member: Member,
    plan: RefundPlan,
    id: RefundId,
    decision: DecisionId,
    cause: RefundCause,
    claw_back: Points,
    paid_day: i32,
    today: i32,
    cancel: bool,
    judged: Judged,
    settings: Arc<Settings>,
    own_lot: Option<crate::domain::points::LotKey>,
    now: Timestamp,
}

impl Services {
    /// Refunds an order or some of its items. The new refund is the last of the order's.
    ///
    /// # Errors
    ///
    /// [`Error::WrongState`] if it was not paid, [`Error::Refund`] for the items, [`Error::MedicineNotReturnable`].
    pub async fn refund(
        &self,
        caller: Caller,
        once: Idempotency,
        id: OrderId,
        ask: RefundOrder,
    ) -> Result<Done<Order>, Error> {
        self.refund_or_cancel(caller, once, id, ask, false).await
    }

    pub(super) async fn refund_or_cancel(
        &self,
        caller: Caller,
        once: Idempotency,
        id: OrderId,
        ask: RefundOrder,
        cancel: bool,
    ) -> Result<Done<Order>, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let now = self.clock.now();
            let today = day_number(now, &self.settings.zone);
            let key = once.clone();
            let known = self.store.read(move |tx| pay::read_snapshot(tx, caller, &key, id, today)).await?;
            let snapshot = match known {
                Known::Answer(done) => return Ok(*done),
                Known::Snapshot(snapshot) => *snapshot,
            };
            let plan = check(&snapshot.order, &ask, cancel)?;
            let change = self.judge_refund(snapshot, plan, ask.cause, cancel, now, today).await?;
            let once = once.clone();
            let done = self.store.run(now, move |tx| rows::once(&once, tx, |tx| commit(tx, &change))).await;
            match done {
                Err(Error::Busy) => {}
                done => return done,
            }
        }
        Err(Error::Busy)
    }

    /// Asks the rules what is due for what stays paid, and works out what the transaction will write.
    async fn judge_refund(
        &self,
        snapshot: Snapshot,
        plan: RefundPlan,
        cause: RefundCause,
        cancel: bool,
        now: Timestamp,
        today: i32,
    ) -> Result<Change, Error> {
        let Snapshot { order, mut member, sealed, totals, programme } = snapshot;
        let mut rules = Rules::new(self);
        let tier = rules.held_tier(&member)?;
        let birthday = self.open_profile(member.id, sealed.as_deref())?.birthday;
        let paid_at = order.payment.as_ref().map_or(now, |payment| payment.at);
        let paid_day = day_number(paid_at, &self.settings.zone);
        let before = self.member_facts(&member, birthday, &totals, Some(&tier), now);
        let totals = totals.less(&plan, paid_day > today - facts::YEAR_DAYS)?;
        let after = self.member_facts(&member, birthday, &totals, Some(&tier), now);
        let claw_back = self.due_back(&mut rules, &order, &plan, paid_at).await?;
        let asked = Judge { member: &member, programme: &programme, now, cause: TierCause::Refunded };
        let judged = judge(&mut rules, asked, before, after).await?;
        let decision = self.ids.ordered(now);
        rules.record(decision, now, member.id)?;
        member.tier = judged.tier.clone();
        member.lifetime_net_spend = totals.lifetime_net_spend;
        member.lifetime_paid_orders -= u32::from(plan.complete).min(member.lifetime_paid_orders);
        let own_lot = lot_of(&order, &self.settings.zone);
        let id = self.ids.ordered(now);
        let settings = Arc::clone(&self.settings);
        Ok(Change {
            order,
            member,
            plan,
            id,
            decision,
            cause,
            claw_back,
            paid_day,
            today,
            cancel,
            judged,
            settings,
            own_lot,
            now,
        })
    }

    /// Earned points that are no longer due: the earning rule is asked again with what stays paid and the facts of then.
    /// Where it cannot answer, points go back in proportion.
    async fn due_back(
        &self,
        rules: &mut Rules<'_>,
        order: &Order,
        plan: &RefundPlan,
        paid_at: Timestamp,
    ) -> Result<Points, Error> {
        let Some(earning) = &order.earning else { return Ok(Points::ZERO) };
        let left = earning.points.minus(earning.no_longer_due)?;
        let remaining = Money::sum(plan.remaining.iter().copied())?;
        if plan.complete {
            return Ok(left);
        }
        let activity = pay::purchase(order, &earning.facts, remaining, paid_at, &plan.remaining);
        let due = match rules.earn(activity).await? {
            Some(award) => award.points,
            None => {
                let goods = i128::from(order.priced.goods_payable.get().max(1));
                let share = i128::from(earning.points.get()) * i128::from(remaining.get()) / goods;
                Points::new(i64::try_from(share).unwrap_or(0))
            }
        };
        Ok(left.minus(due.min(left))?)
    }
}

/// Whether the order and its items can be refunded for this cause.
fn check(order: &Order, ask: &RefundOrder, cancel: bool) -> Result<RefundPlan, Error> {
    let paid = order.payment.is_some() && order.state != OrderState::Cancelled;
    if !paid || (cancel && order.state != OrderState::Paid) {
        let verb = if cancel { "cancelled" } else { "refunded" };
        return Err(Error::WrongState { order: order.id, state: order.state, verb });
    }
    let everything = || refund::everything_left(order).into_iter().map(|(line, items)| (line, Part::Items(items)));
    let parts = ask.lines.clone().unwrap_or_else(|| everything().collect());
    let plan = refund::plan(order, &parts)?;
    if order.shipped_at.is_some() && ask.cause == RefundCause::ChangeOfMind {
        let medicine =
            |line: u16| order.priced.lines.get(usize::from(line)).is_some_and(|line| line.class.is_medicine());
        let barred = plan.lines.iter().find(|refunded| medicine(refunded.line));
        if let Some(barred) = barred {
            return Err(Error::MedicineNotReturnable { line: barred.line });
        }
    }
    Ok(plan)
}

/// The transaction; [`Error::Busy`] if the member or the order moved since they were read.
fn commit(tx: &mut Tx<'_>, change: &Change) -> Result<Order, Error> {
    let (mut order, mut member) = (change.order.clone(), change.member.clone());
    pay::unmoved(tx, &order, &member)?;
    let plan = &change.plan;
    let restored_before = Points::sum(order.refunds.iter().map(|refund| refund.points_restored))?;
    lots::restore(tx, member.id, change.id, &order.draws, restored_before, plan.points)?;
    expire_returned(tx, &order, change.now)?;
    let taken = lots::claw_back(
        tx,
        member.id,
        order.id,
        change.id,
        change.claw_back,
        change.own_lot,
        change.settings.clawback,
    )?;
    if let Some(earning) = &mut order.earning {
        earning.no_longer_due = earning.no_longer_due.plus(change.claw_back)?;
    }
    let goods = plan.amount.minus(plan.delivery)?;
    change_day(tx, member.id, change.paid_day, |day| {
        day.paid_orders -= u32::from(plan.complete).min(day.paid_orders);
        day.net_spend = day.net_spend.minus(goods)?;
        Ok(())
    })?;
    give_stock_back(tx, &order, &restocked(&order, plan, change.cause))?;
    let items: Vec<(u16, u32)> = plan.lines.iter().map(|line| (line.line, line.quantity)).collect();
    if order.shipped_at.is_none() {
        prescription::put_back(tx, &order, &items)?;
    }
    if order.delivered_at.is_some() {
        refills::came_back(tx, &order, &items, change.now, &change.settings)?;
    }
    if plan.complete {
        give_offers_back(tx, &order, change.now)?;
        if order.delivered_at.is_none() {
            tiers::gifts::never_arrives(tx, &order, change.now)?;
        }
    }
    record(tx, &mut order, change, taken)?;
    if change.cancel {
        order.state = OrderState::Cancelled;
        order.cancelled_at = Some(change.now);
    }
    save_order(tx, &mut order)?;
    put_moved(tx, &mut member)?;
    let moved = tiers::settle(tx, member.id, &change.judged, None, change.now, &change.settings)?;
    let cancelled = change.cancel.then_some(What::OrderCancelled(order.id));
    let what = [What::OrderRefunded(order.id, change.id)].into_iter().chain(cancelled).chain(moved);
    events::append(tx, member.id, what)?;
    Ok(order)
}

/// Adds the refund to the order and to the books of the day.
fn record(tx: &mut Tx<'_>, order: &mut Order, change: &Change, taken: Points) -> Result<(), Error> {
    let plan = &change.plan;
    let done = refund::refunded_items(order);
    let mut discounts_back = Vec::with_capacity(plan.lines.len());
    for line in &plan.lines {
        let at = usize::from(line.line);
        let left = order.priced.lines.get(at).map_or(0, |priced| priced.quantity - done[at]);
        let back = funders::back_for_items(order, line.line, line.quantity, left)?;
        discounts_back.push(funders::stored(line.line, back));
    }
    for charge in &plan.repriced {
        let back = funders::back_for_charge(order, charge, &discounts_back)?;
        discounts_back.push(funders::stored(charge.line, back));
    }
    discounts_back.retain(|back| !back.is_zero());
    let delivery_back = if plan.complete { funders::back_for_delivery(order)? } else { ByFunder::default() };
    let refund = Refund {
        id: change.id,
        at: change.now,
        cause: change.cause,
        lines: plan.lines.clone(),
        delivery: plan.delivery,
        amount: plan.amount,
        points_restored: plan.points,
        points_clawed_back: taken,
        points_short: change.claw_back.minus(taken)?,
        decision: change.decision,
        discounts_back,
        repriced: plan.repriced.clone(),
    };
    if let Some(payment) = &order.payment {
        money::refunded(tx, order, payment, &refund, delivery_back, change.today)?;
    }
    if let Some(instalments) = &mut order.instalments {
        instalments.refund(refund.amount, change.today)?;
    }
    order.refunds.push(refund);
    Ok(())
}

/// What can be sold again: everything that has not left; of the rest, what is no medicine and came back unharmed.
fn restocked(order: &Order, plan: &RefundPlan, cause: RefundCause) -> Vec<(u16, u32)> {
    let medicine = |line: u16| order.priced.lines.get(usize::from(line)).is_none_or(|line| line.class.is_medicine());
    let back = |line: u16| order.shipped_at.is_none() || (cause == RefundCause::ChangeOfMind && !medicine(line));
    let items = plan.lines.iter().filter(|line| line.quantity > 0).map(|line| (line.line, line.quantity));
    items.filter(|(line, _)| back(*line)).collect()
}

/// After a refund in full the coupon comes back if its offer says so, with the budget it used; before shipping all
/// budgets do.
fn give_offers_back(tx: &mut Tx<'_>, order: &Order, now: Timestamp) -> Result<(), Error> {
    let mut returned = false;
    if let Some(id) = order.coupon {
        let coupon = tx.get(&COUPONS, &id)?.ok_or_else(|| Error::unknown("coupon", id))?;
        returned = tx.get(&OFFERS, &coupon.offer)?.is_some_and(|offer| offer.returns_on_refund);
        if returned {
            return_coupon(tx, id, now)?;
        }
    }
    let unshipped = order.shipped_at.is_none();
    give_limits_back(tx, order, |class| if class == OfferClass::Coupon { returned } else { unshipped })
}

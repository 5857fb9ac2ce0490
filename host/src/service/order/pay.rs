//! A payment captures the hold, earns points and may move the tier.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    ATTEMPTS_MAX, any_member, hold_until,
    instalments::PayInInstalments,
    money, move_coupon,
    prescription::require_decided,
    put_moved, require, rows, save_order, schedule_activation, seen_order,
    tier::{Judge, Judged, judge},
};
use crate::{
    domain::{
        fact::{self, Facts},
        member::{ExternalId, Member, TierCause},
        money::{Money, Points},
        offer::CouponState,
        order::{Earning, Order, OrderState, Payment, PaymentMethod},
        payment::SeenPayment,
        points::{Cause, LotOrigin},
        programme::Programme,
        rule::{Activity, Kind},
    },
    events::{self, What},
    ids::{Id as _, OrderId},
    ledger::lots,
    pricing::priced_line_facts,
    service::{
        Caller, Done, Error, Idempotency, Services, Settings,
        facts::{self, Totals, change_day, day_number, sealed_profile},
        rules::{EARNING_SLOT, Rules},
        tables::PAYMENTS,
        tiers,
    },
    store::Tx,
};

/// A payment as the partner reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayOrder {
    /// The payment provider's reference.
    pub reference: ExternalId,
    /// How.
    pub method: PaymentMethod,
    /// Exactly the order's payable.
    pub amount: Money,
    /// Paid in parts.
    pub instalments: Option<PayInInstalments>,
}

/// What is known when a payment or a refund is judged.
pub(super) struct Snapshot {
    pub(super) order: Order,
    pub(super) member: Member,
    pub(super) sealed: Option<Vec<u8>>,
    pub(super) totals: Totals,
    pub(super) programme: Programme,
}

/// What a step finds when it begins: its own answer of before, or what there is to judge.
pub(super) enum Known {
    Answer(Box<Done<Order>>),
    Snapshot(Box<Snapshot>),
}

/// What the payment changes.
#[derive(Clone)]
struct Change {
    order: Order,
    member: Member,
    day: i32,
    judged: Judged,
    now: Timestamp,
    settings: Arc<Settings>,
}

impl Services {
    /// Records the payment of an order. The same reference once more changes nothing; a payment of an order that was given
    /// up is kept as a refund to make, and the order stays as it is.
    ///
    /// # Errors
    ///
    /// [`Error::WrongState`], [`Error::AmountMismatch`], [`Error::UnderReview`], [`Error::Unknown`]; [`Error::Taken`] for a
    /// reference that paid another order.
    pub async fn pay(
        &self,
        caller: Caller,
        once: Idempotency,
        id: OrderId,
        ask: PayOrder,
    ) -> Result<Done<Order>, Error> {
        for _ in 0..ATTEMPTS_MAX {
            match self.try_pay(caller, &once, id, &ask).await {
                Err(Error::Busy) => {}
                Err(error) => {
                    self.store.settle().await?;
                    return Err(error);
                }
                done => return done,
            }
        }
        Err(Error::Busy)
    }

    /// One attempt; [`Error::Busy`] if the member or the order moved meanwhile.
    async fn try_pay(
        &self,
        caller: Caller,
        once: &Idempotency,
        id: OrderId,
        ask: &PayOrder,
    ) -> Result<Done<Order>, Error> {
        let now = self.clock.now();
        let day = day_number(now, &self.settings.zone);
        let (key, reference) = (once.clone(), ask.reference.clone());
        let read = self.store.peek(move |tx| {
            let known = read_snapshot(tx, caller, &key, id, day)?;
            let seen = match &known {
                Known::Snapshot(snapshot) => seen_payment(tx, &snapshot.order, &reference)?,
                Known::Answer(_) => None,
            };
            Ok::<_, Error>((known, seen))
        });
        let snapshot = match read.await? {
            (Known::Answer(done), _) => {
                self.store.settle().await?;
                return Ok(*done);
            }
            (Known::Snapshot(snapshot), Some(seen)) => {
                check_again(&snapshot.order, seen, ask)?;
                let once = once.clone();
                return self.store.run(now, move |tx| rows::once(&once, tx, |tx| seen_order(tx, caller, id))).await;
            }
            (Known::Snapshot(snapshot), None) => *snapshot,
        };
        if snapshot.order.state == OrderState::Cancelled {
            return self.pay_late(caller, once.clone(), id, ask, now).await;
        }
        check(&snapshot.order, ask)?;
        let change = self.judge_payment(snapshot, ask, now, day).await?;
        let once = once.clone();
        self.store.run(now, move |tx| rows::once(&once, tx, |tx| commit(tx, &change))).await
    }

    /// Asks the earning rule and the tier rule, and works out everything that the transaction will write.
    async fn judge_payment(
        &self,
        snapshot: Snapshot,
        ask: &PayOrder,
        now: Timestamp,
        day: i32,
    ) -> Result<Change, Error> {
        let Snapshot { mut order, mut member, sealed, totals, programme } = snapshot;
        let mut rules = Rules::new(self);
        let tier = rules.held_tier(&member)?;
        let birthday = self.open_profile(member.id, sealed.as_deref())?.birthday;
        let goods = order.priced.goods_payable;
        let before = self.member_facts(&member, birthday, &totals, Some(&tier), now);
        let totals = Totals {
            lifetime_net_spend: totals.lifetime_net_spend.plus(goods)?,
            lifetime_paid_orders: totals.lifetime_paid_orders + 1,
            year_net_spend: totals.year_net_spend.plus(goods)?,
            year_paid_orders: totals.year_paid_orders + 1,
            ..totals
        };
        let after = self.member_facts(&member, birthday, &totals, Some(&tier), now);
        let decision = self.ids.ordered(now);
        let activity = purchase(&order, &before, goods, now, &[]);
        let facts = activity.facts.clone();
        let award = rules.earn(activity).await?;
        let release = rules.named(EARNING_SLOT, Kind::EarningRule)?;
        let asked = Judge { member: &member, programme: &programme, now, cause: TierCause::Paid };
        let judged = judge(&mut rules, asked, before, after).await?;
        rules.record(decision, now, member.id)?;
        order.earning = award.filter(|award| award.points > Points::ZERO).map(|award| Earning {
            points: award.points,
            no_longer_due: Points::ZERO,
            pending_days: award.pending_days,
            valid_months: award.valid_months,
            facts,
            reasons: award.reasons,
            release,
            decision,
        });
        order.payment =
            Some(Payment { reference: ask.reference.clone(), method: ask.method, amount: ask.amount, at: now });
        order.instalments = match &ask.instalments {
            Some(parts) => Some(self.instalments(&order, parts, now)?),
            None => None,
        };
        if order.state == OrderState::Placed {
            order.state = OrderState::Paid;
        }
        member.tier = judged.tier.clone();
        member.lifetime_net_spend = totals.lifetime_net_spend;
        member.lifetime_paid_orders += 1;
        Ok(Change { order, member, day, judged, now, settings: Arc::clone(&self.settings) })
    }
}

/// The purchase as the earning rule sees it: what is paid for each line, less what was refunded of it.
pub(super) fn purchase(order: &Order, member: &Facts, goods: Money, at: Timestamp, remaining: &[Money]) -> Activity {
    let facts = member
        .clone()
        .with(&fact::ACTIVITY_KIND, "purchase".into())
        .with(&fact::ACTIVITY_GOODS_NET, goods.into())
        .with(&fact::ACTIVITY_TODAY_COUNT, 0.into())
        .with(&fact::ACTIVITY_TODAY_POINTS, 0.into());
    let lines = order.priced.lines.iter().enumerate().map(|(i, line)| {
        let amount = remaining.get(i).copied().unwrap_or(line.payable);
        priced_line_facts(line).with(&fact::LINE_AMOUNT, amount.into())
    });
    Activity { as_of: at, facts, lines: lines.collect() }
}

pub(super) fn read_snapshot(
    tx: &mut Tx<'_>,
    caller: Caller,
    once: &Idempotency,
    id: OrderId,
    day: i32,
) -> Result<Known, Error> {
    if let Some(done) = rows::before(once, tx)? {
        return Ok(Known::Answer(Box::new(done)));
    }
    let order = seen_order(tx, caller, id)?;
    let member = any_member(tx, order.member)?;
    let (totals, sealed) = (facts::totals(tx, &member, day)?, sealed_profile(tx, member.id)?);
    let programme = tiers::current(tx)?;
    Ok(Known::Snapshot(Box::new(Snapshot { order, member, sealed, totals, programme })))
}

/// The payment with this reference, if it was reported before.
fn seen_payment(tx: &mut Tx<'_>, order: &Order, reference: &ExternalId) -> Result<Option<SeenPayment>, Error> {
    if let Some(seen) = tx.get(&PAYMENTS, &(order.partner, reference.as_str().to_owned()))? {
        return Ok(Some(seen));
    }
    // Orders paid before references were kept.
    let paid = order.payment.as_ref().filter(|payment| payment.reference == *reference);
    Ok(paid.map(|payment| SeenPayment { order: order.id, amount: payment.amount, late: None }))
}

/// The same payment once more is none; its reference with another order or amount is a mistake.
fn check_again(order: &Order, seen: SeenPayment, ask: &PayOrder) -> Result<(), Error> {
    if seen.order != order.id {
        return Err(Error::Taken { what: "payment", name: ask.reference.clone(), id: seen.order.to_string() });
    }
    if seen.amount != ask.amount {
        return Err(Error::AmountMismatch { payable: seen.amount, paid: ask.amount });
    }
    Ok(())
}

fn check(order: &Order, ask: &PayOrder) -> Result<(), Error> {
    let allowed: &[OrderState] = if order.cash_on_delivery { &[OrderState::Delivered] } else { &[OrderState::Placed] };
    require(order, allowed, "paid")?;
    require_decided(order, "paid")?;
    if order.payment.is_some() {
        return Err(Error::WrongState { order: order.id, state: order.state, verb: "paid twice" });
    }
    if ask.method == PaymentMethod::CashOnDelivery && !order.cash_on_delivery {
        return Err(Error::field("/method", "the order was not placed with cash on delivery"));
    }
    if ask.amount != order.priced.payable {
        return Err(Error::AmountMismatch { payable: order.priced.payable, paid: ask.amount });
    }
    Ok(())
}

/// The transaction; [`Error::Busy`] if the member or the order moved since they were read.
fn commit(tx: &mut Tx<'_>, change: &Change) -> Result<Order, Error> {
    let (mut order, mut member) = (change.order.clone(), change.member.clone());
    unmoved(tx, &order, &member)?;
    hold_until(tx, &mut order, None)?;
    if let Some(payment) = &order.payment {
        money::paid(tx, &order, payment, change.day)?;
    }
    if let Some(coupon) = order.coupon {
        move_coupon(tx, coupon, CouponState::Redeemed(order.id))?;
    }
    lots::capture(tx, member.id, order.id, &order.draws)?;
    if let Some(earning) = &order.earning {
        lots::earn(tx, member.id, LotOrigin(order.id.to_bits()), earning.points, Cause::Earned(order.id))?;
    }
    change_day(tx, member.id, change.day, |day| {
        day.paid_orders += 1;
        day.net_spend = day.net_spend.plus(order.priced.goods_payable)?;
        Ok(())
    })?;
    save_order(tx, &mut order)?;
    put_moved(tx, &mut member)?;
    let moved = tiers::settle(tx, member.id, &change.judged, Some(order.id), change.now, &change.settings)?;
    schedule_activation(tx, &order)?;
    events::append(tx, member.id, [What::OrderPaid(order.id)].into_iter().chain(moved))?;
    Ok(order)
}

/// [`Error::Busy`] if the order or the member is no longer as it was read.
pub(super) fn unmoved(tx: &mut Tx<'_>, order: &Order, member: &Member) -> Result<(), Error> {
    let stored = rows::unpriced(tx, order.id)?.map(|order| order.revision);
    let same = stored == Some(order.revision) && any_member(tx, member.id)?.revision == member.revision;
    if same { Ok(()) } else { Err(Error::Busy) }
}

//! Gifts: what points buy. A product is held until it is handed over; a service's code and credit are the member's at once.
//!
//! Points, stock, code and coupon move in one transaction. Codes lie sealed under the deployment's key, found by a keyed
//! digest: each goes to one member, once, and none is in a log, an event or an idempotency record.

mod catalogue;
mod codes;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

pub use self::{
    catalogue::NewGift,
    codes::{CODES_AT_ONCE_MAX, CodesAdded},
};
use super::{
    Caller, Done, Error, Idempotency, Page, PageRequest, Services, Settings, coupons, members,
    tables::{GIFTS, PRODUCTS, REDEMPTIONS, REDEMPTIONS_OF_MEMBER},
};
use crate::{
    domain::{
        gift::{Gift, GiftKind, Redemption, RedemptionState},
        offer::Purpose,
        points::Cause,
    },
    events::{self, What},
    ids::{CouponId, GiftId, MemberId, ProductId, RedemptionId},
    ledger::{
        counters::{self, CounterKey},
        lots,
    },
    pricing::promotable::may_promote,
    scheduler::{self, TimerKey, TimerKind},
    store::{Scan, Tx},
};

/// How long points and stock are reserved for a product that is not handed over.
const HOLD_DAYS: i64 = 14;

/// A gift that is taken: ids and time, made before the transaction.
struct Taking {
    id: RedemptionId,
    coupon: CouponId,
    now: Timestamp,
    settings: Arc<Settings>,
}

impl Services {
    /// Takes a gift for a member: a product is held, everything else is theirs at once.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Erased`], [`Error::GiftNotAvailable`], [`Error::NotIssuable`], [`Error::Ledger`] if
    /// the points do not suffice.
    pub async fn take_gift(
        &self,
        caller: Caller,
        once: Idempotency,
        member: MemberId,
        gift: GiftId,
    ) -> Result<Done<Redemption>, Error> {
        let now = self.clock.now();
        let (id, coupon) = (self.ids.ordered(now), self.ids.ordered(now));
        let taking = Taking { id, coupon, now, settings: Arc::clone(&self.settings) };
        let run = self.store.run(now, move |tx| once.once(tx, |tx| take(tx, caller, member, gift, &taking)));
        run.await
    }

    /// Records that a product was handed over: its points are spent.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::WrongRedemption`] unless it is held.
    pub async fn hand_over_gift(
        &self,
        caller: Caller,
        once: Idempotency,
        id: RedemptionId,
    ) -> Result<Done<Redemption>, Error> {
        let now = self.clock.now();
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                let mut redemption = seen(tx, caller, id)?;
                if redemption.state != RedemptionState::Held {
                    let why = "its points are not held";
                    return Err(Error::WrongRedemption { redemption: id, verb: "handed over", why });
                }
                release_timer(tx, &mut redemption)?;
                lots::capture_for(tx, redemption.member, &redemption.draws, Cause::GiftSpent(id))?;
                end(tx, redemption, RedemptionState::Redeemed, now)
            })
        });
        run.await
    }

    /// Gives up a gift that is held, or takes back a product that was handed over: the points go back to their lots. A
    /// code or a coupon that a member has seen cannot be taken back.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::WrongRedemption`].
    pub async fn cancel_gift(
        &self,
        caller: Caller,
        once: Idempotency,
        id: RedemptionId,
    ) -> Result<Done<Redemption>, Error> {
        let now = self.clock.now();
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                let redemption = seen(tx, caller, id)?;
                cancel(tx, redemption, now)
            })
        });
        run.await
    }

    /// A gift that a member took.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn redemption(&self, caller: Caller, id: RedemptionId) -> Result<Redemption, Error> {
        self.store.read(move |tx| seen(tx, caller, id)).await
    }

    /// A member's gifts, in the order they were taken.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Invalid`] for the page.
    pub async fn redemptions(
        &self,
        caller: Caller,
        member: MemberId,
        page: PageRequest,
    ) -> Result<Page<Redemption>, Error> {
        let read = self.store.read(move |tx| {
            members::visible_member(tx, caller, member)?;
            let rows = page.page(tx.scan(&REDEMPTIONS_OF_MEMBER, &page.scan(Scan::prefix(&member))?)?)?;
            let ids: Vec<RedemptionId> = rows.rows.iter().map(|((_, id), ())| *id).collect();
            let found = tx.get_many(&REDEMPTIONS, &ids)?.into_iter().flatten().collect();
            Ok::<_, Error>(Page { rows: found, next: rows.next })
        });
        read.await
    }
}

fn seen(tx: &mut Tx<'_>, caller: Caller, id: RedemptionId) -> Result<Redemption, Error> {
    let found = tx.get(&REDEMPTIONS, &id)?.filter(|redemption| caller.sees(redemption.partner));
    found.ok_or_else(|| Error::unknown("redemption", id))
}

fn take(tx: &mut Tx<'_>, caller: Caller, member: MemberId, gift: GiftId, taking: &Taking) -> Result<Redemption, Error> {
    let mut member = members::active_member(tx, caller, member)?;
    let gift: Gift = tx.get(&GIFTS, &gift)?.ok_or_else(|| Error::unknown("gift", gift))?;
    if !gift.live {
        return Err(Error::GiftNotAvailable { gift: gift.id, why: "it is paused" });
    }
    let (id, now) = (taking.id, taking.now);
    let draws = lots::hold_for(tx, member.id, gift.points, now, Cause::GiftHeld(id))?;
    let mut redemption = Redemption {
        id,
        gift: gift.id,
        member: member.id,
        partner: caller.partner,
        state: RedemptionState::Redeemed,
        points: gift.points,
        draws,
        at: now,
        hold_until: None,
        ended_at: Some(now),
        stock: None,
        code: None,
        coupon: None,
    };
    match gift.kind {
        GiftKind::Product(product) => hold_product(tx, &gift, product, &mut redemption)?,
        GiftKind::Service => redemption.code = Some(codes::give(tx, gift.id, id)?),
        GiftKind::Credit(offer) => {
            coupons::issue_bought(tx, &member, offer, taking.coupon, now, &taking.settings)?;
            redemption.coupon = Some(taking.coupon);
        }
    }
    let mut what = vec![What::GiftTaken(id)];
    if redemption.state == RedemptionState::Redeemed {
        lots::capture_for(tx, member.id, &redemption.draws, Cause::GiftSpent(id))?;
        what.push(What::GiftRedeemed(id));
    }
    tx.put(&REDEMPTIONS, &id, &redemption)?;
    tx.put(&REDEMPTIONS_OF_MEMBER, &(member.id, id), &())?;
    members::put_moved(tx, &mut member)?;
    events::append(tx, member.id, what)?;
    Ok(redemption)
}

/// Reserves one item. What may be a gift is asked again: the product's class may have changed since the gift was defined.
fn hold_product(tx: &mut Tx<'_>, gift: &Gift, product: ProductId, to: &mut Redemption) -> Result<(), Error> {
    let product = tx.get(&PRODUCTS, &product)?.ok_or_else(|| Error::unknown("product", product))?;
    if !may_promote(Purpose::PointsGift, product.class) {
        let why = "its product is a medicine that may not be given for points";
        return Err(Error::GiftNotAvailable { gift: gift.id, why });
    }
    if product.stock_tracked {
        if !counters::reserve(tx, CounterKey::Stock(product.id), events::shard(to.member), 1)? {
            return Err(Error::GiftNotAvailable { gift: gift.id, why: "none is left" });
        }
        to.stock = Some(product.id);
    }
    let until = to.at.checked_add(SignedDuration::from_hours(24 * HOLD_DAYS)).unwrap_or(Timestamp::MAX);
    (to.state, to.hold_until, to.ended_at) = (RedemptionState::Held, Some(until), None);
    Ok(scheduler::schedule(tx, TimerKey::new(until, TimerKind::GiftHold, to.id))?)
}

fn release_timer(tx: &mut Tx<'_>, redemption: &mut Redemption) -> Result<(), Error> {
    match redemption.hold_until.take() {
        Some(until) => Ok(scheduler::cancel(tx, TimerKey::new(until, TimerKind::GiftHold, redemption.id))?),
        None => Ok(()),
    }
}

fn cancel(tx: &mut Tx<'_>, mut redemption: Redemption, now: Timestamp) -> Result<Redemption, Error> {
    let (id, member) = (redemption.id, redemption.member);
    let refuse = |why| Err(Error::WrongRedemption { redemption: id, verb: "cancelled", why });
    match redemption.state {
        RedemptionState::Cancelled => return refuse("it was cancelled before"),
        RedemptionState::Redeemed if redemption.code.is_some() => return refuse("the member has the code"),
        RedemptionState::Redeemed if redemption.coupon.is_some() => return refuse("the member has the coupon"),
        RedemptionState::Redeemed => lots::give_back(tx, member, id, &redemption.draws)?,
        RedemptionState::Held => {
            release_timer(tx, &mut redemption)?;
            lots::release_for(tx, member, &redemption.draws, Cause::GiftReleased(id))?;
        }
    }
    if let Some(product) = redemption.stock {
        counters::give_back(tx, CounterKey::Stock(product), events::shard(member), 1)?;
    }
    // Points that came back to a lot whose time is over expire at the next firing: the lot's own timer is gone.
    if redemption.draws.iter().any(|draw| draw.lot.expires_at <= now) {
        scheduler::schedule(tx, TimerKey::new(now, TimerKind::ExpirePoints, member))?;
    }
    end(tx, redemption, RedemptionState::Cancelled, now)
}

/// Writes how a gift ended.
fn end(
    tx: &mut Tx<'_>,
    mut redemption: Redemption,
    state: RedemptionState,
    now: Timestamp,
) -> Result<Redemption, Error> {
    (redemption.state, redemption.ended_at) = (state, Some(now));
    tx.put(&REDEMPTIONS, &redemption.id, &redemption)?;
    if let Some(mut member) = tx.get(&super::tables::MEMBERS, &redemption.member)? {
        members::put_moved(tx, &mut member)?;
    }
    let what = match state {
        RedemptionState::Cancelled => What::GiftCancelled(redemption.id),
        RedemptionState::Held | RedemptionState::Redeemed => What::GiftRedeemed(redemption.id),
    };
    events::append(tx, redemption.member, [what])?;
    Ok(redemption)
}

/// Gives up a gift that was not handed over in time: the timer's work. Nothing happens if it was.
///
/// # Errors
///
/// Those of the ledger.
pub(super) fn give_up(tx: &mut Tx<'_>, id: RedemptionId, now: Timestamp) -> Result<(), Error> {
    match tx.get(&REDEMPTIONS, &id)? {
        Some(redemption) if redemption.state == RedemptionState::Held => cancel(tx, redemption, now).map(drop),
        _ => Ok(()),
    }
}

//! Taking over an existing programme (R17): opening points as lots, tiers with their since-date, coupons in hand.
//!
//! Every row is a transaction of its own, known by its external id: a batch that is sent again, whole or in part, changes
//! nothing. A row that cannot be taken is refused with its field and the fix; the others go on. Points come from the house
//! account `opening`, so that the books close. Nothing that is taken over is told to members: they have it already.

use std::sync::Arc;

use jiff::Timestamp;
use minicbor::{Decode, Encode};

use super::{
    Caller, Done, Error, Idempotency, Services, Settings, coupons, members, points,
    rules::TIER_SLOT,
    tables::{COUPONS, COUPONS_BY_EXTERNAL_ID, MEMBERS, MEMBERS_BY_EXTERNAL_ID, OFFERS, OFFERS_BY_CODE, TAKEN_OVER},
};
use crate::{
    domain::{
        cbor,
        member::{ExternalId, HeldTier, Member, MemberState, TierCause},
        money::{Money, Points},
        points::{Cause, House, LotKey, LotOrigin},
        rule::{Code, Kind},
    },
    ids::{CouponId, Id as _, MemberId, PartnerId},
    ledger::lots,
    store::Tx,
};

/// Rows of one batch.
pub const ROWS_AT_ONCE_MAX: usize = 200;
/// The most that a member brings along: no mistake may make later sums overflow.
const POINTS_MAX: Points = Points::new(1_000_000_000);
const SPEND_MAX: Money = Money::new(1_000_000_000_000);

/// Something that a member brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A lot of points.
    Points {
        /// What the partner calls the lot.
        external_id: ExternalId,
        /// What the partner calls the member.
        member: ExternalId,
        /// How many; more than zero.
        points: Points,
        /// When they die.
        expires_at: Timestamp,
    },
    /// A tier, and what it was earned with.
    Tier {
        /// What the partner calls the member: one tier each.
        member: ExternalId,
        /// A tier of the rule that is live.
        tier: String,
        /// Since when.
        since: Timestamp,
        /// Goods paid before, less refunds.
        lifetime_net_spend: Money,
        /// Orders paid before and not refunded in full.
        lifetime_paid_orders: u32,
    },
    /// A coupon in hand.
    Coupon {
        /// What the partner calls the coupon.
        external_id: ExternalId,
        /// What the partner calls the member.
        member: ExternalId,
        /// The code of a live offer.
        offer: ExternalId,
        /// When it dies; as the offer says where it is not said.
        expires_at: Option<Timestamp>,
    },
}

impl Opening {
    /// The external id that makes it count once.
    pub fn name(&self) -> &ExternalId {
        match self {
            Self::Points { external_id, .. } | Self::Coupon { external_id, .. } => external_id,
            Self::Tier { member, .. } => member,
        }
    }

    fn member(&self) -> &ExternalId {
        match self {
            Self::Points { member, .. } | Self::Tier { member, .. } | Self::Coupon { member, .. } => member,
        }
    }
}

/// What was taken over, to know it again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TakenOver {
    /// By whom it is held.
    #[n(0)]
    pub member: MemberId,
    /// How many points.
    #[n(1)]
    pub points: Option<Points>,
    /// When they die; since when the tier is held.
    #[cbor(n(2), with = "cbor::instant")]
    pub at: Timestamp,
    /// The tier.
    #[n(3)]
    pub tier: Option<String>,
    /// Goods paid before and orders, of a tier; rows of old do not know them.
    #[n(4)]
    pub earned: Option<(Money, u32)>,
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RowOutcome {
    /// Written.
    #[n(0)]
    Taken,
    /// Written before.
    #[n(1)]
    Known,
    /// Not written.
    #[n(2)]
    Refused {
        /// What is wrong.
        #[n(0)]
        field: String,
        /// What would be right.
        #[n(1)]
        fix: String,
    },
}

impl RowOutcome {
    fn refused(field: &str, fix: impl Into<String>) -> Self {
        Self::Refused { field: field.to_owned(), fix: fix.into() }
    }
}

/// A row is either written, or stays as it is with the outcome.
type Row = Result<(), Stop>;

/// Why a row is not written.
enum Stop {
    Outcome(RowOutcome),
    Error(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

fn refuse(field: &str, fix: impl Into<String>) -> Stop {
    Stop::Outcome(RowOutcome::refused(field, fix))
}

/// What rows are judged with.
struct Known {
    partner: PartnerId,
    now: Timestamp,
    tiers: Vec<Code>,
    release: u64,
    settings: Arc<Settings>,
}

impl Services {
    /// Takes a batch over for members of a partner; what became of each row, in their order.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for the size of the batch, [`Error::NoRule`] where there is no tier rule, those of the store.
    pub async fn take_over(
        &self,
        _: Caller,
        once: Idempotency,
        partner: PartnerId,
        rows: Vec<Opening>,
    ) -> Result<Done<Vec<RowOutcome>>, Error> {
        if !(1..=ROWS_AT_ONCE_MAX).contains(&rows.len()) {
            return Err(Error::field("/rows", format!("must be 1 to {ROWS_AT_ONCE_MAX} rows")));
        }
        if let Some(done) = once.before(&self.store).await? {
            return Ok(done);
        }
        let now = self.clock.now();
        let live = self.engine.slot(TIER_SLOT, Kind::TierRule).and_then(|slot| slot.live());
        let none = || Error::NoRule { slot: TIER_SLOT.to_owned(), why: "it has no release".to_owned() };
        let live = live.ok_or_else(none)?;
        let tiers = live.tiers().iter().map(|tier| tier.code.clone()).collect();
        let (release, settings) = (live.reference().number, Arc::clone(&self.settings));
        let known = Arc::new(Known { partner, now, tiers, release, settings });
        let each = rows.into_iter().map(|row| {
            let (known, id) = (Arc::clone(&known), self.ids.ordered::<CouponId>(now));
            self.store.run(now, move |tx| match take(tx, &row, id, &known) {
                Ok(()) => Ok(RowOutcome::Taken),
                Err(Stop::Outcome(outcome)) => Ok(outcome),
                Err(Stop::Error(error)) => Err(error),
            })
        });
        let outcomes = futures::future::join_all(each).await.into_iter().collect::<Result<Vec<_>, Error>>()?;
        self.store.run(now, move |tx| once.once(tx, |_| Ok::<_, Error>(outcomes.clone()))).await
    }
}

/// Everything is looked at before anything is written: a row that is refused leaves nothing behind.
fn take(tx: &mut Tx<'_>, row: &Opening, id: CouponId, known: &Known) -> Row {
    let name = (known.partner, row.member().as_str().to_owned());
    let found = tx.get(&MEMBERS_BY_EXTERNAL_ID, &name)?;
    let found = found.ok_or_else(|| refuse("member", "no member has this external id: register them first"))?;
    let member = tx.get(&MEMBERS, &found)?.ok_or_else(|| Error::unknown("member", found))?;
    if member.state == MemberState::Erased {
        return Err(refuse("member", "was erased: leave the row out"));
    }
    match row {
        Opening::Points { external_id, points, expires_at, .. } => {
            take_points(tx, member, external_id, *points, *expires_at, id, known)
        }
        Opening::Tier { member: name, tier, since, lifetime_net_spend, lifetime_paid_orders } => {
            let before = (*lifetime_net_spend, *lifetime_paid_orders);
            take_tier(tx, member, name, tier, *since, before, known)
        }
        Opening::Coupon { external_id, offer, expires_at, .. } => {
            take_coupon(tx, member, (id, external_id), offer, *expires_at, known)
        }
    }
}

/// Notes what is taken, unless it was before: with other values that is refused.
fn note(tx: &mut Tx<'_>, key: (PartnerId, u8, String), taken: &TakenOver) -> Row {
    match tx.get(&TAKEN_OVER, &key)? {
        None => Ok(tx.put(&TAKEN_OVER, &key, taken)?),
        Some(before) if (TakenOver { earned: before.earned.or(taken.earned), ..before.clone() }) == *taken => {
            Err(Stop::Outcome(RowOutcome::Known))
        }
        Some(_) => {
            let fix = "was taken over before with other values: give it another name, or correct it by an adjustment";
            Err(refuse("external_id", fix))
        }
    }
}

fn take_points(
    tx: &mut Tx<'_>,
    mut member: Member,
    name: &ExternalId,
    points: Points,
    expires_at: Timestamp,
    id: CouponId,
    known: &Known,
) -> Row {
    if points <= Points::ZERO || points > POINTS_MAX {
        return Err(refuse("points", format!("must be 1 to {POINTS_MAX}")));
    }
    let taken = TakenOver { member: member.id, points: Some(points), at: expires_at, tier: None, earned: None };
    let key = (known.partner, 0, name.as_str().to_owned());
    // What was taken over before is known, also after its end.
    if expires_at <= known.now && tx.get(&TAKEN_OVER, &key)?.is_none() {
        return Err(refuse("expires_at", "has passed: leave the row out"));
    }
    note(tx, key, &taken)?;
    let lot = LotKey { expires_at, origin: LotOrigin(id.to_bits()) };
    lots::grant(tx, member.id, House::Opening, points, lot, Cause::Opening)?;
    points::set_expiry(tx, member.id, expires_at, known.now, &known.settings)?;
    Ok(members::put_moved(tx, &mut member)?)
}

fn take_tier(
    tx: &mut Tx<'_>,
    mut member: Member,
    name: &ExternalId,
    tier: &str,
    since: Timestamp,
    (spend, orders): (Money, u32),
    known: &Known,
) -> Row {
    let Some(code) = known.tiers.iter().find(|code| &***code == tier) else {
        let all: Vec<&str> = known.tiers.iter().map(|code| &**code).collect();
        return Err(refuse("tier", format!("must be one of {}", all.join(", "))));
    };
    if since > known.now {
        return Err(refuse("since", "must not be in the future"));
    }
    if !(Money::ZERO..=SPEND_MAX).contains(&spend) {
        return Err(refuse("lifetime_net_spend", format!("must be 0 to {} minor units", SPEND_MAX.get())));
    }
    let taken = TakenOver {
        member: member.id,
        points: None,
        at: since,
        tier: Some(tier.to_owned()),
        earned: Some((spend, orders)),
    };
    note(tx, (known.partner, 1, name.as_str().to_owned()), &taken)?;
    member.tier = HeldTier { code: code.clone(), release: known.release, since, cause: TierCause::Opening, kept: None };
    member.lifetime_net_spend = member.lifetime_net_spend.plus(spend).map_err(Error::from)?;
    member.lifetime_paid_orders = member.lifetime_paid_orders.saturating_add(orders);
    Ok(members::put_moved(tx, &mut member)?)
}

fn take_coupon(
    tx: &mut Tx<'_>,
    mut member: Member,
    (id, name): (CouponId, &ExternalId),
    offer: &ExternalId,
    expires_at: Option<Timestamp>,
    known: &Known,
) -> Row {
    let offer = match tx.get(&OFFERS_BY_CODE, &offer.as_str().to_owned())? {
        Some(offer) => tx.get(&OFFERS, &offer)?,
        None => None,
    };
    let offer = offer.ok_or_else(|| refuse("offer", "no offer has this code: define it first"))?;
    if let Some(before) = tx.get(&COUPONS_BY_EXTERNAL_ID, &(known.partner, name.as_str().to_owned()))? {
        let same = tx.get(&COUPONS, &before)?;
        let same = same.is_some_and(|coupon| coupon.member == member.id && coupon.offer == offer.id);
        if same {
            return Err(Stop::Outcome(RowOutcome::Known));
        }
        return Err(refuse("external_id", "another coupon has it: give this one another name"));
    }
    if expires_at.is_some_and(|at| at <= known.now) {
        return Err(refuse("expires_at", "has passed: leave the row out"));
    }
    match coupons::take_over(tx, &member, &offer, (id, name), expires_at, known.now, &known.settings) {
        Ok(()) => Ok(members::put_moved(tx, &mut member)?),
        Err(Error::NotIssuable { why, .. }) => Err(refuse("offer", why)),
        Err(error) => Err(error.into()),
    }
}

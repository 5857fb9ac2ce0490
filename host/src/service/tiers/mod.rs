//! Tiers beyond the rule's verdict: the programme that says how long a tier is held and what it brings, what members see
//! of it, and the gifts.
//!
//! - `keep`: what a verdict makes of the tier that is held, and the timers of one that is kept for a while
//! - `standing`: where a member stands, and what is missing
//! - `benefits`: what a tier brings, and what is left of it
//! - `gifts`: what reaching a tier brings, once per member, tier and period
//!
//! Asking the rule stands elsewhere: `order/tier.rs` for one member, `timers/tiers.rs` for all of them by night.

mod benefits;
pub(super) mod gifts;
pub(super) mod keep;
mod standing;

pub use self::{
    benefits::{Benefits, Entitlement, Quota},
    gifts::{GiftState, TierGift},
    standing::{Standing, Target},
};

use jiff::Timestamp;
use minicbor::{Decode, Encode};

use super::{
    Caller, Done, Error, Idempotency, Page, PageRequest, Services, Settings,
    check::Checks,
    order::tier::Judged,
    rules::TIER_SLOT,
    tables::{ACTIVE_RELEASES, OFFERS, OFFERS_BY_CODE, RELEASES, TIER_PROGRAMMES},
};
use crate::{
    domain::{
        member::{Revision, TierCause},
        money::Points,
        offer::OfferClass,
        programme::{Evaluation, Falls, Programme, Service, TierTerms},
        rule::Kind,
    },
    events::What,
    ids::{MemberId, OfferId, OrderId},
    store::{Scan, StoreError, Tx},
};

/// Days of grace and notice.
const DAYS_MAX: u16 = 366;
/// Months that points of a gift live.
const MONTHS_MAX: u16 = 120;
/// Points of one gift.
const GIFT_POINTS_MAX: i64 = 1_000_000;
/// Offers that one list of the programme names.
const OFFERS_MAX: usize = 10;
/// Benefits of one tier that are no money.
const SERVICES_MAX: usize = 20;
/// Tiers that the programme says something of: as many as a rule may have.
const TIERS_MAX: usize = 32;
/// Characters of a name, and of a code.
const NAME_CHARS_MAX: usize = 64;

/// A version of the programme, and who set it when.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ProgrammeRow {
    /// The programme.
    #[n(0)]
    pub programme: Programme,
    /// When it was set.
    #[cbor(n(1), with = "crate::domain::cbor::instant")]
    pub at: Timestamp,
}

/// The programme as an operator writes it: offers by their codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewProgramme {
    /// When a tier is confirmed or lost.
    pub evaluation: Evaluation,
    /// Days that a tier is kept beyond the day on which it would be lost.
    pub grace_days: u16,
    /// A member is told so many days before a tier is lost.
    pub notice_days: u16,
    /// A member is nudged so many days before a tier is lost.
    pub renewal_days: u16,
    /// Offers of which the nudge brings a coupon.
    pub renewal_offers: Vec<String>,
    /// When a tier falls that a refund takes away.
    pub on_refund: Falls,
    /// Days from delivery until an order can no longer be returned.
    pub return_days: u16,
    /// Months that points of a gift live.
    pub gift_months: u16,
    /// What the tiers bring.
    pub tiers: Vec<NewTierTerms>,
}

/// What a tier brings, offers by their codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTierTerms {
    /// The tier's code.
    pub code: String,
    /// Points given for reaching it.
    pub gift_points: i64,
    /// Offers of which a coupon is given for reaching it.
    pub gift_offers: Vec<String>,
    /// Offers that its members may use.
    pub entitlements: Vec<String>,
    /// Benefits that are no money.
    pub services: Vec<Service>,
}

impl Services {
    /// The programme that counts, with the codes of its offers beside it.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn tier_programme(&self) -> Result<ProgrammeRow, Error> {
        let read = self.store.read(move |tx| {
            let row = newest(tx)?;
            Ok::<_, Error>(row.unwrap_or(ProgrammeRow { programme: Programme::unset(), at: Timestamp::UNIX_EPOCH }))
        });
        read.await
    }

    /// Every version of the programme, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a bad page.
    pub async fn tier_programmes(&self, page: PageRequest) -> Result<Page<ProgrammeRow>, Error> {
        let read = self.store.read(move |tx| {
            let rows = tx.scan(&TIER_PROGRAMMES, &page.scan(Scan::all())?)?;
            Ok(page.page(rows)?.map(|(_, row)| row))
        });
        read.await
    }

    /// Sets the programme from now on. Tiers that are kept already keep the time they were given.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for every wrong field, [`Error::Stale`] if `if_match` is not the version that counts.
    pub async fn set_tier_programme(
        &self,
        _: Caller,
        once: Idempotency,
        if_match: Option<Revision>,
        new: NewProgramme,
    ) -> Result<Done<ProgrammeRow>, Error> {
        let now = self.clock.now();
        let live = self.live_release(TIER_SLOT, Kind::TierRule);
        let known: Vec<String> =
            live.iter().flat_map(|release| release.tiers().iter().map(|tier| tier.code.to_string())).collect();
        check(&new, &known)?;
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                let version = current(tx)?.version;
                if if_match.is_some_and(|expected| expected != version) {
                    return Err(Error::Stale { current: version });
                }
                let row = ProgrammeRow { programme: resolved(tx, &new, version.next())?, at: now };
                tx.put(&TIER_PROGRAMMES, &row.programme.version.get(), &row)?;
                Ok(row)
            })
        });
        run.await
    }

    /// The codes of offers.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn offer_codes(&self, ids: Vec<OfferId>) -> Result<Vec<String>, Error> {
        let read = self.store.read(move |tx| {
            let offers = tx.get_many(&OFFERS, &ids)?;
            let code = |(id, offer): (&OfferId, Option<crate::domain::offer::Offer>)| {
                offer.map_or_else(|| id.to_string(), |offer| offer.code.to_string())
            };
            Ok::<_, Error>(ids.iter().zip(offers).map(code).collect())
        });
        read.await
    }
}

fn newest(tx: &mut Tx<'_>) -> Result<Option<ProgrammeRow>, StoreError> {
    Ok(tx.scan(&TIER_PROGRAMMES, &Scan::all().reverse().limit(1))?.pop().map(|(_, row)| row))
}

/// The programme that counts.
///
/// # Errors
///
/// Those of the store.
pub(super) fn current(tx: &mut Tx<'_>) -> Result<Programme, StoreError> {
    Ok(newest(tx)?.map_or_else(Programme::unset, |row| row.programme))
}

/// The tier codes of the live rule, lowest first, with what codes of earlier rules are worth in it.
///
/// # Errors
///
/// Those of the store.
pub(super) fn rank(tx: &mut Tx<'_>, code: &str) -> Result<Option<usize>, StoreError> {
    let Some(active) = tx.get(&ACTIVE_RELEASES, &TIER_SLOT.to_owned())? else { return Ok(None) };
    let Some(release) = tx.get(&RELEASES, &(TIER_SLOT.to_owned(), active.number))? else { return Ok(None) };
    let worth = active.tier_map.get(code).map_or(code, String::as_str);
    Ok(release.tiers.iter().position(|tier| tier == worth))
}

/// Everything that follows from a tier that was judged, in the transaction that stores it: the timers of one that is
/// kept, the gift of one that was reached. What happened, for the caller to append. `order` is the one that was paid.
///
/// # Errors
///
/// Those of the store.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    member: MemberId,
    judged: &Judged,
    order: Option<OrderId>,
    now: Timestamp,
    settings: &Settings,
) -> Result<Option<What>, Error> {
    let Judged { was, tier, raised, .. } = judged;
    keep::retime(tx, member, was.kept.as_ref(), tier.kept.as_ref(), now)?;
    if *raised && matches!(tier.cause, TierCause::Paid | TierCause::Scheduled | TierCause::Activity) {
        gifts::promise(tx, member, tier, order, now, settings)?;
    }
    let (from, to) = (was.code.to_string(), tier.code.to_string());
    Ok(judged.moved().then_some(What::TierChanged { from, to, cause: tier.cause }))
}

fn check(new: &NewProgramme, known: &[String]) -> Result<(), Error> {
    let mut checks = Checks::default();
    if let Evaluation::Period { months, first_month } = new.evaluation {
        let tiles = matches!(months, 1 | 2 | 3 | 4 | 6 | 12);
        checks.require(tiles, "/evaluation/months", "must be 1, 2, 3, 4, 6 or 12");
        checks.require((1..=12).contains(&first_month), "/evaluation/first_month", "must be 1 to 12");
    } else {
        let no_end = "needs periods: set `evaluation` to `period`, or this to `now`";
        checks.require(new.on_refund == Falls::Now, "/on_refund", no_end);
    }
    for (field, days) in [
        ("grace_days", new.grace_days),
        ("notice_days", new.notice_days),
        ("renewal_days", new.renewal_days),
        ("return_days", new.return_days),
    ] {
        checks.require(days <= DAYS_MAX, format!("/{field}"), format!("must be at most {DAYS_MAX}"));
    }
    let months = (1..=MONTHS_MAX).contains(&new.gift_months);
    checks.require(months, "/gift_months", format!("must be 1 to {MONTHS_MAX}"));
    checks.require(
        new.renewal_offers.is_empty() || new.renewal_days > 0,
        "/renewal_offers",
        "are never given while `renewal_days` is 0",
    );
    few(&mut checks, "/renewal_offers", new.renewal_offers.len(), OFFERS_MAX);
    few(&mut checks, "/tiers", new.tiers.len(), TIERS_MAX);
    for (at, tier) in new.tiers.iter().enumerate().take(TIERS_MAX) {
        check_tier(&mut checks, &format!("/tiers/{at}"), tier, known);
        let once = new.tiers[..at].iter().all(|other| other.code != tier.code);
        checks.require(once, format!("/tiers/{at}/code"), "is named twice");
    }
    checks.finish()
}

fn check_tier(checks: &mut Checks, pointer: &str, tier: &NewTierTerms, known: &[String]) {
    let code = format!("must be a tier of the live rule: {}", known.join(", "));
    checks.require(known.contains(&tier.code), format!("{pointer}/code"), code);
    let points = (0..=GIFT_POINTS_MAX).contains(&tier.gift_points);
    checks.require(points, format!("{pointer}/gift/points"), format!("must be 0 to {GIFT_POINTS_MAX}"));
    few(checks, &format!("{pointer}/gift/offers"), tier.gift_offers.len(), OFFERS_MAX);
    few(checks, &format!("{pointer}/entitlements"), tier.entitlements.len(), OFFERS_MAX);
    few(checks, &format!("{pointer}/services"), tier.services.len(), SERVICES_MAX);
    for (at, service) in tier.services.iter().enumerate().take(SERVICES_MAX) {
        let pointer = format!("{pointer}/services/{at}");
        checks.text(format!("{pointer}/code"), &service.code, NAME_CHARS_MAX);
        checks.text(format!("{pointer}/name_zh_cn"), &service.name_zh_cn, NAME_CHARS_MAX);
        checks.text(format!("{pointer}/name_en"), &service.name_en, NAME_CHARS_MAX);
        let once = tier.services[..at].iter().all(|other| other.code != service.code);
        checks.require(once, format!("{pointer}/code"), "is named twice");
    }
}

fn few(checks: &mut Checks, pointer: &str, count: usize, max: usize) {
    checks.require(count <= max, pointer, format!("must hold at most {max}"));
}

/// The programme with its offers by id.
fn resolved(tx: &mut Tx<'_>, new: &NewProgramme, version: Revision) -> Result<Programme, Error> {
    let mut checks = Checks::default();
    let renewal_offers = offers(tx, &mut checks, "/renewal_offers", &new.renewal_offers, true)?;
    let mut tiers = Vec::with_capacity(new.tiers.len());
    for (at, tier) in new.tiers.iter().enumerate() {
        tiers.push(TierTerms {
            code: tier.code.clone(),
            gift_points: Points::new(tier.gift_points),
            gift_offers: offers(tx, &mut checks, &format!("/tiers/{at}/gift/offers"), &tier.gift_offers, true)?,
            entitlements: offers(tx, &mut checks, &format!("/tiers/{at}/entitlements"), &tier.entitlements, false)?,
            services: tier.services.clone(),
        });
    }
    checks.finish()?;
    Ok(Programme {
        version,
        evaluation: new.evaluation,
        grace_days: new.grace_days,
        notice_days: new.notice_days,
        renewal_days: new.renewal_days,
        renewal_offers,
        on_refund: new.on_refund,
        return_days: new.return_days,
        gift_months: new.gift_months,
        tiers,
    })
}

/// The offers with these codes; `given` are those that must issue coupons.
fn offers(
    tx: &mut Tx<'_>,
    checks: &mut Checks,
    pointer: &str,
    codes: &[String],
    given: bool,
) -> Result<Vec<OfferId>, StoreError> {
    let mut ids = Vec::with_capacity(codes.len());
    for (at, code) in codes.iter().enumerate() {
        let pointer = format!("{pointer}/{at}");
        let id = tx.get(&OFFERS_BY_CODE, code)?;
        let offer = match id {
            Some(id) => tx.get(&OFFERS, &id)?,
            None => None,
        };
        match offer {
            None => checks.wrong(pointer, "there is no offer with this code"),
            Some(offer) if given && offer.class != OfferClass::Coupon => {
                checks.wrong(pointer, "issues no coupons: name an offer of class `coupon`");
            }
            Some(offer) if ids.contains(&offer.id) => checks.wrong(pointer, "is named twice"),
            Some(offer) => ids.push(offer.id),
        }
    }
    Ok(ids)
}

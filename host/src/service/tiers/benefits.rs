//! What a member's tier brings today: what the rule gives, the offers that the programme names with what is left of
//! them, and the benefits that are no money.

use jiff::{Timestamp, ToSpan as _, civil::DateTime, tz::TimeZone};

use super::current;
use crate::{
    domain::{
        limit::{Limit, Measure, Period, Whose},
        member::Member,
        offer::Offer,
        programme::Service,
        rule::Tier,
    },
    ids::MemberId,
    ledger::{limits, tables::OFFER_TAKEN},
    service::{
        Caller, Error, Services, members,
        rules::Rules,
        tables::{COUPONS_ISSUED, OFFERS},
    },
    store::{StoreError, Tx},
};

/// The longest period of a limit begins anew within so many days.
const PERIOD_DAYS_MAX: i64 = 31;

/// How much of an offer a member may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Of what, in which time, at most.
    pub limit: Limit,
    /// What the member had of it in the period that runs.
    pub used: i64,
    /// When the next period begins; none where there is only one.
    pub resets_at: Option<Timestamp>,
}

/// An offer that a tier's members may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entitlement {
    /// The offer; its own terms say who may use it and on what.
    pub offer: Offer,
    /// How much; empty where there is no limit.
    pub quotas: Vec<Quota>,
}

/// What a member's tier brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Benefits {
    /// The tier, in the words of the live rule.
    pub tier: Tier,
    /// Offers.
    pub entitlements: Vec<Entitlement>,
    /// What is no money.
    pub services: Vec<Service>,
}

impl Services {
    /// What a member's tier brings.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Erased`], [`Error::NoRule`] if there is no tier rule.
    pub async fn tier_benefits(&self, caller: Caller, id: MemberId) -> Result<Benefits, Error> {
        let member: Member = self.store.read(move |tx| members::active_member(tx, caller, id)).await?;
        let tier = Rules::new(self).held_tier(&member)?;
        let (code, zone, now) = (tier.code.clone(), self.settings.zone.clone(), self.clock.now());
        let read = self.store.read(move |tx| {
            let programme = current(tx)?;
            let Some(terms) = programme.tier(&code) else { return Ok((Vec::new(), Vec::new())) };
            let offers = tx.get_many(&OFFERS, &terms.entitlements)?.into_iter().flatten();
            let entitlements = offers.map(|offer| entitlement(tx, id, offer, now, &zone));
            Ok::<_, Error>((entitlements.collect::<Result<_, _>>()?, terms.services.clone()))
        });
        let (entitlements, services) = read.await?;
        Ok(Benefits { tier, entitlements, services })
    }
}

fn entitlement(
    tx: &mut Tx<'_>,
    member: MemberId,
    offer: Offer,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<Entitlement, StoreError> {
    let local = zone.to_datetime(now);
    let mut quotas = Vec::new();
    for limit in limits::limits(&offer).into_iter().filter(|limit| limit.whose == Whose::Member) {
        let row = (member, offer.id, (limit.measure as u8, limit.period as u8), limit.period.index(local));
        let used = tx.get(&OFFER_TAKEN, &row)?.unwrap_or(0);
        quotas.push(Quota { limit, used, resets_at: next(limit.period, local, zone) });
    }
    if let Some(most) = offer.per_member {
        let limit =
            Limit { whose: Whose::Member, measure: Measure::Issues, period: Period::Ever, most: i64::from(most) };
        let used = i64::from(tx.get(&COUPONS_ISSUED, &(offer.id, member))?.unwrap_or(0));
        quotas.push(Quota { limit, used, resets_at: None });
    }
    Ok(Entitlement { offer, quotas })
}

/// The midnight at which the period after this one begins.
fn next(period: Period, local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let days = (1..=PERIOD_DAYS_MAX).map(|n| local.date().saturating_add(n.days()).at(0, 0, 0, 0));
    let first = days.into_iter().find(|day| period.index(*day) != period.index(local))?;
    first.to_zoned(zone.clone()).ok().map(|first| first.timestamp())
}

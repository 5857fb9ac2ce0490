//! Automations: which event asks for which message.
//!
//! A consumer of the event log, with a cursor per shard that moves in the transaction that asks for the touches: every
//! event asks once, whatever crashes. What an event tells a template is fixed per event and documented with the route.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::touches::{SealedTouch, WantedTouch, ask};
use crate::{
    domain::member::TierCause,
    events::{self, Batch, Consumer, Event, Position, What},
    ids::{CouponId, OrderId, PrescriptionId, ProductId, RedemptionId},
    reach::{
        automation::Automation,
        tables::{AUTOMATIONS, TEMPLATES},
    },
    service::{
        Error, Services,
        check::Checks,
        order::rows,
        tables::{ACTIVITIES, COUPONS, GIFTS, OFFERS, PRESCRIPTIONS, PRODUCTS, REDEMPTIONS},
    },
    store::{Scan, StoreError, Tx},
};

/// The consumer's name.
const CONSUMER: &str = "touches";
/// Automations of a deployment.
const AUTOMATIONS_MAX: usize = 200;
/// Events dealt with in one transaction.
const EVENTS_AT_ONCE: usize = 20;
/// How long a message may take: 30 days at most.
const EXPIRES_HOURS: std::ops::RangeInclusive<u32> = 1..=720;

/// What one look at the events did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Events that were dealt with.
    pub dealt: usize,
    /// Whether a shard had more than one look takes.
    pub more: bool,
}

impl Services {
    /// Every automation, by event and template.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn automations(&self) -> Result<Vec<Automation>, Error> {
        Ok(self.store.read(automations).await?)
    }

    /// Makes an event ask for a template, or changes how long its message may take. What happened before it was set asks
    /// for nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for every wrong field, [`Error::Unknown`] for a template that there is not.
    pub async fn set_automation(
        &self,
        event: String,
        template: String,
        expires_hours: u32,
    ) -> Result<Automation, Error> {
        let mut checks = Checks::default();
        let known = What::NAMES.contains(&event.as_str());
        checks.require(known, "/event", format!("must be one of {}", What::NAMES.join(", ")));
        let (least, most) = EXPIRES_HOURS.into_inner();
        let fits = (least..=most).contains(&expires_hours);
        checks.require(fits, "/expires_hours", format!("must be {least} to {most}"));
        checks.finish()?;
        let at = self.clock.now();
        let wanted = Automation { event, template, expires_hours, at };
        let run = self.store.run(at, move |tx| {
            let template = tx.get(&TEMPLATES, &wanted.template)?;
            template.ok_or_else(|| Error::unknown("template", &wanted.template))?;
            let row = (wanted.event.clone(), wanted.template.clone());
            if tx.get(&AUTOMATIONS, &row)?.is_none() && automations(tx)?.len() >= AUTOMATIONS_MAX {
                return Err(Error::field(
                    "/event",
                    format!("there are {AUTOMATIONS_MAX} automations: remove one first"),
                ));
            }
            tx.put(&AUTOMATIONS, &row, &wanted)?;
            Ok(wanted.clone())
        });
        run.await
    }

    /// Makes an event no longer ask for a template.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] if it did not.
    pub async fn remove_automation(&self, event: String, template: String) -> Result<Automation, Error> {
        let run = self.store.run(self.clock.now(), move |tx| {
            let row = (event.clone(), template.clone());
            let removed = tx.get(&AUTOMATIONS, &row)?;
            let removed = removed.ok_or_else(|| Error::unknown("automation", format!("{event}/{template}")))?;
            tx.delete(&AUTOMATIONS, &row)?;
            Ok::<_, Error>(removed)
        });
        run.await
    }

    /// Asks for the messages of what has happened, a bounded step in every shard.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn ask_for_events(&self) -> Result<Asked, Error> {
        let Some(consumer) = Consumer::new(CONSUMER) else { return Ok(Asked::default()) };
        let known: Arc<[Automation]> = self.store.peek(automations).await?.into();
        let (mut asked, mut silent, mut asking) = (Asked::default(), Vec::new(), Vec::new());
        for shard in 0..events::SHARDS {
            let (batch, touches) = self.wanted_in_shard(&consumer, shard, &known).await?;
            asked.dealt += batch.events.len();
            asked.more |= batch.events.len() == EVENTS_AT_ONCE;
            match (batch.events.is_empty(), touches.is_empty()) {
                (true, _) => {}
                (false, true) => silent.push(batch),
                (false, false) => asking.push((batch, touches)),
            }
        }
        let now = self.clock.now();
        // Where something else is wanted by now, nothing moves: the events are read again.
        if !silent.is_empty() {
            let known = Arc::clone(&known);
            let run = self.store.run(now, move |tx| {
                if automations(tx)? != *known {
                    return Ok(());
                }
                silent.iter().try_for_each(|batch| batch.advance(tx, batch.events.len()).map(drop))
            });
            run.await?;
        }
        let runs = asking.into_iter().map(|(batch, touches)| {
            let known = Arc::clone(&known);
            self.store.run(now, move |tx| {
                if automations(tx)? == *known && batch.advance(tx, batch.events.len())? {
                    touches.iter().try_for_each(|one| ask(tx, now, one).map(drop))?;
                }
                Ok::<_, Error>(())
            })
        });
        futures::future::try_join_all(runs).await?;
        Ok(asked)
    }

    /// The next events of a shard, and the messages that they ask for.
    async fn wanted_in_shard(
        &self,
        consumer: &Consumer,
        shard: u16,
        automations: &Arc<[Automation]>,
    ) -> Result<(Batch, Vec<SealedTouch>), Error> {
        let (consumer, automations) = (consumer.clone(), Arc::clone(automations));
        let (now, zone) = (self.clock.now(), self.settings.zone.clone());
        let read = self.store.peek(move |tx| {
            let batch = events::read(tx, &consumer, shard, EVENTS_AT_ONCE)?;
            let mut wanted = Vec::new();
            for (position, event) in &batch.events {
                // A new rule moves members without a word (R5).
                if matches!(event.what, What::TierChanged { cause: TierCause::RuleChange, .. }) {
                    continue;
                }
                for automation in automations.iter().filter(|automation| automation.event == event.what.name()) {
                    wanted.push(touch(tx, automation, *position, event, now, &zone)?);
                }
            }
            Ok::<_, Error>((batch, wanted))
        });
        let (batch, wanted) = read.await?;
        let sealed = wanted.into_iter().map(|one| self.seal_touch(one)).collect::<Result<_, _>>()?;
        Ok((batch, sealed))
    }
}

fn automations(tx: &mut Tx<'_>) -> Result<Vec<Automation>, StoreError> {
    let rows = tx.scan(&AUTOMATIONS, &Scan::all().limit(AUTOMATIONS_MAX))?;
    Ok(rows.into_iter().map(|(_, automation)| automation).collect())
}

/// The message that an event asks for.
fn touch(
    tx: &mut Tx<'_>,
    automation: &Automation,
    position: Position,
    event: &Event,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<WantedTouch, Error> {
    let hours = SignedDuration::from_hours(i64::from(automation.expires_hours));
    Ok(WantedTouch {
        member: event.member,
        template: automation.template.clone(),
        variables: variables(tx, &event.what, zone)?,
        dedupe: format!("{}-{}-{}", automation.event, position.seq.get(), position.n),
        due: now,
        expires: now.checked_add(hours).unwrap_or(Timestamp::MAX),
    })
}

/// What an event tells a template.
fn variables(tx: &mut Tx<'_>, what: &What, zone: &TimeZone) -> Result<Vec<(String, String)>, Error> {
    let told: Vec<(&str, String)> = match what {
        What::CouponIssued(id) | What::CouponExpired(id) | What::CouponExpiring(id) | What::CouponRevoked(id) => {
            coupon(tx, *id, zone)?
        }
        What::OrderPlaced(id)
        | What::OrderPaid(id)
        | What::OrderShipped(id)
        | What::OrderDelivered(id)
        | What::OrderCancelled(id)
        | What::OrderRefunded(id, _)
        | What::RefundDue(id, _)
        | What::PointsActivated(id) => order_told(tx, *id)?,
        What::PrescriptionUploaded(id)
        | What::PrescriptionApproved(id)
        | What::PrescriptionRejected(id)
        | What::PrescriptionExpired(id) => prescription(tx, *id, zone)?,
        What::TierChanged { from, to, .. } => vec![("from", from.clone()), ("to", to.clone())],
        What::TierAtRisk { tier, to, on } => vec![("tier", tier.clone()), ("to", to.clone()), ("on", day(*on))],
        What::TierRenewal { tier, on } => vec![("tier", tier.clone()), ("on", day(*on))],
        What::TierGift { tier, points } => vec![("tier", tier.clone()), ("points", points.get().to_string())],
        What::PointsExpiring { points, on } => vec![("points", points.get().to_string()), ("on", day(*on))],
        What::RefillDue { product, on, .. } => refill(tx, *product, *on)?,
        What::BonusGiven(points) => vec![("points", points.get().to_string())],
        What::Birthday(year) => vec![("year", year.to_string())],
        What::Anniversary(years) => vec![("years", years.to_string())],
        What::MemberDay(on) => vec![("on", day(*on))],
        What::Registered
        | What::Updated
        | What::Erased
        | What::PointsExpired
        | What::OfferTripped(_)
        | What::ReferralSucceeded(_)
        | What::Referred(_)
        | What::ConsentChanged { .. } => Vec::new(),
        What::ActivityRecorded(_, points) => vec![("points", points.get().to_string())],
        What::ActivityActivated(id) => {
            let points = tx.get(&ACTIVITIES, id)?.map_or(0, |activity| activity.points.get());
            vec![("points", points.to_string())]
        }
        What::GiftTaken(id) | What::GiftRedeemed(id) | What::GiftCancelled(id) => gift(tx, *id)?,
    };
    Ok(told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn coupon(tx: &mut Tx<'_>, id: CouponId, zone: &TimeZone) -> Result<Vec<(&'static str, String)>, Error> {
    let coupon = tx.get(&COUPONS, &id)?.ok_or_else(|| Error::unknown("coupon", id))?;
    let offer = tx.get(&OFFERS, &coupon.offer)?.ok_or_else(|| Error::unknown("offer", coupon.offer))?;
    let until = coupon.expires_at.map(|at| at.to_zoned(zone.clone()).date().to_string());
    Ok(vec![("offer", offer.name_zh_cn), ("offer_en", offer.name_en), ("expires_on", until.unwrap_or_default())])
}

fn gift(tx: &mut Tx<'_>, id: RedemptionId) -> Result<Vec<(&'static str, String)>, Error> {
    let taken = tx.get(&REDEMPTIONS, &id)?.ok_or_else(|| Error::unknown("redemption", id))?;
    let gift = tx.get(&GIFTS, &taken.gift)?.ok_or_else(|| Error::unknown("gift", taken.gift))?;
    let points = taken.points.get().to_string();
    Ok(vec![("gift", gift.name_zh_cn), ("gift_en", gift.name_en), ("points", points)])
}

fn refill(tx: &mut Tx<'_>, id: ProductId, on: i32) -> Result<Vec<(&'static str, String)>, Error> {
    let product = tx.get(&PRODUCTS, &id)?.ok_or_else(|| Error::unknown("product", id))?;
    Ok(vec![("product", product.external_id.to_string()), ("name", product.name), ("on", day(on))])
}

fn order_told(tx: &mut Tx<'_>, id: OrderId) -> Result<Vec<(&'static str, String)>, Error> {
    let order = rows::get(tx, id)?.ok_or_else(|| Error::unknown("order", id))?;
    let name = order.external_id.as_ref().map_or_else(|| id.to_string(), ToString::to_string);
    Ok(vec![("order", name), ("payable", order.priced.payable.to_string())])
}

fn prescription(tx: &mut Tx<'_>, id: PrescriptionId, zone: &TimeZone) -> Result<Vec<(&'static str, String)>, Error> {
    let found = tx.get(&PRESCRIPTIONS, &id)?.ok_or_else(|| Error::unknown("prescription", id))?;
    let name = found.external_id.as_ref().map_or_else(|| id.to_string(), ToString::to_string);
    let reason = found.ruling.and_then(|ruling| ruling.reason).unwrap_or_default();
    let until = found.valid_until.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
    Ok(vec![("prescription", name), ("reason", reason), ("valid_until", until)])
}

/// A day of the deployment's zone.
fn day(days: i32) -> String {
    let epoch = jiff::civil::date(1970, 1, 1);
    epoch.saturating_add(jiff::Span::new().days(days)).to_string()
}

//! Timers: ten thousand coupons die in one second while a million timers wait, on disk.

use std::time::Instant;

use anyhow::Context as _;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::Figure;
use crate::{
    app::open_services,
    cli::config::{Config, Secrets},
    clock::Clock,
    domain::offer::{OfferClass, Validity},
    ids::{Id as _, Ids, KeyId, MemberId, OrderId, PartnerId},
    scheduler::{self, TimerKey, TimerKind},
    service::{
        Caller, Error, Idempotency, Services, coupons::IssueCoupon, members::NewMember, offers::NewOffer,
        timers::TIMERS_AT_ONCE,
    },
    store::StoreError,
};

/// Timers that are due in one second.
const DUE: usize = 10_000;
/// Members who hold their coupons.
const MEMBERS: usize = 500;
/// Timers written in one transaction.
const BATCH: u32 = 500;
/// Requests at once.
const AT_ONCE: usize = 256;

pub(super) async fn measure(waiting: u32) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let start: Timestamp = "2026-03-15T04:00:00Z".parse()?;
    let mut config = Config::standard();
    config.store.data = dir.path().join("data");
    config.store.cache_mb = 64;
    let services = open_services(&config, &Secrets::default(), [7; 32], Clock::manual(start), Ids::seeded(1)).await?;
    services.restore_releases().await?;
    let begun = Instant::now();
    let dies = coupons(&services, start).await?;
    fill(&services, dies, waiting).await?;
    let set_up = begun.elapsed().as_secs_f64();
    services.clock.set(dies)?;
    let begun = Instant::now();
    let mut fired = 0;
    loop {
        let now = services.fire_due_timers(TIMERS_AT_ONCE).await?;
        fired += now;
        if now < TIMERS_AT_ONCE {
            break;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    anyhow::ensure!(fired == DUE, "{fired} timers fired, {DUE} were due");
    services.store.clone().close().await?;
    Ok(vec![
        Figure::new("timers waiting", f64::from(waiting), "timers"),
        Figure::new("set-up of members, coupons and timers", set_up, "s"),
        Figure::new("10,000 due timers fired", took, "s"),
    ])
}

/// Issues the coupons; when they die.
async fn coupons(services: &Services, start: Timestamp) -> anyhow::Result<Timestamp> {
    let caller = Caller { key: KeyId::from_bits(1), partner: PartnerId::from_bits(1), sees_all: true };
    let once = |key: String| Idempotency { partner: caller.partner, key, fingerprint: [0; 32] };
    let terms = serde_json::json!({ "type": "amount", "amount": { "minor": 100, "currency": "CNY" } });
    let terms = terms.as_object().context("terms")?.clone();
    let offer =
        NewOffer { validity: Validity::Days(1), ..NewOffer::plain("bench".parse()?, OfferClass::Coupon, terms) };
    let offer = services.define_offer(caller, once("offer".to_owned()), offer).await?.value.id;
    let joins = (0..MEMBERS).map(|n| services.create_member(caller, once(format!("m{n}")), NewMember::default()));
    let joined: Vec<_> = futures::stream::iter(joins).buffer_unordered(AT_ONCE).collect().await;
    let members: Vec<MemberId> =
        joined.into_iter().map(|done| done.map(|done| done.value.id)).collect::<Result<_, Error>>()?;
    let issued = (0..DUE).map(|n| {
        let issue = IssueCoupon { offer, member: members[n % MEMBERS], external_id: None };
        services.issue_coupon(caller, once(format!("c{n}")), issue)
    });
    let mut issued = futures::stream::iter(issued).buffer_unordered(AT_ONCE);
    while let Some(done) = issued.next().await {
        done?;
    }
    Ok(start.checked_add(SignedDuration::from_hours(24))?)
}

/// Writes timers that are due in the year after.
async fn fill(services: &Services, after: Timestamp, waiting: u32) -> anyhow::Result<()> {
    let batches = (0..waiting.div_ceil(BATCH)).map(|batch| {
        let timers: Vec<TimerKey> = (batch * BATCH..((batch + 1) * BATCH).min(waiting))
            .map(|n| {
                let due = after.checked_add(i64::from(n % 31_000_000 + 60).seconds()).unwrap_or(Timestamp::MAX);
                TimerKey::new(due, TimerKind::UnpaidOrder, services.ids.unordered::<OrderId>())
            })
            .collect();
        services.store.run(after, move |tx| {
            timers.iter().try_for_each(|timer| scheduler::schedule(tx, *timer))?;
            Ok::<_, StoreError>(())
        })
    });
    let mut batches = futures::stream::iter(batches).buffer_unordered(4);
    while let Some(done) = batches.next().await {
        done?;
    }
    Ok(())
}

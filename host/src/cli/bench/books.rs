//! What a large deployment takes: members with a history of postings, on disk; memory, disk, the time to open, and what
//! the balance of one member with ten thousand postings costs, now and at a past instant.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};

use super::{Figure, memory_mb, percentile_ms};
use crate::{
    app::open_services,
    cli::config::{Config, Secrets},
    clock::Clock,
    domain::{
        member::{HeldTier, Member, MemberState, Revision, TierCause},
        money::{Money, Points},
        points::{Cause, House, LotKey, LotOrigin},
        rule::Kind,
    },
    ids::{Id as _, Ids, KeyId, MemberId, PartnerId},
    ledger::{LedgerError, lots},
    service::{Caller, Services, rules::TIER_SLOT, tables::MEMBERS},
};

/// Lots that each member is granted: each is two postings, the member's and that of the house.
const LOTS: u32 = 5;
/// Members written in one transaction.
const BATCH: u32 = 10;
/// Transactions at once: as many as share a few syncs.
const AT_ONCE: usize = 64;
/// Postings of the member whose balance is asked for.
const POSTINGS: u32 = 10_000;
/// How often.
const ASKED: usize = 1_000;

pub(super) async fn measure(members: u32) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let start: Timestamp = "2026-03-16T04:00:00Z".parse()?;
    let mut config = Config::standard();
    config.store.data = dir.path().join("data");
    config.store.cache_mb = 64;
    let secrets = Secrets::default();
    let open = async || open_services(&config, &secrets, [7; 32], Clock::manual(start), Ids::seeded(1)).await;
    let services = open().await?;
    services.restore_releases().await?;
    let begun = Instant::now();
    fill(&services, members, start).await?;
    let filled = begun.elapsed().as_secs_f64();
    let busy = history(&services, start).await?;
    let disk = services.store.stats().disk_bytes.context("the store knows its size")?;
    services.store.clone().close().await?;
    drop(services);
    let begun = Instant::now();
    let services = open().await?;
    let opened = begun.elapsed().as_secs_f64();
    services.clock.set(start.checked_add(SignedDuration::from_secs(i64::from(POSTINGS)))?)?;
    let (mut now, mut then) = balances(&services, busy, start).await?;
    let resident = memory_mb("VmRSS:").context("this kernel does not say how much memory a process has")?;
    services.store.clone().close().await?;
    let postings = f64::from(members) * f64::from(LOTS) * 2.0;
    #[allow(clippy::cast_precision_loss, reason = "a size that is printed")]
    let disk = disk as f64;
    Ok(vec![
        Figure::new("members", f64::from(members), "members"),
        Figure::new("postings", postings, "postings"),
        Figure::new("postings written", postings / filled, "postings/s"),
        Figure::new("store on disk", disk / 1e6, "MB"),
        Figure::new("the same for each posting", disk / postings, "bytes"),
        Figure::new("store opened", opened, "s"),
        Figure::new("resident after opening", resident, "MB"),
        Figure::new("balance of 10,000 postings p50", percentile_ms(&mut now, 50), "ms"),
        Figure::new("balance of 10,000 postings p99", percentile_ms(&mut now, 99), "ms"),
        Figure::new("the same at a past instant p99", percentile_ms(&mut then, 99), "ms"),
    ])
}

/// A member as the services would have left them.
fn member(services: &Services, at: Timestamp) -> anyhow::Result<impl Fn() -> Member> {
    let live = services.engine.slot(TIER_SLOT, Kind::TierRule).and_then(|slot| slot.live());
    let live = live.ok_or_else(|| anyhow::anyhow!("no tier rule is live"))?;
    let (code, release, ids) = (live.tiers()[0].code.clone(), live.reference().number, services.ids.clone());
    Ok(move || Member {
        id: ids.unordered(),
        partner: PartnerId::from_bits(1),
        external_id: None,
        registered_at: at,
        state: MemberState::Active,
        revision: Revision::FIRST,
        tier: HeldTier { code: code.clone(), release, since: at, cause: TierCause::Registered, kept: None },
        self_patient: ids.unordered(),
        lifetime_net_spend: Money::ZERO,
        lifetime_paid_orders: 0,
        zone: None,
        language: None,
    })
}

/// A lot that dies some days on.
fn lot(at: Timestamp, n: u32) -> LotKey {
    let expires_at = at.checked_add(SignedDuration::from_hours(24 * (30 + i64::from(n % 300)))).unwrap_or(at);
    LotKey { expires_at, origin: LotOrigin(u128::from(n)) }
}

/// Writes members, and grants each of them points in several lots.
async fn fill(services: &Services, members: u32, at: Timestamp) -> anyhow::Result<()> {
    let member = member(services, at)?;
    let batches = (0..members).step_by(BATCH as usize).map(|first| {
        let rows: Vec<Member> = (first..first.saturating_add(BATCH).min(members)).map(|_| member()).collect();
        services.store.run(at, move |tx| {
            for row in &rows {
                tx.put(&MEMBERS, &row.id, row)?;
                for n in 0..LOTS {
                    lots::grant(tx, row.id, House::Opening, Points::new(100), lot(at, n), Cause::Opening)?;
                }
            }
            Ok::<_, LedgerError>(())
        })
    });
    let mut batches = futures::stream::iter(batches).buffer_unordered(AT_ONCE);
    while let Some(done) = batches.next().await {
        done?;
    }
    Ok(())
}

/// A member with a long history; who it is.
async fn history(services: &Services, at: Timestamp) -> anyhow::Result<MemberId> {
    let row = member(services, at)?();
    let id = row.id;
    services.store.run(at, move |tx| tx.put(&MEMBERS, &row.id, &row)).await?;
    for n in 0..POSTINGS {
        // A second between them: a past instant lies between two.
        let then = at.checked_add(SignedDuration::from_secs(i64::from(n)))?;
        let run = services
            .store
            .run(then, move |tx| lots::grant(tx, id, House::Opening, Points::new(1), lot(at, n), Cause::Opening));
        run.await?;
    }
    Ok(id)
}

/// How long the balance takes, as of now and as of half-way through the history.
async fn balances(
    services: &Services,
    member: MemberId,
    at: Timestamp,
) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let caller = Caller { key: KeyId::from_bits(1), partner: PartnerId::from_bits(1), sees_all: true };
    let past = at.checked_add(SignedDuration::from_secs(i64::from(POSTINGS / 2)))?;
    let (mut now, mut then) = (Vec::with_capacity(ASKED), Vec::with_capacity(ASKED));
    for _ in 0..ASKED {
        for (when, times, points) in [(None, &mut now, POSTINGS), (Some(past), &mut then, POSTINGS / 2 + 1)] {
            let begun = Instant::now();
            let balances = services.points(caller, member, when).await?;
            times.push(begun.elapsed());
            anyhow::ensure!(balances.active.get() == i64::from(points), "{balances:?} are not {points} points");
        }
    }
    Ok((now, then))
}

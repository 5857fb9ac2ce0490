//! The night: every member's tier judged again where nothing changes, on disk, beside one evaluation after the other.

use std::time::Instant;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};

use super::Figure;
use crate::{
    app::open_services,
    cli::config::{Config, Secrets},
    clock::Clock,
    domain::{
        member::{HeldTier, Member, MemberState, Revision, TierCause},
        money::Money,
        rule::Kind,
    },
    ids::{Id as _, Ids, MemberId, PartnerId},
    service::{Services, rules::TIER_SLOT, tables::MEMBERS, timers::Pace},
    store::StoreError,
};

/// Members written in one transaction.
const BATCH: u32 = 500;
/// Members judged one after the other.
const ALONE: usize = 500;
/// What members have spent, in turn: none of it a tier's very edge.
const SPENT: [i64; 5] = [0, 9_900, 50_000, 150_000, 400_000];

pub(super) async fn measure(members: u32) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    // Noon of a Monday in Shanghai: the night is at three, and no member day.
    let start: Timestamp = "2026-03-16T04:00:00Z".parse()?;
    let mut config = Config::standard();
    config.store.data = dir.path().join("data");
    config.store.cache_mb = 256;
    let services = open_services(&config, &Secrets::default(), [7; 32], Clock::manual(start), Ids::seeded(1)).await?;
    services.restore_releases().await?;
    services.ensure_schedules().await?;
    let ids = fill(&services, members, start).await?;
    // The first night puts everybody where they belong, the second finds nothing to do.
    let night = SignedDuration::from_hours(24);
    services.clock.set(start.checked_add(night)?)?;
    services.run_due(Pace::Full, || true).await?;
    let second = start.checked_add(night.checked_mul(2).unwrap_or(night))?;
    services.clock.set(second)?;
    let begun = Instant::now();
    services.run_due(Pace::Full, || true).await?;
    let took = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    for id in &ids {
        anyhow::ensure!(!services.evaluate_tier(*id, second).await?, "a tier moved where nothing had changed");
    }
    let alone = begun.elapsed().as_secs_f64() / f64::from(u32::try_from(ids.len())?.max(1));
    services.store.clone().close().await?;
    let (all, rate) = (f64::from(members), f64::from(members) / took);
    Ok(vec![
        Figure::new("members", all, "members"),
        Figure::new("a night in which nothing changes", took, "s").against(alone * all),
        Figure::new("members judged by night", rate, "members/s").against(1.0 / alone),
    ])
}

/// Writes members as the services would have left them, the tier by what each has spent; some of them.
async fn fill(services: &Services, members: u32, at: Timestamp) -> anyhow::Result<Vec<MemberId>> {
    let live = services.engine.slot(TIER_SLOT, Kind::TierRule).and_then(|slot| slot.live());
    let live = live.ok_or_else(|| anyhow::anyhow!("no tier rule is live"))?;
    let (lowest, release) = (live.tiers()[0].code.clone(), live.reference().number);
    let member = |n: u32| Member {
        id: services.ids.unordered(),
        partner: PartnerId::from_bits(1),
        external_id: None,
        registered_at: at,
        state: MemberState::Active,
        revision: Revision::FIRST,
        tier: HeldTier { code: lowest.clone(), release, since: at, cause: TierCause::Registered, kept: None },
        self_patient: services.ids.unordered(),
        lifetime_net_spend: Money::new(SPENT[n as usize % SPENT.len()]),
        lifetime_paid_orders: n % 12,
        zone: None,
        language: None,
    };
    let mut some = Vec::new();
    let mut batches = futures::stream::FuturesUnordered::new();
    for first in (0..members).step_by(BATCH as usize) {
        let rows: Vec<Member> = (first..first.saturating_add(BATCH).min(members)).map(member).collect();
        some.extend(rows.iter().map(|row| row.id).take(ALONE.saturating_sub(some.len())));
        batches.push(services.store.run(at, move |tx| {
            rows.iter().try_for_each(|row| tx.put(&MEMBERS, &row.id, row))?;
            Ok::<_, StoreError>(())
        }));
        if batches.len() >= 4 {
            batches.next().await.transpose()?;
        }
    }
    while let Some(done) = batches.next().await {
        done?;
    }
    Ok(some)
}

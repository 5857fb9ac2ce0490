use jiff::SignedDuration;

use super::*;
use crate::{
    domain::money::Money,
    events::What,
    service::{
        facts::change_day,
        fixture::Fixture,
        timers::{
            ChangeSchedule,
            tests::{happened, join, run},
        },
    },
    store::{Scan, StoreError},
};

/// A member who spent so much so many days ago, as if by orders.
async fn spend(fixture: &Fixture, member: MemberId, yuan: i64, days_ago: i32) {
    let now = fixture.services.clock.now();
    let day = day_number(now, &fixture.services.settings.zone) - days_ago;
    let run = fixture.services.store.run(now, move |tx| {
        let mut row = tx.get(&MEMBERS, &member)?.expect("is there");
        row.lifetime_net_spend = row.lifetime_net_spend.plus(Money::new(yuan * 100))?;
        row.lifetime_paid_orders += 1;
        members::put_moved(tx, &mut row)?;
        change_day(tx, member, day, |totals| {
            totals.paid_orders += 1;
            totals.net_spend = totals.net_spend.plus(Money::new(yuan * 100))?;
            Ok(())
        })
    });
    run.await.expect("is written");
}

async fn tiers(fixture: &Fixture, members: &[MemberId]) -> Vec<(String, u64)> {
    let mut tiers = Vec::new();
    for id in members {
        let member = fixture.services.member(fixture.shop, *id).await.expect("is there");
        tiers.push((member.tier.code.to_string(), member.tier.release));
    }
    tiers
}

async fn people(fixture: &Fixture) -> Vec<MemberId> {
    let mut members = Vec::new();
    for n in 0..24 {
        let member = join(fixture, None).await;
        spend(fixture, member, 97 * n * n, i32::try_from(n * 16 % 364).expect("days")).await;
        members.push(member);
    }
    members
}

#[tokio::test]
async fn a_night_gives_what_one_evaluation_after_the_other_gives() {
    let (by_night, alone) = (Fixture::model(61).await, Fixture::model(61).await);
    by_night.services.ensure_schedules().await.expect("makes schedules");
    let (night, single) = (people(&by_night).await, people(&alone).await);
    for _ in 0..4 {
        for fixture in [&by_night, &alone] {
            fixture.wait(SignedDuration::from_hours(24 * 100));
        }
        run(&by_night).await;
        for member in &single {
            alone.services.evaluate_tier(*member, alone.services.clock.now()).await.expect("is evaluated");
        }
        let found = tiers(&by_night, &night).await;
        assert_eq!(found, tiers(&alone, &single).await);
    }
    let mut moved = 0;
    for member in &night {
        moved += happened(&by_night, *member).await.iter().filter(|w| matches!(w, What::TierChanged { .. })).count();
    }
    assert!(moved > 0, "nobody moved: the test shows nothing");
}

/// Where nothing changes, a night writes its digest and leaves every member's revision alone.
#[tokio::test]
async fn a_night_without_change_writes_a_digest_alone() {
    let fixture = Fixture::model(62).await;
    fixture.services.ensure_schedules().await.expect("makes schedules");
    let members = people(&fixture).await;
    let other = ChangeSchedule { enabled: Some(false), ..ChangeSchedule::default() };
    fixture.services.change_schedule("member-day", other).await.expect("is off");
    fixture.wait(SignedDuration::from_hours(24));
    run(&fixture).await;
    let revisions = |fixture: &Fixture| {
        let (services, shop, members) = (fixture.services.clone(), fixture.shop, members.clone());
        async move {
            let mut all = Vec::new();
            for id in members {
                all.push(services.member(shop, id).await.expect("is there").revision);
            }
            all
        }
    };
    let before = revisions(&fixture).await;
    fixture.wait(SignedDuration::from_hours(24));
    run(&fixture).await;
    assert_eq!(revisions(&fixture).await, before);
    let digests = fixture.services.store.read(|tx| tx.scan(&TIER_DIGESTS, &Scan::all())).await;
    let digests: Vec<_> = digests.map_err(|error: StoreError| error).expect("reads");
    assert_eq!(digests.len(), 2);
    assert_eq!((digests[1].1.members, digests[1].1.changed), (24, 0));
}

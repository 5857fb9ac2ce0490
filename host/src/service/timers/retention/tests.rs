use jiff::SignedDuration;

use super::*;
use crate::{
    events::What,
    service::{
        fixture::Fixture,
        timers::tests::{happened, join, run},
    },
    store::StoreError,
};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Lets the consumers of the log see everything.
async fn consume(fixture: &Fixture, recommend: bool) {
    while fixture.services.ask_for_events().await.expect("asks").dealt > 0 {}
    while recommend && fixture.services.advance_recommendations().await.expect("counts") > 0 {}
}

/// An event goes once it is old and every consumer has passed it; nobody is put back to where some are missing.
#[tokio::test]
async fn old_events_go_when_the_slowest_consumer_has_passed() {
    let fixture = Fixture::model(81).await;
    let services = &fixture.services;
    services.ensure_schedules().await.expect("makes schedules");
    let old = join(&fixture, None).await;
    let joined = async |member| happened(&fixture, member).await.contains(&What::Registered);
    consume(&fixture, false).await;
    fixture.wait(DAY * 401);
    run(&fixture).await;
    assert!(joined(old).await, "nobody counted it yet");
    let young = join(&fixture, None).await;
    consume(&fixture, true).await;
    fixture.wait(DAY);
    run(&fixture).await;
    assert!(!joined(old).await);
    assert!(joined(young).await);
    let cursors = services.event_cursors().await.expect("lists");
    let consumer = cursors[0].consumer.name();
    let refused = services.rewind_cursor(consumer, 1).await.expect_err("is swept").to_string();
    assert!(refused.contains("/seq") && refused.contains("were swept"), "{refused}");
    consume(&fixture, true).await;
    let next = services.store.run(services.clock.now(), |tx| Ok::<_, StoreError>(tx.seq().get())).await;
    services.rewind_cursor(consumer, next.expect("a commit")).await.expect("is all there");
}

/// The statutory key of an erased member is destroyed after five years, not a day before; who stays keeps theirs.
#[tokio::test]
async fn r15_a_statutory_key_is_destroyed_five_years_after_the_erasure() {
    let fixture = Fixture::model(82).await;
    let services = &fixture.services;
    services.ensure_schedules().await.expect("makes schedules");
    let (gone, stays) = (join(&fixture, None).await, join(&fixture, None).await);
    let sealed = [gone, stays].map(|member| {
        let sealed = services.vault.seal(member, KeyClass::Statutory, b"here", b"a paper", [3; 24]).expect("seals");
        (member, sealed)
    });
    let open = || sealed.each_ref().map(|(id, bytes)| services.vault.open(*id, KeyClass::Statutory, b"here", bytes));
    services.erase_member(fixture.shop, fixture.once(), gone).await.expect("erases");
    fixture.wait(DAY * (5 * 365));
    run(&fixture).await;
    assert!(open().iter().all(Result::is_ok), "five years have a leap day");
    fixture.wait(DAY * 2);
    run(&fixture).await;
    let [erased, kept] = open();
    assert!(matches!(erased, Err(VaultError::Erased)));
    assert_eq!(kept.expect("opens"), b"a paper");
    let left: Result<Vec<_>, StoreError> = services.store.read(|tx| tx.scan(&ERASED_MEMBERS, &Scan::all())).await;
    assert!(left.expect("reads").is_empty());
}

use serde_json::json;

use super::*;
use crate::{
    domain::{
        fact::{Facts, Scope, Value},
        offer::OfferClass,
        rule::TierSubject,
    },
    plugin::embedded::{EMBEDDED, Embedded},
    service::{
        fixture::{Fixture, offer},
        tables::OFFERS,
    },
};

fn plugin(name: &str) -> &'static Embedded {
    Embedded::find(name).expect("a reference plugin")
}

fn release_of(name: &str) -> NewRelease {
    let plugin = plugin(name);
    NewRelease {
        module: ModuleDigest::of(plugin.component),
        config: serde_json::from_str(plugin.config).expect("JSON"),
        grants: Grants::default(),
        budgets: None,
        fallback: Fallback::Skip,
        tier_map: BTreeMap::new(),
        demote_now: false,
    }
}

/// What takes the spend tiers over into the composite ones.
fn composite() -> NewRelease {
    let map = [("member", "regular"), ("bronze", "regular")];
    let tier_map = map.map(|(old, new)| (old.to_owned(), new.to_owned())).into();
    NewRelease { tier_map, ..release_of("tier-composite") }
}

async fn create(fixture: &Fixture, slot: &str, new: NewRelease) -> Result<StoredRelease, Error> {
    Ok(fixture.services.create_release(fixture.operator, fixture.once(), slot, new).await?.value)
}

async fn activate(fixture: &Fixture, slot: &str, number: u64) -> Result<ActiveRelease, Error> {
    Ok(fixture.services.activate(fixture.operator, fixture.once(), slot, number).await?.value)
}

async fn rollback(fixture: &Fixture, slot: &str) -> Result<ActiveRelease, Error> {
    Ok(fixture.services.rollback(fixture.operator, fixture.once(), slot).await?.value)
}

fn live(fixture: &Fixture, slot: &str, kind: Kind) -> u64 {
    fixture.services.live_release(slot, kind).expect("is live").reference().number
}

fn refusal<T: std::fmt::Debug>(refused: Result<T, Error>) -> PluginRefusal {
    match refused {
        Err(Error::Plugin(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn pointers<T: std::fmt::Debug>(refused: Result<T, Error>) -> Vec<String> {
    match refused {
        Err(Error::Invalid(fields)) => fields.into_iter().map(|field| field.pointer).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_new_deployment_has_the_reference_rules() {
    let fixture = Fixture::model(1).await;
    let slots = fixture.services.slots().await.expect("slots");
    let names: Vec<_> = slots.iter().map(|slot| (slot.name.as_str(), slot.kind, slot.active.number)).collect();
    let expected = [
        ("coupon", Kind::CouponPolicy, 1),
        ("earning", Kind::EarningRule, 1),
        ("guard", Kind::ContentGuard, 1),
        ("score.home", Kind::Scorer, 1),
        ("tier", Kind::TierRule, 1),
    ];
    assert_eq!(names, expected);
    let modules = fixture.services.list_modules(PageRequest::default()).await.expect("a page").rows;
    assert_eq!(modules.len(), EMBEDDED.len());
    let spend = fixture.services.module(ModuleDigest::of(plugin("tier-spend").component)).await.expect("is there");
    assert_eq!((spend.name.as_str(), spend.kind, spend.pushed_by), ("tier-spend", Kind::TierRule, None));
    let release = fixture.services.release("tier", 1).await.expect("is there");
    assert_eq!(release.tiers, ["member", "bronze", "silver", "gold"]);
    fixture.services.restore_releases().await.expect("again");
    let releases = fixture.services.list_releases("tier", PageRequest::default()).await.expect("a page").rows;
    assert_eq!(releases, [release], "nothing is installed twice");
}

#[tokio::test]
async fn a_module_is_taken_in_once_whoever_pushes_it() {
    let fixture = Fixture::without_rules(2);
    let (services, bytes) = (&fixture.services, plugin("earning-standard").component);
    let once = fixture.once();
    let pushed = services.push_module(fixture.operator, once.clone(), bytes).await.expect("is taken in").value;
    assert_eq!((pushed.bytes, pushed.pushed_by), (bytes.len() as u64, Some(fixture.operator.key)));
    fixture.wait(jiff::SignedDuration::from_hours(1));
    for (once, replayed) in [(once, true), (fixture.once(), false)] {
        let again = services.push_module(fixture.operator, once, bytes).await.expect("again");
        assert_eq!((again.value, again.replayed), (pushed.clone(), replayed));
    }
    for (bytes, code) in [(b"".as_slice(), "module-refused"), (b"not a module", "module-refused")] {
        let refused = services.push_module(fixture.operator, fixture.once(), bytes).await;
        assert_eq!(refusal(refused).code(), code);
    }
    assert_eq!(services.list_modules(PageRequest::default()).await.expect("a page").rows, [pushed]);
}

#[tokio::test]
async fn a_release_is_numbered_and_never_changes() {
    let fixture = Fixture::model(3).await;
    let once = fixture.once();
    let new = || NewRelease {
        config: json!({"percent_max": 5_000, "excluded_classes": []}),
        ..release_of("coupon-standard")
    };
    for replayed in [false, true] {
        let done =
            fixture.services.create_release(fixture.operator, once.clone(), "coupon", new()).await.expect("is made");
        assert_eq!((done.value.number, done.replayed), (2, replayed));
        assert_eq!((done.value.previous, done.value.created_by), (Some(1), Some(fixture.operator.key)));
    }
    let third = create(&fixture, "coupon", new()).await.expect("is made");
    let listed = fixture.services.list_releases("coupon", PageRequest::default()).await.expect("a page").rows;
    assert_eq!(listed.iter().map(|release| release.number).collect::<Vec<_>>(), [3, 2, 1], "the latest first");
    assert_eq!(listed[0], third);
    assert_eq!(live(&fixture, "coupon", Kind::CouponPolicy), 1, "nothing is live before it is activated");
}

#[tokio::test]
async fn wrong_releases_are_refused_with_the_field() {
    let fixture = Fixture::model(4).await;
    let standard = || release_of("coupon-standard");
    let unknown = NewRelease { module: ModuleDigest::of(b"nothing"), ..standard() };
    assert_eq!(pointers(create(&fixture, "coupon", unknown).await), ["/module"]);
    assert_eq!(pointers(create(&fixture, "Coupon!", standard()).await), ["/slot"]);
    let config = NewRelease { config: json!({"percent_max": "all", "excluded_classes": []}), ..standard() };
    assert_eq!(pointers(create(&fixture, "coupon", config).await), ["/config/percent_max"]);
    let budget = NewRelease { budgets: Some(Budgets { wall_ms: 0, ..Budgets::standard() }), ..standard() };
    assert_eq!(refusal(create(&fixture, "coupon", budget).await).code(), "release-refused");
    let fallback = NewRelease { fallback: Fallback::Default(json!({})), ..standard() };
    assert_eq!(refusal(create(&fixture, "coupon", fallback).await).code(), "release-refused");
    let kind = refusal(create(&fixture, "tier", standard()).await);
    assert_eq!(kind.to_string(), "slot `tier` takes a tier-rule, the module is a coupon-policy");
    let map = NewRelease { tier_map: [("a".to_owned(), "b".to_owned())].into(), ..standard() };
    assert_eq!(pointers(create(&fixture, "coupon", map).await), ["/tier_map"]);
    let map = [("gold", "silver"), ("member", "platinum"), ("bronze", "regular")];
    let tier_map = map.map(|(old, new)| (old.to_owned(), new.to_owned())).into();
    let map = NewRelease { tier_map, ..release_of("tier-composite") };
    assert_eq!(pointers(create(&fixture, "tier", map).await), ["/tier_map/gold", "/tier_map/member"]);
    assert!(matches!(activate(&fixture, "tier", 9).await, Err(Error::Unknown { what: "release", .. })));
    assert_eq!(refusal(rollback(&fixture, "tier").await).code(), "nothing-to-roll-back");
    assert_eq!(refusal(rollback(&fixture, "score").await).code(), "slot-empty");
}

#[tokio::test]
async fn another_slot_takes_the_kind_of_its_first_release() {
    let fixture = Fixture::model(5).await;
    create(&fixture, "coupon.vip", release_of("coupon-standard")).await.expect("is made");
    let other = refusal(create(&fixture, "coupon.vip", release_of("earning-standard")).await);
    assert_eq!(other.code(), "wrong-kind");
    activate(&fixture, "coupon.vip", 1).await.expect("goes live");
    assert_eq!(live(&fixture, "coupon.vip", Kind::CouponPolicy), 1);
}

#[tokio::test]
async fn an_activation_is_visible_at_once_and_can_be_taken_back() {
    let fixture = Fixture::model(6).await;
    let services = &fixture.services;
    create(&fixture, "tier", composite()).await.expect("is made");
    let once = fixture.once();
    let done = services.activate(fixture.operator, once.clone(), "tier", 2).await.expect("goes live");
    assert_eq!((done.value.number, done.value.previous), (2, Some(1)));
    let subject = TierSubject { as_of: services.clock.now(), facts: Facts::of(Scope::Subject) };
    let slot = services.engine.slot("tier", Kind::TierRule).expect("a slot");
    let answered = slot.tier(std::slice::from_ref(&subject)).await;
    assert_eq!(answered.release.number, 2);

    let back = rollback(&fixture, "tier").await.expect("goes back");
    assert_eq!((back.number, back.previous), (1, Some(2)));
    assert_eq!(slot.tier(&[subject]).await.release.number, 1);
    let replayed = services.activate(fixture.operator, once, "tier", 2).await.expect("replays");
    assert!(replayed.replayed && live(&fixture, "tier", Kind::TierRule) == 1, "a replay moves nothing");
    let same = activate(&fixture, "tier", 1).await.expect("changes nothing");
    assert_eq!(same, back);
    let forth = rollback(&fixture, "tier").await.expect("takes the rollback back");
    assert_eq!((forth.number, forth.previous), (2, Some(1)));
}

#[tokio::test]
async fn a_tier_rule_maps_every_code_that_members_may_hold() {
    let fixture = Fixture::model(7).await;
    let careless = create(&fixture, "tier", release_of("tier-composite")).await.expect("is made");
    let refused = refusal(activate(&fixture, "tier", careless.number).await);
    assert_eq!(refused.code(), "tier-codes-unmapped");
    assert!(refused.to_string().contains("tier#2") && refused.to_string().contains("bronze, member"), "{refused}");
    assert_eq!(live(&fixture, "tier", Kind::TierRule), 1);

    let careful = create(&fixture, "tier", composite()).await.expect("is made");
    let active = activate(&fixture, "tier", careful.number).await.expect("goes live");
    assert_eq!(active.tier_map, composite().tier_map, "silver and gold are its own");
    assert_eq!(fixture.services.tier_policies.of(3).map, active.tier_map);

    let back = rollback(&fixture, "tier").await.expect("going back is always possible");
    let worth = [("regular", "bronze"), ("diamond", "gold")];
    assert_eq!(back.tier_map, worth.map(|(old, new)| (old.to_owned(), new.to_owned())).into());
    let spend = create(&fixture, "tier", release_of("tier-spend")).await.expect("is made");
    let refused = refusal(activate(&fixture, "tier", spend.number).await).to_string();
    assert!(refused.contains("diamond, regular"), "what was given meanwhile stays in members' hands: {refused}");
}

#[tokio::test]
async fn a_policy_must_understand_the_live_offers() {
    let fixture = Fixture::model(8).await;
    let services = &fixture.services;
    let defined = services.define_offer(fixture.operator, fixture.once(), offer("old", OfferClass::Coupon)).await;
    let mut odd = defined.expect("is defined").value;
    odd.terms.push(("colour".to_owned(), Value::Text("red".to_owned())));
    let (id, row) = (odd.id, odd.clone());
    let put = services.store.run(services.clock.now(), move |tx| Ok::<_, Error>(tx.put(&OFFERS, &row.id, &row)?));
    put.await.expect("as an earlier policy left it");
    create(&fixture, "coupon", release_of("coupon-standard")).await.expect("is made");
    let refused = refusal(activate(&fixture, "coupon", 2).await);
    assert_eq!(refused.code(), "offer-terms-unknown");
    assert!(refused.to_string().contains(&format!("offer old ({id}) has the term `colour`")), "{refused}");
    assert_eq!(live(&fixture, "coupon", Kind::CouponPolicy), 1);

    services.pause_offer(fixture.operator, fixture.once(), id).await.expect("is paused");
    activate(&fixture, "coupon", 2).await.expect("paused offers are not judged");
    let resumed = services.resume_offer(fixture.operator, fixture.once(), id).await;
    assert_eq!(refusal(resumed).code(), "offer-terms-unknown");
}

#[tokio::test]
async fn a_release_can_fall_back_to_the_one_before() {
    let fixture = Fixture::model(9).await;
    let new = NewRelease { fallback: Fallback::PreviousRelease, ..release_of("coupon-standard") };
    let made = create(&fixture, "coupon", new.clone()).await.expect("is made");
    assert_eq!(made.previous, Some(1));
    activate(&fixture, "coupon", 2).await.expect("goes live");
    let lonely = create(&fixture, "coupon.vip", new).await;
    assert_eq!(refusal(lonely).code(), "release-refused");
}

#[tokio::test]
async fn what_was_live_is_live_after_a_restart() {
    let fixture = Fixture::sled().await;
    create(&fixture, "tier", composite()).await.expect("is made");
    activate(&fixture, "tier", 2).await.expect("goes live");
    create(&fixture, "tier", NewRelease { fallback: Fallback::PreviousRelease, ..release_of("tier-composite") })
        .await
        .expect("is made, and stays on the shelf");
    let before = fixture.services.slots().await.expect("slots");
    let fixture = fixture.restart().await;
    let after = fixture.services.slots().await.expect("slots");
    let rows = |slots: &[SlotView]| slots.iter().map(|slot| (slot.active.clone(), slot.latest)).collect::<Vec<_>>();
    assert_eq!(rows(&after), rows(&before));
    assert_eq!(live(&fixture, "tier", Kind::TierRule), 2);
    assert_eq!(fixture.services.tier_policies.of(2).map, composite().tier_map);
    rollback(&fixture, "tier").await.expect("the one before is made ready again");
    assert_eq!(live(&fixture, "tier", Kind::TierRule), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_store_and_engine_alike() {
    let fixture = Fixture::sled().await;
    create(&fixture, "tier", composite()).await.expect("is made");
    let services = fixture.services.clone();
    {
        let mut leaving = Box::pin(services.activate(fixture.operator, fixture.once(), "tier", 2));
        while services.shelf.turn.try_lock().is_ok() {
            assert!(futures::poll!(&mut leaving).is_pending());
            tokio::task::yield_now().await;
        }
    }
    // The turn is free again only after the engine has followed.
    let _turn = services.shelf.turn.lock().await;
    let slots = services.slots().await.expect("slots");
    let active = slots.iter().find(|slot| slot.name == "tier").map(|slot| slot.active.number);
    assert_eq!((active, live(&fixture, "tier", Kind::TierRule)), (Some(2), 2));
}

#[tokio::test]
async fn swaps_under_way_name_one_release_each_and_free_the_old_ones() {
    let fixture = Fixture::model(10).await;
    let made = create(&fixture, "tier", release_of("tier-spend")).await.expect("is made");
    let slot = fixture.services.engine.slot("tier", Kind::TierRule).expect("a slot");
    let subject = TierSubject { as_of: fixture.services.clock.now(), facts: Facts::of(Scope::Subject) };
    for _ in 0..20 {
        let (swapped, answered) = tokio::join!(
            async {
                let number = if live(&fixture, "tier", Kind::TierRule) == 1 { made.number } else { 1 };
                activate(&fixture, "tier", number).await
            },
            slot.tier(std::slice::from_ref(&subject)),
        );
        assert_eq!(swapped.expect("swaps").number, live(&fixture, "tier", Kind::TierRule));
        assert!(answered.fault().is_none() && [1, made.number].contains(&answered.release.number));
    }
    assert_eq!(slot.stats().len(), 2, "the same two releases, never prepared again");
}

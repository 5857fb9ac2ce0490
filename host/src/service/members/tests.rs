use jiff::civil::date;

use super::*;
use crate::{events::EVENTS, service::fixture::Fixture, store::Store};

fn wang() -> Profile {
    Profile {
        name: Some("王小明".to_owned()),
        phone: Some("+8613800138000".to_owned()),
        email: Some("wang@example.com".to_owned()),
        birthday: Some(date(1990, 5, 17)),
    }
}

fn external(text: &str) -> Option<ExternalId> {
    Some(text.parse().expect("an external id"))
}

async fn join(fixture: &Fixture, external_id: Option<ExternalId>) -> Member {
    let new = NewMember { external_id, profile: wang(), ..NewMember::default() };
    fixture.services.create_member(fixture.shop, fixture.once(), new).await.expect("joins").value
}

async fn happened(store: &Store, member: MemberId) -> Vec<What> {
    let read = store.read(move |tx| {
        let rows = tx.scan(&EVENTS, &Scan::prefix(&events::shard(member)))?;
        let mine = rows.into_iter().map(|(_, event)| event).filter(|event| event.member == member);
        Ok::<_, StoreError>(mine.map(|event| event.what).collect())
    });
    read.await.expect("reads")
}

#[tokio::test]
async fn a_member_joins_in_the_lowest_tier_with_a_sealed_profile() {
    let fixture = Fixture::model(1).await;
    let (services, once) = (&fixture.services, fixture.once());
    let new = NewMember { external_id: external("c-1"), profile: wang(), ..NewMember::default() };
    let done = services.create_member(fixture.shop, once.clone(), new.clone()).await.expect("joins");
    let member = done.value;
    assert!(!done.replayed);
    assert_eq!((&*member.tier.code, member.tier.release, member.tier.cause), ("member", 1, TierCause::Registered));
    assert_eq!(member.revision, Revision::FIRST);

    let again = services.create_member(fixture.shop, once, new).await.expect("replays");
    assert_eq!((again.value, again.replayed), (member.clone(), true));
    assert_eq!(services.member(fixture.shop, member.id).await.expect("is there"), member);
    assert_eq!(services.member_by_external_id(fixture.shop, "c-1").await.expect("is there"), member);
    assert!(services.member_profile(fixture.shop, member.id).await.expect("opens") == wang());
    assert_eq!(happened(&services.store, member.id).await, [What::Registered]);
}

#[tokio::test]
async fn an_external_id_is_taken_once_per_partner() {
    let fixture = Fixture::model(2).await;
    let member = join(&fixture, external("c-1")).await;
    let new = || NewMember { external_id: external("c-1"), profile: Profile::default(), ..NewMember::default() };
    let refused = fixture.services.create_member(fixture.shop, fixture.once(), new()).await.expect_err("is taken");
    assert_eq!(refused.to_string(), format!("member c-1 exists already, as {}", member.id));
    assert_eq!(refused.code(), "already-exists");
    let other = fixture.services.create_member(fixture.operator, fixture.once(), new()).await.expect("joins");
    assert_ne!(other.value.id, member.id);
}

#[tokio::test]
async fn every_wrong_field_is_named_and_none_is_repeated() {
    let fixture = Fixture::model(3).await;
    let profile = Profile {
        name: Some("x".repeat(65)),
        phone: Some("138-0013-8000".to_owned()),
        email: Some("wang".to_owned()),
        birthday: Some(date(2026, 3, 2)),
    };
    let new = NewMember { external_id: None, profile, ..NewMember::default() };
    let refused = fixture.services.create_member(fixture.shop, fixture.once(), new).await.expect_err("is wrong");
    let text = refused.to_string();
    for pointer in ["/profile/name", "/profile/phone", "/profile/email", "/profile/birthday"] {
        assert!(text.contains(pointer), "{text}");
    }
    assert!(!text.contains("138-0013-8000") && !text.contains(&"x".repeat(65)), "{text}");
}

#[tokio::test]
async fn a_change_keeps_what_is_absent_and_clears_what_is_null() {
    let fixture = Fixture::model(4).await;
    let (services, member) = (&fixture.services, join(&fixture, None).await);
    let change =
        ProfileChange { name: Change::Set("王大明".to_owned()), email: Change::Clear, ..ProfileChange::default() };
    let changed =
        services.update_member(fixture.shop, fixture.once(), member.id, Some(member.revision), change.clone());
    let changed = changed.await.expect("changes").value;
    assert_eq!(changed.revision, member.revision.next());
    let expected = Profile { name: Some("王大明".to_owned()), email: None, ..wang() };
    assert!(services.member_profile(fixture.shop, member.id).await.expect("opens") == expected);

    let stale = services.update_member(fixture.shop, fixture.once(), member.id, Some(member.revision), change).await;
    assert!(matches!(stale, Err(Error::Stale { current }) if current == changed.revision));
    let wrong = ProfileChange { phone: Change::Set("1".to_owned()), ..ProfileChange::default() };
    let wrong = services.update_member(fixture.shop, fixture.once(), member.id, None, wrong).await;
    assert!(matches!(wrong, Err(Error::Invalid(fields)) if fields[0].pointer == "/profile/phone"));
    assert_eq!(happened(&services.store, member.id).await, [What::Registered, What::Updated]);
}

#[tokio::test]
async fn an_erased_member_is_gone_but_for_the_pseudonym() {
    let fixture = Fixture::model(5).await;
    let (services, member) = (&fixture.services, join(&fixture, external("c-1")).await);
    let once = fixture.once();
    let erased = services.erase_member(fixture.shop, once.clone(), member.id).await.expect("is erased");
    assert_eq!((erased.value.state, &erased.value.external_id), (MemberState::Erased, &None));
    for once in [once, fixture.once()] {
        let again = services.erase_member(fixture.shop, once, member.id).await.expect("again");
        assert_eq!(again.value, erased.value);
    }
    let change = || ProfileChange { name: Change::Clear, ..ProfileChange::default() };
    assert!(matches!(services.member(fixture.shop, member.id).await, Err(Error::Erased)));
    assert!(matches!(services.member_profile(fixture.shop, member.id).await, Err(Error::Erased)));
    let changed = services.update_member(fixture.shop, fixture.once(), member.id, None, change()).await;
    assert!(matches!(changed, Err(Error::Erased)));
    assert!(matches!(services.member_by_external_id(fixture.shop, "c-1").await, Err(Error::Unknown { .. })));
    assert_eq!(happened(&services.store, member.id).await, [What::Registered, What::Erased]);
    let opened = services.vault.open(member.id, KeyClass::Profile, b"", b"");
    assert!(matches!(opened, Err(VaultError::Erased)), "the key itself is destroyed");
    let next = join(&fixture, external("c-1")).await;
    assert_ne!(next.id, member.id, "the external id is free again");
}

#[tokio::test]
async fn an_erasure_that_was_cut_short_is_finished_by_a_retry() {
    let fixture = Fixture::model(6).await;
    let (services, member) = (&fixture.services, join(&fixture, None).await);
    services.vault.destroy(member.id, KeyClass::Profile, services.clock.now()).expect("is destroyed");
    assert!(matches!(services.member_profile(fixture.shop, member.id).await, Err(Error::Erased)));
    let erased = services.erase_member(fixture.shop, fixture.once(), member.id).await.expect("is erased");
    assert_eq!(erased.value.state, MemberState::Erased);
}

#[tokio::test]
async fn partners_see_their_own_members_alone() {
    let fixture = Fixture::model(7).await;
    let services = &fixture.services;
    let mine = join(&fixture, external("c-1")).await;
    let other = Caller { partner: PartnerId::from_bits(99), ..fixture.shop };
    let new = NewMember { external_id: external("c-2"), profile: Profile::default(), ..NewMember::default() };
    let theirs = services.create_member(other, fixture.once(), new).await.expect("joins").value;
    assert!(matches!(services.member(fixture.shop, theirs.id).await, Err(Error::Unknown { what: "member", .. })));
    let erased = services.erase_member(fixture.shop, fixture.once(), theirs.id).await;
    assert!(matches!(erased, Err(Error::Unknown { .. })));
    assert!(services.member_profile(other, theirs.id).await.is_ok(), "its key was not touched");
    let listed = services.list_members(fixture.shop, PageRequest::default()).await.expect("a page").rows;
    assert_eq!(listed, [mine]);
    let mut page = PageRequest { after: None, limit: Some(1) };
    let first = services.list_members(fixture.operator, page.clone()).await.expect("a page");
    page.after = first.next.clone();
    let second = services.list_members(fixture.operator, page).await.expect("a page");
    assert_eq!((first.rows.len(), second.rows.len(), second.next), (1, 1, None));
}

#[tokio::test]
async fn a_key_used_for_another_request_is_refused() {
    let fixture = Fixture::model(8).await;
    let (once, new) = (fixture.once(), || NewMember { external_id: None, profile: wang(), ..NewMember::default() });
    fixture.services.create_member(fixture.shop, once.clone(), new()).await.expect("joins");
    let other = Idempotency { fingerprint: [1; 32], ..once };
    assert!(matches!(fixture.services.create_member(fixture.shop, other, new()).await, Err(Error::KeyReused)));
}

#[tokio::test]
async fn without_a_tier_rule_nobody_joins() {
    let fixture = Fixture::without_rules(9);
    let refused = fixture.services.create_member(fixture.shop, fixture.once(), NewMember::default()).await;
    assert_eq!(refused.expect_err("is refused").code(), "slot-empty");
}

#[tokio::test]
async fn no_file_on_disk_holds_personal_data() {
    let fixture = Fixture::sled().await;
    let member = join(&fixture, external("c-1")).await;
    let change = ProfileChange { birthday: Change::Clear, ..ProfileChange::default() };
    let changed = fixture.services.update_member(fixture.shop, fixture.once(), member.id, None, change).await;
    changed.expect("changes");
    let fixture = fixture.restart().await;
    let profile = fixture.services.member_profile(fixture.shop, member.id).await.expect("opens");
    assert!(profile == Profile { birthday: None, ..wang() });
    let needles = ["王小明", "13800138000", "wang@example.com", "1990-05-17"];
    fixture.each_file(|path, bytes| {
        for needle in needles {
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!found, "{} holds {needle}", path.display());
        }
    });
}

use super::*;
use crate::{
    events::EVENTS,
    ids::PartnerId,
    scheduler::TIMERS,
    service::{
        fixture::{Fixture, offer},
        members::NewMember,
        offers::NewOffer,
    },
};

const DAY: SignedDuration = SignedDuration::from_hours(24);

async fn join(fixture: &Fixture) -> MemberId {
    let new = fixture.services.create_member(fixture.shop, fixture.once(), NewMember::default());
    new.await.expect("joins").value.id
}

async fn define(fixture: &Fixture, new: NewOffer) -> Offer {
    fixture.services.define_offer(fixture.operator, fixture.once(), new).await.expect("is defined").value
}

async fn issue_to(fixture: &Fixture, offer: OfferId, member: MemberId) -> Result<Coupon, Error> {
    let issue = IssueCoupon { offer, member, external_id: None };
    Ok(fixture.services.issue_coupon(fixture.shop, fixture.once(), issue).await?.value)
}

#[tokio::test]
async fn an_issued_coupon_is_in_hand() {
    let fixture = Fixture::model(1).await;
    let (services, member) = (&fixture.services, join(&fixture).await);
    let welcome =
        define(&fixture, NewOffer { validity: Validity::Days(30), ..offer("welcome", OfferClass::Coupon) }).await;
    let issue = || IssueCoupon { offer: welcome.id, member, external_id: Some("k-1".parse().expect("an id")) };
    let once = fixture.once();
    let done = services.issue_coupon(fixture.shop, once.clone(), issue()).await.expect("is issued");
    let coupon = done.value;
    assert_eq!((coupon.state, coupon.partner), (CouponState::Issued, fixture.shop.partner));
    let dies = services.clock.now().checked_add(DAY * 30).expect("a time");
    assert_eq!(coupon.expires_at, Some(dies));
    let again = services.issue_coupon(fixture.shop, once, issue()).await.expect("replays");
    assert_eq!((again.value, again.replayed), (coupon.clone(), true));

    let (id, shard) = (coupon.id, events::shard(member));
    let read = services.store.read(move |tx| {
        let timer = tx.get(&TIMERS, &TimerKey::new(dies, TimerKind::ExpireCoupon, id))?;
        Ok::<_, Error>((timer.is_some(), tx.scan(&EVENTS, &Scan::prefix(&shard))?))
    });
    let (timer, events) = read.await.expect("reads");
    assert!(timer && events.last().is_some_and(|(_, event)| event.what == What::CouponIssued(id)));
    let revision = services.member(fixture.shop, member).await.expect("is there").revision;
    assert_eq!(revision.get(), 2, "every write to a member moves it");

    assert_eq!(services.coupon(fixture.shop, id).await.expect("is there"), coupon);
    assert_eq!(services.coupon_by_external_id(fixture.shop, "k-1").await.expect("is there"), coupon);
    let taken = services.issue_coupon(fixture.shop, fixture.once(), issue()).await.expect_err("is taken");
    assert_eq!(taken.to_string(), format!("coupon k-1 exists already, as {id}"));
}

#[tokio::test]
async fn what_cannot_be_issued_says_why() {
    let fixture = Fixture::model(2).await;
    let (member, now) = (join(&fixture).await, fixture.services.clock.now());
    let refused = async |offer: OfferId| match issue_to(&fixture, offer, member).await {
        Err(Error::NotIssuable { why, .. }) => why.into_owned(),
        other => panic!("{other:?}"),
    };
    let promotion = define(&fixture, offer("promotion", OfferClass::Promotion)).await;
    assert_eq!(refused(promotion.id).await, "it applies without a coupon");
    let tomorrow = now.checked_add(DAY).expect("a time");
    let later = define(&fixture, NewOffer { starts_at: Some(tomorrow), ..offer("later", OfferClass::Coupon) }).await;
    assert_eq!(refused(later.id).await, "it has not begun");
    let today = define(&fixture, NewOffer { ends_at: Some(tomorrow), ..offer("today", OfferClass::Coupon) }).await;
    let once = define(&fixture, NewOffer { per_member: Some(1), ..offer("once", OfferClass::Coupon) }).await;
    issue_to(&fixture, once.id, member).await.expect("the first one");
    assert_eq!(refused(once.id).await, "the member was issued as many as one member may have");
    let other = join(&fixture).await;
    issue_to(&fixture, once.id, other).await.expect("another member has their own share");
    fixture.services.pause_offer(fixture.operator, fixture.once(), once.id).await.expect("is paused");
    assert_eq!(refused(once.id).await, "it is paused");
    fixture.wait(DAY);
    assert_eq!(refused(today.id).await, "it has ended");
    issue_to(&fixture, later.id, member).await.expect("has begun");
    let unknown = issue_to(&fixture, OfferId::from_bits(9), member).await;
    assert!(matches!(unknown, Err(Error::Unknown { what: "offer", .. })));
    let unknown = issue_to(&fixture, later.id, MemberId::from_bits(9)).await;
    assert!(matches!(unknown, Err(Error::Unknown { what: "member", .. })));
}

#[tokio::test]
async fn a_coupon_dies_no_later_than_its_offer() {
    let fixture = Fixture::model(3).await;
    let (member, now) = (join(&fixture).await, fixture.services.clock.now());
    let ends_at = now.checked_add(DAY * 5).ok();
    for (code, validity, ends_at, expected) in [
        ("a", Validity::OfferEnd, None, None),
        ("b", Validity::OfferEnd, ends_at, ends_at),
        ("c", Validity::Days(30), ends_at, ends_at),
        ("d", Validity::Days(2), ends_at, now.checked_add(DAY * 2).ok()),
    ] {
        let offer = define(&fixture, NewOffer { validity, ends_at, ..offer(code, OfferClass::Coupon) }).await;
        assert_eq!(issue_to(&fixture, offer.id, member).await.expect("is issued").expires_at, expected, "{code}");
    }
}

#[tokio::test]
async fn coupons_are_listed_and_seen_by_those_concerned() {
    let fixture = Fixture::model(4).await;
    let (services, member) = (&fixture.services, join(&fixture).await);
    let offer = define(&fixture, offer("welcome", OfferClass::Coupon)).await;
    let mut issued = Vec::new();
    for _ in 0..3 {
        issued.push(issue_to(&fixture, offer.id, member).await.expect("is issued"));
        fixture.wait(SignedDuration::from_secs(1));
    }
    for in_hand in [true, false] {
        let page = PageRequest { after: None, limit: Some(2) };
        let first = services.coupons_of(fixture.shop, member, in_hand, page.clone()).await.expect("a page");
        assert_eq!(first.rows, issued[..2]);
        let last = services.coupons_of(fixture.shop, member, in_hand, PageRequest { after: first.next, ..page }).await;
        assert_eq!(last.expect("a page").rows, issued[2..]);
    }
    let other = Caller { partner: PartnerId::from_bits(99), ..fixture.shop };
    assert!(matches!(services.coupon(other, issued[0].id).await, Err(Error::Unknown { what: "coupon", .. })));
    let listed = services.coupons_of(other, member, true, PageRequest::default()).await;
    assert!(matches!(listed, Err(Error::Unknown { what: "member", .. })));
    let by_operator = IssueCoupon { offer: offer.id, member, external_id: None };
    let by_operator =
        services.issue_coupon(fixture.operator, fixture.once(), by_operator).await.expect("is issued").value;
    assert_eq!(services.coupon(fixture.shop, by_operator.id).await.expect("its member holds it"), by_operator);

    services.erase_member(fixture.shop, fixture.once(), member).await.expect("is erased");
    assert!(matches!(issue_to(&fixture, offer.id, member).await, Err(Error::Erased)));
    let listed = services.coupons_of(fixture.shop, member, true, PageRequest::default()).await;
    assert!(matches!(listed, Err(Error::Erased)));
}

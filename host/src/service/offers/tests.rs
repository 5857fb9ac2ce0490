use serde_json::json;

use super::*;
use crate::{
    ids::Id as _,
    service::{
        fixture::{Fixture, offer},
        tables::AUTOMATIC_OFFERS,
    },
};

async fn define(fixture: &Fixture, new: NewOffer) -> Result<Offer, Error> {
    Ok(fixture.services.define_offer(fixture.operator, fixture.once(), new).await?.value)
}

async fn listed(fixture: &Fixture) -> Vec<OfferId> {
    let read = fixture.services.store.read(|tx| {
        let rows = tx.scan(&AUTOMATIC_OFFERS, &Scan::all().limit(AUTOMATIC_MAX))?;
        Ok::<_, Error>(rows.into_iter().map(|(id, ())| id).collect())
    });
    read.await.expect("reads")
}

fn pointers(refused: Result<Offer, Error>) -> Vec<String> {
    match refused {
        Err(Error::Invalid(fields)) => fields.into_iter().map(|field| field.pointer).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_offer_is_defined_in_the_words_of_the_policy() {
    let fixture = Fixture::model(1).await;
    let terms = json!({"type": "amount", "amount": {"minor": 2_000, "currency": "CNY"}, "threshold": 19_900});
    let new = NewOffer { terms: terms.as_object().expect("an object").clone(), ..offer("199-20", OfferClass::Coupon) };
    let once = fixture.once();
    let done = fixture.services.define_offer(fixture.operator, once.clone(), new.clone()).await.expect("is defined");
    let defined = done.value;
    let value = |name: &str| defined.terms.iter().find(|(term, _)| term == name).map(|(_, value)| value.clone());
    assert_eq!(value("amount"), Some(Value::Integer(2_000)));
    assert_eq!(value("threshold"), Some(Value::Integer(19_900)));
    assert_eq!((value("type"), defined.terms.len()), (Some(Value::Text("amount".to_owned())), 3));
    assert_eq!(defined.funders, [FunderShare { funder: Funder::Platform, share: BasisPoints::ONE }]);
    assert_eq!((defined.starts_at, defined.state), (fixture.services.clock.now(), OfferState::Live));

    let again = fixture.services.define_offer(fixture.operator, once, new).await.expect("replays");
    assert_eq!((again.value, again.replayed), (defined.clone(), true));
    assert_eq!(fixture.services.offer(defined.id).await.expect("is there"), defined);
    assert_eq!(fixture.services.offer_by_code("199-20").await.expect("is there"), defined);
    assert_eq!(fixture.services.list_offers(PageRequest::default()).await.expect("a page").rows, [defined]);
}

#[tokio::test]
async fn a_code_is_taken_once() {
    let fixture = Fixture::model(2).await;
    let first = define(&fixture, offer("welcome", OfferClass::Coupon)).await.expect("is defined");
    let refused = define(&fixture, offer("welcome", OfferClass::Promotion)).await.expect_err("is taken");
    assert_eq!(refused.to_string(), format!("offer welcome exists already, as {}", first.id));
    assert!(listed(&fixture).await.is_empty(), "nothing is half written");
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let fixture = Fixture::model(3).await;
    let known = fixture.services.engine.slots().len();
    let now = fixture.services.clock.now();
    let share = |funder, share| FunderShare { funder, share: BasisPoints::new(share) };
    let wrong = NewOffer {
        name_zh_cn: String::new(),
        name_en: "x".repeat(65),
        slot: Some("no such slot".to_owned()),
        funders: vec![share(Funder::Brand, 5_000), share(Funder::Brand, 4_000)],
        budget_uses: Some(0),
        budget_amount: Some(Money::new(-1)),
        per_member: Some(1),
        validity: Validity::Days(0),
        ends_at: Some(now),
        ..offer("wrong", OfferClass::Promotion)
    };
    let expected = [
        "/name_zh_cn",
        "/name_en",
        "/slot",
        "/funders",
        "/funders/1/funder",
        "/budget_uses",
        "/budget_amount",
        "/per_member",
        "/validity/days",
        "/ends_at",
    ];
    assert_eq!(pointers(define(&fixture, wrong).await), expected);
    let elsewhere = NewOffer { slot: Some("coupon.other".to_owned()), ..offer("elsewhere", OfferClass::Coupon) };
    assert_eq!(pointers(define(&fixture, elsewhere).await), ["/slot"]);
    assert_eq!(fixture.services.engine.slots().len(), known, "asking makes no slot");
}

#[tokio::test]
async fn the_policy_checks_the_terms() {
    let fixture = Fixture::model(4).await;
    for (terms, expected) in [
        (json!({"type": "amount", "amount": 100, "colour": "red"}), "/terms/colour"),
        (json!({"type": "amount", "amount": "much"}), "/terms/amount"),
        (json!({"type": "amount", "amount": {"minor": 100, "currency": "EUR"}}), "/terms/amount"),
        (json!({"type": "gift"}), "/terms/type"),
        (json!({"type": "percent"}), "/terms/percent"),
        (json!({"type": "percent", "percent": 10_001}), "/terms/percent"),
    ] {
        let new = NewOffer { terms: terms.as_object().expect("an object").clone(), ..offer("x", OfferClass::Coupon) };
        assert_eq!(pointers(define(&fixture, new).await), [expected], "{terms}");
    }
}

#[tokio::test]
async fn budgets_are_counters() {
    let fixture = Fixture::model(5).await;
    let new = NewOffer {
        budget_uses: Some(500),
        budget_amount: Some(Money::new(1_000_000)),
        ..offer("budget", OfferClass::Coupon)
    };
    let id = define(&fixture, new).await.expect("is defined").id;
    let read = fixture.services.store.read(move |tx| {
        let uses = counters::left(tx, CounterKey::OfferUses(id))?;
        Ok::<_, Error>((uses, counters::left(tx, CounterKey::OfferAmount(id))?))
    });
    assert_eq!(read.await.expect("reads"), (500, 1_000_000));
}

#[tokio::test]
async fn paused_offers_apply_to_nobody_until_resumed() {
    let fixture = Fixture::model(6).await;
    let services = &fixture.services;
    let live = define(&fixture, offer("member-day", OfferClass::Promotion)).await.expect("is defined");
    define(&fixture, offer("welcome", OfferClass::Coupon)).await.expect("is defined");
    assert_eq!(listed(&fixture).await, [live.id]);
    let pause = |once| services.pause_offer(fixture.operator, once, live.id);
    let paused = pause(fixture.once()).await.expect("is paused").value;
    assert_eq!((paused.state, paused.revision), (OfferState::Paused, live.revision.next()));
    assert_eq!(pause(fixture.once()).await.expect("again").value, paused);
    assert!(listed(&fixture).await.is_empty());
    let resume = |once| services.resume_offer(fixture.operator, once, live.id);
    let resumed = resume(fixture.once()).await.expect("is resumed").value;
    assert_eq!((resumed.state, resumed.revision), (OfferState::Live, paused.revision.next()));
    assert_eq!(resume(fixture.once()).await.expect("again").value, resumed);
    assert_eq!(listed(&fixture).await, [live.id]);
    let unknown = services.pause_offer(fixture.operator, fixture.once(), OfferId::from_bits(9)).await;
    assert!(matches!(unknown, Err(Error::Unknown { what: "offer", .. })));
}

#[tokio::test]
async fn an_offer_that_ended_is_not_resumed() {
    let fixture = Fixture::model(7).await;
    let day = jiff::SignedDuration::from_hours(24);
    let ends_at = fixture.services.clock.now().checked_add(day).expect("a time");
    let new = NewOffer { ends_at: Some(ends_at), ..offer("today", OfferClass::Promotion) };
    let id = define(&fixture, new).await.expect("is defined").id;
    fixture.services.pause_offer(fixture.operator, fixture.once(), id).await.expect("is paused");
    fixture.wait(day);
    let refused = fixture.services.resume_offer(fixture.operator, fixture.once(), id).await.expect_err("has ended");
    assert_eq!(refused.to_string(), format!("offer {id} cannot be issued: it has ended"));
}

#[tokio::test]
async fn a_quote_never_has_to_consider_more_than_the_limit() {
    let fixture = Fixture::model(8).await;
    let day = jiff::SignedDuration::from_hours(24);
    let now = fixture.services.clock.now();
    let ends_at = Some(now.checked_add(day).expect("a time"));
    let like =
        define(&fixture, NewOffer { ends_at, ..offer("first", OfferClass::Promotion) }).await.expect("is defined");
    let fill = fixture.services.store.run(now, move |tx| {
        for bits in 1..AUTOMATIC_MAX as u128 {
            let id = OfferId::from_bits(bits);
            tx.put(&OFFERS, &id, &Offer { id, ..like.clone() })?;
            tx.put(&AUTOMATIC_OFFERS, &id, &())?;
        }
        Ok::<_, Error>(())
    });
    fill.await.expect("fills");
    let refused = define(&fixture, offer("one-more", OfferClass::Delivery)).await;
    assert_eq!(pointers(refused), ["/class"]);
    define(&fixture, offer("a-coupon", OfferClass::Coupon)).await.expect("coupons are not counted");
    fixture.wait(day);
    let after = define(&fixture, offer("one-more", OfferClass::Delivery)).await.expect("the others have ended");
    assert_eq!(listed(&fixture).await, [after.id]);
}

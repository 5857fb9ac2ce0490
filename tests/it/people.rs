//! Who brings whom, and what people run out of, over HTTP, by the rule each shows.

use std::collections::BTreeMap;

use galenic::{service::tables::SUPPLIES, store::Scan};
use jiff::SignedDuration;
use serde_json::{Value as Json, json};

use crate::app::{TestApp, cny, text};

/// Moves the clock to an instant.
async fn at(app: &TestApp, instant: &str) {
    app.operator.put("/ops/v1/clock", json!({"now": instant})).await.expect(200);
}

/// How many coupons a member was issued of an offer.
async fn issued(app: &TestApp, member: &str, offer: &str) -> usize {
    let page = app.shop.get(&format!("/v1/members/{member}/coupons?in_hand=false")).await.expect(200);
    page["items"].as_array().expect("items").iter().filter(|coupon| coupon["offer"] == offer).count()
}

/// An offer whose coupons an event issues; its id.
async fn on_event(app: &TestApp, event: &str) -> String {
    let offer = json!({
        "code": event, "name_zh_cn": event, "name_en": event, "class": "coupon", "valid_days": 30,
        "terms": {"type": "amount", "amount": 100}, "issued_on": "event", "event": event,
    });
    text(&app.operator.post("/ops/v1/offers", offer).await.expect(201)["id"])
}

async fn change(app: &TestApp, member: &str, change: Json) -> crate::app::Reply {
    let request = app.shop.request(reqwest::Method::PATCH, &format!("/v1/members/{member}")).json(&change);
    app.shop.send(request).await
}

/// A verified phone never seen before; its keyed hash survives erasure.
#[tokio::test]
async fn r8_a_referral_succeeds_with_a_phone_never_seen_before() {
    let app = TestApp::start().await;
    let (thanks, welcome) = (on_event(&app, "referral-succeeded").await, on_event(&app, "referred").await);
    let by = app.member("referrer").await;
    let join = async |name: &str, phone: &str, verified: bool| {
        let body = json!({
            "external_id": name, "profile": {"phone": phone}, "phone_verified": verified, "referred_by": by,
        });
        text(&app.shop.post("/v1/members", body).await.expect(201)["id"])
    };
    let state = async |member: &str| {
        let of = app.shop.get(&format!("/v1/members/{by}/referrals")).await.expect(200);
        let of = of["items"].as_array().expect("items").iter().find(|referral| referral["member"] == member).cloned();
        text(&of.expect("listed")["state"])
    };
    let settled = async || app.wait(SignedDuration::from_secs(1)).await;

    let first = join("a", "+8613800138000", false).await;
    settled().await;
    assert_eq!((state(&first).await, issued(&app, &by, &thanks).await), ("waiting".to_owned(), 0));
    change(&app, &first, json!({"phone_verified": true})).await.expect(200);
    settled().await;
    assert_eq!(state(&first).await, "succeeded");
    assert_eq!((issued(&app, &by, &thanks).await, issued(&app, &first, &welcome).await), (1, 1));
    change(&app, &first, json!({"profile": {"phone": "+8613800138009"}, "phone_verified": true})).await.expect(200);
    settled().await;
    assert_eq!(issued(&app, &by, &thanks).await, 1, "one success for each who is referred");

    let same = join("b", "+8613800138000", true).await;
    assert_eq!(state(&same).await, "phone-seen");
    app.shop.delete(&format!("/v1/members/{first}")).await.expect(200);
    let app = app.restart().await;
    let back = json!({
        "external_id": "c", "profile": {"phone": "+8613800138009"}, "phone_verified": true, "referred_by": by,
    });
    let back = text(&app.shop.post("/v1/members", back).await.expect(201)["id"]);
    app.wait(SignedDuration::from_secs(1)).await;
    let of = app.shop.get(&format!("/v1/members/{by}/referrals")).await.expect(200);
    let states = of["items"].as_array().expect("items").iter().map(|one| (text(&one["member"]), text(&one["state"])));
    let states: BTreeMap<String, String> = states.collect();
    assert_eq!(states[&back], "phone-seen", "the hash outlives the member");
    assert_eq!((states.len(), issued(&app, &by, &thanks).await), (3, 1));

    for (body, pointer) in [
        (json!({"phone_verified": true}), "/phone_verified"),
        (json!({"referred_by": "mbr_00000000000000000000000000000001"}), "/referred_by"),
        (json!({"referred_by": first}), "/referred_by"),
    ] {
        let problem = app.shop.post("/v1/members", body).await.refused(422, "invalid-request");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem:#}");
    }
    change(&app, &by, json!({"phone_verified": true})).await.refused(422, "invalid-request");
}

/// 30-day packs delivered on 1 and 20 March run to 30 April: reminded on 27 April, not on 28 March.
#[tokio::test]
async fn r9_refills_are_carried_forward() {
    let app = TestApp::start().await;
    let nudge = on_event(&app, "refill-due").await;
    let member = app.member("m-1").await;
    let product = |name: &str, days: Json| {
        json!({
            "external_id": name, "name": name, "category": "HEART", "class": "otc-b", "list_price": cny(5_000),
            "days_of_supply": days,
        })
    };
    let products = json!({"products": [product("pack", json!(30)), product("sweets", json!(null))]});
    app.shop.post("/v1/products/import", products).await.expect(200);
    let deliver = async |products: &[&str]| {
        let order = app.order(&member, products).await;
        app.pay(&order).await;
        app.step(&order, "shipment").await;
        app.step(&order, "delivery").await
    };
    let refills = async || app.shop.get(&format!("/v1/members/{member}/refills")).await.expect(200)["items"].clone();

    let first = deliver(&["pack", "sweets"]).await;
    let one = refills().await;
    assert_eq!(one.as_array().map(Vec::len), Some(1), "sweets last as long as they last: {one:#}");
    assert_eq!((&one[0]["runs_out"], &one[0]["remind_on"]), (&json!("2026-03-31"), &json!("2026-03-28")));
    at(&app, "2026-03-20T02:00:00Z").await;
    let second = deliver(&["pack"]).await;
    let both = refills().await;
    assert_eq!((&both[0]["runs_out"], &both[0]["remind_on"]), (&json!("2026-04-30"), &json!("2026-04-27")));
    at(&app, "2026-03-29T02:00:00Z").await;
    assert_eq!((issued(&app, &member, &nudge).await, &refills().await[0]["told"]), (0, &json!(false)), "28 March");
    at(&app, "2026-04-27T00:59:59Z").await;
    assert_eq!(issued(&app, &member, &nudge).await, 0);
    at(&app, "2026-04-27T01:00:00Z").await;
    assert_eq!((issued(&app, &member, &nudge).await, &refills().await[0]["told"]), (1, &json!(true)), "27 April");

    // What is left of a faulty pack comes back: the first one is empty since March.
    let refunds = format!("/v1/orders/{}/refunds", text(&second["id"]));
    app.shop.post(&refunds, json!({"cause": "fault"})).await.expect(200);
    assert_eq!(refills().await, json!([]));
    deliver(&["pack"]).await;
    assert_eq!(refills().await[0]["runs_out"], "2026-05-27", "what comes after the end counts from its delivery");
    let refunds = format!("/v1/orders/{}/refunds", text(&first["id"]));
    app.shop.post(&refunds, json!({"cause": "fault"})).await.expect(200);
    assert_eq!(refills().await[0]["runs_out"], "2026-05-27", "what ran out in March is no part of it");
    app.shop.delete(&format!("/v1/members/{member}")).await.expect(200);
    at(&app, "2026-05-30T00:00:00Z").await;
    let supplies = app.services().store.read(|tx| tx.scan(&SUPPLIES, &Scan::all()));
    assert_eq!(supplies.await.expect("reads"), [], "an erased member's medicines are forgotten");
}

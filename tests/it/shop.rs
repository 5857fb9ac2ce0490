//! What a shop does over HTTP, from the first member to the last refund.

use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::{Value as Json, json};

use crate::app::{TestApp, cart, cny, text};

#[tokio::test]
async fn a_member_is_registered_read_changed_and_erased() {
    let app = TestApp::start().await;
    let new = json!({"external_id": "m-1", "profile": {"name": "王芳", "phone": "+8613800138000"}});
    let created = app.shop.post("/v1/members", new).await;
    let etag = created.header("etag").to_owned();
    let location = created.header("location").to_owned();
    let member = created.expect(201);
    let id = text(&member["id"]);
    assert_eq!((location.as_str(), etag.as_str()), (format!("/v1/members/{id}").as_str(), "\"1\""));
    assert_eq!(
        (&member["external_id"], &member["state"], &member["tier"]["cause"]),
        (&json!("m-1"), &json!("active"), &json!("registered"))
    );
    assert!(!member.to_string().contains("王芳"), "the profile stands apart");
    assert_eq!(app.shop.get("/v1/members/by-external-id/m-1").await.expect(200), member);

    let path = format!("/v1/members/{id}");
    let change = json!({"profile": {"phone": null, "email": "fang@example.com"}});
    let patch = app.shop.request(reqwest::Method::PATCH, &path).header("if-match", "\"7\"").json(&change);
    app.shop.send(patch).await.refused(412, "stale-revision");
    let patch = app.shop.request(reqwest::Method::PATCH, &path).header("if-match", etag).json(&change);
    assert_eq!(app.shop.send(patch).await.expect(200)["revision"], 2);
    let profile = app.shop.get(&format!("{path}/profile")).await.expect(200);
    assert_eq!(profile, json!({"name": "王芳", "phone": null, "email": "fang@example.com", "birthday": null}));

    assert_eq!(app.shop.delete(&path).await.expect(200)["state"], "erased");
    app.shop.get(&path).await.refused(410, "member-erased");
    app.shop.get(&format!("{path}/profile")).await.refused(410, "member-erased");
    app.shop.get("/v1/members/by-external-id/m-1").await.refused(404, "not-found");
}

#[tokio::test]
async fn products_are_imported_and_listed_page_by_page() {
    let app = TestApp::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        app.product(name, 100).await;
    }
    let mut path = "/v1/products?limit=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = app.shop.get(&path).await;
        let link = page.header("link").to_owned();
        let json = page.expect(200);
        seen.extend(json["items"].as_array().expect("items").iter().map(|item| text(&item["external_id"])));
        let Some(cursor) = json["next_cursor"].as_str() else {
            assert_eq!(link, "");
            break;
        };
        assert_eq!(link, format!("</v1/products?limit=2&cursor={cursor}>; rel=\"next\""));
        path = format!("/v1/products?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    let product = app.shop.get("/v1/products/by-external-id/c").await.expect(200);
    assert_eq!(product["list_price"], cny(100));
    assert_eq!(app.shop.get(&format!("/v1/products/{}", text(&product["id"]))).await.expect(200), product);
}

#[tokio::test]
async fn an_order_goes_from_quote_to_delivery_and_its_points_become_spendable() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("vitamin-c", 19_900).await;
    let quote = app.quote(&member, &["vitamin-c"]).await;
    assert_eq!(quote["price"]["payable"], cny(19_900));
    assert_eq!(app.shop.get(&format!("/v1/quotes/{}", text(&quote["id"]))).await.expect(200), quote);

    let place = json!({"quote": quote["id"], "external_id": "o-1"});
    let order = app.shop.post("/v1/orders", place).await.expect(201);
    assert_eq!((&order["state"], &order["price"]), (&json!("placed"), &quote["price"]));
    let paid = app.pay(&order).await;
    assert_eq!((&paid["state"], &paid["earning"]["points"]), (&json!("paid"), &json!(199)));
    assert_eq!(app.points(&member).await, [199, 0, 0]);
    let shown = app.shop.get(&format!("/v1/members/{member}")).await.expect(200);
    assert_eq!((&shown["tier"]["code"], &shown["lifetime_net_spend"]), (&json!("bronze"), &cny(19_900)));

    app.step(&order, "shipment").await;
    let delivered = app.step(&order, "delivery").await;
    assert_eq!(delivered["state"], "delivered");
    app.wait(SignedDuration::from_hours(7 * 24)).await;
    assert_eq!(app.points(&member).await, [0, 199, 0]);
    let before = app.shop.get(&format!("/v1/members/{member}/points?at=2026-03-02T00:00:00Z")).await.expect(200);
    assert_eq!(before, json!({"pending": 199, "active": 0, "held": 0, "debt": 0}));
    let entries = app.shop.get(&format!("/v1/members/{member}/points/entries?purse=active")).await.expect(200);
    let entry = &entries["items"][0];
    assert_eq!((&entry["amount"], &entry["balance"], &entry["cause"]), (&json!(199), &json!(199), &json!("activated")));

    assert_eq!(app.shop.get("/v1/orders/by-external-id/o-1").await.expect(200)["id"], order["id"]);
    let orders = app.shop.get(&format!("/v1/members/{member}/orders")).await.expect(200);
    assert_eq!(orders["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn every_offer_that_was_considered_says_what_became_of_it_in_both_languages() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("vitamin-c", 11_000).await;
    let offer = app.offer("199-20", "coupon", json!({"type": "amount", "threshold": 19_900, "amount": 2_000})).await;
    let coupon = app.coupon(&offer, &member).await;
    let quote = app.quote(&member, &["vitamin-c"]).await;
    let outcome = &quote["price"]["offers"][0];
    assert_eq!(
        (&outcome["offer"], &outcome["applied"], &outcome["coupon"]),
        (&json!(offer), &json!(false), &json!(coupon))
    );
    let reason = &outcome["reasons"][0];
    assert_eq!(reason["code"], "below-threshold", "{reason:#}");
    for language in ["zh_cn", "en"] {
        let words = text(&reason["text"][language]);
        assert!(words.contains("¥110.00") && words.contains("¥199.00"), "{language}: {words}");
    }

    app.product("calcium", 9_000).await;
    let quote = app.quote(&member, &["vitamin-c", "calcium"]).await;
    let (price, outcome) = (&quote["price"], &quote["price"]["offers"][0]);
    assert_eq!((&outcome["applied"], &outcome["amount"], &price["payable"]), (&json!(true), &cny(2_000), &cny(18_000)));
    let allocation = &price["lines"][0]["allocations"][0];
    assert_eq!((&allocation["source"], &allocation["amount"]), (&json!("offer"), &cny(1_100)));
    assert_eq!(allocation["funders"], json!([{"funder": "platform", "share_basis_points": 10_000}]));
}

#[tokio::test]
async fn a_refund_pays_back_what_was_paid_and_a_cancellation_gives_back_what_was_held() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("a", 15_000).await;
    app.product("b", 6_000).await;
    let offer = app.offer("199-20", "coupon", json!({"type": "amount", "threshold": 19_900, "amount": 2_000})).await;
    let coupon = app.coupon(&offer, &member).await;

    let order = app.order(&member, &["a", "b"]).await;
    let held = app.shop.get(&format!("/v1/coupons/{coupon}")).await.expect(200);
    assert_eq!((&held["state"], &held["order"]), (&json!("held"), &order["id"]));
    assert_eq!(app.step(&order, "cancellation").await["state"], "cancelled");
    assert_eq!(app.shop.get(&format!("/v1/coupons/{coupon}")).await.expect(200)["state"], "issued");

    let order = app.order(&member, &["a", "b"]).await;
    app.pay(&order).await;
    assert_eq!(app.shop.get(&format!("/v1/coupons/{coupon}")).await.expect(200)["state"], "redeemed");
    let refunds = format!("/v1/orders/{}/refunds", text(&order["id"]));
    let part = json!({"cause": "change-of-mind", "lines": [{"line": 1, "quantity": 1}]});
    let refunded = app.shop.post(&refunds, part.clone()).await.expect(200);
    assert_eq!(refunded["refunds"][0]["amount"], cny(5_429));
    app.shop.post(&refunds, part).await.refused(422, "refund-refused");
    let refunded = app.shop.post(&refunds, json!({"cause": "change-of-mind"})).await.expect(200);
    assert_eq!(refunded["refunds"][1]["amount"], cny(13_571));
    let coupons = app.shop.get(&format!("/v1/members/{member}/coupons")).await.expect(200);
    assert_eq!(coupons["items"][0]["id"], json!(coupon), "it came back with the full refund");
    assert_eq!(app.points(&member).await, [0, 0, 0]);
}

/// Points that were spent in time and come back afterwards go where the rest of their lot went.
#[tokio::test]
async fn points_that_come_back_after_their_time_expire() {
    let app = TestApp::start().await;
    app.product("vitamin-c", 19_900).await;
    for paid in [false, true] {
        let member = app.member(if paid { "refunded" } else { "unpaid" }).await;
        let adjustments = format!("/v1/members/{member}/points/adjustments");
        app.operator.post(&adjustments, json!({"points": 500, "reason": "goodwill"})).await.expect(200);
        let now: Timestamp = text(&app.operator.get("/ops/v1/clock").await.expect(200)["now"]).parse().expect("a time");
        let shanghai = now.in_tz("Asia/Shanghai").expect("a zone");
        let expires = shanghai.checked_add(12.months()).expect("a time").timestamp();
        app.wait(expires.duration_since(now) - SignedDuration::from_mins(10)).await;
        let mut asked = cart(&member, &["vitamin-c"]);
        asked["points"] = json!(500);
        let quote = app.shop.post("/v1/quotes", asked).await.expect(201);
        let order = app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await.expect(201);
        assert_eq!(app.points(&member).await, [0, 0, 500]);
        if paid {
            app.pay(&order).await;
        }
        app.wait(SignedDuration::from_mins(31)).await;
        let mut restored = json!(null);
        if paid {
            let refunds = format!("/v1/orders/{}/refunds", text(&order["id"]));
            let refunded = app.shop.post(&refunds, json!({"cause": "change-of-mind"})).await.expect(200);
            restored = refunded["refunds"][0]["points_restored"].clone();
            app.wait(SignedDuration::from_secs(1)).await;
        }
        assert_eq!(restored, if paid { json!(500) } else { json!(null) });
        assert_eq!(app.points(&member).await, [0, 0, 0], "{}", if paid { "refunded" } else { "not paid in time" });
        let entries = app.shop.get(&format!("/v1/members/{member}/points/entries?purse=active")).await.expect(200);
        let entry = entries["items"].as_array().expect("items").iter().find(|entry| entry["cause"] == "expired");
        assert_eq!(entry.expect("an entry of what died")["amount"], -500, "{entries:#}");
    }
}

#[tokio::test]
async fn a_quote_that_no_longer_holds_is_answered_with_a_fresh_one() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("vitamin-c", 5_000).await;
    let quote = app.quote(&member, &["vitamin-c"]).await;
    let change = json!({"profile": {"name": "王芳"}});
    let patch = app.shop.request(reqwest::Method::PATCH, &format!("/v1/members/{member}")).json(&change);
    app.shop.send(patch).await.expect(200);
    let place = |quote: &Json| json!({"quote": quote["id"]});
    let problem = app.shop.post("/v1/orders", place(&quote)).await.refused(409, "quote-changed");
    let fresh = &problem["quote"];
    assert_eq!(fresh["price"]["payable"], cny(5_000));
    app.shop.post("/v1/orders", place(fresh)).await.expect(201);
    app.shop.post("/v1/orders", place(fresh)).await.refused(409, "quote-placed");

    let late = app.quote(&member, &["vitamin-c"]).await;
    app.wait(SignedDuration::from_mins(16)).await;
    app.shop.post("/v1/orders", place(&late)).await.refused(409, "quote-expired");
}

#[tokio::test]
async fn an_order_takes_no_step_out_of_turn() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("vitamin-c", 5_000).await;
    let order = app.order(&member, &["vitamin-c"]).await;
    let path = format!("/v1/orders/{}", text(&order["id"]));
    app.shop.post(&format!("{path}/shipment"), Json::Null).await.refused(409, "wrong-order-state");
    app.shop.post(&format!("{path}/delivery"), Json::Null).await.refused(409, "wrong-order-state");
    let wrong = json!({"reference": "p", "method": "alipay", "amount": cny(1)});
    app.shop.post(&format!("{path}/payment"), wrong).await.refused(409, "amount-mismatch");
    app.wait(SignedDuration::from_mins(31)).await;
    assert_eq!(app.shop.get(&path).await.expect(200)["state"], "cancelled", "nobody paid in time");
    let payment = json!({"reference": "p", "method": "alipay", "amount": cny(5_000)});
    let late = app.shop.post(&format!("{path}/payment"), payment).await.expect(200);
    assert_eq!((&late["state"], &late["payment"]), (&json!("cancelled"), &Json::Null), "to be paid back");
}

#[tokio::test]
async fn prescription_medicine_needs_a_prescription() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product_of_class("insulin", 8_000, "rx").await;
    app.shop.post("/v1/quotes", cart(&member, &["insulin"])).await.refused(422, "prescription-required");
    let mut with = cart(&member, &["insulin"]);
    with["prescription"] = json!("rx-2026-1");
    app.shop.post("/v1/quotes", with.clone()).await.refused(404, "not-found");
    app.prescribe_approved(&member, "rx-2026-1", &[("insulin", 1)]).await;
    app.shop.post("/v1/quotes", with).await.expect(201);
}

#[tokio::test]
async fn one_partner_does_not_see_what_another_made() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("vitamin-c", 5_000).await;
    let order = app.order(&member, &["vitamin-c"]).await;
    let other = app.client(&["members:read", "orders:read", "catalogue:read"]).await;
    other.get(&format!("/v1/members/{member}")).await.refused(404, "not-found");
    other.get(&format!("/v1/orders/{}", text(&order["id"]))).await.refused(404, "not-found");
    other.get("/v1/members/by-external-id/m-1").await.refused(404, "not-found");
    assert_eq!(other.get("/v1/members").await.expect(200)["items"], json!([]));
    assert_eq!(other.get("/v1/products").await.expect(200)["items"], json!([]));
    app.operator.get(&format!("/v1/members/{member}")).await.expect(200);
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("vitamin-c", 19_900).await;
    let order = app.order(&member, &["vitamin-c"]).await;
    let paid = app.pay(&order).await;
    let app = app.restart().await;
    assert_eq!(app.shop.get(&format!("/v1/orders/{}", text(&order["id"]))).await.expect(200), paid);
    assert_eq!(app.points(&member).await, [199, 0, 0]);
}

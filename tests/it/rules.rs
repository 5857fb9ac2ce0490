//! The worked examples of the business's rules, over HTTP, each by its id.

use jiff::SignedDuration;
use serde_json::{Value as Json, json};

use crate::app::{TestApp, cart, cny, text};

const DAY_HOURS: i64 = 24;

/// Buys, pays and receives, and waits until the points are spendable.
async fn bought(app: &TestApp, member: &str, product: &str) {
    let order = app.order(member, &[product]).await;
    app.pay(&order).await;
    app.step(&order, "shipment").await;
    app.step(&order, "delivery").await;
}

async fn tier(app: &TestApp, member: &str) -> String {
    text(&app.shop.get(&format!("/v1/members/{member}")).await.expect(200)["tier"]["code"])
}

/// What an offer took off, in fen, and its first reason.
fn outcome<'a>(quote: &'a Json, code: &str) -> (i64, &'a Json) {
    let offers = quote["price"]["offers"].as_array().expect("offers");
    let found = offers.iter().find(|offer| offer["code"] == code).unwrap_or_else(|| panic!("no {code} in {offers:#?}"));
    (found["amount"]["minor"].as_i64().expect("an amount"), &found["reasons"][0])
}

/// The tier is read as stored, the tier slot runs after pay and refund: an order is priced and earns at the tier from
/// before it, the next one at the tier that it brought.
#[tokio::test]
async fn r1_benefits_count_from_the_next_order() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("bed", 299_900).await;
    app.product("tea", 10_000).await;
    let payable = async || app.quote(&member, &["tea"]).await["price"]["payable"].clone();
    let order = app.order(&member, &["bed"]).await;
    assert_eq!((tier(&app, &member).await.as_str(), payable().await), ("member", cny(10_000)), "placed is not paid");
    let paid = app.pay(&order).await;
    assert_eq!(paid["earning"]["points"], 2_999, "not twice: it was not gold's order");
    assert_eq!((tier(&app, &member).await.as_str(), payable().await), ("gold", cny(8_800)));
    let next = app.order(&member, &["tea"]).await;
    assert_eq!(app.pay(&next).await["earning"]["points"], 176, "gold's, of the lines as they were priced");
    let refunds = format!("/v1/orders/{}/refunds", text(&order["id"]));
    app.shop.post(&refunds, json!({"cause": "quality"})).await.expect(200);
    assert_eq!((tier(&app, &member).await.as_str(), payable().await), ("member", cny(10_000)), "at once");
}

/// Bronze from 199.00, to the fen, and the benefit counts from the next order.
#[tokio::test]
async fn c1_spend_tiers() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("almost", 19_899).await;
    app.product("sweet", 1).await;
    bought(&app, &member, "almost").await;
    assert_eq!(tier(&app, &member).await, "member");
    let order = app.order(&member, &["sweet"]).await;
    assert_eq!(order["price"]["payable"], cny(1), "no discount yet");
    app.pay(&order).await;
    assert_eq!(tier(&app, &member).await, "bronze");
    let quote = app.quote(&member, &["almost"]).await;
    assert_eq!((&quote["tier"], &quote["price"]["payable"]), (&json!("bronze"), &cny(19_899 - 994)));
}

/// Gold, the 15th, ¥130, a ¥9.90 coupon, 500 points: 114.40 → 94.40 → 84.50 → 79.50, which earns floor(79.50) × 2.
/// ¥110: 96.80 < 100, member day refused with both numbers.
#[tokio::test]
async fn r2_and_r3_stacking_and_points() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    for (name, price) in [("year", 299_900), ("v-130", 13_000), ("v-110", 11_000)] {
        app.product(name, price).await;
    }
    let day = json!({"type": "amount", "amount": 2_000, "threshold": 10_000, "days": ["15"]});
    app.offer("member-day", "promotion", day).await;
    let welcome = app.offer("welcome", "coupon", json!({"type": "amount", "amount": 990})).await;
    bought(&app, &member, "year").await;
    assert_eq!(tier(&app, &member).await, "gold");
    let quote = app.quote(&member, &["v-130"]).await;
    assert_eq!(outcome(&quote, "member-day").1["code"], "other-day");

    app.wait(SignedDuration::from_hours(14 * DAY_HOURS)).await;
    assert_eq!(app.points(&member).await, [0, 2_999, 0], "active a week after delivery");
    app.coupon(&welcome, &member).await;
    let mut asked = cart(&member, &["v-130"]);
    asked["points"] = json!(500);
    let quote = app.shop.post("/v1/quotes", asked).await.expect(201);
    assert_eq!((outcome(&quote, "member-day").0, outcome(&quote, "welcome").0), (2_000, 990));
    let allocations = quote["price"]["lines"][0]["allocations"].as_array().expect("allocations");
    let off: Vec<&Json> = allocations.iter().map(|allocation| &allocation["amount"]["minor"]).collect();
    assert_eq!(off, [&json!(1_560), &json!(2_000), &json!(990), &json!(500)]);
    assert_eq!(quote["price"]["payable"], cny(7_950));

    let refused = app.quote(&member, &["v-110"]).await;
    let (amount, reason) = outcome(&refused, "member-day");
    assert_eq!((amount, &reason["code"]), (0, &json!("below-threshold")));
    let words = text(&reason["text"]["en"]);
    assert!(words.contains("96.80") && words.contains("100.00"), "{words}");

    let order = app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await.expect(201);
    assert_eq!(app.points(&member).await, [0, 2_499, 500]);
    let paid = app.pay(&order).await;
    assert_eq!(paid["earning"]["points"], 158);
    assert_eq!(app.points(&member).await, [158, 2_499, 0]);
}

/// 150 + 60 with 199−20: allocated 14.29 and 5.71; refunding the second pays 54.29, and its points go back.
#[tokio::test]
async fn r6_refunds_by_the_shares_of_the_commit() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("a", 15_000).await;
    app.product("b", 6_000).await;
    app.offer("199-20", "promotion", json!({"type": "amount", "amount": 2_000, "threshold": 19_900})).await;
    let order = app.order(&member, &["a", "b"]).await;
    assert_eq!(order["price"]["payable"], cny(19_000));
    app.pay(&order).await;
    assert_eq!(app.points(&member).await, [190, 0, 0]);
    let path = format!("/v1/orders/{}/refunds", text(&order["id"]));
    let ask = json!({"cause": "change-of-mind", "lines": [{"line": 1, "quantity": 1}]});
    let order = app.shop.post(&path, ask).await.expect(200);
    let refund = &order["refunds"][0];
    assert_eq!(refund["amount"], cny(5_429));
    assert_eq!(app.points(&member).await, [135, 0, 0], "floor(190.00 − 54.29)");
    let rest = app.shop.post(&path, json!({"cause": "change-of-mind"})).await.expect(200);
    assert_eq!(rest["refunds"][1]["amount"], cny(19_000 - 5_429));
    assert_eq!(app.points(&member).await, [0, 0, 0]);
    let again = app.shop.post(&path, json!({"cause": "change-of-mind"})).await;
    again.refused(422, "refund-refused");
}

/// Prescription medicine is never in a flash sale, whatever a policy proposes; other goods are.
#[tokio::test]
async fn r4_what_may_not_be_promoted_is_not() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product_of_class("rx", 10_000, "rx").await;
    app.product("food", 10_000).await;
    let offer = json!({
        "code": "flash", "name_zh_cn": "秒杀", "name_en": "flash", "class": "promotion", "purpose": "flash-sale",
        "terms": {"type": "amount", "amount": 1_000},
    });
    app.operator.post("/ops/v1/offers", offer).await.expect(201);
    let mut asked = cart(&member, &["rx", "food"]);
    app.prescribe_approved(&member, "rx-1", &[("rx", 1)]).await;
    asked["prescription"] = json!("rx-1");
    let quote = app.shop.post("/v1/quotes", asked).await.expect(201);
    let (amount, reason) = outcome(&quote, "flash");
    assert_eq!((amount, &reason["code"]), (0, &json!("class-not-promotable")));
    assert_eq!(outcome(&app.quote(&member, &["food"]).await, "flash").0, 1_000);
}

/// An offer with a budget of one: the second buyer is told, and pays the price without it.
#[tokio::test]
async fn r14_a_budget_is_never_exceeded() {
    let app = TestApp::start().await;
    let (one, other) = (app.member("m-1").await, app.member("m-2").await);
    app.product("v", 10_000).await;
    let offer = json!({
        "code": "first", "name_zh_cn": "先到先得", "name_en": "first come", "class": "promotion", "budget_uses": 1,
        "terms": {"type": "amount", "amount": 1_000},
    });
    app.operator.post("/ops/v1/offers", offer).await.expect(201);
    let quotes = [app.quote(&one, &["v"]).await, app.quote(&other, &["v"]).await];
    assert_eq!(quotes[1]["price"]["payable"], cny(9_000), "both hope");
    let order = app.shop.post("/v1/orders", json!({"quote": quotes[0]["id"]})).await.expect(201);
    let problem = app.shop.post("/v1/orders", json!({"quote": quotes[1]["id"]})).await.refused(409, "quote-changed");
    let fresh = &problem["quote"];
    assert_eq!((&fresh["price"]["payable"], &outcome(fresh, "first").1["code"]), (&cny(10_000), &json!("budget-gone")));
    app.step(&order, "cancellation").await;
    assert_eq!(app.quote(&other, &["v"]).await["price"]["payable"], cny(9_000), "given back");
}

/// An order that nobody pays gives back all it held, by itself.
#[tokio::test]
async fn r16_an_unpaid_order_gives_up() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("v", 10_000).await;
    let welcome = app.offer("welcome", "coupon", json!({"type": "amount", "amount": 990})).await;
    let coupon = app.coupon(&welcome, &member).await;
    let order = app.order(&member, &["v"]).await;
    let state = async || text(&app.shop.get(&format!("/v1/coupons/{coupon}")).await.expect(200)["state"]);
    assert_eq!(state().await, "held");
    let payment = json!({"reference": "pay-1", "method": "alipay", "amount": cny(1)});
    let path = format!("/v1/orders/{}/payment", text(&order["id"]));
    app.shop.post(&path, payment).await.refused(409, "amount-mismatch");
    app.wait(SignedDuration::from_mins(31)).await;
    let order = app.shop.get(&format!("/v1/orders/{}", text(&order["id"]))).await.expect(200);
    assert_eq!((&order["state"], state().await.as_str()), (&json!("cancelled"), "issued"));
}

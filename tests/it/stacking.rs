//! How offers stack (row D3, rule R2), over HTTP: several policies, groups, bases, floors, and a reason for each.

use jiff::SignedDuration;
use serde_json::{Value as Json, json};

use crate::{
    app::{TestApp, cny, text},
    offer_kinds::{cart_of, goods, goods_payable, quote, told},
};

/// Defines an offer; what is not said is a live promotion of ¥5 off.
async fn offer(app: &TestApp, code: &str, more: Json) -> String {
    let mut offer = json!({
        "code": code, "name_zh_cn": code, "name_en": code, "class": "promotion",
        "terms": {"type": "amount", "amount": 500},
    });
    for (name, value) in more.as_object().expect("an object") {
        offer[name] = value.clone();
    }
    text(&app.operator.post("/ops/v1/offers", offer).await.expect(201)["id"])
}

/// The outcome of the coupon that was named.
fn of_coupon<'a>(quote: &'a Json, coupon: &str) -> &'a Json {
    let offers = quote["price"]["offers"].as_array().expect("offers");
    offers.iter().find(|offer| offer["coupon"] == coupon).unwrap_or_else(|| panic!("no {coupon} in {offers:#?}"))
}

/// Every offer that is considered ends as applied or with one code, in two languages, with what was seen and needed.
#[tokio::test]
async fn d3_every_offer_that_is_not_applied_says_why() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    goods(&app, &[("v", "VITAMINS", 10_000)]).await;
    app.product_of_class("rx", 10_000, "rx").await;
    let amount = |fen: i64| json!({"type": "amount", "amount": fen});
    offer(&app, "applied", json!({"exclusivity_group": "g", "terms": amount(900)})).await;
    offer(&app, "exclusive-with", json!({"exclusivity_group": "g"})).await;
    offer(&app, "not-started", json!({"starts_at": "2027-01-01T00:00:00Z"})).await;
    offer(&app, "budget-gone", json!({"budget_uses": 1})).await;
    offer(&app, "below-threshold", json!({"terms": {"type": "amount", "amount": 500, "threshold": 99_900}})).await;
    offer(&app, "no-goods", json!({"terms": {"type": "amount", "amount": 500, "products": ["w"]}})).await;
    offer(&app, "class-not-promotable", json!({"purpose": "flash-sale"})).await;
    for (code, fen) in [("taken", 800), ("not-chosen", 700)] {
        let coupon = offer(&app, code, json!({"class": "coupon", "terms": amount(fen)})).await;
        app.coupon(&coupon, &member).await;
    }
    let paused = offer(&app, "paused", json!({"class": "coupon"})).await;
    app.coupon(&paused, &member).await;
    app.operator.post(&format!("/ops/v1/offers/{paused}/pause"), Json::Null).await.expect(200);
    let other = app.member("m-2").await;
    app.order(&other, &["v"]).await;

    let mut asked = cart_of(&member, &[("v", 1), ("rx", 1)]);
    app.prescribe_approved(&member, "rx-1", &[("rx", 1)]).await;
    asked["prescription"] = json!("rx-1");
    let quoted = app.shop.post("/v1/quotes", asked).await.expect(201);
    assert_eq!((told(&quoted, "applied").0, told(&quoted, "taken").0), (900, 800));
    for code in ["exclusive-with", "not-started", "budget-gone", "below-threshold", "no-goods", "class-not-promotable"]
    {
        let (amount, reason, words) = told(&quoted, code);
        assert_eq!((amount, reason.as_str()), (0, code), "{words}");
        assert!(!words.contains('{'), "{words}");
    }
    assert_eq!((told(&quoted, "paused").1.as_str(), told(&quoted, "not-chosen").1.as_str()), ("paused", "not-chosen"));
    assert_eq!(told(&quoted, "not-started").2, "it is 2026-03-01 12:00, starts at 2027-01-01 08:00");
    assert_eq!(told(&quoted, "exclusive-with").2, "cannot be combined with applied");
    assert_eq!(told(&quoted, "not-chosen").2, "one coupon per order, and taken was chosen");
    assert_eq!(told(&quoted, "budget-gone").2, "0 is left of the budget, 1 is needed");
    let (list, payable) = (20_000, goods_payable(&quoted));
    let explained: i64 = quoted["price"]["offers"]
        .as_array()
        .expect("offers")
        .iter()
        .map(|offer| offer["amount"]["minor"].as_i64().expect("fen"))
        .sum();
    assert_eq!(payable, list - explained, "the explanation adds up");
}

/// Another member's coupon and one that never was get the same answer; the member's own say what became of them.
#[tokio::test]
async fn d3_a_coupon_that_is_not_yours_is_declined() {
    let app = TestApp::start().await;
    let (member, other) = (app.member("m-1").await, app.member("m-2").await);
    goods(&app, &[("v", "VITAMINS", 10_000)]).await;
    let welcome = app.offer("welcome", "coupon", json!({"type": "amount", "amount": 990})).await;
    let theirs = app.coupon(&welcome, &other).await;
    let own = app.coupon(&welcome, &member).await;
    let ask = async |coupon: &str| {
        let mut asked = cart_of(&member, &[("v", 1)]);
        asked["coupon"] = json!(coupon);
        app.shop.post("/v1/quotes", asked).await.expect(201)
    };
    let mut answers = Vec::new();
    for coupon in [theirs.as_str(), "cpn_00000000000000000000000000000001"] {
        let quoted = ask(coupon).await;
        assert_eq!((&quoted["coupon"], goods_payable(&quoted)), (&Json::Null, 10_000), "nor is another taken for it");
        let mut outcome = of_coupon(&quoted, coupon).clone();
        assert_eq!(outcome["reasons"][0]["code"], "not-yours");
        outcome["coupon"] = Json::Null;
        answers.push(outcome);
        assert_eq!(told(&quoted, "welcome").2, format!("one coupon per order, and {coupon} was chosen"));
    }
    assert_eq!(answers[0], answers[1], "nothing tells whether there is such a coupon");
    let code = |quoted: &Json| text(&of_coupon(quoted, &own)["reasons"][0]["code"]);
    let quoted = ask(&own).await;
    assert_eq!((goods_payable(&quoted), code(&quoted).as_str()), (9_010, "applied"));
    let order = app.shop.post("/v1/orders", json!({"quote": quoted["id"]})).await.expect(201);
    assert_eq!(code(&ask(&own).await), "held");
    app.pay(&order).await;
    let spent = ask(&own).await;
    assert_eq!(code(&spent), "redeemed");
    assert!(text(&of_coupon(&spent, &own)["reasons"][0]["text"]["en"]).contains(&text(&order["id"])));
    let late = app.coupon(&welcome, &member).await;
    app.wait(SignedDuration::from_hours(31 * 24)).await;
    assert_eq!(of_coupon(&ask(&late).await, &late)["reasons"][0]["code"], "expired");
}

/// Two slots, each with its policy: offers name theirs, and one order takes offers of both.
#[tokio::test]
async fn d3_several_policies_price_one_order() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    goods(&app, &[("v", "VITAMINS", 10_000)]).await;
    let live = app.operator.get("/ops/v1/slots").await.expect(200);
    let live = live["items"].as_array().expect("slots").iter().find(|slot| slot["name"] == "coupon").expect("lives");
    let module = &live["release"]["module"];
    let brand = json!({"module": module, "config": {"percent_max": 1_000, "excluded_classes": []}});
    app.operator.post("/ops/v1/slots/coupon.brand/releases", brand).await.expect(201);
    app.operator.put("/ops/v1/slots/coupon.brand/active", json!({"number": 1})).await.expect(200);
    offer(&app, "shop", json!({"terms": {"type": "percent", "percent": 3_000}, "exclusivity_group": "g"})).await;
    let tenth = json!({"type": "percent", "percent": 1_000});
    offer(&app, "brand", json!({"slot": "coupon.brand", "terms": tenth, "exclusivity_group": "g"})).await;
    let coupon = offer(&app, "brand-coupon", json!({"slot": "coupon.brand", "class": "coupon", "terms": tenth})).await;
    app.coupon(&coupon, &member).await;
    let quoted = quote(&app, &member, &[("v", 1)]).await;
    assert_eq!((told(&quoted, "shop").0, told(&quoted, "brand").1.as_str()), (3_000, "exclusive-with"));
    assert_eq!((told(&quoted, "brand-coupon").0, goods_payable(&quoted)), (700, 6_300));
    let asked: Vec<String> =
        quoted["releases"].as_array().expect("releases").iter().map(|release| text(&release["slot"])).collect();
    assert!(asked.contains(&"coupon".to_owned()) && asked.contains(&"coupon.brand".to_owned()), "{asked:?}");
    let too_much = json!({
        "code": "x", "name_zh_cn": "x", "name_en": "x", "class": "promotion", "slot": "coupon.brand",
        "terms": {"type": "percent", "percent": 3_000},
    });
    app.operator.post("/ops/v1/offers", too_much).await.refused(422, "invalid-request");
}

/// The group's cheaper offer is taken where it leaves more for the coupon: the pair saves most.
#[tokio::test]
async fn r2_the_combination_that_saves_most() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    goods(&app, &[("a", "VITAMINS", 10_000), ("b", "VITAMINS", 10_000)]).await;
    let off = |fen: i64, product: &str| json!({"type": "amount", "amount": fen, "products": [product]});
    offer(&app, "on-a", json!({"exclusivity_group": "g", "priority": 9, "terms": off(3_000, "a")})).await;
    offer(&app, "on-b", json!({"exclusivity_group": "g", "terms": off(2_900, "b")})).await;
    let half = offer(
        &app,
        "half",
        json!({"class": "coupon", "terms": {"type": "percent", "percent": 5_000, "products": ["a"]}}),
    )
    .await;
    let before = quote(&app, &member, &[("a", 1), ("b", 1)]).await;
    assert_eq!((told(&before, "on-a").0, goods_payable(&before)), (3_000, 17_000));
    app.coupon(&half, &member).await;
    let quoted = quote(&app, &member, &[("a", 1), ("b", 1)]).await;
    assert_eq!((told(&quoted, "on-b").0, told(&quoted, "half").0), (2_900, 5_000), "not 3,000 and 3,500");
    assert_eq!((goods_payable(&quoted), &quoted["price"]["bounded"]), (12_100, &json!(false)));
}

/// A percentage on the list price, and one that may not be declared.
#[tokio::test]
async fn d3_offers_declare_their_base() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    goods(&app, &[("v", "VITAMINS", 10_000)]).await;
    offer(&app, "first", json!({"terms": {"type": "amount", "amount": 2_000}})).await;
    for (code, base, off) in [("standard", "standard", 800), ("list", "list", 1_000), ("left", "after-promotions", 800)]
    {
        let terms = json!({"type": "percent", "percent": 1_000, "threshold": 9_000});
        let id = offer(&app, code, json!({"class": "coupon", "terms": terms, "base": base})).await;
        assert_eq!(app.operator.get(&format!("/ops/v1/offers/{id}")).await.expect(200)["base"], base);
        let coupon = app.coupon(&id, &member).await;
        let mut asked = cart_of(&member, &[("v", 1)]);
        asked["coupon"] = json!(coupon);
        let quoted = app.shop.post("/v1/quotes", asked).await.expect(201);
        // What promotions leave, 80.00, does not reach 90.00: without the promotion the order would cost more.
        let (amount, reason, _) = told(&quoted, code);
        let expected = if base == "after-promotions" { (0, "below-threshold") } else { (off, "threshold-reached") };
        assert_eq!((amount, reason.as_str()), expected, "{base}");
    }
    let wrong = json!({
        "code": "x", "name_zh_cn": "x", "name_en": "x", "class": "promotion", "base": "after-coupons",
        "terms": {"type": "amount", "amount": 500},
    });
    let problem = app.operator.post("/ops/v1/offers", wrong).await.refused(422, "invalid-request");
    assert_eq!(problem["errors"][0]["pointer"], "/base", "{problem:#}");
}

/// No combination of offers takes an item below its floor; the outcome says what the floor left.
#[tokio::test]
async fn d3_a_floor_price_holds() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    let product = |floor: i64| {
        json!({"products": [{
            "external_id": "v", "name": "v", "category": "VITAMINS", "class": "food", "list_price": cny(10_000),
            "floor_price": cny(floor),
        }]})
    };
    app.shop.post("/v1/products/import", product(10_001)).await.refused(422, "invalid-request");
    app.shop.post("/v1/products/import", product(9_000)).await.expect(200);
    assert_eq!(app.shop.get("/v1/products/by-external-id/v").await.expect(200)["floor_price"], cny(9_000));
    offer(&app, "most", json!({"priority": 1, "terms": {"type": "percent", "percent": 3_000}})).await;
    offer(&app, "more", json!({})).await;
    let quoted = quote(&app, &member, &[("v", 2)]).await;
    assert_eq!((goods_payable(&quoted), told(&quoted, "most").0), (18_000, 2_000));
    assert_eq!(told(&quoted, "more").1, "floor-price");
    let offers = quoted["price"]["offers"].as_array().expect("offers");
    let most = offers.iter().find(|offer| offer["code"] == "most").expect("is listed");
    assert_eq!(most["reasons"][1]["text"]["en"], "would take off ¥60.00, the floor price leaves ¥20.00", "{most:#}");
}

/// The largest cart: 200 lines, promotions, a coupon and points, placed and refunded to the fen.
#[tokio::test]
async fn d3_a_cart_of_200_lines() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    let names: Vec<String> = (0..200).map(|n| format!("p-{n}")).collect();
    let stocked: Vec<(&str, &str, i64)> =
        names.iter().zip(0..).map(|(name, n)| (name.as_str(), "VITAMINS", 1_001 + 7 * n)).collect();
    goods(&app, &stocked).await;
    offer(&app, "a", json!({"terms": {"type": "amount", "amount": 12_345}})).await;
    offer(&app, "b", json!({"terms": {"type": "percent", "percent": 1_234}})).await;
    let coupon = offer(&app, "c", json!({"class": "coupon", "terms": {"type": "amount", "amount": 999}})).await;
    app.coupon(&coupon, &member).await;
    let adjustments = format!("/v1/members/{member}/points/adjustments");
    app.operator.post(&adjustments, json!({"points": 777, "reason": "goodwill"})).await.expect(200);
    let lines: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 3)).collect();
    let mut asked = cart_of(&member, &lines);
    asked["points"] = json!(777);
    let quoted = app.shop.post("/v1/quotes", asked).await.expect(201);
    let fen = |amount: &Json| amount["minor"].as_i64().expect("fen");
    let price = &quoted["price"];
    let list: i64 = price["lines"].as_array().expect("lines").iter().map(|line| fen(&line["list"])).sum();
    let off: i64 = price["offers"].as_array().expect("offers").iter().map(|offer| fen(&offer["amount"])).sum();
    assert_eq!(fen(&price["payable"]), list - off - 777 + 600);
    assert_eq!(off, 12_345 + list * 1_234 / 10_000 + 999);
    let order = app.shop.post("/v1/orders", json!({"quote": quoted["id"]})).await.expect(201);
    app.pay(&order).await;
    let refunds = format!("/v1/orders/{}/refunds", text(&order["id"]));
    let refunded = app.shop.post(&refunds, json!({"cause": "change-of-mind"})).await.expect(200);
    assert_eq!(refunded["refunds"][0]["amount"], price["payable"]);
    assert_eq!(refunded["refunds"][0]["points_restored"], 777);
}

//! The kinds of offers that the business asked for (row D1), over HTTP, each by its row.

use jiff::SignedDuration;
use serde_json::{Value as Json, json};

use crate::app::{TestApp, cny, text};

/// How an offer fared in a quote: what it took off in fen, its code and its words in English.
pub(crate) fn told(quote: &Json, code: &str) -> (i64, String, String) {
    let offers = quote["price"]["offers"].as_array().expect("offers");
    let found = offers.iter().find(|offer| offer["code"] == code).unwrap_or_else(|| panic!("no {code} in {offers:#?}"));
    let reason = &found["reasons"][0];
    assert!(!text(&reason["text"]["zh_cn"]).is_empty(), "{reason:#}");
    (found["amount"]["minor"].as_i64().expect("an amount"), text(&reason["code"]), text(&reason["text"]["en"]))
}

/// Puts goods into the catalogue: name, category, price in fen.
pub(crate) async fn goods(app: &TestApp, goods: &[(&str, &str, i64)]) {
    let product = |(name, category, price): &(&str, &str, i64)| json!({"external_id": name, "name": name, "category": category, "class": "food", "list_price": cny(*price)});
    let products: Vec<Json> = goods.iter().map(product).collect();
    app.shop.post("/v1/products/import", json!({"products": products})).await.expect(200);
}

/// What is asked a price for: so many of each, delivered for ¥6.
pub(crate) fn cart_of(member: &str, goods: &[(&str, u32)]) -> Json {
    let line = |(name, quantity): &(&str, u32)| json!({"external_id": name, "quantity": quantity});
    let lines: Vec<Json> = goods.iter().map(line).collect();
    json!({"member": member, "lines": lines, "delivery_fee": cny(600)})
}

pub(crate) async fn quote(app: &TestApp, member: &str, goods: &[(&str, u32)]) -> Json {
    app.shop.post("/v1/quotes", cart_of(member, goods)).await.expect(201)
}

/// What the goods of a quote cost, in fen.
pub(crate) fn goods_payable(quote: &Json) -> i64 {
    quote["price"]["goods_payable"]["minor"].as_i64().expect("an amount")
}

#[tokio::test]
async fn d1_a_no_threshold_coupon() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    goods(&app, &[("v", "VITAMINS", 5_000), ("sweet", "FOOD", 500)]).await;
    let offer = app.offer("9.9", "coupon", json!({"type": "amount", "amount": 990})).await;
    app.coupon(&offer, &member).await;
    assert_eq!(goods_payable(&quote(&app, &member, &[("v", 1)]).await), 4_010);
    let cheap = quote(&app, &member, &[("sweet", 1)]).await;
    assert_eq!((goods_payable(&cheap), told(&cheap, "9.9").0), (0, 500), "no line below zero");
}

#[tokio::test]
async fn d1_199_less_20_for_new_members() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    goods(&app, &[("almost", "VITAMINS", 19_899), ("fen", "FOOD", 1)]).await;
    let terms = json!({"type": "amount", "amount": 2_000, "threshold": 19_900, "members": "new"});
    app.offer("199-20", "promotion", terms).await;
    let (_, code, words) = told(&quote(&app, &member, &[("almost", 1)]).await, "199-20");
    assert_eq!(code, "below-threshold");
    assert!(words.contains("198.99") && words.contains("199.00"), "{words}");
    assert_eq!(goods_payable(&quote(&app, &member, &[("almost", 1), ("fen", 1)]).await), 17_900);
    let order = app.order(&member, &["fen"]).await;
    app.pay(&order).await;
    assert_eq!(told(&quote(&app, &member, &[("almost", 1), ("fen", 1)]).await, "199-20").1, "not-new");
}

#[tokio::test]
async fn d1_a_percentage_with_a_cap() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    goods(&app, &[("v", "VITAMINS", 10_000)]).await;
    app.offer("20%", "promotion", json!({"type": "percent", "percent": 2_000, "cap": 3_000})).await;
    assert_eq!(goods_payable(&quote(&app, &member, &[("v", 1)]).await), 8_000);
    let capped = quote(&app, &member, &[("v", 2)]).await;
    let (amount, code, words) = told(&capped, "20%");
    assert_eq!((amount, code.as_str()), (3_000, "capped"));
    assert!(words.contains("40.00") && words.contains("30.00"), "{words}");
}

#[tokio::test]
async fn d1_the_second_item_at_half_price_and_three_items_20_percent_off() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    goods(&app, &[("a", "SOAP", 3_000), ("b", "SOAP", 2_000), ("c", "TEA", 1_000)]).await;
    let second = json!({"type": "nth-item", "percent": 5_000, "every": 2, "categories": ["SOAP"]});
    app.offer("second", "promotion", second).await;
    app.offer(
        "three",
        "promotion",
        json!({"type": "percent", "percent": 2_000, "min-items": 3, "categories": ["TEA"]}),
    )
    .await;
    let few = quote(&app, &member, &[("a", 1), ("b", 1), ("c", 2)]).await;
    assert_eq!(told(&few, "second").0, 1_000, "half of the cheaper one");
    let (_, code, words) = told(&few, "three");
    assert_eq!((code.as_str(), words.as_str()), ("too-few-items", "2 items that count, needs 3"));
    assert_eq!(told(&quote(&app, &member, &[("c", 3)]).await, "three").0, 600);
}

#[tokio::test]
async fn d1_a_bundle_needs_all_of_the_flu_set() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    goods(&app, &[("mask", "FLU", 2_000), ("thermometer", "FLU", 5_000), ("tea", "FLU", 3_000), ("v", "X", 9_000)])
        .await;
    let set = json!(["mask", "thermometer", "tea"]);
    app.offer("flu-set", "promotion", json!({"type": "amount", "amount": 1_500, "products": set, "requires": set}))
        .await;
    let (_, code, words) = told(&quote(&app, &member, &[("mask", 1), ("tea", 2), ("v", 1)]).await, "flu-set");
    assert_eq!((code.as_str(), words.as_str()), ("missing-product", "the set lacks thermometer"));
    let whole = quote(&app, &member, &[("mask", 1), ("thermometer", 1), ("tea", 1), ("v", 1)]).await;
    assert_eq!(told(&whole, "flu-set").0, 1_500);
    let off = |line: usize| {
        let allocations = whole["price"]["lines"][line]["allocations"].as_array().expect("allocations");
        allocations.iter().map(|allocation| allocation["amount"]["minor"].as_i64().expect("fen")).sum::<i64>()
    };
    assert_eq!([off(0), off(1), off(2), off(3)], [300, 750, 450, 0], "shared by what the set's goods cost");
}

#[tokio::test]
async fn d1_a_category_and_a_product() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    goods(&app, &[("a", "VITAMINS", 10_000), ("b", "DEVICES", 10_000)]).await;
    app.offer("vitamins", "promotion", json!({"type": "percent", "percent": 1_000, "categories": ["VITAMINS"]})).await;
    app.offer("b-only", "promotion", json!({"type": "amount", "amount": 700, "products": ["b"]})).await;
    let both = quote(&app, &member, &[("a", 1), ("b", 1)]).await;
    assert_eq!((told(&both, "vitamins").0, told(&both, "b-only").0), (1_000, 700));
    assert_eq!(told(&quote(&app, &member, &[("a", 1)]).await, "b-only").1, "no-goods");
}

/// Free delivery from 200, tested as the business declares it: after the tier, or after promotions and the coupon. Also
/// as a coupon of its own.
#[tokio::test]
async fn d1_free_delivery() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    goods(&app, &[("v", "VITAMINS", 20_000), ("w", "VITAMINS", 30_000)]).await;
    app.offer("20-off", "promotion", json!({"type": "amount", "amount": 2_000})).await;
    let free = |code: &str, base: &str| {
        json!({
            "code": code, "name_zh_cn": "包邮", "name_en": "free delivery", "class": "delivery", "base": base,
            "terms": {"type": "free-delivery", "threshold": 20_000, "cap": 500},
        })
    };
    app.operator.post("/ops/v1/offers", free("what-is-paid", "after-coupons")).await.expect(201);
    let short = quote(&app, &member, &[("v", 1)]).await;
    assert_eq!(short["price"]["delivery_payable"], cny(600));
    assert!(told(&short, "what-is-paid").2.contains("180.00"), "{short:#}");
    let enough = quote(&app, &member, &[("w", 1)]).await;
    assert_eq!((&enough["price"]["delivery_payable"], &enough["price"]["payable"]), (&cny(100), &cny(28_100)));
    app.operator.post("/ops/v1/offers", free("standard", "standard")).await.expect(201);
    assert_eq!(quote(&app, &member, &[("v", 1)]).await["price"]["delivery_payable"], cny(100), "200.00 after the tier");
    let coupon = app.offer("by-coupon", "coupon", json!({"type": "free-delivery"})).await;
    app.coupon(&coupon, &member).await;
    let quoted = quote(&app, &member, &[("v", 1)]).await;
    assert_eq!((&quoted["price"]["delivery_payable"], told(&quoted, "by-coupon").0), (&cny(0), 600));
}

#[tokio::test]
async fn d1_a_member_price() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    goods(&app, &[("v", "VITAMINS", 10_000), ("year", "FOOD", 99_900)]).await;
    app.offer("mine", "member-price", json!({"type": "member-price", "price": 9_200, "products": ["v"]})).await;
    let quoted = quote(&app, &member, &[("v", 2)]).await;
    assert_eq!((goods_payable(&quoted), &quoted["price"]["lines"][0]["base"]), (18_400, &cny(18_400)));
    let order = app.order(&member, &["year"]).await;
    app.pay(&order).await;
    let silver = quote(&app, &member, &[("v", 2)]).await;
    assert_eq!((goods_payable(&silver), told(&silver, "mine").1.as_str()), (18_000, "tier-price-lower"), "10 % off");
}

/// Flu from November to February, over the end of the year; allergies from March to May.
#[tokio::test]
async fn d1_season_themes() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    goods(&app, &[("v", "VITAMINS", 10_000)]).await;
    for (code, months) in [("flu", "11-2"), ("allergy", "3-5")] {
        app.offer(code, "promotion", json!({"type": "amount", "amount": 500, "months": [months]})).await;
    }
    let mut seen = Vec::new();
    // From 1 March: at once, then at the end of May, on 1 June, 31 October, 1 November, 15 January, 28 February, 1 March.
    for days in [0, 91, 1, 152, 1, 75, 44, 1] {
        app.wait(SignedDuration::from_hours(24 * days)).await;
        let quoted = quote(&app, &member, &[("v", 1)]).await;
        seen.push((told(&quoted, "flu").0 > 0, told(&quoted, "allergy").0 > 0));
        for code in ["flu", "allergy"].into_iter().filter(|code| told(&quoted, code).0 == 0) {
            assert_eq!(told(&quoted, code).1, "other-month");
        }
    }
    let (flu, allergy, none) = ((true, false), (false, true), (false, false));
    assert_eq!(seen, [allergy, allergy, none, none, flu, flu, flu, allergy]);
}

/// A subsidy on prescription medicine that the pharmacy pays for.
#[tokio::test]
async fn d1_a_prescription_subsidy() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product_of_class("rx", 10_000, "rx").await;
    app.product("food", 10_000).await;
    let offer = json!({
        "code": "subsidy", "name_zh_cn": "处方补贴", "name_en": "subsidy", "class": "promotion",
        "terms": {"type": "percent", "percent": 1_000, "classes": ["rx"]},
        "funders": [{"funder": "pharmacy", "share_basis_points": 10_000}],
    });
    app.operator.post("/ops/v1/offers", offer).await.expect(201);
    let mut asked = cart_of(&member, &[("rx", 1), ("food", 1)]);
    app.prescribe_approved(&member, "rx-2026-1", &[("rx", 1)]).await;
    asked["prescription"] = json!("rx-2026-1");
    let quoted = app.shop.post("/v1/quotes", asked).await.expect(201);
    let off = &quoted["price"]["lines"][0]["allocations"];
    assert_eq!(off.as_array().map(Vec::len), Some(1), "{off:#}");
    assert_eq!((&off[0]["amount"], &off[0]["funders"][0]["funder"]), (&cny(1_000), &json!("pharmacy")));
    assert_eq!(quoted["price"]["lines"][1]["allocations"], json!([]));
}

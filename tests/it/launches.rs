//! How offers come to be live and are stopped (R14), and the codes that bring their coupons (D1).

use jiff::SignedDuration;
use serde_json::{Value as Json, json};

use crate::app::{Client, TestApp, cny, text};

fn offer(code: &str, class: &str, terms: Json) -> Json {
    json!({"code": code, "name_zh_cn": code, "name_en": code, "class": class, "terms": terms})
}

async fn approve(client: &Client, offer: &str) -> crate::app::Reply {
    client.post(&format!("/ops/v1/offers/{offer}/approvals"), Json::Null).await
}

async fn wait(app: &TestApp) {
    app.wait(SignedDuration::from_secs(1)).await;
}

/// Draft, preview, second person, live; above half off a third one; and who is alone is recorded as alone.
#[tokio::test]
async fn r14_a_second_person_approves() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("v", 10_000).await;
    let order = app.order(&member, &["v"]).await;
    app.pay(&order).await;
    let terms = json!({"type": "amount", "amount": 1_000, "threshold": 5_000});
    let alone = app.operator.post("/ops/v1/offers", offer("alone", "coupon", terms.clone())).await.expect(201);
    assert_eq!((&alone["state"], &alone["launch"]["alone"]), (&json!("live"), &json!(true)));

    let second = app.client(&["offers:approve", "offers:read"]).await;
    let mut wanted = offer("draft", "promotion", terms);
    wanted["limits"] = json!([{"per": "all", "period": "day", "uses": 100}]);
    let draft = app.operator.post("/ops/v1/offers", wanted).await.expect(201);
    let id = text(&draft["id"]);
    assert_eq!((&draft["state"], &draft["launch"]["needed"]), (&json!("draft"), &json!(1)));
    assert_eq!(app.quote(&member, &["v"]).await["price"]["payable"], cny(10_000), "nobody gets it yet");
    let path = format!("/ops/v1/offers/{id}/resume");
    app.operator.post(&path, Json::Null).await.refused(409, "offer-not-issuable");
    let liability = second.get(&format!("/ops/v1/offers/{id}/liability")).await.expect(200);
    assert_eq!((&liability["uses_max"], &liability["worst"]), (&json!(3_100), &cny(3_100_000)));
    assert_eq!((&liability["expected_uses"], &liability["expected"]), (&json!(30), &cny(30_000)), "one order a day");
    assert!(!liability["assumptions"].as_array().expect("assumptions").is_empty());

    approve(&app.operator, &id).await.refused(409, "own-approval");
    approve(&app.shop, &id).await.refused(403, "scope-missing");
    assert_eq!(approve(&second, &id).await.expect(200)["state"], "live");
    assert_eq!(app.quote(&member, &["v"]).await["price"]["payable"], cny(9_000));

    let deep = offer("deep", "promotion", json!({"type": "percent", "percent": 5_001}));
    let deep = text(&app.operator.post("/ops/v1/offers", deep).await.expect(201)["id"]);
    for _ in 0..2 {
        assert_eq!(approve(&second, &deep).await.expect(200)["state"], "draft", "the same person twice is one");
    }
    let third = app.client(&["offers:approve"]).await;
    assert_eq!(approve(&third, &deep).await.expect(200)["state"], "live");
}

/// A pause holds at once, also for quotes made before; the breaker pauses by itself, and says so.
#[tokio::test]
async fn r14_pause_and_breaker() {
    let app = TestApp::start().await;
    app.product("v", 10_000).await;
    let mut wanted = offer("fast", "promotion", json!({"type": "amount", "amount": 1_000}));
    let rate = json!({"per": "all", "period": "minute", "uses": 2});
    wanted["breaker"] = json!([rate, rate]);
    app.operator.post("/ops/v1/offers", wanted.clone()).await.refused(422, "invalid-request");
    wanted["breaker"] = json!([rate]);
    let id = text(&app.operator.post("/ops/v1/offers", wanted).await.expect(201)["id"]);
    let mut quotes = Vec::new();
    for n in 0..4 {
        let member = app.member(&format!("m-{n}")).await;
        quotes.push(app.quote(&member, &["v"]).await);
    }
    let place = async |n: usize| app.shop.post("/v1/orders", json!({"quote": quotes[n]["id"]})).await;
    let state = async || app.operator.get(&format!("/ops/v1/offers/{id}")).await.expect(200);
    place(0).await.expect(201);
    place(1).await.expect(201);
    assert_eq!(state().await["state"], "live");
    let problem = place(2).await.refused(409, "quote-changed");
    assert_eq!(problem["quote"]["price"]["payable"], cny(10_000));
    let paused = state().await;
    assert_eq!((&paused["state"], &paused["paused_by"]), (&json!("paused"), &json!("breaker")));
    let metrics = text(&app.operator.get("/metrics").await.expect(200));
    assert!(metrics.contains("galenic_offer_breaker_trips_total{offer=\"fast\"}"), "it counts");

    let step =
        async |step: &str| app.operator.post(&format!("/ops/v1/offers/{id}/{step}"), Json::Null).await.expect(200);
    step("resume").await;
    app.wait(SignedDuration::from_mins(1)).await;
    let pausing = step("pause").await;
    assert_eq!(pausing["paused_by"], "operator");
    let problem = place(3).await.refused(409, "quote-changed");
    let outcome = &problem["quote"]["price"]["offers"];
    assert_eq!(problem["quote"]["price"]["payable"], cny(10_000), "{outcome}");
    step("resume").await;
    let member = app.member("m-9").await;
    assert_eq!(app.quote(&member, &["v"]).await["price"]["payable"], cny(9_000));
    app.order(&member, &["v"]).await;
}

/// Codes in bulk: made in steps, exported, each redeemed once; typos are told, guessing stops.
#[tokio::test]
async fn d1_codes_in_bulk() {
    let app = TestApp::start().await;
    let (one, other) = (app.member("m-1").await, app.member("m-2").await);
    let id = app.offer("flyer", "coupon", json!({"type": "amount", "amount": 500})).await;
    let path = format!("/ops/v1/offers/{id}/codes");
    app.operator.post(&path, json!({"count": 0})).await.refused(422, "invalid-request");
    let batch = app.operator.post(&path, json!({"count": 1_234})).await.expect(201);
    assert_eq!((&batch["number"], &batch["made"]), (&json!(1), &json!(0)));
    wait(&app).await;
    let batch = app.operator.get(&format!("{path}/1")).await.expect(200);
    assert_eq!((&batch["made"], batch["done_at"].is_string()), (&json!(1_234), true));
    let export = app.operator.get(&format!("{path}/1/export")).await;
    assert_eq!(export.header("content-type"), "text/csv; charset=utf-8");
    let export = text(&export.expect(200));
    let mut lines: Vec<&str> = export.lines().collect();
    assert_eq!((lines.remove(0), lines.len()), ("code", 1_234));
    let code = lines[1_233].to_owned();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 1_234, "no two are the same");
    app.shop.get(&format!("{path}/1/export")).await.refused(403, "scope-missing");

    let unused = *lines.iter().find(|line| **line != code).expect("another");
    let redeem = async |member: &str, code: &str| {
        app.shop.post(&format!("/v1/members/{member}/codes"), json!({"code": code})).await
    };
    let typed = code.to_lowercase().replace('-', " ");
    assert_eq!(redeem(&one, &typed).await.expect(201)["offer"], json!(id));
    redeem(&other, &code).await.refused(409, "code-used");
    let mut wrong = code.clone();
    let first = if wrong.remove(0) == 'A' { 'B' } else { 'A' };
    wrong.insert(0, first);
    let problem = redeem(&other, &wrong).await.refused(422, "invalid-request");
    assert!(text(&problem["detail"]).contains("mistyped"), "{problem}");
    // Fits itself, and was never made.
    for _ in 0..10 {
        redeem(&other, "22222-22222-2222").await.refused(404, "not-found");
    }
    redeem(&other, unused).await.refused(429, "too-many-guesses");
    app.wait(SignedDuration::from_hours(1)).await;
    redeem(&other, unused).await.expect(201);
}

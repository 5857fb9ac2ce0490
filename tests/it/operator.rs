//! What an operator does over HTTP: keys, offers, plugins, the state of things.

use serde_json::json;

use crate::app::{TestApp, text};

#[tokio::test]
async fn a_key_opens_what_its_scopes_say_until_it_is_revoked() {
    let app = TestApp::start().await;
    let partner = app.operator.post("/ops/v1/partners", json!({"name": "second shop"})).await.expect(201);
    let new = json!({"partner": partner["id"], "name": "till 1", "scopes": ["members:read"]});
    let key = app.operator.post("/ops/v1/keys", new).await.expect(201);
    assert!(text(&key["secret"]).starts_with("gk_"));
    let listed = app.operator.get("/ops/v1/keys").await.expect(200);
    let listed: Vec<_> =
        listed["items"].as_array().expect("items").iter().filter(|item| item["id"] == key["id"]).collect();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].get("secret"), None, "a secret is shown once");

    let revoked = app.operator.delete(&format!("/ops/v1/keys/{}", text(&key["id"]))).await.expect(200);
    assert_eq!(revoked["revoked_at"], "2026-03-01T04:00:00Z");
    let client = app.anonymous();
    let with_key = client.request(reqwest::Method::GET, "/v1/members").bearer_auth(text(&key["secret"]));
    client.send(with_key).await.refused(401, "unauthenticated");
    let wrong = json!({"partner": partner["id"], "name": "till 2", "scopes": ["members:fly"]});
    let problem = app.operator.post("/ops/v1/keys", wrong).await.refused(422, "invalid-request");
    assert_eq!(problem["errors"][0]["pointer"], "/scopes/0");
}

/// Who may make keys makes none that may do more.
#[tokio::test]
async fn a_key_gives_no_more_than_it_has() {
    let app = TestApp::start().await;
    let maker = app.client(&["keys:write", "members:read"]).await;
    let partner = app.operator.post("/ops/v1/partners", json!({"name": "second shop"})).await.expect(201);
    let key = |scope: &str, sees_all: bool| json!({"partner": partner["id"], "name": "till", "scopes": [scope], "sees_all": sees_all});
    maker.post("/ops/v1/keys", key("members:read", false)).await.expect(201);
    maker.post("/ops/v1/keys", key("members:personal", false)).await.refused(403, "scope-missing");
    maker.post("/ops/v1/keys", key("members:read", true)).await.refused(403, "scope-missing");
}

/// Labels are kept for ever: a caller cannot make new ones.
#[tokio::test]
async fn metrics_know_http_methods_alone() {
    let app = TestApp::start().await;
    for n in 0..3 {
        let method = reqwest::Method::from_bytes(format!("LOOK{n}").as_bytes()).expect("a token");
        app.anonymous().send(app.anonymous().request(method, "/nowhere")).await.refused(404, "no-such-route");
    }
    let metrics = text(&app.operator.get("/metrics").await.expect(200));
    assert!(metrics.contains("method=\"other\"") && !metrics.contains("LOOK"), "{metrics}");
}

#[tokio::test]
async fn an_offer_is_defined_paused_and_resumed() {
    let app = TestApp::start().await;
    let id = app.offer("welcome-990", "coupon", json!({"type": "amount", "amount": 990})).await;
    let path = format!("/ops/v1/offers/{id}");
    assert_eq!(app.operator.get("/ops/v1/offers/by-code/welcome-990").await.expect(200)["id"], json!(id));
    assert_eq!(app.operator.post(&format!("{path}/pause"), json!({})).await.expect(200)["state"], "paused");
    let member = app.member("m-1").await;
    let issue = json!({"offer": id, "member": member});
    app.shop.post("/v1/coupons", issue.clone()).await.refused(409, "offer-not-issuable");
    assert_eq!(app.operator.post(&format!("{path}/resume"), json!({})).await.expect(200)["state"], "live");
    app.shop.post("/v1/coupons", issue).await.expect(201);
    let wrong = json!({
        "code": "odd", "name_zh_cn": "x", "name_en": "x", "class": "coupon", "terms": {"type": "amount", "amount": 990, "colour": 3},
    });
    let problem = app.operator.post("/ops/v1/offers", wrong).await.refused(422, "invalid-request");
    assert_eq!(problem["errors"][0]["pointer"], "/terms/colour", "{problem:#}");
}

#[tokio::test]
async fn a_plugin_is_released_swapped_and_rolled_back() {
    let app = TestApp::start().await;
    let slots = app.operator.get("/ops/v1/slots").await.expect(200);
    let slots = slots["items"].as_array().expect("items");
    let names: Vec<String> = slots.iter().map(|slot| text(&slot["name"])).collect();
    assert_eq!(names, ["coupon", "earning", "guard", "score.home", "tier"]);
    let tier = &slots[4];
    assert_eq!(tier["active"]["number"], 1);

    let mut config = tier["release"]["config"].clone();
    let tiers = config["tiers"].as_array_mut().expect("tiers");
    assert_eq!((&tiers[1]["tier"]["code"], &tiers[1]["from"]), (&json!("bronze"), &json!(19_900)));
    tiers[1]["from"] = json!(9_900);
    let new = json!({"module": tier["release"]["module"], "config": config});
    let release = app.operator.post("/ops/v1/slots/tier/releases", new).await.expect(201);
    assert_eq!(release["number"], 2);
    let active = app.operator.put("/ops/v1/slots/tier/active", json!({"number": 2})).await.expect(200);
    assert_eq!((&active["number"], &active["previous"]), (&json!(2), &json!(1)));

    let member = app.member("m-1").await;
    app.product("vitamin-c", 9_900).await;
    let order = app.order(&member, &["vitamin-c"]).await;
    app.pay(&order).await;
    let shown = app.shop.get(&format!("/v1/members/{member}")).await.expect(200);
    assert_eq!((&shown["tier"]["code"], &shown["tier"]["release"]), (&json!("bronze"), &json!(2)));

    let active = app.operator.post("/ops/v1/slots/tier/rollback", json!({})).await.expect(200);
    assert_eq!(active["number"], 1);
    let releases = app.operator.get("/ops/v1/slots/tier/releases").await.expect(200);
    let numbers: Vec<_> =
        releases["items"].as_array().expect("items").iter().map(|row| row["number"].clone()).collect();
    assert_eq!(numbers, [json!(2), json!(1)]);
    let stats = app.operator.get("/ops/v1/stats").await.expect(200);
    let called = |slot: &str| {
        let releases = stats["releases"].as_array().expect("releases").iter();
        releases.filter(|row| row["slot"] == slot).map(|row| row["calls"].as_u64().unwrap_or(0)).sum::<u64>()
    };
    assert!(called("tier") > 0 && called("earning") > 0, "{stats:#}");
}

#[tokio::test]
async fn a_module_that_is_none_is_refused_with_its_fix() {
    let app = TestApp::start().await;
    let push = |bytes: Vec<u8>| {
        let request = app.operator.request(reqwest::Method::POST, "/ops/v1/modules");
        app.operator.send(request.header("content-type", "application/wasm").body(bytes))
    };
    push(Vec::new()).await.refused(422, "module-refused");
    push(b"(component)".to_vec()).await.refused(422, "module-refused");
    push(vec![0; 5 << 20]).await.refused(422, "module-refused");
    push(vec![0; (16 << 20) + 1]).await.refused(413, "body-too-large");
    let release = json!({"module": "0".repeat(64)});
    let problem = app.operator.post("/ops/v1/slots/tier/releases", release).await.refused(422, "invalid-request");
    assert_eq!(problem["errors"][0]["pointer"], "/module");
    app.operator.put("/ops/v1/slots/tier/active", json!({"number": 99})).await.refused(404, "not-found");
    app.operator.post("/ops/v1/slots/tier/rollback", json!({})).await.refused(409, "nothing-to-roll-back");
}

#[tokio::test]
async fn the_books_the_health_and_the_figures_can_be_read() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    let adjust = format!("/v1/members/{member}/points/adjustments");
    assert_eq!(
        app.operator.post(&adjust, json!({"points": 500, "reason": "goodwill"})).await.expect(200)["active"],
        500
    );
    app.operator.post(&adjust, json!({"points": -501, "reason": "mistake"})).await.refused(409, "not-enough-points");
    app.shop.post(&adjust, json!({"points": 1, "reason": "goodwill"})).await.refused(403, "scope-missing");
    let ledger = app.operator.get("/ops/v1/ledger").await.expect(200);
    assert_eq!((&ledger["sound"], &ledger["sum"], &ledger["entries"]), (&json!(true), &json!(0), &json!(2)));
    let nobody = app.anonymous();
    assert_eq!(nobody.get("/healthz").await.expect(200)["status"], "ok");
    assert_eq!(nobody.get("/readyz").await.expect(200)["status"], "ok");
    nobody.get("/metrics").await.refused(401, "unauthenticated");
    let metrics = text(&app.operator.get("/metrics").await.expect(200));
    for name in ["galenic_http_requests_total", "galenic_store_commits_total", "galenic_plugin_calls_total"] {
        assert!(metrics.contains(name), "{name} is missing from\n{metrics}");
    }
    assert!(!metrics.contains(&member), "metrics name routes, never members");
}

#[tokio::test]
async fn only_a_manual_clock_is_moved_and_only_forward() {
    let app = TestApp::start().await;
    app.operator.put("/ops/v1/clock", json!({"now": "2026-02-28T00:00:00Z"})).await.refused(422, "invalid-request");
    app.shop.put("/ops/v1/clock", json!({"now": "2026-04-01T00:00:00Z"})).await.refused(403, "scope-missing");
    let moved = app.operator.put("/ops/v1/clock", json!({"now": "2026-04-01T00:00:00Z"})).await.expect(200);
    assert_eq!(moved["now"], "2026-04-01T00:00:00Z");
}

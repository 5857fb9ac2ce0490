//! What points buy over HTTP, and what members bring along from an earlier programme.

use futures::future::join_all;
use jiff::SignedDuration;
use serde_json::{Value as Json, json};

use crate::{
    app::{Reply, TestApp, text},
    program::run,
};

async fn rich(app: &TestApp, name: &str, points: i64) -> String {
    let member = app.member(name).await;
    let body = json!({"points": points, "reason": "goodwill"});
    app.operator.post(&format!("/v1/members/{member}/points/adjustments"), body).await.expect(200);
    member
}

/// A product whose stock is counted; its id.
async fn stocked(app: &TestApp, name: &str, class: &str, stock: i64) -> String {
    let product = json!({
        "external_id": name, "name": name, "category": "GIFTS", "class": class, "stock": stock,
        "list_price": crate::app::cny(1_000),
    });
    app.shop.post("/v1/products/import", json!({"products": [product]})).await.expect(200);
    text(&app.shop.get(&format!("/v1/products/by-external-id/{name}")).await.expect(200)["id"])
}

async fn define(app: &TestApp, code: &str, kind: Json, points: i64) -> Reply {
    let gift = json!({"code": code, "name_zh_cn": "礼品", "name_en": "gift", "kind": kind, "points": points});
    app.operator.post("/ops/v1/gifts", gift).await
}

async fn gift(app: &TestApp, code: &str, kind: Json, points: i64) -> String {
    text(&define(app, code, kind, points).await.expect(201)["id"])
}

async fn take(app: &TestApp, member: &str, gift: &str) -> Reply {
    app.shop.post(&format!("/v1/members/{member}/redemptions"), json!({"gift": gift})).await
}

async fn step(app: &TestApp, redemption: &Json, step: &str) -> Reply {
    app.shop.post(&format!("/v1/redemptions/{}/{step}", text(&redemption["id"])), Json::Null).await
}

/// Held, handed over, taken back; held and given up; held and forgotten: points and stock are where they belong.
#[tokio::test]
async fn c6_gifts_hold_points_and_stock_until_they_are_handed_over() {
    let app = TestApp::start().await;
    let member = rich(&app, "m-1", 250).await;
    let product = stocked(&app, "pill-box", "other", 2).await;
    let gift = gift(&app, "pill-box", json!({"type": "product", "product": product}), 100).await;
    let first = take(&app, &member, &gift).await.expect(201);
    assert_eq!((&first["state"], &first["points"]), (&json!("held"), &json!(100)));
    let second = take(&app, &member, &gift).await.expect(201);
    assert_eq!(app.points(&member).await, [0, 50, 200]);
    take(&app, &member, &gift).await.refused(409, "not-enough-points");
    let other = rich(&app, "m-2", 100).await;
    take(&app, &other, &gift).await.refused(409, "gift-not-available");
    assert_eq!(app.points(&other).await, [0, 100, 0], "nothing half done");

    assert_eq!(step(&app, &first, "fulfilment").await.expect(200)["state"], "redeemed");
    assert_eq!(app.points(&member).await, [0, 50, 100]);
    step(&app, &first, "fulfilment").await.refused(409, "wrong-redemption-state");
    assert_eq!(step(&app, &second, "cancellation").await.expect(200)["state"], "cancelled");
    assert_eq!(app.points(&member).await, [0, 150, 0]);
    step(&app, &second, "cancellation").await.refused(409, "wrong-redemption-state");
    let third = take(&app, &other, &gift).await.expect(201);
    assert_eq!(app.points(&other).await, [0, 0, 100], "the item came back");
    step(&app, &first, "cancellation").await.expect(200);
    assert_eq!(app.points(&member).await, [0, 250, 0], "taken back after all");
    app.wait(SignedDuration::from_hours(14 * 24)).await;
    assert_eq!(app.points(&other).await, [0, 100, 0], "nobody came for it");
    let third = app.shop.get(&format!("/v1/redemptions/{}", text(&third["id"]))).await.expect(200);
    assert_eq!(third["state"], "cancelled");
    let taken = app.shop.get(&format!("/v1/members/{member}/redemptions")).await.expect(200);
    assert_eq!(taken["items"].as_array().map(Vec::len), Some(2));
    let verified = app.operator.post("/ops/v1/verify", Json::Null).await.expect(200);
    assert_eq!(verified["sound"], true, "{verified:#}");
}

/// Prescription and class A medicines are never given for points, also where a product becomes one later.
#[tokio::test]
async fn r4_medicine_is_never_a_points_gift() {
    let app = TestApp::start().await;
    let member = rich(&app, "m-1", 100).await;
    for class in ["rx", "otc-a"] {
        let product = stocked(&app, class, class, 9).await;
        let kind = json!({"type": "product", "product": product});
        let problem = define(&app, class, kind, 10).await.refused(422, "invalid-request");
        assert_eq!(problem["errors"][0]["pointer"], "/product");
    }
    let product = stocked(&app, "later", "otc-b", 9).await;
    let gift = gift(&app, "later", json!({"type": "product", "product": product}), 10).await;
    stocked(&app, "later", "otc-a", 9).await;
    take(&app, &member, &gift).await.refused(409, "gift-not-available");
    app.operator.post(&format!("/ops/v1/gifts/{gift}/pause"), Json::Null).await.expect(200);
    app.operator.post(&format!("/ops/v1/gifts/{gift}/resume"), Json::Null).await.refused(422, "invalid-request");
}

/// Ten members and eight codes at once: eight get one each, all different, two are told; a retry gets the same code, and a
/// code that was uploaded before is not added again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c6_each_service_code_goes_to_one_member_once() {
    let app = TestApp::start().await;
    let gift = gift(&app, "checkup", json!({"type": "service"}), 30).await;
    let codes: Vec<String> = (0..8).map(|n| format!("SECRET-CODE-{n}")).collect();
    let path = format!("/ops/v1/gifts/{gift}/codes");
    let upload = |codes: &[String]| app.operator.post(&path, json!({"codes": codes}));
    assert_eq!(upload(&codes).await.expect(200), json!({"added": 8, "known": 0}));
    assert_eq!(upload(&codes[..2]).await.expect(200), json!({"added": 0, "known": 2}));
    upload(&["two words".to_owned()]).await.refused(422, "invalid-request");
    let names: Vec<String> = (0..10).map(|n| format!("m-{n}")).collect();
    let members = join_all(names.iter().map(|name| rich(&app, name, 30))).await;
    let replies = join_all(members.iter().map(|member| take(&app, member, &gift))).await;
    let (mut got, mut none) = (Vec::new(), 0);
    for reply in replies {
        if reply.status.as_u16() == 201 {
            got.push(text(&reply.json["code"]));
            assert_eq!(reply.json["state"], "redeemed");
            step(&app, &reply.json, "cancellation").await.refused(409, "wrong-redemption-state");
        } else {
            reply.refused(409, "gift-not-available");
            none += 1;
        }
    }
    got.sort();
    assert_eq!((got, none), (codes.clone(), 2));
    assert_eq!(upload(&codes).await.expect(200), json!({"added": 0, "known": 8}), "given or not");
    assert_eq!(upload(&["ONE-MORE".to_owned()]).await.expect(200)["added"], 1);
    let member = rich(&app, "retries", 60).await;
    let ask = || {
        let path = format!("/v1/members/{member}/redemptions");
        let request = app.shop.request(reqwest::Method::POST, &path).header("idempotency-key", "take-it-once");
        let mut request = request.json(&json!({"gift": gift})).build().expect("a request");
        let key = "take-it-once".parse().expect("a header");
        request.headers_mut().insert("idempotency-key", key);
        app.shop.send_built(request)
    };
    let first = ask().await.expect(201);
    let again = ask().await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!((again.expect(201), &first["code"]), (first.clone(), &json!("ONE-MORE")));
    assert_eq!(app.points(&member).await, [0, 30, 0]);
}

/// Purchase credit: points become a coupon, which takes money off the next order.
#[tokio::test]
async fn c6_points_buy_purchase_credit() {
    let app = TestApp::start().await;
    let member = rich(&app, "m-1", 500).await;
    app.product("food", 10_000).await;
    let offer = app.offer("credit-5", "coupon", json!({"type": "amount", "amount": 500})).await;
    let promotion = app.offer("promo", "promotion", json!({"type": "amount", "amount": 1})).await;
    let problem = define(&app, "no", json!({"type": "credit", "offer": promotion}), 9).await;
    assert_eq!(problem.refused(422, "invalid-request")["errors"][0]["pointer"], "/offer");
    let gift = gift(&app, "credit-5", json!({"type": "credit", "offer": offer}), 450).await;
    let taken = take(&app, &member, &gift).await.expect(201);
    assert_eq!(app.points(&member).await, [0, 50, 0]);
    let mut cart = crate::app::cart(&member, &["food"]);
    cart["coupon"] = taken["coupon"].clone();
    let quote = app.shop.post("/v1/quotes", cart).await.expect(201);
    assert_eq!(quote["price"]["payable"], crate::app::cny(10_000 - 500 - 1));
    step(&app, &taken, "cancellation").await.refused(409, "wrong-redemption-state");
    app.operator.post(&format!("/ops/v1/gifts/{gift}/pause"), Json::Null).await.expect(200);
    take(&app, &member, &gift).await.refused(409, "gift-not-available");
}

async fn partner(app: &TestApp) -> Json {
    let partners = app.operator.get("/ops/v1/partners").await.expect(200);
    let found = partners["items"].as_array().expect("partners").iter().find(|partner| partner["name"] == "shop");
    found.expect("the shop")["id"].clone()
}

/// Points as lots, a tier with its date, a coupon in hand; twice the same changes nothing; a row that is wrong is refused
/// with field and fix and stops no other; everything comes from `opening`, and the books close.
#[tokio::test]
async fn r17_takeover_of_points_tiers_and_coupons() {
    let app = TestApp::start().await;
    let (member, partner) = (app.member("m-1").await, partner(&app).await);
    app.product("food", 10_000).await;
    app.offer("old-20", "coupon", json!({"type": "amount", "amount": 2_000})).await;
    let lot = |name: &str, member: &str, points: i64, expires: &str| json!({"external_id": name, "member": member, "points": points, "expires_at": expires});
    let post = |what: &'static str, rows: Json| {
        let (operator, partner) = (&app.operator, partner.clone());
        async move { operator.post(&format!("/ops/v1/takeover/{what}"), json!({"partner": partner, "rows": rows})).await }
    };
    let rows = json!([
        lot("lot-1", "m-1", 300, "2026-04-01T00:00:00Z"),
        lot("lot-2", "m-1", 200, "2026-12-31T15:59:59Z"),
        lot("lot-3", "nobody", 10, "2026-12-31T15:59:59Z"),
        lot("lot-4", "m-1", 0, "2026-12-31T15:59:59Z"),
        lot("lot-5", "m-1", 10, "2026-01-01T00:00:00Z"),
    ]);
    let report = post("points", rows.clone()).await.expect(200);
    assert_eq!((&report["taken"], &report["known"], &report["refused"]), (&json!(2), &json!(0), &json!(3)));
    let refused: Vec<(u64, String)> = report["refusals"]
        .as_array()
        .expect("refusals")
        .iter()
        .map(|refusal| (refusal["row"].as_u64().expect("a row"), text(&refusal["field"])))
        .collect();
    assert_eq!(refused, [(2, "member".to_owned()), (3, "points".to_owned()), (4, "expires_at".to_owned())]);
    let again = post("points", rows).await.expect(200);
    assert_eq!((&again["taken"], &again["known"], &again["refused"]), (&json!(0), &json!(2), &json!(3)));
    let other = post("points", json!([lot("lot-1", "m-1", 301, "2026-04-01T00:00:00Z")])).await.expect(200);
    assert_eq!(other["refusals"][0]["field"], "external_id");
    assert_eq!(app.points(&member).await, [0, 500, 0]);

    let tiers = json!([
        {"member": "m-1", "tier": "gold", "since": "2025-05-01T00:00:00Z", "lifetime_net_spend": 350_000,
            "lifetime_paid_orders": 12},
        {"member": "m-1", "tier": "platinum", "since": "2025-05-01T00:00:00Z"},
    ]);
    let report = post("tiers", tiers.clone()).await.expect(200);
    assert_eq!((&report["taken"], &report["refusals"][0]["field"]), (&json!(1), &json!("tier")));
    assert_eq!(post("tiers", tiers).await.expect(200)["known"], 1);
    let shown = app.shop.get(&format!("/v1/members/{member}")).await.expect(200);
    let tier = json!([shown["tier"]["code"], shown["tier"]["since"], shown["tier"]["cause"]]);
    assert_eq!(tier, json!(["gold", "2025-05-01T00:00:00Z", "opening"]));

    let coupon =
        json!({"external_id": "c-1", "member": "m-1", "offer": "old-20", "expires_at": "2026-03-20T00:00:00Z"});
    let rows = json!([coupon, {"external_id": "c-2", "member": "m-1", "offer": "unknown"}]);
    let report = post("coupons", rows.clone()).await.expect(200);
    assert_eq!((&report["taken"], &report["refusals"][0]["field"]), (&json!(1), &json!("offer")));
    assert_eq!(post("coupons", rows).await.expect(200)["known"], 1);
    let quote = app.quote(&member, &["food"]).await;
    assert_eq!(quote["price"]["payable"], crate::app::cny(8_800 - 2_000), "gold, and the coupon in hand");
    let order = app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await.expect(201);
    app.pay(&order).await;
    let shown = app.shop.get(&format!("/v1/members/{member}")).await.expect(200);
    assert_eq!(shown["tier"]["code"], "gold", "what was paid before counts");

    let ledger = app.operator.get("/ops/v1/ledger").await.expect(200);
    assert_eq!(
        (&ledger["totals"]["opening"], &ledger["sum"], &ledger["sound"]),
        (&json!(500), &json!(0), &json!(true))
    );
    app.wait(SignedDuration::from_hours(31 * 24)).await;
    assert_eq!(app.points(&member).await[1], 200, "the first lot died in its time");
    app.shop
        .post("/ops/v1/takeover/points", json!({"partner": partner, "rows": []}))
        .await
        .refused(403, "scope-missing");
    post("points", json!([])).await.refused(422, "invalid-request");
    let verified = app.operator.post("/ops/v1/verify", Json::Null).await.expect(200);
    assert_eq!(verified["sound"], true, "{verified:#}");
}

/// The program sends a file, names what was refused by line, and may send it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r17_takeover_from_csv() {
    let app = TestApp::start().await;
    let (member, partner) = (app.member("m-1").await, text(&partner(&app).await));
    let dir = tempfile::TempDir::new().expect("a directory");
    let file = dir.path().join("points.csv");
    let mut csv = "external_id,member,points,expires_at\n".to_owned();
    for n in 0..450 {
        csv.push_str(&format!("lot-{n},m-1,2,2027-01-01T00:00:00Z\n"));
    }
    csv.push_str("bad-1,m-1,two,2027-01-01T00:00:00Z\nbad-2,m-2,2,2027-01-01T00:00:00Z\n");
    std::fs::write(&file, csv).expect("writes");
    let arguments = [
        "takeover",
        "points",
        file.to_str().expect("a name"),
        "--partner",
        &partner,
        "--server",
        app.operator.url(),
        "--key",
        app.operator.key().expect("a key"),
    ]
    .map(str::to_owned);
    for (taken, known) in [(450, 0), (0, 450)] {
        let arguments = arguments.clone();
        let ran = tokio::task::spawn_blocking(move || run(&arguments.each_ref().map(String::as_str)));
        let (code, said) = ran.await.expect("does not panic");
        assert!(said.contains(&format!("taken {taken}, known before {known}, refused 2")), "{said}");
        assert!(said.contains("line 452: refused: points") && said.contains("line 453: refused: member"), "{said}");
        assert_eq!(code, 1);
    }
    assert_eq!(app.points(&member).await, [0, 900, 0]);
}

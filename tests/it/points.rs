//! Points over HTTP: earned by what members do, clawed back by policy, corrected with a reason, shown in statements.

use futures::future::join_all;
use galenic::domain::points::Clawback;
use jiff::SignedDuration;
use serde_json::{Value as Json, json};

use crate::app::{Reply, TestApp, text};

async fn report(app: &TestApp, member: &str, kind: &str, external_id: &str) -> Reply {
    let body = json!({"kind": kind, "external_id": external_id});
    app.shop.post(&format!("/v1/members/{member}/activities"), body).await
}

/// What an activity earned, and the code of its last reason.
async fn earned(app: &TestApp, member: &str, kind: &str, external_id: &str) -> (i64, String) {
    let activity = report(app, member, kind, external_id).await.expect(200);
    let reasons = activity["reasons"].as_array().expect("reasons");
    (activity["points"].as_i64().expect("points"), text(&reasons.last().expect("a reason")["code"]))
}

/// Makes what is live in a slot another one, with a changed configuration.
async fn release(app: &TestApp, slot: &str, change: impl FnOnce(&mut Json)) {
    let slots = app.operator.get("/ops/v1/slots").await.expect(200);
    let live = slots["items"].as_array().expect("slots").iter().find(|found| found["name"] == slot).expect("lives");
    let mut config = live["release"]["config"].clone();
    change(&mut config);
    let mut budgets = live["release"]["budgets"].clone();
    budgets["wall_ms"] = json!(10_000);
    let new = json!({"module": live["release"]["module"], "config": config, "budgets": budgets});
    let released = app.operator.post(&format!("/ops/v1/slots/{slot}/releases"), new).await.expect(201);
    app.operator.put(&format!("/ops/v1/slots/{slot}/active"), json!({"number": released["number"]})).await.expect(200);
}

/// Lets the earning rule take its time on a machine that is busy with other tests.
async fn patient() -> TestApp {
    let app = TestApp::start().await;
    release(&app, "earning", |_| {}).await;
    app
}

async fn adjust(app: &TestApp, member: &str, points: i64) -> Json {
    let body = json!({"points": points, "reason": "goodwill"});
    app.operator.post(&format!("/v1/members/{member}/points/adjustments"), body).await.expect(200)
}

/// A check-in earns once a day, reading up to ten points a day; the day is Shanghai's and begins at its midnight.
#[tokio::test]
async fn c5_daily_caps_by_times_and_by_points() {
    let app = patient().await;
    let member = app.member("m-1").await;
    assert_eq!(earned(&app, &member, "check-in", "a").await, (5, "activity".to_owned()));
    assert_eq!(earned(&app, &member, "check-in", "b").await, (0, "daily-times".to_owned()));
    for n in 0..5 {
        assert_eq!(earned(&app, &member, "reading", &format!("article-{n}")).await.0, 2);
    }
    assert_eq!(earned(&app, &member, "reading", "article-5").await, (0, "daily-points".to_owned()));
    assert_eq!(app.points(&member).await, [0, 15, 0], "active at once, as the rule says");
    assert_eq!(earned(&app, &member, "lecture", "l-1").await, (0, "not-listed".to_owned()));
    // It was noon in Shanghai.
    app.wait(SignedDuration::from_mins(12 * 60 - 1)).await;
    assert_eq!(earned(&app, &member, "check-in", "c").await.0, 0, "23:59 is the same day");
    app.wait(SignedDuration::from_mins(1)).await;
    assert_eq!(earned(&app, &member, "check-in", "d").await.0, 5, "midnight is the next");
    let late = json!({"kind": "check-in", "external_id": "e", "at": "2026-03-01T05:00:00Z"});
    let late = app.shop.post(&format!("/v1/members/{member}/activities"), late).await.expect(200);
    assert_eq!(late["points"], 0, "told late, it counts against the day it was done");
}

/// What is reported twice, also at the same time, counts once; what cannot be right is refused by field.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c5_each_reference_counts_exactly_once() {
    let app = patient().await;
    let (member, other) = (app.member("m-1").await, app.member("m-2").await);
    let replies = join_all((0..6).map(|_| report(&app, &member, "share", "s-1"))).await;
    let ids: Vec<Json> = replies.into_iter().map(|reply| reply.expect(200)["id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let names: Vec<String> = (0..6).map(|n| format!("c-{n}")).collect();
    let replies = join_all(names.iter().map(|name| report(&app, &member, "check-in", name))).await;
    let points: i64 = replies.into_iter().map(|reply| reply.expect(200)["points"].as_i64().expect("points")).sum();
    assert_eq!(points, 5, "one a day, however many come at once");
    assert_eq!(app.points(&member).await, [0, 10, 0]);
    let again = report(&app, &member, "share", "s-1").await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(200)["id"], ids[0]);
    report(&app, &other, "share", "s-1").await.refused(409, "already-exists");
    let problem = report(&app, &member, "purchase", "p-1").await.refused(422, "invalid-request");
    assert_eq!(problem["errors"][0]["pointer"], "/kind");
    for at in ["2026-03-01T06:00:00Z", "2026-01-01T00:00:00Z"] {
        let body = json!({"kind": "quiz", "external_id": "q-1", "at": at});
        let path = format!("/v1/members/{member}/activities");
        let problem = app.shop.post(&path, body).await.refused(422, "invalid-request");
        assert_eq!(problem["errors"][0]["pointer"], "/at");
    }
    let listed = app.shop.get(&format!("/v1/members/{member}/activities?limit=200")).await.expect(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(7));
    app.operator.post("/ops/v1/verify", json!({})).await.expect(200);
}

/// A review whose points wait a week: pending, then active by its timer, then dead a year after; counted as the statement
/// says.
#[tokio::test]
async fn c5_pending_until_the_window_of_the_rule_closes() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    release(&app, "earning", |config| config["activities"][0]["pending_days"] = json!(7)).await;
    let review = report(&app, &member, "review", "r-1").await.expect(200);
    assert_eq!((&review["points"], &review["active_at"]), (&json!(20), &json!("2026-03-08T04:00:00Z")));
    assert_eq!(app.points(&member).await, [20, 0, 0]);
    app.wait(SignedDuration::from_hours(7 * 24)).await;
    assert_eq!(app.points(&member).await, [0, 20, 0]);
    let entries = app.shop.get(&format!("/v1/members/{member}/points/entries")).await.expect(200);
    let entry = &entries["items"][0];
    assert_eq!((&entry["cause"], &entry["activity"]), (&json!("activated"), &review["id"]));
    app.wait(SignedDuration::from_hours(366 * 24)).await;
    assert_eq!(app.points(&member).await, [0, 0, 0]);
}

/// Every activity is an interaction of the last 365 days: two points of the composite score each. The tier is judged anew.
#[tokio::test]
async fn r5_interactions_move_the_tier() {
    let app = patient().await;
    let member = app.member("m-1").await;
    let modules = app.operator.get("/ops/v1/modules").await.expect(200);
    let modules = modules["items"].as_array().expect("modules");
    let composite = modules.iter().find(|module| module["name"] == "tier-composite").expect("is built in");
    let mut config: Json =
        serde_json::from_str(include_str!("../../plugins/tier-composite/config.json")).expect("JSON");
    config["tiers"][1]["from"] = json!(6);
    let slots = app.operator.get("/ops/v1/slots").await.expect(200);
    let live = slots["items"].as_array().expect("slots").iter().find(|slot| slot["name"] == "tier").expect("lives");
    let mut budgets = live["release"]["budgets"].clone();
    budgets["wall_ms"] = json!(10_000);
    let map = json!({"member": "regular", "bronze": "regular"});
    let new = json!({"module": composite["digest"], "config": config, "budgets": budgets, "tier_map": map});
    let released = app.operator.post("/ops/v1/slots/tier/releases", new).await.expect(201);
    app.operator.put("/ops/v1/slots/tier/active", json!({"number": released["number"]})).await.expect(200);
    for (n, tier) in ["regular", "regular", "silver"].into_iter().enumerate() {
        report(&app, &member, "like", &format!("like-{n}")).await.expect(200);
        let member = app.shop.get(&format!("/v1/members/{member}")).await.expect(200);
        assert_eq!(member["tier"]["code"], tier, "{n}");
    }
}

/// Buys for 100 yuan, lets the points become active, spends them elsewhere, and sends everything back: the points that
/// are left, and what the refund says; the order says the same.
async fn refunded_after_spending(policy: Clawback, spend: i64) -> (TestApp, String, Json) {
    let app = TestApp::start_with(|config| config.programme.points_clawback = policy).await;
    let member = app.member("m-1").await;
    app.product("food", 10_000).await;
    let order = app.order(&member, &["food"]).await;
    app.pay(&order).await;
    app.step(&order, "shipment").await;
    app.step(&order, "delivery").await;
    app.wait(SignedDuration::from_hours(7 * 24)).await;
    assert_eq!(app.points(&member).await, [0, 100, 0]);
    adjust(&app, &member, -spend).await;
    let path = format!("/v1/orders/{}/refunds", text(&order["id"]));
    let refunded = app.shop.post(&path, json!({"cause": "change-of-mind"})).await.expect(200);
    let refund = refunded["refunds"][0].clone();
    let earning = &refunded["earning"];
    assert_eq!((&earning["clawed_back"], &earning["short"]), (&refund["points_clawed_back"], &refund["points_short"]));
    (app, member, refund)
}

#[tokio::test]
async fn d4_clawback_of_what_is_pending_only() {
    let (app, member, refund) = refunded_after_spending(Clawback::PendingOnly, 30).await;
    assert_eq!((&refund["points_clawed_back"], &refund["points_short"]), (&json!(0), &json!(100)));
    assert_eq!(app.points(&member).await, [0, 70, 0]);
}

#[tokio::test]
async fn d4_clawback_within_the_balance() {
    let (app, member, refund) = refunded_after_spending(Clawback::WithinBalance, 30).await;
    assert_eq!((&refund["points_clawed_back"], &refund["points_short"]), (&json!(70), &json!(30)));
    assert_eq!(app.points(&member).await, [0, 0, 0]);
}

/// What the balance lacks is owed, shown, and paid by the next earnings before any of them can be spent.
#[tokio::test]
async fn d4_clawback_may_go_negative_and_is_paid_first() {
    let (app, member, refund) = refunded_after_spending(Clawback::MayGoNegative, 97).await;
    assert_eq!((&refund["points_clawed_back"], &refund["points_short"]), (&json!(100), &json!(0)));
    let path = format!("/v1/members/{member}/points");
    assert_eq!(app.shop.get(&path).await.expect(200)["debt"], 97);
    report(&app, &member, "review", "r-1").await.expect(200);
    let points = app.shop.get(&path).await.expect(200);
    assert_eq!((&points["active"], &points["debt"]), (&json!(0), &json!(77)));
    assert_eq!(adjust(&app, &member, 100).await["active"], 23);
    let debts = app.shop.get(&format!("{path}/entries?purse=debt")).await.expect(200);
    let causes: Vec<&Json> = debts["items"].as_array().expect("items").iter().map(|entry| &entry["cause"]).collect();
    assert_eq!(causes, [&json!("debt-paid"), &json!("debt-paid"), &json!("clawed-back")]);
    let ledger = app.operator.get("/ops/v1/ledger").await.expect(200);
    assert_eq!(
        (&ledger["sound"], &ledger["totals"]["debt"], &ledger["unchained"]),
        (&json!(true), &json!(0), &json!(0))
    );
    assert_eq!(ledger["root"].as_str().map(str::len), Some(64));
}

/// A correction needs a reason; the statement shows it with the key that was used. The CSV has every purse's entries with
/// the running balance, and its last balances are those of now.
#[tokio::test]
async fn c5_statements_show_who_corrected_and_why() {
    let app = patient().await;
    let member = app.member("m-1").await;
    let path = format!("/v1/members/{member}/points");
    for body in [
        json!({"points": 5}),
        json!({"points": 5, "reason": ""}),
        json!({"points": 5, "reason": "Too Loud"}),
        json!({"points": i64::MIN, "reason": "typo"}),
        json!({"points": 1_000_000_001, "reason": "typo"}),
    ] {
        app.operator.post(&format!("{path}/adjustments"), body).await.refused(422, "invalid-request");
    }
    for _ in 0..600 {
        adjust(&app, &member, 2).await;
    }
    adjust(&app, &member, -1).await;
    report(&app, &member, "check-in", "c-1").await.expect(200);
    let entry = &app.shop.get(&format!("{path}/entries")).await.expect(200)["items"][1];
    assert_eq!((&entry["cause"], &entry["reason"]), (&json!("adjusted"), &json!("goodwill")));
    let by = text(&entry["by"]);
    assert!(by.starts_with("key_"), "{by}");
    let reply = app.shop.get(&format!("{path}/statement.csv")).await;
    assert_eq!(reply.header("content-type"), "text/csv; charset=utf-8");
    let csv = text(&reply.expect(200));
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((lines.len(), lines[0][4], lines[0].len()), (1 + 602, "balance", 10));
    let mut sum = 0;
    for (n, line) in lines[1..].iter().enumerate() {
        sum += line[3].parse::<i64>().expect("an amount");
        assert_eq!((line[0], line[1], line[4]), ("active", &*n.to_string(), &*sum.to_string()));
    }
    assert_eq!((lines[601][8], lines[601][9], sum), ("goodwill", &*by, 1_204));
    app.wait(SignedDuration::from_hours(1)).await;
    adjust(&app, &member, 7).await;
    let later = text(&app.shop.get(&format!("{path}/statement.csv?from=2026-03-01T04:30:00Z")).await.expect(200));
    assert_eq!(later.lines().count(), 2, "{later}");
    let until = text(&app.shop.get(&format!("{path}/statement.csv?until=2026-03-01T03:59:59Z")).await.expect(200));
    assert_eq!(until.lines().count(), 1, "{until}");
    let stranger = app.client(&["points:read"]).await;
    stranger.get(&format!("{path}/statement.csv")).await.refused(404, "not-found");
}

/// Every point that members hold is in the report, by state and by the month it dies in, and the months add up to it; an
/// order, an activity, a correction, a hold, a refund and a year later.
#[tokio::test]
async fn f7_points_liability_reconciles_to_the_point() {
    let app = patient().await;
    let (member, other) = (app.member("m-1").await, app.member("m-2").await);
    app.product("food", 10_000).await;
    let paid = app.order(&member, &["food"]).await;
    app.pay(&paid).await;
    report(&app, &other, "review", "r-1").await.expect(200);
    adjust(&app, &other, 300).await;
    let mut cart = crate::app::cart(&other, &["food"]);
    cart["points"] = json!(50);
    let quote = app.shop.post("/v1/quotes", cart).await.expect(201);
    app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await.expect(201);
    let path = "/ops/v1/points/liability";
    let found = app.operator.get(path).await.expect(200);
    let worth = |points: i64| json!({"points": points, "money": {"minor": points, "currency": "CNY"}});
    for (state, points) in [("pending", 100), ("active", 270), ("held", 50), ("debt", 0), ("outstanding", 420)] {
        assert_eq!(found[state], worth(points), "{state}: {found:#}");
    }
    assert_eq!((&found["reconciled"], &found["difference"]), (&json!(true), &json!(0)));
    let expiring = json!([{"month": "2027-03", "points": 270, "money": {"minor": 270, "currency": "CNY"}}]);
    assert_eq!(found["expiring"], expiring);
    let months = found["months"].as_array().expect("months");
    assert_eq!((months.len(), &months[11]["month"]), (12, &json!("2026-03")));
    assert_eq!((&months[11]["issued"], &months[11]["adjusted"]), (&worth(120), &worth(300)));
    assert_eq!(months[10]["outstanding"], worth(0));

    app.shop.post(&format!("/v1/orders/{}/cancellation", text(&paid["id"])), Json::Null).await.expect(200);
    app.wait(SignedDuration::from_hours(367 * 24)).await;
    let found = app.operator.get(&format!("{path}?months=14")).await.expect(200);
    assert_eq!((&found["outstanding"], &found["difference"], &found["expiring"]), (&worth(0), &json!(0), &json!([])));
    let months = found["months"].as_array().expect("months");
    let of = |what: &str| months.iter().map(|month| month[what]["points"].as_i64().expect("points")).sum::<i64>();
    assert_eq!((of("issued"), of("adjusted"), of("clawed_back"), of("expired")), (120, 300, 100, 320));
    assert_eq!((&months[1]["month"], &months[1]["outstanding"]), (&json!("2026-03"), &worth(320)));
    let csv = text(&app.operator.get(&format!("{path}.csv?months=14")).await.expect(200));
    assert!(csv.contains("month,2027-03,expired,320,320\n"), "{csv}");
    app.operator.get(&format!("{path}?months=37")).await.refused(422, "invalid-request");
    app.shop.get(path).await.refused(403, "scope-missing");
}

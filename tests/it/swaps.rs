//! A thousand swaps while orders flow: no call fails, and every answer names one release.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
};

use futures::future::join_all;
use serde_json::{Value as Json, json};

use crate::app::{TestApp, cart, text};

const SWAPS: usize = 1_000;
const SHOPPERS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_swaps_while_orders_flow() {
    let app = TestApp::start().await;
    app.product("vitamin-c", 13_000).await;
    app.offer("100-20", "promotion", json!({"type": "amount", "amount": 2_000, "threshold": 10_000})).await;
    for slot in ["tier", "coupon", "earning"] {
        patient(&app, slot).await;
    }
    let names: Vec<String> = (0..SHOPPERS).map(|n| format!("m-{n}")).collect();
    let members = join_all(names.iter().map(|name| app.member(name))).await;
    let done = AtomicBool::new(false);
    let (_, seen) = tokio::join!(swap(&app, &done), shop(&app, &members, &done));
    let releases: BTreeSet<&String> = seen.keys().collect();
    assert_eq!(releases.len(), 4, "both releases of both slots answered: {seen:?}");
    let stats = app.operator.get("/ops/v1/stats").await.expect(200);
    for release in stats["releases"].as_array().expect("releases") {
        assert_eq!((&release["fallbacks"], &release["in_flight"]), (&json!(0), &json!(0)), "{release:#}");
    }
}

/// Releases what is live twice more, as 2 and 3, and lets 2 go live. They wait longer than the standard: on a machine that
/// is busy with other tests a worker may rest for longer than a call may take, and that is no fault of a swap.
async fn patient(app: &TestApp, slot: &str) {
    let live = app.operator.get("/ops/v1/slots").await.expect(200);
    let live = live["items"].as_array().expect("slots").iter().find(|found| found["name"] == slot).expect("lives");
    let live = &live["release"];
    let mut budgets = live["budgets"].clone();
    budgets["wall_ms"] = json!(10_000);
    for number in [2, 3] {
        let new = json!({"module": live["module"], "config": live["config"], "budgets": budgets});
        let released = app.operator.post(&format!("/ops/v1/slots/{slot}/releases"), new).await.expect(201);
        assert_eq!(released["number"], number);
    }
    app.operator.put(&format!("/ops/v1/slots/{slot}/active"), json!({"number": 2})).await.expect(200);
}

async fn swap(app: &TestApp, done: &AtomicBool) {
    for n in 0..SWAPS {
        let slot = if n % 2 == 0 { "tier" } else { "coupon" };
        let number = 2 + (n / 2) % 2;
        let path = format!("/ops/v1/slots/{slot}/active");
        app.operator.put(&path, json!({"number": number})).await.expect(200);
    }
    done.store(true, Ordering::Relaxed);
}

/// Each member buys until the swaps are done; how often each release answered.
async fn shop(app: &TestApp, members: &[String], done: &AtomicBool) -> BTreeMap<String, usize> {
    let all = join_all(members.iter().map(|member| buy_on(app, member, done))).await;
    let mut seen = BTreeMap::new();
    for (release, times) in all.into_iter().flatten() {
        *seen.entry(release).or_default() += times;
    }
    seen
}

async fn buy_on(app: &TestApp, member: &str, done: &AtomicBool) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    while !done.load(Ordering::Relaxed) {
        let quote = app.shop.post("/v1/quotes", cart(member, &["vitamin-c"])).await.expect(201);
        let releases: Vec<&Json> = quote["releases"].as_array().expect("releases").iter().collect();
        let slots: BTreeSet<String> = releases.iter().map(|release| text(&release["slot"])).collect();
        assert_eq!(slots.len(), releases.len(), "one release of each slot: {releases:?}");
        for release in releases {
            *seen.entry(format!("{}#{}", text(&release["slot"]), release["number"])).or_default() += 1;
        }
        let order = app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await.expect(201);
        app.pay(&order).await;
    }
    seen
}

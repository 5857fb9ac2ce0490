//! What happens by itself, as members see it and operators set it, over HTTP.

use std::collections::BTreeMap;

use galenic::{
    events::{EVENTS, What},
    store::StoreError,
};
use jiff::SignedDuration;
use serde_json::json;

use crate::app::{TestApp, text};

/// How often each member was told of a member day.
async fn told(app: &TestApp) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    let each = app.services().store.for_each(EVENTS, |_, row| {
        if matches!(row.value.what, What::MemberDay(_)) {
            *told.entry(row.value.member.to_string()).or_default() += 1;
        }
        Ok::<_, StoreError>(())
    });
    each.await.expect("reads");
    told
}

/// Member day at nine of each member's own clock; one who moves on is not told again.
#[tokio::test]
async fn c4_member_day_where_each_member_lives() {
    let app = TestApp::start().await;
    let path = "/ops/v1/schedules/member-day";
    let changed = app.operator.put(path, json!({"zone": "member"})).await.expect(200);
    assert_eq!((&changed["zone"], &changed["due"]), (&json!("member"), &json!("2026-03-14T18:00:00Z")));
    let listed = app.operator.get("/ops/v1/schedules").await.expect(200);
    let listed = listed["items"].as_array().expect("items").iter().find(|item| item["name"] == "member-day");
    assert_eq!(listed, Some(&changed));
    for (schedule, body, pointer) in [
        ("tiers", json!({"zone": "member"}), "/zone"),
        ("member-day", json!({"zone": "Moon/Base"}), "/zone"),
        ("member-day", json!({"expression": "*/5 9 15 * *"}), "/expression"),
    ] {
        let problem = app.operator.put(&format!("/ops/v1/schedules/{schedule}"), body).await;
        let problem = problem.refused(422, "invalid-request");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem:#}");
    }
    let join = async |zone: &str| text(&app.shop.post("/v1/members", json!({"zone": zone})).await.expect(201)["id"]);
    let (first, home, last) = (join("Pacific/Kiritimati").await, app.member("m-1").await, join("Etc/GMT+12").await);
    let hour = SignedDuration::from_hours(1);
    app.wait(hour * (13 * 24 + 15)).await;
    assert_eq!(told(&app).await, BTreeMap::from([(first.clone(), 1)]));
    let moves = app.shop.request(reqwest::Method::PATCH, &format!("/v1/members/{first}"));
    app.shop.send(moves.json(&json!({"zone": "Etc/GMT+12"}))).await.expect(200);
    app.wait(hour * 6).await;
    assert_eq!(told(&app).await, BTreeMap::from([(first.clone(), 1), (home.clone(), 1)]));
    let jobs = app.operator.get("/ops/v1/jobs").await.expect(200);
    let job = |name: &str| jobs["items"].as_array().expect("items").iter().find(|job| job["name"] == name).cloned();
    let (round, waves) = (job("member-day").expect("ran"), job("member-waves").expect("ran"));
    assert_eq!((&round["occurrence"], &round["local"]), (&json!("2026-03-15T09:00:00Z"), &json!(true)));
    assert_eq!((&waves["occurrence"], &waves["changed"]), (&json!("2026-03-15T01:00:00Z"), &json!(1)));
    app.wait(hour * 24 * 20).await;
    assert_eq!(told(&app).await, BTreeMap::from([(first, 1), (home, 1), (last, 1)]));
    let back = app.operator.put(path, json!({"zone": null})).await.expect(200);
    assert_eq!((&back["zone"], &back["due"]), (&json!(null), &json!("2026-04-15T01:00:00Z")));
}

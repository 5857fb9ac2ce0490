//! Prescriptions (D5, R10, R12, R15): uploaded, reviewed, consumed and put back, over HTTP.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};

use crate::app::{TestApp, cart, cny, text};

/// A cart of one medicine that needs a prescription.
fn rx_cart(member: &str, product: &str, quantity: u32, prescription: &str) -> Json {
    let mut asked = cart(member, &[product]);
    asked["lines"][0]["quantity"] = json!(quantity);
    asked["prescription"] = json!(prescription);
    asked
}

async fn rx_order(app: &TestApp, member: &str, quantity: u32, prescription: &str) -> Json {
    let quote = app.shop.post("/v1/quotes", rx_cart(member, "insulin", quantity, prescription)).await.expect(201);
    app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await.expect(201)
}

/// A member, insulin in stock, and a prescription for so many of it.
async fn start(approved: bool, items: u32) -> (TestApp, String, String) {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product_of_class("insulin", 8_000, "rx").await;
    let found = if approved {
        app.prescribe_approved(&member, "rx-1", &[("insulin", items)]).await
    } else {
        app.prescribe(&member, "rx-1", &[("insulin", items)]).await
    };
    let id = text(&found["id"]);
    (app, member, id)
}

async fn prescription(app: &TestApp, id: &str) -> Json {
    app.shop.get(&format!("/v1/prescriptions/{id}")).await.expect(200)
}

async fn left(app: &TestApp, id: &str) -> Json {
    prescription(app, id).await["items"][0]["left"].clone()
}

async fn order(app: &TestApp, order: &Json) -> Json {
    app.shop.get(&format!("/v1/orders/{}", text(&order["id"]))).await.expect(200)
}

/// The day's time in Shanghai becomes this; the test clock starts at noon.
async fn at(app: &TestApp, hours: i64, minutes: i64) {
    app.wait(SignedDuration::from_mins((hours - 12) * 60 + minutes)).await;
}

/// Approved 2 and ordered 1 leaves 1; a cancellation, an expiry and a refund before shipping put it back, one after does not.
#[tokio::test]
async fn d5_orders_consume_a_prescription_and_cancellations_restore_it() {
    let (app, member, id) = start(true, 2).await;
    let first = rx_order(&app, &member, 1, "rx-1").await;
    assert_eq!((&first["prescription"], &first["prescription_id"]), (&json!("rx-1"), &json!(id)));
    assert_eq!((left(&app, &id).await, &first["acting_for"]), (json!(1), &Json::Null));
    app.shop.post("/v1/quotes", rx_cart(&member, "insulin", 2, "rx-1")).await.refused(409, "prescription-exceeded");
    let second = rx_order(&app, &member, 1, &id).await;
    assert_eq!(left(&app, &id).await, json!(0), "by its id, too");

    app.step(&second, "cancellation").await;
    assert_eq!(left(&app, &id).await, json!(1), "cancelled");
    app.wait(SignedDuration::from_mins(31)).await;
    assert_eq!((&order(&app, &first).await["state"], left(&app, &id).await), (&json!("cancelled"), json!(2)));

    let paid = rx_order(&app, &member, 2, "rx-1").await;
    app.pay(&paid).await;
    let refunds = format!("/v1/orders/{}/refunds", text(&paid["id"]));
    let one = json!({"cause": "change-of-mind", "lines": [{"line": 0, "quantity": 1}]});
    app.shop.post(&refunds, one).await.expect(200);
    assert_eq!(left(&app, &id).await, json!(1), "refunded before it left");
    app.step(&paid, "shipment").await;
    app.shop.post(&refunds, json!({"cause": "quality"})).await.expect(200);
    assert_eq!(left(&app, &id).await, json!(1), "what has left was dispensed");
}

/// Two orders race for the last item: the second is refused when it is placed, and holds nothing.
#[tokio::test]
async fn d5_what_is_left_is_counted_when_an_order_is_placed() {
    let (app, member, id) = start(true, 1).await;
    let quotes = [
        app.shop.post("/v1/quotes", rx_cart(&member, "insulin", 1, "rx-1")).await.expect(201),
        app.shop.post("/v1/quotes", rx_cart(&member, "insulin", 1, "rx-1")).await.expect(201),
    ];
    app.shop.post("/v1/orders", json!({"quote": quotes[0]["id"]})).await.expect(201);
    let late = app.shop.post("/v1/orders", json!({"quote": quotes[1]["id"]})).await;
    assert_eq!(late.status, 409, "{:#}", late.json);
    assert_eq!(left(&app, &id).await, json!(0));
}

/// Uploaded 20:30 → due 11:30 the next day: only 9:00 to 21:00 counts.
#[tokio::test]
async fn r10_a_review_is_due_in_service_time() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product_of_class("insulin", 8_000, "rx").await;
    at(&app, 20, 30).await;
    let found = app.prescribe(&member, "rx-1", &[("insulin", 1)]).await;
    let due: Timestamp = text(&found["due_at"]).parse().expect("a time");
    assert_eq!(due, "2026-03-02T11:30:00+08:00".parse().expect("a time"));
}

/// Urgent ones first, then by when they are due; what was decided is gone from the queue.
#[tokio::test]
async fn d5_the_queue_has_urgent_ones_first() {
    let (app, member, first) = start(false, 1).await;
    app.wait(SignedDuration::from_mins(1)).await;
    let second = text(&app.prescribe(&member, "rx-2", &[("insulin", 1)]).await["id"]);
    app.wait(SignedDuration::from_mins(1)).await;
    let product = json!({"external_id": "adrenaline", "name": "a", "category": "X", "class": "rx", "urgent": true,
        "list_price": cny(100)});
    app.shop.post("/v1/products/import", json!({"products": [product]})).await.expect(200);
    let urgent = text(&app.prescribe(&member, "rx-3", &[("insulin", 1), ("adrenaline", 1)]).await["id"]);
    let queue = async || {
        let list = app.operator.get("/ops/v1/prescriptions/queue").await.expect(200);
        list["items"].as_array().expect("items").iter().map(|item| text(&item["id"])).collect::<Vec<_>>()
    };
    assert_eq!(queue().await, [urgent.clone(), first.clone(), second.clone()]);
    let path = format!("/ops/v1/prescriptions/{first}");
    app.operator.post(&format!("{path}/approval"), Json::Null).await.expect(200);
    app.operator
        .post(&format!("{path}/rejection"), json!({"reason": "no"}))
        .await
        .refused(409, "prescription-not-usable");
    assert_eq!(queue().await, [urgent, second]);
    app.shop.get("/ops/v1/prescriptions/queue").await.refused(403, "scope-missing");
    let another = app.client(&["prescriptions:review"]).await;
    assert_eq!(another.get("/ops/v1/prescriptions/queue").await.expect(200)["items"], json!([]), "not theirs");
}

/// Three days after it was written nobody can use it, and what waits for its review is given up.
#[tokio::test]
async fn d5_a_prescription_is_valid_for_three_days() {
    let (app, member, id) = start(true, 2).await;
    let written = json!({
        "member": member, "name": "n", "issuer": "i", "image": "x", "issued_at": "2026-02-26T03:59:59Z",
        "items": [{"external_id": "insulin", "quantity": 1}],
    });
    app.shop.post("/v1/prescriptions", written).await.refused(422, "invalid-request");
    let reviewed = app.prescribe(&member, "rx-2", &[("insulin", 1)]).await;
    let waiting = rx_order(&app, &member, 1, "rx-2").await;
    let quote = app.shop.post("/v1/quotes", rx_cart(&member, "insulin", 1, "rx-1")).await.expect(201);
    app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await.expect(201);
    app.wait(SignedDuration::from_hours(72)).await;
    app.shop.post("/v1/quotes", rx_cart(&member, "insulin", 1, "rx-1")).await.refused(409, "prescription-not-usable");
    assert_eq!(prescription(&app, &id).await["state"], "expired");
    assert_eq!(prescription(&app, &text(&reviewed["id"])).await["state"], "expired");
    assert_eq!(order(&app, &waiting).await["state"], "cancelled", "nobody decided");
    let path = format!("/ops/v1/prescriptions/{}/approval", text(&reviewed["id"]));
    app.operator.post(&path, Json::Null).await.refused(409, "prescription-not-usable");
}

/// An order placed under review holds coupon, points, budget and stock; approval starts the payment window.
#[tokio::test]
async fn d5_one_hold_lasts_until_the_decision() {
    for approve in [true, false] {
        let (app, member, id) = start(false, 2).await;
        let welcome = app.offer("welcome", "coupon", json!({"type": "amount", "amount": 990})).await;
        let coupon = app.coupon(&welcome, &member).await;
        let adjustments = format!("/v1/members/{member}/points/adjustments");
        app.operator.post(&adjustments, json!({"points": 500, "reason": "goodwill"})).await.expect(200);
        let tea = json!({"external_id": "tea", "name": "tea", "category": "X", "class": "food", "stock": 1,
            "list_price": cny(1_000)});
        app.shop.post("/v1/products/import", json!({"products": [tea]})).await.expect(200);
        let mut asked = rx_cart(&member, "insulin", 1, "rx-1");
        asked["lines"].as_array_mut().expect("lines").push(json!({"external_id": "tea", "quantity": 1}));
        asked["points"] = json!(500);
        let quote = app.shop.post("/v1/quotes", asked).await.expect(201);
        let placed = app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await.expect(201);
        assert_eq!((&placed["awaits_review"], &placed["hold_until"]), (&json!(true), &Json::Null));
        let payment = json!({"reference": "early", "method": "alipay", "amount": placed["price"]["payable"]});
        let pay = format!("/v1/orders/{}/payment", text(&placed["id"]));
        app.shop.post(&pay, payment).await.refused(409, "prescription-under-review");
        app.wait(SignedDuration::from_hours(3)).await;
        let held = async || text(&app.shop.get(&format!("/v1/coupons/{coupon}")).await.expect(200)["state"]);
        assert_eq!((held().await.as_str(), app.points(&member).await), ("held", [0, 0, 500]), "no window runs yet");
        let sold_out = app.shop.post("/v1/quotes", cart(&member, &["tea"])).await.expect(201);
        app.shop.post("/v1/orders", json!({"quote": sold_out["id"]})).await.refused(409, "out-of-stock");
        app.shop
            .post("/v1/quotes", rx_cart(&member, "insulin", 1, "rx-1"))
            .await
            .refused(409, "prescription-not-usable");

        let path = format!("/ops/v1/prescriptions/{id}");
        if approve {
            app.operator.post(&format!("{path}/approval"), Json::Null).await.expect(200);
            let open = order(&app, &placed).await;
            assert_eq!((&open["state"], &open["awaits_review"]), (&json!("placed"), &json!(false)));
            assert_eq!(open["hold_until"], "2026-03-01T07:30:00Z", "half an hour from the decision");
            assert_eq!(app.pay(&placed).await["state"], "paid");
            assert_eq!((held().await.as_str(), left(&app, &id).await), ("redeemed", json!(1)));
        } else {
            let rejected =
                app.operator.post(&format!("{path}/rejection"), json!({"reason": "illegible"})).await.expect(200);
            assert_eq!((&rejected["state"], &rejected["reason"]), (&json!("rejected"), &json!("illegible")));
            assert_eq!(order(&app, &placed).await["state"], "cancelled");
            assert_eq!((held().await.as_str(), app.points(&member).await), ("issued", [0, 500, 0]));
            app.order(&member, &["tea"]).await;
        }
    }
}

/// The member is told by an automation, with the reason.
#[tokio::test]
async fn d5_a_decision_is_an_event() {
    let (app, member, id) = start(false, 1).await;
    let path = format!("/ops/v1/prescriptions/{id}/rejection");
    app.operator.post(&path, json!({"reason": "illegible"})).await.expect(200);
    let names = galenic::events::What::NAMES;
    for name in ["prescription-uploaded", "prescription-approved", "prescription-rejected", "prescription-expired"] {
        assert!(names.contains(&name), "an automation can listen to {name}");
    }
    let events = app.services().store.read(|tx| tx.scan(&galenic::events::EVENTS, &galenic::store::Scan::all()));
    let rows: Result<Vec<_>, galenic::store::StoreError> = events.await;
    let seen: Vec<&str> = rows.as_ref().expect("events").iter().map(|(_, event)| event.what.name()).collect();
    assert_eq!(seen, ["registered", "prescription-uploaded", "prescription-rejected"], "{member}");
}

/// A prescription of another member, of another patient's member, or of another partner is none.
#[tokio::test]
async fn d5_a_prescription_is_the_members_own() {
    let (app, member, id) = start(true, 2).await;
    let other = app.member("m-2").await;
    app.shop.post("/v1/quotes", rx_cart(&other, "insulin", 1, "rx-1")).await.refused(404, "not-found");
    let foreign = app.client(&["prescriptions:read"]).await;
    foreign.get(&format!("/v1/prescriptions/{id}")).await.refused(404, "not-found");
    let patients = app.shop.get(&format!("/v1/members/{other}/patients")).await.expect(200);
    let body = json!({
        "member": member, "patient": patients["items"][0]["id"], "name": "n", "issuer": "i", "image": "x",
        "items": [{"external_id": "insulin", "quantity": 1}],
    });
    app.shop.post("/v1/prescriptions", body).await.refused(404, "not-found");
    let twice = json!({
        "member": member, "name": " ", "issuer": "i", "image": "x",
        "items": [{"external_id": "insulin", "quantity": 0}, {"external_id": "insulin", "quantity": 1}],
    });
    let problem = app.shop.post("/v1/prescriptions", twice).await.refused(422, "invalid-request");
    let wrong: Vec<String> =
        problem["errors"].as_array().expect("errors").iter().map(|error| text(&error["pointer"])).collect();
    assert_eq!(wrong, ["/name", "/items/0/quantity", "/items/1"]);
}

/// A patient is a person under a member; acting for another is recorded on prescription and order.
#[tokio::test]
async fn r12_acting_for_another_is_recorded() {
    let (app, member, _) = start(false, 1).await;
    let path = format!("/v1/members/{member}/patients");
    app.shop.post(&path, json!({"relation": "itself"})).await.refused(422, "invalid-request");
    let child = app.shop.post(&path, json!({"relation": "child"})).await.expect(201);
    let body = json!({
        "external_id": "rx-child", "member": member, "patient": child["id"], "name": "王小明", "issuer": "儿童医院",
        "image": "x", "items": [{"external_id": "insulin", "quantity": 1}],
    });
    let uploaded = app.shop.post("/v1/prescriptions", body).await.expect(201);
    assert_eq!(uploaded["acting_for"], child["id"]);
    let placed = rx_order(&app, &member, 1, "rx-child").await;
    assert_eq!(placed["acting_for"], child["id"]);
    let of =
        app.shop.get(&format!("/v1/members/{member}/prescriptions?patient={}", text(&child["id"]))).await.expect(200);
    assert_eq!(of["items"].as_array().map(Vec::len), Some(1));
}

/// Name, issuer and image are for pharmacists alone, and outlive the erasure of the profile.
#[tokio::test]
async fn r15_the_paper_stays_sealed_and_outlives_the_profile() {
    let (app, member, id) = start(true, 1).await;
    assert!(!prescription(&app, &id).await.to_string().contains("王芳"));
    let path = format!("/ops/v1/prescriptions/{id}/paper");
    app.shop.get(&path).await.refused(403, "scope-missing");
    app.shop.delete(&format!("/v1/members/{member}")).await.expect(200);
    let paper = app.operator.get(&path).await.expect(200);
    assert_eq!(paper["name"], "王芳");
    assert_eq!(paper["issuer"], "上海第一医院");
}

/// Papers go five years after they were uploaded, of members who stay and of those who were erased; not a day before.
#[tokio::test]
async fn r15_papers_go_after_five_years() {
    let (app, member, erased) = start(true, 1).await;
    let other = app.member("m-stays").await;
    let kept = text(&app.prescribe(&other, "rx-stays", &[("insulin", 1)]).await["id"]);
    app.shop.delete(&format!("/v1/members/{member}")).await.expect(200);
    let papers = [erased, kept].map(|id| format!("/ops/v1/prescriptions/{id}/paper"));
    app.wait(SignedDuration::from_hours(24 * 5 * 365)).await;
    for path in &papers {
        app.operator.get(path).await.expect(200);
    }
    app.wait(SignedDuration::from_hours(24 * 3)).await;
    for path in &papers {
        app.operator.get(path).await.refused(410, "member-erased");
    }
}

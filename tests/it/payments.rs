//! Money over HTTP: cash on delivery (D6), late and repeated payments (R16), the books of a day and settlement (R13).

use jiff::SignedDuration;
use serde_json::{Value as Json, json};

use crate::app::{Client, Reply, TestApp, cart, cny, text};

/// Pays an order; what the server says.
async fn pay(client: &Client, order: &Json, reference: &str, minor: i64) -> Reply {
    let payment = json!({"reference": reference, "method": "alipay", "amount": cny(minor)});
    client.post(&format!("/v1/orders/{}/payment", text(&order["id"])), payment).await
}

async fn read(app: &TestApp, order: &Json) -> Json {
    app.shop.get(&format!("/v1/orders/{}", text(&order["id"]))).await.expect(200)
}

async fn coupon_state(app: &TestApp, coupon: &str) -> String {
    text(&app.shop.get(&format!("/v1/coupons/{coupon}")).await.expect(200)["state"])
}

async fn imports(app: &TestApp, name: &str, class: &str, price: i64, stock: u64) {
    let product = json!({"external_id": name, "name": name, "category": "X", "class": class, "list_price": cny(price),
        "stock": stock});
    app.shop.post("/v1/products/import", json!({"products": [product]})).await.expect(200);
}

/// A member with a coupon and 500 points; tea and a pill, one of each in stock; an order of both, paid to the courier.
struct Cash {
    app: TestApp,
    member: String,
    coupon: String,
    order: Json,
}

impl Cash {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let member = app.member("m-1").await;
        imports(&app, "tea", "food", 15_000, 1).await;
        imports(&app, "pill", "otc-b", 6_000, 1).await;
        let welcome = app.offer("welcome", "coupon", json!({"type": "amount", "amount": 1_000})).await;
        let coupon = app.coupon(&welcome, &member).await;
        let adjustments = format!("/v1/members/{member}/points/adjustments");
        app.operator.post(&adjustments, json!({"points": 500, "reason": "goodwill"})).await.expect(200);
        let mut asked = cart(&member, &["tea", "pill"]);
        asked["points"] = json!(500);
        let quote = app.shop.post("/v1/quotes", asked).await.expect(201);
        let place = json!({"quote": quote["id"], "cash_on_delivery": true});
        let order = app.shop.post("/v1/orders", place).await.expect(201);
        assert_eq!(order["price"]["payable"], cny(19_500));
        Self { app, member, coupon, order }
    }

    /// That everything which the order held went back, a coupon as this, and what of tea and pill can be sold again.
    async fn gave_back(&self, coupon: &str, tea: bool, pill: bool) {
        let app = &self.app;
        assert_eq!(read(app, &self.order).await["state"], "cancelled");
        assert_eq!(coupon_state(app, &self.coupon).await, coupon);
        assert_eq!(app.points(&self.member).await, [0, 500, 0]);
        let shown = app.shop.get(&format!("/v1/members/{}", self.member)).await.expect(200);
        assert_eq!((&shown["lifetime_net_spend"], &shown["tier"]["code"]), (&cny(0), &json!("member")));
        for (product, there) in [("tea", tea), ("pill", pill)] {
            let quote = app.quote(&self.member, &[product]).await;
            let placed = app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await;
            assert_eq!(placed.status.is_success(), there, "{product}: {:#}", placed.json);
        }
    }
}

/// Placed → shipped → delivered → paid: points, tier and hold move at the payment, and the points wait from the delivery on.
#[tokio::test]
async fn d6_cash_on_delivery_is_paid_last() {
    let Cash { app, member, coupon, order } = Cash::start().await;
    pay(&app.shop, &order, "early", 19_500).await.refused(409, "wrong-order-state");
    app.step(&order, "shipment").await;
    app.wait(SignedDuration::from_hours(24)).await;
    assert_eq!((coupon_state(&app, &coupon).await.as_str(), app.points(&member).await), ("held", [0, 0, 500]));
    pay(&app.shop, &order, "early", 19_500).await.refused(409, "wrong-order-state");
    app.step(&order, "delivery").await;
    app.wait(SignedDuration::from_hours(24)).await;
    let paid = pay(&app.shop, &order, "cash-1", 19_500).await.expect(200);
    assert_eq!((&paid["state"], &paid["hold_until"]), (&json!("delivered"), &Json::Null));
    assert_eq!(paid["earning"]["points"], 195);
    assert_eq!((coupon_state(&app, &coupon).await.as_str(), app.points(&member).await), ("redeemed", [195, 0, 0]));
    app.wait(SignedDuration::from_hours(6 * 24 - 1)).await;
    assert_eq!(app.points(&member).await, [195, 0, 0], "seven days from the delivery, a day before the payment (R3)");
    app.wait(SignedDuration::from_hours(1)).await;
    assert_eq!(app.points(&member).await, [0, 195, 0]);
    let refunds = format!("/v1/orders/{}/refunds", text(&order["id"]));
    app.shop.post(&refunds, json!({"cause": "change-of-mind"})).await.refused(409, "medicine-not-returnable");
    let back = app.shop.post(&refunds, json!({"cause": "quality"})).await.expect(200);
    assert_eq!(back["refunds"][0]["amount"], cny(19_500));
    app.wait(SignedDuration::from_hours(60 * 24)).await;
    assert_eq!(read(&app, &order).await["state"], "delivered", "no timer is left");
}

/// Given up before it left: by the member, or because nobody ships it within a week.
#[tokio::test]
async fn d6_cash_on_delivery_that_never_leaves_is_given_up() {
    let cash = Cash::start().await;
    cash.app.step(&cash.order, "cancellation").await;
    cash.gave_back("issued", true, true).await;
    let cash = Cash::start().await;
    cash.app.wait(SignedDuration::from_hours(7 * 24 - 1)).await;
    assert_eq!(read(&cash.app, &cash.order).await["state"], "placed");
    cash.app.wait(SignedDuration::from_hours(1)).await;
    cash.gave_back("issued", true, true).await;
}

/// The courier could not hand it over, or nobody paid at the door: the goods came back, and medicine is not sold again.
#[tokio::test]
async fn d6_cash_on_delivery_that_fails_comes_back() {
    for delivered in [false, true] {
        let cash = Cash::start().await;
        let path = format!("/v1/orders/{}/delivery-failure", text(&cash.order["id"]));
        cash.app.shop.post(&path, Json::Null).await.refused(409, "wrong-order-state");
        cash.app.step(&cash.order, "shipment").await;
        cash.app
            .shop
            .post(&format!("/v1/orders/{}/cancellation", text(&cash.order["id"])), Json::Null)
            .await
            .refused(409, "wrong-order-state");
        if delivered {
            cash.app.step(&cash.order, "delivery").await;
        }
        assert_eq!(cash.app.shop.post(&path, Json::Null).await.expect(200)["state"], "cancelled");
        cash.app.shop.post(&path, Json::Null).await.refused(409, "wrong-order-state");
        cash.gave_back("issued", true, false).await;
    }
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("v", 5_000).await;
    let order = app.order(&member, &["v"]).await;
    app.pay(&order).await;
    app.step(&order, "shipment").await;
    let path = format!("/v1/orders/{}/delivery-failure", text(&order["id"]));
    app.shop.post(&path, Json::Null).await.refused(409, "wrong-order-state");
}

/// Never paid: after a month on the way the hold ends, and nothing is sold again of what nobody has seen.
#[tokio::test]
async fn d6_cash_on_delivery_that_nobody_pays_ends() {
    let cash = Cash::start().await;
    cash.app.step(&cash.order, "shipment").await;
    cash.app.step(&cash.order, "delivery").await;
    cash.app.wait(SignedDuration::from_hours(30 * 24 - 1)).await;
    assert_eq!(read(&cash.app, &cash.order).await["state"], "delivered");
    cash.app.wait(SignedDuration::from_hours(1)).await;
    cash.gave_back("expired", false, false).await;
    let late = pay(&cash.app.shop, &cash.order, "late-cash", 19_500).await.expect(200);
    assert_eq!(late["refunds_due"].as_array().map(Vec::len), Some(1));
}

/// Another amount is refused; one reference is one payment, and pays one order.
#[tokio::test]
async fn r16_a_reference_is_one_payment() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("v", 10_000).await;
    let (one, other) = (app.order(&member, &["v"]).await, app.order(&member, &["v"]).await);
    for minor in [9_999, 10_001, 0, -10_000, i64::MAX, i64::MIN] {
        pay(&app.shop, &one, "wx-1", minor).await.refused(409, "amount-mismatch");
    }
    let foreign = json!({"reference": "wx-1", "method": "alipay", "amount": {"minor": 10_000, "currency": "USD"}});
    app.shop.post(&format!("/v1/orders/{}/payment", text(&one["id"])), foreign).await.refused(422, "invalid-request");
    let cash = json!({"reference": "wx-1", "method": "cash-on-delivery", "amount": cny(10_000)});
    app.shop.post(&format!("/v1/orders/{}/payment", text(&one["id"])), cash).await.refused(422, "invalid-request");
    assert_eq!(app.points(&member).await, [0, 0, 0], "nothing half done");
    let paid = pay(&app.shop, &one, "wx-1", 10_000).await.expect(200);
    assert_eq!(pay(&app.shop, &one, "wx-1", 10_000).await.expect(200), paid, "reported twice, with another key");
    pay(&app.shop, &one, "wx-1", 5_000).await.refused(409, "amount-mismatch");
    pay(&app.shop, &one, "wx-2", 10_000).await.refused(409, "wrong-order-state");
    pay(&app.shop, &other, "wx-1", 10_000).await.refused(409, "already-exists");
    assert_eq!((app.points(&member).await, &read(&app, &other).await["state"]), ([100, 0, 0], &json!("placed")));
    pay(&app.shop, &other, "wx-2", 10_000).await.expect(200);
}

/// A payment after expiry is kept once, listed for operators, and marked with the refund's reference.
#[tokio::test]
async fn r16_a_late_payment_becomes_refund_due() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("v", 10_000).await;
    let order = app.order(&member, &["v"]).await;
    app.wait(SignedDuration::from_mins(31)).await;
    for minor in [0, -1, i64::MIN, i64::MAX] {
        pay(&app.shop, &order, "late-1", minor).await.refused(422, "invalid-request");
    }
    let late = pay(&app.shop, &order, "late-1", 9_000).await.expect(200);
    assert_eq!((&late["state"], &late["payment"]), (&json!("cancelled"), &Json::Null));
    assert_eq!(pay(&app.shop, &order, "late-1", 9_000).await.expect(200), late, "never twice");
    // Of one millisecond nobody knows which came first.
    app.wait(SignedDuration::from_millis(1)).await;
    pay(&app.shop, &order, "late-2", 1_000_000_000_000).await.expect(200);
    let due = async || app.operator.get("/ops/v1/refunds-due").await.expect(200)["items"].clone();
    let open = due().await;
    assert_eq!(open.as_array().map(Vec::len), Some(2), "{open:#}");
    assert_eq!(
        (&open[0]["amount"], &open[0]["reference"], &open[0]["order"]),
        (&cny(9_000), &json!("late-1"), &order["id"])
    );
    assert_eq!(late["refunds_due"], json!([open[0]["id"]]));

    let done = format!("/ops/v1/refunds-due/{}/completion", text(&open[0]["id"]));
    app.shop.post(&done, json!({"reference": "back-1"})).await.refused(403, "scope-missing");
    app.operator.post(&done, json!({"reference": "back-1"})).await.expect(200);
    app.operator.post(&done, json!({"reference": "back-1"})).await.expect(200);
    app.operator.post(&done, json!({"reference": "back-2"})).await.refused(409, "already-exists");
    assert_eq!(due().await.as_array().map(Vec::len), Some(1));
    let all = app.operator.get("/ops/v1/refunds-due?all=true").await.expect(200);
    assert_eq!(all["items"][0]["refund_reference"], "back-1");
    let app = app.restart().await;
    assert_eq!(app.operator.get("/ops/v1/refunds-due").await.expect(200)["items"].as_array().map(Vec::len), Some(1));
}

/// The lines of a file, cell by cell.
fn cells(file: &Json) -> Vec<Vec<String>> {
    text(file).lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// Every payment and refund of a Shanghai day, with the funders' parts; the sums at its end add up.
#[tokio::test]
async fn r16_a_daily_file_lists_every_payment_and_refund() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("a", 15_000).await;
    app.product("b", 6_000).await;
    let thirds = json!({
        "code": "199-20", "name_zh_cn": "满减", "name_en": "x", "class": "promotion",
        "terms": {"type": "amount", "amount": 2_000, "threshold": 19_900},
        "funders": [{"funder": "platform", "share_basis_points": 3_334}, {"funder": "brand", "share_basis_points": 3_333},
            {"funder": "pharmacy", "share_basis_points": 3_333}],
    });
    app.operator.post("/ops/v1/offers", thirds).await.expect(201);
    let mut asked = cart(&member, &["a", "b"]);
    asked["delivery_fee"] = cny(600);
    let quote = app.shop.post("/v1/quotes", asked).await.expect(201);
    let order = app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await.expect(201);
    app.pay(&order).await;
    let expired = app.order(&member, &["b"]).await;
    app.wait(SignedDuration::from_mins(31)).await;
    pay(&app.shop, &expired, "late,\"1\"", 6_000).await.expect(200);
    app.wait(SignedDuration::from_mins(1)).await;
    let refunds = format!("/v1/orders/{}/refunds", text(&order["id"]));
    let part = json!({"cause": "quality", "lines": [{"line": 1, "quantity": 1}]});
    app.shop.post(&refunds, part).await.expect(200);
    app.wait(SignedDuration::from_hours(12)).await;
    app.shop.post(&refunds, json!({"cause": "quality"})).await.expect(200);

    let reply = app.operator.get("/ops/v1/reconciliation/2026-03-01").await;
    assert_eq!(reply.header("content-type"), "text/csv; charset=utf-8");
    let rows = cells(&reply.expect(200));
    let kinds: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let sums = ["sum-payment", "sum-refund", "sum-late-payment", "sum-late-refund", "net"];
    assert_eq!(kinds, [&["kind", "payment", "late-payment", "refund"][..], &sums].concat());
    assert_eq!(rows[1][8..], ["19600", "19000", "600", "668", "666", "666"], "a third each, to the fen");
    let back: Vec<i64> = rows[3][8..].iter().map(|cell| cell.parse().expect("a number")).collect();
    assert_eq!((back[0], back[1], back[2], back[3] + back[4] + back[5]), (-5_429, -5_429, 0, -571));
    assert_eq!((rows[4][1].as_str(), rows[4][8].as_str()), ("1", "19600"));
    assert_eq!(rows[8][8], (19_600 + 6_000 - 5_429).to_string());
    assert!(
        text(&app.operator.get("/ops/v1/reconciliation/2026-03-01").await.expect(200)).contains(",\"late,\"\"1\"\"\",")
    );

    let next = cells(&app.operator.get("/ops/v1/reconciliation/2026-03-02").await.expect(200));
    assert_eq!((next[1][0].as_str(), next[1][8].as_str()), ("refund", (5_429 - 19_600).to_string().as_str()));
    app.operator.get("/ops/v1/reconciliation/2026-02-30").await.refused(400, "malformed-path");
    app.shop.get("/ops/v1/reconciliation/2026-03-01").await.refused(403, "scope-missing");
}

/// What each funder owes: Σ = total, and nothing for what came back whole.
#[tokio::test]
async fn r13_settlement_by_funder_sums_to_the_fen() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("v", 10_000).await;
    let shared = json!({
        "code": "brand", "name_zh_cn": "品牌", "name_en": "x", "class": "promotion",
        "terms": {"type": "amount", "amount": 1_001},
        "funders": [{"funder": "brand", "share_basis_points": 5_000}, {"funder": "pharmacy", "share_basis_points": 5_000}],
    });
    app.operator.post("/ops/v1/offers", shared).await.expect(201);
    let mut asked = cart(&member, &["v"]);
    asked["lines"][0]["quantity"] = json!(3);
    let quote = app.shop.post("/v1/quotes", asked).await.expect(201);
    let order = app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await.expect(201);
    app.pay(&order).await;
    let settled = async |path: &str| app.operator.get(&format!("/ops/v1/settlement?{path}")).await;
    let period = "from=2026-03-01&to=2026-03-31";
    let owed = |json: &Json| {
        ["brand", "pharmacy", "platform"].map(|name| {
            let rows = json["funders"].as_array().expect("funders");
            rows.iter().find(|row| row["funder"] == name).expect("a funder")["owed"]["minor"]
                .as_i64()
                .expect("an amount")
        })
    };
    assert_eq!(owed(&settled(period).await.expect(200)), [501, 500, 0]);
    let refunds = format!("/v1/orders/{}/refunds", text(&order["id"]));
    let one = json!({"cause": "quality", "lines": [{"line": 0, "quantity": 1}]});
    app.shop.post(&refunds, one.clone()).await.expect(200);
    let after = settled(period).await.expect(200);
    assert_eq!(owed(&after), [334, 333, 0]);
    assert_eq!(after["total"]["owed"], cny(667), "funders sum to the total");
    app.shop.post(&refunds, one.clone()).await.expect(200);
    app.shop.post(&refunds, one).await.expect(200);
    let whole = settled(period).await.expect(200);
    assert_eq!((owed(&whole), &whole["paid"], &whole["refunded"]), ([0, 0, 0], &cny(28_999), &cny(28_999)));
    let csv = text(&settled(&format!("{period}&format=csv")).await.expect(200));
    assert!(csv.starts_with("funder,discounts,returned,owed\n") && csv.ends_with("total,1001,1001,0\n"), "{csv}");
    settled("from=2026-03-02&to=2026-03-01").await.refused(422, "invalid-request");
    settled("from=2020-01-01&to=2026-03-01").await.refused(422, "invalid-request");
}

/// Tea at 150.00 and a mat at 60.00 with 199−20 from one brand, paid; the order and where it is refunded.
async fn two_lines(app: &TestApp, policy: Json) -> (Json, String) {
    let member = app.member("m-1").await;
    app.product("tea", 15_000).await;
    app.product("mat", 6_000).await;
    let offer = app.offer("199-20", "promotion", json!({"type": "amount", "amount": 2_000, "threshold": 19_900})).await;
    app.operator.put(&format!("/ops/v1/offers/{offer}/refund-policy"), policy).await.expect(200);
    let order = app.order(&member, &["tea", "mat"]).await;
    app.pay(&order).await;
    let refunds = format!("/v1/orders/{}/refunds", text(&order["id"]));
    (order, refunds)
}

fn minor(json: &Json) -> i64 {
    json["minor"].as_i64().expect("an amount")
}

/// Kept by default; where the offer declares it, the refund is lowered by what the lost discount still gives.
#[tokio::test]
async fn r6_a_lost_threshold_is_a_declared_policy() {
    for (policy, first, points) in [(json!({}), 5_429, 135), (json!({"reprice_below": cny(19_900)}), 4_000, 150)] {
        let app = TestApp::start().await;
        let (order, refunds) = two_lines(&app, policy).await;
        let one = json!({"cause": "quality", "lines": [{"line": 1, "quantity": 1}]});
        let after = app.shop.post(&refunds, one).await.expect(200);
        assert_eq!(after["refunds"][0]["amount"], cny(first));
        assert_eq!(app.points(&text(&order["member"])).await, [points, 0, 0]);
        let settled = app.operator.get("/ops/v1/settlement?from=2026-03-01&to=2026-03-01").await.expect(200);
        assert_eq!(minor(&settled["total"]["owed"]), if first == 4_000 { 0 } else { 1_429 });
        let whole = app.shop.post(&refunds, json!({"cause": "quality"})).await.expect(200);
        assert_eq!(whole["refunds"][1]["amount"], cny(19_000 - first), "all that was paid");
        assert_eq!(app.points(&text(&order["member"])).await, [0, 0, 0]);
        let settled = app.operator.get("/ops/v1/settlement?from=2026-03-01&to=2026-03-01").await.expect(200);
        assert_eq!(minor(&settled["total"]["owed"]), 0);
    }
}

/// An amount of a line beside its items: points earned on it go, items stay, and never more than was paid.
#[tokio::test]
async fn d4_refunds_by_amount() {
    let app = TestApp::start().await;
    let (order, refunds) = two_lines(&app, json!({"reprice_below": Json::Null})).await;
    let member = text(&order["member"]);
    let ask = |line: Json| json!({"cause": "fault", "lines": [line]});
    for minor in [0, -1, 13_572, i64::MAX, i64::MIN] {
        app.shop.post(&refunds, ask(json!({"line": 0, "amount": cny(minor)}))).await.refused(422, "refund-refused");
    }
    let dollars = json!({"line": 0, "amount": {"minor": 1, "currency": "USD"}});
    app.shop.post(&refunds, ask(dollars)).await.refused(422, "invalid-request");
    app.shop.post(&refunds, ask(json!({"line": 0}))).await.refused(422, "invalid-request");
    app.shop
        .post(&refunds, ask(json!({"line": 0, "quantity": 1, "amount": cny(1)})))
        .await
        .refused(422, "invalid-request");
    app.shop.post(&refunds, ask(json!({"line": 2, "amount": cny(1)}))).await.refused(422, "refund-refused");
    assert_eq!(app.points(&member).await, [190, 0, 0], "nothing half done");
    let good = app.shop.post(&refunds, ask(json!({"line": 0, "amount": cny(1_571)}))).await.expect(200);
    assert_eq!((&good["refunds"][0]["amount"], &good["state"]), (&cny(1_571), &json!("paid")));
    assert_eq!(app.points(&member).await, [174, 0, 0], "floor(190.00 − 15.71)");
    app.step(&order, "shipment").await;
    let rest = app.shop.post(&refunds, json!({"cause": "quality"})).await.expect(200);
    assert_eq!(rest["refunds"][1]["amount"], cny(19_000 - 1_571));
    app.shop.post(&refunds, ask(json!({"line": 0, "amount": cny(1)}))).await.refused(422, "refund-refused");
}

/// An order that came back whole before it left does not leave any more; cancelling it closes it, and pays nothing twice.
#[tokio::test]
async fn d4_cancelling_what_came_back_whole_closes_it() {
    let app = TestApp::start().await;
    let (order, refunds) = two_lines(&app, json!({"reprice_below": Json::Null})).await;
    let path = |step: &str| format!("/v1/orders/{}/{step}", text(&order["id"]));
    app.shop.post(&refunds, json!({"cause": "change-of-mind"})).await.expect(200);
    app.shop.post(&path("shipment"), Json::Null).await.refused(409, "wrong-order-state");
    let closed = app.shop.post(&path("cancellation"), Json::Null).await.expect(200);
    let refunded = closed["refunds"].as_array().expect("refunds");
    assert_eq!((&closed["state"], refunded.len(), &refunded[0]["amount"]), (&json!("cancelled"), 1, &cny(19_000)));
    app.shop.post(&path("cancellation"), Json::Null).await.refused(409, "wrong-order-state");
    let books = app.operator.get("/ops/v1/settlement?from=2026-03-01&to=2026-03-01").await.expect(200);
    assert_eq!(minor(&books["total"]["owed"]), 0);
}

/// Shipped medicine: neither items nor an amount for a change of mind.
#[tokio::test]
async fn r6_shipped_medicine_comes_back_only_for_quality_or_fault() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    imports(&app, "pill", "otc-a", 6_000, 1).await;
    let order = app.order(&member, &["pill"]).await;
    app.pay(&order).await;
    app.step(&order, "shipment").await;
    let refunds = format!("/v1/orders/{}/refunds", text(&order["id"]));
    for part in [json!({"line": 0, "quantity": 1}), json!({"line": 0, "amount": cny(100)})] {
        let ask = json!({"cause": "change-of-mind", "lines": [part]});
        app.shop.post(&refunds, ask).await.refused(409, "medicine-not-returnable");
    }
    app.shop.post(&refunds, json!({"cause": "fault"})).await.expect(200);
    let quote = app.quote(&member, &["pill"]).await;
    app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await.refused(409, "out-of-stock");
}

/// Stock that is first counted while a quote is pinned limits the order that is made of it, and gets back what it gave.
#[tokio::test]
async fn r16_a_pinned_quote_does_not_outsell_stock() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("pill", 6_000).await;
    let quotes = [app.quote(&member, &["pill"]).await, app.quote(&member, &["pill"]).await];
    imports(&app, "pill", "food", 6_000, 1).await;
    let [first, second] = quotes.map(|quote| json!({"quote": quote["id"]}));
    let order = app.shop.post("/v1/orders", first).await.expect(201);
    let fresh = app.shop.post("/v1/orders", second).await;
    let fresh = json!({"quote": fresh.refused(409, "quote-changed")["quote"]["id"]});
    app.shop.post("/v1/orders", fresh.clone()).await.refused(409, "out-of-stock");
    let path = format!("/v1/orders/{}/cancellation", text(&order["id"]));
    app.shop.post(&path, json!({})).await.expect(200);
    let changed = app.shop.post("/v1/orders", fresh).await.refused(409, "quote-changed");
    app.shop.post("/v1/orders", json!({"quote": changed["quote"]["id"]})).await.expect(201);
}

/// From 200.00: three months at no fee, recorded with the payment, and lowered by refunds; no interest without consent.
#[tokio::test]
async fn d6_instalments_are_computed_and_recorded() {
    let app = TestApp::start_with(|config| config.orders.quarterly = true).await;
    let member = app.member("m-1").await;
    for (name, price) in [("small", 19_999), ("bed", 100_000), ("lamp", 20_000)] {
        app.product(name, price).await;
    }
    let pay = async |order: &Json, reference: &str, plan: Json| {
        let body = json!({"reference": reference, "method": "huabei", "amount": order["price"]["payable"],
            "instalments": plan});
        app.shop.post(&format!("/v1/orders/{}/payment", text(&order["id"])), body).await
    };
    let plans = async |order: &Json| {
        app.shop.get(&format!("/v1/orders/{}/instalment-plans", text(&order["id"]))).await.expect(200)["items"].clone()
    };
    let small = app.order(&member, &["small"]).await;
    pay(&small, "p-1", json!({"plan": "monthly"})).await.refused(422, "invalid-request");
    assert_eq!(plans(&small).await, json!([]));

    let lamp = app.order(&member, &["lamp"]).await;
    let paid = pay(&lamp, "p-2", json!({"plan": "monthly"})).await.expect(200);
    let parts = |order: &Json| {
        let rows = order["instalments"]["schedule"].as_array().expect("a schedule").iter();
        rows.map(|row| (text(&row["due"]), minor(&row["principal"]), minor(&row["interest"]))).collect::<Vec<_>>()
    };
    let due = ["2026-04-01", "2026-05-01", "2026-06-01"].map(str::to_owned);
    assert_eq!(parts(&paid), [(due[0].clone(), 6_667, 0), (due[1].clone(), 6_667, 0), (due[2].clone(), 6_666, 0)]);
    let refunds = format!("/v1/orders/{}/refunds", text(&lamp["id"]));
    let some = json!({"cause": "fault", "lines": [{"line": 0, "amount": cny(2_000)}]});
    let lower = app.shop.post(&refunds, some).await.expect(200);
    assert_eq!(parts(&lower).iter().map(|(_, principal, _)| principal).sum::<i64>(), 18_000);
    assert_eq!(lower["instalments"]["agreed"], paid["instalments"]["agreed"]);

    let bed = app.order(&member, &["bed"]).await;
    assert_eq!(plans(&bed).await.as_array().map(Vec::len), Some(2));
    pay(&bed, "p-3", json!({"plan": "quarterly"})).await.refused(422, "invalid-request");
    let agreed = json!({"plan": "quarterly", "consent": "instalments-2026-1"});
    let payable = minor(&bed["price"]["payable"]);
    let bed = pay(&bed, "p-3", agreed).await.expect(200);
    assert_eq!((&bed["instalments"]["consent"], parts(&bed).len()), (&json!("instalments-2026-1"), 4));
    let interest: i64 = parts(&bed).iter().map(|(_, _, interest)| interest).sum();
    assert_eq!(interest, payable * 9 * 10 / 4 / 100, "3 % for 3 months on 4, 3, 2 and 1 quarters");
}

/// The plan with interest is off unless the operator offers it.
#[tokio::test]
async fn d6_interest_is_off_by_default() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("bed", 100_000).await;
    let order = app.order(&member, &["bed"]).await;
    let body = json!({"reference": "p", "method": "huabei", "amount": cny(100_000),
        "instalments": {"plan": "quarterly", "consent": "v1"}});
    let path = format!("/v1/orders/{}/payment", text(&order["id"]));
    app.shop.post(&path, body).await.refused(422, "invalid-request");
    assert_eq!(read(&app, &order).await["state"], "placed");
}

/// Edges of i64, another member's coupon, a foreign partner's order: a typed problem, and nothing half done.
/// Stock in more pieces than one transaction writes: refused with what to do, and half of it can be had.
#[tokio::test]
async fn d3_an_order_too_large_for_one_step_says_so() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    for n in 0..64 {
        imports(&app, &format!("p-{n}"), "food", 100, 8).await;
    }
    let order = async |products: std::ops::Range<usize>| {
        let lines: Vec<Json> = products.map(|n| json!({"external_id": format!("p-{n}"), "quantity": 8})).collect();
        let quote = app.shop.post("/v1/quotes", json!({"member": member, "lines": lines})).await.expect(201);
        app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await
    };
    let problem = order(0..64).await.refused(422, "invalid-request");
    assert_eq!(problem["errors"][0]["pointer"], "/quote");
    order(0..32).await.expect(201);
    order(32..64).await.expect(201);
}

#[tokio::test]
async fn bad_input_for_orders_is_refused_whole() {
    let app = TestApp::start().await;
    let (member, other) = (app.member("m-1").await, app.member("m-2").await);
    app.product("v", 10_000).await;
    let welcome = app.offer("welcome", "coupon", json!({"type": "amount", "amount": 990})).await;
    let theirs = app.coupon(&welcome, &other).await;
    let mut asked = cart(&member, &["v"]);
    asked["coupon"] = json!(theirs);
    let quote = app.shop.post("/v1/quotes", asked).await.expect(201);
    assert_eq!(quote["price"]["offers"][0]["reasons"][0]["code"], "not-yours");
    let most =
        json!({"external_id": "most", "name": "m", "category": "X", "class": "food", "list_price": cny(i64::MAX)});
    app.shop.post("/v1/products/import", json!({"products": [most]})).await.refused(422, "invalid-request");
    for (fee, code) in [
        (json!({"minor": i64::MIN, "currency": "CNY"}), "invalid-request"),
        (json!({"minor": 1, "currency": "USD"}), "invalid-request"),
        (cny(i64::MAX), "invalid-request"),
        (cny(1_000_000_000_000), "invalid-request"),
    ] {
        let mut asked = cart(&member, &["v"]);
        asked["delivery_fee"] = fee;
        app.shop.post("/v1/quotes", asked).await.refused(422, code);
    }
    let order = app.order(&member, &["v"]).await;
    let foreign = app.client(&["orders:read", "orders:write"]).await;
    pay(&foreign, &order, "theirs", 10_000).await.refused(404, "not-found");
    for step in ["shipment", "delivery", "cancellation", "delivery-failure"] {
        foreign.post(&format!("/v1/orders/{}/{step}", text(&order["id"])), Json::Null).await.refused(404, "not-found");
    }
    let refunds = format!("/v1/orders/{}/refunds", text(&order["id"]));
    foreign.post(&refunds, json!({"cause": "quality"})).await.refused(404, "not-found");
    app.shop.post(&refunds, json!({"cause": "quality"})).await.refused(409, "wrong-order-state");
    assert_eq!(read(&app, &order).await["revision"], order["revision"], "untouched");
    pay(&app.shop, &order, "ours", 10_000).await.expect(200);
    let many = json!({"cause": "quality", "lines": [{"line": 0, "quantity": u32::MAX}]});
    app.shop.post(&refunds, many).await.refused(422, "refund-refused");
    assert_eq!(app.points(&member).await, [100, 0, 0]);
}

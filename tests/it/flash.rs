//! D2: a flash sale is exact under load: all orders there are, and not one more; who is too late is told so at once.

use futures::{StreamExt as _, future::join_all, stream};
use jiff::SignedDuration;
use serde_json::{Value as Json, json};

use crate::app::{TestApp, cny, text};

const BUYERS: usize = 120;
const ORDERS: usize = 25;
const PRODUCTS: usize = 10;

/// Whether the sale is in a quote's or an order's price, and the first reason.
fn in_sale(priced: &Json) -> (bool, String) {
    let offers = priced["price"]["offers"].as_array().expect("offers");
    let sale = offers.iter().find(|offer| offer["code"] == "flash").expect("the sale");
    (sale["applied"] == true, text(&sale["reasons"][0]["code"]))
}

/// Wednesday 20:00, ten products at half their price, so many orders over all ten, one for each member.
async fn sale(app: &TestApp) {
    for n in 0..PRODUCTS {
        app.product(&format!("p-{n}"), 10_000).await;
    }
    let products: Vec<String> = (0..PRODUCTS).map(|n| format!("p-{n}")).collect();
    let sale = json!({
        "code": "flash", "name_zh_cn": "周三秒杀", "name_en": "Wednesday flash sale", "class": "promotion",
        "purpose": "flash-sale", "budget_uses": ORDERS,
        "limits": [{"per": "member", "period": "week", "uses": 1}],
        "windows": [{"weekdays": [3], "from": "20:00", "to": "22:00"}],
        "terms": {"type": "percent", "percent": 5_000, "products": products},
    });
    app.operator.post("/ops/v1/offers", sale).await.expect(201);
}

/// One buyer, to the end: the order, or the reason why there is none.
async fn buy(app: &TestApp, member: &str, n: usize) -> Result<Json, String> {
    let quote = app.quote(member, &[&format!("p-{}", n % PRODUCTS)]).await;
    let (open, reason) = in_sale(&quote);
    if !open {
        return Err(reason);
    }
    let placed = app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await;
    if placed.status == 201 {
        return Ok(placed.json);
    }
    let problem = placed.refused(409, "quote-changed");
    let (open, reason) = in_sale(&problem["quote"]);
    assert!(!open, "changed, and the sale is still in it");
    Err(reason)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_a_flash_sale_sells_what_there_is_and_no_more() {
    let app = TestApp::start().await;
    sale(&app).await;
    let names: Vec<String> = (0..BUYERS).map(|n| format!("m-{n}")).collect();
    let members = join_all(names.iter().map(|name| app.member(name))).await;

    // The clock stands on a Sunday; the sale opens three days later, at 20:00 in Shanghai.
    assert_eq!(buy(&app, &members[0], 0).await, Err("not-open".to_owned()));
    app.wait(SignedDuration::from_hours(3 * 24 + 8)).await;
    let bought = stream::iter(members.iter().enumerate().map(|(n, member)| buy(&app, member, n)));
    let bought: Vec<Result<Json, String>> = bought.buffer_unordered(32).collect().await;
    let orders: Vec<&Json> = bought.iter().flatten().collect();
    assert_eq!(orders.len(), ORDERS);
    for answer in &bought {
        match answer {
            Ok(order) => assert_eq!(order["price"]["payable"], cny(5_000)),
            Err(reason) => assert_eq!(reason, "budget-gone"),
        }
    }

    // Half of them pay; what the others held is sold once more when their time is over, and no member buys twice.
    let (paid, unpaid) = orders.split_at(ORDERS / 2);
    for order in paid {
        app.pay(order).await;
    }
    app.wait(SignedDuration::from_mins(31)).await;
    let again = stream::iter(members.iter().enumerate().map(|(n, member)| buy(&app, member, n)));
    let again: Vec<Result<Json, String>> = again.buffer_unordered(32).collect().await;
    assert_eq!(again.iter().flatten().count(), unpaid.len());
    let owners: Vec<&Json> = paid.iter().copied().chain(again.iter().flatten()).map(|order| &order["member"]).collect();
    for (n, owner) in owners.iter().enumerate() {
        assert!(!owners[..n].contains(owner), "{owner} bought twice");
    }
}

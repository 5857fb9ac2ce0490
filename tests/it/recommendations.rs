//! Recommendations over HTTP: who bought what, and what appears on which shelf.

use jiff::SignedDuration;
use serde_json::{Value as Json, json};

use crate::app::{TestApp, cny, text};

async fn buys(app: &TestApp, member: &str, products: &[&str]) {
    let order = app.order(member, products).await;
    app.pay(&order).await;
}

/// Products with a class, and how many days a pack lasts or how many are in stock where that is said.
async fn import(app: &TestApp, products: &[(&str, &str, Option<u16>, Option<u64>)]) {
    let product = |(name, class, days, stock): &(&str, &str, Option<u16>, Option<u64>)| {
        json!({
            "external_id": name, "name": name, "category": "C", "class": class, "list_price": cny(1_000),
            "days_of_supply": days, "stock": stock,
        })
    };
    let products: Vec<Json> = products.iter().map(product).collect();
    app.shop.post("/v1/products/import", json!({"products": products})).await.expect(200);
}

async fn shelf(app: &TestApp, member: &str, query: &str) -> (Vec<String>, Json) {
    let found = app.shop.get(&format!("/v1/members/{member}/recommendations?{query}")).await.expect(200);
    let names = found["items"].as_array().expect("items").iter().map(|item| text(&item["product"]["external_id"]));
    (names.collect(), found)
}

#[tokio::test]
async fn what_others_bought_with_it_is_there_to_discover_and_the_rest_to_buy_again() {
    let app = TestApp::start().await;
    let plain = |name| (name, "food", None, None);
    let pill = ("pill", "otc-b", Some(30), None);
    let goods =
        [pill, plain("tea"), plain("scale"), plain("alone"), ("gone", "food", None, Some(2)), ("rx", "rx", None, None)];
    import(&app, &goods).await;
    for number in 0..2 {
        let other = app.member(&format!("other-{number}")).await;
        buys(&app, &other, &["pill", "tea", "scale", "gone"]).await;
        buys(&app, &other, &["pill", "tea"]).await;
        let mut asked = crate::app::cart(&other, &["pill", "rx"]);
        let name = format!("rx-{number}");
        app.prescribe_approved(&other, &name, &[("rx", 1)]).await;
        asked["prescription"] = json!(name);
        let quote = app.shop.post("/v1/quotes", asked).await.expect(201);
        app.pay(&app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await.expect(201)).await;
    }
    let new = app.member("new").await;
    assert_eq!(shelf(&app, &new, "shelf=discover").await.0, [""; 0], "nothing is known of a new member");

    let member = app.member("m-1").await;
    buys(&app, &member, &["pill", "alone"]).await;
    app.count_baskets().await;
    app.wait(SignedDuration::from_hours(28 * 24)).await;
    let (names, found) = shelf(&app, &member, "shelf=discover").await;
    assert_eq!(names, ["tea", "scale"], "no prescription medicine, nothing sold out, nothing bought before: {found:#}");
    assert_eq!(found["release"], json!({"slot": "score.home", "number": 1}));
    let reason = &found["items"][0]["reasons"][0];
    assert_eq!((&reason["code"], &reason["parameters"][0]["value"]), (&json!("bought-together"), &json!(4)));
    assert_eq!(text(&reason["text"]["en"]), "in 4 orders together with what you bought");
    assert_eq!(shelf(&app, &member, "shelf=discover&limit=1").await.0, ["tea"]);

    let (names, found) = shelf(&app, &member, "shelf=buy-again").await;
    assert_eq!(names, ["pill", "alone"], "the pack runs out");
    let reason = &found["items"][0]["reasons"][0];
    assert_eq!(text(&reason["text"]["zh_cn"]), "28天前购买，一份约用30天");
    let before = found["items"].clone();

    let app = app.restart().await;
    app.count_baskets().await;
    assert_eq!(shelf(&app, &member, "shelf=buy-again").await.1["items"], before, "a restart counts nothing twice");
    assert_eq!(shelf(&app, &member, "shelf=discover").await.0, ["tea", "scale"]);
}

#[tokio::test]
async fn what_came_back_is_on_no_shelf() {
    let app = TestApp::start().await;
    import(&app, &[("kept", "food", None, None), ("returned", "food", None, None)]).await;
    let member = app.member("m-1").await;
    let order = app.order(&member, &["kept", "returned"]).await;
    app.pay(&order).await;
    let refund = json!({"cause": "change-of-mind", "lines": [{"line": 1, "quantity": 1}]});
    app.shop.post(&format!("/v1/orders/{}/refunds", text(&order["id"])), refund).await.expect(200);
    app.count_baskets().await;
    assert_eq!(shelf(&app, &member, "shelf=buy-again").await.0, ["kept"]);
    assert_eq!(shelf(&app, &member, "shelf=discover").await.0, [""; 0]);
}

#[tokio::test]
async fn wrong_questions_are_refused() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    let path = format!("/v1/members/{member}/recommendations");
    app.shop.get(&path).await.refused(400, "malformed-query");
    app.shop.get(&format!("{path}?shelf=top")).await.refused(400, "malformed-query");
    app.shop.get(&format!("{path}?shelf=discover&limit=101")).await.refused(422, "invalid-request");
    app.shop.get(&format!("{path}?shelf=discover&limit=0")).await.refused(422, "invalid-request");
    let another = app.client(&["members:read"]).await;
    another.get(&format!("{path}?shelf=discover")).await.refused(404, "not-found");
    let scopeless = app.client(&["orders:read"]).await;
    scopeless.get(&format!("{path}?shelf=discover")).await.refused(403, "scope-missing");
    app.shop.delete(&format!("/v1/members/{member}")).await.expect(200);
    app.shop.get(&format!("{path}?shelf=buy-again")).await.refused(410, "member-erased");
}

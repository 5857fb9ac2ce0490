//! Offers and coupons over HTTP: limits, windows and validity, each by the row or rule it shows.

use jiff::SignedDuration;
use serde_json::{Value as Json, json};

use crate::app::{TestApp, cart, cny, text};

/// What an offer took off, in fen, and its first reason.
fn outcome<'a>(quote: &'a Json, code: &str) -> (i64, &'a Json) {
    let offers = quote["price"]["offers"].as_array().expect("offers");
    let found = offers.iter().find(|offer| offer["code"] == code).unwrap_or_else(|| panic!("no {code} in {offers:#?}"));
    (found["amount"]["minor"].as_i64().expect("an amount"), &found["reasons"][0])
}

/// An offer of one's own; its id.
async fn define(app: &TestApp, code: &str, class: &str, terms: Json, more: Json) -> String {
    let mut offer = json!({"code": code, "name_zh_cn": code, "name_en": code, "class": class, "terms": terms});
    offer.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    text(&app.operator.post("/ops/v1/offers", offer).await.expect(201)["id"])
}

async fn delivered_quote(app: &TestApp, member: &str) -> Json {
    let mut asked = cart(member, &["v"]);
    asked["delivery_fee"] = cny(600);
    app.shop.post("/v1/quotes", asked).await.expect(201)
}

async fn place(app: &TestApp, quote: &Json) -> Json {
    app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await.expect(201)
}

/// Moves the clock to an instant.
async fn at(app: &TestApp, instant: &str) {
    app.operator.put("/ops/v1/clock", json!({"now": instant})).await.expect(200);
}

/// One free delivery a month: the second one is paid, with both numbers; a cancellation gives it back, a month does.
#[tokio::test]
async fn c3_one_free_delivery_a_month() {
    let app = TestApp::start().await;
    let (one, other) = (app.member("m-1").await, app.member("m-2").await);
    app.product("v", 10_000).await;
    let limit = json!({"limits": [{"per": "member", "period": "month", "uses": 1}]});
    define(&app, "free-delivery", "delivery", json!({"type": "free-delivery"}), limit).await;
    let order = place(&app, &delivered_quote(&app, &one).await).await;
    assert_eq!(order["price"]["payable"], cny(10_000));
    let second = delivered_quote(&app, &one).await;
    let (amount, reason) = outcome(&second, "free-delivery");
    assert_eq!((amount, &reason["code"]), (0, &json!("member-limit")));
    assert_eq!(reason["parameters"], json!([{"type": "integer", "value": 1}, {"type": "integer", "value": 1}]));
    assert_eq!(outcome(&delivered_quote(&app, &other).await, "free-delivery").0, 600, "another member has their own");
    app.step(&order, "cancellation").await;
    let order = place(&app, &delivered_quote(&app, &one).await).await;
    assert_eq!(order["price"]["payable"], cny(10_000), "given back");
    app.pay(&order).await;
    at(&app, "2026-03-31T15:59:00Z").await;
    assert_eq!(outcome(&delivered_quote(&app, &one).await, "free-delivery").0, 0);
    at(&app, "2026-03-31T16:00:00Z").await;
    let april = place(&app, &delivered_quote(&app, &one).await).await;
    assert_eq!(april["price"]["payable"], cny(10_000), "it is April in Shanghai");
    // March's order comes back in April: that month has had its one.
    app.step(&order, "cancellation").await;
    assert_eq!(outcome(&delivered_quote(&app, &one).await, "free-delivery").0, 0);
}

/// A budget of a day: the order that finds it gone is priced without it, tells what is left and needed, and another day
/// begins anew.
#[tokio::test]
async fn r14_a_budget_of_a_day_is_never_exceeded() {
    let app = TestApp::start().await;
    let (one, other) = (app.member("m-1").await, app.member("m-2").await);
    app.product("v", 10_000).await;
    let limit = json!({"limits": [{"per": "all", "period": "day", "amount": cny(1_500)}]});
    define(&app, "daily", "promotion", json!({"type": "amount", "amount": 1_000}), limit).await;
    let quotes = [app.quote(&one, &["v"]).await, app.quote(&other, &["v"]).await];
    let order = place(&app, &quotes[0]).await;
    let problem = app.shop.post("/v1/orders", json!({"quote": quotes[1]["id"]})).await.refused(409, "quote-changed");
    let (amount, reason) = outcome(&problem["quote"], "daily");
    assert_eq!((amount, &reason["code"]), (0, &json!("budget-gone")));
    let words = text(&reason["text"]["en"]);
    assert!(words.contains("5.00") && words.contains("10.00"), "{words}");
    app.wait(SignedDuration::from_mins(31)).await;
    let order = app.shop.get(&format!("/v1/orders/{}", text(&order["id"]))).await.expect(200);
    assert_eq!(order["state"], "cancelled", "nobody paid");
    place(&app, &app.quote(&other, &["v"]).await).await;
    at(&app, "2026-03-01T16:00:00Z").await;
    place(&app, &app.quote(&one, &["v"]).await).await;
}

/// A budget that has less left than the saving: the quote leaves the offer out and says both amounts, so that it can be
/// placed as it is; and so for a limit of the member's own.
#[tokio::test]
async fn d1_a_quote_leaves_out_what_the_budget_cannot_pay() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("v", 10_000).await;
    let own = json!({"limits": [{"per": "member", "period": "ever", "amount": cny(1_500)}]});
    for (code, limit, why) in
        [("all", json!({"budget_amount": cny(1_500)}), "budget-gone"), ("own", own, "member-limit")]
    {
        let offer = define(&app, code, "promotion", json!({"type": "amount", "amount": 1_000}), limit).await;
        place(&app, &app.quote(&member, &["v"]).await).await;
        let quote = app.quote(&member, &["v"]).await;
        let (amount, reason) = outcome(&quote, code);
        assert_eq!((amount, &reason["code"]), (0, &json!(why)));
        let words = text(&reason["text"]["en"]);
        let numbers = if code == "all" { ["5.00", "10.00"] } else { ["10.00", "15.00"] };
        assert!(numbers.iter().all(|number| words.contains(number)), "{words}");
        assert_eq!(place(&app, &quote).await["price"]["payable"], quote["price"]["payable"]);
        app.operator.post(&format!("/ops/v1/offers/{offer}/pause"), Json::Null).await.expect(200);
    }
}

/// Wednesday 20:00–22:00, the 15th, a season and the birthday month: closed says when it is open.
#[tokio::test]
async fn d1_windows_of_the_calendar() {
    let app = TestApp::start().await;
    let born = json!({"external_id": "m-1", "profile": {"birthday": "1990-04-15"}});
    let member = text(&app.shop.post("/v1/members", born).await.expect(201)["id"]);
    app.product("v", 10_000).await;
    let yuan = || json!({"type": "amount", "amount": 100});
    for (code, window) in [
        ("evening", json!({"weekdays": [3], "from": "20:00", "to": "22:00"})),
        ("fifteenth", json!({"days": [15]})),
        ("flu", json!({"months": [11, 12, 1, 2]})),
        ("birthday", json!({"birthday_month": true})),
    ] {
        define(&app, code, "promotion", yuan(), json!({"windows": [window]})).await;
    }
    let open = async |instant: &str| {
        at(&app, instant).await;
        let quote = app.quote(&member, &["v"]).await;
        ["evening", "fifteenth", "flu", "birthday"].map(|code| outcome(&quote, code).0 == 100)
    };
    assert_eq!(open("2026-03-04T11:59:59Z").await, [false; 4]);
    let quote = app.quote(&member, &["v"]).await;
    let reason = outcome(&quote, "evening").1;
    assert_eq!(reason["code"], "not-open");
    assert_eq!(reason["parameters"][0]["value"], "2026-03-04 19:59 W3");
    assert_eq!(reason["parameters"][1]["value"], "W3 20:00-22:00");
    assert_eq!(open("2026-03-04T12:00:00Z").await, [true, false, false, false]);
    assert_eq!(open("2026-03-04T14:00:00Z").await, [false; 4]);
    assert_eq!(open("2026-03-14T16:00:00Z").await, [false, true, false, false]);
    assert_eq!(open("2026-03-31T16:00:00Z").await, [false, false, false, true]);
    assert_eq!(open("2026-11-03T12:00:00Z").await, [false, false, true, false]);
    assert_eq!(open("2027-02-28T15:59:59Z").await, [false, false, true, false]);
    assert_eq!(open("2027-02-28T16:00:00Z").await, [false; 4]);
}

/// What is wrong with limits, windows and validity is named, all at once.
#[tokio::test]
async fn d1_every_wrong_limit_and_window_is_named() {
    let app = TestApp::start().await;
    let mut offer = json!({
        "code": "wrong", "name_zh_cn": "x", "name_en": "x", "class": "promotion",
        "terms": {"type": "amount", "amount": 100}, "valid_days": 1, "valid_hours": 1,
        "limits": [{"per": "all", "period": "day"}], "windows": [{"from": "25:00"}],
    });
    let pointers = |problem: Json| -> Vec<String> {
        problem["errors"].as_array().expect("errors").iter().map(|error| text(&error["pointer"])).collect()
    };
    let problem = app.operator.post("/ops/v1/offers", offer.clone()).await.refused(422, "invalid-request");
    assert_eq!(pointers(problem), ["/limits/0", "/windows/0/from", "/valid_days"]);
    offer["valid_hours"] = Json::Null;
    offer["limits"] = json!([
        {"per": "all", "period": "ever", "uses": 5}, {"per": "member", "period": "day", "uses": 0},
        {"per": "member", "period": "day", "uses": 1}, {"per": "member", "period": "day", "issues": 1},
        {"per": "all", "period": "hour", "uses": 1},
    ]);
    offer["breaker"] = json!([{"per": "member", "period": "hour", "uses": 1}]);
    offer["windows"] = json!([{"weekdays": [8], "days": [1, 1], "from": "22:00", "to": "02:00"}]);
    let problem = app.operator.post("/ops/v1/offers", offer).await.refused(422, "invalid-request");
    let expected = [
        "/limits/0",
        "/limits/1",
        "/limits/2",
        "/limits/3",
        "/limits/4",
        "/windows/0/weekdays",
        "/windows/0/days",
        "/windows/0/to",
        "/breaker/0",
    ];
    assert_eq!(pointers(problem), expected);
}

/// A coupon that dies at 23:59:59 of the day or month of its issue in Shanghai, one of so many hours.
#[tokio::test]
async fn r7_coupons_die_at_the_end_of_the_day() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    let yuan = || json!({"type": "amount", "amount": 100});
    for (code, valid, dies) in [
        ("month", json!({"valid_until": "end-of-month"}), "2026-03-31T15:59:59Z"),
        ("hours", json!({"valid_hours": 36}), "2026-03-02T16:00:00Z"),
        ("day", json!({"valid_until": "end-of-day"}), "2026-03-01T15:59:59Z"),
    ] {
        let offer = define(&app, code, "coupon", yuan(), valid).await;
        let coupon = app.coupon(&offer, &member).await;
        let path = format!("/v1/coupons/{coupon}");
        assert_eq!(app.shop.get(&path).await.expect(200)["expires_at"], dies, "{code}");
        if code == "day" {
            at(&app, "2026-03-01T15:59:58Z").await;
            assert_eq!(app.shop.get(&path).await.expect(200)["state"], "issued");
            at(&app, "2026-03-01T15:59:59Z").await;
            assert_eq!(app.shop.get(&path).await.expect(200)["state"], "expired");
        }
    }
}

/// The states of what a member has and had of an offer.
async fn held(app: &TestApp, member: &str, offer: &str) -> Vec<String> {
    let page = app.shop.get(&format!("/v1/members/{member}/coupons?in_hand=false")).await.expect(200);
    let of = page["items"].as_array().expect("items").iter().filter(|coupon| coupon["offer"] == offer);
    of.map(|coupon| text(&coupon["state"])).collect()
}

async fn claim(app: &TestApp, member: &str, offer: &str) -> crate::app::Reply {
    app.shop.post(&format!("/v1/members/{member}/claims"), json!({"offer": offer})).await
}

/// At least one paid order; claimed, never mass-issued; one a Shanghai day, dies at 23:59:59; 199−20.
#[tokio::test]
async fn r7_the_daily_coupon_is_claimed() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("v", 30_000).await;
    let terms = json!({"type": "amount", "amount": 2_000, "threshold": 19_900});
    let more = json!({
        "claimed": true, "valid_until": "end-of-day", "limits": [{"per": "member", "period": "day", "issues": 1}],
        "conditions": [{"fact": "member.lifetime-paid-orders", "at_least": 1}],
    });
    let daily = define(&app, "daily-199-20", "coupon", terms, more).await;
    let assigned = app.shop.post("/v1/coupons", json!({"offer": daily, "member": member})).await;
    let why = text(&assigned.refused(409, "offer-not-issuable")["detail"]);
    assert!(why.contains("claimed by members"), "{why}");
    let why = text(&claim(&app, &member, &daily).await.refused(409, "offer-not-issuable")["detail"]);
    assert!(why.contains("member.lifetime-paid-orders is 0, must be >= 1"), "{why}");
    let order = app.order(&member, &["v"]).await;
    app.pay(&order).await;
    let coupon = claim(&app, &member, &daily).await.expect(201);
    assert_eq!(coupon["expires_at"], "2026-03-01T15:59:59Z");
    let why = text(&claim(&app, &member, &daily).await.refused(409, "offer-not-issuable")["detail"]);
    assert!(why.contains("the member has had 1, the limit is 1 a day"), "{why}");
    let quote = app.quote(&member, &["v"]).await;
    assert_eq!(outcome(&quote, "daily-199-20").0, 2_000);
}

/// ¥9.90 without threshold on joining, valid 30 days; noticed 7 days before, dead on time.
#[tokio::test]
async fn b2_welcome_coupon() {
    let app = TestApp::start().await;
    app.product("v", 5_000).await;
    let welcome = json!({"issued_on": "registration", "valid_days": 30, "per_member": 1});
    let welcome = define(&app, "welcome-990", "coupon", json!({"type": "amount", "amount": 990}), welcome).await;
    let member = app.member("m-1").await;
    assert_eq!(held(&app, &member, &welcome).await, ["issued"]);
    assert_eq!(app.quote(&member, &["v"]).await["price"]["payable"], cny(4_010));
    app.wait(SignedDuration::from_hours(30 * 24)).await;
    assert_eq!(held(&app, &member, &welcome).await, ["expired"]);
    assert_eq!(app.quote(&member, &["v"]).await["price"]["payable"], cny(5_000));
}

/// ¥10 once for a complete profile: not before, not twice.
#[tokio::test]
async fn b3_a_complete_profile_brings_a_coupon_once() {
    let app = TestApp::start().await;
    let gift = json!({"issued_on": "profile-completed", "profile_fields": ["name", "birthday"], "valid_hours": 1});
    let gift = define(&app, "profile-10", "coupon", json!({"type": "amount", "amount": 1_000}), gift).await;
    let member = app.member("m-1").await;
    let change = async |profile: Json| {
        let path = format!("/v1/members/{member}");
        let request = app.shop.request(reqwest::Method::PATCH, &path).json(&json!({"profile": profile}));
        app.shop.send(request).await.expect(200);
    };
    change(json!({"name": "李"})).await;
    assert!(held(&app, &member, &gift).await.is_empty());
    change(json!({"birthday": "1980-05-15"})).await;
    assert_eq!(held(&app, &member, &gift).await, ["issued"]);
    change(json!({"birthday": null})).await;
    change(json!({"birthday": "1980-05-15"})).await;
    app.wait(SignedDuration::from_hours(2)).await;
    change(json!({"name": "王"})).await;
    assert_eq!(held(&app, &member, &gift).await, ["expired"]);
    let whole = json!({"external_id": "m-2", "profile": {"name": "王", "birthday": "1990-01-01"}});
    let whole = text(&app.shop.post("/v1/members", whole).await.expect(201)["id"]);
    assert_eq!(held(&app, &whole, &gift).await, ["issued"], "complete from the beginning");
}

/// The 15th 满100减20 for members; birthday and anniversary coupons issue themselves; 199 spent in the birthday month
/// bring 200 points, once in the month.
#[tokio::test]
async fn c4_member_day_and_birthday() {
    let app = TestApp::start().await;
    app.product("v", 10_000).await;
    let yuan = |amount: i64| json!({"type": "amount", "amount": amount});
    let day = json!({"type": "amount", "amount": 2_000, "threshold": 10_000});
    define(&app, "member-day", "promotion", day, json!({"windows": [{"days": [15]}]})).await;
    let birthday = json!({"issued_on": "birthday", "valid_until": "end-of-month"});
    let birthday = define(&app, "birthday", "coupon", yuan(1_000), birthday).await;
    let joined = define(&app, "years", "coupon", yuan(500), json!({"issued_on": "anniversary", "valid_days": 7})).await;
    let bonus = json!({"spend": cny(19_900), "points": 200, "birthday_month": true});
    app.operator.put("/ops/v1/bonuses/birthday-199", bonus).await.expect(200);
    let born = json!({"external_id": "m-1", "profile": {"birthday": "1980-05-20"}});
    let member = text(&app.shop.post("/v1/members", born).await.expect(201)["id"]);
    let buy = async |times: usize| {
        for _ in 0..times {
            let order = app.order(&member, &["v"]).await;
            app.pay(&order).await;
        }
        app.wait(SignedDuration::from_secs(1)).await;
    };
    let active = async || app.points(&member).await[1];
    buy(3).await;
    assert_eq!(active().await, 0, "March is not the month");
    at(&app, "2026-05-14T16:00:00Z").await;
    let quote = app.quote(&member, &["v"]).await;
    assert_eq!(outcome(&quote, "member-day").1["code"], "below-threshold", "95.00 after the tier's 5 %");
    at(&app, "2026-05-20T01:00:00Z").await;
    assert_eq!(held(&app, &member, &birthday).await, ["issued"]);
    buy(1).await;
    assert_eq!(active().await, 0, "85.00 of 199.00");
    buy(2).await;
    assert_eq!(active().await, 200);
    buy(3).await;
    assert_eq!(active().await, 200, "once in the month");
    let entries = app.shop.get(&format!("/v1/members/{member}/points/entries")).await.expect(200);
    let entries = entries["items"].as_array().expect("items");
    let noted: Vec<&Json> = entries.iter().filter(|entry| entry["cause"] == "adjusted").collect();
    assert_eq!((noted.len(), &noted[0]["reason"], &noted[0]["by"]), (1, &json!("bonus"), &Json::Null));
    at(&app, "2026-05-31T15:59:59Z").await;
    assert!(held(&app, &member, &birthday).await.iter().all(|state| state != "issued"), "used or dead");
    at(&app, "2027-03-01T01:00:00Z").await;
    assert_eq!(held(&app, &member, &joined).await, ["issued"]);
}

/// Any event by its name issues a coupon, once for each, and not for what happened before the offer.
#[tokio::test]
async fn d1_an_event_issues_a_coupon() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("v", 10_000).await;
    let order = app.order(&member, &["v"]).await;
    app.pay(&order).await;
    let thanks = json!({"issued_on": "event", "event": "order-paid", "valid_days": 30});
    let thanks = define(&app, "thanks", "coupon", json!({"type": "amount", "amount": 100}), thanks).await;
    app.wait(SignedDuration::from_secs(1)).await;
    assert!(held(&app, &member, &thanks).await.is_empty(), "paid before");
    let order = app.order(&member, &["v"]).await;
    app.pay(&order).await;
    for _ in 0..2 {
        app.wait(SignedDuration::from_secs(1)).await;
        assert_eq!(held(&app, &member, &thanks).await, ["issued"]);
    }
    let mut never = json!({"code": "x", "name_zh_cn": "x", "name_en": "x", "class": "coupon", "issued_on": "event",
        "terms": {"type": "amount", "amount": 100}, "event": "coupon-issued"});
    app.operator.post("/ops/v1/offers", never.clone()).await.refused(422, "invalid-request");
    never["event"] = Json::Null;
    app.operator.post("/ops/v1/offers", never).await.refused(422, "invalid-request");
}

/// More happens at once than what it causes can be written at once: all of it comes, in several steps.
#[tokio::test]
async fn d1_many_offers_for_many_events() {
    let app = TestApp::start().await;
    let mut offers = Vec::new();
    for n in 0..13 {
        let more = json!({"issued_on": "event", "event": "updated", "valid_days": 30});
        offers.push(define(&app, &format!("o-{n}"), "coupon", json!({"type": "amount", "amount": 100}), more).await);
    }
    let member = app.member("m-1").await;
    for n in 0..8 {
        let change = json!({"profile": {"name": format!("name {n}")}});
        let request = app.shop.request(reqwest::Method::PATCH, &format!("/v1/members/{member}")).json(&change);
        app.shop.send(request).await.expect(200);
    }
    app.wait(SignedDuration::from_secs(1)).await;
    let list = app.shop.get(&format!("/v1/members/{member}/coupons?limit=200")).await.expect(200);
    let list = list["items"].as_array().expect("items");
    for offer in offers {
        assert_eq!(list.iter().filter(|coupon| coupon["offer"] == json!(offer)).count(), 8);
    }
}

/// One coupon is taken back, then all of an offer; what an order holds stays its, and is taken back when it comes back.
#[tokio::test]
async fn d1_coupons_are_taken_back() {
    let app = TestApp::start().await;
    app.product("v", 10_000).await;
    let offer = app.offer("gift", "coupon", json!({"type": "amount", "amount": 100})).await;
    let mut members = Vec::new();
    for n in 0..60 {
        let member = app.member(&format!("m-{n}")).await;
        for _ in 0..2 {
            app.coupon(&offer, &member).await;
        }
        members.push(member);
    }
    let single = app.coupon(&offer, &members[0]).await;
    let path = format!("/v1/coupons/{single}/revocation");
    assert_eq!(app.shop.post(&path, Json::Null).await.expect(200)["state"], "revoked");
    assert_eq!(app.shop.post(&path, Json::Null).await.expect(200)["state"], "revoked", "again changes nothing");
    let holder = app.order(&members[1], &["v"]).await;
    let path = format!("/ops/v1/offers/{offer}/revocation");
    app.operator.get(&path).await.refused(404, "not-found");
    app.operator.post(&path, Json::Null).await.expect(200);
    app.wait(SignedDuration::from_secs(1)).await;
    let state = app.operator.get(&path).await.expect(200);
    assert_eq!((&state["revoked"], &state["done"]), (&json!(119), &json!(true)));
    assert_eq!(held(&app, &members[0], &offer).await, ["revoked", "revoked", "revoked"]);
    let mut kept = held(&app, &members[1], &offer).await;
    kept.sort_unstable();
    assert_eq!(kept, ["held", "revoked"]);
    app.step(&holder, "cancellation").await;
    assert_eq!(held(&app, &members[1], &offer).await, ["revoked", "revoked"]);
    app.coupon(&offer, &members[0]).await;
    app.wait(SignedDuration::from_secs(1)).await;
    assert!(held(&app, &members[0], &offer).await.contains(&"issued".to_owned()), "issued later");
}

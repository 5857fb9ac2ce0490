//! Tiers over time, over HTTP: periods, grace, notice, gifts.

use std::collections::BTreeMap;

use galenic::{
    events::{EVENTS, What},
    ids::{Id as _, MemberId},
    service::timers::Pace,
    store::StoreError,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};

use crate::app::{TestApp, cart, cny, text};

const DAY_HOURS: i64 = 24;

/// Buys and pays; the order.
async fn paid(app: &TestApp, member: &str, product: &str) -> Json {
    let order = app.order(member, &[product]).await;
    app.pay(&order).await;
    order
}

/// Buys, pays and receives; the order.
async fn bought(app: &TestApp, member: &str, product: &str) -> Json {
    let order = paid(app, member, product).await;
    app.step(&order, "shipment").await;
    app.step(&order, "delivery").await;
    order
}

async fn refund(app: &TestApp, order: &Json) {
    let path = format!("/v1/orders/{}/refunds", text(&order["id"]));
    app.shop.post(&path, json!({"cause": "quality"})).await.expect(200);
}

async fn tier(app: &TestApp, member: &str) -> String {
    text(&app.shop.get(&format!("/v1/members/{member}")).await.expect(200)["tier"]["code"])
}

async fn now(app: &TestApp) -> Timestamp {
    text(&app.operator.get("/ops/v1/clock").await.expect(200)["now"]).parse().expect("a time")
}

/// Lets the machine's clock go back, as no operator can, and does what is due then.
async fn back(app: &TestApp, by: SignedDuration) {
    let services = app.services();
    let then = services.clock.now().checked_sub(by).expect("a time");
    services.clock.set(then).expect("is a manual clock");
    services.run_due(Pace::Full, || true).await.expect("runs");
}

/// Moves the clock on.
async fn set(app: &TestApp, at: &str) {
    app.operator.put("/ops/v1/clock", json!({"now": at})).await.expect(200);
}

/// What happened to a member, in order.
async fn happened(app: &TestApp, member: &str) -> Vec<What> {
    let id: MemberId = member.parse().expect("an id");
    assert_ne!(id.to_bits(), 0);
    let mut all = Vec::new();
    let each = app.services().store.for_each(EVENTS, |_, row| {
        if row.value.member == id {
            all.push(row.value.what);
        }
        Ok::<_, StoreError>(())
    });
    each.await.expect("reads");
    all
}

/// What members are told of tiers, as short texts.
async fn told(app: &TestApp, member: &str) -> Vec<String> {
    let tell = |what| match what {
        What::TierChanged { from, to, cause } => Some(format!("{from}>{to} {cause:?}")),
        What::TierAtRisk { tier, to, on } => Some(format!("risk {tier}>{to} {on}")),
        What::TierRenewal { tier, on } => Some(format!("renew {tier} {on}")),
        What::TierGift { tier, points } => Some(format!("gift {tier} {}", points.get())),
        _ => None,
    };
    happened(app, member).await.into_iter().filter_map(tell).collect()
}

/// Lets another rule decide on tiers, by its name.
async fn release(app: &TestApp, module: &str, config: Json, more: Json) {
    let modules = app.operator.get("/ops/v1/modules").await.expect(200);
    let modules = modules["items"].as_array().expect("modules");
    let known = modules.iter().find(|known| known["name"] == module).expect("is built in");
    let mut new = json!({"module": known["digest"], "config": config});
    for (name, value) in more.as_object().expect("an object") {
        new[name] = value.clone();
    }
    let made = app.operator.post("/ops/v1/slots/tier/releases", new).await.expect(201);
    app.operator.put("/ops/v1/slots/tier/active", json!({"number": made["number"]})).await.expect(200);
}

/// Silver is 100 spent within 365 days, nothing else counts.
async fn year_rule(app: &TestApp) {
    let weight = |score: i64| json!({"per": 100, "score": score});
    let config = json!({
        "spend": weight(1), "orders": weight(0), "tenure": weight(0), "interactions": weight(0),
        "tiers": [
            {"from": 0, "tier": {"code": "regular", "name_zh_cn": "普通会员", "name_en": "Regular"}},
            {"from": 100, "tier": {"code": "silver", "name_zh_cn": "银卡会员", "name_en": "Silver", "discount": 500}},
        ],
    });
    let map = json!({"member": "regular", "bronze": "regular", "gold": "silver"});
    release(app, "tier-composite", config, json!({"tier_map": map})).await;
}

async fn programme(app: &TestApp, programme: Json) -> Json {
    app.operator.put("/ops/v1/tier-programme", programme).await.expect(200)
}

/// Lost in 2027, kept to its end and 30 days of grace; told 30 days and nudged 14 days before, with a coupon, once.
#[tokio::test]
async fn c3_a_tier_is_kept_to_the_periods_end_and_through_its_grace() {
    let app = TestApp::start().await;
    year_rule(&app).await;
    let renewal = app.offer("renew", "coupon", json!({"type": "amount", "amount": 2_000})).await;
    let set_up = programme(
        &app,
        json!({
            "evaluation": {"type": "period", "months": 12, "first_month": 1},
            "grace_days": 30, "notice_days": 30, "renewal_days": 14, "renewal_offers": ["renew"],
        }),
    )
    .await;
    assert_eq!((&set_up["version"], &set_up["renewal_offers"]), (&json!(1), &json!(["renew"])));
    app.product("v", 10_000).await;
    let (lapses, renews) = (app.member("m-1").await, app.member("m-2").await);
    for member in [&lapses, &renews] {
        bought(&app, member, "v").await;
        assert_eq!(tier(&app, member).await, "silver");
    }
    let start = told(&app, &lapses).await;
    for at in ["2027-02-28T04:00:00Z", "2027-03-02T04:00:00Z", "2027-12-31T00:00:00Z"] {
        set(&app, at).await;
        assert_eq!(told(&app, &lapses).await, start, "kept without a word at {at}");
    }
    // The first day without it is 31 January 2028: day 21214.
    let notice = "risk silver>regular 21214".to_owned();
    set(&app, "2028-01-01T00:59:59Z").await;
    assert_eq!(told(&app, &lapses).await.len(), start.len());
    set(&app, "2028-01-01T01:00:00Z").await;
    assert_eq!(&told(&app, &lapses).await[start.len()..], std::slice::from_ref(&notice));
    back(&app, SignedDuration::from_hours(2 * DAY_HOURS)).await;
    set(&app, "2028-01-17T01:00:00Z").await;
    let nudged = told(&app, &lapses).await;
    assert_eq!(nudged[start.len()..], [notice, "renew silver 21214".to_owned()], "once, whatever the clock does");
    let coupons = app.shop.get(&format!("/v1/members/{lapses}/coupons")).await.expect(200);
    assert_eq!(coupons["items"][0]["offer"], json!(renewal));
    // One of them buys again in the grace: nothing happened.
    app.product("w", 15_000).await;
    bought(&app, &renews, "w").await;
    set(&app, "2028-01-30T15:59:59Z").await;
    assert_eq!(tier(&app, &lapses).await, "silver");
    set(&app, "2028-01-30T16:00:00Z").await;
    assert_eq!((tier(&app, &lapses).await, tier(&app, &renews).await), ("regular".to_owned(), "silver".to_owned()));
    assert_eq!(told(&app, &lapses).await.last().map(String::as_str), Some("silver>regular Scheduled"));
    set(&app, "2028-06-01T00:00:00Z").await;
    assert_eq!(told(&app, &renews).await.iter().filter(|told| told.starts_with("silver>")).count(), 0);
}

/// Without periods a rolling tier falls after its grace, and who buys within it keeps it.
#[tokio::test]
async fn c3_a_rolling_tier_falls_after_its_grace() {
    let app = TestApp::start().await;
    year_rule(&app).await;
    programme(&app, json!({"evaluation": {"type": "rolling"}, "grace_days": 10, "notice_days": 5})).await;
    app.product("v", 10_000).await;
    let member = app.member("m-1").await;
    bought(&app, &member, "v").await;
    // 365 days: 1 March 2026 counts to 28 February 2027; the night of 1 March finds out at 3:00 to 3:10.
    set(&app, "2027-02-28T20:00:00Z").await;
    let shown = app.shop.get(&format!("/v1/members/{member}/tier")).await.expect(200);
    assert_eq!(shown["kept"]["to"], "regular", "{shown:#}");
    set(&app, "2027-03-10T18:30:00Z").await;
    assert_eq!(tier(&app, &member).await, "silver");
    set(&app, "2027-03-10T20:00:00Z").await;
    assert_eq!(tier(&app, &member).await, "regular");
    let told = told(&app, &member).await;
    // At its longest the first day without it is 11 March: day 20888.
    assert_eq!(told[1..], ["risk silver>regular 20888".to_owned(), "silver>regular Scheduled".to_owned()], "{told:?}");
}

/// A demotion that only a new rule explains waits for the period's end and then happens, without notice; one by a
/// refund is at once, or waits where the programme says so.
#[tokio::test]
async fn r5_demotions_by_rule_and_by_refund() {
    let app = TestApp::start().await;
    app.product("v", 20_000).await;
    let (by_rule, by_refund) = (app.member("m-1").await, app.member("m-2").await);
    bought(&app, &by_rule, "v").await;
    let order = bought(&app, &by_refund, "v").await;
    assert_eq!(tier(&app, &by_rule).await, "bronze");
    programme(&app, json!({"evaluation": {"type": "lifetime"}, "notice_days": 30, "grace_days": 30})).await;
    let slots = app.operator.get("/ops/v1/slots").await.expect(200);
    let live = slots["items"].as_array().expect("slots").iter().find(|slot| slot["name"] == "tier").expect("lives");
    let mut config = live["release"]["config"].clone();
    config["tiers"][1]["from"] = json!(30_000);
    release(&app, "tier-spend", config, json!({})).await;
    set(&app, "2026-06-01T00:00:00Z").await;
    let shown = app.shop.get(&format!("/v1/members/{by_rule}/tier")).await.expect(200);
    assert_eq!(
        (&shown["kept"]["cause"], &shown["kept"]["until"]),
        (&json!("rule-change"), &json!("2026-12-31T16:00:00Z"))
    );
    set(&app, "2026-12-31T15:59:59Z").await;
    assert_eq!(tier(&app, &by_rule).await, "bronze");
    refund(&app, &order).await;
    assert_eq!(tier(&app, &by_refund).await, "bronze", "what was promised stays promised");
    set(&app, "2026-12-31T16:00:00Z").await;
    for member in [&by_rule, &by_refund] {
        assert_eq!(tier(&app, member).await, "member");
        let told = told(&app, member).await;
        assert_eq!(told[1..], ["bronze>member RuleChange".to_owned()], "{told:?}");
    }
    // A refund under the rule that gave the tier: at once, or at the end of the half-year.
    app.product("w", 40_000).await;
    let order = bought(&app, &by_rule, "w").await;
    refund(&app, &order).await;
    assert_eq!(tier(&app, &by_rule).await, "member");
    let half = json!({"type": "period", "months": 6, "first_month": 1});
    programme(&app, json!({"evaluation": half, "on_refund": "period-end"})).await;
    let order = bought(&app, &by_rule, "w").await;
    refund(&app, &order).await;
    assert_eq!(tier(&app, &by_rule).await, "bronze");
    set(&app, "2027-06-30T16:00:00Z").await;
    assert_eq!(tier(&app, &by_rule).await, "member");
}

/// R5's numbers: 1 for each net yuan, 20 for each order, 10 for each month; silver from 600.
#[tokio::test]
async fn c2_the_composite_score_to_the_point() {
    let app = TestApp::start().await;
    let config: Json = serde_json::from_str(include_str!("../../plugins/tier-composite/config.json")).expect("JSON");
    release(&app, "tier-composite", config, json!({"tier_map": {"member": "regular", "bronze": "regular"}})).await;
    for (name, price) in [("v-579", 57_999), ("v-580", 58_000), ("v-1", 100)] {
        app.product(name, price).await;
    }
    let (reaches, almost, time) = (app.member("m-1").await, app.member("m-2").await, app.member("m-3").await);
    bought(&app, &reaches, "v-580").await;
    bought(&app, &almost, "v-579").await;
    bought(&app, &time, "v-579").await;
    assert_eq!((tier(&app, &reaches).await, tier(&app, &almost).await), ("silver".to_owned(), "regular".to_owned()));
    // One yuan and one order more are 21 points.
    bought(&app, &almost, "v-1").await;
    assert_eq!(tier(&app, &almost).await, "silver");
    // A month more is 10: 609, found by night.
    app.wait(SignedDuration::from_hours(32 * DAY_HOURS)).await;
    assert_eq!(tier(&app, &time).await, "silver");
    assert_eq!(told(&app, &time).await, ["regular>silver Scheduled"]);
}

fn silver_gift() -> Json {
    json!({"code": "silver", "gift": {"points": 100, "offers": ["pill-box"]}})
}

/// A shop whose silver members get a gift, and a member who becomes one with one "v".
async fn gifted() -> (TestApp, String) {
    let app = TestApp::start().await;
    app.product("v", 120_000).await;
    app.offer("pill-box", "coupon", json!({"type": "amount", "amount": 1_500})).await;
    programme(&app, json!({"evaluation": {"type": "lifetime"}, "tiers": [silver_gift()]})).await;
    let member = app.member("m-1").await;
    (app, member)
}

/// How many gifts the member was told of.
async fn gifts(app: &TestApp, member: &str) -> usize {
    told(app, member).await.iter().filter(|told| told.starts_with("gift")).count()
}

/// The gift comes a week after delivery, if the tier is held then; once, through refunds and re-upgrades.
#[tokio::test]
async fn r5_the_upgrade_gift_after_the_return_window() {
    let (app, member) = gifted().await;
    let gifts = async || gifts(&app, &member).await;
    // Comes back before the window closes: no gift.
    let first = bought(&app, &member, "v").await;
    assert_eq!(tier(&app, &member).await, "silver");
    app.wait(SignedDuration::from_hours(3 * DAY_HOURS)).await;
    refund(&app, &first).await;
    app.wait(SignedDuration::from_hours(10 * DAY_HOURS)).await;
    assert_eq!((tier(&app, &member).await.as_str(), gifts().await), ("member", 0));
    // Silver again: the window counts from this order's delivery.
    let second = paid(&app, &member, "v").await;
    app.wait(SignedDuration::from_hours(20 * DAY_HOURS)).await;
    assert_eq!(gifts().await, 0, "not delivered");
    app.step(&second, "shipment").await;
    app.step(&second, "delivery").await;
    app.wait(SignedDuration::from_hours(7 * DAY_HOURS) - SignedDuration::from_secs(1)).await;
    assert_eq!(gifts().await, 0);
    app.wait(SignedDuration::from_secs(1)).await;
    assert_eq!((gifts().await, app.points(&member).await), (1, [0, 1_200 + 100, 0]));
    let entries = app.shop.get(&format!("/v1/members/{member}/points/entries")).await.expect(200);
    assert_eq!(
        (&entries["items"][0]["cause"], &entries["items"][0]["reason"]),
        (&json!("adjusted"), &json!("tier-gift"))
    );
    let coupons = app.shop.get(&format!("/v1/members/{member}/coupons")).await.expect(200);
    assert_eq!(coupons["items"].as_array().map(Vec::len), Some(1));
    // Down and up again: nothing more.
    refund(&app, &second).await;
    bought(&app, &member, "v").await;
    app.wait(SignedDuration::from_hours(30 * DAY_HOURS)).await;
    assert_eq!((tier(&app, &member).await.as_str(), gifts().await), ("silver", 1));
}

/// The order that reached the tier never arrives, and another one holds it: the gift comes all the same.
#[tokio::test]
async fn r5_the_gift_outlives_the_order_that_brought_it() {
    let (app, member) = gifted().await;
    let gifts = async || gifts(&app, &member).await;
    let first = paid(&app, &member, "v").await;
    bought(&app, &member, "v").await;
    app.step(&first, "cancellation").await;
    assert_eq!(tier(&app, &member).await, "silver");
    app.wait(SignedDuration::from_hours(7 * DAY_HOURS) - SignedDuration::from_secs(1)).await;
    assert_eq!(gifts().await, 0);
    app.wait(SignedDuration::from_secs(1)).await;
    assert_eq!(gifts().await, 1);
}

/// A new rule that lifts a member brings no gift.
#[tokio::test]
async fn r5_no_gift_by_rule_change() {
    let app = TestApp::start().await;
    app.product("v", 50_000).await;
    app.offer("pill-box", "coupon", json!({"type": "amount", "amount": 1_500})).await;
    programme(&app, json!({"evaluation": {"type": "lifetime"}, "tiers": [silver_gift()]})).await;
    let member = app.member("m-1").await;
    bought(&app, &member, "v").await;
    let slots = app.operator.get("/ops/v1/slots").await.expect(200);
    let live = slots["items"].as_array().expect("slots").iter().find(|slot| slot["name"] == "tier").expect("lives");
    let mut config = live["release"]["config"].clone();
    config["tiers"][2]["from"] = json!(40_000);
    release(&app, "tier-spend", config, json!({})).await;
    app.wait(SignedDuration::from_hours(60 * DAY_HOURS)).await;
    assert_eq!(told(&app, &member).await, ["member>bronze Paid", "bronze>silver RuleChange"]);
}

/// "¥899.00 more for Silver"; by a date where there are periods; to keep it; and where spend alone does not do it.
#[tokio::test]
async fn c3_the_projected_tier() {
    let app = TestApp::start().await;
    app.product("v", 10_000).await;
    let member = app.member("m-1").await;
    let standing = async || app.shop.get(&format!("/v1/members/{member}/tier")).await.expect(200);
    bought(&app, &member, "v").await;
    let shown = standing().await;
    assert_eq!((&shown["tier"]["code"], &shown["next"]["tier"]["code"]), (&json!("member"), &json!("bronze")));
    assert_eq!((&shown["next"]["missing"]["minor"], &shown["keep"]), (&json!(9_900), &Json::Null), "{shown:#}");
    assert_eq!(shown["next"]["text"]["en"], "¥99.00 more for Bronze");
    assert_eq!(shown["reasons"][0]["code"], "reached");

    year_rule(&app).await;
    let half = json!({"type": "period", "months": 6, "first_month": 1});
    programme(&app, json!({"evaluation": half, "grace_days": 10})).await;
    app.product("w", 9_999).await;
    let other = app.member("m-2").await;
    bought(&app, &other, "w").await;
    let shown = app.shop.get(&format!("/v1/members/{other}/tier")).await.expect(200);
    let next = &shown["next"];
    assert_eq!((&next["missing"]["minor"], &next["by"]), (&json!(1), &json!("2026-06-30")), "{shown:#}");
    assert_eq!(next["text"]["en"], "¥0.01 more by 30 June 2026 for Silver");
    assert_eq!(next["text"]["zh_cn"], "2026年6月30日前再消费¥0.01可升级为银卡会员");
    // One yuan of what silver takes lapses on 1 March 2027: kept to the end of June and ten days.
    app.wait(SignedDuration::from_hours(DAY_HOURS)).await;
    assert_eq!(tier(&app, &member).await, "silver");
    app.wait(SignedDuration::from_hours(DAY_HOURS)).await;
    bought(&app, &member, "w").await;
    let shown = standing().await;
    assert_eq!((&shown["next"], &shown["held_until"]), (&Json::Null, &json!("2027-07-10T16:00:00Z")), "{shown:#}");
    assert_eq!((&shown["keep"]["missing"]["minor"], &shown["keep"]["by"]), (&json!(10_000), &json!("2027-07-10")));

    let weight = |score: i64| json!({"per": 100, "score": score});
    let config = json!({
        "spend": weight(0), "orders": {"per": 1, "score": 1}, "tenure": weight(0), "interactions": weight(0),
        "tiers": [
            {"from": 0, "tier": {"code": "regular", "name_zh_cn": "普通会员", "name_en": "Regular"}},
            {"from": 50, "tier": {"code": "silver", "name_zh_cn": "银卡会员", "name_en": "Silver"}},
        ],
    });
    release(
        &app,
        "tier-composite",
        config,
        json!({"tier_map": {"member": "regular", "bronze": "regular", "gold": "silver"}}),
    )
    .await;
    let shown = app.shop.get(&format!("/v1/members/{other}/tier")).await.expect(200);
    assert_eq!(
        (&shown["next"]["missing"], &shown["next"]["text"]["zh_cn"]),
        (&Json::Null, &json!("仅靠消费不能达到银卡会员"))
    );
}

/// Numbers that look random and repeat.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Orders, deliveries, refunds, retries, time on and back: every tier's gift at most once per period, and the points
/// given are the gifts told.
#[tokio::test]
async fn c3_property_a_gift_once_whatever_happens() {
    for seed in [1, 2, 3] {
        let app = TestApp::start().await;
        let mut dice = Dice(seed);
        app.product("v", 60_000).await;
        let gift = |code: &str| json!({"code": code, "gift": {"points": 100}});
        let year = json!({"type": "period", "months": 12, "first_month": 1});
        let tiers = [gift("bronze"), gift("silver"), gift("gold")];
        programme(&app, json!({"evaluation": year, "tiers": tiers})).await;
        let member = app.member("m-1").await;
        let mut orders: Vec<Json> = Vec::new();
        for _ in 0..60 {
            match dice.throw(6) {
                0 | 1 => orders.push(bought(&app, &member, "v").await),
                2 => orders.push(paid(&app, &member, "v").await),
                3 if !orders.is_empty() => {
                    let at = usize::try_from(dice.throw(orders.len() as u64)).expect("small");
                    refund(&app, &orders.swap_remove(at)).await;
                }
                4 => {
                    let hours = SignedDuration::from_hours(i64::try_from(dice.throw(48)).expect("small"));
                    back(&app, hours).await;
                }
                _ => app.wait(SignedDuration::from_hours(i64::try_from(dice.throw(20 * 24)).expect("small"))).await,
            }
        }
        app.wait(SignedDuration::from_hours(30 * DAY_HOURS)).await;
        let mut gifts: BTreeMap<String, u64> = BTreeMap::new();
        for told in told(&app, &member).await.into_iter().filter(|told| told.starts_with("gift")) {
            *gifts.entry(told).or_default() += 1;
        }
        let years = u64::try_from(now(&app).await.to_zoned(jiff::tz::TimeZone::UTC).year() - 2025).expect("later");
        assert!(!gifts.is_empty() && gifts.values().all(|times| *times <= years), "{seed}: {gifts:?} in {years} years");
        let entries = app.shop.get(&format!("/v1/members/{member}/points/entries?limit=200")).await.expect(200);
        let given = entries["items"].as_array().expect("entries").iter();
        let given = given.filter(|entry| entry["cause"] == "adjusted").count() as u64;
        assert_eq!(given, gifts.values().sum::<u64>(), "{seed}");
    }
}

/// What is wrong with a programme is said field by field; versions are kept, and an old copy is refused.
#[tokio::test]
async fn c3_a_programme_is_checked_and_versioned() {
    let app = TestApp::start().await;
    let unset = app.operator.get("/ops/v1/tier-programme").await.expect(200);
    assert_eq!((&unset["version"], &unset["at"]), (&json!(0), &Json::Null));
    app.offer("day", "promotion", json!({"type": "amount", "amount": 1_500})).await;
    for (wrong, pointer) in [
        (json!({"evaluation": {"type": "period", "months": 5, "first_month": 1}}), "/evaluation/months"),
        (json!({"evaluation": {"type": "period", "months": 6, "first_month": 13}}), "/evaluation/first_month"),
        (json!({"evaluation": {"type": "rolling"}, "on_refund": "period-end"}), "/on_refund"),
        (json!({"evaluation": {"type": "rolling"}, "grace_days": 367}), "/grace_days"),
        (json!({"evaluation": {"type": "rolling"}, "renewal_offers": ["x"]}), "/renewal_offers"),
        (json!({"evaluation": {"type": "rolling"}, "renewal_days": 1, "renewal_offers": ["x"]}), "/renewal_offers/0"),
        (json!({"evaluation": {"type": "rolling"}, "renewal_days": 1, "renewal_offers": ["day"]}), "/renewal_offers/0"),
        (json!({"evaluation": {"type": "rolling"}, "tiers": [{"code": "tin"}]}), "/tiers/0/code"),
        (json!({"evaluation": {"type": "rolling"}, "tiers": [{"code": "gold"}, {"code": "gold"}]}), "/tiers/1/code"),
        (
            json!({"evaluation": {"type": "rolling"}, "tiers": [{"code": "gold", "gift": {"points": -1}}]}),
            "/tiers/0/gift/points",
        ),
        (
            json!({"evaluation": {"type": "rolling"}, "tiers": [{"code": "gold", "entitlements": ["x"]}]}),
            "/tiers/0/entitlements/0",
        ),
    ] {
        let problem = app.operator.put("/ops/v1/tier-programme", wrong).await.refused(422, "invalid-request");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem:#}");
    }
    for version in [1, 2] {
        let set = programme(&app, json!({"evaluation": {"type": "rolling"}, "grace_days": version})).await;
        assert_eq!(set["version"], version);
    }
    let stale = app.operator.request(reqwest::Method::PUT, "/ops/v1/tier-programme").header("if-match", "\"1\"");
    app.operator.send(stale.json(&json!({"evaluation": {"type": "rolling"}}))).await.refused(412, "stale-revision");
    let versions = app.operator.get("/ops/v1/tier-programme/versions").await.expect(200);
    let days: Vec<&Json> = versions["items"].as_array().expect("items").iter().map(|row| &row["grace_days"]).collect();
    assert_eq!(days, [&json!(1), &json!(2)]);
}

/// Does what a sample file says, call by call.
async fn apply(app: &TestApp, sample: &str) {
    let calls: Vec<Json> = serde_json::from_str(sample).expect("JSON");
    for call in calls {
        let method = text(&call["method"]).parse().expect("a method");
        let reply = app.operator.send(app.operator.request(method, &text(&call["path"])).json(&call["body"])).await;
        assert!(reply.status.is_success(), "{}: {:#}", call["path"], reply.json);
    }
}

async fn benefits(app: &TestApp, member: &str) -> Json {
    app.shop.get(&format!("/v1/members/{member}/benefits")).await.expect(200)
}

/// C1 as `host/deploy/tiers-c1.json` sets it up: gold takes 12 % off, doubles points always, and has its own service.
#[tokio::test]
async fn c1_is_set_up_from_its_sample() {
    let app = TestApp::start().await;
    apply(&app, include_str!("../../host/deploy/tiers-c1.json")).await;
    app.product("v", 299_900).await;
    let member = app.member("m-1").await;
    assert_eq!(benefits(&app, &member).await["services"], json!([]));
    bought(&app, &member, "v").await;
    let shown = benefits(&app, &member).await;
    assert_eq!((&shown["tier"]["code"], &shown["discount_basis_points"]), (&json!("gold"), &json!(1_200)));
    assert_eq!(shown["points_multiplier_basis_points"], 20_000);
    assert_eq!(shown["services"][0]["code"], "dedicated-service");
    assert_eq!(shown["entitlements"][0]["code"], "silver-birthday-pill-box");
}

/// C3 as `host/deploy/tiers-c3.json` sets it up: one free delivery a month for regular, counted; silver from 200.
#[tokio::test]
async fn c3_is_set_up_from_its_sample_and_quotas_are_counted() {
    let app = TestApp::start().await;
    let config: Json = serde_json::from_str(include_str!("../../plugins/tier-composite/config.json")).expect("JSON");
    release(&app, "tier-composite", config, json!({"tier_map": {"member": "regular", "bronze": "regular"}})).await;
    apply(&app, include_str!("../../host/deploy/tiers-c3.json")).await;
    app.product("v", 10_000).await;
    let member = app.member("m-1").await;
    let quota = async || benefits(&app, &member).await["entitlements"][0]["quotas"][0].clone();
    let expect = |used: i64, resets_at: &str| json!({"measure": "uses", "period": "month", "most": 1, "used": used, "left": 1 - used, "resets_at": resets_at});
    assert_eq!(quota().await, expect(0, "2026-03-31T16:00:00Z"));
    let mut asked = cart(&member, &["v"]);
    asked["delivery_fee"] = cny(600);
    let quote = app.shop.post("/v1/quotes", asked.clone()).await.expect(201);
    assert_eq!(quote["price"]["payable"], cny(10_000));
    let order = app.shop.post("/v1/orders", json!({"quote": quote["id"]})).await.expect(201);
    assert_eq!(quota().await, expect(1, "2026-03-31T16:00:00Z"));
    app.pay(&order).await;
    let second = app.shop.post("/v1/quotes", asked.clone()).await.expect(201);
    assert_eq!(second["price"]["payable"], cny(10_600), "the month's one is used");
    set(&app, "2026-03-31T16:00:00Z").await;
    assert_eq!(quota().await, expect(0, "2026-04-30T16:00:00Z"));
    // Silver: free from 200 after the tier's discount, as often as they like.
    app.product("w", 60_000).await;
    bought(&app, &member, "w").await;
    let shown = benefits(&app, &member).await;
    assert_eq!((&shown["tier"]["code"], &shown["entitlements"][0]["quotas"]), (&json!("silver"), &json!([])));
    assert_eq!(app.shop.post("/v1/quotes", asked).await.expect(201)["price"]["payable"], cny(9_500 + 600), "95 < 200");
}

/// Born on 29 February: on the 28th in common years. February is the birthday month, and gold's double is no fourfold.
#[tokio::test]
async fn r3_the_birthday_double_is_inherited_and_does_not_multiply() {
    let app = TestApp::start().await;
    let born = json!({"external_id": "m-1", "profile": {"birthday": "1988-02-29"}});
    let member = text(&app.shop.post("/v1/members", born).await.expect(201)["id"]);
    app.product("v", 299_900).await;
    bought(&app, &member, "v").await;
    assert_eq!(tier(&app, &member).await, "gold");
    app.product("w", 10_000).await;
    for (at, goods) in [("2026-06-01T00:00:00Z", 88), ("2027-02-10T00:00:00Z", 88), ("2028-02-29T00:00:00Z", 88)] {
        set(&app, at).await;
        let order = app.order(&member, &["w"]).await;
        let paid = app.pay(&order).await;
        assert_eq!(
            (&paid["price"]["payable"], &paid["earning"]["points"]),
            (&cny(goods * 100), &json!(goods * 2)),
            "{at}"
        );
    }
    let birthdays = happened(&app, &member).await.into_iter().filter(|what| matches!(what, What::Birthday(_)));
    assert_eq!(birthdays.count(), 1, "28 February 2027; 2028's is at nine");
    set(&app, "2028-02-29T01:00:00Z").await;
    let birthdays = happened(&app, &member).await.into_iter().filter(|what| matches!(what, What::Birthday(_)));
    assert_eq!(birthdays.count(), 2);
}

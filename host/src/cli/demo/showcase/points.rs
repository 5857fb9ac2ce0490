//! Points beside purchases: taken over, earned by what members do, spent on gifts.

use serde_json::{Value as Json, json};

use super::{
    row::Row,
    stage::{Guest, Stage, count, each, number, text},
};

/// What each guest brings along from an earlier programme.
const OPENING: i64 = 1_000;
/// What a check-in and a quiz bring, as the earning rule says.
const CHECK_IN: i64 = 5;
const QUIZ: i64 = 10;
/// What gifts cost.
const PILL_BOX: i64 = 100;
const CHECK_UP: i64 = 50;
const CREDIT: i64 = 300;

pub(super) async fn rows(stage: &Stage<'_>) -> anyhow::Result<Vec<Row>> {
    Ok(vec![takeover(stage).await?, activities(stage).await?, gifts(stage).await?])
}

/// R17: opening points as lots, sent twice, counted once.
async fn takeover(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let dies = stage.now().checked_add(jiff::Span::new().years(1))?.to_zoned(stage.zone.clone())?.timestamp();
    let lot = |guest: &Guest| {
        let name = format!("opening-{}", guest.name);
        json!({ "external_id": name, "member": guest.name, "points": OPENING, "expires_at": dies.to_string() })
    };
    let rows: Vec<Json> = stage.guests.iter().map(lot).collect();
    let send = async || {
        let body = json!({ "partner": stage.partner, "rows": rows });
        stage.operator.post("/ops/v1/takeover/points", body).await
    };
    let (first, again) = (send().await?, send().await?);
    let ledger = stage.operator.get("/ops/v1/ledger").await?;
    Ok(Row::new("R17", "takeover, sent twice")
        .agrees("lots taken", number(&first["taken"])?, count(&stage.guests))
        .agrees("known again", number(&again["known"])?, count(&stage.guests))
        .agrees("points", number(&ledger["totals"]["opening"])?, OPENING * count(&stage.guests)))
}

/// C5: a check-in a day, a quiz a day; what is too much earns nothing.
async fn activities(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let earned = each(&stage.guests, async |guest| {
        let mut earned = Vec::new();
        for (kind, name) in [("check-in", "a"), ("check-in", "b"), ("quiz", "c"), ("quiz", "d")] {
            let body = json!({ "kind": kind, "external_id": format!("show-{}-{name}", guest.name) });
            let done = stage.shop.post(&format!("/v1/members/{}/activities", guest.id), body).await?;
            earned.push(number(&done["points"])?);
        }
        Ok(earned)
    })
    .await?;
    let capped = count(earned.iter().flatten().filter(|points| **points == 0));
    Ok(Row::new("C5", "check-ins and quizzes")
        .agrees("points", earned.iter().flatten().sum(), (CHECK_IN + QUIZ) * count(&stage.guests))
        .agrees("over the day's cap", capped, 2 * count(&stage.guests)))
}

/// C6: a gift from stock, a partner's code, purchase credit; who comes too late keeps the points.
async fn gifts(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let stock = i64::try_from(stage.guests.len().div_ceil(4))?;
    let product = stage.import("show-pill-box", "other", 1_500, Some(stock)).await?;
    let box_gift = define(stage, "show-pill-box", json!({ "type": "product", "product": product }), PILL_BOX).await?;
    let service = define(stage, "show-check-up", json!({ "type": "service" }), CHECK_UP).await?;
    let codes: Vec<String> = (0..stock).map(|n| format!("CHECK-UP-{n}")).collect();
    stage.operator.post(&format!("/ops/v1/gifts/{service}/codes"), json!({ "codes": codes })).await?;
    let terms = json!({ "type": "amount", "amount": 500 });
    let offer = stage.launch("show-credit", "coupon", terms, json!({ "valid_days": 30 })).await?;
    let credit = define(stage, "show-credit", json!({ "type": "credit", "offer": offer }), CREDIT).await?;

    let held = async || stage.operator.get("/ops/v1/ledger").await;
    let before = number(&held().await?["totals"]["redeemed"])?;
    let boxes: Vec<Json> = taken(stage, &box_gift).await?;
    each(&boxes, async |gift| {
        stage.shop.post(&format!("/v1/redemptions/{}/fulfilment", text(&gift["id"])?), json!({})).await
    })
    .await?;
    let services = taken(stage, &service).await?;
    let credits = taken(stage, &credit).await?;
    let mut given: Vec<String> = services.iter().filter_map(|gift| gift["code"].as_str().map(str::to_owned)).collect();
    given.sort();
    given.dedup();
    let redeemed = number(&held().await?["totals"]["redeemed"])? - before;
    let spent = PILL_BOX * count(&boxes) + CHECK_UP * count(&services) + CREDIT * count(&credits);
    Ok(Row::new("C6", "gifts for points")
        .agrees("from stock", count(&boxes), stock)
        .agrees("service codes", count(&given), stock)
        .agrees("purchase credits", count(&credits), count(&stage.guests))
        .agrees("points", redeemed, spent))
}

async fn define(stage: &Stage<'_>, code: &str, kind: Json, points: i64) -> anyhow::Result<String> {
    let gift = json!({ "code": code, "name_zh_cn": "礼品", "name_en": code, "kind": kind, "points": points });
    text(&stage.operator.post("/ops/v1/gifts", gift).await?["id"])
}

/// Every guest asks for a gift at once; what was taken.
async fn taken(stage: &Stage<'_>, gift: &str) -> anyhow::Result<Vec<Json>> {
    let asked = each(&stage.guests, async |guest| {
        let path = format!("/v1/members/{}/redemptions", guest.id);
        stage.shop.try_post(&path, json!({ "gift": gift }), "gift-not-available").await
    })
    .await?;
    Ok(asked.into_iter().flatten().collect())
}

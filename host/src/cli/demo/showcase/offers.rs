//! Offers: codes, claims, bonuses, groups that exclude, launch and pause, and a flash sale.

use std::collections::BTreeSet;

use anyhow::Context as _;
use jiff::{SignedDuration, civil::Weekday};
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::{
    super::{client::Reply, shop::Shop},
    row::Row,
    stage::{Guest, Stage, cny, count, each, fen, number, outcome, text},
};

/// Codes of the flyer; what one takes off.
const CODES: i64 = 1_000;
const CODE_FEN: i64 = 500;
/// What the brand's offer takes off, and how much of it the brand pays, in percent.
pub(super) const BRAND_FEN: i64 = 1_000;
pub(super) const BRAND_PERCENT: i64 = 60;
/// Of how many buyers the flash sale serves one.
const FLASH_ONE_OF: usize = 3;
const FLASH_GOODS: usize = 10;

pub(super) async fn rows(stage: &Stage<'_>, shop: &Shop) -> anyhow::Result<Vec<Row>> {
    Ok(vec![
        birthday_bonus(stage).await?,
        codes(stage).await?,
        daily(stage).await?,
        groups(stage, shop).await?,
        launch(stage).await?,
    ])
}

/// C4: ¥199 spent in the birthday month bring 200 points, once.
async fn birthday_bonus(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let path = "/ops/v1/bonuses/birthday-199";
    let bonus = json!({ "spend": cny(19_900), "points": 200, "birthday_month": true });
    stage.operator.put(path, bonus).await?;
    let born = stage.newcomers("birthday", 6).await?;
    let (reach, miss) = born.split_at(4);
    each(reach, async |guest| {
        for _ in 0..2 {
            stage.buy(guest, &[("show-tea", 2)], json!({})).await?;
        }
        Ok(())
    })
    .await?;
    each(miss, async |guest| stage.buy(guest, &[("show-tea", 1)], json!({})).await).await?;
    stage.settle().await?;
    let points: i64 = each(&born, async |guest| stage.points(guest, "active").await).await?.into_iter().sum();
    stage.operator.call(Method::DELETE, path, None).await?;
    Ok(Row::new("C4", "birthday month: 199 spent").told("members", count(&born)).agrees(
        "bonus points",
        points,
        200 * count(reach),
    ))
}

/// D1: a thousand codes, some redeemed, some of these used; nobody redeems one twice.
async fn codes(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let terms = json!({ "type": "amount", "amount": CODE_FEN });
    let offer = stage.launch("show-flyer", "coupon", terms, json!({ "valid_days": 30 })).await?;
    let path = format!("/ops/v1/offers/{offer}/codes");
    stage.operator.post(&path, json!({ "count": CODES })).await?;
    stage.settle().await?;
    let made = number(&stage.operator.get(&format!("{path}/1")).await?["made"])?;
    let file = stage.operator.text(&format!("{path}/1/export")).await?;
    let codes: BTreeSet<&str> = file.lines().skip(1).collect();
    let pairs: Vec<(&Guest, &str)> = stage.guests.iter().zip(codes.iter().copied()).collect();
    let coupons = each(&pairs, async |(guest, code)| {
        let coupon = stage.shop.post(&format!("/v1/members/{}/codes", guest.id), json!({ "code": code })).await?;
        text(&coupon["id"])
    })
    .await?;
    let late = stage.newcomers("flyer", 1).await?;
    for (_, code) in pairs.iter().take(1) {
        let path = format!("/v1/members/{}/codes", late[0].id);
        stage.shop.refused(&path, json!({ "code": code }), "code-used").await?;
    }
    let buyers: Vec<(&Guest, &String)> = stage.guests.iter().zip(&coupons).step_by(2).collect();
    let off = each(&buyers, async |(guest, coupon)| {
        let order = stage.buy(guest, &[("show-tea", 1)], json!({ "coupon": coupon })).await?;
        Ok(outcome(&order, "show-flyer")?.0)
    })
    .await?;
    let used = each(&coupons, async |coupon| {
        Ok(stage.shop.get(&format!("/v1/coupons/{coupon}")).await?["state"] == "redeemed")
    })
    .await?;
    Ok(Row::new("D1", "codes in bulk")
        .agrees("made", made, count(&codes))
        .agrees("redeemed", count(&coupons), count(&pairs))
        .agrees("used", count(used.iter().filter(|used| **used)), count(&buyers))
        .agrees("off in fen", off.iter().sum(), CODE_FEN * count(&buyers)))
}

/// R7: claimed by who has a paid order, one a day, dead at the day's end.
async fn daily(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let terms = json!({ "type": "amount", "amount": 2_000, "threshold": 19_900 });
    let more = json!({
        "claimed": true, "valid_until": "end-of-day", "limits": [{ "per": "member", "period": "day", "issues": 1 }],
        "conditions": [{ "fact": "member.lifetime-paid-orders", "at_least": 1 }],
    });
    let offer = stage.launch("show-daily", "coupon", terms, more).await?;
    let claim = |guest: &Guest| (format!("/v1/members/{}/claims", guest.id), json!({ "offer": offer }));
    let new = stage.newcomers("daily", 1).await?;
    let (path, body) = claim(&new[0]);
    stage.shop.refused(&path, body, "offer-not-issuable").await?;
    for _ in 0..2 {
        each(&stage.guests, async |guest| {
            let (path, body) = claim(guest);
            stage.shop.post(&path, body.clone()).await?;
            stage.shop.refused(&path, body, "offer-not-issuable").await
        })
        .await?;
        stage.pass(SignedDuration::from_hours(24)).await?;
    }
    let (path, body) = claim(&stage.guests[0]);
    stage.shop.post(&path, body).await?;
    let had = each(&stage.guests, async |guest| stage.coupons(guest, &offer).await).await?;
    let in_state = |state: &str| count(had.iter().flatten().filter(|coupon| coupon["state"] == state));
    let guests = count(&stage.guests);
    Ok(Row::new("R7", "daily coupon, two days")
        .agrees("claimed", count(had.iter().flatten()), 2 * guests + 1)
        .agrees("dead at midnight", in_state("expired"), 2 * guests)
        .told("refused again", 2 * guests + 1))
}

/// D3: two offers of one group; the better one is taken, the other says which one excludes it. Beside it, why offers were
/// not applied to the year's orders.
async fn groups(stage: &Stage<'_>, shop: &Shop) -> anyhow::Result<Row> {
    let of_mat = |fen: i64| json!({ "type": "amount", "amount": fen, "products": ["show-mat"] });
    let funders = json!([
        { "funder": "brand", "share_basis_points": BRAND_PERCENT * 100 },
        { "funder": "platform", "share_basis_points": (100 - BRAND_PERCENT) * 100 },
    ]);
    let more = json!({ "exclusivity_group": "show", "funders": funders });
    stage.launch("show-brand", "promotion", of_mat(BRAND_FEN), more).await?;
    stage.launch("show-own", "promotion", of_mat(BRAND_FEN / 2), json!({ "exclusivity_group": "show" })).await?;
    let told = each(&stage.guests, async |guest| {
        let order = stage.buy(guest, &[("show-mat", 1)], json!({})).await?;
        Ok((outcome(&order, "show-brand")?.0, outcome(&order, "show-own")?.1))
    })
    .await?;
    let declined = shop.tally().declined.clone();
    let reasons: Vec<String> = declined.iter().map(|(reason, times)| format!("{times} {reason}")).collect();
    let other_day = declined.get("other-day").copied().unwrap_or(0);
    Ok(Row::new("D3", "stacking, and why not")
        .agrees("off in fen", told.iter().map(|(off, _)| off).sum(), BRAND_FEN * count(&stage.guests))
        .agrees("exclusive-with", count(told.iter().filter(|(_, why)| why == "exclusive-with")), count(&stage.guests))
        .agrees("other-day in the year", other_day, shop.tally().other_days)
        .note(format!("not applied in the year: {}", reasons.join(", "))))
}

/// R14: drafted, previewed, approved by somebody else, paused.
async fn launch(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let offer = json!({
        "code": "show-launch", "name_zh_cn": "上线", "name_en": "launch", "class": "promotion", "budget_uses": 100,
        "terms": { "type": "amount", "amount": 100, "products": ["show-tea"] },
    });
    let id = text(&stage.operator.post("/ops/v1/offers", offer).await?["id"])?;
    let path = format!("/ops/v1/offers/{id}");
    let new = stage.newcomers("launch", 1).await?;
    let off = async || {
        let quote = stage.quote(&new[0], &[("show-tea", 1)], json!({})).await?;
        Ok::<_, anyhow::Error>(10_000 - fen(&quote["price"]["goods_payable"])?)
    };
    let drafted = off().await?;
    let worst = stage.second.get(&format!("{path}/liability")).await?;
    stage.operator.refused(&format!("{path}/approvals"), json!({}), "own-approval").await?;
    stage.approve(&id).await?;
    let live = off().await?;
    stage.operator.post(&format!("{path}/pause"), json!({})).await?;
    let paused = off().await?;
    Ok(Row::new("R14", "launched by two")
        .agrees("off as a draft", drafted, 0)
        .agrees("worst case in fen", fen(&worst["worst"])?, 100 * 100)
        .agrees("off when approved", live, 100)
        .agrees("off when paused", paused, 0)
        .told("offers that a second person approved", stage.sums().launched))
}

/// How a buyer of the flash sale fared.
enum Bid {
    Won(Json),
    Late,
}

/// D2: Wednesday 20:00, ten products at half their price, one for each member, fewer than there are buyers.
pub(super) async fn flash_sale(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let goods: Vec<String> = (0..FLASH_GOODS).map(|n| format!("show-flash-{n}")).collect();
    for name in &goods {
        stage.import(name, "food", 9_900, None).await?;
    }
    let sold_max = (stage.guests.len() / FLASH_ONE_OF).max(1);
    let more = json!({
        "purpose": "flash-sale", "budget_uses": sold_max,
        "limits": [{ "per": "member", "period": "week", "uses": 1 }],
        "windows": [{ "weekdays": [3], "from": "20:00", "to": "22:00" }],
    });
    let terms = json!({ "type": "percent", "percent": 5_000, "products": goods });
    stage.launch("show-flash", "promotion", terms, more).await?;
    let early = stage.quote(&stage.guests[0], &[(&goods[0], 1)], json!({})).await?;
    let early = outcome(&early, "show-flash")?.1;
    let wednesday = stage.now().date().nth_weekday(1, Weekday::Wednesday)?;
    stage.until(wednesday.at(20, 0, 0, 0)).await?;
    let buyers: Vec<(&Guest, &String)> = stage.guests.iter().zip(goods.iter().cycle()).collect();
    let bids = each(&buyers, async |(guest, good)| bid(stage, guest, good).await).await?;
    let won: Vec<&Json> =
        bids.iter().filter_map(|bid| if let Bid::Won(order) = bid { Some(order) } else { None }).collect();
    each(&won, async |order| stage.pay(order, "alipay", json!({})).await).await?;
    Ok(Row::new("D2", "flash sale, Wednesday 20:00")
        .told("buyers", count(&buyers))
        .agrees("sold", count(&won), i64::try_from(sold_max)?)
        .agrees("told budget-gone", count(&bids) - count(&won), count(&buyers) - i64::try_from(sold_max)?)
        .agrees("open before", i64::from(early != "not-open"), 0))
}

/// One buyer, to the end.
async fn bid(stage: &Stage<'_>, guest: &Guest, good: &str) -> anyhow::Result<Bid> {
    let quote = stage.quote(guest, &[(good, 1)], json!({})).await?;
    let (off, reason) = outcome(&quote, "show-flash")?;
    if off == 0 {
        anyhow::ensure!(reason == "budget-gone", "the sale is open, and {} is told {reason}", guest.name);
        return Ok(Bid::Late);
    }
    match stage.shop.call(Method::POST, "/v1/orders", Some(json!({ "quote": quote["id"] }))).await? {
        Reply::Done(order) => {
            stage.placed(&order)?;
            Ok(Bid::Won(order))
        }
        Reply::QuoteChanged(fresh) => {
            let (_, reason) = outcome(&fresh, "show-flash").context("the fresh quote of a late buyer")?;
            anyhow::ensure!(reason == "budget-gone", "{} is late, and told {reason}", guest.name);
            Ok(Bid::Late)
        }
    }
}

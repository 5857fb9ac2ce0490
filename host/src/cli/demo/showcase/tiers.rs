//! The tier programme of `deploy/tiers-c3.json` over the composite rule: scores, quotas, gifts.

use jiff::SignedDuration;
use serde_json::json;

use super::{
    row::Row,
    stage::{Guest, Stage, cny, count, each, fen, number},
};

/// What the programme gives for silver, in points.
const GIFT: i64 = 100;
/// Longer than goods may be returned.
const RETURN_WINDOW: SignedDuration = SignedDuration::from_hours(8 * 24);

pub(super) async fn rows(stage: &Stage<'_>) -> anyhow::Result<Vec<Row>> {
    let mut rows = vec![score(stage).await?, quota(stage).await?];
    rows.extend(upgrades(stage).await?);
    Ok(rows)
}

/// C2: 1 a yuan and 20 an order: 580.00 reach silver's 600, 579.99 do not.
async fn score(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let buyers = stage.newcomers("score", 6).await?;
    let numbered: Vec<(usize, &Guest)> = buyers.iter().enumerate().collect();
    let tiers = each(&numbered, async |(n, guest)| {
        let good = if n % 3 == 0 { "show-almost" } else { "show-lamp" };
        stage.buy(guest, &[(good, 1)], json!({})).await?;
        stage.tier(guest).await
    })
    .await?;
    let at = |code: &str| count(tiers.iter().filter(|tier| *tier == code));
    Ok(Row::new("C2", "tiers by score").agrees("silver at 600", at("silver"), 4).agrees(
        "regular at 599",
        at("regular"),
        2,
    ))
}

/// C3: one free delivery a month for regular members; the second one is paid.
async fn quota(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let buyers = stage.newcomers("quota", 5).await?;
    let fees = each(&buyers, async |guest| {
        let mut fees = 0;
        for _ in 0..2 {
            let order = stage.buy(guest, &[("show-tea", 1)], json!({ "delivery_fee": cny(600) })).await?;
            fees += fen(&order["price"]["delivery_payable"])?;
        }
        let benefits = stage.shop.get(&format!("/v1/members/{}/benefits", guest.id)).await?;
        Ok((fees, number(&benefits["entitlements"][0]["quotas"][0]["used"])?))
    })
    .await?;
    Ok(Row::new("C3", "a free delivery a month")
        .agrees("used", fees.iter().map(|(_, used)| used).sum(), count(&buyers))
        .agrees("delivery paid in fen", fees.iter().map(|(fee, _)| fee).sum(), 600 * count(&buyers)))
}

/// R1, R5: the new tier counts from the next order; a refund takes it back at once; the gift comes after the return window,
/// once, however often the tier is reached.
async fn upgrades(stage: &Stage<'_>) -> anyhow::Result<[Row; 2]> {
    let buyers = stage.newcomers("gift", 6).await?;
    let (keep, return_it) = buyers.split_at(4);
    let reach = async |guest: &Guest| {
        let order = stage.buy(guest, &[("show-bed", 1)], json!({})).await?;
        stage.arrive(&order).await?;
        let next = stage.quote(guest, &[("show-tea", 1)], json!({})).await?;
        Ok((fen(&order["price"]["goods_payable"])?, fen(&next["price"]["goods_payable"])?, order))
    };
    let first = each(&buyers, async |guest| reach(guest).await).await?;
    let silver: i64 = count(in_tier(stage, &buyers, "silver").await?);
    let orders: Vec<_> = first.iter().map(|(.., order)| order).collect();
    each(&orders[keep.len()..], async |order| stage.refund(order, json!(null)).await).await?;
    let fallen = count(in_tier(stage, return_it, "regular").await?);
    stage.pass(RETURN_WINDOW).await?;
    let gifts = given(stage, &buyers).await?;
    each(&orders[..keep.len()], async |order| stage.refund(order, json!(null)).await).await?;
    each(keep, async |guest| reach(guest).await).await?;
    stage.pass(RETURN_WINDOW).await?;
    let after = given(stage, &buyers).await?;
    let paid = |at: fn(&(i64, i64, serde_json::Value)) -> i64| first.iter().map(at).sum::<i64>();
    Ok([
        Row::new("R1", "benefits from the next order")
            .agrees("fen of the order that reaches it", paid(|seen| seen.0), 60_000 * count(&buyers))
            .agrees("fen of the next, 5 % off", paid(|seen| seen.1), 9_500 * count(&buyers)),
        Row::new("R5", "upgrade gift, exactly once")
            .agrees("silver", silver, count(&buyers))
            .agrees("fallen by refund", fallen, count(return_it))
            .agrees("gift points", gifts, GIFT * count(keep))
            .agrees("after reaching it again", after, GIFT * count(keep)),
    ])
}

async fn in_tier<'g>(stage: &Stage<'_>, guests: &'g [Guest], tier: &str) -> anyhow::Result<Vec<&'g Guest>> {
    let tiers = each(guests, async |guest| stage.tier(guest).await).await?;
    Ok(guests.iter().zip(tiers).filter(|(_, held)| held == tier).map(|(guest, _)| guest).collect())
}

/// Points that gifts brought, by the members' statements.
async fn given(stage: &Stage<'_>, guests: &[Guest]) -> anyhow::Result<i64> {
    let given = each(guests, async |guest| {
        let entries = stage.shop.get(&format!("/v1/members/{}/points/entries?limit=200", guest.id)).await?;
        let gifts = entries["items"].as_array().into_iter().flatten().filter(|entry| entry["cause"] == "adjusted");
        gifts.map(|entry| number(&entry["amount"])).sum::<anyhow::Result<i64>>()
    })
    .await?;
    Ok(given.into_iter().sum())
}

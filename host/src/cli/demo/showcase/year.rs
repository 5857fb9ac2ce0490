//! Rows that the year's own orders show.

use std::collections::BTreeMap;

use super::{
    super::shop::{Shop, Tally},
    row::Row,
    stage::{Stage, count, each},
};

pub(super) async fn rows(stage: &Stage<'_>, shop: &Shop) -> anyhow::Result<Vec<Row>> {
    let welcome = welcome(stage, shop).await?;
    let tally = shop.tally();
    Ok(vec![welcome, spend_tiers(&tally), stacking(&tally), points(&tally)])
}

/// B2: every member got the welcome coupon once, and used it as often as their orders say.
async fn welcome(stage: &Stage<'_>, shop: &Shop) -> anyhow::Result<Row> {
    let had = each(&stage.guests, async |guest| {
        let mut states: BTreeMap<String, i64> = BTreeMap::new();
        for coupon in stage.coupons(guest, &shop.welcome).await? {
            *states.entry(coupon["state"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let used = shop.tally().coupons.get(&(guest.id.clone(), "welcome-990".to_owned())).copied().unwrap_or(0);
        Ok((states, used))
    })
    .await?;
    let of = |state: &str| had.iter().filter_map(|(states, _)| states.get(state)).sum::<i64>();
    Ok(Row::new("B2", "welcome coupon")
        .agrees("issued", had.iter().flat_map(|(states, _)| states.values()).sum(), count(&stage.guests))
        .agrees("used", of("redeemed"), had.iter().map(|(_, used)| used).sum())
        .told("expired", of("expired")))
}

/// C1: who held which tier when the rule was swapped, counted again from what they had paid by then; and how often the
/// birthday gift of `deploy/tiers-c1.json` was used.
fn spend_tiers(tally: &Tally) -> Row {
    let mut row = Row::new("C1", "tiers by spend at half-year");
    let Some(swap) = &tally.swap else { return row };
    for (tier, members) in &swap.counted {
        let held = swap.held.get(tier).copied().unwrap_or(0);
        row = row.agrees(tier, i64::try_from(held).unwrap_or(-1), i64::try_from(*members).unwrap_or(-2));
    }
    let boxes: i64 =
        tally.coupons.iter().filter(|((_, offer), _)| offer == "silver-birthday-pill-box").map(|(_, used)| used).sum();
    row.told("birthday pill boxes in the year", boxes)
}

/// R2: what was taken off adds up in every order, and no order used two coupons.
fn stacking(tally: &Tally) -> Row {
    let orders = i64::try_from(tally.orders).unwrap_or(-1);
    Row::new("R2", "stacking").agrees("orders that add up", tally.explained, orders).agrees(
        "with two coupons",
        tally.two_coupons,
        0,
    )
}

/// R3: a point a yuan, floored for each order; the highest multiplier alone.
fn points(tally: &Tally) -> Row {
    Row::new("R3", "money to points")
        .agrees("earned", tally.awarded, tally.due)
        .told("orders at a multiple", tally.multiplied)
}

//! The books at the end: payments that do not fit, every day's file, what funders and the programme owe, an erasure, and
//! the whole verified.

use std::collections::BTreeMap;

use anyhow::Context as _;
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::{
    super::shop::Shop,
    offers::{BRAND_FEN, BRAND_PERCENT},
    row::Row,
    stage::{Stage, cny, count, each, fen, number, text},
};

pub(super) async fn rows(stage: &Stage<'_>, shop: &Shop) -> anyhow::Result<Vec<Row>> {
    let odd = odd_payments(stage).await?;
    let mut rows = vec![liability(stage).await?];
    let erased = erasure(stage).await?;
    rows.extend([reconciled(stage, shop, odd).await?, settled(stage).await?]);
    rows.extend(verified(stage, erased).await?);
    Ok(rows)
}

/// Payments of another amount, refused, and payments that come too late; how many of each.
async fn odd_payments(stage: &Stage<'_>) -> anyhow::Result<[i64; 2]> {
    let buyers = stage.newcomers("odd", 4).await?;
    let orders = each(&buyers, async |guest| {
        let quote = stage.quote(guest, &[("show-tea", 1)], json!({})).await?;
        stage.place(quote, json!({})).await
    })
    .await?;
    let pay = |order: &Json, fen: i64| -> anyhow::Result<(String, Json)> {
        let id = text(&order["id"])?;
        let body = json!({ "reference": format!("odd-{id}"), "method": "alipay", "amount": cny(fen) });
        Ok((format!("/v1/orders/{id}/payment"), body))
    };
    each(&orders, async |order| {
        let (path, body) = pay(order, 9_999)?;
        stage.shop.refused(&path, body, "amount-mismatch").await
    })
    .await?;
    let (paid, late) = orders.split_at(1);
    each(paid, async |order| stage.pay(order, "alipay", json!({})).await).await?;
    stage.pass(SignedDuration::from_mins(31)).await?;
    let due = each(late, async |order| {
        let (path, body) = pay(order, 10_000)?;
        let after = stage.shop.post(&path, body).await?;
        stage.sums().late += 10_000;
        text(&after["refunds_due"][0])
    })
    .await?;
    let path = format!("/ops/v1/refunds-due/{}/completion", due[0]);
    stage.operator.post(&path, json!({ "reference": "back-1" })).await?;
    let open = stage.operator.list("/ops/v1/refunds-due").await?;
    anyhow::ensure!(open.len() + 1 == due.len(), "{} refunds are due", open.len());
    Ok([count(&orders), count(&due)])
}

/// R16: the files of all days, from the year's first to the last one, sum to what the demo paid and got back.
async fn reconciled(stage: &Stage<'_>, shop: &Shop, [mismatched, late]: [i64; 2]) -> anyhow::Result<Row> {
    let (begun, paid, refunded) = {
        let tally = shop.tally();
        (tally.joined.values().min().copied(), tally.paid, tally.refunded)
    };
    let begun = begun.context("somebody joined")?.to_zoned(stage.zone.clone()).date();
    let days: Vec<_> = begun.series(jiff::Span::new().days(1)).take_while(|day| *day <= stage.now().date()).collect();
    let files = each(&days, async |day| stage.operator.text(&format!("/ops/v1/reconciliation/{day}")).await).await?;
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for line in files.iter().flat_map(|file| file.lines()) {
        let cells: Vec<&str> = line.split(',').collect();
        if let Some(kind) = cells[0].strip_prefix("sum-") {
            let amount: i64 = cells.get(8).context("a sum has an amount")?.parse()?;
            *sums.entry(kind).or_default() += amount;
        }
    }
    let of = |kind: &str| sums.get(kind).copied().unwrap_or(0);
    let own = *stage.sums();
    Ok(Row::new("R16", "payments, and every day's file")
        .told("days", count(&days))
        .agrees("paid in fen", of("payment"), paid + own.paid)
        .agrees("paid back in fen", -of("refund"), refunded + own.refunded)
        .agrees("late in fen", of("late-payment"), own.late)
        .told("refused for another amount", mismatched)
        .told("late, refunds due", late))
}

/// R13: the brand owes its share of what its offer took off, and funders sum to the total.
async fn settled(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let path = format!("/ops/v1/settlement?from={}&to={}", stage.first_day, stage.now().date());
    let settled = stage.operator.get(&path).await?;
    let (mut brand, mut all) = (0, 0);
    for funder in settled["funders"].as_array().context("a settlement has funders")? {
        let owed = fen(&funder["owed"])?;
        all += owed;
        brand += if funder["funder"] == "brand" { owed } else { 0 };
    }
    let own = *stage.sums();
    Ok(Row::new("R13", "settlement by funder, in fen")
        .agrees("brand", brand, count(&stage.guests) * BRAND_FEN * BRAND_PERCENT / 100)
        .agrees("all funders", all, fen(&settled["total"]["owed"])?)
        .agrees("paid", fen(&settled["paid"])?, own.paid)
        .agrees("paid back", fen(&settled["refunded"])?, own.refunded))
}

/// F7: what the report says that the programme owes is what all members hold, one by one.
async fn liability(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let members = stage.shop.list("/v1/members").await?;
    let held = each(&members, async |member| {
        let points = stage.shop.get(&format!("/v1/members/{}/points", text(&member["id"])?)).await?;
        ["pending", "active", "held"].iter().map(|purse| number(&points[purse])).sum::<anyhow::Result<i64>>()
    })
    .await?;
    let report = stage.operator.get("/ops/v1/points/liability").await?;
    Ok(Row::new("F7", "points liability")
        .told("members", count(&members))
        .agrees("outstanding", number(&report["outstanding"]["points"])?, held.iter().sum())
        .agrees("difference", number(&report["difference"])?, 0))
}

/// Erases a member who has bought; the order stays.
async fn erasure(stage: &Stage<'_>) -> anyhow::Result<[i64; 2]> {
    let guest = stage.newcomers("erased", 1).await?;
    let order = stage.buy(&guest[0], &[("show-tea", 1)], json!({})).await?;
    stage.shop.call(Method::DELETE, &format!("/v1/members/{}", guest[0].id), None).await?;
    let cart = json!({ "member": guest[0].id, "lines": [{ "external_id": "show-tea", "quantity": 1 }] });
    let gone = stage.shop.try_post("/v1/quotes", cart, "member-erased").await?.is_none();
    let order = stage.shop.get(&format!("/v1/orders/{}", text(&order["id"])?)).await?;
    Ok([i64::from(gone), i64::from(order["state"] == "paid")])
}

/// R15 and the books: every row of the store is read, every posting added again, every chain followed.
async fn verified(stage: &Stage<'_>, [erased, kept]: [i64; 2]) -> anyhow::Result<[Row; 2]> {
    let report = stage.operator.post("/ops/v1/verify", json!({})).await?;
    let problems = number(&report["problem_count"])? + i64::from(report["sound"] != true);
    let ledger = &report["ledger"];
    let own = *stage.sums();
    Ok([
        Row::new("R15", "erasure").agrees("members", erased, 1).agrees("their orders kept", kept, 1).agrees(
            "problems when all is verified",
            problems,
            0,
        ),
        Row::new("books", "verified, chains and all")
            .told("rows", number(&report["rows"])?)
            .told("entries", number(&ledger["entries"])?)
            .agrees("out of their chain", number(&ledger["unchained"])?, 0)
            .agrees("sum of all accounts", number(&ledger["sum"])?, 0)
            .agrees("orders here that add up", own.explained, own.orders)
            .note(format!("root of all chains {}", ledger["root"].as_str().unwrap_or("MISSING"))),
    ])
}

//! Orders beside the straight way: refunds in parts, prescriptions, instalments, cash on delivery.

use anyhow::Context as _;
use jiff::{Timestamp, civil::time};
use serde_json::{Value as Json, json};

use super::{
    row::Row,
    stage::{Guest, Stage, cny, count, each, fen, number, outcome, text},
};

/// How many guests have orders refunded, and what they spend in points.
const REFUNDED_MAX: usize = 24;
const POINTS: i64 = 200;
const INSULIN: &str = "show-insulin";

pub(super) async fn rows(stage: &Stage<'_>) -> anyhow::Result<Vec<Row>> {
    let mut rows = vec![refunds(stage).await?, shares(stage).await?, instalments(stage).await?];
    rows.extend(prescriptions(stage).await?);
    rows.push(service_time(stage).await?);
    Ok(rows)
}

/// D4: refunded in three parts, by line or by amount, until nothing is left: money and points are what they were.
async fn refunds(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let buyers: Vec<(usize, &Guest)> = stage.guests.iter().take(REFUNDED_MAX).enumerate().collect();
    let done = each(&buyers, async |(n, guest)| {
        let more = json!({ "points": POINTS, "delivery_fee": cny(600) });
        let order = stage.buy(guest, &[("show-tea", 2), ("show-mat", 1)], more).await?;
        let parts = if n.is_multiple_of(2) {
            [json!([{ "line": 0, "quantity": 1 }]), json!([{ "line": 1, "quantity": 1 }]), json!(null)]
        } else {
            [json!([{ "line": 1, "amount": cny(1) }]), json!([{ "line": 0, "amount": cny(1_234) }]), json!(null)]
        };
        let (mut money, mut points) = (0, 0);
        for part in parts {
            let refund = stage.refund(&order, part).await?;
            money += fen(&refund["amount"])?;
            points += number(&refund["points_restored"])?;
        }
        Ok([fen(&order["price"]["payable"])?, money, points])
    })
    .await?;
    let sum = |at: usize| done.iter().map(|row| row[at]).sum::<i64>();
    Ok(Row::new("D4", "refunds in three parts")
        .told("orders", count(&buyers))
        .agrees("paid back in fen", sum(1), sum(0))
        .agrees("points given back", sum(2), POINTS * count(&buyers)))
}

/// R6: 150 and 60 with 199−20: the second line comes back at 54.29.
async fn shares(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let terms = json!({ "type": "amount", "amount": 2_000, "threshold": 19_900, "products": ["show-a", "show-b"] });
    stage.launch("show-199-20", "promotion", terms, json!({})).await?;
    let buyers = stage.newcomers("shares", 4).await?;
    let back = each(&buyers, async |guest| {
        let order = stage.buy(guest, &[("show-a", 1), ("show-b", 1)], json!({})).await?;
        fen(&stage.refund(&order, json!([{ "line": 1, "quantity": 1 }])).await?["amount"])
    })
    .await?;
    Ok(Row::new("R6", "shares of the commit").told("refunds of one line", count(&back)).agrees(
        "fen",
        back.iter().sum(),
        5_429 * count(&buyers),
    ))
}

/// D6: three months at no fee sum to the payable; cash on delivery is paid last, or comes back.
async fn instalments(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let buyers = stage.newcomers("pays", 6).await?;
    let (monthly, cash) = buyers.split_at(3);
    let sums = each(monthly, async |guest| {
        let order = stage.place(stage.quote(guest, &[("show-bed", 1)], json!({})).await?, json!({})).await?;
        let paid = stage.pay(&order, "huabei", json!({ "instalments": { "plan": "monthly" } })).await?;
        let schedule = paid["instalments"]["schedule"].as_array().context("an agreed plan has a schedule")?;
        let parts: i64 = schedule.iter().map(|part| fen(&part["principal"])).sum::<anyhow::Result<i64>>()?;
        Ok((count(schedule), parts, fen(&paid["price"]["payable"])?))
    })
    .await?;
    let numbered: Vec<(usize, &Guest)> = cash.iter().enumerate().collect();
    let ended = each(&numbered, async |(n, guest)| {
        let quote = stage.quote(guest, &[("show-tea", 1)], json!({})).await?;
        let order = stage.place(quote, json!({ "cash_on_delivery": true })).await?;
        stage.step(&order, "shipment").await?;
        if *n == 0 {
            return text(&stage.step(&order, "delivery-failure").await?["state"]);
        }
        stage.step(&order, "delivery").await?;
        stage.pay(&order, "cash-on-delivery", json!({})).await?;
        let order = stage.shop.get(&format!("/v1/orders/{}", text(&order["id"])?)).await?;
        Ok(if order["payment"].is_null() { "unpaid".to_owned() } else { text(&order["state"])? })
    })
    .await?;
    let in_state = |state: &str| count(ended.iter().filter(|found| *found == state));
    Ok(Row::new("D6", "instalments; cash on delivery")
        .agrees("parts", sums.iter().map(|sum| sum.0).sum(), 3 * count(monthly))
        .agrees("fen", sums.iter().map(|sum| sum.1).sum(), sums.iter().map(|sum| sum.2).sum())
        .agrees("paid at the door", in_state("delivered"), count(cash) - 1)
        .agrees("came back", in_state("cancelled"), 1))
}

/// Uploads a prescription for two packs; its id.
async fn upload(stage: &Stage<'_>, guest: &Guest, more: Option<&str>) -> anyhow::Result<Json> {
    let body = json!({
        "external_id": format!("rx-{}", guest.name), "member": guest.id, "patient": more, "name": guest.name,
        "issuer": "demo hospital", "image": "demo", "items": [{ "external_id": INSULIN, "quantity": 2 }],
    });
    stage.shop.post("/v1/prescriptions", body).await
}

/// D5, R4, R12: reviewed, consumed by an order, put back by its cancellation, consumed again; for a child; never in a
/// flash sale nor a gift for points.
async fn prescriptions(stage: &Stage<'_>) -> anyhow::Result<[Row; 3]> {
    // A policy that proposes something for every class: only the host stands between it and the medicine.
    let open = json!({ "config": { "percent_max": 1_000, "excluded_classes": [] } });
    stage.release("coupon.open", "coupon-standard", open).await?;
    let terms = json!({ "type": "amount", "amount": 100, "products": [INSULIN] });
    let more = json!({ "purpose": "flash-sale", "slot": "coupon.open" });
    stage.launch("show-flash-rx", "promotion", terms, more).await?;
    let guests = stage.newcomers("rx", 6).await?;
    let numbered: Vec<(usize, &Guest)> = guests.iter().enumerate().collect();
    let done = each(&numbered, async |(n, guest)| review(stage, *n, guest).await).await?;
    let (rejected, approved): (Vec<_>, Vec<_>) = done.iter().partition(|seen| seen.left.is_empty());
    let left: i64 = approved.iter().flat_map(|seen| &seen.left).sum();
    for class in ["rx", "otc-a"] {
        let product = stage.import(&format!("show-gift-{class}"), class, 1_000, Some(1)).await?;
        let kind = json!({ "type": "product", "product": product });
        let gift = json!({ "code": class, "name_zh_cn": "礼品", "name_en": class, "kind": kind, "points": 1 });
        stage.operator.refused("/ops/v1/gifts", gift, "invalid-request").await?;
    }
    let for_child = count(approved.iter().filter(|seen| seen.for_child));
    Ok([
        Row::new("D5", "prescriptions")
            .agrees("approved", count(&approved), 4)
            .agrees("rejected", count(&rejected), 2)
            .agrees("packs left after order, cancellation, order", left, 4 * count(&approved)),
        Row::new("R4", "medicine is not promoted")
            .told("carts in a flash sale", count(&approved))
            .agrees("class-not-promotable", count(approved.iter().filter(|seen| seen.kept_out)), count(&approved))
            .told("refused as points gifts", 2),
        Row::new("R12", "acting for a child").agrees("orders that say so", for_child, 1),
    ])
}

/// What became of one prescription.
#[derive(Default)]
struct Reviewed {
    /// Packs that could still be bought after each step; empty where it was rejected.
    left: Vec<i64>,
    /// The flash sale took nothing off, and said that it is not for this.
    kept_out: bool,
    for_child: bool,
}

/// Every third one is rejected; the first one is a child's.
async fn review(stage: &Stage<'_>, n: usize, guest: &Guest) -> anyhow::Result<Reviewed> {
    let child = if n == 0 {
        let path = format!("/v1/members/{}/patients", guest.id);
        Some(text(&stage.shop.post(&path, json!({ "relation": "child" })).await?["id"])?)
    } else {
        None
    };
    let id = text(&upload(stage, guest, child.as_deref()).await?["id"])?;
    let decide = format!("/ops/v1/prescriptions/{id}");
    if n % 3 == 2 {
        stage.operator.post(&format!("{decide}/rejection"), json!({ "reason": "illegible" })).await?;
        let found = stage.shop.get(&format!("/v1/prescriptions/{id}")).await?;
        anyhow::ensure!(found["state"] == "rejected", "a rejected prescription is {}", found["state"]);
        return Ok(Reviewed::default());
    }
    stage.operator.post(&format!("{decide}/approval"), json!({})).await?;
    let left = async || number(&stage.shop.get(&format!("/v1/prescriptions/{id}")).await?["items"][0]["left"]);
    let (mut seen, asked) = (Reviewed::default(), json!({ "prescription": id }));
    let quote = stage.quote(guest, &[(INSULIN, 1)], asked.clone()).await?;
    seen.kept_out = outcome(&quote, "show-flash-rx")? == (0, "class-not-promotable".to_owned());
    let order = stage.place(quote, json!({})).await?;
    seen.for_child = child.is_some() && order["acting_for"].as_str() == child.as_deref();
    seen.left.push(left().await?);
    stage.step(&order, "cancellation").await?;
    seen.left.push(left().await?);
    stage.buy(guest, &[(INSULIN, 1)], asked).await?;
    seen.left.push(left().await?);
    Ok(seen)
}

/// R10: three hours of service time: uploaded at 20:30, due at 11:30.
async fn service_time(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let today = stage.now().date();
    stage.until(today.to_datetime(time(20, 30, 0, 0))).await?;
    let guest = stage.newcomers("late", 1).await?;
    let due: Timestamp = text(&upload(stage, &guest[0], None).await?["due_at"])?.parse()?;
    let due = due.to_zoned(stage.zone.clone()).datetime();
    let minutes = |at: jiff::civil::DateTime| i64::from(at.hour()) * 60 + i64::from(at.minute());
    Ok(Row::new("R10", "review in service time")
        .agrees("due in minutes of the day", minutes(due), 11 * 60 + 30)
        .agrees("days later", i64::from((due.date() - today).get_days()), 1))
}

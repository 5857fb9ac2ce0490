//! Large quotes that arrive at a steady pace, whether or not the ones before were answered: what a busy evening is like.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Value as Json, json};
use tokio::{sync::mpsc, task::JoinSet};

use super::{Figure, orders::Shop, percentile_ms, wire::Wires};

/// Members who ask in turn.
const MEMBERS: usize = 100;
/// Coupons that each has in hand, all of which are considered.
const COUPONS: usize = 10;
/// Lines of a cart.
const LINES: usize = 20;
/// From one arrival to the next: five hundred in a second.
const EVERY: Duration = Duration::from_millis(2);
/// How many arrive.
const QUOTES: usize = 5_000;

pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let shop = Shop::open(dir.path(), MEMBERS).await?;
    hand_out(&shop).await?;
    let wires = Arc::new(Wires::new(shop.server.address(), shop.client.key().to_owned()));
    let mut running = JoinSet::new();
    let mut times = Vec::with_capacity(QUOTES);
    let carts: Vec<String> = (0..QUOTES).map(|n| cart(&shop, n)).collect();
    let begun = Instant::now();
    let (arrive, mut arrivals) = mpsc::channel(QUOTES);
    // A thread of its own, because the runtime's timer is up to two milliseconds late.
    thread::spawn(move || {
        for n in 0..QUOTES {
            let arrival = begun + EVERY * u32::try_from(n).unwrap_or(u32::MAX);
            thread::sleep(arrival.saturating_duration_since(Instant::now()));
            if arrive.try_send(arrival).is_err() {
                return;
            }
        }
    });
    for (n, cart) in carts.into_iter().enumerate() {
        let arrival = arrivals.recv().await.context("the arrivals ended early")?;
        let wires = Arc::clone(&wires);
        running.spawn(async move {
            wires.post("/v1/quotes", &format!("arrival-{n}"), &cart).await?;
            anyhow::Ok(arrival.elapsed())
        });
    }
    while let Some(done) = running.join_next().await {
        times.push(done.context("a client panicked")??);
    }
    let rate = f64::from(u32::try_from(QUOTES)?) / begun.elapsed().as_secs_f64();
    shop.server.stop().await?;
    Ok(vec![
        Figure::new("quotes of 20 lines and 10 coupons, arriving", rate, "quotes/s"),
        Figure::new("the same p50, from arrival", percentile_ms(&mut times, 50), "ms"),
        Figure::new("the same p95, from arrival", percentile_ms(&mut times, 95), "ms"),
        Figure::new("the same p99, from arrival", percentile_ms(&mut times, 99), "ms"),
    ])
}

/// Gives every member a coupon of each of ten offers, one in two with a threshold that the carts do not reach.
async fn hand_out(shop: &Shop) -> anyhow::Result<()> {
    for n in 0..COUPONS {
        let threshold = if n % 2 == 0 { 10_000 } else { 100_000_000 };
        let offer = json!({
            "code": format!("coupon-{n}"), "name_zh_cn": "优惠", "name_en": "Offer", "class": "coupon", "valid_days": 30,
            "terms": { "type": "amount", "amount": 100 + n, "threshold": threshold },
        });
        let offer = shop.operator.client.post("/ops/v1/offers", offer).await?;
        for member in &shop.members {
            shop.client.post("/v1/coupons", json!({ "offer": offer["id"], "member": member })).await?;
        }
    }
    Ok(())
}

fn cart(shop: &Shop, n: usize) -> String {
    let member = &shop.members[n % MEMBERS];
    let lines: Vec<Json> = shop.lines(n, LINES).iter().map(|line| json!({ "product": line, "quantity": 2 })).collect();
    json!({ "member": member, "lines": lines, "delivery_fee": { "minor": 600, "currency": "CNY" } }).to_string()
}

//! A flash sale: Wednesday 20:00, five hundred orders over ten products, and ten thousand buyers who all come at once.
//!
//! Each buyer asks for the price and, if the sale is in it, places and pays. Who is too late is told so by the quote or by
//! the order (`409 quote-changed`), and buys nothing. Every time counts from the moment the sale opens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::{Figure, orders::Shop, percentile_ms};
use crate::cli::demo::client::{Client, Reply};

/// Who comes.
const BUYERS: usize = 10_000;
/// Orders that there are.
const ORDERS: usize = 500;
/// Products of the sale.
const PRODUCTS: usize = 10;
/// Connections at once: a shop's servers, not each buyer's phone.
const AT_ONCE: usize = 256;
/// A Wednesday, 20:00 in Shanghai.
const OPENS: &str = "2026-03-18T12:00:00Z";

pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let shop = Shop::open(dir.path(), BUYERS).await?;
    let products = open_sale(&shop).await?;
    let (sold, begun) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let buyers = shop.members.iter().enumerate().map(|(n, member)| {
        let (client, sold, product) = (Arc::clone(&shop.client), Arc::clone(&sold), &products[n % PRODUCTS]);
        async move {
            let bought = buy(&client, member, product, n).await?;
            sold.fetch_add(usize::from(bought), Ordering::Relaxed);
            anyhow::Ok((bought, begun.elapsed()))
        }
    });
    let answers: Vec<_> = futures::stream::iter(buyers).buffer_unordered(AT_ONCE).collect().await;
    let answers = answers.into_iter().collect::<anyhow::Result<Vec<(bool, Duration)>>>()?;
    let all = begun.elapsed();
    let sold = sold.load(Ordering::Relaxed);
    ensure!(sold == ORDERS, "{sold} orders were sold, there were {ORDERS}");
    shop.server.stop().await?;
    let times = |winners: bool| -> Vec<Duration> {
        answers.iter().filter(|(bought, _)| *bought == winners).map(|(_, time)| *time).collect()
    };
    let (mut winners, mut losers) = (times(true), times(false));
    Ok(vec![
        Figure::new("flash sale: orders sold to 10,000 buyers", f64::from(u32::try_from(sold)?), "orders"),
        Figure::new("flash sale: every buyer answered after", all.as_secs_f64(), "s"),
        Figure::new("flash sale: the last order sold after", percentile_ms(&mut winners, 100) / 1e3, "s"),
        Figure::new("flash sale: too late, told after, p50", percentile_ms(&mut losers, 50), "ms"),
    ])
}

/// Defines the sale and waits until it opens; its products.
async fn open_sale(shop: &Shop) -> anyhow::Result<Vec<String>> {
    let products: Vec<String> = (0..PRODUCTS).map(|n| format!("p{n}")).collect();
    let sale = json!({
        "code": "flash", "name_zh_cn": "周三秒杀", "name_en": "Wednesday flash sale", "class": "promotion",
        "purpose": "flash-sale", "budget_uses": ORDERS,
        "limits": [{ "per": "member", "period": "week", "uses": 1 }],
        "windows": [{ "weekdays": [3], "from": "20:00", "to": "22:00" }],
        "terms": { "type": "percent", "percent": 5_000, "products": products },
    });
    shop.operator.client.post("/ops/v1/offers", sale).await?;
    shop.operator.clock(OPENS.parse()?).await?;
    Ok(products)
}

/// One buyer, to the end; whether they got one.
async fn buy(client: &Client, member: &str, product: &str, n: usize) -> anyhow::Result<bool> {
    let cart = json!({ "member": member, "lines": [{ "external_id": product, "quantity": 1 }] });
    let quote = client.post("/v1/quotes", cart).await?;
    if !in_sale(&quote) {
        return Ok(false);
    }
    let placed = match client.call(Method::POST, "/v1/orders", Some(json!({ "quote": quote["id"] }))).await? {
        Reply::Done(order) => order,
        // Somebody was faster: the fresh quote says that the sale is over.
        Reply::QuoteChanged(fresh) => {
            ensure!(!in_sale(&fresh), "a quote changed and the sale is still in it");
            return Ok(false);
        }
    };
    let id = placed["id"].as_str().context("an order has an id")?;
    let amount = &placed["price"]["payable"];
    let payment = json!({ "reference": format!("flash-{n}"), "method": "wechat-pay", "amount": amount });
    client.post(&format!("/v1/orders/{id}/payment"), payment).await?;
    Ok(true)
}

fn in_sale(quote: &Json) -> bool {
    let offers = quote["price"]["offers"].as_array();
    offers.is_some_and(|offers| offers.iter().any(|offer| offer["code"] == "flash" && offer["applied"] == true))
}

//! Paid orders: through the use cases, and over HTTP with sixteen clients, on disk.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::{
    Figure, percentile_ms,
    wire::{Wires, between},
};
use crate::{
    app::{App, Running},
    cli::{
        config::{Config, Secrets},
        demo::{client::Client, operator::Operator},
    },
    clock::Clock,
    domain::{
        money::{Money, Points},
        order::{Cart, PaymentMethod},
    },
    ids::{Ids, MemberId, PartnerId, ProductId},
    service::{Caller, Idempotency, PayOrder, PlaceOrder, Services},
};

/// Clients at once.
pub(super) const CLIENTS: usize = 16;
/// Clients at once where the time of a quote counts.
const QUOTERS: usize = 4;
/// Products of the catalogue.
const PRODUCTS: usize = 200;
/// Lines of an order.
const LINES: usize = 3;
/// Durable swaps there and back.
const SWAPS: usize = 100;

/// A shop that is set up: members without orders, and products.
pub(super) struct Shop {
    pub(super) server: Running,
    pub(super) client: Arc<Client>,
    pub(super) operator: Operator,
    pub(super) members: Vec<String>,
    products: Vec<String>,
}

/// The clients' times, and how long all took together.
#[derive(Default)]
pub(super) struct Timed {
    times: Vec<Duration>,
    all: Duration,
}

impl Timed {
    pub(super) fn per_second(&self) -> f64 {
        let count = u32::try_from(self.times.len()).unwrap_or(u32::MAX);
        f64::from(count) / self.all.as_secs_f64().max(f64::EPSILON)
    }
}

pub(super) async fn measure(orders: u32) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let shop = Shop::open(dir.path(), usize::try_from(orders)?).await?;
    let half = shop.members.len() / 2;
    let (direct_members, http_members) = shop.members.split_at(half);
    let mut direct = through_services(&shop, direct_members).await?;
    let (mut quotes, mut orders) = over_http(&shop, http_members).await?;
    let (mut swap, mut rollback) = swaps(&shop).await?;
    let restart = shop.restart(dir.path()).await?;
    let direct_rate = direct.per_second();
    Ok(vec![
        Figure::new("paid orders, use cases, 16 clients", direct_rate, "orders/s"),
        Figure::new("quote + place + pay p99, use cases", percentile_ms(&mut direct.times, 99), "ms"),
        Figure::new("quote p50, HTTP, 4 clients", percentile_ms(&mut quotes.times, 50), "ms"),
        Figure::new("quote p95, HTTP, 4 clients", percentile_ms(&mut quotes.times, 95), "ms"),
        Figure::new("paid orders (place + pay), HTTP, 16 clients", orders.per_second(), "orders/s")
            .against(direct_rate),
        Figure::new("place + pay p50, HTTP, 16 clients", percentile_ms(&mut orders.times, 50), "ms"),
        Figure::new("place + pay p99, HTTP, 16 clients", percentile_ms(&mut orders.times, 99), "ms"),
        Figure::new("activate over HTTP, durable, p50", percentile_ms(&mut swap.times, 50), "ms"),
        Figure::new("rollback over HTTP, durable, p50", percentile_ms(&mut rollback.times, 50), "ms"),
        Figure::new("rollback over HTTP, durable, p99", percentile_ms(&mut rollback.times, 99), "ms"),
        Figure::new("start with a warm cache", restart.as_secs_f64() * 1e3, "ms"),
    ])
}

fn config(data: &std::path::Path) -> Config {
    let mut config = Config::standard();
    config.store.data = data.join("data");
    config.limits.requests_per_second = 0;
    config
}

impl Shop {
    /// A new deployment in `dir`, with so many members.
    pub(super) async fn open(dir: &std::path::Path, members: usize) -> anyhow::Result<Self> {
        let secret = "bench-operator-key".to_owned();
        let secrets = Secrets { operator_key: Some(secret.clone()), master_key: Some([7; 32]), ..Secrets::default() };
        let at: Timestamp = "2026-03-15T04:00:00Z".parse()?;
        let app = App::open(config(dir), &secrets, Clock::manual(at), Ids::seeded(1)).await?;
        let server = app.start(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let operator = Operator::new(format!("http://{}", server.address()), &secret)?;
        let _welcome = operator.offers().await?;
        let client = Arc::new(operator.partner("bench").await?);
        let rows: Vec<Json> = (0..PRODUCTS)
            .map(|n| {
                json!({
                    "external_id": format!("p{n}"), "name": format!("product {n}"), "category": "VITAMINS",
                    "class": "food", "list_price": { "minor": 1_000 + 37 * n, "currency": "CNY" },
                })
            })
            .collect();
        client.post("/v1/products/import", json!({ "products": rows })).await?;
        let products = client.list("/v1/products").await?.iter().map(id).collect::<anyhow::Result<_>>()?;
        let joins = (0..members).map(|n| {
            let client = &client;
            async move { id(&client.post("/v1/members", json!({ "external_id": format!("m{n}") })).await?) }
        });
        let joined: Vec<_> = futures::stream::iter(joins).buffer_unordered(CLIENTS).collect().await;
        let members = joined.into_iter().collect::<anyhow::Result<_>>()?;
        Ok(Self { server, client, operator, members, products })
    }

    /// Stops, and measures how long opening takes again.
    async fn restart(self, dir: &std::path::Path) -> anyhow::Result<Duration> {
        self.server.stop().await?;
        let begun = Instant::now();
        let secrets = Secrets { operator_key: None, master_key: Some([7; 32]), ..Secrets::default() };
        let app = App::open(config(dir), &secrets, Clock::System, Ids::random()).await?;
        let server = app.start(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let took = begun.elapsed();
        server.stop().await?;
        Ok(took)
    }

    /// The shop, as use cases know it.
    pub(super) async fn caller(&self) -> anyhow::Result<Caller> {
        let key = self.operator.client.list("/ops/v1/keys").await?;
        let key = key.iter().find(|key| key["name"] == "bench").context("the shop has a key")?;
        let partner: PartnerId = key["partner"].as_str().unwrap_or_default().parse()?;
        Ok(Caller { key: id(key)?.parse()?, partner, sees_all: false })
    }

    /// Two of each of three products that depend on the member.
    pub(super) fn cart(&self, n: usize) -> anyhow::Result<Cart> {
        let lines = self.lines(n, LINES);
        let lines = lines.iter().map(|line| line.parse().map(|line: ProductId| (line, 2)));
        Ok(Cart {
            lines: lines.collect::<Result<_, _>>()?,
            coupon: None,
            points: Points::ZERO,
            delivery_fee: Money::new(600),
            prescription: None,
        })
    }

    /// So many lines, each of another product, that depend on the member.
    pub(super) fn lines(&self, n: usize, count: usize) -> Vec<String> {
        (0..count).map(|line| self.products[(n * 7 + line * 13) % self.products.len()].clone()).collect()
    }
}

fn id(json: &Json) -> anyhow::Result<String> {
    Ok(json["id"].as_str().context("everything has an id")?.to_owned())
}

/// Runs all jobs on so many tasks, each of which takes the next one when it is done.
pub(super) async fn timed<F>(clients: usize, jobs: Vec<F>) -> anyhow::Result<Timed>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let begun = Instant::now();
    let queue = Arc::new(Mutex::new(jobs.into_iter()));
    let worker = || {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move {
            let mut times = Vec::new();
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(job) = next else { return anyhow::Ok(times) };
                let begun = Instant::now();
                job.await?;
                times.push(begun.elapsed());
            }
        })
    };
    let workers: Vec<_> = (0..clients).map(|_| worker()).collect();
    let mut times = Vec::new();
    for worker in workers {
        times.extend(worker.await.context("a client panicked")??);
    }
    Ok(Timed { all: begun.elapsed(), times })
}

/// Quote, place and pay without HTTP.
pub(super) async fn through_services(shop: &Shop, members: &[String]) -> anyhow::Result<Timed> {
    let services = Arc::new(shop.server.services().clone());
    let caller = shop.caller().await?;
    let work = members.iter().cloned().enumerate().map(|(n, member)| {
        let (cart, services) = (shop.cart(n), Arc::clone(&services));
        async move { paid(&services, caller, member.parse()?, cart?, n).await }
    });
    timed(CLIENTS, work.collect()).await
}

/// Quotes, places and pays; `n` is the order's own number.
pub(super) async fn paid(
    services: &Services,
    caller: Caller,
    member: MemberId,
    cart: Cart,
    n: usize,
) -> anyhow::Result<()> {
    let once =
        |step: &str| Idempotency { partner: caller.partner, key: format!("direct-{step}-{n}"), fingerprint: [0; 32] };
    let quote = services.quote(caller, once("quote"), member, cart).await?.value;
    let ask = PlaceOrder { quote: quote.id, external_id: None, cash_on_delivery: false };
    let order = services.place(caller, once("place"), ask).await?.value;
    let (reference, amount) = (format!("direct-{n}").parse()?, order.priced.payable);
    let ask = PayOrder { reference, method: PaymentMethod::Alipay, amount, instalments: None };
    services.pay(caller, once("pay"), order.id, ask).await?;
    Ok(())
}

/// Quotes of a few clients first, then place and pay of many.
async fn over_http(shop: &Shop, members: &[String]) -> anyhow::Result<(Timed, Timed)> {
    let wires = Arc::new(Wires::new(shop.server.address(), shop.client.key().to_owned()));
    let quotes = Arc::new(Mutex::new(Vec::new()));
    let work = members.iter().cloned().enumerate().map(|(n, member)| {
        let (lines, quotes, wires) = (shop.lines(n, LINES), Arc::clone(&quotes), Arc::clone(&wires));
        async move {
            let lines: Vec<Json> = lines.iter().map(|line| json!({ "product": line, "quantity": 2 })).collect();
            let fee = json!({ "minor": 600, "currency": "CNY" });
            let cart = json!({ "member": member, "lines": lines, "delivery_fee": fee }).to_string();
            let quote = wires.post("/v1/quotes", &format!("wire-quote-{n}"), &cart).await?;
            let id = between(&quote, r#""id":""#, '"')?.to_owned();
            quotes.lock().unwrap_or_else(PoisonError::into_inner).push(id);
            Ok(())
        }
    });
    let quoted = timed(QUOTERS, work.collect()).await?;
    let quotes = std::mem::take(&mut *quotes.lock().unwrap_or_else(PoisonError::into_inner));
    let work = quotes.into_iter().enumerate().map(|(n, quote)| {
        let wires = Arc::clone(&wires);
        async move {
            let place = format!(r#"{{"quote":"{quote}"}}"#);
            let order = wires.post("/v1/orders", &format!("wire-place-{n}"), &place).await?;
            let id = between(&order, r#""id":""#, '"')?;
            // Lines have a payable, too; that of the whole stands behind `points_max`.
            let whole = order.split_once("points_max").map_or("", |(_, rest)| rest);
            let amount = between(whole, r#""payable":{"minor":"#, ',')?;
            let amount = format!(r#"{{"minor":{amount},"currency":"CNY"}}"#);
            let payment = format!(r#"{{"reference":"wire-{n}","method":"alipay","amount":{amount}}}"#);
            let path = format!("/v1/orders/{id}/payment");
            wires.post(&path, &format!("wire-pay-{n}"), &payment).await.map(drop)
        }
    });
    Ok((quoted, timed(CLIENTS, work.collect()).await?))
}

/// Activations and rollbacks, durable, one after the other.
async fn swaps(shop: &Shop) -> anyhow::Result<(Timed, Timed)> {
    let _second = shop.operator.swap().await?;
    let (mut swap, mut rollback) = (Timed::default(), Timed::default());
    for n in 0..SWAPS {
        let begun = Instant::now();
        let number = if n % 2 == 0 { 1 } else { 2 };
        shop.operator.client.put("/ops/v1/slots/coupon/active", json!({ "number": number })).await?;
        swap.times.push(begun.elapsed());
        let begun = Instant::now();
        shop.operator.client.post("/ops/v1/slots/coupon/rollback", json!({})).await?;
        rollback.times.push(begun.elapsed());
    }
    Ok((swap, rollback))
}

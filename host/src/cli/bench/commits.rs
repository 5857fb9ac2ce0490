//! The commits of a paid order alone, through the store: the transactions of `postgres/order.sql`, row by row, without
//! plugins and pricing. What stands beside it in the figures is the same in SQL.

use std::path::Path;

use futures::StreamExt as _;
use jiff::Timestamp;
use minicbor::bytes::ByteVec;

use super::orders::{CLIENTS, Timed, timed};
use crate::store::{Scan, SledOptions, Store, StoreError, Table, Tx};

/// All rows, by table, then by two numbers; the tag is no table's of the engine.
const ROWS: Table<(u8, u64, u64), ByteVec> = Table::new(0x7FF0, "bench-rows.v1");

/// Which table of `postgres/schema.sql`.
const MEMBERS: u8 = 1;
const PRODUCTS: u8 = 2;
const QUOTES: u8 = 3;
const PLACED_QUOTES: u8 = 4;
const ORDERS: u8 = 5;
const ORDER_PRICES: u8 = 6;
const ORDERS_OF_MEMBER: u8 = 7;
const DAY_TOTALS: u8 = 8;
const BALANCES: u8 = 9;
const ENTRIES: u8 = 10;
const PENDING_LOTS: u8 = 11;
const TIMERS: u8 = 12;
const EVENTS: u8 = 13;
const IDEMPOTENCY: u8 = 14;

/// Products there are, and past rows of each member.
const CATALOGUE: u64 = 200;
const PAST: u64 = 21;
/// The day on which all orders are paid, and from which days are summed.
const TODAY: u64 = 20_527;
const FROM_DAY: u64 = 19_000;
/// Shards of the house's account and of the log.
const SHARDS: u64 = 64;
/// Where the house's accounts begin.
const HOUSE: u64 = 1 << 40;
/// Rows written in one transaction beforehand.
const BATCH: usize = 400;

/// An order: its own number, which names its rows too, and the member's.
#[derive(Clone, Copy)]
struct Order {
    n: u64,
    member: u64,
}

/// How fast sixteen clients commit so many orders of so many members.
pub(super) async fn measure(dir: &Path, members: u64, orders: u64, at: Timestamp) -> anyhow::Result<Timed> {
    let store = Store::open(&dir.join("commits"), SledOptions::standard(), Vec::new())?;
    fill(&store, members, at).await?;
    let jobs = (0..orders).map(|n| {
        let (store, order) = (store.clone(), Order { n, member: n % members });
        async move {
            store.run(at, move |tx| quote(tx, order)).await?;
            store.run(at, move |tx| place(tx, order)).await?;
            store.run(at, move |tx| pay(tx, order)).await?;
            Ok(())
        }
    });
    let timed = timed(CLIENTS, jobs.collect()).await?;
    store.close().await?;
    Ok(timed)
}

/// What is there before: members with a past, products, balances.
async fn fill(store: &Store, members: u64, at: Timestamp) -> anyhow::Result<()> {
    let products = (0..CATALOGUE).map(|n| ((PRODUCTS, n, 0), 200));
    let houses = (0..SHARDS).map(|n| ((BALANCES, HOUSE + n, 0), 16));
    let each = (0..members).flat_map(|member| {
        let days = (0..PAST).map(move |n| ((DAY_TOTALS, member, TODAY - 27 - 5 * n), 12));
        let entries = (0..PAST).map(move |n| ((ENTRIES, member, n), 110));
        [((MEMBERS, member, 0), 160), ((BALANCES, member, 0), 16)].into_iter().chain(days).chain(entries)
    });
    let rows: Vec<((u8, u64, u64), usize)> = products.chain(houses).chain(each).collect();
    let batches = rows.chunks(BATCH).map(|rows| {
        let rows = rows.to_vec();
        store.run(at, move |tx| rows.iter().try_for_each(|(key, bytes)| tx.put(&ROWS, key, &body(*bytes))))
    });
    let mut batches = futures::stream::iter(batches).buffer_unordered(4);
    while let Some(done) = batches.next().await {
        done?;
    }
    Ok(())
}

fn body(bytes: usize) -> ByteVec {
    vec![0xab; bytes].into()
}

fn put(tx: &mut Tx<'_>, key: (u8, u64, u64), bytes: usize) -> Result<(), StoreError> {
    tx.put(&ROWS, &key, &body(bytes))
}

/// The same number as a key that scatters, another for each use.
fn scattered(order: Order, salt: u64) -> u64 {
    (order.n * 8 + salt).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The days of a member's year.
fn year(tx: &mut Tx<'_>, member: u64) -> Result<usize, StoreError> {
    let days = Scan::prefix(&(DAY_TOTALS, member)).from(&(DAY_TOTALS, member, FROM_DAY));
    Ok(tx.scan(&ROWS, &days.limit(400))?.len())
}

fn quote(tx: &mut Tx<'_>, order: Order) -> Result<(), StoreError> {
    let Order { n, member } = order;
    let product = n % (CATALOGUE - 2);
    tx.get(&ROWS, &(IDEMPOTENCY, scattered(order, 0), 0))?;
    tx.get(&ROWS, &(MEMBERS, member, 0))?;
    tx.get_many(&ROWS, &[0, 1, 2].map(|more| (PRODUCTS, product + more, 0)))?;
    year(tx, member)?;
    put(tx, (QUOTES, scattered(order, 3), 0), 1_500)?;
    put(tx, (IDEMPOTENCY, scattered(order, 0), 0), 60)
}

fn place(tx: &mut Tx<'_>, order: Order) -> Result<(), StoreError> {
    let Order { member, .. } = order;
    let (quote, placed) = (scattered(order, 3), scattered(order, 4));
    tx.get(&ROWS, &(IDEMPOTENCY, scattered(order, 1), 0))?;
    tx.get(&ROWS, &(QUOTES, quote, 0))?;
    tx.get(&ROWS, &(PLACED_QUOTES, quote, 0))?;
    tx.get(&ROWS, &(MEMBERS, member, 0))?;
    put(tx, (ORDER_PRICES, placed, 0), 1_100)?;
    put(tx, (ORDERS, placed, 0), 350)?;
    put(tx, (ORDERS_OF_MEMBER, member, placed), 0)?;
    put(tx, (TIMERS, 0, placed), 0)?;
    put(tx, (PLACED_QUOTES, quote, 0), 8)?;
    put(tx, (MEMBERS, member, 0), 160)?;
    put(tx, (EVENTS, member % SHARDS, scattered(order, 5)), 40)?;
    put(tx, (IDEMPOTENCY, scattered(order, 1), 0), 350)
}

fn pay(tx: &mut Tx<'_>, order: Order) -> Result<(), StoreError> {
    let Order { n, member } = order;
    let (placed, house) = (scattered(order, 4), HOUSE + member % SHARDS);
    tx.get(&ROWS, &(IDEMPOTENCY, scattered(order, 2), 0))?;
    tx.get(&ROWS, &(ORDERS, placed, 0))?;
    tx.get(&ROWS, &(ORDER_PRICES, placed, 0))?;
    tx.get(&ROWS, &(MEMBERS, member, 0))?;
    year(tx, member)?;
    tx.delete(&ROWS, &(TIMERS, 0, placed))?;
    for account in [house, member] {
        tx.get(&ROWS, &(BALANCES, account, 0))?;
        put(tx, (BALANCES, account, 0), 16)?;
        put(tx, (ENTRIES, account, PAST + n), 110)?;
    }
    put(tx, (PENDING_LOTS, member, placed), 8)?;
    tx.get(&ROWS, &(DAY_TOTALS, member, TODAY))?;
    put(tx, (DAY_TOTALS, member, TODAY), 12)?;
    put(tx, (ORDERS, placed, 0), 700)?;
    put(tx, (MEMBERS, member, 0), 160)?;
    put(tx, (EVENTS, member % SHARDS, scattered(order, 6)), 40)?;
    put(tx, (IDEMPOTENCY, scattered(order, 2), 0), 700)
}

//! The shopping history that the demo replays, and what is made up around it.
//!
//! The history is real in its patterns (`data/journey/README.md` says where it is from). It has no birthdays, product
//! classes, substances or days of supply: these are made from a seed, the same ones in every run.

use std::{collections::HashMap, io::Read as _};

use anyhow::Context as _;
use jiff::{Timestamp, civil::Date};
use serde::Deserialize;

const MEMBERS: &[u8] = include_bytes!("../../../data/journey/members.csv");
const PRODUCTS: &[u8] = include_bytes!("../../../data/journey/products.csv");
const ORDERS: &[u8] = include_bytes!("../../../data/journey/orders.csv.gz");

/// One in so many orders is refunded in part.
const REFUNDED: usize = 50;

/// Seed of everything made up.
pub(super) const SEED: u64 = 2017;

/// A year of purchases.
pub(super) struct History {
    pub(super) members: Vec<Person>,
    pub(super) products: Vec<Item>,
    /// By time.
    pub(super) orders: Vec<Purchase>,
}

pub(super) struct Person {
    pub(super) name: String,
    pub(super) birthday: Date,
}

pub(super) struct Item {
    pub(super) name: String,
    pub(super) category: String,
    pub(super) title: String,
    pub(super) class: &'static str,
    pub(super) urgent: bool,
    pub(super) substances: Vec<&'static str>,
    pub(super) days_of_supply: Option<u16>,
    pub(super) list_price: i64,
}

pub(super) struct Purchase {
    pub(super) name: String,
    /// Index into the members.
    pub(super) member: usize,
    pub(super) at: Timestamp,
    /// Index into the products, items, price of one in fen.
    pub(super) lines: Vec<(usize, u32, i64)>,
    /// Whether some of it is refunded.
    pub(super) comes_back: bool,
}

#[derive(Deserialize)]
struct MemberRow {
    member_id: String,
}

#[derive(Deserialize)]
struct ProductRow {
    product_id: String,
    category: String,
    name: String,
    brand: String,
    list_price_fen: i64,
}

#[derive(Deserialize)]
struct OrderRow {
    order_id: String,
    member_id: String,
    placed_at: Timestamp,
    product_id: String,
    quantity: u32,
    unit_price_fen: i64,
}

impl History {
    /// The history of the first so many members; of all where it is not said.
    pub(super) fn load(members_max: Option<usize>) -> anyhow::Result<Self> {
        let mut members = Vec::new();
        let mut by_name = HashMap::new();
        for row in csv::Reader::from_reader(MEMBERS).into_deserialize().take(members_max.unwrap_or(usize::MAX)) {
            let row: MemberRow = row.context("members.csv")?;
            by_name.insert(row.member_id.clone(), members.len());
            members.push(Person { birthday: birthday(&row.member_id), name: row.member_id });
        }
        let mut products = Vec::new();
        let mut by_product = HashMap::new();
        for row in csv::Reader::from_reader(PRODUCTS).into_deserialize() {
            let row: ProductRow = row.context("products.csv")?;
            by_product.insert(row.product_id.clone(), products.len());
            products.push(item(row));
        }
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(ORDERS).read_to_end(&mut text).context("orders.csv.gz")?;
        let mut orders: Vec<Purchase> = Vec::new();
        for row in csv::Reader::from_reader(text.as_slice()).into_deserialize() {
            let row: OrderRow = row.context("orders.csv.gz")?;
            let Some(member) = by_name.get(&row.member_id) else { continue };
            let product = *by_product.get(&row.product_id).context("an order names an unknown product")?;
            let line = (product, row.quantity, row.unit_price_fen);
            match orders.last_mut().filter(|order| order.name == row.order_id) {
                Some(order) => order.lines.push(line),
                None => {
                    let (name, at) = (row.order_id, row.placed_at);
                    orders.push(Purchase { name, member: *member, at, lines: vec![line], comes_back: false });
                }
            }
        }
        refund_some(&mut orders);
        Ok(Self { members, products, orders })
    }
}

/// One in fifty orders comes back in part: of each fifty the next one with more than one item.
fn refund_some(orders: &mut [Purchase]) {
    let mut owed = 0;
    for (n, order) in orders.iter_mut().enumerate() {
        owed += usize::from(n % REFUNDED == REFUNDED - 1);
        let items: u64 = order.lines.iter().map(|(_, items, _)| u64::from(*items)).sum();
        if owed > 0 && items > 1 {
            order.comes_back = true;
            owed -= 1;
        }
    }
}

/// A number that depends on the seed and the name alone.
pub(super) fn made_up(what: &str, name: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ SEED;
    for byte in what.bytes().chain([0]).chain(name.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ (hash >> 29)
}

fn birthday(name: &str) -> Date {
    let day = i64::try_from(made_up("birthday", name) % (365 * 60)).unwrap_or(0);
    Date::constant(1940, 1, 1).saturating_add(jiff::Span::new().days(day))
}

fn item(row: ProductRow) -> Item {
    let pick = |what: &str, n: u64| made_up(what, &row.product_id) % n;
    let (class, substance, days): (&str, &[&str], Option<u16>) = match row.category.as_str() {
        "ANALGESICS" => (
            if pick("class", 4) == 0 { "otc-a" } else { "otc-b" },
            &["paracetamol", "ibuprofène", "acide acétylsalicylique"],
            Some(10),
        ),
        "COLD AND FLU" | "SINUS AND ALLERGY" => ("otc-a", &["pseudoéphédrine", "cétirizine", "loratadine"], Some(7)),
        "ANTACIDS" | "LAXATIVES" => ("otc-b", &["oméprazole", "magnésium"], Some(14)),
        "EYE AND EAR CARE PRODUCTS" | "FOOT CARE PRODUCTS" => ("otc-b", &[], None),
        "SMOKING CESSATIONS" => ("rx", &["nicotine"], Some(28)),
        "FIRST AID PRODUCTS" | "FAMILY PLANNING" => ("device", &[], None),
        "VITAMINS" | "DIETARY AID PRODUCTS" | "FITNESS&DIET" | "INFANT FORMULA" | "BABY FOODS" | "BABYFOOD" => {
            ("food", &[], Some([30, 60, 90][usize::try_from(pick("days", 3)).unwrap_or(0)]))
        }
        _ => ("other", &[], None),
    };
    let chosen = usize::try_from(pick("substance", substance.len().max(1) as u64)).unwrap_or(0);
    Item {
        title: format!("{} ({})", row.name, row.brand),
        urgent: row.category == "COLD AND FLU",
        substances: substance.get(chosen).copied().into_iter().collect(),
        days_of_supply: days,
        class,
        list_price: row.list_price_fen,
        category: row.category,
        name: row.product_id,
    }
}

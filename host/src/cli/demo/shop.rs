//! The shop that drives the engine: what one member does, call by call.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, OnceLock},
};

use anyhow::{Context as _, ensure};
use jiff::{Timestamp, tz::TimeZone};
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::{
    client::{Client, Reply},
    history::{History, made_up},
    recount::{self, Move, What},
    showcase::adds_up,
};

/// What a member pays for delivery, in fen.
const DELIVERY_FEE: i64 = 600;
/// The day of the month on which members get more.
const MEMBER_DAY: i8 = 15;
/// Every so many orders the member spends points, if there are some.
const SPENDS_POINTS: u64 = 3;
/// In how many of ten cases a member wants to be written to, by channel.
const CONSENTS: [(&str, u64); 2] = [("sms", 7), ("email", 5)];
/// A quote may change under concurrent writes of the same member only; more often is a failure.
const PLACE_ATTEMPTS: usize = 5;

/// Something a member or the shop does.
#[derive(Clone)]
pub(super) enum Task {
    /// Registers, and gets the welcome coupon.
    Join,
    /// Buys what the history says, by its index.
    Buy(usize),
    /// The parcel leaves.
    Ship(String),
    /// The parcel arrives.
    Deliver(String),
    /// Some of it comes back.
    Refund(String),
}

/// Sums over all orders, in fen and points.
#[derive(Clone, Default)]
pub(super) struct Tally {
    pub(super) orders: u64,
    pub(super) gross: i64,
    pub(super) paid: i64,
    pub(super) delivery: i64,
    pub(super) off: BTreeMap<String, (u64, i64)>,
    pub(super) refunds: u64,
    pub(super) refunded: i64,
    pub(super) requotes: u64,
    pub(super) shipped: u64,
    /// Orders by the releases that priced them.
    pub(super) priced_by: BTreeMap<String, u64>,
    /// What moved points, to count them again.
    pub(super) moves: Vec<Move>,
    /// When each member joined.
    pub(super) joined: BTreeMap<usize, Timestamp>,
    /// Orders whose prices add up to what was paid, and orders with more than one coupon.
    pub(super) explained: i64,
    pub(super) two_coupons: i64,
    /// Why offers were not applied, by reason.
    pub(super) declined: BTreeMap<String, i64>,
    /// Orders on another day than the 15th, which is member day.
    pub(super) other_days: i64,
    /// How many coupons of an offer a member used, by the ids of the one and the code of the other.
    pub(super) coupons: BTreeMap<(String, String), i64>,
    /// Net goods paid, less what was paid back, by member, in fen.
    pub(super) spent: BTreeMap<usize, i64>,
    /// Points awarded and due, and orders that earned a multiple, but for those which the swap met on their way.
    pub(super) awarded: i64,
    pub(super) due: i64,
    pub(super) multiplied: i64,
    pub(super) swap: Option<SwapSeen>,
}

/// Members by tier when the rule was swapped.
#[derive(Clone)]
pub(super) struct SwapSeen {
    pub(super) at: Timestamp,
    /// As the server says.
    pub(super) held: BTreeMap<String, u64>,
    /// Counted from what they had spent.
    pub(super) counted: BTreeMap<String, u64>,
}

pub(super) struct Shop {
    pub(super) client: Client,
    /// Approves prescriptions.
    pharmacist: Client,
    pub(super) history: History,
    members: Vec<OnceLock<String>>,
    pub(super) welcome: String,
    tally: Mutex<Tally>,
    zone: TimeZone,
}

impl Shop {
    pub(super) fn new(client: Client, pharmacist: Client, history: History, welcome: String) -> anyhow::Result<Self> {
        let members = history.members.iter().map(|_| OnceLock::new()).collect();
        let zone = TimeZone::get("Asia/Shanghai").context("the shop's zone")?;
        Ok(Self { client, pharmacist, history, members, welcome, tally: Mutex::default(), zone })
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn member(&self, index: usize) -> anyhow::Result<&str> {
        self.members[index].get().map(String::as_str).context("the member has not joined")
    }

    /// The first members who joined, at most so many: ids and names.
    pub(super) fn joined(&self, most: usize) -> Vec<(String, String)> {
        let mut joined: Vec<(Timestamp, usize)> = self.tally().joined.iter().map(|(index, at)| (*at, *index)).collect();
        joined.sort_unstable();
        let known = |(_, index): (Timestamp, usize)| {
            let id = self.members[index].get()?;
            Some((id.clone(), self.history.members[index].name.clone()))
        };
        joined.into_iter().filter_map(known).take(most).collect()
    }

    /// Keeps who holds which tier now, beside the same counted from what they spent.
    pub(super) fn keep_tiers(&self, at: Timestamp, held: BTreeMap<String, u64>) {
        let mut tally = self.tally();
        let spent = tally.joined.keys().map(|member| tally.spent.get(member).copied().unwrap_or(0));
        let counted = recount::spend_tiers(spent);
        tally.swap = Some(SwapSeen { at, held, counted });
    }

    /// Joins, says what may be written, and gets the welcome coupon.
    pub(super) async fn join(&self, index: usize, now: Timestamp) -> anyhow::Result<()> {
        let person = &self.history.members[index];
        let profile = json!({
            "birthday": person.birthday.to_string(),
            "phone": format!("+86138{:08}", made_up("phone", &person.name) % 100_000_000),
            "email": format!("{}@members.example", person.name),
        });
        let body = json!({ "external_id": person.name, "profile": profile });
        let member = self.client.post("/v1/members", body).await?;
        let id = member["id"].as_str().context("a member has an id")?.to_owned();
        self.client.post("/v1/coupons", json!({ "offer": self.welcome, "member": id })).await?;
        for (channel, tenths) in CONSENTS {
            if made_up(channel, &person.name) % 10 < tenths {
                let path = format!("/v1/members/{id}/consents/marketing/{channel}");
                let said = json!({ "granted": true, "text_version": "demo-1", "evidence": "demo", "source": "app" });
                self.client.put(&path, said).await?;
            }
        }
        self.tally().joined.insert(index, now);
        self.members[index].set(id).map_err(|_| anyhow::anyhow!("{} joined twice", person.name))
    }

    /// Quotes, places and pays; the order's id.
    pub(super) async fn buy(&self, index: usize, now: Timestamp) -> anyhow::Result<String> {
        let order = &self.history.orders[index];
        let member = self.member(order.member)?;
        self.prescribe(index, member).await?;
        let mut quote = self.quote(index, member, 0).await?;
        if made_up("spends", &order.name).is_multiple_of(SPENDS_POINTS) {
            let most = quote["price"]["points_max"].as_i64().unwrap_or(0);
            let balance = self.client.get(&format!("/v1/members/{member}/points")).await?;
            let points = balance["active"].as_i64().unwrap_or(0).min(most);
            if points > 0 {
                quote = self.quote(index, member, points).await?;
            }
        }
        let (placed, tier) = self.place(&order.name, quote).await?;
        let id = placed["id"].as_str().context("an order has an id")?.to_owned();
        let payable = &placed["price"]["payable"];
        let payment = json!({ "reference": format!("pay-{}", order.name), "method": "wechat-pay", "amount": payable });
        let paid = self.client.post(&format!("/v1/orders/{id}/payment"), payment).await?;
        let spent = placed["price"]["points"].as_i64().context("a price has points")?;
        let earned = paid["earning"]["points"].as_i64().unwrap_or(0);
        for what in [What::Spent(spent), What::Earned(earned)] {
            self.tally().moves.push(Move { member: order.member, at: now, order: id.clone(), what });
        }
        self.count(&placed, order.member, now);
        self.count_points(&placed, earned, &tier, order.member, now);
        Ok(id)
    }

    /// Uploads a prescription for what needs one, and approves it.
    async fn prescribe(&self, index: usize, member: &str) -> anyhow::Result<()> {
        let order = &self.history.orders[index];
        let mut items: BTreeMap<&str, u32> = BTreeMap::new();
        for (product, quantity, _) in &order.lines {
            let item = &self.history.products[*product];
            if item.class == "rx" {
                *items.entry(&item.name).or_default() += *quantity;
            }
        }
        if items.is_empty() {
            return Ok(());
        }
        let items: Vec<Json> =
            items.iter().map(|(name, items)| json!({ "external_id": name, "quantity": items })).collect();
        let body = json!({
            "external_id": format!("rx-{}", order.name), "member": member, "items": items,
            "name": self.history.members[order.member].name, "issuer": "demo hospital", "image": "demo",
        });
        let uploaded = self.client.post("/v1/prescriptions", body).await?;
        let id = uploaded["id"].as_str().context("a prescription has an id")?;
        self.pharmacist.post(&format!("/ops/v1/prescriptions/{id}/approval"), json!({})).await.map(drop)
    }

    async fn quote(&self, index: usize, member: &str, points: i64) -> anyhow::Result<Json> {
        let order = &self.history.orders[index];
        let lines: Vec<Json> = order
            .lines
            .iter()
            .map(
                |(product, items, _)| json!({ "external_id": self.history.products[*product].name, "quantity": items }),
            )
            .collect();
        let rx = order.lines.iter().any(|(product, ..)| self.history.products[*product].class == "rx");
        let prescription = rx.then(|| format!("rx-{}", order.name));
        let body = json!({
            "member": member,
            "lines": lines,
            "points": points,
            "delivery_fee": { "minor": DELIVERY_FEE, "currency": "CNY" },
            "prescription": prescription,
        });
        self.client.quote(body).await
    }

    /// The order, and the tier at which it was priced.
    async fn place(&self, name: &str, mut quote: Json) -> anyhow::Result<(Json, String)> {
        for _ in 0..PLACE_ATTEMPTS {
            let body = json!({ "quote": quote["id"], "external_id": name });
            match self.client.call(Method::POST, "/v1/orders", Some(body)).await? {
                Reply::Done(order) => return Ok((order, quote["tier"].as_str().unwrap_or_default().to_owned())),
                Reply::QuoteChanged(fresh) => {
                    self.tally().requotes += 1;
                    quote = fresh;
                }
            }
        }
        anyhow::bail!("order {name}: the quote changed {PLACE_ATTEMPTS} times")
    }

    pub(super) async fn step(&self, task: &Task, member: usize, now: Timestamp) -> anyhow::Result<()> {
        let moved = |id: &String, what| self.tally().moves.push(Move { member, at: now, order: id.clone(), what });
        match task {
            Task::Ship(id) => {
                self.client.post(&format!("/v1/orders/{id}/shipment"), json!({})).await?;
                self.tally().shipped += 1;
                Ok(())
            }
            Task::Deliver(id) => {
                self.client.post(&format!("/v1/orders/{id}/delivery"), json!({})).await?;
                moved(id, What::Arrived);
                Ok(())
            }
            Task::Refund(id) => {
                let body = json!({ "cause": "quality", "lines": [{ "line": 0, "quantity": 1 }] });
                let order = self.client.post(&format!("/v1/orders/{id}/refunds"), body).await?;
                let refund = order["refunds"].as_array().and_then(|all| all.last());
                let refund = refund.context("a refunded order shows the refund")?;
                let points = |key: &str| refund[key].as_i64().with_context(|| format!("a refund has {key}"));
                let (restored, taken) = (points("points_restored")?, points("points_clawed_back")?);
                moved(id, What::Refunded { restored, taken });
                let amount = refund["amount"]["minor"].as_i64().context("a refund has an amount")?;
                let goods = amount - refund["delivery"]["minor"].as_i64().unwrap_or(0);
                let mut tally = self.tally();
                tally.refunds += 1;
                tally.refunded += amount;
                *tally.spent.entry(member).or_default() -= goods;
                Ok(())
            }
            Task::Join | Task::Buy(_) => Ok(()),
        }
    }

    /// Adds an order to the sums; list less allocations must be the payable, as promised.
    fn count(&self, order: &Json, member: usize, now: Timestamp) {
        self.count_offers(order);
        let price = &order["price"];
        let minor = |json: &Json| json["minor"].as_i64().unwrap_or(0);
        let mut tally = self.tally();
        tally.orders += 1;
        tally.paid += minor(&price["payable"]);
        tally.delivery += minor(&price["delivery_payable"]);
        tally.explained += i64::from(adds_up(price).unwrap_or(false));
        tally.other_days += i64::from(now.to_zoned(self.zone.clone()).day() != MEMBER_DAY);
        *tally.spent.entry(member).or_default() += minor(&price["payable"]) - minor(&price["delivery_payable"]);
        for line in price["lines"].as_array().into_iter().flatten() {
            tally.gross += minor(&line["list"]);
            for allocation in line["allocations"].as_array().into_iter().flatten() {
                let source = allocation["source"].as_str().unwrap_or_default();
                if source != "offer" {
                    let sum = tally.off.entry(source.to_owned()).or_default();
                    *sum = (sum.0 + 1, sum.1 + minor(&allocation["amount"]));
                }
            }
        }
        for offer in price["offers"].as_array().into_iter().flatten() {
            let amount = minor(&offer["amount"]);
            if amount > 0 {
                let sum = tally.off.entry(offer["code"].as_str().unwrap_or_default().to_owned()).or_default();
                *sum = (sum.0 + 1, sum.1 + amount);
            }
        }
        for release in order["releases"].as_array().into_iter().flatten() {
            let name = format!("{}#{}", release["slot"].as_str().unwrap_or_default(), release["number"]);
            *tally.priced_by.entry(name).or_default() += 1;
        }
    }

    /// Counts the coupons that were used, and why other offers were not.
    fn count_offers(&self, order: &Json) {
        let (mut tally, mut coupons) = (self.tally(), 0);
        for offer in order["price"]["offers"].as_array().into_iter().flatten() {
            let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
            if offer["applied"] == true {
                if offer["coupon"].is_string() {
                    coupons += 1;
                    *tally.coupons.entry((text(&order["member"]), text(&offer["code"]))).or_default() += 1;
                }
            } else {
                *tally.declined.entry(text(&offer["reasons"][0]["code"])).or_default() += 1;
            }
        }
        tally.two_coupons += i64::from(coupons > 1);
    }

    /// Counts what an order earned, and what it should have.
    fn count_points(&self, order: &Json, earned: i64, tier: &str, member: usize, now: Timestamp) {
        let price = &order["price"];
        let minor = |json: &Json| json["minor"].as_i64().unwrap_or(0);
        let goods = minor(&price["payable"]) - minor(&price["delivery_payable"]);
        let birthday = self.history.members[member].birthday.month() == now.to_zoned(self.zone.clone()).month();
        let mut tally = self.tally();
        // What the swap meets between quote and payment earns by either rule.
        if tally.swap.as_ref().is_some_and(|swap| swap.at == now) {
            return;
        }
        let multiple = recount::multiple(tier, tally.swap.is_some(), birthday);
        tally.awarded += earned;
        tally.due += goods / 100 * multiple;
        tally.multiplied += i64::from(multiple > 1);
    }

    /// Brings products in, at these prices in fen.
    pub(super) async fn import(&self, products: &[(usize, i64)]) -> anyhow::Result<()> {
        for chunk in products.chunks(200) {
            let rows: Vec<Json> = chunk
                .iter()
                .map(|(index, price)| {
                    let item = &self.history.products[*index];
                    json!({
                        "external_id": item.name,
                        "name": item.title,
                        "category": item.category,
                        "class": item.class,
                        "urgent": item.urgent,
                        "list_price": { "minor": price, "currency": "CNY" },
                        "substances": item.substances,
                        "days_of_supply": item.days_of_supply,
                    })
                })
                .collect();
            let answer = self.client.post("/v1/products/import", json!({ "products": rows })).await?;
            ensure!(answer["created"].is_u64(), "the import does not say what it did");
        }
        Ok(())
    }

    /// Members by tier code.
    pub(super) async fn members_by_tier(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut tiers = BTreeMap::new();
        for member in self.client.list("/v1/members").await? {
            let code = member["tier"]["code"].as_str().context("a member has a tier")?.to_owned();
            *tiers.entry(code).or_default() += 1;
        }
        Ok(tiers)
    }
}

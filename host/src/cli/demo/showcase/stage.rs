//! What all themes play with: members, goods, the clock, and how an order goes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{
    SignedDuration, Timestamp, ToSpan as _,
    civil::{Date, DateTime, Weekday},
    tz::TimeZone,
};
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::super::{
    client::{Client, Reply},
    operator::Operator,
    shop::Shop,
};

/// How many of the year's members go on, at most.
const GUESTS_MAX: usize = 100;
/// What happens at once, at most.
const CONCURRENT_MAX: usize = 32;
/// A quote may change under concurrent writes; more often is a failure.
const PLACE_ATTEMPTS: usize = 5;
/// The hour at which the first day begins.
pub(super) const HOUR: i8 = 10;
/// When something is sold, in days after the first one: to Wednesday's flash sale, and after the two return windows.
const BUSY_DAYS: &[i64] = &[0, 1, 2, 3, 11, 19, 20];
/// The day of the month on which members get more.
const MEMBER_DAY: i8 = 15;
/// The shop's partner, as the demo calls it.
const PARTNER: &str = "shop";
/// Of all goods here; no offer of the year is about it.
pub(super) const CATEGORY: &str = "SHOWCASE";

/// The goods: what the shop calls them, class, price in fen, stock where it is counted.
const GOODS: &[(&str, &str, i64, Option<i64>)] = &[
    ("show-tea", "food", 10_000, None),
    ("show-mat", "other", 15_000, None),
    ("show-a", "food", 15_000, None),
    ("show-b", "food", 6_000, None),
    ("show-almost", "device", 57_999, None),
    ("show-lamp", "device", 58_000, None),
    ("show-bed", "device", 60_000, None),
    ("show-insulin", "rx", 8_000, None),
];

/// A member who plays.
pub(super) struct Guest {
    pub(super) id: String,
    /// What the shop calls them.
    pub(super) name: String,
}

/// What the demo itself knows of its orders here.
#[derive(Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) orders: i64,
    /// Orders whose explanation adds up to what is to be paid.
    pub(super) explained: i64,
    pub(super) paid: i64,
    pub(super) refunded: i64,
    pub(super) late: i64,
    /// Offers that a second person had to approve.
    pub(super) launched: i64,
}

pub(super) struct Stage<'a> {
    pub(super) shop: &'a Client,
    pub(super) operator: &'a Client,
    lead: &'a Operator,
    /// Approves what the operator drafts.
    pub(super) second: Client,
    /// The shop's id.
    pub(super) partner: String,
    pub(super) zone: TimeZone,
    /// The first members of the year.
    pub(super) guests: Vec<Guest>,
    /// The first day, in the shop's zone.
    pub(super) first_day: Date,
    now: Mutex<Timestamp>,
    sums: Mutex<Sums>,
}

impl<'a> Stage<'a> {
    /// Sets up goods, the tier programme and a second person, on the morning after the year.
    pub(super) async fn open(shop: &'a Shop, operator: &'a Operator, now: Timestamp) -> anyhow::Result<Self> {
        let zone = TimeZone::get("Asia/Shanghai").context("the shop's zone")?;
        operator.apply(include_str!("../../../../deploy/tiers-c3.json")).await?;
        let partners = operator.client.list("/ops/v1/partners").await?;
        let partner = partners.iter().find(|partner| partner["name"] == PARTNER).context("the shop is a partner")?;
        let first_day = first_day(now.to_zoned(zone.clone()).date())?;
        let guests = shop.joined(GUESTS_MAX);
        let stage = Self {
            shop: &shop.client,
            operator: &operator.client,
            lead: operator,
            second: operator.second_person().await?,
            partner: text(&partner["id"])?,
            zone,
            guests: guests.into_iter().map(|(id, name)| Guest { id, name }).collect(),
            first_day,
            now: Mutex::new(now),
            sums: Mutex::default(),
        };
        stage.until(first_day.at(HOUR, 0, 0, 0)).await?;
        for (name, class, price, stock) in GOODS {
            stage.import(name, class, *price, *stock).await?;
        }
        Ok(stage)
    }

    pub(super) fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The local time.
    pub(super) fn now(&self) -> DateTime {
        let now = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.to_zoned(self.zone.clone()).datetime()
    }

    /// Lets time pass, and does what is due by then.
    pub(super) async fn pass(&self, time: SignedDuration) -> anyhow::Result<()> {
        let then = self.now().checked_add(time)?;
        self.until(then).await
    }

    /// The same up to a local time.
    pub(super) async fn until(&self, then: DateTime) -> anyhow::Result<()> {
        let then = then.to_zoned(self.zone.clone())?.timestamp();
        self.lead.clock(then).await?;
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = then;
        Ok(())
    }

    /// Lets consumers of events and jobs that are due have their turn.
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        self.pass(SignedDuration::from_secs(1)).await
    }

    /// Puts a product into the catalogue; its id.
    pub(super) async fn import(
        &self,
        name: &str,
        class: &str,
        price: i64,
        stock: Option<i64>,
    ) -> anyhow::Result<String> {
        let product = json!({
            "external_id": name, "name": name, "category": CATEGORY, "class": class, "list_price": cny(price),
            "stock": stock,
        });
        self.shop.post("/v1/products/import", json!({ "products": [product] })).await?;
        text(&self.shop.get(&format!("/v1/products/by-external-id/{name}")).await?["id"])
    }

    /// New members, born in this month.
    pub(super) async fn newcomers(&self, theme: &str, count: usize) -> anyhow::Result<Vec<Guest>> {
        let birthday = self.now().date().first_of_month().checked_sub(30.years())?;
        let names: Vec<String> = (0..count).map(|n| format!("show-{theme}-{n}")).collect();
        each(&names, async |name: &String| {
            let body = json!({ "external_id": name, "profile": { "birthday": birthday.to_string() } });
            let member = self.shop.post("/v1/members", body).await?;
            Ok(Guest { id: text(&member["id"])?, name: name.clone() })
        })
        .await
    }

    /// Makes a module live in a slot.
    pub(super) async fn release(&self, slot: &str, module: &str, release: Json) -> anyhow::Result<()> {
        self.lead.release(slot, module, release).await.map(drop)
    }

    /// Defines an offer and has it approved; its id.
    pub(super) async fn launch(&self, code: &str, class: &str, terms: Json, more: Json) -> anyhow::Result<String> {
        let mut offer = json!({ "code": code, "name_zh_cn": code, "name_en": code, "class": class, "terms": terms });
        extend(&mut offer, more);
        let drafted = self.operator.post("/ops/v1/offers", offer).await?;
        ensure!(drafted["state"] == "draft", "{code} is {} before anybody approved it", drafted["state"]);
        let id = text(&drafted["id"])?;
        self.approve(&id).await?;
        Ok(id)
    }

    /// The second person approves.
    pub(super) async fn approve(&self, offer: &str) -> anyhow::Result<()> {
        let live = self.second.post(&format!("/ops/v1/offers/{offer}/approvals"), json!({})).await?;
        ensure!(live["state"] == "live", "an approved offer is {}", live["state"]);
        self.sums().launched += 1;
        Ok(())
    }

    /// Asks a price; `more` may name a coupon, points, a delivery fee, a prescription.
    pub(super) async fn quote(&self, guest: &Guest, goods: &[(&str, u32)], more: Json) -> anyhow::Result<Json> {
        let lines: Vec<Json> =
            goods.iter().map(|(name, items)| json!({ "external_id": name, "quantity": items })).collect();
        let mut cart = json!({ "member": guest.id, "lines": lines });
        extend(&mut cart, more);
        self.shop.quote(cart).await
    }

    /// Places an order at a quote, or at the next one where it changed meanwhile.
    pub(super) async fn place(&self, mut quote: Json, more: Json) -> anyhow::Result<Json> {
        for _ in 0..PLACE_ATTEMPTS {
            let mut body = json!({ "quote": quote["id"] });
            extend(&mut body, more.clone());
            match self.shop.call(Method::POST, "/v1/orders", Some(body)).await? {
                Reply::Done(order) => {
                    self.placed(&order)?;
                    return Ok(order);
                }
                Reply::QuoteChanged(fresh) => quote = fresh,
            }
        }
        anyhow::bail!("a quote changed {PLACE_ATTEMPTS} times")
    }

    /// Counts an order that was placed.
    pub(super) fn placed(&self, order: &Json) -> anyhow::Result<()> {
        let explained = adds_up(&order["price"])?;
        let mut sums = self.sums();
        sums.orders += 1;
        sums.explained += i64::from(explained);
        Ok(())
    }

    /// Pays an order in full; `more` may say a plan of instalments.
    pub(super) async fn pay(&self, order: &Json, method: &str, more: Json) -> anyhow::Result<Json> {
        let id = text(&order["id"])?;
        let payable = &order["price"]["payable"];
        let mut body = json!({ "reference": format!("pay-{id}"), "method": method, "amount": payable });
        extend(&mut body, more);
        let paid = self.shop.post(&format!("/v1/orders/{id}/payment"), body).await?;
        self.sums().paid += fen(payable)?;
        Ok(paid)
    }

    /// Quotes, places and pays; the order.
    pub(super) async fn buy(&self, guest: &Guest, goods: &[(&str, u32)], more: Json) -> anyhow::Result<Json> {
        let quote = self.quote(guest, goods, more).await?;
        let order = self.place(quote, json!({})).await?;
        self.pay(&order, "wechat-pay", json!({})).await
    }

    /// A step of an order that takes no body.
    pub(super) async fn step(&self, order: &Json, step: &str) -> anyhow::Result<Json> {
        self.shop.post(&format!("/v1/orders/{}/{step}", text(&order["id"])?), json!({})).await
    }

    /// The parcel leaves and arrives.
    pub(super) async fn arrive(&self, order: &Json) -> anyhow::Result<()> {
        self.step(order, "shipment").await?;
        self.step(order, "delivery").await.map(drop)
    }

    /// Refunds some of an order, all that is left where no lines are said; what it came to.
    pub(super) async fn refund(&self, order: &Json, lines: Json) -> anyhow::Result<Json> {
        let body = json!({ "cause": "quality", "lines": lines });
        let path = format!("/v1/orders/{}/refunds", text(&order["id"])?);
        let mut after = self.shop.post(&path, body).await?;
        let refund = after["refunds"].as_array_mut().and_then(Vec::pop).context("a refunded order shows the refund")?;
        self.sums().refunded += fen(&refund["amount"])?;
        Ok(refund)
    }

    /// What a member has and had of an offer.
    pub(super) async fn coupons(&self, guest: &Guest, offer: &str) -> anyhow::Result<Vec<Json>> {
        let path = format!("/v1/members/{}/coupons?in_hand=false&limit=200", guest.id);
        let mut had = self.shop.get(&path).await?;
        let had = had["items"].as_array_mut().context("a list has items")?;
        Ok(std::mem::take(had).into_iter().filter(|coupon| coupon["offer"] == offer).collect())
    }

    /// The tier that a member holds.
    pub(super) async fn tier(&self, guest: &Guest) -> anyhow::Result<String> {
        text(&self.shop.get(&format!("/v1/members/{}", guest.id)).await?["tier"]["code"])
    }

    /// A member's points by purse.
    pub(super) async fn points(&self, guest: &Guest, purse: &str) -> anyhow::Result<i64> {
        number(&self.shop.get(&format!("/v1/members/{}/points", guest.id)).await?[purse])
    }
}

/// The next Sunday from which no busy day is member day, whose offer would change what the demo expects.
fn first_day(today: Date) -> anyhow::Result<Date> {
    let fits = |day: &Date| {
        let busy = |days: &i64| day.saturating_add(days.days()).day() == MEMBER_DAY;
        day.weekday() == Weekday::Sunday && !BUSY_DAYS.iter().any(busy)
    };
    today.tomorrow()?.series(1.day()).find(fits).context("there is a Sunday that fits")
}

/// Does something for each, many at once; what came of it, in the same order.
pub(super) async fn each<'i, I, T>(
    items: &'i [I],
    act: impl AsyncFn(&'i I) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    stream::iter(items.iter().map(|item| act(item))).buffered(CONCURRENT_MAX).try_collect().await
}

/// An amount of money in fen.
pub(super) fn cny(fen: i64) -> Json {
    json!({ "minor": fen, "currency": "CNY" })
}

pub(super) fn fen(money: &Json) -> anyhow::Result<i64> {
    number(&money["minor"])
}

pub(super) fn number(json: &Json) -> anyhow::Result<i64> {
    json.as_i64().with_context(|| format!("{json} should be a number"))
}

pub(super) fn text(json: &Json) -> anyhow::Result<String> {
    Ok(json.as_str().with_context(|| format!("{json} should be a text"))?.to_owned())
}

pub(super) fn count<T>(of: impl IntoIterator<Item = T>) -> i64 {
    i64::try_from(of.into_iter().count()).unwrap_or(i64::MAX)
}

/// What an offer took off, in fen, and the outcome's reason.
pub(super) fn outcome(priced: &Json, code: &str) -> anyhow::Result<(i64, String)> {
    let offers = priced["price"]["offers"].as_array().context("a price tells of its offers")?;
    let offer =
        offers.iter().find(|offer| offer["code"] == code).with_context(|| format!("{code} is not considered"))?;
    Ok((fen(&offer["amount"])?, text(&offer["reasons"][0]["code"])?))
}

/// Whether list prices less allocations, and the delivery fee less its own, are what is to be paid.
pub(in super::super) fn adds_up(price: &Json) -> anyhow::Result<bool> {
    let mut left = fen(&price["delivery_fee"])? - allocated(&price["delivery_allocations"])?;
    for line in price["lines"].as_array().context("a price has lines")? {
        left += fen(&line["list"])? - allocated(&line["allocations"])?;
    }
    Ok(left == fen(&price["payable"])?)
}

fn allocated(allocations: &Json) -> anyhow::Result<i64> {
    allocations.as_array().into_iter().flatten().map(|row| fen(&row["amount"])).sum()
}

fn extend(object: &mut Json, more: Json) {
    if let (Json::Object(object), Json::Object(more)) = (object, more) {
        object.extend(more);
    }
}

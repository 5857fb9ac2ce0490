//! Does a script's steps to the engine, over HTTP, and to the oracle, and compares after every step.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value as Json, json};

use super::{
    compare::{Names, covers, explained},
    script::{Line, Step},
};
use crate::{
    app::{Client, Reply, TestApp, cny},
    oracle::{Answer, DAY, Oracle},
};

/// Everything is compared, and the books are re-added, every so many steps.
const WHOLE_EVERY: usize = 100;

/// A request as it was sent, and what came of it.
#[derive(Clone)]
struct Sent {
    method: Method,
    path: String,
    body: Json,
    key: String,
    operator: bool,
    at: i64,
    answer: Json,
}

/// The engine and the oracle side by side.
pub(crate) struct World {
    app: Option<TestApp>,
    pub(crate) oracle: Oracle,
    names: Names,
    sent: BTreeMap<usize, Sent>,
    steps: usize,
}

/// Releases what is live once more, with calls that may take long: on a busy machine a slow call is no difference.
async fn patient(app: &TestApp, slot: &str) {
    let slots = app.operator.get("/ops/v1/slots").await.expect(200);
    let live = slots["items"].as_array().expect("slots").iter().find(|found| found["name"] == slot).expect("lives");
    let live = &live["release"];
    let mut budgets = live["budgets"].clone();
    budgets["wall_ms"] = json!(10_000);
    let new = json!({"module": live["module"], "config": live["config"], "budgets": budgets, "grants": live["grants"]});
    let released = app.operator.post(&format!("/ops/v1/slots/{slot}/releases"), new).await.expect(201);
    let number = json!({"number": released["number"]});
    app.operator.put(&format!("/ops/v1/slots/{slot}/active"), number).await.expect(200);
}

/// What differs first, in words.
pub(crate) type Difference = String;

impl World {
    pub(crate) async fn start() -> Self {
        let app = TestApp::start().await;
        for slot in ["tier", "coupon", "earning"] {
            patient(&app, slot).await;
        }
        let now = app.services().clock.now().as_millisecond();
        Self { app: Some(app), oracle: Oracle::new(now), names: Names::default(), sent: BTreeMap::new(), steps: 0 }
    }

    /// Compares everything once more, and stops.
    pub(crate) async fn end(self) -> Result<(), Difference> {
        let compared = self.compare_all().await;
        self.give_up();
        compared
    }

    /// Stops without a last look at the books.
    pub(crate) fn give_up(mut self) {
        drop(self.app.as_mut().map(TestApp::take_running));
    }

    fn app(&self) -> &TestApp {
        self.app.as_ref().expect("runs")
    }

    fn client(&self, operator: bool) -> &Client {
        if operator { &self.app().operator } else { &self.app().shop }
    }

    /// Does one line; the first difference.
    pub(crate) async fn step(&mut self, line: &Line) -> Result<(), Difference> {
        if !line.step.makes_sense(&self.oracle) {
            return Ok(());
        }
        self.steps += 1;
        let before = self.oracle.clone();
        match &line.step {
            Step::Restart => self.app = Some(self.app.take().expect("runs").restart().await),
            Step::Again { of } => self.again(*of).await?,
            Step::Other { of } => self.other(*of).await?,
            _ => self.act(line).await?,
        }
        self.compare_touched(&line.step, &before).await?;
        if self.steps.is_multiple_of(WHOLE_EVERY) || matches!(line.step, Step::Restart) {
            self.compare_all().await?;
        }
        Ok(())
    }

    async fn act(&mut self, line: &Line) -> Result<(), Difference> {
        let mut request = self.request(line);
        let expected = line.step.tell(&mut self.oracle);
        let reply = if line.twice { self.send_twice(&request).await? } else { self.send(&request).await };
        let status = reply.status.as_u16();
        self.learn(line, &reply.json);
        request.answer = reply.json.clone();
        if reply.status.is_success() && matches!(request.method, Method::POST) {
            self.sent.insert(line.n, request);
        }
        self.check(&expected, status, &reply.json)?;
        self.do_due().await;
        Ok(())
    }

    /// What became due in this very moment is done on both sides before anybody looks.
    async fn do_due(&mut self) {
        if self.oracle.next_due().is_some_and(|due| due <= self.oracle.now) {
            let now = jiff::Timestamp::from_millisecond(self.oracle.now).expect("an instant");
            self.app().operator.put("/ops/v1/clock", json!({"now": now})).await.expect(200);
            let _done = self.oracle.wait(self.oracle.now);
        }
    }

    fn check(&self, expected: &Answer, status: u16, actual: &Json) -> Result<(), Difference> {
        let refused = actual["type"].as_str().and_then(|code| code.strip_prefix("urn:galenic:"));
        match expected {
            Err(codes) if refused.is_some_and(|code| codes.contains(&code)) => Ok(()),
            Err(codes) => {
                Err(format!("must be refused as {codes:?}, the engine answers {status} {}", self.names.plain(actual)))
            }
            Ok(expected) => {
                if status >= 300 && expected["type"].is_null() {
                    return Err(format!("must be done, the engine refuses: {status} {}", self.names.plain(actual)));
                }
                self.same("the answer", expected, actual)
            }
        }
    }

    /// Whether the engine shows what the oracle expects, and its prices add up.
    fn same(&self, what: &str, expected: &Json, actual: &Json) -> Result<(), Difference> {
        explained(actual).map_err(|difference| format!("{what}: {difference}"))?;
        covers(expected, &self.names.plain(actual)).map_err(|difference| format!("{what}{difference}"))
    }

    /// Keeps the ids of what was made.
    fn learn(&mut self, line: &Line, answer: &Json) {
        let names: &[(&str, &String)] = match &line.step {
            Step::Join { member, .. } => &[("/id", member)],
            Step::Offer(new) => &[("/id", &new.offer)],
            Step::Issue { coupon, .. } => &[("/id", coupon)],
            Step::Quote { quote, .. } => &[("/id", quote)],
            Step::Place { order, fresh, .. } => &[("/id", order), ("/quote/id", fresh)],
            _ => &[],
        };
        for (pointer, name) in names {
            if let Some(id) = answer.pointer(pointer).and_then(Json::as_str) {
                self.names.learn(name, id);
                self.oracle.rank(name, id);
            }
        }
    }

    async fn send(&self, sent: &Sent) -> Reply {
        let client = self.client(sent.operator);
        let request = client.request(sent.method.clone(), &sent.path);
        let request = if sent.body.is_null() { request } else { request.json(&sent.body) };
        let mut request = request.build().expect("a request");
        request.headers_mut().insert("idempotency-key", sent.key.parse().expect("a key"));
        client.send_built(request).await
    }

    /// The same request twice at once: one effect, and one answer or a word that it is under way.
    async fn send_twice(&self, sent: &Sent) -> Result<Reply, Difference> {
        let (one, other) = tokio::join!(self.send(sent), self.send(sent));
        let in_flight = |reply: &Reply| reply.json["type"] == "urn:galenic:idempotency-key-in-flight";
        match (in_flight(&one), in_flight(&other)) {
            (true, true) => Err("both of two equal requests are told that the other is under way".to_owned()),
            (true, false) => Ok(other),
            (false, true) => Ok(one),
            (false, false) if one.status == other.status => {
                let both_done = one.status.is_success();
                if both_done && one.json != other.json {
                    return Err(format!("two equal requests: {:#} and {:#}", one.json, other.json));
                }
                Ok(one)
            }
            (false, false) => Err(format!("two equal requests: {:#} and {:#}", one.json, other.json)),
        }
    }

    /// The answer to a retry is the first answer, and nothing happens.
    async fn again(&self, of: usize) -> Result<(), Difference> {
        let Some(sent) = self.young(of) else { return Ok(()) };
        let reply = self.send(sent).await;
        if reply.header("idempotent-replayed") != "true" || reply.json != sent.answer {
            return Err(format!("a retry is answered with {:#} after {:#}", reply.json, sent.answer));
        }
        Ok(())
    }

    /// Another request with the same key is refused.
    async fn other(&self, of: usize) -> Result<(), Difference> {
        let Some(sent) = self.young(of).filter(|sent| sent.body.is_object()) else { return Ok(()) };
        let mut other = sent.clone();
        if sent.body.get("external_id").is_some() {
            other.body["external_id"] = json!("another");
        } else if sent.body.get("points").is_some_and(Json::is_number) {
            other.body["points"] = json!(77);
        } else if sent.body.get("reference").is_some() {
            other.body["reference"] = json!("another");
        } else {
            return Ok(());
        }
        let reply = self.send(&other).await;
        let refused = reply.json["type"] == "urn:galenic:idempotency-key-reused";
        if refused { Ok(()) } else { Err(format!("another body with a used key is answered with {:#}", reply.json)) }
    }

    /// A request whose key is surely remembered.
    fn young(&self, of: usize) -> Option<&Sent> {
        self.sent.get(&of).filter(|sent| self.oracle.now - sent.at < DAY)
    }

    fn request(&self, line: &Line) -> Sent {
        let id = |name: &String| self.names.id(name).to_owned();
        let post = |path: String, body: Json| (Method::POST, path, body, false);
        let of_order = |order: &String, step: &str| post(format!("/v1/orders/{}/{step}", id(order)), Json::Null);
        let (method, path, body, operator) = match &line.step {
            Step::Join { member, birthday } => {
                let body = json!({"external_id": member, "profile": {"birthday": birthday}});
                post("/v1/members".to_owned(), body)
            }
            Step::Product { product, price, category, class, stock } => {
                let product = json!({
                    "external_id": product, "name": product, "category": category, "class": class,
                    "list_price": cny(*price), "stock": stock,
                });
                post("/v1/products/import".to_owned(), json!({"products": [product]}))
            }
            Step::Offer(new) => (Method::POST, "/ops/v1/offers".to_owned(), new.body(), true),
            Step::Pause { offer } => (Method::POST, format!("/ops/v1/offers/{}/pause", id(offer)), Json::Null, true),
            Step::Resume { offer } => (Method::POST, format!("/ops/v1/offers/{}/resume", id(offer)), Json::Null, true),
            Step::Issue { coupon, offer, member } => {
                let body = json!({"external_id": coupon, "offer": id(offer), "member": id(member)});
                post("/v1/coupons".to_owned(), body)
            }
            Step::Adjust { member, points } => {
                let path = format!("/v1/members/{}/points/adjustments", id(member));
                (Method::POST, path, json!({"points": points, "reason": "simulated"}), true)
            }
            Step::Quote { member, lines, coupon, points, delivery, .. } => {
                let line = |(product, quantity): &(String, i64)| json!({"external_id": product, "quantity": quantity});
                let body = json!({
                    "member": id(member), "lines": lines.iter().map(line).collect::<Vec<_>>(),
                    "coupon": coupon.as_ref().map(id), "points": points, "delivery_fee": cny(*delivery),
                });
                post("/v1/quotes".to_owned(), body)
            }
            Step::Place { order, quote, cash, .. } => {
                let body = json!({"quote": id(quote), "external_id": order, "cash_on_delivery": cash});
                post("/v1/orders".to_owned(), body)
            }
            Step::Pay { order, off } => {
                let found = &self.oracle.orders[order];
                let amount = i64::try_from(found.price.payable()).expect("fits") + off;
                let method = if found.cash_on_delivery { "cash-on-delivery" } else { "wechat-pay" };
                let body = json!({"reference": format!("pay-{}", line.n), "method": method, "amount": cny(amount)});
                post(format!("/v1/orders/{}/payment", id(order)), body)
            }
            Step::Ship { order } => of_order(order, "shipment"),
            Step::Deliver { order } => of_order(order, "delivery"),
            Step::Cancel { order } => of_order(order, "cancellation"),
            Step::Refund { order, lines, cause } => {
                let line = |(at, quantity): &(usize, i64)| json!({"line": at, "quantity": quantity});
                let lines = lines.as_ref().map(|lines| lines.iter().map(line).collect::<Vec<_>>());
                post(format!("/v1/orders/{}/refunds", id(order)), json!({"cause": cause, "lines": lines}))
            }
            Step::Wait { millis } => {
                let now = jiff::Timestamp::from_millisecond(self.oracle.now + millis).expect("an instant");
                (Method::PUT, "/ops/v1/clock".to_owned(), json!({"now": now}), true)
            }
            Step::Again { .. } | Step::Other { .. } | Step::Restart => unreachable!("no request of its own"),
        };
        let (key, at) = (format!("sim-{}", line.n), self.oracle.now);
        Sent { method, path, body, key, operator, at, answer: Json::Null }
    }

    /// Compares whatever the step was about, and whatever the oracle says has changed.
    async fn compare_touched(&self, step: &Step, before: &Oracle) -> Result<(), Difference> {
        let order = match step {
            Step::Place { order, .. }
            | Step::Pay { order, .. }
            | Step::Ship { order }
            | Step::Deliver { order }
            | Step::Cancel { order }
            | Step::Refund { order, .. } => Some(order),
            _ => None,
        };
        let member = match step {
            Step::Join { member, .. }
            | Step::Issue { member, .. }
            | Step::Adjust { member, .. }
            | Step::Quote { member, .. } => Some(member),
            _ => order.and_then(|order| self.oracle.orders.get(order)).map(|order| &order.member),
        };
        let waited = matches!(step, Step::Wait { .. });
        for name in self.oracle.members.keys().filter(|name| waited || Some(*name) == member) {
            self.compare_member(name).await?;
        }
        for name in self.oracle.coupons.keys() {
            let changed = before.coupons.get(name).is_none_or(|before| before.state != self.oracle.coupons[name].state);
            if changed {
                self.compare_coupon(name).await?;
            }
        }
        for name in self.oracle.orders.keys().filter(|_| waited) {
            if before.orders[name].state != self.oracle.orders[name].state {
                self.compare_order(name).await?;
            }
        }
        Ok(())
    }

    async fn compare_all(&self) -> Result<(), Difference> {
        for name in self.oracle.members.keys() {
            self.compare_member(name).await?;
        }
        for name in self.oracle.orders.keys() {
            self.compare_order(name).await?;
        }
        for name in self.oracle.coupons.keys() {
            self.compare_coupon(name).await?;
        }
        let report = self.app().operator.post("/ops/v1/verify", Json::Null).await.json;
        if report["sound"] != true || report["ledger"]["sum"] != 0 {
            return Err(format!("the books do not close: {report:#}"));
        }
        Ok(())
    }

    async fn compare_member(&self, name: &str) -> Result<(), Difference> {
        let path = format!("/v1/members/{}", self.names.id(name));
        let shown = self.app().shop.get(&path).await.json;
        self.same(name, &self.oracle.member(name), &shown)?;
        let shown = self.app().shop.get(&format!("{path}/points")).await.json;
        self.same(&format!("{name}'s points"), &self.oracle.points(name), &shown)
    }

    async fn compare_order(&self, name: &str) -> Result<(), Difference> {
        let shown = self.app().shop.get(&format!("/v1/orders/{}", self.names.id(name))).await.json;
        self.same(name, &self.oracle.order(name), &shown)
    }

    async fn compare_coupon(&self, name: &str) -> Result<(), Difference> {
        let shown = self.app().shop.get(&format!("/v1/coupons/{}", self.names.id(name))).await.json;
        self.same(name, &self.oracle.coupon(name), &shown)
    }
}

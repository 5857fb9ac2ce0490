//! Does a script's steps to the engine, over HTTP, and to the oracle, and compares after every step.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::{
    compare::Names,
    requests::active,
    script::{Line, Step},
    server::{Kind, Releases, Server, release},
};
use crate::{
    app::{Client, Reply},
    oracle::{Answer, DAY, Oracle},
};

/// Everything is compared, and the books are re-added, every so many steps.
const WHOLE_EVERY: usize = 100;
/// When the clock of a script starts: 2026-03-01T04:00:00Z.
const START: i64 = 1_772_337_600_000;

/// A request as it was sent, and what came of it.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Json,
    pub(super) key: String,
    pub(super) operator: bool,
    pub(super) at: i64,
    pub(super) answer: Json,
}

/// The engine and the oracle side by side.
pub(crate) struct World {
    pub(super) server: Server,
    pub(super) releases: Releases,
    pub(crate) oracle: Oracle,
    pub(super) names: Names,
    sent: BTreeMap<usize, Sent>,
    steps: usize,
}

/// What differs first, in words.
pub(crate) type Difference = String;

impl World {
    pub(crate) async fn start(kind: Kind) -> Self {
        let server = Server::start(kind).await;
        let releases = release(&server).await;
        let (oracle, names, sent) = (Oracle::new(START), Names::default(), BTreeMap::new());
        Self { server, releases, oracle, names, sent, steps: 0 }
    }

    /// Compares everything once more, and stops.
    pub(crate) async fn end(self) -> Result<(), Difference> {
        self.compare_all().await?;
        self.server.stop()
    }

    fn client(&self, operator: bool) -> &Client {
        if operator { self.server.operator() } else { self.server.shop() }
    }

    /// Does one line; the first difference.
    pub(crate) async fn step(&mut self, line: &Line) -> Result<(), Difference> {
        if !line.step.makes_sense(&self.oracle) {
            return Ok(());
        }
        self.steps += 1;
        let before = self.oracle.clone();
        match &line.step {
            Step::Restart => self.server.restart(self.oracle.now).await,
            Step::Crash => self.server.crash(self.oracle.now).await,
            Step::Again { of } => self.again(*of).await?,
            Step::Other { of } => self.other(*of).await?,
            _ => self.act(line).await?,
        }
        self.compare_touched(&line.step, &before).await?;
        if self.steps.is_multiple_of(WHOLE_EVERY) || matches!(line.step, Step::Restart | Step::Crash) {
            self.compare_all().await?;
        }
        Ok(())
    }

    async fn set_clock(&self, now: i64) {
        let now = Timestamp::from_millisecond(now).expect("an instant");
        self.server.operator().put("/ops/v1/clock", json!({"now": now})).await.expect(200);
    }

    async fn act(&mut self, line: &Line) -> Result<(), Difference> {
        let mut request = self.request(line);
        let now = self.oracle.now;
        let expected = line.step.tell(&mut self.oracle);
        let reply = match line {
            Line { kill: Some(micros), .. } => self.send_and_kill(&request, &expected, *micros, now).await?,
            Line { twice: true, .. } => self.send_twice(&request).await?,
            Line { swap: true, .. } => self.send_and_swap(&request).await,
            _ => self.send(&request).await,
        };
        let status = reply.status.as_u16();
        self.learn(line, &reply.json).await;
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
            self.set_clock(self.oracle.now).await;
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

    /// Keeps the ids of what was made.
    async fn learn(&mut self, line: &Line, answer: &Json) {
        if let Step::Product { product, .. } = &line.step {
            let found = self.server.shop().get(&format!("/v1/products/by-external-id/{product}")).await.json;
            self.names.learn(product, found["id"].as_str().unwrap_or("never-made"));
        }
        let names: &[(&str, &String)] = match &line.step {
            Step::Join { member, .. } => &[("/id", member)],
            Step::Offer(new) => &[("/id", &new.offer)],
            Step::Issue { coupon, .. } => &[("/id", coupon)],
            Step::Quote { quote, .. } => &[("/id", quote)],
            Step::Place { order, fresh, .. } => &[("/id", order), ("/quote/id", fresh)],
            Step::Prescribe { prescription, .. } => &[("/id", prescription)],
            Step::Gift { gift, .. } => &[("/id", gift)],
            Step::Take { redemption, coupon, .. } => &[("/id", redemption), ("/coupon", coupon)],
            _ => &[],
        };
        for (pointer, name) in names {
            if let Some(id) = answer.pointer(pointer).and_then(Json::as_str) {
                self.names.learn(name, id);
                self.oracle.rank(name, id);
            }
        }
    }

    fn built(&self, sent: &Sent) -> reqwest::Request {
        let client = self.client(sent.operator);
        let request = client.request(sent.method.clone(), &sent.path);
        let request = if sent.body.is_null() { request } else { request.json(&sent.body) };
        let mut request = request.build().expect("a request");
        request.headers_mut().insert("idempotency-key", sent.key.parse().expect("a key"));
        request
    }

    async fn send(&self, sent: &Sent) -> Reply {
        self.client(sent.operator).send_built(self.built(sent)).await
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

    /// The request while the coupon policy is swapped for one that says the same, and back.
    async fn send_and_swap(&self, sent: &Sent) -> Reply {
        let [one, other] = self.releases.coupon[usize::from(self.oracle.no_devices)];
        let swap = async {
            for number in [other, one] {
                let (method, path, body, _) = active("coupon", number);
                let operator = self.server.operator();
                operator.send(operator.request(method, &path).json(&body)).await.expect(200);
            }
        };
        tokio::join!(self.send(sent), swap).0
    }

    /// The request to an engine that is killed soon after, and the same once more to the one that comes after it. Who was
    /// answered before gets that answer again.
    async fn send_and_kill(
        &mut self,
        sent: &Sent,
        expected: &Answer,
        micros: u64,
        now: i64,
    ) -> Result<Reply, Difference> {
        let (client, request) = (self.client(sent.operator).clone(), self.built(sent));
        let first = tokio::spawn(async move { client.try_built(request).await });
        self.server.crash_in(micros, now).await;
        let first = first.await.expect("no panic");
        let again = self.send(sent).await;
        match first {
            Ok(first) if first.status.is_success() && sent.method == Method::POST => {
                if again.header("idempotent-replayed") != "true" || again.json != first.json {
                    return Err(format!("a retry after a crash: {:#} after {:#}", again.json, first.json));
                }
            }
            Ok(first) => self.check(expected, first.status.as_u16(), &first.json)?,
            Err(_) => {}
        }
        Ok(again)
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
}

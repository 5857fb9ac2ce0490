//! Kills the server at random times while messages flow: no key reaches a vendor twice with effect, and none is missing.
//!
//! The server is a child process over one data directory; the vendors live in this process, so they remember everything.
//! One drops what it has seen, by its `webhook-id`; the other sends whatever it gets, as the vendors of text messages do:
//! there an attempt that was cut off is nobody's to repeat, and an operator finds it among the stuck.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use crate::{
    app::{share_artefacts, text},
    channels::{SMS_SECRET, WEBHOOK_SECRET, sms_signed, webhook_signed},
    program::{galenic, run},
    store_crash::Chance,
    vendor::{Arrived, Reply, Vendor},
};

/// Sets where the kills come; printed when the test fails.
const SEED: &str = "GALENIC_CRASH_SEED";
const ROUNDS: u64 = 300;
/// A kill comes at most so many microseconds after the server is ready, or after it was started.
const FLOW_MICROS: u64 = 60_000;
const START_MICROS: u64 = 300_000;
const CLIENTS: usize = 3;
const MEMBERS: usize = 12;
/// Messages that were asked for and have not arrived: enough that some are always under way.
const WAITING_MAX: usize = 60;
/// What has not arrived after so many lives of the server may never do so.
const LIVES_WAITED: u64 = 4;
/// By the server's clock: an attempt that was cut off is repeated in the next life.
const BETWEEN_LIVES: SignedDuration = SignedDuration::from_secs(7);
const START: &str = "2026-03-01T04:00:00Z";
/// Templates, by where they go: to the vendor that drops what it has seen, to the other, and to those who agreed.
const HOOK: &str = "hook";
const TEXT: &str = "text";
const SALE: &str = "sale";

/// What the vendors got.
#[derive(Default)]
struct Taken {
    /// What the vendor of webhooks acted upon.
    hooks: BTreeSet<String>,
    /// Webhooks that it had seen, and did not act upon again.
    repeats: usize,
    /// How often the vendor of text messages sent each.
    texts: BTreeMap<String, usize>,
}

impl Taken {
    fn has(&self, key: &str) -> bool {
        self.hooks.contains(key) || self.texts.contains_key(key)
    }
}

/// A request for touches, made again with the same key until it is acknowledged.
struct Ask {
    key: String,
    body: Json,
}

/// What was asked, what is still to be asked again, and what the server promised: touches by their asker's key.
#[derive(Default)]
struct Asked {
    members: Vec<String>,
    number: usize,
    again: VecDeque<Ask>,
    promised: BTreeMap<String, String>,
    /// Lives of the server so far.
    life: u64,
    /// Delivery keys of promised touches that are to arrive, and the life in which they were.
    keys: BTreeMap<String, u64>,
}

impl Asked {
    /// The next request: one that was cut off, or a new one if few are under way.
    fn next(&mut self, taken: &Taken) -> Option<Ask> {
        if let Some(ask) = self.again.pop_front() {
            return Some(ask);
        }
        self.keys.retain(|key, life| !taken.has(key) && *life + LIVES_WAITED > self.life);
        if self.keys.len() >= WAITING_MAX {
            return None;
        }
        self.number += 1;
        let touch = |at: usize| {
            let number = self.number + at;
            let template = [HOOK, TEXT, HOOK, TEXT, SALE][number % 5];
            json!({
                "member": self.members[number % MEMBERS], "template": template,
                "dedupe": format!("{template}-{}-{at}", self.number), "variables": {"n": self.number.to_string()},
            })
        };
        let touches: Vec<Json> = (0..1 + self.number % 3).map(touch).collect();
        Some(Ask { key: format!("ask-{}", self.number), body: json!({"touches": touches}) })
    }

    fn acknowledged(&mut self, ask: &Ask, ids: &Json) {
        let touches = ask.body["touches"].as_array().expect("touches");
        for (touch, id) in touches.iter().zip(ids.as_array().expect("ids")) {
            let (dedupe, id) = (text(&touch["dedupe"]), text(id));
            if touch["template"] != SALE {
                self.keys.insert(key_of(&id), self.life);
            }
            assert_eq!(self.promised.insert(dedupe, id), None, "each is acknowledged once");
        }
    }
}

fn key_of(id: &str) -> String {
    id.trim_start_matches("tch_").to_owned()
}

/// The server as a process, killed when dropped.
pub(crate) struct Served {
    process: Child,
    address: Option<oneshot::Receiver<String>>,
    log: Option<JoinHandle<VecDeque<String>>>,
}

impl Served {
    /// Begins to start over a directory, at a time of its own.
    pub(crate) fn start(data: &TempDir, now: Timestamp) -> Self {
        let (data, now) = (data.path().to_str().expect("a path"), now.to_string());
        let arguments = ["serve", "--data", data, "--listen", "127.0.0.1:0", "--log", "json", "--dev", "--clock", &now];
        let mut command = galenic(&arguments);
        command.env("GALENIC__STORE__CACHE_MB", "16").env("GALENIC__STORE__RESERVE_MB", "1");
        command.env("GALENIC__PLUGINS__SANDBOXES", "16").env("GALENIC__LOG__LEVEL", "info,galenic::http=warn");
        command.env("GALENIC_SECRET_SMS_KEY", SMS_SECRET).env("GALENIC_SECRET_WEBHOOK", WEBHOOK_SECRET);
        let mut process = command.stdout(Stdio::null()).spawn().expect("starts");
        let lines = BufReader::new(process.stderr.take().expect("is piped")).lines();
        let (tell, address) = oneshot::channel();
        let log = thread::spawn(move || {
            let (mut tell, mut last) = (Some(tell), VecDeque::new());
            for line in lines.map_while(Result::ok) {
                let said: Json = serde_json::from_str(&line).unwrap_or_default();
                if let Some(tell) = said["address"].as_str().and_then(|_| tell.take()) {
                    let _gone = tell.send(format!("http://{}", text(&said["address"])));
                }
                last.push_back(line);
                if last.len() > 40 {
                    last.pop_front();
                }
            }
            last
        });
        Self { process, address: Some(address), log: Some(log) }
    }

    /// Where it serves.
    pub(crate) async fn ready(&mut self) -> String {
        let address = self.address.take().expect("is asked once");
        match tokio::time::timeout(Duration::from_secs(60), address).await {
            Ok(Ok(address)) => address,
            _ => panic!("the server does not start: {:#?}", self.end(Signal::KILL)),
        }
    }

    /// Ends it by a signal; the end of its log.
    pub(crate) fn end(&mut self, signal: Signal) -> VecDeque<String> {
        let ended = self.process.try_wait().expect("can be asked");
        let id = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("a process");
        if ended.is_none() {
            kill_process(id, signal).expect("is told");
        }
        self.process.wait().expect("ends");
        let log = self.log.take().expect("is read").join().expect("is text");
        assert!(ended.is_none(), "the server ended by itself: {log:#?}");
        log
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
        if let Some(log) = self.log.take().filter(|_| thread::panicking()) {
            println!("the server's last words: {:#?}", log.join());
        }
    }
}

/// Asks a server as its operator.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
}

impl Client {
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: &Json,
    ) -> Result<(u16, Json), reqwest::Error> {
        let request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth("the-operators-own-key");
        let request = request.timeout(Duration::from_secs(30)).header("idempotency-key", key);
        let answer = if body.is_null() { request } else { request.json(body) }.send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await?))
    }

    pub(crate) async fn done(&self, method: Method, path: &str, key: &str, body: Json) -> Json {
        let (status, answer) = self.send(method, path, key, &body).await.expect("an answer");
        assert!((200..300).contains(&status), "{path}: {status} {answer:#}");
        answer
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: Json) -> Json {
        self.done(Method::POST, path, key, body).await
    }

    async fn get(&self, path: &str) -> Json {
        self.done(Method::GET, path, "none", Json::Null).await
    }

    async fn list(&self, path: &str) -> Vec<Json> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}?limit=200{cursor}")).await;
            items.extend(page["items"].as_array().expect("items").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}

struct World {
    data: TempDir,
    http: reqwest::Client,
    hooks: Vendor,
    texts: Vendor,
    taken: Arc<Mutex<Taken>>,
    asked: Arc<Mutex<Asked>>,
    chance: Chance,
    now: Timestamp,
}

/// A vendor takes its time before it takes a message, and after; up to two milliseconds each.
fn dawdle(chance: &Mutex<Chance>) {
    let micros = chance.lock().unwrap().below(2_000);
    thread::sleep(Duration::from_micros(micros));
}

fn hooks(taken: &Mutex<Taken>, arrived: &Arrived) -> Reply {
    assert!(webhook_signed(arrived), "{arrived:?}");
    let mut taken = taken.lock().unwrap();
    let key = arrived.header("webhook-id").to_owned();
    let id = json!({"id": format!("h-{key}")}).to_string();
    if !taken.hooks.insert(key) {
        taken.repeats += 1;
    }
    (200, vec![], id)
}

fn texts(taken: &Mutex<Taken>, arrived: &Arrived) -> Reply {
    assert_eq!(sms_signed(arrived), Ok(()), "{arrived:?}");
    let query = arrived.target.split_once('?').expect("a query").1;
    let key = query.split('&').find_map(|part| part.strip_prefix("OutId=")).expect("a key").to_owned();
    let body = json!({"Code": "OK", "Message": "OK", "BizId": format!("s-{key}"), "RequestId": "r"}).to_string();
    *taken.lock().unwrap().texts.entry(key).or_default() += 1;
    (200, vec![], body)
}

impl World {
    /// A deployment with members, two channels and their texts.
    async fn new(seed: u64) -> Self {
        galenic::plugin::use_ring();
        let taken = Arc::<Mutex<Taken>>::default();
        let vendor = |answer: fn(&Mutex<Taken>, &Arrived) -> Reply, seed| {
            let (taken, chance) = (Arc::clone(&taken), Mutex::new(Chance(seed)));
            Vendor::start(move |arrived| {
                dawdle(&chance);
                let reply = answer(&taken, arrived);
                dawdle(&chance);
                Some(reply)
            })
        };
        let (hooks, texts) = (vendor(hooks, seed ^ 1), vendor(texts, seed ^ 2));
        let data = TempDir::new().expect("a directory");
        share_artefacts(data.path());
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let (asked, now) = (Arc::default(), START.parse().expect("a time"));
        let world = Self { data, http, hooks, texts, taken, asked, chance: Chance(seed), now };
        let (mut served, client) = world.serve().await;
        world.set_up(&client).await;
        served.end(Signal::KILL);
        world
    }

    async fn serve(&self) -> (Served, Client) {
        let mut served = Served::start(&self.data, self.now);
        let url = served.ready().await;
        (served, Client { http: self.http.clone(), url })
    }

    async fn set_up(&self, client: &Client) {
        let grants = |vendor: &Vendor, secret: &str| {
            let place = json!({"scheme": "http", "host": "127.0.0.1", "port": vendor.address.port(), "private": true});
            json!({"http": [place], "secrets": [secret]})
        };
        let hooks = json!({"url": self.hooks.url("/messages"), "secret": "webhook"});
        let texts = json!({"access_key_id": "AK", "secret": "sms-key", "endpoint": self.texts.url("")});
        let modules = client.list("/ops/v1/modules").await;
        let channels =
            [("webhook", hooks, grants(&self.hooks, "webhook")), ("sms", texts, grants(&self.texts, "sms-key"))];
        for (name, config, grants) in channels {
            let module = modules.iter().find(|module| module["name"] == format!("channel-{name}"));
            let digest = &module.expect("is built in")["digest"];
            let slot = format!("/ops/v1/slots/channel.{name}");
            let release = json!({"module": digest, "config": config, "grants": grants});
            let release = client.post(&format!("{slot}/releases"), &format!("l-{name}"), release).await;
            let live = json!({"number": release["number"]});
            client.done(Method::PUT, &format!("{slot}/active"), name, live).await;
        }
        let templates =
            [(HOOK, "transactional", "webhook"), (TEXT, "transactional", "sms"), (SALE, "marketing", "webhook")];
        for (code, class, channel) in templates {
            let variant = json!({
                "code": code, "class": class, "channel": channel, "language": "zh-CN", "text": "您的订单{{ n }}已发货",
                "variables": ["n"], "vendor_template_id": "SMS_1", "signature": "康宁药房",
            });
            let version = client.post("/ops/v1/templates", &format!("t-{code}"), variant).await["version"].clone();
            let which = json!({"code": code, "channel": channel, "language": "zh-CN", "version": version});
            client.post("/ops/v1/templates/approvals", &format!("a-{code}"), which).await;
        }
        for number in 0..MEMBERS {
            let profile = json!({"phone": format!("+86138000000{number:02}")});
            let member = json!({"external_id": format!("m-{number}"), "profile": profile});
            let member = text(&client.post("/v1/members", &format!("m-{number}"), member).await["id"]);
            if number % 2 == 0 {
                let said = json!({"granted": true, "text_version": "1", "evidence": "archive/1", "source": "app"});
                let path = format!("/v1/members/{member}/consents/marketing/webhook");
                client.done(Method::PUT, &path, &format!("c-{number}"), said).await;
            }
            self.asked.lock().unwrap().members.push(member);
        }
    }

    /// One life of the server; whether it was killed while requests came.
    async fn round(&mut self) -> bool {
        self.now += BETWEEN_LIVES;
        self.asked.lock().unwrap().life += 1;
        if self.chance.below(5) == 0 {
            let mut served = Served::start(&self.data, self.now);
            tokio::time::sleep(Duration::from_micros(self.chance.below(START_MICROS))).await;
            served.end(Signal::KILL);
            return false;
        }
        let (mut served, client) = self.serve().await;
        let mut clients = JoinSet::new();
        let (first, mut answered) = mpsc::unbounded_channel();
        for _ in 0..CLIENTS {
            let (client, first) = (client.clone(), first.clone());
            clients.spawn(ask_until_killed(client, Arc::clone(&self.asked), Arc::clone(&self.taken), first));
        }
        drop(first);
        if self.chance.below(2) == 0 {
            // Or until nobody has anything to ask.
            let _first = answered.recv().await;
        }
        tokio::time::sleep(Duration::from_micros(self.chance.below(FLOW_MICROS))).await;
        served.end(Signal::KILL);
        clients.join_all().await.into_iter().sum::<usize>() > 0
    }

    /// Has everything sent that can be: asks again for what was cut off, and lets the waits between attempts pass.
    async fn drain(&mut self, client: &Client) {
        loop {
            let Some(ask) = self.asked.lock().unwrap().again.pop_front() else { break };
            let ids = client.post("/v1/touches", &ask.key, ask.body.clone()).await["touches"].clone();
            self.asked.lock().unwrap().acknowledged(&ask, &ids);
        }
        let begun = Instant::now();
        loop {
            self.now += SignedDuration::from_secs(31);
            client.done(Method::PUT, "/ops/v1/clock", "none", json!({"now": self.now})).await;
            let totals = client.get("/ops/v1/touches/totals").await;
            let rows = totals["rows"].as_array().expect("rows");
            if rows.iter().all(|row| row["pending"] == 0 && row["sending"] == 0) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "some never end: {totals:#}");
        }
    }

    /// The vendor that drops what it has seen may get any of its messages again: an operator sends those that were cut
    /// off too often.
    async fn retry_hooks(&self, client: &Client) -> usize {
        let stuck = client.list("/ops/v1/touches/stuck").await;
        let hooks: Vec<String> =
            stuck.iter().filter(|touch| touch["channel"] == "webhook").map(|touch| text(&touch["id"])).collect();
        for id in &hooks {
            client.post(&format!("/ops/v1/touches/{id}/retry"), &format!("r-{id}"), Json::Null).await;
        }
        hooks.len()
    }

    /// Holds every touch against what the vendors got; how many stand where.
    async fn check(&self, client: &Client) -> BTreeMap<String, u64> {
        let members = self.asked.lock().unwrap().members.clone();
        let stuck: BTreeSet<String> =
            client.list("/ops/v1/touches/stuck").await.iter().map(|touch| text(&touch["id"])).collect();
        let mut touches = Vec::new();
        for member in members {
            touches.extend(client.list(&format!("/v1/members/{member}/touches")).await);
        }
        let (taken, asked) = (self.taken.lock().unwrap(), self.asked.lock().unwrap());
        let (mut found, mut states) = (BTreeMap::new(), BTreeMap::<String, u64>::new());
        for touch in touches {
            let (id, state) = (text(&touch["id"]), text(&touch["state"]));
            let sent = (taken.hooks.contains(&key_of(&id)), taken.texts.get(&key_of(&id)).copied().unwrap_or(0));
            let right = match (text(&touch["template"]).as_str(), state.as_str()) {
                (HOOK | SALE, "sent") => sent == (true, 0),
                (SALE, "deferred" | "dropped") => sent == (false, 0),
                (TEXT, "sent") => sent == (false, 1),
                (TEXT, "unknown") => !sent.0 && sent.1 <= 1 && stuck.contains(&id),
                _ => false,
            };
            assert!(right, "the vendors took {sent:?} of {touch:#}");
            *states.entry(state).or_default() += 1;
            assert_eq!(found.insert(text(&touch["dedupe"]), id), None, "one was made twice: {touch:#}");
        }
        assert_eq!(found, asked.promised, "what was promised is there, and nothing else");
        let keys: BTreeSet<String> = found.values().map(|id| key_of(id)).collect();
        for key in taken.hooks.iter().chain(taken.texts.keys()) {
            assert!(keys.contains(key), "nobody asked for {key}");
        }
        states
    }
}

/// Asks until the server is gone, or enough is under way; how many requests were acknowledged.
async fn ask_until_killed(
    client: Client,
    asked: Arc<Mutex<Asked>>,
    taken: Arc<Mutex<Taken>>,
    answered: mpsc::UnboundedSender<()>,
) -> usize {
    let mut acknowledged = 0;
    loop {
        let Some(ask) = asked.lock().unwrap().next(&taken.lock().unwrap()) else { return acknowledged };
        let answer = client.send(Method::POST, "/v1/touches", &ask.key, &ask.body).await;
        let mut asked = asked.lock().unwrap();
        match answer {
            Ok((201, ids)) => asked.acknowledged(&ask, &ids["touches"]),
            Ok((status, problem)) => panic!("{status} {problem:#}"),
            Err(_) => {
                asked.again.push_front(ask);
                return acknowledged;
            }
        }
        let _heard = answered.send(());
        acknowledged += 1;
    }
}

/// Says where to begin again if the test fails.
pub(crate) struct Seed(u64);

impl Seed {
    /// The one that was asked for, or this one.
    pub(crate) fn or(standard: u64) -> Self {
        Self(std::env::var(SEED).map_or(standard, |seed| seed.parse().expect("a number")))
    }

    /// The number.
    pub(crate) fn number(&self) -> u64 {
        self.0
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("the kills came by {SEED}={}", self.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_kills_send_nothing_twice_and_lose_nothing() {
    let seed = Seed::or(3);
    let mut world = World::new(seed.number()).await;
    let mut under_way = 0;
    for _ in 0..ROUNDS {
        under_way += u64::from(world.round().await);
    }
    let (mut served, client) = world.serve().await;
    world.drain(&client).await;
    let retried = world.retry_hooks(&client).await;
    world.drain(&client).await;
    let states = world.check(&client).await;
    let totals = client.get("/ops/v1/touches/totals").await;
    let count = |name: &str| totals[name].as_u64().expect("a count");
    for (state, column) in
        [("sent", "sent"), ("deferred", "deferred"), ("dropped", "dropped"), ("unknown", "in_flight")]
    {
        assert_eq!(states.get(state).copied().unwrap_or(0), count(column), "{state}: {totals:#}");
    }
    assert_eq!(count("candidates"), states.values().sum::<u64>(), "{totals:#}");
    served.end(Signal::TERM);
    let (code, said) = run(&["verify", "--data", world.data.path().to_str().expect("a path")]);
    assert!(code == 0 && said.contains("the books close"), "{code} {said}");
    let repeats = world.taken.lock().unwrap().repeats;
    println!(
        "requests were answered in {under_way} of {ROUNDS} rounds; {states:?}, {repeats} repeated, {retried} by hand"
    );
    let cut_off = states.get("unknown").copied().unwrap_or(0);
    assert!(under_way >= ROUNDS / 5 && repeats > 0 && cut_off > 0, "kills come too early to prove anything");
}

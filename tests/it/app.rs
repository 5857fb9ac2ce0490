//! A whole server on a free port, over real TCP, with a directory and a clock of its own.
//!
//! [`TestApp::start`] is the way in. Each helper does one thing a partner or an operator would do and gives what the
//! server answered. When it goes away, the books must close.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use galenic::{
    app::{App, Running},
    cli::config::{Config, Secrets},
    clock::Clock,
    ids::Ids,
    plugin::Secret,
};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

const OPERATOR_KEY: &str = "the-operators-own-key";
const MASTER_KEY: [u8; 32] = [7; 32];
/// What the channel `channel-webhook` signs with in tests: `whsec_` and base64 of 24 times `k`.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_a2tra2tra2tra2tra2tra2tra2tra2tr";
const START: &str = "2026-03-01T04:00:00Z";

/// Scopes of a shop: everything under `/v1`.
pub(crate) const SHOP_SCOPES: &[&str] = &[
    "members:read",
    "members:write",
    "members:personal",
    "catalogue:read",
    "catalogue:write",
    "coupons:read",
    "coupons:write",
    "orders:read",
    "orders:write",
    "points:read",
    "prescriptions:read",
    "prescriptions:write",
    "activities:write",
    "gifts:write",
    "touches:read",
    "touches:write",
];

/// A server under test.
pub(crate) struct TestApp {
    /// Asks with a shop's key.
    pub(crate) shop: Client,
    /// Asks with the operator's key.
    pub(crate) operator: Client,
    running: Option<Running>,
    dir: Option<TempDir>,
    config: Config,
}

/// Asks one server with one key.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    key: Option<String>,
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Json,
}

impl TestApp {
    /// A new deployment with the reference plugins, one shop and a clock that stands still.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same with another configuration.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = TempDir::new().expect("a directory");
        share_artefacts(dir.path());
        let mut config = Config::standard();
        config.store.data = dir.path().to_owned();
        config.store.reserve_mb = 1;
        config.store.cache_mb = 16;
        config.plugins.sandboxes = 8;
        change(&mut config);
        let start: Timestamp = START.parse().expect("a time");
        let running = open(&config, start).await;
        let operator = Client::new(&running, Some(OPERATOR_KEY));
        let partner = operator.post("/ops/v1/partners", json!({"name": "shop"})).await.expect(201);
        let key = json!({"partner": partner["id"], "name": "shop", "scopes": SHOP_SCOPES});
        let key = operator.post("/ops/v1/keys", key).await.expect(201);
        let shop = Client::new(&running, key["secret"].as_str());
        Self { shop, operator, running: Some(running), dir: Some(dir), config }
    }

    /// Stops the server in order and starts it again on the same directory, at the time it had.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// The same with another configuration.
    pub(crate) async fn restart_with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        let running = self.running.take().expect("runs");
        let now = running.services().clock.now();
        running.stop().await.expect("stops in order");
        let running = open(&self.config, now).await;
        let operator = Client::new(&running, Some(OPERATOR_KEY));
        let shop = Client::new(&running, self.shop.key.as_deref());
        let (dir, config) = (self.dir.take(), self.config.clone());
        Self { shop, operator, running: Some(running), dir, config }
    }

    /// The use cases behind the server.
    pub(crate) fn services(&self) -> &galenic::service::Services {
        self.running.as_ref().expect("runs").services()
    }

    /// Takes the running server out, to stop it by hand.
    pub(crate) fn take_running(&mut self) -> Running {
        self.running.take().expect("runs")
    }

    /// Counts every order that was paid towards recommendations.
    pub(crate) async fn count_baskets(&self) {
        let services = self.running.as_ref().expect("runs").services();
        while services.advance_recommendations().await.expect("counts") > 0 {}
    }

    /// A client without a key.
    pub(crate) fn anonymous(&self) -> Client {
        Client { key: None, ..self.shop.clone() }
    }

    /// A client whose key has these scopes, of a partner of its own.
    pub(crate) async fn client(&self, scopes: &[&str]) -> Client {
        let partner = self.operator.post("/ops/v1/partners", json!({"name": "another"})).await.expect(201);
        let key = json!({"partner": partner["id"], "name": "another", "scopes": scopes});
        let key = self.operator.post("/ops/v1/keys", key).await.expect(201);
        Client { key: key["secret"].as_str().map(str::to_owned), ..self.shop.clone() }
    }

    /// Lets time pass; every timer due by then has fired.
    pub(crate) async fn wait(&self, time: SignedDuration) {
        let now = self.operator.get("/ops/v1/clock").await.expect(200);
        let now: Timestamp = now["now"].as_str().and_then(|text| text.parse().ok()).expect("a time");
        let then = now.checked_add(time).expect("a time");
        self.operator.put("/ops/v1/clock", json!({"now": then})).await.expect(200);
    }

    /// Registers a member; their id.
    pub(crate) async fn member(&self, external_id: &str) -> String {
        let member = self.shop.post("/v1/members", json!({"external_id": external_id})).await.expect(201);
        text(&member["id"])
    }

    /// Puts a food supplement into the catalogue, at a price in fen.
    pub(crate) async fn product(&self, external_id: &str, price: i64) {
        self.product_of_class(external_id, price, "food").await;
    }

    /// The same with a class.
    pub(crate) async fn product_of_class(&self, external_id: &str, price: i64, class: &str) {
        let product = json!({
            "external_id": external_id, "name": external_id, "category": "VITAMINS", "class": class,
            "list_price": cny(price),
        });
        self.shop.post("/v1/products/import", json!({"products": [product]})).await.expect(200);
    }

    /// Defines an offer over the standard coupon policy; its id.
    pub(crate) async fn offer(&self, code: &str, class: &str, terms: Json) -> String {
        let offer = json!({
            "code": code, "name_zh_cn": code, "name_en": code, "class": class, "terms": terms, "valid_days": 30,
            "returns_on_refund": true,
        });
        text(&self.operator.post("/ops/v1/offers", offer).await.expect(201)["id"])
    }

    /// Issues a coupon; its id.
    pub(crate) async fn coupon(&self, offer: &str, member: &str) -> String {
        let coupon = self.shop.post("/v1/coupons", json!({"offer": offer, "member": member})).await.expect(201);
        text(&coupon["id"])
    }

    /// Asks a price for one of each product.
    pub(crate) async fn quote(&self, member: &str, products: &[&str]) -> Json {
        self.shop.post("/v1/quotes", cart(member, products)).await.expect(201)
    }

    /// Places an order for one of each product.
    pub(crate) async fn order(&self, member: &str, products: &[&str]) -> Json {
        let quote = self.quote(member, products).await;
        self.shop.post("/v1/orders", json!({"quote": quote["id"]})).await.expect(201)
    }

    /// Pays an order in full.
    pub(crate) async fn pay(&self, order: &Json) -> Json {
        let payment = json!({
            "reference": format!("pay-{}", text(&order["id"])), "method": "wechat-pay",
            "amount": order["price"]["payable"],
        });
        self.shop.post(&format!("/v1/orders/{}/payment", text(&order["id"])), payment).await.expect(200)
    }

    /// Uploads a prescription of a member for items of products; as the server shows it.
    pub(crate) async fn prescribe(&self, member: &str, name: &str, items: &[(&str, u32)]) -> Json {
        let items: Vec<Json> =
            items.iter().map(|(product, items)| json!({"external_id": product, "quantity": items})).collect();
        let new = json!({
            "external_id": name, "member": member, "items": items, "name": "王芳", "issuer": "上海第一医院",
            "image": "https://example.com/rx.jpg",
        });
        self.shop.post("/v1/prescriptions", new).await.expect(201)
    }

    /// The same, and a pharmacist approves it.
    pub(crate) async fn prescribe_approved(&self, member: &str, name: &str, items: &[(&str, u32)]) -> Json {
        let path = format!("/ops/v1/prescriptions/{}", text(&self.prescribe(member, name, items).await["id"]));
        self.operator.post(&format!("{path}/approval"), Json::Null).await.expect(200)
    }

    /// A step of an order that takes no body.
    pub(crate) async fn step(&self, order: &Json, step: &str) -> Json {
        self.shop.post(&format!("/v1/orders/{}/{step}", text(&order["id"])), Json::Null).await.expect(200)
    }

    /// A member's points: pending, active, held.
    pub(crate) async fn points(&self, member: &str) -> [i64; 3] {
        let points = self.shop.get(&format!("/v1/members/{member}/points")).await.expect(200);
        ["pending", "active", "held"].map(|purse| points[purse].as_i64().expect("a number"))
    }
}

impl Drop for TestApp {
    /// The books close, whatever the test did.
    fn drop(&mut self) {
        let Some(running) = self.running.take().filter(|_| !std::thread::panicking()) else { return };
        let services = running.services().clone();
        let verify = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(services.verify_ledger())
        });
        let report = verify.join().expect("does not panic").expect("the books can be read");
        assert!(report.is_sound(), "{report:?}");
    }
}

async fn open(config: &Config, now: Timestamp) -> Running {
    let outbound = [("webhook".to_owned(), Secret::new(WEBHOOK_SECRET))].into();
    let secrets = Secrets { operator_key: Some(OPERATOR_KEY.to_owned()), master_key: Some(MASTER_KEY), outbound };
    let app = App::open(config.clone(), &secrets, Clock::manual(now), Ids::random()).await.expect("opens");
    app.start(([127, 0, 0, 1], 0).into()).await.expect("starts")
}

/// Compiled plugins are shared by all tests and all runs.
pub(crate) fn share_artefacts(data: &Path) {
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("artefacts");
    std::fs::create_dir_all(&shared).expect("a directory");
    std::os::unix::fs::symlink(shared, data.join("cache")).expect("a link");
}

impl Client {
    fn new(running: &Running, key: Option<&str>) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { http, url: format!("http://{}", running.address()), key: key.map(str::to_owned) }
    }

    /// The operator of a server.
    pub(crate) fn operator_at(url: String) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { http, url, key: Some(OPERATOR_KEY.to_owned()) }
    }

    /// Asks the same server with another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// Asks another server with the same key.
    pub(crate) fn moved_to(&self, url: &str) -> Self {
        Self { key: self.key.clone(), ..Self::operator_at(url.to_owned()) }
    }

    /// Where the server is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A request with the key and, for a write, a new idempotency key.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        if method != Method::GET {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            request = request.header("idempotency-key", format!("test-{number}"));
        }
        request
    }

    /// The key's secret.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Sends a request.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        self.send_built(request.build().expect("a request")).await
    }

    /// Sends a request as it is.
    pub(crate) async fn send_built(&self, request: reqwest::Request) -> Reply {
        self.try_built(request).await.expect("a whole answer")
    }

    /// The same to a server that may be killed meanwhile.
    pub(crate) async fn try_built(&self, request: reqwest::Request) -> Result<Reply, reqwest::Error> {
        let response = self.http.execute(request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        let json = serde_json::from_str(&text).unwrap_or(Json::String(text));
        Ok(Reply { status, headers, json })
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    /// Posts JSON; `null` for no body.
    pub(crate) async fn post(&self, path: &str, body: Json) -> Reply {
        let request = self.request(Method::POST, path);
        self.send(if body.is_null() { request } else { request.json(&body) }).await
    }

    pub(crate) async fn put(&self, path: &str, body: Json) -> Reply {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(self.request(Method::DELETE, path)).await
    }
}

impl Reply {
    /// The body, of an answer with this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Json {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.json);
        self.json
    }

    /// A problem with this status and code; its body.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Json {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let json = self.expect(status);
        assert_eq!(json["type"], format!("urn:galenic:{code}"), "{json:#}");
        assert_eq!(json["status"], status);
        assert!(json["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{json:#}");
        assert_eq!(json["trace_id"].as_str().map(str::len), Some(32), "{json:#}");
        json
    }

    /// A header's text, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

/// A text of an answer.
#[track_caller]
pub(crate) fn text(json: &Json) -> String {
    json.as_str().unwrap_or_else(|| panic!("{json} is no text")).to_owned()
}

/// An amount in fen.
pub(crate) fn cny(minor: i64) -> Json {
    json!({"minor": minor, "currency": "CNY"})
}

/// One of each product.
pub(crate) fn cart(member: &str, products: &[&str]) -> Json {
    let lines: Vec<Json> = products.iter().map(|product| json!({"external_id": product, "quantity": 1})).collect();
    json!({"member": member, "lines": lines})
}

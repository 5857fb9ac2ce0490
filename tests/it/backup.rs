//! A deployment is backed up while orders flow, destroyed, restored and proven, with the program itself.

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::{
    app::{TestApp, cart, share_artefacts, text},
    program::{Server, run},
};

const KEY: &str = "the-operators-own-key";

/// A shop that uses the operator's key.
#[derive(Clone)]
struct Shop {
    http: reqwest::Client,
    url: String,
}

impl Shop {
    fn new(server: &Server) -> Self {
        Self { http: reqwest::Client::builder().no_proxy().build().expect("a client"), url: server.url.clone() }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Json>) -> (u16, Json) {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.url)).bearer_auth(KEY);
        if method != Method::GET {
            static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            request = request.header("idempotency-key", format!("backup-{number}"));
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("answers");
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn post(&self, path: &str, body: Json) -> Json {
        let (status, json) = self.ask(Method::POST, path, Some(body)).await;
        assert!((200..300).contains(&status), "{path}: {json:#}");
        json
    }

    async fn member(&self, external_id: &str, name: &str) -> String {
        let member = json!({"external_id": external_id, "profile": {"name": name}});
        text(&self.post("/v1/members", member).await["id"])
    }

    async fn paid_order(&self, member: &str) -> String {
        let quote = self.post("/v1/quotes", cart(member, &["vitamin-c"])).await;
        let order = self.post("/v1/orders", json!({"quote": quote["id"]})).await;
        let id = text(&order["id"]);
        let payment = json!({"reference": id, "method": "wechat-pay", "amount": order["price"]["payable"]});
        self.post(&format!("/v1/orders/{id}/payment"), payment).await;
        id
    }
}

/// Orders that flow until told to stop, and those that were acknowledged.
struct Flow {
    paid: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Flow {
    fn start(shop: &Shop, member: &str) -> Self {
        let (paid, stop) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicBool::new(false)));
        let (shop, member) = (shop.clone(), member.to_owned());
        let task = tokio::spawn({
            let (paid, stop) = (Arc::clone(&paid), Arc::clone(&stop));
            async move {
                while !stop.load(Ordering::Relaxed) {
                    let order = shop.paid_order(&member).await;
                    paid.lock().unwrap().push(order);
                }
            }
        });
        Self { paid, stop, task }
    }

    fn paid(&self) -> Vec<String> {
        self.paid.lock().unwrap().clone()
    }

    async fn reaches(&self, orders: usize) {
        let begun = Instant::now();
        while self.paid.lock().unwrap().len() < orders {
            assert!(begun.elapsed() < Duration::from_secs(120), "orders do not flow");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("every order is accepted");
    }
}

async fn program(arguments: Vec<String>) -> (i32, String) {
    let run = move || run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.expect("does not panic")
}

macro_rules! galenic {
    ($($argument:expr),* $(,)?) => { program(vec![$($argument.to_string()),*]).await };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_backed_up_destroyed_restored_and_proven() {
    let dir = TempDir::new().expect("a directory");
    let (data, kept) = (dir.path().join("data"), dir.path().join("kept"));
    fs::create_dir_all(&data).expect("a directory");
    fs::create_dir_all(&kept).expect("a directory");
    share_artefacts(&data);
    let server = Server::start(&data);
    server.ready().await;
    let shop = Shop::new(&server);
    let product = json!({"external_id": "vitamin-c", "name": "vitamin c", "category": "VITAMINS", "class": "food",
        "list_price": {"minor": 13_000, "currency": "CNY"}});
    shop.post("/v1/products/import", json!({"products": [product]})).await;
    let (stays, goes) = (shop.member("stays", "Li Wei").await, shop.member("goes", "Wang Fang").await);

    let flow = Flow::start(&shop, &stays);
    flow.reaches(5).await;
    let before = flow.paid();
    let (code, said) = galenic!("backup", "--to", kept.display(), "--server", server.url, "--key", KEY);
    assert!(code == 0 && said.contains("the master key is not in it"), "{code} {said}");
    flow.reaches(before.len() + 5).await;
    flow.end().await;
    let (erased, _) = shop.ask(Method::DELETE, &format!("/v1/members/{goes}"), None).await;
    assert_eq!(erased, 200);
    let (code, said) = galenic!("compact", "--data", data.display());
    assert!(code == 1 && said.contains("in use by another process"), "{code} {said}");
    server.end(Signal::TERM);

    let file = fs::read_dir(&kept).expect("lists").next().expect("a backup").expect("an entry").path();
    let (code, said) = galenic!("verify", "--backup", file.display());
    assert!(code == 0 && said.contains("the backup is whole"), "{code} {said}");
    let (journal, key) = (kept.join("erasures.log"), kept.join("master.key"));
    fs::copy(data.join("erasures.log"), &journal).expect("copies");
    fs::copy(data.join("master.key"), &key).expect("copies");
    fs::remove_dir_all(&data).expect("is destroyed");
    refuses(&file, &data, &kept).await;

    let (code, said) = galenic!(
        "restore",
        "--from",
        file.display(),
        "--data",
        data.display(),
        "--erasures",
        journal.display(),
        "--master-key",
        key.display(),
    );
    assert!(code == 0 && said.contains("members erased again: 1"), "{code} {said}");
    proves(&data).await;
    share_artefacts(&data);
    is_all_there(&data, &before, &stays, &goes).await;
    let (code, said) = galenic!("compact", "--data", data.display());
    assert!(code == 0 && said.contains("bytes on disk before"), "{code} {said}");
    proves(&data).await;
    let (code, said) = galenic!("backup", "--to", kept.join("at-rest").display(), "--data", data.display());
    assert!(code == 0 && said.contains("at-rest"), "{code} {said}");
}

async fn proves(data: &Path) {
    let (code, said) = galenic!("verify", "--data", data.display());
    assert!(code == 0 && said.contains("the books close"), "{code} {said}");
    assert!(!said.contains("master key is not known"), "{said}");
}

/// Damaged, of another deployment, without its key, over something: each is refused by name, and nothing is written.
async fn refuses(file: &Path, data: &Path, kept: &Path) {
    let good = fs::read(file).expect("reads");
    let (bad, other) = (kept.join("bad"), kept.join("other.key"));
    fs::write(&other, "0f".repeat(32)).expect("writes");
    let key = kept.join("master.key");
    let names = fs::read_dir(data.parent().expect("a parent")).expect("lists").count();
    for (at, part) in [(100, "store"), (good.len() / 2, "damaged"), (good.len() - 1, "the seal"), (3, "no backup")] {
        let mut damaged = good.clone();
        damaged[at] ^= 4;
        fs::write(&bad, damaged).expect("writes");
        let (code, said) =
            galenic!("restore", "--from", bad.display(), "--data", data.display(), "--master-key", key.display());
        assert!(code == 1 && said.contains(part), "{at}: {code} {said}");
    }
    fs::write(&bad, &good[..good.len() - 40]).expect("writes");
    let (code, said) =
        galenic!("restore", "--from", bad.display(), "--data", data.display(), "--master-key", key.display());
    assert!(code == 1 && said.contains("cut short"), "{code} {said}");
    let (code, said) = galenic!("restore", "--from", file.display(), "--data", data.display());
    assert!(code == 1 && said.contains("GALENIC_MASTER_KEY"), "{code} {said}");
    let (code, said) =
        galenic!("restore", "--from", file.display(), "--data", data.display(), "--master-key", other.display());
    assert!(code == 1 && said.contains("another master key") && said.contains("nothing was restored"), "{code} {said}");
    let (code, said) =
        galenic!("restore", "--from", file.display(), "--data", kept.display(), "--master-key", key.display());
    assert!(code == 1 && said.contains("is not empty"), "{code} {said}");
    fs::write(&bad, "2026-03-01T04:00:00Z mbr_00 profile 00000000\n").expect("writes");
    let (code, said) = galenic!(
        "restore",
        "--from",
        file.display(),
        "--data",
        data.display(),
        "--erasures",
        bad.display(),
        "--master-key",
        key.display(),
    );
    assert!(code == 1 && said.contains("line 1"), "{code} {said}");
    assert_eq!(fs::read_dir(data.parent().expect("a parent")).expect("lists").count(), names, "nothing was left");
}

/// What was acknowledged before the backup began is there; who was erased since is erased.
async fn is_all_there(data: &Path, paid: &[String], stays: &str, goes: &str) {
    let server = Server::start(data);
    server.ready().await;
    let shop = Shop::new(&server);
    for order in paid {
        let (status, order) = shop.ask(Method::GET, &format!("/v1/orders/{order}"), None).await;
        assert_eq!((status, &order["state"]), (200, &json!("paid")), "{order:#}");
    }
    let (status, profile) = shop.ask(Method::GET, &format!("/v1/members/{stays}/profile"), None).await;
    assert_eq!((status, &profile["name"]), (200, &json!("Li Wei")));
    let (status, _) = shop.ask(Method::GET, &format!("/v1/members/{goes}/profile"), None).await;
    assert_eq!(status, 410, "the erasure was done again");
    let (_, ledger) = shop.ask(Method::GET, "/ops/v1/ledger", None).await;
    assert_eq!((&ledger["sound"], &ledger["sum"]), (&json!(true), &json!(0)), "{ledger:#}");
    shop.paid_order(stays).await;
    server.end(Signal::TERM);
}

#[tokio::test]
async fn a_running_server_verifies_itself_and_backs_up_one_at_a_time() {
    let app = TestApp::start().await;
    app.product("vitamin-c", 10_000).await;
    let member = app.member("m-1").await;
    app.pay(&app.order(&member, &["vitamin-c"]).await).await;
    let coupon = app.offer("welcome", "coupon", json!({"type": "amount", "amount": 990})).await;
    app.coupon(&coupon, &member).await;
    app.shop.delete(&format!("/v1/members/{}", app.member("m-2").await)).await.expect(200);
    let report = app.operator.post("/ops/v1/verify", Json::Null).await.expect(200);
    assert_eq!((&report["sound"], &report["problems"]), (&json!(true), &json!([])), "{report:#}");
    assert!(report["rows"].as_u64().is_some_and(|rows| rows > 20), "{report:#}");
    app.shop.post("/ops/v1/backups", Json::Null).await.refused(403, "scope-missing");
    let request = app.operator.request(Method::POST, "/ops/v1/backups");
    let answer = request.send().await.expect("answers");
    assert_eq!(answer.status().as_u16(), 200);
    let bytes = answer.bytes().await.expect("a whole answer");
    let manifest = galenic::backup::check(bytes.as_ref()).expect("a whole backup");
    let names: Vec<&str> = manifest.parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names[..3], ["store", "vault/keys", "erasures.log"]);
    assert!(names.contains(&"decisions/0000000001.decisions"), "{names:?}");
    let export = app.services().store.export().expect("none runs");
    app.operator.post("/ops/v1/backups", Json::Null).await.refused(409, "backup-running");
    drop(export);
}

#[tokio::test]
async fn below_the_reserve_writes_are_refused_and_reads_go_on() {
    let app = TestApp::start().await;
    app.product("vitamin-c", 10_000).await;
    let member = app.member("m-1").await;
    // No disk has an exabyte free.
    let app = app.restart_with(|config| config.store.reserve_mb = 1 << 40).await;
    let new = json!({"external_id": "m-2"});
    let problem = app.shop.post("/v1/members", new).await.refused(507, "disk-full");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("held in reserve")), "{problem:#}");
    app.shop.get(&format!("/v1/members/{member}")).await.expect(200);
    assert_eq!(app.anonymous().get("/readyz").await.expect(200)["status"], "read-only");
    assert_eq!(app.anonymous().get("/healthz").await.expect(200)["status"], "ok");
    let metrics = app.operator.get("/metrics").await.expect(200).to_string();
    for name in ["free_bytes", "disk_bytes", "reserve_bytes"] {
        assert!(metrics.contains(&format!("galenic_store_{name}")), "{name}");
    }
}

//! Reaching members over HTTP: through the gate, a WASM channel and a real gateway on the loopback, and back.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::app::{Reply, TestApp, text};

/// The key in [`crate::app::WEBHOOK_SECRET`].
const SIGNING_KEY: &[u8] = b"kkkkkkkkkkkkkkkkkkkkkkkk";
const SLOT: &str = "channel.webhook";

/// A receiver of webhooks: remembers what came, answers as told and 200 otherwise.
#[derive(Clone)]
pub(crate) struct Gateway {
    port: u16,
    came: Arc<Mutex<Vec<Json>>>,
    told: Arc<Mutex<VecDeque<u16>>>,
}

impl Gateway {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let gateway = Self { port, came: Arc::default(), told: Arc::default() };
        let server = gateway.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        gateway
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let (head, length) = loop {
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(read) if read > 0 => bytes.extend_from_slice(&chunk[..read]),
                _ => return,
            }
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
                break (end + 4, length.unwrap_or(0_usize));
            }
        };
        while bytes.len() < head + length {
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(read) if read > 0 => bytes.extend_from_slice(&chunk[..read]),
                _ => return,
            }
        }
        let came: Json = serde_json::from_slice(&bytes[head..head + length]).expect("JSON");
        let id = format!("g-{}", came["data"]["key"].as_str().unwrap_or(""));
        self.came.lock().expect("sound").push(came["data"].clone());
        let status = self.told.lock().expect("sound").pop_front().unwrap_or(200);
        let body = json!({"id": id}).to_string();
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let _gone = stream.write_all(answer.as_bytes()).await;
    }

    fn say(&self, status: u16) {
        self.told.lock().expect("sound").push_back(status);
    }

    fn came(&self) -> Vec<Json> {
        self.came.lock().expect("sound").clone()
    }
}

/// A server whose webhook channel leads to the gateway, with two approved texts.
pub(crate) async fn ready() -> (TestApp, Gateway) {
    let (app, gateway) = (TestApp::start().await, Gateway::start().await);
    let modules = app.operator.get("/ops/v1/modules?limit=200").await.expect(200);
    let modules = modules["items"].as_array().expect("modules").clone();
    let module = modules.iter().find(|module| module["name"] == "channel-webhook").expect("is built in");
    let release = json!({
        "module": module["digest"],
        "config": {"url": format!("http://127.0.0.1:{}/messages", gateway.port), "secret": "webhook"},
        "grants": {
            "http": [{"scheme": "http", "host": "127.0.0.1", "port": gateway.port, "private": true}],
            "secrets": ["webhook"],
        },
    });
    let release = app.operator.post(&format!("/ops/v1/slots/{SLOT}/releases"), release).await.expect(201);
    let live = json!({"number": release["number"]});
    let activated = app.operator.put(&format!("/ops/v1/slots/{SLOT}/active"), live).await;
    assert!(activated.status.is_success(), "{activated:?}");
    for (code, class) in [("paid", "transactional"), ("sale", "marketing")] {
        template(&app, code, class, "{{ member_name }},{{ product }}已到").await;
    }
    (app, gateway)
}

async fn template(app: &TestApp, code: &str, class: &str, body: &str) {
    let variant = json!({
        "code": code, "class": class, "channel": "webhook", "language": "zh-CN", "text": body,
        "variables": ["product"],
    });
    let written = app.operator.post("/ops/v1/templates", variant).await.expect(201);
    let which = json!({"code": code, "channel": "webhook", "language": "zh-CN", "version": written["version"]});
    app.operator.post("/ops/v1/templates/approvals", which).await.expect(200);
}

pub(crate) async fn ask(app: &TestApp, member: &str, template: &str, dedupe: &str, product: &str) -> String {
    let touch = json!({
        "member": member, "template": template, "dedupe": dedupe, "variables": {"product": product},
    });
    text(&app.shop.post("/v1/touches", json!({"touches": [touch]})).await.expect(201)["touches"][0])
}

/// The touch once its state is the one waited for.
pub(crate) async fn until(app: &TestApp, touch: &str, state: &str) -> Json {
    found(app, touch, |touch| touch["state"] == state).await
}

/// The touch once it is as waited for.
async fn found(app: &TestApp, touch: &str, fits: impl Fn(&Json) -> bool) -> Json {
    let looking = async {
        loop {
            let touch = app.shop.get(&format!("/v1/touches/{touch}")).await.expect(200);
            if fits(&touch) {
                return touch;
            }
        }
    };
    let found = tokio::time::timeout(std::time::Duration::from_secs(20), looking).await;
    match found {
        Ok(touch) => touch,
        Err(_) => panic!("{:#}", app.shop.get(&format!("/v1/touches/{touch}")).await.json),
    }
}

async fn balanced(app: &TestApp) -> Json {
    let totals = app.operator.get("/ops/v1/touches/totals").await.expect(200);
    let count = |name: &str| totals[name].as_u64().expect("a count");
    let ended = count("sent") + count("deferred") + count("dropped") + count("in_flight");
    assert_eq!(count("candidates"), ended, "{totals:#}");
    totals
}

async fn consent(app: &TestApp, member: &str, granted: bool) -> Json {
    let path = format!("/v1/members/{member}/consents/marketing/webhook");
    let said = json!({"granted": granted, "text_version": "2026-03", "evidence": "archive/1", "source": "app"});
    app.shop.put(&path, said).await.expect(200)
}

/// HMAC-SHA256 and base64 by hand, so that the plugin's own are checked by others.
fn signature(id: &str, timestamp: &str, body: &str) -> String {
    let mut key = [0_u8; 64];
    key[..SIGNING_KEY.len()].copy_from_slice(SIGNING_KEY);
    let pad = |with: u8| key.map(|byte| byte ^ with);
    let inner = Sha256::digest([pad(0x36).as_slice(), format!("{id}.{timestamp}.{body}").as_bytes()].concat());
    let mac = Sha256::digest([pad(0x5c).as_slice(), &inner].concat());
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::from("v1,");
    for chunk in mac.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at)) as usize & 63] as char;
            encoded.push(if at > chunk.len() { '=' } else { letter });
        }
    }
    encoded
}

async fn report(app: &TestApp, lines: Json, forge: bool) -> Reply {
    let now = app.operator.get("/ops/v1/clock").await.expect(200);
    let now: Timestamp = now["now"].as_str().and_then(|text| text.parse().ok()).expect("a time");
    let (timestamp, body) = (now.as_second().to_string(), lines.to_string());
    let nobody = app.anonymous();
    let signed = signature("r-1", &timestamp, if forge { "[]" } else { &body });
    let request = nobody.request(Method::POST, &format!("/receipts/{SLOT}")).body(body);
    let request =
        request.header("webhook-id", "r-1").header("webhook-timestamp", timestamp).header("webhook-signature", signed);
    nobody.send(request).await
}

#[tokio::test]
async fn a_message_goes_out_once_and_its_receipt_comes_back() {
    let (app, gateway) = ready().await;
    let member = app.member("m-1").await;
    let touch = ask(&app, &member, "paid", "order-1", "维生素C").await;
    assert_eq!(ask(&app, &member, "paid", "order-1", "维生素C").await, touch);
    let sent = until(&app, &touch, "sent").await;
    assert_eq!((sent["slot"].as_str(), sent["attempts"].as_u64()), (Some(SLOT), Some(1)));
    let key = touch.trim_start_matches("tch_").to_owned();
    let came = gateway.came();
    assert_eq!(came.len(), 1);
    assert_eq!((came[0]["key"].as_str(), came[0]["to"].as_str()), (Some(key.as_str()), Some(member.as_str())));
    assert_eq!(came[0]["text"], ",维生素C已到");
    assert_eq!(came[0].get("unsubscribe_url"), None);
    let line = json!([{"key": key, "status": "delivered", "at_ms": 1_772_337_600_000_i64}]);
    report(&app, line.clone(), true).await.refused(422, "invalid-request");
    assert_eq!(app.shop.get(&format!("/v1/touches/{touch}")).await.expect(200)["delivered_at"], Json::Null);
    assert!(report(&app, line, false).await.status.is_success());
    assert_ne!(app.shop.get(&format!("/v1/touches/{touch}")).await.expect(200)["delivered_at"], Json::Null);
    let listed = app.shop.get(&format!("/v1/members/{member}/touches")).await.expect(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(balanced(&app).await["sent"], 1);
    app.anonymous().post("/receipts/channel.sms", json!([])).await.refused(404, "not-found");
}

#[tokio::test]
async fn marketing_needs_consent_and_one_click_ends_it() {
    let (app, gateway) = ready().await;
    let member = app.member("m-1").await;
    let refused = ask(&app, &member, "sale", "a", "x").await;
    assert_eq!(until(&app, &refused, "dropped").await["reason"], "no-consent");
    assert_eq!(consent(&app, &member, true).await["version"], 1);
    let sent = ask(&app, &member, "sale", "b", "x").await;
    until(&app, &sent, "sent").await;
    let capped = ask(&app, &member, "sale", "c", "x").await;
    assert_eq!(until(&app, &capped, "deferred").await["reason"], "frequency-cap");
    let link = text(&gateway.came()[0]["unsubscribe_url"]);
    let path = link.trim_start_matches("http://127.0.0.1:8080").to_owned();
    let nobody = app.anonymous();
    let page = nobody.send(nobody.request(Method::GET, &path).header("accept", "text/html")).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(text(&page.json).contains("确认退订") && !text(&page.json).contains("m-1"));
    let consents = app.shop.get(&format!("/v1/members/{member}/consents")).await.expect(200);
    assert_eq!(consents["items"][0]["granted"], true, "looking changes nothing");
    for _ in 0..2 {
        let click = nobody.request(Method::POST, &path).body("List-Unsubscribe=One-Click");
        assert_eq!(nobody.send(click).await.status, 200);
    }
    let path_of = format!("/v1/members/{member}/consents/marketing/webhook/history");
    let history = app.shop.get(&path_of).await.expect(200);
    let said: Vec<_> = history["items"].as_array().expect("versions").iter().map(|one| text(&one["source"])).collect();
    assert_eq!(said, ["app", "unsubscribe-link"]);
    app.wait(jiff::SignedDuration::from_hours(24)).await;
    assert_eq!(until(&app, &capped, "dropped").await["reason"], "no-consent");
    let suppressed = app.operator.get("/ops/v1/suppressions/members").await.expect(200);
    assert_eq!(
        (&suppressed["items"][0]["member"], &suppressed["items"][0]["cause"]),
        (&json!(member), &json!("unsubscribed"))
    );
    let forged = nobody.send(nobody.request(Method::POST, &format!("/u/{}", "0".repeat(66)))).await;
    assert_eq!(forged.status, 404);
    assert_eq!(gateway.came().len(), 1);
    balanced(&app).await;
}

#[tokio::test]
async fn the_guard_reads_every_message() {
    let (app, gateway) = ready().await;
    let member = app.member("m-1").await;
    consent(&app, &member, true).await;
    let touch = ask(&app, &member, "sale", "a", "根治糖尿病的神药").await;
    let dropped = until(&app, &touch, "dropped").await;
    assert_eq!(dropped["reason"], "guard-blocked", "{dropped:#}");
    assert_eq!(dropped["note"]["message"], "根治");
    assert_eq!(gateway.came(), Vec::<Json>::new());
}

#[tokio::test]
async fn a_gateway_that_fails_is_tried_again_with_the_same_key() {
    let (app, gateway) = ready().await;
    let member = app.member("m-1").await;
    gateway.say(429);
    gateway.say(500);
    let touch = ask(&app, &member, "paid", "a", "x").await;
    for (attempts, wait) in [(1, 6), (2, 30)] {
        found(&app, &touch, |touch| touch["state"] == "pending" && touch["attempts"] == attempts).await;
        app.wait(jiff::SignedDuration::from_secs(wait)).await;
    }
    let sent = until(&app, &touch, "sent").await;
    assert_eq!(sent["attempts"], 3);
    let came = gateway.came();
    assert!(came.len() == 3 && came.iter().all(|one| one["key"] == came[0]["key"]));
    gateway.say(410);
    let gone = ask(&app, &member, "paid", "b", "x").await;
    let gone = until(&app, &gone, "dropped").await;
    assert_eq!((gone["reason"].as_str(), gone["note"]["code"].as_str()), (Some("rejected"), Some("http-410")));
    balanced(&app).await;
}

#[tokio::test]
async fn bad_templates_and_touches_are_named() {
    let (app, _gateway) = ready().await;
    let bad = json!({
        "code": "new", "class": "transactional", "channel": "webhook", "language": "en",
        "text": "Hello\n{{ nmae }}", "variables": ["name"],
    });
    let refused = app.operator.post("/ops/v1/templates", bad).await.refused(422, "invalid-request");
    let (pointer, detail) = (&refused["errors"][0]["pointer"], text(&refused["errors"][0]["detail"]));
    assert_eq!(pointer, "/text");
    assert!(detail.contains("template `new (webhook, en)`, text, line 2, variable `nmae`"), "{detail}");
    let silent = json!({
        "code": "promo", "class": "marketing", "channel": "sms", "language": "zh-CN", "text": "满100减20",
    });
    let refused = app.operator.post("/ops/v1/templates", silent).await.refused(422, "invalid-request");
    assert!(text(&refused["errors"][0]["detail"]).contains("回R退订"));
    let preview = json!({
        "code": "paid", "channel": "webhook", "language": "zh-CN", "version": 1, "variables": {"product": "钙片"},
    });
    assert_eq!(app.operator.post("/ops/v1/templates/preview", preview).await.expect(200)["text"], ",钙片已到");
    let touch = json!({"member": format!("mbr_{}", "0".repeat(32)), "template": "none", "dedupe": "a b"});
    let refused = app.shop.post("/v1/touches", json!({"touches": [touch]})).await.refused(422, "invalid-request");
    assert_eq!(refused["errors"][0]["pointer"], "/touches/0/dedupe");
    let touch = json!({"member": format!("mbr_{}", "0".repeat(32)), "template": "none", "dedupe": "a"});
    let refused = app.shop.post("/v1/touches", json!({"touches": [touch]})).await.refused(422, "invalid-request");
    let pointers: Vec<_> =
        refused["errors"].as_array().expect("errors").iter().map(|one| text(&one["pointer"])).collect();
    assert_eq!(pointers, ["/touches/0/member", "/touches/0/template"]);
}

#[tokio::test]
async fn an_event_asks_for_its_message_once() {
    let (mut app, gateway) = ready().await;
    let variant = json!({
        "code": "thanks", "class": "transactional", "channel": "webhook", "language": "zh-CN",
        "text": "订单{{ order }}已付{{ payable }}元", "variables": ["order", "payable"],
    });
    let written = app.operator.post("/ops/v1/templates", variant).await.expect(201);
    let which = json!({"code": "thanks", "channel": "webhook", "language": "zh-CN", "version": written["version"]});
    app.operator.post("/ops/v1/templates/approvals", which).await.expect(200);
    let set = |path: &str, hours: u32| {
        let (operator, path) = (app.operator.clone(), format!("/ops/v1/automations/{path}"));
        async move { operator.put(&path, json!({"expires_hours": hours})).await }
    };
    let automation = set("order-paid/thanks", 24).await.expect(200);
    assert_eq!((&automation["event"], &automation["template"]), (&json!("order-paid"), &json!("thanks")));
    for (path, hours, status, contains) in [
        ("order-payed/thanks", 24, 422, "order-paid"),
        ("order-paid/thanks", 0, 422, "/expires_hours"),
        ("order-paid/nothing", 24, 404, "template"),
    ] {
        let refused = set(path, hours).await;
        assert_eq!(refused.status, status, "{path}: {refused:?}");
        assert!(refused.json.to_string().contains(contains), "{path}: {refused:?}");
    }
    app.product("p", 1_000).await;
    let member = app.member("li").await;
    let order = app.order(&member, &["p"]).await;
    app.pay(&order).await;
    app.wait(jiff::SignedDuration::from_secs(1)).await;
    app = app.restart().await;
    app.wait(jiff::SignedDuration::from_secs(60)).await;
    let texts: Vec<String> = gateway.came().iter().map(|message| text(&message["text"])).collect();
    assert_eq!(texts, [format!("订单{}已付10.00元", text(&order["id"]))]);
    let touches = app.shop.get(&format!("/v1/members/{member}/touches")).await.expect(200);
    assert_eq!(touches["items"].as_array().map(Vec::len), Some(1), "{touches}");
    app.operator.send(app.operator.request(Method::DELETE, "/ops/v1/automations/order-paid/thanks")).await.expect(200);
    assert_eq!(app.operator.get("/ops/v1/automations").await.expect(200)["items"], json!([]));
    balanced(&app).await;
}

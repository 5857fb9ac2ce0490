//! Channels against vendors that answer for real: an SMS gateway and a webhook receiver that verify signatures on their
//! own, and an SMTP server.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use galenic::{
    domain::channel::{AddressKind, Attempt, Incoming, Message, ReceiptStatus},
    plugin::{
        Budgets, Delivered, Engine, EngineConfig, Fallback, Grants, Outbound, Release, ReleaseError, ReleaseSpec,
        Roots, Secret, SmtpServer, SmtpTls, embedded::Embedded,
    },
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::vendor::{Arrived, Reply, Smtp, Vendor, silent};

pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const SMS_SECRET: &str = "an access key's secret";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(crate) fn engine(outbound: Outbound) -> Engine {
    let config = EngineConfig { sandboxes: 16, outbound, ..EngineConfig::standard(None) };
    Engine::new(config).expect("the engine starts")
}

pub(crate) fn message(to: &str) -> Message {
    Message {
        key: KEY.to_owned(),
        class: "care",
        language: "zh-CN".to_owned(),
        to: to.to_owned(),
        template_id: Some("SMS_15305".to_owned()),
        signature: Some("康宁药房".to_owned()),
        variables: vec![("name".to_owned(), "李女士".to_owned()), ("points".to_owned(), "20".to_owned())],
        subject: Some("生日快乐".to_owned()),
        text: "李女士，您有20积分".to_owned(),
        unsubscribe_url: Some("https://shop.example/u/1".to_owned()),
    }
}

pub(crate) fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().expect("an instant")
}

pub(crate) fn secrets() -> BTreeMap<String, Secret> {
    let secret = |name: &str, value: &str| (name.to_owned(), Secret::new(value));
    BTreeMap::from([secret("sms-key", SMS_SECRET), secret("webhook", WEBHOOK_SECRET)])
}

pub(crate) async fn prepare(
    engine: &Engine,
    plugin: &str,
    config: Json,
    grants: Grants,
) -> Result<Arc<Release>, ReleaseError> {
    let plugin = Embedded::find(plugin).expect("came with the program");
    let module = engine.admit(plugin.component).await.expect("is admitted");
    let spec = ReleaseSpec {
        slot: "channel.test".into(),
        number: 1,
        budgets: Budgets { wall_ms: 2_000, ..Budgets::of(module.kind()) },
        module,
        config,
        grants,
        fallback: Fallback::Skip,
        previous: None,
    };
    engine.prepare(spec).await
}

pub(crate) fn attempt(delivered: &Delivered) -> String {
    match &delivered.result {
        Ok(Attempt::Accepted(id)) => format!("accepted {}", id.as_deref().unwrap_or("-")),
        Ok(Attempt::Rejected(why)) => format!("rejected {}", why.code),
        Ok(Attempt::Retry(why)) => format!("retry {}: {}", why.code, why.message),
        Ok(Attempt::Unknown(why)) => format!("unknown {}: {}", why.code, why.message),
        Err(fault) => format!("fault {fault}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Whether a request to Alibaba Cloud bears a signature that covers it, or the code that says why not.
pub(crate) fn sms_signed(arrived: &Arrived) -> Result<(), &'static str> {
    let (path, query) = arrived.target.split_once('?').unwrap_or((&arrived.target, ""));
    let authorization = arrived.header("authorization");
    let part = |name: &str| {
        let rest = authorization.split_once(&format!("{name}=")).map_or("", |(_, rest)| rest);
        rest.split(',').next().unwrap_or("").to_owned()
    };
    let names = part("SignedHeaders");
    let needed =
        ["host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"];
    if !needed.iter().all(|name| names.split(';').any(|signed| signed == *name)) {
        return Err("IncompleteSignature");
    }
    let headers: String = names.split(';').map(|name| format!("{name}:{}\n", arrived.header(name).trim())).collect();
    let body = hex(&Sha256::digest(&arrived.body));
    let canonical = format!("{}\n{path}\n{query}\n{headers}\n{names}\n{body}", arrived.method);
    let to_sign = format!("ACS3-HMAC-SHA256\n{}", hex(&Sha256::digest(canonical)));
    let signed = part("Signature") == hex(&hmac_sha256(SMS_SECRET.as_bytes(), &to_sign));
    if signed { Ok(()) } else { Err("SignatureDoesNotMatch") }
}

/// What Alibaba Cloud would say: the signature is put together anew from what arrived.
fn sms_gateway(arrived: &Arrived, seen: &Mutex<BTreeSet<String>>) -> Reply {
    let refuse = |code: &str| (400, vec![], json!({"Code": code, "Message": code, "RequestId": "r"}).to_string());
    if let Err(code) = sms_signed(arrived) {
        return refuse(code);
    }
    let (_, query) = arrived.target.split_once('?').unwrap_or((&arrived.target, ""));
    if !seen.lock().unwrap().insert(arrived.header("x-acs-signature-nonce").to_owned()) {
        return refuse("SignatureNonceUsed");
    }
    if query.contains("PhoneNumbers=13800000009") {
        return refuse("isv.BUSINESS_LIMIT_CONTROL");
    }
    let known = query.contains(&format!("OutId={KEY}")) && query.contains("SignName=%E5%BA%B7%E5%AE%81");
    let code = if known { "OK" } else { "isv.INVALID_PARAMETERS" };
    (200, vec![], json!({"Code": code, "Message": code, "BizId": "90061^0", "RequestId": "r"}).to_string())
}

#[tokio::test]
async fn an_sms_gateway_that_verifies_signatures_takes_messages() {
    let seen = Mutex::new(BTreeSet::new());
    let vendor = Vendor::start(move |arrived| Some(sms_gateway(arrived, &seen)));
    let engine = engine(Outbound { secrets: secrets(), ..Outbound::none() });
    let config = json!({"access_key_id": "AK", "secret": "sms-key", "endpoint": vendor.url("")});
    let grants = Grants { http: vec![vendor.grant()], secrets: vec!["sms-key".to_owned()], ..Grants::default() };
    let release = prepare(&engine, "channel-sms", config.clone(), grants.clone()).await.expect("prepares");
    let traits = release.channel_traits();
    assert_eq!((traits.address, traits.deduplicates, traits.templates_only), (AddressKind::Phone, false, true));
    for nonce in 0..3 {
        let delivered = release.deliver(&message("+8613800000001"), now(), [nonce; 16]).await;
        assert_eq!(attempt(&delivered), "accepted 90061^0");
    }
    assert_eq!(vendor.connections(), 1, "connections are kept");
    let limited = release.deliver(&message("+8613800000009"), now(), [9; 16]).await;
    assert_eq!(attempt(&limited), "retry isv.BUSINESS_LIMIT_CONTROL: the vendor takes nothing for now");
    assert_eq!(limited.notes, ["isv.BUSINESS_LIMIT_CONTROL: isv.BUSINESS_LIMIT_CONTROL"]);
    let replayed = release.deliver(&message("+8613800000001"), now(), [0; 16]).await;
    assert!(attempt(&replayed).starts_with("retry SignatureNonceUsed"), "{}", attempt(&replayed));
    let stats = release.stats();
    assert_eq!((stats.calls, stats.faults.len(), stats.breaker.name()), (5, 0, "closed"));
    let outbound =
        Outbound { secrets: BTreeMap::from([("sms-key".to_owned(), Secret::new("another"))]), ..Outbound::none() };
    let other = self::engine(outbound);
    let release = prepare(&other, "channel-sms", config, grants).await.expect("prepares");
    let delivered = release.deliver(&message("+8613800000001"), now(), [7; 16]).await;
    assert!(attempt(&delivered).starts_with("retry SignatureDoesNotMatch"), "{}", attempt(&delivered));
}

/// Whether a request is signed as Standard Webhooks says.
pub(crate) fn webhook_signed(arrived: &Arrived) -> bool {
    let (id, timestamp) = (arrived.header("webhook-id"), arrived.header("webhook-timestamp"));
    let key = STANDARD.decode(WEBHOOK_SECRET.trim_start_matches("whsec_")).expect("base64");
    let expected = STANDARD.encode(hmac_sha256(&key, &format!("{id}.{timestamp}.{}", arrived.body)));
    arrived.header("webhook-signature") == format!("v1,{expected}")
}

/// A receiver as Standard Webhooks describes it.
pub(crate) fn receiver(arrived: &Arrived) -> Option<Reply> {
    if !webhook_signed(arrived) {
        return Some((401, vec![], String::new()));
    }
    let timestamp = arrived.header("webhook-timestamp");
    let body: Json = serde_json::from_str(&arrived.body).expect("is JSON");
    match body["data"]["to"].as_str() {
        Some("torn") => None,
        Some("busy") => Some((429, vec![], String::new())),
        Some("huge") => Some((200, vec![], "x".repeat(300 << 10))),
        to => Some((200, vec![], json!({"id": format!("{}-{}", to.unwrap_or("nobody"), timestamp)}).to_string())),
    }
}

#[tokio::test]
async fn a_webhook_receiver_that_verifies_signatures_takes_messages() {
    let vendor = Vendor::start(receiver);
    let engine = engine(Outbound { secrets: secrets(), ..Outbound::none() });
    let config = json!({"url": vendor.url("/messages"), "secret": "webhook"});
    let grants = Grants { http: vec![vendor.grant()], secrets: vec!["webhook".to_owned()], ..Grants::default() };
    let release = prepare(&engine, "channel-webhook", config, grants).await.expect("prepares");
    assert!(release.channel_traits().deduplicates);
    let cases = [
        ("m-1", "accepted m-1-1795341600"),
        ("busy", "retry http-429"),
        ("huge", "unknown too-large"),
        ("torn", "unknown broken"),
    ];
    for (to, expect) in cases {
        let delivered = release.deliver(&message(to), now(), [1; 16]).await;
        assert!(attempt(&delivered).starts_with(expect), "{} should be {expect}", attempt(&delivered));
    }
    let report = json!([{"key": KEY, "id": "m-1", "status": "delivered", "at_ms": 1_795_341_600_000_i64}]).to_string();
    let key = STANDARD.decode(WEBHOOK_SECRET.trim_start_matches("whsec_")).expect("base64");
    let signature = format!("v1,{}", STANDARD.encode(hmac_sha256(&key, &format!("r-1.1795341600.{report}"))));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut incoming = Incoming {
        method: "POST".to_owned(),
        target: "/".to_owned(),
        headers: vec![
            header("webhook-id", "r-1"),
            header("webhook-timestamp", "1795341600"),
            header("webhook-signature", &signature),
        ],
        body: report.into_bytes(),
    };
    let received = release.parse_receipt(&incoming, now(), [1; 16]).await.expect("reads").expect("believes");
    assert_eq!(received.receipts[0].status, ReceiptStatus::Delivered);
    assert_eq!(received.receipts[0].key.as_deref(), Some(KEY));
    incoming.body[0] = b' ';
    let why = release.parse_receipt(&incoming, now(), [1; 16]).await.expect("reads").map(drop);
    assert_eq!(why, Err("the signature is wrong".to_owned()));
}

#[tokio::test]
async fn nobody_listens_or_nobody_answers() {
    let engine = engine(Outbound { secrets: secrets(), ..Outbound::none() });
    let (listener, grant) = silent();
    let config = json!({"url": format!("http://127.0.0.1:{}/", grant.port), "secret": "webhook"});
    let grants = Grants { http: vec![grant], secrets: vec!["webhook".to_owned()], ..Grants::default() };
    let release = prepare(&engine, "channel-webhook", config, grants).await.expect("prepares");
    let delivered = release.deliver(&message("m-1"), now(), [1; 16]).await;
    assert_eq!(attempt(&delivered), "unknown timeout: no answer in time");
    drop(listener);
    let delivered = release.deliver(&message("m-1"), now(), [1; 16]).await;
    assert!(attempt(&delivered).starts_with("retry unreachable"), "{}", attempt(&delivered));
    assert_eq!(engine.sandboxes_free(), 16);
}

#[tokio::test]
async fn an_smtp_server_takes_mail_or_says_why_not() {
    let mut server = Smtp::start();
    let smtp = SmtpServer {
        host: "127.0.0.1".to_owned(),
        port: server.port,
        tls: SmtpTls::None,
        username: None,
        password_secret: None,
        from: "康宁药房 <care@shop.example>".to_owned(),
        roots: Roots::none(),
    };
    let engine = engine(Outbound { smtp: BTreeMap::from([("care".to_owned(), smtp)]), ..Outbound::none() });
    let grants = Grants { mail: Some("care".to_owned()), ..Grants::default() };
    let release = prepare(&engine, "channel-email", json!({"subject": "消息"}), grants).await.expect("prepares");
    let cases = [
        ("li@example.com", "accepted 0123456789abcdef0123456789abcdef"),
        ("later@example.com", "retry later: the server answers 451"),
        ("refused@example.com", "rejected refused"),
        ("full@example.com", "rejected refused"),
        ("silent@example.com", "unknown broken: the connection broke before the server confirmed the mail"),
        ("nobody", "rejected denied"),
        ("wang@example.com", "accepted 0123456789abcdef0123456789abcdef"),
    ];
    for (to, expect) in cases {
        let delivered = release.deliver(&message(to), now(), [1; 16]).await;
        assert_eq!(attempt(&delivered), expect, "{to}");
    }
    let first = server.taken();
    assert_eq!((&first["from"], &first["to"]), (&json!("care@shop.example"), &json!("li@example.com")));
    let text = first["text"].as_str().expect("a mail");
    for line in [
        "Message-ID: <0123456789abcdef0123456789abcdef@shop.example>",
        "List-Unsubscribe: <https://shop.example/u/1>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
    ] {
        assert!(text.lines().any(|known| known == line), "{text} should hold {line}");
    }
    assert_eq!(server.taken()["to"], "wang@example.com", "after a broken connection comes another");
    drop(server);
    let delivered = release.deliver(&message("li@example.com"), now(), [1; 16]).await;
    assert_eq!(attempt(&delivered), "retry later: the server cannot be reached");
}

#[tokio::test]
async fn a_release_is_refused_until_it_is_granted_what_it_imports() {
    let vendor = Vendor::start(receiver);
    let engine = engine(Outbound { secrets: secrets(), ..Outbound::none() });
    let config = || json!({"url": vendor.url("/messages"), "secret": "webhook"});
    let all = Grants { http: vec![vendor.grant()], secrets: vec!["webhook".to_owned()], ..Grants::default() };
    let place =
        |host: &str, private| vec![galenic::plugin::HttpGrant { host: host.to_owned(), private, ..vendor.grant() }];
    let cases = [
        (Grants { http: vec![], ..all.clone() }, "/grants/http is wrong: the plugin imports outbound-http"),
        (Grants { secrets: vec![], ..all.clone() }, "/grants/secrets is wrong: the plugin imports secrets"),
        (
            Grants { secrets: vec!["other-key".to_owned()], ..all.clone() },
            "start the host with GALENIC_SECRET_OTHER_KEY",
        ),
        (
            Grants { http: place("127.0.0.1", false), ..all.clone() },
            "/grants/http/0 is wrong: the host resolves to 127.0.0.1",
        ),
        (Grants { http: place("A.example", false), ..all.clone() }, "must be a host in lower case"),
        (Grants { mail: Some("care".to_owned()), ..all.clone() }, "no section `[smtp.care]`"),
    ];
    for (grants, expect) in cases {
        let error = prepare(&engine, "channel-webhook", config(), grants).await.expect_err(expect).to_string();
        assert!(error.contains(expect), "{error} should say {expect}");
    }
    let error = prepare(&engine, "channel-webhook", json!({"url": "x", "secret": "webhook"}), all.clone()).await;
    assert!(matches!(error, Err(ReleaseError::Config(fields)) if fields[0].pointer == "/url"));
    let rule = prepare(&engine, "tier-spend", json!({}), all).await.expect_err("a rule reaches nothing").to_string();
    assert!(rule.contains("a tier-rule reaches nothing"), "{rule}");
    let fallback = Embedded::find("channel-webhook").expect("came with the program");
    let module = engine.admit(fallback.component).await.expect("is admitted");
    assert_eq!(module.description().facts.len(), 0);
}

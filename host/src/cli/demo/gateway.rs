//! A loopback SMS gateway that speaks a large vendor's protocol and is as moody as a real one.
//!
//! It checks the vendor's V3 request signature (ACS3-HMAC-SHA256) by its own reading of the vendor's document, refuses
//! some numbers for good, asks for some messages again later, and remembers every message it took by the key that came
//! with it. What happens to a message depends on its key alone, so every run is the same.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, ensure};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, body::Bytes, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, task::JoinHandle};

use super::history::made_up;

/// The key of the account that the demo's channel signs with; its secret is given to the server.
pub(super) const ACCESS_KEY: &str = "demo-access-key";
/// One in so many messages is asked for again later, one in so many is refused for good.
const LATER_ONE_IN: u64 = 50;
const REFUSED_ONE_IN: u64 = 250;
const BODY_BYTES_MAX: usize = 64 << 10;
/// Codes of the vendor.
const THROTTLED: &str = "isv.BUSINESS_LIMIT_CONTROL";
const WRONG_NUMBER: &str = "isv.MOBILE_NUMBER_ILLEGAL";

/// What the gateway saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Messages taken, by template.
    pub(super) taken: BTreeMap<String, u64>,
    /// Messages that were taken twice: must stay zero.
    pub(super) twice: u64,
    /// Messages asked for again later.
    pub(super) later: u64,
    /// Messages refused for good.
    pub(super) refused: u64,
    /// Requests that were not signed as the vendor demands: must stay zero.
    pub(super) unsigned: u64,
}

#[derive(Default)]
struct Memory {
    seen: Seen,
    keys: HashSet<String>,
    tries: HashMap<String, u32>,
    nonces: HashSet<String>,
}

/// A gateway that serves until it is dropped.
pub(super) struct Gateway {
    pub(super) address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
    task: JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gateway {
    pub(super) async fn start(secret: String) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.context("no port for the gateway")?;
        let address = listener.local_addr()?;
        let memory = Arc::new(Mutex::new(Memory::default()));
        let task = tokio::spawn(serve(listener, Arc::clone(&memory), secret.into()));
        Ok(Self { address, memory, task })
    }

    pub(super) fn seen(&self) -> Seen {
        locked(&self.memory).seen.clone()
    }
}

fn locked(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, memory: Arc<Mutex<Memory>>, secret: Arc<str>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (memory, secret) = (Arc::clone(&memory), Arc::clone(&secret));
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&memory), Arc::clone(&secret)));
            // A connection that breaks is the other side's business.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<hyper::body::Incoming>,
    memory: Arc<Mutex<Memory>>,
    secret: Arc<str>,
) -> anyhow::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
    let (status, code) = match check(&head, &body, &secret) {
        Ok(Sms { nonce, .. }) if !locked(&memory).nonces.insert(nonce.clone()) => (400, "SignatureNonceUsed"),
        Ok(sms) => (200, take(&memory, &sms)),
        Err(_) => {
            locked(&memory).seen.unsigned += 1;
            (400, "SignatureDoesNotMatch")
        }
    };
    let reply = json!({ "Code": code, "Message": code, "RequestId": "demo", "BizId": "demo" });
    Ok(Response::builder().status(status).body(Full::new(Bytes::from(reply.to_string())))?)
}

/// A message that was signed.
struct Sms {
    key: String,
    template: String,
    nonce: String,
}

/// What becomes of a message.
fn take(memory: &Mutex<Memory>, sms: &Sms) -> &'static str {
    let mut memory = locked(memory);
    let luck = made_up("sms", &sms.key);
    let tries = memory.tries.entry(sms.key.clone()).or_default();
    *tries += 1;
    if luck.is_multiple_of(REFUSED_ONE_IN) {
        memory.seen.refused += 1;
        return WRONG_NUMBER;
    }
    if luck % LATER_ONE_IN == 1 && *tries == 1 {
        memory.seen.later += 1;
        return THROTTLED;
    }
    if !memory.keys.insert(sms.key.clone()) {
        memory.seen.twice += 1;
    }
    *memory.seen.taken.entry(sms.template.clone()).or_default() += 1;
    "OK"
}

/// The message, if its request is signed as the vendor's document says.
fn check(head: &hyper::http::request::Parts, body: &[u8], secret: &str) -> anyhow::Result<Sms> {
    let header = |name: &str| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.with_context(|| format!("no header {name}"))
    };
    ensure!(header("x-acs-action")? == "SendSms" && header("x-acs-version")? == "2017-05-25", "another action");
    ensure!(header("x-acs-content-sha256")? == hex(&Sha256::digest(body)), "the body is not what was signed");
    let given = header("authorization")?.strip_prefix("ACS3-HMAC-SHA256 ").context("another algorithm")?;
    let parts: BTreeMap<&str, &str> = given.split(',').filter_map(|part| part.trim().split_once('=')).collect();
    let part = |name: &str| parts.get(name).copied().with_context(|| format!("no {name} in the authorization"));
    ensure!(part("Credential")? == ACCESS_KEY, "another account");
    let names = part("SignedHeaders")?;
    let mut canonical = format!("{}\n{}\n{}\n", head.method, head.uri.path(), query(head.uri.query().unwrap_or("")));
    for name in names.split(';') {
        canonical += &format!("{name}:{}\n", header(name)?.trim());
    }
    canonical += &format!("\n{names}\n{}", header("x-acs-content-sha256")?);
    let signed = format!("ACS3-HMAC-SHA256\n{}", hex(&Sha256::digest(canonical)));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(signed.as_bytes());
    ensure!(part("Signature")? == hex(&mac.finalize().into_bytes()), "the signature does not match");
    let fields: BTreeMap<String, String> = fields(head.uri.query().unwrap_or("")).collect();
    let field = |name: &str| fields.get(name).cloned().with_context(|| format!("no {name}"));
    ensure!(field("PhoneNumbers")?.len() >= 11 && !field("SignName")?.is_empty(), "no number or no signature");
    Ok(Sms {
        key: field("OutId")?,
        template: field("TemplateCode")?,
        nonce: header("x-acs-signature-nonce")?.to_owned(),
    })
}

/// The query in the order of its names, as it is encoded.
fn query(raw: &str) -> String {
    let mut parts: Vec<&str> = raw.split('&').filter(|part| !part.is_empty()).collect();
    parts.sort_unstable();
    parts.join("&")
}

fn fields(raw: &str) -> impl Iterator<Item = (String, String)> + '_ {
    raw.split('&').filter_map(|part| part.split_once('=')).map(|(name, value)| (decoded(name), decoded(value)))
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        match escaped.and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Touches: marketing messages with consent, through the gate, the content guard and `channel-webhook`, to a receiver on
//! the loopback; on disk.

use std::{
    collections::HashSet,
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use super::{Figure, memory_mb};
use crate::{
    app::{App, Running},
    cli::{
        config::{Config, Secrets},
        demo::operator::Operator,
    },
    clock::Clock,
    domain::touch::{Channel, ConsentPurpose},
    ids::{Id as _, Ids, KeyId, MemberId, PartnerId},
    plugin::Secret,
    reach::touch::Column,
    service::{
        Caller, Error, Idempotency, Services,
        members::NewMember,
        reach::{NewConsent, WantedTouch},
    },
};

const SLOT: &str = "channel.webhook";
const TEMPLATE: &str = "bench";
const OPERATOR_KEY: &str = "bench-operator-key";
/// Requests at once while everything is made.
const AT_ONCE: usize = 64;
/// Touches of one request.
const ASKED_AT_ONCE: usize = 100;
/// All must have left by then.
const TIME_MAX: Duration = Duration::from_secs(300);

/// A receiver of webhooks: the keys that came, each once, and how many requests there were.
#[derive(Clone, Default)]
struct Receiver {
    came: Arc<Mutex<(HashSet<String>, usize)>>,
}

impl Receiver {
    /// Where it listens.
    async fn start(&self) -> anyhow::Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let receiver = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let receiver = receiver.clone();
                tokio::spawn(async move { receiver.serve(stream).await });
            }
        });
        Ok(port)
    }

    /// Answers every request of a connection.
    async fn serve(&self, stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut stream = BufReader::new(stream);
        loop {
            let (mut line, mut length, mut key) = (String::new(), 0, String::new());
            loop {
                line.clear();
                stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
                let Some((name, value)) = line.trim_end().split_once(": ") else {
                    if line == "\r\n" {
                        break;
                    }
                    continue;
                };
                match name {
                    "content-length" => length = value.parse().ok()?,
                    "webhook-id" => value.clone_into(&mut key),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.ok()?;
            let answer = format!("{{\"id\":\"r-{key}\"}}");
            {
                let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
                came.0.insert(key);
                came.1 += 1;
            }
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
            stream.write_all(head.as_bytes()).await.ok()?;
        }
    }

    fn came(&self) -> (usize, usize) {
        let came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        (came.0.len(), came.1)
    }
}

pub(super) async fn measure(touches: u32) -> anyhow::Result<Vec<Figure>> {
    let (dir, receiver) = (tempfile::tempdir()?, Receiver::default());
    let start: Timestamp = "2026-03-15T04:00:00Z".parse()?;
    let server = open(dir.path(), start).await?;
    set_up(&server, receiver.start().await?).await?;
    let due = start.checked_add(SignedDuration::from_mins(1))?;
    let begun = Instant::now();
    ask(server.services(), usize::try_from(touches)?, due).await?;
    let set_up = begun.elapsed().as_secs_f64();
    forget_peak();
    server.services().clock.set(due)?;
    let begun = Instant::now();
    let sent = u64::from(touches);
    loop {
        let totals = server.services().touch_totals().await?;
        let count = |column| totals.iter().filter(|total| total.column == column).map(|total| total.count).sum::<u64>();
        if count(Column::Sent) == sent {
            break;
        }
        let waiting = count(Column::Pending) + count(Column::Sending);
        anyhow::ensure!(waiting > 0 && begun.elapsed() < TIME_MAX, "not every touch was sent: {totals:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed();
    let resident = memory_mb("VmHWM:").context("this kernel does not say how much memory a process has")?;
    let (keys, requests) = receiver.came();
    anyhow::ensure!(keys as u64 == sent && requests == keys, "{requests} requests for {keys} of {touches} touches");
    server.stop().await?;
    Ok(vec![
        Figure::new("set-up of members, consents and touches", set_up, "s"),
        Figure::new("touches through gate, guard and a channel", f64::from(touches) / took.as_secs_f64(), "touches/s"),
        Figure::new("resident memory meanwhile, at most", resident, "MB"),
    ])
}

async fn open(dir: &std::path::Path, at: Timestamp) -> anyhow::Result<Running> {
    let mut config = Config::standard();
    config.store.data = dir.join("data");
    config.limits.requests_per_second = 0;
    // `whsec_` and base64 of 24 times `k`.
    let signs = Secret::new("whsec_a2tra2tra2tra2tra2tra2tra2tra2tr");
    let secrets = Secrets {
        operator_key: Some(OPERATOR_KEY.to_owned()),
        master_key: Some([7; 32]),
        outbound: [("webhook".to_owned(), signs)].into(),
    };
    let app = App::open(config, &secrets, Clock::manual(at), Ids::seeded(1)).await?;
    app.start(SocketAddr::from(([127, 0, 0, 1], 0))).await
}

/// Makes the channel live and its text approved, as an operator does.
async fn set_up(server: &Running, port: u16) -> anyhow::Result<()> {
    let operator = Operator::new(format!("http://{}", server.address()), OPERATOR_KEY)?.client;
    let modules = operator.list("/ops/v1/modules").await?;
    let module =
        modules.iter().find(|module| module["name"] == "channel-webhook").context("the channel is built in")?;
    let release = json!({
        "module": module["digest"],
        "config": { "url": format!("http://127.0.0.1:{port}/messages"), "secret": "webhook" },
        "grants": {
            "http": [{ "scheme": "http", "host": "127.0.0.1", "port": port, "private": true }],
            "secrets": ["webhook"],
        },
    });
    let release = operator.post(&format!("/ops/v1/slots/{SLOT}/releases"), release).await?;
    operator.put(&format!("/ops/v1/slots/{SLOT}/active"), json!({ "number": release["number"] })).await?;
    let text = json!({
        "code": TEMPLATE, "class": "marketing", "channel": "webhook", "language": "zh-CN",
        "text": "【康宁药房】{{ member_name }}您好，您常用的{{ product }}本周有优惠，欢迎到店选购。退订请点{{ unsubscribe_url }}",
        "variables": ["product"],
    });
    let version = operator.post("/ops/v1/templates", text).await?["version"].clone();
    let which = json!({ "code": TEMPLATE, "channel": "webhook", "language": "zh-CN", "version": version });
    operator.post("/ops/v1/templates/approvals", which).await?;
    Ok(())
}

/// Registers members who agree, and asks for one touch to each.
async fn ask(services: &Services, touches: usize, due: Timestamp) -> anyhow::Result<()> {
    let caller = Caller { key: KeyId::from_bits(1), partner: PartnerId::from_bits(1), sees_all: true };
    let once = |key: String| Idempotency { partner: caller.partner, key, fingerprint: [0; 32] };
    let joins = (0..touches).map(|n| async move {
        let id = services.create_member(caller, once(format!("m{n}")), NewMember::default()).await?.value.id;
        let said = NewConsent {
            granted: true,
            text_version: "2026-03".to_owned(),
            evidence: Some(format!("archive/{n}")),
            source: "app".to_owned(),
        };
        let what = (ConsentPurpose::Marketing, Channel::Webhook);
        services.set_consent(caller, once(format!("c{n}")), id, what, said).await?;
        Ok::<_, Error>(id)
    });
    let joined: Vec<_> = futures::stream::iter(joins).buffer_unordered(AT_ONCE).collect().await;
    let members: Vec<MemberId> = joined.into_iter().collect::<Result<_, _>>()?;
    let expires = due.checked_add(SignedDuration::from_hours(24))?;
    let asks = members.chunks(ASKED_AT_ONCE).enumerate().map(|(n, members)| {
        let wanted = |member: &MemberId| WantedTouch {
            member: *member,
            template: TEMPLATE.to_owned(),
            variables: vec![("product".to_owned(), "钙片".to_owned())],
            dedupe: "2026-03".to_owned(),
            due,
            expires,
        };
        services.ask_touches(caller, once(format!("t{n}")), members.iter().map(wanted).collect())
    });
    let mut asks = futures::stream::iter(asks).buffer_unordered(4);
    while let Some(asked) = asks.next().await {
        asked?;
    }
    Ok(())
}

/// From here on the kernel counts the peak anew.
fn forget_peak() {
    // Where that is not allowed the figure is the whole program's: too high, never too low.
    let _kept = fs::write("/proc/self/clear_refs", "5");
}

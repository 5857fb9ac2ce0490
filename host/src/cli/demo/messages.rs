//! Messages of the demo: vendors on loopback, the channels that reach them, what is said when, and what came of it.
//!
//! Text messages go to the [`Gateway`], which checks the vendor's signature; mails to a real SMTP server, a child process
//! that ends when its standard input closes. Both refuse some for good and ask for some again later.

use std::{
    collections::{BTreeMap, HashSet},
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{
    gateway::{ACCESS_KEY, Gateway, Seen},
    operator::Operator,
};
use crate::{
    cli::config::{Config, Secrets, Smtp, SmtpEncryption},
    ids::Ids,
    plugin::Secret,
};

const SMTP_SERVER: &str = include_str!("../../../data/smtp/server.py");
/// The names under which the server knows the vendors.
const SMS_SECRET: &str = "sms-key";
const MAIL_SERVER: &str = "demo";
const SIGNATURE: &str = "康宁药房";

/// The vendors.
pub(super) struct Vendors {
    gateway: Gateway,
    secret: String,
    mail: Option<Mail>,
}

/// What the SMTP server did.
#[derive(Clone, Debug, Default)]
pub(super) struct MailSeen {
    pub(super) taken: u64,
    pub(super) later: u64,
    pub(super) refused: u64,
    /// Taken more than once: must stay zero.
    pub(super) twice: u64,
}

struct Mail {
    port: u16,
    seen: Arc<Mutex<MailSeen>>,
    /// Its standard input is open as long as it is to serve.
    child: Child,
    _script: tempfile::TempDir,
}

/// One mail that the server was offered, as it tells it.
#[derive(Deserialize)]
struct Offered {
    id: String,
    answer: u16,
}

impl Vendors {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let secret: String = Ids::random().bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
        let gateway = Gateway::start(secret.clone()).await?;
        let mail = match tokio::task::spawn_blocking(Mail::start).await? {
            Ok(mail) => Some(mail),
            Err(error) => {
                eprintln!("no mail is sent: {error:#}; `make setup` installs what is missing");
                None
            }
        };
        Ok(Self { gateway, secret, mail })
    }

    /// Tells the server's configuration of them.
    pub(super) fn configure(&self, config: &mut Config, secrets: &mut Secrets) {
        secrets.outbound.insert(SMS_SECRET.to_owned(), Secret::new(&self.secret));
        let Some(mail) = &self.mail else { return };
        let server = Smtp {
            host: "127.0.0.1".to_owned(),
            port: mail.port,
            tls: SmtpEncryption::None,
            username: None,
            password_secret: None,
            from: "康宁药房 <care@pharmacy.example>".to_owned(),
            ca_files: Vec::new(),
        };
        config.smtp.insert(MAIL_SERVER.to_owned(), server);
    }

    /// Releases the channels, approves the texts, and says which event asks for which.
    pub(super) async fn open(&self, operator: &Operator) -> anyhow::Result<()> {
        let port = self.gateway.address.port();
        let endpoint = format!("http://{}", self.gateway.address);
        let sms = json!({
            "config": { "access_key_id": ACCESS_KEY, "secret": SMS_SECRET, "endpoint": endpoint },
            "grants": {
                "http": [{ "scheme": "http", "host": "127.0.0.1", "port": port, "private": true }],
                "secrets": [SMS_SECRET],
            },
        });
        operator.release("channel.sms", "channel-sms", sms).await?;
        if self.mail.is_some() {
            let mail = json!({ "config": { "subject": "来自康宁药房的消息" }, "grants": { "mail": MAIL_SERVER } });
            operator.release("channel.email", "channel-email", mail).await?;
        }
        for text in texts() {
            let written = operator.client.post("/ops/v1/templates", text).await?;
            let which = ["code", "channel", "language", "version"].map(|key| (key.to_owned(), written[key].clone()));
            let which = Json::Object(which.into_iter().collect());
            operator.client.post("/ops/v1/templates/approvals", which).await?;
        }
        for (event, template) in [("order-shipped", "shipped"), ("birthday", "birthday"), ("member-day", "member-day")]
        {
            let path = format!("/ops/v1/automations/{event}/{template}");
            operator.client.put(&path, json!({ "expires_hours": 48 })).await?;
        }
        Ok(())
    }

    pub(super) fn sms(&self) -> Seen {
        self.gateway.seen()
    }

    pub(super) fn mail(&self) -> Option<MailSeen> {
        Some(self.mail.as_ref()?.seen.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// What is said, in Chinese as the members read it.
fn texts() -> Vec<Json> {
    let text = |code: &str, class: &str, channel: &str, channels: &[&str], text: &str, variables: &[&str]| {
        json!({
            "code": code, "class": class, "channel": channel, "channels": channels, "language": "zh-CN",
            "vendor_template_id": format!("SMS_{code}"), "signature": SIGNATURE,
            "subject": (channel == "email").then_some("来自康宁药房"), "text": text, "variables": variables,
        })
    };
    let both = ["sms", "email"];
    vec![
        text("shipped", "transactional", "sms", &["sms"], "您的订单{{ order }}已发货，请留意查收。", &["order"]),
        text("birthday", "marketing", "sms", &both, "生日快乐！生日礼券已放入您的账户，30天内有效。回R退订", &[]),
        text(
            "birthday",
            "marketing",
            "email",
            &both,
            "生日快乐！生日礼券已放入您的账户。退订：{{ unsubscribe_url }}",
            &[],
        ),
        text("member-day", "content", "email", &both, "今天是会员日，健康讲座欢迎您。退订：{{ unsubscribe_url }}", &[]),
        text("member-day", "content", "sms", &both, "今天是会员日，健康讲座欢迎您。回R退订", &[]),
    ]
}

impl Mail {
    /// Waits until the server has said its port.
    fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let script = dir.path().join("server.py");
        std::fs::write(&script, SMTP_SERVER)?;
        let mut child = Command::new("python3")
            .arg(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("python3 cannot be started")?;
        let mut lines = BufReader::new(child.stdout.take().context("it has an output")?).lines();
        let port = lines.next().context("the SMTP server does not start: aiosmtpd is missing")??;
        let port = port.trim().parse().context("the SMTP server says no port")?;
        let seen = Arc::new(Mutex::new(MailSeen::default()));
        let counted = Arc::clone(&seen);
        thread::Builder::new().name("demo-mail".to_owned()).spawn(move || listen(lines, &counted))?;
        Ok(Self { port, seen, child, _script: dir })
    }
}

impl Drop for Mail {
    /// The server ends when its input does.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
    }
}

/// Counts what the server tells, until it ends.
fn listen(lines: Lines<BufReader<ChildStdout>>, seen: &Mutex<MailSeen>) {
    let mut known = HashSet::new();
    for line in lines.map_while(Result::ok) {
        let Ok(mail) = serde_json::from_str::<Offered>(&line) else { continue };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match mail.answer {
            250 => {
                seen.taken += 1;
                seen.twice += u64::from(!known.insert(mail.id));
            }
            451 => seen.later += 1,
            _ => seen.refused += 1,
        }
    }
}

/// How messages of one class fared.
#[derive(Clone, Debug, Default)]
pub(super) struct Fared {
    pub(super) candidates: u64,
    pub(super) sent: BTreeMap<String, u64>,
    pub(super) deferred: u64,
    pub(super) dropped: BTreeMap<String, u64>,
    /// Waiting, under way, or of unknown end.
    pub(super) open: u64,
}

/// Totals by class, as the server counts them.
pub(super) fn fared(totals: &Json) -> BTreeMap<String, Fared> {
    let mut classes: BTreeMap<String, Fared> = BTreeMap::new();
    for row in totals["rows"].as_array().into_iter().flatten() {
        let number = |key: &str| row[key].as_u64().unwrap_or(0);
        let class = classes.entry(row["class"].as_str().unwrap_or_default().to_owned()).or_default();
        let channel = row["channel"].as_str().unwrap_or_default().to_owned();
        let dropped = row["dropped"].as_object();
        let dropped = dropped.into_iter().flatten().map(|(reason, n)| (reason.clone(), n.as_u64().unwrap_or(0)));
        let open = number("pending") + number("sending") + number("unknown");
        class.candidates += number("sent") + number("deferred") + open;
        class.deferred += number("deferred");
        class.open += open;
        if number("sent") > 0 {
            *class.sent.entry(channel).or_default() += number("sent");
        }
        for (reason, n) in dropped {
            class.candidates += n;
            *class.dropped.entry(reason).or_default() += n;
        }
    }
    classes
}

//! Configuration: flag > environment `GALENIC__SECTION__KEY` > TOML file > default.
//!
//! Unknown keys are refused with their name. Secrets come from the environment alone ([`Secrets`]) and are shown
//! nowhere.

mod orders;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, civil::Time, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        money::{BasisPoints, Money},
        points::Clawback,
    },
    http::{Bounds, Rates},
    plugin::{Outbound, Roots, Secret, SmtpServer, SmtpTls, places_per_release},
    reach::gate::QuietHours,
    service::{ScheduleSettings, Settings, settings::ReachSettings},
    store::SledOptions,
};

pub use self::orders::Orders;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How requests are served.
    pub server: Server,
    /// Where data lies.
    pub store: Store,
    /// The rules of the programme that are no plugin's.
    pub programme: Programme,
    /// How orders are checked and waited for.
    pub orders: Orders,
    /// How members are reached.
    pub reach: Reach,
    /// The plugin engine and its records.
    pub plugins: Plugins,
    /// What happens by itself, and how long what is past is kept.
    pub schedule: Schedule,
    /// How often callers may ask.
    pub limits: Limits,
    /// What is logged, to standard error.
    pub log: Log,
    /// How channels reach their vendors over HTTP.
    #[serde(default)]
    pub outbound: OutboundHttp,
    /// SMTP servers by name, for channels that are granted one.
    #[serde(default)]
    pub smtp: BTreeMap<String, Smtp>,
}

/// How requests are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address of the API.
    pub listen: SocketAddr,
    /// Address for `/metrics`, `/healthz` and `/readyz` without authorization; none where it is not set.
    pub metrics_listen: Option<SocketAddr>,
    /// Connections at one time; more wait.
    pub connections_max: usize,
    /// How long a request may take, its body included.
    pub request_seconds_max: u32,
    /// How long a client may take to send a request's headers, also between two requests.
    pub header_seconds_max: u32,
    /// How long a client may let an answer wait without taking any of it.
    pub stall_seconds_max: u32,
    /// How long requests in flight may take once the server stops.
    pub drain_seconds_max: u32,
}

/// Where data lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// The directory of everything that lasts.
    pub data: PathBuf,
    /// Memory for pages.
    pub cache_mb: u64,
    /// Writes are refused when less than this is free on the disk.
    pub reserve_mb: u64,
    /// Commands that may wait for the writer; more are refused.
    pub waiting_max: usize,
    /// Commands that share one sync, at most.
    pub group_max: usize,
}

/// The rules of the programme that are no plugin's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Programme {
    /// ISO 4217 code of all amounts. Never change it once there is data.
    pub currency: String,
    /// The zone of business calendars, by its IANA name.
    pub zone: String,
    /// How long a quote holds its price.
    pub quote_minutes: u32,
    /// How long an unpaid order holds coupon, points, budget and stock.
    pub order_minutes: u32,
    /// Minor units that 100 points take off at checkout.
    pub points_value_per_100: i64,
    /// The largest share of the goods' payable that points may cover; 10 000 is all of it.
    pub points_share_basis_points: u32,
    /// How far earned points are taken back when a refund undoes them: `pending-only`, `within-balance`, or
    /// `may-go-negative`, where what the balance lacks is owed and later earnings pay it first.
    pub points_clawback: Clawback,
    /// The most coupons of one member that a quote considers.
    pub coupons_per_quote: usize,
}

/// How members are reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reach {
    /// From this time of the member's day nothing but transactional messages goes out, as `21:00`.
    pub quiet_from: String,
    /// Until this one; the same for no quiet hours.
    pub quiet_to: String,
    /// Content and marketing messages that one member gets in a day, over all channels.
    pub cap_per_day: u32,
    /// What links in messages begin with: where members reach this server, without a slash at its end.
    pub public_url: String,
    /// Messages worked on at one time.
    pub at_once: u32,
    /// How long one attempt may take before its end counts as unknown.
    pub attempt_seconds_max: u32,
    /// Messages are kept so many days after they ended; asking again under a key makes no second one meanwhile.
    pub touches_kept_days: u32,
    /// What they said is kept so many days after they ended; until then an operator can have them tried again.
    pub contents_kept_days: u32,
}

/// The plugin engine and its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugins {
    /// How many calls run at once; more wait.
    pub sandboxes: u32,
    /// How long a call waits for a sandbox.
    pub pool_wait_ms: u32,
    /// Compiled artefacts kept on disk.
    pub cache_mb: u64,
    /// The largest module.
    pub module_mb_max: u32,
    /// Size of one file of recorded decisions.
    pub decisions_segment_mb: u64,
}

/// What happens by itself, and how long what is past is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The name of this node: leases bear it. No two nodes over one store may share it.
    pub node: String,
    /// Members are told so many days before a coupon dies; 0 tells nobody.
    pub coupon_notice_days: u16,
    /// Members are told so many days before points die; 0 tells nobody.
    pub points_notice_days: u16,
    /// Members are told so many days before a medicine runs out; 0 tells nobody.
    pub refill_notice_days: u16,
    /// The hour of birthdays, anniversaries and notices, in the programme's zone.
    pub hour: i8,
    /// Members that one job deals with in a second, at most.
    pub members_per_second: u32,
    /// Recorded decisions are kept so many days.
    pub decisions_kept_days: u32,
    /// Events that every consumer has seen are kept so many days: no consumer can be put back further.
    pub events_kept_days: u32,
    /// Answers to idempotency keys are kept so many days: a retry after that is a new request.
    pub idempotency_kept_days: u32,
}

/// How often callers may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests per second of one API key; zero for no limit.
    pub requests_per_second: u32,
    /// Requests per second from one address without a valid key; zero for no limit.
    pub anonymous_per_second: u32,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// One JSON object per line, or text for people.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,galenic::http=debug`.
    pub level: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// How channels reach their vendors over HTTP. A section of empty lists is none to the crate `config`, hence the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundHttp {
    /// PEM files of authorities that are trusted beside those of the machine.
    #[serde(default)]
    pub ca_files: Vec<PathBuf>,
}

/// An SMTP server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// Its name, which its certificate must show.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: SmtpEncryption,
    /// Who logs in; nobody where it is not set.
    pub username: Option<String>,
    /// The secret that is the password, by its name.
    pub password_secret: Option<String>,
    /// Who writes: `Name <address>`.
    pub from: String,
    /// PEM files of authorities that are trusted for this server beside those of the machine.
    #[serde(default)]
    pub ca_files: Vec<PathBuf>,
}

/// How the connection to an SMTP server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpEncryption {
    /// Not at all: within a machine.
    None,
    /// By STARTTLS.
    StartTls,
    /// From the first byte.
    Tls,
}

impl Smtp {
    /// As channels need it, with these authorities.
    fn server(&self, roots: Roots) -> SmtpServer {
        let tls = match self.tls {
            SmtpEncryption::None => SmtpTls::None,
            SmtpEncryption::StartTls => SmtpTls::StartTls,
            SmtpEncryption::Tls => SmtpTls::Tls,
        };
        SmtpServer {
            host: self.host.clone(),
            port: self.port,
            tls,
            username: self.username.clone(),
            password_secret: self.password_secret.clone(),
            from: self.from.clone(),
            roots,
        }
    }
}

/// What only the environment tells. Never logged, never shown.
#[derive(Clone, Default)]
pub struct Secrets {
    /// `GALENIC_OPERATOR_KEY`: an API key that may do everything.
    pub operator_key: Option<String>,
    /// `GALENIC_MASTER_KEY`: encrypts the keys of personal data; 32 bytes as hexadecimal digits.
    pub master_key: Option<[u8; 32]>,
    /// `GALENIC_SECRET_NAME`: what channels sign and log in with, by `name`.
    pub outbound: BTreeMap<String, Secret>,
}

impl std::fmt::Debug for Secrets {
    /// Says which are set, never what they are.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets")
            .field("operator_key", &self.operator_key.is_some())
            .field("master_key", &self.master_key.is_some())
            .field("outbound", &self.outbound.keys())
            .finish()
    }
}

impl Secrets {
    /// Reads the environment.
    ///
    /// # Errors
    ///
    /// If the master key is no key. The message does not repeat it.
    pub fn from_env() -> anyhow::Result<Self> {
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let master_key = match read("GALENIC_MASTER_KEY") {
            None => None,
            Some(text) => Some(key_bytes(&text).context("GALENIC_MASTER_KEY must be 64 hexadecimal digits")?),
        };
        let outbound = std::env::vars().filter_map(|(variable, value)| {
            let name = variable.strip_prefix("GALENIC_SECRET_")?;
            (!value.is_empty()).then(|| (name.to_lowercase().replace('_', "-"), Secret::new(value)))
        });
        Ok(Self { operator_key: read("GALENIC_OPERATOR_KEY"), master_key, outbound: outbound.collect() })
    }
}

/// The certificates of PEM files.
fn read_roots(files: &[PathBuf], key: &str) -> anyhow::Result<Roots> {
    let mut roots = Roots::none();
    for file in files {
        let named = || format!("configuration: {key}: {}", file.display());
        let pem = std::fs::read(file).with_context(named)?;
        roots.add_pem(&pem).map_err(anyhow::Error::msg).with_context(named)?;
    }
    Ok(roots)
}

/// 32 bytes from 64 hexadecimal digits.
pub(crate) fn key_bytes(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; 32];
    for (byte, at) in key.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(key)
}

/// What a command line may override.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--metrics-listen`.
    pub metrics_listen: Option<SocketAddr>,
    /// `--log`.
    pub log: Option<LogFormat>,
}

impl Config {
    /// The defaults, in full.
    pub fn standard() -> Self {
        let store = SledOptions::standard();
        Self {
            server: Server {
                listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
                metrics_listen: None,
                connections_max: 4_096,
                request_seconds_max: 30,
                header_seconds_max: 30,
                stall_seconds_max: 30,
                drain_seconds_max: 20,
            },
            store: Store {
                data: PathBuf::from("galenic-data"),
                cache_mb: store.cache_bytes >> 20,
                reserve_mb: store.reserve_bytes >> 20,
                waiting_max: store.waiting_max,
                group_max: store.group_max,
            },
            programme: Programme {
                currency: "CNY".to_owned(),
                zone: "Asia/Shanghai".to_owned(),
                quote_minutes: 15,
                order_minutes: 30,
                points_value_per_100: 100,
                points_share_basis_points: 5_000,
                points_clawback: Clawback::WithinBalance,
                coupons_per_quote: 50,
            },
            orders: Orders::standard(),
            reach: Reach {
                quiet_from: "21:00".to_owned(),
                quiet_to: "09:00".to_owned(),
                cap_per_day: 1,
                public_url: "http://127.0.0.1:8080".to_owned(),
                at_once: 64,
                attempt_seconds_max: 25,
                touches_kept_days: 400,
                contents_kept_days: 30,
            },
            schedule: Schedule {
                node: "node-1".to_owned(),
                coupon_notice_days: 7,
                points_notice_days: 30,
                refill_notice_days: 3,
                hour: 9,
                members_per_second: 2_000,
                decisions_kept_days: 400,
                events_kept_days: 400,
                idempotency_kept_days: 30,
            },
            plugins: Plugins {
                sandboxes: 64,
                pool_wait_ms: 1_000,
                cache_mb: 512,
                module_mb_max: 4,
                decisions_segment_mb: 64,
            },
            limits: Limits { requests_per_second: 50_000, anonymous_per_second: 200 },
            log: Log { format: LogFormat::Text, level: "info".to_owned() },
            outbound: OutboundHttp::default(),
            smtp: BTreeMap::new(),
        }
    }

    /// The effective configuration.
    ///
    /// # Errors
    ///
    /// Names the file, the key and what it must be.
    pub fn load(file: Option<&std::path::Path>, overrides: &Overrides) -> anyhow::Result<Self> {
        let defaults = config::Config::try_from(&Self::standard()).context("the defaults")?;
        let mut layers = config::Config::builder().add_source(defaults);
        if let Some(file) = file {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            // Parsed on its own first: unknown keys are then named with their line.
            toml::from_str::<toml::Table>(&text).with_context(|| format!("{} is not TOML", file.display()))?;
            layers = layers.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        let env = config::Environment::with_prefix("GALENIC").prefix_separator("__").separator("__").try_parsing(true);
        layers = layers.add_source(env.ignore_empty(true));
        let data = overrides.data.as_ref().map(|path| path.to_string_lossy().into_owned());
        let listen = overrides.listen.map(|address| address.to_string());
        let metrics_listen = overrides.metrics_listen.map(|address| address.to_string());
        let log = overrides.log.map(|format| if format == LogFormat::Json { "json" } else { "text" });
        layers = layers
            .set_override_option("store.data", data)?
            .set_override_option("server.listen", listen)?
            .set_override_option("server.metrics_listen", metrics_listen)?
            .set_override_option("log.format", log)?;
        let config: Self = layers.build().context("configuration")?.try_deserialize().context("configuration")?;
        config.check()?;
        Ok(config)
    }

    /// Refuses values that are of the right type and still wrong.
    ///
    /// # Errors
    ///
    /// Names every wrong key and what it must be.
    pub fn check(&self) -> anyhow::Result<()> {
        let mut wrong: Vec<String> = Vec::new();
        let mut require = |right: bool, message: String| {
            if !right {
                wrong.push(message);
            }
        };
        let (server, programme) = (&self.server, &self.programme);
        require(server.connections_max > 0, "server.connections_max must be at least 1".to_owned());
        require(server.request_seconds_max > 0, "server.request_seconds_max must be at least 1".to_owned());
        require(server.header_seconds_max > 0, "server.header_seconds_max must be at least 1".to_owned());
        require(server.stall_seconds_max > 0, "server.stall_seconds_max must be at least 1".to_owned());
        require(
            programme.currency.len() == 3 && programme.currency.bytes().all(|byte| byte.is_ascii_uppercase()),
            format!("programme.currency must be three capital letters (ISO 4217), not `{}`", programme.currency),
        );
        require(
            TimeZone::get(&programme.zone).is_ok(),
            format!("programme.zone must be an IANA time zone such as `Asia/Shanghai`, not `{}`", programme.zone),
        );
        require(programme.quote_minutes > 0, "programme.quote_minutes must be at least 1".to_owned());
        require(programme.order_minutes > 0, "programme.order_minutes must be at least 1".to_owned());
        require(programme.points_value_per_100 > 0, "programme.points_value_per_100 must be at least 1".to_owned());
        require(
            programme.points_share_basis_points <= 10_000,
            "programme.points_share_basis_points must be 0 to 10000".to_owned(),
        );
        let coupons = (1..=500).contains(&programme.coupons_per_quote);
        require(coupons, "programme.coupons_per_quote must be 1 to 500".to_owned());
        self.orders.check(&mut require);
        self.schedule.check(&mut require);
        require((1..=1_000).contains(&self.plugins.sandboxes), "plugins.sandboxes must be 1 to 1000".to_owned());
        require((1..=16).contains(&self.plugins.module_mb_max), "plugins.module_mb_max must be 1 to 16".to_owned());
        require(self.plugins.decisions_segment_mb > 0, "plugins.decisions_segment_mb must be at least 1".to_owned());
        require((1..=4_096).contains(&self.store.group_max), "store.group_max must be 1 to 4096".to_owned());
        require(self.store.waiting_max > 0, "store.waiting_max must be at least 1".to_owned());
        require(self.store.cache_mb >= 8, "store.cache_mb must be at least 8".to_owned());
        require(
            self.store.group_max <= self.store.waiting_max,
            "store.group_max must not be larger than store.waiting_max: a group is made of those that wait".to_owned(),
        );
        require(
            server.metrics_listen != Some(server.listen) || server.listen.port() == 0,
            "server.metrics_listen must be another address than server.listen: /metrics needs no key there".to_owned(),
        );
        let data = !self.store.data.as_os_str().is_empty();
        require(data, "store.data must name a directory".to_owned());
        let level = tracing_subscriber::EnvFilter::try_new(&self.log.level);
        require(level.is_ok(), format!("log.level must be a level or a filter, not `{}`", self.log.level));
        self.reach.check(&mut require);
        for (name, server) in &self.smtp {
            let checked = server.server(Roots::none()).check();
            require(checked.is_ok(), format!("smtp.{name}: {}", checked.err().unwrap_or_default()));
        }
        if wrong.is_empty() { Ok(()) } else { bail!("configuration: {}", wrong.join("; ")) }
    }

    /// As the use cases need it.
    ///
    /// # Errors
    ///
    /// If the zone is unknown, which [`Config::check`] finds first.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let programme = &self.programme;
        Ok(Settings {
            currency: programme.currency.clone(),
            zone: TimeZone::get(&programme.zone).context("programme.zone")?,
            quote_holds: SignedDuration::from_mins(programme.quote_minutes.into()),
            order_holds: SignedDuration::from_mins(programme.order_minutes.into()),
            points_value_per_100: Money::new(programme.points_value_per_100),
            points_most: BasisPoints::new(programme.points_share_basis_points),
            clawback: programme.points_clawback,
            coupons_per_quote: programme.coupons_per_quote,
            orders: self.orders.settings()?,
            reach: self.reach.settings(self.plugins.sandboxes)?,
            schedule: self.schedule.settings(),
        })
    }

    /// As channels need it. Reads the files of authorities.
    ///
    /// # Errors
    ///
    /// Names the server whose password is not in the environment, and the file that holds no certificate.
    pub fn outbound(&self, secrets: &Secrets) -> anyhow::Result<Outbound> {
        for (name, server) in &self.smtp {
            if let Some(secret) =
                server.password_secret.as_ref().filter(|secret| !secrets.outbound.contains_key(*secret))
            {
                let variable = secret.to_uppercase().replace('-', "_");
                bail!("configuration: smtp.{name}.password_secret: set GALENIC_SECRET_{variable}");
            }
        }
        let mut smtp = BTreeMap::new();
        for (name, server) in &self.smtp {
            let roots = read_roots(&server.ca_files, &format!("smtp.{name}.ca_files"))?;
            smtp.insert(name.clone(), server.server(roots));
        }
        let roots = read_roots(&self.outbound.ca_files, "outbound.ca_files")?;
        Ok(Outbound { secrets: secrets.outbound.clone(), smtp, roots, lookup: None })
    }

    /// As the server needs it.
    pub fn bounds(&self) -> Bounds {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Bounds {
            connections_max: self.server.connections_max,
            header_read_max: seconds(self.server.header_seconds_max),
            stall_max: seconds(self.server.stall_seconds_max),
            drain_max: seconds(self.server.drain_seconds_max),
        }
    }

    /// As the rate limiter needs it.
    pub fn rates(&self) -> Rates {
        Rates { per_key: self.limits.requests_per_second, anonymous: self.limits.anonymous_per_second }
    }

    /// As the store needs it.
    pub fn sled_options(&self) -> SledOptions {
        SledOptions {
            cache_bytes: self.store.cache_mb << 20,
            reserve_bytes: self.store.reserve_mb << 20,
            waiting_max: self.store.waiting_max,
            group_max: self.store.group_max,
            ..SledOptions::standard()
        }
    }
}

impl Reach {
    fn check(&self, require: &mut impl FnMut(bool, String)) {
        for (key, value) in [("quiet_from", &self.quiet_from), ("quiet_to", &self.quiet_to)] {
            require(value.parse::<Time>().is_ok(), format!("reach.{key} must be a time like `21:00`, not `{value}`"));
        }
        require((1..=100).contains(&self.cap_per_day), "reach.cap_per_day must be 1 to 100".to_owned());
        require((1..=1_000).contains(&self.at_once), "reach.at_once must be 1 to 1000".to_owned());
        require((1..=60).contains(&self.attempt_seconds_max), "reach.attempt_seconds_max must be 1 to 60".to_owned());
        let days = (7..=36_600).contains(&self.touches_kept_days);
        require(days, "reach.touches_kept_days must be 7 to 36600".to_owned());
        let days = (1..=self.touches_kept_days).contains(&self.contents_kept_days);
        require(days, "reach.contents_kept_days must be 1 to reach.touches_kept_days".to_owned());
        let url = self.public_url.as_str();
        let fits = (url.starts_with("https://") || url.starts_with("http://"))
            && !url.ends_with('/')
            && url.len() <= 128
            && url.bytes().all(|byte| byte.is_ascii_graphic());
        require(
            fits,
            format!("reach.public_url must be `https://` and a host, without a slash at its end, not `{url}`"),
        );
    }

    /// One channel gets three quarters of what may be under way, and no more than may call out of `sandboxes`.
    fn settings(&self, sandboxes: u32) -> anyhow::Result<ReachSettings> {
        let per_channel = (self.at_once * 3 / 4).min(places_per_release(sandboxes)).max(1);
        let time = |text: &str, key: &'static str| text.parse::<Time>().context(key);
        Ok(ReachSettings {
            quiet: QuietHours {
                from: time(&self.quiet_from, "reach.quiet_from")?,
                to: time(&self.quiet_to, "reach.quiet_to")?,
            },
            cap_per_day: self.cap_per_day as usize,
            public_url: self.public_url.clone(),
            at_once: self.at_once as usize,
            per_channel: per_channel as usize,
            attempt_max: Duration::from_secs(self.attempt_seconds_max.into()),
            touches_kept_days: self.touches_kept_days,
            contents_kept_days: self.contents_kept_days,
        })
    }
}

impl Schedule {
    fn check(&self, require: &mut impl FnMut(bool, String)) {
        let named = (1..=64).contains(&self.node.len()) && self.node.bytes().all(|byte| byte.is_ascii_graphic());
        require(named, "schedule.node must be 1 to 64 visible ASCII characters".to_owned());
        require((0..=23).contains(&self.hour), "schedule.hour must be 0 to 23".to_owned());
        let pace = (1..=1_000_000).contains(&self.members_per_second);
        require(pace, "schedule.members_per_second must be 1 to 1000000".to_owned());
        for (name, days) in [
            ("coupon_notice_days", u32::from(self.coupon_notice_days)),
            ("points_notice_days", u32::from(self.points_notice_days)),
            ("refill_notice_days", u32::from(self.refill_notice_days)),
        ] {
            require(days <= 365, format!("schedule.{name} must be 0 to 365"));
        }
        for (name, days) in [
            ("decisions_kept_days", self.decisions_kept_days),
            ("events_kept_days", self.events_kept_days),
            ("idempotency_kept_days", self.idempotency_kept_days),
        ] {
            require((1..=36_600).contains(&days), format!("schedule.{name} must be 1 to 36600"));
        }
    }

    fn settings(&self) -> ScheduleSettings {
        let Self {
            node,
            coupon_notice_days,
            points_notice_days,
            refill_notice_days,
            hour,
            members_per_second,
            decisions_kept_days,
            events_kept_days,
            idempotency_kept_days,
        } = self.clone();
        ScheduleSettings {
            node,
            coupon_notice_days,
            points_notice_days,
            refill_notice_days,
            hour,
            members_per_second,
            decisions_kept_days,
            events_kept_days,
            idempotency_kept_days,
        }
    }
}

#[cfg(test)]
mod tests;

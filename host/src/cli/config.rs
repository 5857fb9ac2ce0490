//! Configuration: flag > environment `GALENIC__SECTION__KEY` > TOML file > default.
//!
//! Unknown keys are refused with their name. Secrets come from the environment alone ([`Secrets`]) and are shown
//! nowhere.

mod orders;
mod outbound;
mod reach;
mod schedule;
mod secrets;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        money::{BasisPoints, Money},
        points::Clawback,
    },
    http::{Bounds, Rates},
    plugin::Roots,
    service::Settings,
    store::SledOptions,
};

pub(crate) use self::secrets::key_bytes;
pub use self::{
    orders::Orders,
    outbound::{OutboundHttp, Smtp, SmtpEncryption},
    reach::Reach,
    schedule::Schedule,
    secrets::Secrets,
};

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
            reach: Reach::standard(),
            schedule: Schedule::standard(),
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

#[cfg(test)]
mod tests;

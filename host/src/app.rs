//! The wiring: the only file that knows every room.
//!
//! [`App::open`] opens everything in a data directory and makes the releases live that were live before; [`App::run`]
//! serves until it is told to stop and closes everything again. [`App::start`] does the same in the background, for the
//! demo and for tests.
//!
//! The data directory: `store/` the ordered map, `decisions/` recorded decisions, `vault/` the keys of personal data,
//! `modules/` plugin bytes by digest, `cache/` compiled plugins, `erasures.log` which keys were destroyed, `master.key`
//! where the environment brings none.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use sha2::Sha256;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    cli::config::{Config, Secrets, key_bytes},
    clock::Clock,
    http::{Http, HttpConfig},
    ids::Ids,
    members::vault::Vault,
    plugin::{Decisions, Engine, EngineConfig},
    reach,
    service::{
        Error, Services,
        reach::{EngineOutlets, Reach},
        timers::Pace,
    },
    store::{Barrier, Store, StoreError},
};

/// Where the master key lies if the environment brings none.
const MASTER_KEY_FILE: &str = "master.key";
/// Events that ask for messages are looked for this often.
const EVENTS_EVERY: Duration = Duration::from_millis(250);
/// How often events are counted for recommendations for one look: what is left waits for the next.
const COUNTED_IN_A_ROW: usize = 8;
/// What is due is looked for this often.
const TIMERS_EVERY: Duration = Duration::from_secs(1);
/// Metrics are kept small every so many looks for timers.
const UPKEEP_EVERY: u32 = 30;
/// How often old quotes are swept for one look: a whole load of them keeps no timer waiting.
const SWEEPS_PER_LOOK: usize = 20;

/// Recorded decisions are on disk no later than the transactions they explain.
impl Barrier for Decisions {
    fn sync(&self) -> std::io::Result<()> {
        Self::sync(self)
    }
}

/// An open deployment.
pub struct App {
    services: Services,
    config: Config,
    http: Http,
    metrics: PrometheusHandle,
}

/// A deployment that runs in the background.
pub struct Running {
    address: SocketAddr,
    services: Services,
    stop: watch::Sender<bool>,
    done: JoinHandle<anyhow::Result<()>>,
}

impl App {
    /// Opens everything in the configured data directory, and makes what was live before live again.
    ///
    /// # Errors
    ///
    /// Names what cannot be opened, and why.
    pub async fn open(config: Config, secrets: &Secrets, clock: Clock, ids: Ids) -> anyhow::Result<Self> {
        let master_key = master_key(&config.store.data, secrets)?;
        let services = open_services(&config, secrets, master_key, clock, ids).await?;
        services.restore_releases().await.context("cannot restore the plugin releases")?;
        services.ensure_schedules().await.context("cannot make the schedules")?;
        services.ensure_occasions().await.context("cannot look for members without birthdays")?;
        services.ensure_points_totals().await.context("cannot count the members' points")?;
        if let Some(secret) = &secrets.operator_key {
            let key = services.seed_operator_key(secret).await.context("GALENIC_OPERATOR_KEY")?;
            if key.revoked_at.is_some() {
                tracing::warn!(key = %key.id, "GALENIC_OPERATOR_KEY names a key that was revoked: it opens nothing");
            }
        }
        let http = HttpConfig {
            bounds: config.bounds(),
            request_max: Duration::from_secs(config.server.request_seconds_max.into()),
            rates: config.rates(),
            fingerprint_secret: derived(&master_key, b"galenic/idempotency-fingerprint"),
        };
        let metrics = metrics_recorder()?;
        let http = Http::new(services.clone(), http, metrics.clone())?;
        Ok(Self { services, config, http, metrics })
    }

    /// The use cases, for those that drive them without HTTP.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Serves on `listener` until `stop` is ready. Requests in flight finish, the store is flushed.
    ///
    /// # Errors
    ///
    /// If the metrics listener cannot be bound, the store failed meanwhile, or it cannot be closed.
    pub async fn run(self, listener: TcpListener, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let metrics_listener = match self.config.server.metrics_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let (stopping, stopped) = watch::channel(false);
        let mut upkeep = tokio::spawn(upkeep(self.services.clone(), self.metrics, stopped.clone()));
        let delivery = tokio::spawn(deliver(self.services.clone(), stopped.clone()));
        let metrics_server = metrics_listener.map(|listener| {
            let (http, stopped) = (self.http.clone(), stopped.clone());
            tokio::spawn(async move { http.serve_metrics(listener, until(stopped)).await })
        });
        let mut kept_up = None;
        let stop = async {
            tokio::select! {
                () = stop => {}
                // Only a store that failed ends it early: nothing can be served any more.
                ended = &mut upkeep => kept_up = Some(ended),
            }
        };
        let cut_off = self.http.serve(listener, stop).await;
        stopping.send_replace(true);
        self.services.reach.drain();
        let kept_up = match kept_up {
            Some(ended) => ended,
            None => upkeep.await,
        };
        delivery.await.context("the delivery panicked")?;
        kept_up.context("the upkeep panicked")?.context("the store failed")?;
        if let Some(server) = metrics_server {
            server.await.context("the metrics server panicked")?;
        }
        self.services.store.close().await.context("cannot close the store")?;
        tracing::info!(cut_off, "stopped");
        Ok(())
    }

    /// Serves in the background on an address, port 0 for any free one.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound.
    pub async fn start(self, address: SocketAddr) -> anyhow::Result<Running> {
        let listener = bind(address).await?;
        let address = listener.local_addr().context("the listener has no address")?;
        let (stop, stopped) = watch::channel(false);
        let services = self.services.clone();
        let done = tokio::spawn(self.run(listener, until(stopped)));
        Ok(Running { address, services, stop, done })
    }
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The use cases behind it.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Drains, flushes and closes.
    ///
    /// # Errors
    ///
    /// Those of [`App::run`].
    pub async fn stop(self) -> anyhow::Result<()> {
        let Self { stop, done, services, .. } = self;
        drop(services);
        stop.send_replace(true);
        done.await.context("the server panicked")?
    }
}

/// A listener on an address.
///
/// # Errors
///
/// Names the address.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Opens the rooms and hands them to the use cases. No release is live yet.
///
/// # Errors
///
/// Names what cannot be opened, and why.
pub async fn open_services(
    config: &Config,
    secrets: &Secrets,
    master_key: [u8; 32],
    clock: Clock,
    ids: Ids,
) -> anyhow::Result<Services> {
    let data = config.store.data.clone();
    let engine = EngineConfig { outbound: config.outbound(secrets)?, ..engine_config(config) };
    let (engine, decisions) = (engine, config.plugins.decisions_segment_mb << 20);
    let sled = config.sled_options();
    let opened = tokio::task::spawn_blocking(move || {
        fs::create_dir_all(&data).with_context(|| format!("cannot make the data directory {}", data.display()))?;
        let vault = Arc::new(Vault::unlock(&data, master_key).context("cannot open the keys of personal data")?);
        let decisions =
            Decisions::open(&data.join("decisions"), decisions).context("cannot open the recorded decisions")?;
        let decisions = Arc::new(decisions);
        let barriers: Vec<Arc<dyn Barrier>> = vec![Arc::new(DecisionsBarrier(decisions.clone())), vault.clone()];
        let store = Store::open(&data.join("store"), sled, barriers).context("cannot open the store")?;
        let engine = Engine::new(engine).context("cannot start the plugin engine")?;
        let modules = data.join("modules");
        fs::create_dir_all(&modules).with_context(|| format!("cannot make {}", modules.display()))?;
        anyhow::Ok((vault, decisions, store, engine, modules))
    });
    let (vault, decisions, store, engine, modules) = opened.await.context("opening panicked")??;
    let engine = Arc::new(engine);
    let secrets = reach::secrets::Secrets::new(&derived(&master_key, b"galenic/reach"));
    let settings = config.settings()?;
    let outlets = Arc::new(EngineOutlets::new(engine.clone()));
    Ok(Services {
        store,
        vault,
        reach: Arc::new(Reach::new(secrets, outlets, settings.reach.per_channel)),
        engine,
        decisions,
        tier_policies: Arc::default(),
        clock: Arc::new(clock),
        ids: Arc::new(ids),
        settings: Arc::new(settings),
        modules: modules.into(),
        keys: Arc::default(),
        shelf: Arc::default(),
        jobs: Arc::default(),
    })
}

/// Decisions are on disk no later than the transactions they explain. The two rooms do not know each other.
struct DecisionsBarrier(Arc<Decisions>);

impl Barrier for DecisionsBarrier {
    fn sync(&self) -> std::io::Result<()> {
        self.0.sync()
    }
}

fn engine_config(config: &Config) -> EngineConfig {
    EngineConfig {
        cache_bytes_max: config.plugins.cache_mb << 20,
        sandboxes: config.plugins.sandboxes,
        pool_wait: Duration::from_millis(config.plugins.pool_wait_ms.into()),
        module_bytes_max: (config.plugins.module_mb_max as usize) << 20,
        ..EngineConfig::standard(Some(config.store.data.join("cache")))
    }
}

/// The key that seals all other keys: from the environment, else from a file that only its owner reads, made at the
/// first start.
///
/// # Errors
///
/// If the file cannot be read or made, or holds no key.
pub fn master_key(data: &Path, secrets: &Secrets) -> anyhow::Result<[u8; 32]> {
    if let Some(key) = known_master_key(data, secrets)? {
        return Ok(key);
    }
    let key: [u8; 32] = Ids::random().bytes();
    let path = write_master_key(data, &key)?;
    tracing::warn!(
        path = %path.display(),
        "made a master key beside the data: back it up apart from it, or set GALENIC_MASTER_KEY"
    );
    Ok(key)
}

/// The key that seals all other keys, if there is one already.
///
/// # Errors
///
/// If the file cannot be read, or holds no key.
pub fn known_master_key(data: &Path, secrets: &Secrets) -> anyhow::Result<Option<[u8; 32]>> {
    if secrets.master_key.is_some() {
        return Ok(secrets.master_key);
    }
    let path = data.join(MASTER_KEY_FILE);
    if path.exists() { read_master_key(&path).map(Some) } else { Ok(None) }
}

/// A key of 64 hexadecimal digits in a file.
///
/// # Errors
///
/// If the file cannot be read, or holds no key. The message does not repeat it.
pub fn read_master_key(path: &Path) -> anyhow::Result<[u8; 32]> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    key_bytes(&text).with_context(|| format!("{} holds no key of 64 hexadecimal digits", path.display()))
}

/// Puts the master key beside the data, where only its owner reads it; where that is.
///
/// # Errors
///
/// If it cannot be written, or one is there already.
pub fn write_master_key(data: &Path, key: &[u8; 32]) -> anyhow::Result<std::path::PathBuf> {
    let path = data.join(MASTER_KEY_FILE);
    write_key(data, &path, key).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

/// Durable before anything is sealed with it.
fn write_key(data: &Path, path: &Path, key: &[u8; 32]) -> std::io::Result<()> {
    fs::create_dir_all(data)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::File::open(data)?.sync_all()
}

/// A secret for one purpose, from the master key.
fn derived(master_key: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(master_key).expect("HMAC takes a key of any length");
    mac.update(purpose);
    mac.finalize().into_bytes().into()
}

/// The process's one recorder of metrics.
fn metrics_recorder() -> anyhow::Result<PrometheusHandle> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let bounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
    let seconds = Matcher::Full("galenic_http_request_seconds".to_owned());
    let recorder = PrometheusBuilder::new().set_buckets_for_metric(seconds, &bounds)?.build_recorder();
    let handle = recorder.handle();
    // Another one may have come first; then it is the one that counts.
    if metrics::set_global_recorder(recorder).is_ok() {
        return Ok(HANDLE.get_or_init(|| handle).clone());
    }
    Ok(HANDLE.get().cloned().unwrap_or(handle))
}

/// Ready once the sender says so or is gone.
async fn until(mut stopped: watch::Receiver<bool>) {
    let _closed = stopped.wait_for(|stopped| *stopped).await;
}

/// Does what is due and sweeps what is long past, until it is told to stop or the store fails for good.
async fn upkeep(
    services: Services,
    metrics: PrometheusHandle,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), StoreError> {
    let mut ticks = tokio::time::interval(TIMERS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looks = 0_u32;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
        }
        match services.run_due(Pace::Measured, || !*stopped.borrow()).await {
            Ok(_) => {}
            Err(Error::Store(error @ StoreError::Poisoned { .. })) => return Err(error),
            Err(error) => tracing::error!(%error, "what is due cannot be done"),
        }
        if let Err(error) = advance_recommendations(&services, &stopped).await {
            tracing::error!(%error, "orders cannot be counted for recommendations");
        }
        if looks.is_multiple_of(UPKEEP_EVERY) {
            metrics.run_upkeep();
        }
        if let Err(error) = sweep_quotes(&services, &stopped).await {
            tracing::error!(%error, "old quotes cannot be swept");
        }
        looks = looks.wrapping_add(1);
    }
}

/// Sweeps quotes that are long past, as many as one look may: what is left is the next look's.
async fn sweep_quotes(services: &Services, stopped: &watch::Receiver<bool>) -> Result<(), Error> {
    for _ in 0..SWEEPS_PER_LOOK {
        if *stopped.borrow() || services.sweep_quotes().await? == 0 {
            break;
        }
    }
    Ok(())
}

/// Asks for the messages of what has happened and sends what is due, until it is told to stop. Attempts under way finish;
/// what a crash cut off is taken up first.
async fn deliver(services: Services, stopped: watch::Receiver<bool>) {
    if let Err(error) = services.reclaim_touches().await {
        tracing::error!(%error, "attempts that were cut off wait for the end of their lease");
    }
    tokio::join!(services.deliver_always(stopped.clone()), ask(&services, stopped));
}

/// Asks for the messages of what has happened.
async fn ask(services: &Services, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(EVENTS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        while !*stopped.borrow() {
            match services.ask_for_events().await {
                Ok(asked) if asked.more => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::error!(%error, "messages cannot be asked for");
                    break;
                }
            }
        }
    }
}

async fn advance_recommendations(services: &Services, stopped: &watch::Receiver<bool>) -> Result<(), Error> {
    for _ in 0..COUNTED_IN_A_ROW {
        if services.advance_recommendations().await? == 0 || *stopped.borrow() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

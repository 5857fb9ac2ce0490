//! The engine: wasmtime's configuration, the pool of sandboxes, the clock of epochs, and the slots.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{
    Config, Enabled, EngineWeak, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, component::Linker,
};

use super::{
    artefact::Artefacts,
    budget::Budgets,
    fault::Fault,
    metrics::ReleaseStats,
    module::{self, AdmissionError, Module},
    outbound::{self, Egress, Outbound},
    release::{self, Purpose, Release, ReleaseError, ReleaseSpec},
    sandbox::{CORE_INSTANCES_MAX, Guest, MEMORIES_MAX, TABLES_MAX},
    slot::Slot,
};
use crate::domain::rule::{Code, Kind};

/// Between two looks at the epoch a guest runs at most this long.
const TICK: Duration = Duration::from_micros(900);
/// The guest's own frames; its linear stack is in its memory.
const WASM_STACK_BYTES: usize = 256 << 10;
/// The guest's frames and the host's below them. Only touched pages cost memory.
const FIBER_STACK_BYTES: usize = 512 << 10;
/// What of a memory is reset by copying rather than by handing pages back: best for guests of this size.
const KEEP_RESIDENT_BYTES: usize = 128 << 10;

/// Modules that are tried at once before they may answer anybody.
const TRIALS: u32 = 4;
/// How long a module waits to be tried: a trial has its own deadline, and there may be one before it.
const TRIAL_WAIT: Duration = Duration::from_secs(30);

/// How large the engine is.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Where compiled artefacts are kept between runs; `None` keeps none.
    pub cache_dir: Option<PathBuf>,
    /// Above this the artefacts least recently written go at the next start.
    pub cache_bytes_max: u64,
    /// How many calls run at once; more wait.
    pub sandboxes: u32,
    /// How long a call waits for a sandbox.
    pub pool_wait: Duration,
    /// The largest module.
    pub module_bytes_max: usize,
    /// What channels reach through.
    pub outbound: Outbound,
}

impl EngineConfig {
    /// Sixty-four sandboxes, a second of patience, modules of up to 4 MiB, half a GiB of artefacts; no secrets and no
    /// SMTP server.
    pub const fn standard(cache_dir: Option<PathBuf>) -> Self {
        Self {
            cache_dir,
            cache_bytes_max: 512 << 20,
            sandboxes: 64,
            pool_wait: Duration::from_secs(1),
            module_bytes_max: 4 << 20,
            outbound: Outbound::none(),
        }
    }
}

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime refuses the configuration, or the machine the memory.
    #[error("the plugin engine could not be built: {0}")]
    Build(String),
    /// The cache directory cannot be used.
    #[error("the cache directory {path} cannot be used: {error}")]
    Cache {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The thread that counts epochs could not be started.
    #[error("the epoch thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// Takes modules, prepares releases and holds the slots. Cheap to clone.
///
/// One pool of sandboxes, `small`, serves guests of up to a few MiB. Guests that bring a language runtime along want
/// other limits and a pool of their own; nothing outside this file knows how many pools there are.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

/// What all releases share.
pub(super) struct Shared {
    pub(super) small: Arc<Pool>,
    /// Compiles fast to slow code: for the few runs before a release, at admission and before the snapshot.
    pub(super) trial: Arc<Pool>,
    pub(super) artefacts: Artefacts,
    pub(super) module_bytes_max: usize,
    pub(super) egress: Arc<Egress>,
    slots: Mutex<BTreeMap<Code, Arc<Slot>>>,
}

/// An engine with a fixed number of places, and the queue in front of it.
pub(super) struct Pool {
    /// Tells the artefacts of one pool from those of another.
    pub(super) name: &'static str,
    pub(super) engine: wasmtime::Engine,
    pub(super) linker: Linker<Guest>,
    places: Arc<Semaphore>,
    wait: Duration,
}

impl Pool {
    fn new(name: &'static str, level: OptLevel, sandboxes: u32, wait: Duration) -> Result<Self, EngineError> {
        let build = |error: wasmtime::Error| EngineError::Build(format!("{error:#}"));
        let mut config = base_config();
        config.cranelift_opt_level(level).allocation_strategy(pooling(sandboxes));
        let engine = wasmtime::Engine::new(&config).map_err(build)?;
        let mut linker = Linker::new(&engine);
        outbound::link(&mut linker).map_err(build)?;
        Ok(Self { name, engine, linker, places: Arc::new(Semaphore::new(sandboxes as usize)), wait })
    }

    /// A place in the pool, as soon as one is free.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit, Fault> {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(permit);
        }
        match tokio::time::timeout(self.wait, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Fault::PoolBusy(u32::try_from(self.wait.as_millis()).unwrap_or(u32::MAX))),
        }
    }

    /// Places that are free now.
    pub(super) fn free(&self) -> usize {
        self.places.available_permits()
    }
}

impl Engine {
    /// Builds the engine and starts its epoch thread, which ends with the engine.
    ///
    /// # Errors
    ///
    /// [`EngineError`] if wasmtime refuses, the cache directory cannot be used or no thread can be started.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let small = Pool::new("small", OptLevel::Speed, config.sandboxes, config.pool_wait)?;
        let trial = Pool::new("trial", OptLevel::None, TRIALS, TRIAL_WAIT)?;
        let engines = [&small.engine, &trial.engine];
        tick(engines.map(wasmtime::Engine::weak).to_vec()).map_err(EngineError::Thread)?;
        let artefacts = Artefacts::open(config.cache_dir.clone(), config.cache_bytes_max, &engines);
        let artefacts = artefacts
            .map_err(|error| EngineError::Cache { path: config.cache_dir.clone().unwrap_or_default(), error })?;
        let shared = Shared {
            small: Arc::new(small),
            trial: Arc::new(trial),
            artefacts,
            module_bytes_max: config.module_bytes_max,
            egress: Arc::new(Egress::new(config.outbound, config.sandboxes)),
            slots: Mutex::default(),
        };
        Ok(Self(Arc::new(shared)))
    }

    /// Checks a module and takes it in. The bytes decide everything: the same bytes give the same module.
    ///
    /// # Errors
    ///
    /// [`AdmissionError`] says what is wrong with it and what would be right.
    pub async fn admit(&self, bytes: impl Into<Arc<[u8]>> + Send) -> Result<Arc<Module>, AdmissionError> {
        let (shared, bytes) = (Arc::clone(&self.0), bytes.into());
        let admitted = tokio::task::spawn_blocking(move || module::admit(&shared, bytes)).await;
        admitted.unwrap_or_else(|error| Err(AdmissionError::Host(error.to_string())))
    }

    /// Configures a module and makes it ready to answer: a release that can be activated at any time.
    ///
    /// # Errors
    ///
    /// [`ReleaseError`] names the wrong fields of the configuration, the budgets or the fallback.
    pub async fn prepare(&self, spec: ReleaseSpec) -> Result<Arc<Release>, ReleaseError> {
        self.prepare_as(spec, Purpose::Service).await
    }

    /// The same without asking for the grants that a channel needs: to see whether a configuration is right. Such a
    /// release reaches only what it was granted, which may be nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::prepare`], but for missing grants.
    pub async fn rehearse(&self, spec: ReleaseSpec) -> Result<Arc<Release>, ReleaseError> {
        self.prepare_as(spec, Purpose::Rehearsal).await
    }

    async fn prepare_as(&self, spec: ReleaseSpec, purpose: Purpose) -> Result<Arc<Release>, ReleaseError> {
        let shared = Arc::clone(&self.0);
        let prepared = tokio::task::spawn_blocking(move || release::prepare(&shared, spec, purpose)).await;
        prepared.unwrap_or_else(|error| Err(ReleaseError::Host(error.to_string())))
    }

    /// The slot of this name. The first to ask makes it, and its kind never changes: `None` if it has another.
    pub fn slot(&self, name: &str, kind: Kind) -> Option<Arc<Slot>> {
        let mut slots = self.slots_locked();
        let slot = slots.entry(name.into()).or_insert_with(|| Arc::new(Slot::new(name.into(), kind)));
        (slot.kind() == kind).then(|| Arc::clone(slot))
    }

    /// All slots, by name.
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots_locked().values().cloned().collect()
    }

    /// What the releases of all slots did, those withdrawn included.
    pub fn stats(&self) -> Vec<ReleaseStats> {
        self.slots().iter().flat_map(|slot| slot.stats()).collect()
    }

    /// Sandboxes that are free now.
    pub fn sandboxes_free(&self) -> usize {
        self.0.small.free()
    }

    fn slots_locked(&self) -> MutexGuard<'_, BTreeMap<Code, Arc<Slot>>> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What both engines have in common: everything that decides an answer.
fn base_config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .gc_support(false)
        .wasm_threads(false)
        .wasm_memory64(false)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .memory_init_cow(true)
        .native_unwind_info(false)
        .parallel_compilation(true);
    config
}

fn pooling(sandboxes: u32) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(sandboxes)
        .total_core_instances(sandboxes * CORE_INSTANCES_MAX)
        .total_memories(sandboxes * MEMORIES_MAX)
        .total_tables(sandboxes * TABLES_MAX)
        .total_stacks(sandboxes)
        .total_gc_heaps(0)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_memory_size(Budgets::MEMORY_BYTES_MAX as usize)
        .table_elements(Budgets::TABLE_ELEMENTS_MAX as usize)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(16 << 10)
        // An open bug of wasmtime can carry one instance's memory into the next.
        .pagemap_scan(Enabled::No);
    InstanceAllocationStrategy::Pooling(pool)
}

/// Counts epochs until every engine is gone.
fn tick(engines: Vec<EngineWeak>) -> std::io::Result<()> {
    let run = move || {
        loop {
            thread::sleep(TICK);
            let mut alive = false;
            for engine in engines.iter().filter_map(EngineWeak::upgrade) {
                engine.increment_epoch();
                alive = true;
            }
            if !alive {
                return;
            }
        }
    };
    thread::Builder::new().name("plugin-epoch".to_owned()).spawn(run).map(drop)
}

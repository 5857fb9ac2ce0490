//! Services over a store of their own, for tests: on a clock that stands still and with ids that repeat.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tempfile::TempDir;

use super::{
    Caller, Idempotency, Services, Settings,
    offers::NewOffer,
    reach::{EngineOutlets, Reach},
    settings::ScheduleSettings,
};
use crate::{
    clock::Clock,
    domain::{
        money::{BasisPoints, Money},
        offer::OfferClass,
    },
    ids::{Id as _, Ids, KeyId, PartnerId},
    members::vault::Vault,
    plugin::{Decisions, Engine, EngineConfig},
    reach::secrets::Secrets,
    store::{Barrier, SledOptions, Store},
};

/// Services that go away with everything they wrote.
pub(crate) struct Fixture {
    /// The services.
    pub(crate) services: Services,
    /// A partner's key that sees what the partner made.
    pub(crate) shop: Caller,
    /// An operator's key that sees everything.
    pub(crate) operator: Caller,
    dir: TempDir,
    requests: AtomicU64,
}

impl Fixture {
    /// Over the model store, with the reference plugins live: every closure is run again and again.
    pub(crate) async fn model(seed: u64) -> Self {
        Self::with_rules(Self::without_rules(seed)).await
    }

    /// Over the model store, without any plugin: for use cases that ask none.
    pub(crate) fn without_rules(seed: u64) -> Self {
        let dir = TempDir::new().expect("a directory");
        let services = services(&dir, Store::model(seed), Beside::open(&dir), seed);
        Self::over(services, dir)
    }

    /// Over sled on disk, with the reference plugins live.
    pub(crate) async fn sled() -> Self {
        let dir = TempDir::new().expect("a directory");
        let services = on_disk(&dir, 1);
        Self::with_rules(Self::over(services, dir)).await
    }

    /// Closes the store and opens everything again, as a restart does; for [`Fixture::sled`] alone.
    pub(crate) async fn restart(self) -> Self {
        let (dir, now, requests) = (self.dir, self.services.clock.now(), self.requests);
        self.services.store.clone().close().await.expect("closes");
        drop(self.services);
        let restarted = on_disk(&dir, requests.load(Ordering::Relaxed) + 2);
        restarted.clock.set(now).expect("is a manual clock");
        let fixture = Self { requests, ..Self::over(restarted, dir) };
        Self::with_rules(fixture).await
    }

    /// The idempotency of a request that was never made before.
    pub(crate) fn once(&self) -> Idempotency {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        Idempotency { partner: self.shop.partner, key: format!("request-{number}"), fingerprint: [0; 32] }
    }

    /// Hands every file that the services wrote to `each`.
    pub(crate) fn each_file(&self, mut each: impl FnMut(&Path, &[u8])) {
        let mut dirs = vec![self.dir.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    each(&path, &std::fs::read(&path).expect("a file"));
                }
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn wait(&self, time: SignedDuration) {
        let then = self.services.clock.now().checked_add(time).expect("a time");
        self.services.clock.set(then).expect("is a manual clock");
    }

    fn over(services: Services, dir: TempDir) -> Self {
        let caller = |partner: u128, sees_all| Caller {
            key: KeyId::from_bits(partner),
            partner: PartnerId::from_bits(partner),
            sees_all,
        };
        Self { services, shop: caller(2, false), operator: caller(1, true), dir, requests: AtomicU64::new(0) }
    }

    async fn with_rules(self) -> Self {
        self.services.restore_releases().await.expect("the reference plugins go live");
        self
    }
}

/// What lies beside the store.
struct Beside {
    vault: Arc<Vault>,
    decisions: Arc<Decisions>,
}

impl Beside {
    fn open(dir: &TempDir) -> Self {
        let vault = Vault::unlock(dir.path(), [7; 32]).expect("a vault");
        let decisions = Decisions::open(&dir.path().join("decisions"), 1 << 20).expect("decisions");
        Self { vault: Arc::new(vault), decisions: Arc::new(decisions) }
    }
}

fn on_disk(dir: &TempDir, seed: u64) -> Services {
    let beside = Beside::open(dir);
    let barriers: Vec<Arc<dyn Barrier>> = vec![beside.decisions.clone(), beside.vault.clone()];
    let store = Store::open(&dir.path().join("store"), SledOptions::standard(), barriers).expect("a store");
    services(dir, store, beside, seed)
}

fn services(dir: &TempDir, store: Store, beside: Beside, seed: u64) -> Services {
    // Compiled artefacts are shared by all tests and all runs.
    let cache = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tmp/artefacts"));
    let engine = Engine::new(EngineConfig { sandboxes: 4, ..EngineConfig::standard(Some(cache)) }).expect("an engine");
    let start: Timestamp = "2026-03-01T04:00:00Z".parse().expect("a time");
    let settings = Settings {
        currency: "CNY".to_owned(),
        zone: TimeZone::get("Asia/Shanghai").expect("a zone"),
        quote_holds: SignedDuration::from_mins(15),
        order_holds: SignedDuration::from_mins(30),
        points_value_per_100: Money::new(100),
        points_most: BasisPoints::new(5_000),
        clawback: crate::domain::points::Clawback::WithinBalance,
        coupons_per_quote: 20,
        orders: super::settings::OrderSettings::standard(),
        reach: super::settings::ReachSettings::standard(),
        schedule: ScheduleSettings {
            node: "test".to_owned(),
            coupon_notice_days: 7,
            points_notice_days: 30,
            refill_notice_days: 3,
            hour: 9,
            members_per_second: 1_000,
            decisions_kept_days: 400,
            events_kept_days: 400,
            idempotency_kept_days: 30,
        },
    };
    let engine = Arc::new(engine);
    Services {
        store,
        vault: beside.vault,
        reach: Arc::new(Reach::new(Secrets::new(&[5; 32]), Arc::new(EngineOutlets::new(engine.clone())), 24)),
        engine,
        decisions: beside.decisions,
        clock: Arc::new(Clock::manual(start)),
        ids: Arc::new(Ids::seeded(seed)),
        settings: Arc::new(settings),
        modules: dir.path().join("modules").into(),
        keys: Arc::default(),
        shelf: Arc::default(),
        tier_policies: Arc::default(),
        jobs: Arc::default(),
    }
}

/// An offer of one yuan off, without limits.
pub(crate) fn offer(code: &str, class: OfferClass) -> NewOffer {
    let terms = serde_json::json!({"type": "amount", "amount": {"minor": 100, "currency": "CNY"}});
    let terms = terms.as_object().expect("an object").clone();
    NewOffer { returns_on_refund: true, ..NewOffer::plain(code.parse().expect("a code"), class, terms) }
}

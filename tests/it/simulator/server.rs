//! The engine under test: in this process, which is fast, or as the real program, which can be killed.

use std::time::Duration;

use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::{
    app::{Client, SHOP_SCOPES, TestApp, share_artefacts, text},
    program::run,
    touches_crash::Served,
};

/// When the clock of a program starts.
const START: &str = "2026-03-01T04:00:00Z";

/// Which engine a script runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In this process.
    Here,
    /// A process of its own, that scripts kill.
    Killed,
}

/// A running engine.
pub(crate) enum Server {
    Here(Option<Box<TestApp>>),
    Killed(Box<Program>),
}

/// The real program over a directory.
pub(crate) struct Program {
    data: TempDir,
    served: Option<Served>,
    shop: Client,
    operator: Client,
}

impl Program {
    async fn start() -> Self {
        galenic::plugin::use_ring();
        let data = TempDir::new().expect("a directory");
        share_artefacts(data.path());
        let mut served = Served::start(&data, START.parse().expect("a time"));
        let operator = Client::operator_at(served.ready().await);
        let partner = operator.post("/ops/v1/partners", json!({"name": "shop"})).await.expect(201);
        let key = json!({"partner": partner["id"], "name": "shop", "scopes": SHOP_SCOPES});
        let key = operator.post("/ops/v1/keys", key).await.expect(201);
        let shop = operator.with_key(&text(&key["secret"]));
        Self { data, served: Some(served), shop, operator }
    }

    async fn begin(&mut self, now: i64) {
        let now = Timestamp::from_millisecond(now).expect("an instant");
        let mut served = Served::start(&self.data, now);
        let url = served.ready().await;
        self.shop = self.shop.moved_to(&url);
        self.operator = self.operator.moved_to(&url);
        self.served = Some(served);
    }

    fn end(&mut self, signal: Signal) {
        if let Some(mut served) = self.served.take() {
            served.end(signal);
        }
    }
}

impl Server {
    pub(crate) async fn start(kind: Kind) -> Self {
        match kind {
            Kind::Here => Self::Here(Some(Box::new(TestApp::start().await))),
            Kind::Killed => Self::Killed(Box::new(Program::start().await)),
        }
    }

    /// Asks with a shop's key.
    pub(crate) fn shop(&self) -> &Client {
        match self {
            Self::Here(app) => &app.as_ref().expect("runs").shop,
            Self::Killed(program) => &program.shop,
        }
    }

    /// Asks with the operator's key.
    pub(crate) fn operator(&self) -> &Client {
        match self {
            Self::Here(app) => &app.as_ref().expect("runs").operator,
            Self::Killed(program) => &program.operator,
        }
    }

    /// Stops in order and starts again on the same directory, at this time.
    pub(crate) async fn restart(&mut self, now: i64) {
        match self {
            Self::Here(app) => *app = Some(Box::new(app.take().expect("runs").restart().await)),
            Self::Killed(program) => {
                program.end(Signal::TERM);
                program.begin(now).await;
            }
        }
    }

    /// Is killed, and starts again on the same directory, at this time.
    pub(crate) async fn crash(&mut self, now: i64) {
        match self {
            Self::Here(_) => self.restart(now).await,
            Self::Killed(program) => {
                program.end(Signal::KILL);
                program.begin(now).await;
            }
        }
    }

    /// Is killed so many microseconds from now, and starts again.
    pub(crate) async fn crash_in(&mut self, micros: u64, now: i64) {
        tokio::time::sleep(Duration::from_micros(micros)).await;
        self.crash(now).await;
    }

    /// Stops. What the program leaves behind must close, too, for one who only has the directory.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        match &mut self {
            Self::Here(_) => {}
            Self::Killed(program) => {
                program.end(Signal::KILL);
                let (code, said) = run(&["verify", "--data", program.data.path().to_str().expect("a path")]);
                if code != 0 || !said.contains("the books close") {
                    return Err(format!("galenic verify: {said}"));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Server {
    /// A server that differs is left as it is: nobody asks for its books any more.
    fn drop(&mut self) {
        if let Self::Here(Some(app)) = self {
            drop(app.take_running());
        }
    }
}

/// The releases that a script swaps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Releases {
    /// Numbers in the slot `tier`: by spend, by score.
    pub(crate) tier: [u64; 2],
    /// Numbers in the slot `coupon`, in pairs that say the same: for everything, and not for devices.
    pub(crate) coupon: [[u64; 2]; 2],
}

/// Makes releases whose calls may take long, because on a busy machine a slow call is no difference; and lets what waits
/// for the night begin at the stroke of three.
pub(crate) async fn release(server: &Server) -> Releases {
    let operator = server.operator();
    let modules = operator.get("/ops/v1/modules?limit=200").await.expect(200);
    let slots = operator.get("/ops/v1/slots").await.expect(200);
    let live = |slot: &str| {
        let found = slots["items"].as_array().expect("slots").iter().find(|found| found["name"] == slot);
        found.expect("lives")["release"].clone()
    };
    let make = async |slot: &str, change: Json| {
        let live = live(slot);
        let mut new = json!({"module": live["module"], "config": live["config"], "grants": live["grants"]});
        new["budgets"] = live["budgets"].clone();
        new["budgets"]["wall_ms"] = json!(10_000);
        for (name, value) in change.as_object().expect("fields") {
            new[name] = value.clone();
        }
        let path = format!("/ops/v1/slots/{slot}/releases");
        operator.post(&path, new).await.expect(201)["number"].as_u64().expect("a number")
    };
    let score: Json = serde_json::from_str(include_str!("../../../plugins/tier-composite/config.json")).expect("JSON");
    let composite =
        modules["items"].as_array().expect("modules").iter().find(|module| module["name"] == "tier-composite");
    let to_spend = json!({"tier_map": {"regular": "member", "diamond": "gold"}, "demote_now": true});
    let to_score = json!({
        "module": composite.expect("is built in")["digest"], "config": score, "demote_now": true,
        "tier_map": {"member": "regular", "bronze": "regular"},
    });
    let no_devices = json!({"config": {"percent_max": 10_000, "excluded_classes": ["device"]}});
    let releases = Releases {
        tier: [make("tier", to_spend).await, make("tier", to_score).await],
        coupon: [
            [make("coupon", json!({})).await, make("coupon", json!({})).await],
            [make("coupon", no_devices.clone()).await, make("coupon", no_devices).await],
        ],
    };
    let earning = make("earning", json!({})).await;
    for (slot, number) in [("tier", releases.tier[0]), ("coupon", releases.coupon[0][0]), ("earning", earning)] {
        let path = format!("/ops/v1/slots/{slot}/active");
        operator.put(&path, json!({"number": number})).await.expect(200);
    }
    operator.put("/ops/v1/schedules/tiers", json!({"jitter_seconds": 0})).await.expect(200);
    releases
}

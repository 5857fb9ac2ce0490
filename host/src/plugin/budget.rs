//! What a release may use up, and what it may see.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::rule::Kind;

/// Limits on every call of a release. Fuel and sizes count per item: a batch of ten has ten times as much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default = "Budgets::standard", deny_unknown_fields)]
pub struct Budgets {
    /// Instructions per item, or none. Rules of money need it: fuel is deterministic, time is not.
    pub fuel: Option<u64>,
    /// Milliseconds for the whole call: the backstop, also for what fuel does not count.
    pub wall_ms: u32,
    /// All linear memories together.
    pub memory_bytes: u32,
    /// Elements of each table.
    pub table_elements: u32,
    /// Facts, lines, terms, candidates and texts per item.
    pub input_bytes: u32,
    /// The answer per item, as the host holds it.
    pub output_bytes: u32,
    /// Reasons per answer.
    pub reasons: u16,
}

/// A budget above what the engine can give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("/budgets/{field} must be {min} to {max}")]
pub struct BadBudget {
    field: &'static str,
    min: u64,
    max: u64,
}

impl Budgets {
    /// The most memory a guest can have: the pool reserves that much address space.
    pub const MEMORY_BYTES_MAX: u32 = 64 << 20;
    /// The most elements of a table.
    pub const TABLE_ELEMENTS_MAX: u32 = 20_000;

    /// Ten million instructions, 16 MiB: many times what a rule over facts needs, little enough to share two cores.
    pub const fn standard() -> Self {
        Self {
            fuel: Some(10_000_000),
            wall_ms: 250,
            memory_bytes: 16 << 20,
            table_elements: 4_096,
            input_bytes: 256 << 10,
            output_bytes: 64 << 10,
            reasons: 8,
        }
    }

    /// What a release of this kind may use where nobody says: more for kinds that see and say more at once.
    ///
    /// A thousand candidates with their facts and purchases, and a thousand scores with reasons, fit a scorer's.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Scorer => {
                Self { fuel: Some(50_000_000), input_bytes: 2 << 20, output_bytes: 2 << 20, ..Self::standard() }
            }
            Kind::ContentGuard => Self { fuel: Some(50_000_000), ..Self::standard() },
            // It waits for its vendor, carries whole requests and reads whole reports.
            Kind::Channel => Self { wall_ms: 10_000, input_bytes: 2 << 20, output_bytes: 1 << 20, ..Self::standard() },
            _ => Self::standard(),
        }
    }

    pub(super) fn check(&self) -> Result<(), BadBudget> {
        let within = |field, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(BadBudget { field, min, max }) }
        };
        within("fuel", self.fuel.unwrap_or(1_000), 1_000, 10_000_000_000)?;
        within("wall_ms", self.wall_ms.into(), 1, 10_000)?;
        within("memory_bytes", self.memory_bytes.into(), 64 << 10, Self::MEMORY_BYTES_MAX.into())?;
        within("table_elements", self.table_elements.into(), 1, Self::TABLE_ELEMENTS_MAX.into())?;
        within("input_bytes", self.input_bytes.into(), 64, 16 << 20)?;
        within("output_bytes", self.output_bytes.into(), 64, 16 << 20)?;
        within("reasons", self.reasons.into(), 1, 8)
    }

    pub(super) fn wall(&self) -> Duration {
        Duration::from_millis(self.wall_ms.into())
    }

    /// Fuel for a call with this many items. Half of all there is stands for none: wasmtime counts in i64.
    pub(super) fn fuel_for(&self, items: usize) -> u64 {
        self.fuel.map_or(u64::MAX / 2, |fuel| fuel.saturating_mul(items.max(1) as u64)).min(u64::MAX / 2)
    }

    /// Room for the answers to a call with this many items.
    pub(super) fn output_for(&self, items: usize) -> usize {
        (self.output_bytes as usize).saturating_mul(items.max(1))
    }

    /// What a module may use while it is described, configured or asked for its tables, whatever its release says later.
    pub(super) const fn preparing() -> Self {
        Self {
            fuel: Some(200_000_000),
            wall_ms: 2_000,
            memory_bytes: Self::MEMORY_BYTES_MAX,
            table_elements: Self::TABLE_ELEMENTS_MAX,
            output_bytes: 1 << 20,
            ..Self::standard()
        }
    }
}

/// What a release may see beyond open facts, and what a channel may reach. A wanted fact that is not granted is passed as
/// absent; what a channel was not granted is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// Facts derived from personal data.
    pub personal: bool,
    /// Facts of health.
    pub health: bool,
    /// Where `outbound-http` may send requests.
    pub http: Vec<HttpGrant>,
    /// The secrets that `secrets` may sign with, by the names of the host's configuration.
    pub secrets: Vec<String>,
    /// The configured SMTP server of `outbound-mail`.
    pub mail: Option<String>,
}

/// One place that a channel may send requests to. A request must fit it exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGrant {
    /// `https`, or `http`.
    pub scheme: String,
    /// A name in lower case, or an address.
    pub host: String,
    /// The port, also where it is the scheme's own.
    pub port: u16,
    /// Whether the host may resolve to an address that is not public: a vendor within the own network.
    #[serde(default)]
    pub private: bool,
}

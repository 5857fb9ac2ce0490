//! The plugin engine: modules, releases, slots, and the record of what they decided.
//!
//! The ways in are [`Engine::admit`] for a module, [`Engine::prepare`] for a release, [`Slot::activate`] to make it live
//! and the calls of [`Slot`]. A release answers, or its fallback does: a call never fails, never blocks a worker and
//! never leaves anything behind in the sandbox, because each call gets a fresh one.
//!
//! Only this room names `wasmtime`. It knows no store, no HTTP and no clock but the monotonic one that its budgets need.
//!
//! - A module is named by its digest; the same bytes are the same module.
//! - A release never changes. What a slot answers with changes in one step, and every answer names one release.
//! - A rule imports nothing. It sees the facts it asked for and was granted, and the instant it is asked about.
//! - A channel imports what its release was granted and nothing else; secrets never enter a sandbox.
//! - An answer that breaks the contract is a fault, whoever gains from it.

mod artefact;
#[doc(hidden)]
pub mod bare;
mod breaker;
mod budget;
mod call;
mod cases;
mod channel;
mod coupon;
mod decisions;
mod earning;
pub mod embedded;
mod engine;
mod fault;
mod guard;
mod metrics;
mod module;
mod outbound;
mod program;
mod release;
mod sandbox;
mod score;
mod slot;
mod snapshot;
mod tier;
mod wire;

pub use breaker::BreakerState;
pub use budget::{BadBudget, Budgets, Grants, HttpGrant};
pub use call::{Answer, Answered, Columns, FellBackTo, Warm};
pub use cases::{BadCases, CasesReport, run_cases};
pub use channel::Delivered;
pub use decisions::{CallInput, CallOutput, CallRecord, DecisionRecord, DecisionRef, Decisions, DecisionsError, Iter};
pub use engine::{Engine, EngineConfig, EngineError};
pub use fault::Fault;
pub use metrics::ReleaseStats;
pub use module::{AdmissionError, BadDigest, Description, FieldError, Module, ModuleDigest, Term};
pub use outbound::{Lookup, Outbound, Roots, Secret, SmtpServer, SmtpTls, places_per_release, use_ring};
pub use program::BadExport;
pub use release::{Fallback, Release, ReleaseError, ReleaseRef, ReleaseSpec};
pub use slot::{ActivateError, HISTORY_MAX, Slot};

//! The configured component as a component of its own: what a fresh sandbox starts from.
//!
//! `configure` runs once, in a store of its own; the memory it leaves behind becomes the initial memory of the
//! snapshot. Each call then starts configured, for the price of a copy-on-write mapping.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmtime::component::Component;
use wasmtime_wizer::{WasmtimeWizerComponent, Wizer};

use super::{
    budget::Budgets,
    engine::Shared,
    fault::Fault,
    module::{FieldError, Module},
    program::Program,
    sandbox::{Sandbox, block_on, classify},
};

/// Why there is no snapshot.
pub(super) enum NoSnapshot {
    /// The plugin refuses the configuration.
    Refused(Vec<FieldError>),
    /// `configure` failed.
    Failed(Fault),
    /// The component has what the snapshot does not support; it is configured in each fresh store instead.
    Unsupported(String),
}

/// Configures a module and takes its snapshot, as a component's bytes. Blocks.
pub(super) fn take(shared: &Shared, module: &Module, config: &str) -> Result<Vec<u8>, NoSnapshot> {
    let run = AssertUnwindSafe(|| block_on(run(shared, module, config)));
    catch_unwind(run).unwrap_or_else(|_| Err(NoSnapshot::Unsupported("the snapshot panicked".to_owned())))
}

async fn run(shared: &Shared, module: &Module, config: &str) -> Result<Vec<u8>, NoSnapshot> {
    let unsupported = |error: wasmtime::Error| NoSnapshot::Unsupported(format!("{error:#}"));
    let wizer = Wizer::new();
    let (context, instrumented) = wizer.instrument_component(module.bytes()).map_err(unsupported)?;
    let component = Component::from_binary(&shared.trial.engine, &instrumented).map_err(unsupported)?;
    let program = Program::load(&shared.trial.linker, &component, module.kind())
        .map_err(|error| NoSnapshot::Unsupported(error.to_string()))?;
    let budgets = Budgets::preparing();
    let place = shared.trial.place().await.map_err(NoSnapshot::Failed)?;
    let mut sandbox = Sandbox::open(&program.pre, &budgets, 1, Some(place)).await.map_err(NoSnapshot::Failed)?;
    match program.configure(&mut sandbox, config).await {
        Ok(Ok(())) => {}
        Ok(Err(fields)) => return Err(NoSnapshot::Refused(fields.into_iter().map(FieldError::from).collect())),
        Err(error) => return Err(NoSnapshot::Failed(classify(&error, &budgets, 1))),
    }
    // What runs from here on is what the instrumentation added: it copies whole memories and must not be cut short.
    sandbox.rearm(&Budgets { fuel: None, wall_ms: u32::MAX, output_bytes: u32::MAX, ..budgets }, 1);
    let Sandbox { store, instance, .. } = &mut sandbox;
    let mut access = WasmtimeWizerComponent { store, instance: *instance };
    wizer.snapshot_component(&context, &mut access).await.map_err(unsupported)
}

//! One sandbox: a store with its limits, the instance in it, and what its errors mean.

use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::{
    PoolConcurrencyLimitError, ResourceLimiter, Store, StoreContextMut, Trap, UpdateDeadline, WasmBacktrace,
    component::{Instance, InstancePre},
};

use super::{
    budget::Budgets,
    fault::Fault,
    outbound::{NotNow, Session},
};

/// Every module is at most this many core instances, memories and tables (the encoder makes one of each; shims add a few).
pub(super) const CORE_INSTANCES_MAX: u32 = 8;
pub(super) const MEMORIES_MAX: u32 = 2;
pub(super) const TABLES_MAX: u32 = 4;
/// Handles of resources: no kind passes any.
const HANDLES_MAX: usize = 64;

/// What the host keeps for the guest in a store: its limits.
pub(super) struct Guest {
    memory_used: usize,
    memory_max: usize,
    table_elements_max: usize,
    deadline: Instant,
    /// What a channel may reach while it is called; nothing at other times, and for other kinds.
    pub(super) session: Option<Session>,
}

/// The limiter refused: the guest's growth traps with this.
#[derive(Debug, thiserror::Error)]
#[error("the memory limit is reached")]
struct Denied;

/// The wall time is over.
#[derive(Debug, thiserror::Error)]
#[error("the deadline has passed")]
struct Late;

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.memory_used.saturating_add(desired.saturating_sub(current));
        if used > self.memory_max {
            return Err(Denied.into());
        }
        self.memory_used = used;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.table_elements_max { Err(Denied.into()) } else { Ok(true) }
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }
}

/// A store with limits for one guest and a call with this many items.
pub(super) fn new_store(engine: &wasmtime::Engine, budgets: &Budgets, items: usize) -> wasmtime::Result<Store<Guest>> {
    let mut store = Store::try_new(
        engine,
        Guest {
            memory_used: 0,
            memory_max: budgets.memory_bytes as usize,
            table_elements_max: budgets.table_elements as usize,
            deadline: Instant::now() + budgets.wall(),
            session: None,
        },
    )?;
    store.limiter(|guest| guest);
    store.set_fuel(budgets.fuel_for(items))?;
    store.set_hostcall_fuel(budgets.output_for(items));
    store.set_max_component_handles(HANDLES_MAX);
    // The first tick may come at once: two leave a whole one before the first look at the clock.
    store.set_epoch_deadline(2);
    store.epoch_deadline_callback(on_tick);
    Ok(store)
}

/// A tick while the guest runs: its time is over, or the other tasks of the worker get their turn. (wasmtime's own yield
/// goes to the head of the queue again and starves timers and sockets.)
fn on_tick(guest: StoreContextMut<'_, Guest>) -> wasmtime::Result<UpdateDeadline> {
    if Instant::now() >= guest.data().deadline {
        return Err(Late.into());
    }
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
}

/// An instance in its own store, and the place it holds in the pool.
pub(super) struct Sandbox {
    /// Dropped before the permit: the place is free only when the store is gone.
    pub(super) store: Store<Guest>,
    pub(super) instance: Instance,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Sandbox {
    pub(super) async fn open(
        pre: &InstancePre<Guest>,
        budgets: &Budgets,
        items: usize,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Self, Fault> {
        let start = |error: wasmtime::Error| match classify(&error, budgets, items) {
            Fault::BadAnswer(why) => Fault::Start(why),
            fault => fault,
        };
        let mut store = new_store(pre.engine(), budgets, items).map_err(start)?;
        let instance = pre.instantiate_async(&mut store).await.map_err(start)?;
        Ok(Self { store, instance, _permit: permit })
    }

    /// Starts the budgets of one call anew: for an instance that was configured, or called before.
    pub(super) fn rearm(&mut self, budgets: &Budgets, items: usize) {
        self.store.set_fuel(budgets.fuel_for(items)).expect("the engine counts fuel");
        self.store.set_hostcall_fuel(budgets.output_for(items));
        self.store.set_epoch_deadline(2);
        self.store.data_mut().deadline = Instant::now() + budgets.wall();
    }

    /// What a call with this many items has burnt of its fuel.
    pub(super) fn burnt(&self, budgets: &Budgets, items: usize) -> u64 {
        budgets.fuel_for(items).saturating_sub(self.store.get_fuel().expect("the engine counts fuel"))
    }
}

/// What an error of wasmtime means. The store is discarded after any of them.
pub(super) fn classify(error: &wasmtime::Error, budgets: &Budgets, items: usize) -> Fault {
    if error.is::<Denied>() {
        return Fault::Memory(u64::from(budgets.memory_bytes));
    }
    if error.is::<Late>() {
        return Fault::Deadline(budgets.wall_ms);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Fault::PoolBusy(0);
    }
    if let Some(early) = error.downcast_ref::<NotNow>() {
        return Fault::Trap(early.to_string());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Fault::OutOfFuel(budgets.fuel_for(items)),
        Some(Trap::Interrupt) => Fault::Deadline(budgets.wall_ms),
        Some(trap) => Fault::Trap(describe_trap(*trap, error)),
        // wasmtime keeps this error's type to itself; `hostile::a_giant_answer_is_refused` pins the text.
        None if error.root_cause().to_string().contains("fuel allocated for hostcalls has been exhausted") => {
            Fault::OutputTooLarge(budgets.output_for(items) as u64)
        }
        None => Fault::BadAnswer(error.root_cause().to_string()),
    }
}

/// The trap and, where the module kept its names, the function it happened in.
fn describe_trap(trap: Trap, error: &wasmtime::Error) -> String {
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    match frames.iter().find_map(|frame| frame.func_name()) {
        Some(name) => format!("{trap} in {name}"),
        None => trap.to_string(),
    }
}

/// Runs a future of the sandbox to its end on a blocking thread.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    futures::executor::block_on(future)
}

//! The bounded queue between callers and the writer.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{command::Command, error::StoreError};

/// How long the writer waits for the clients of the last group to come back. A group shares one sync, so some tens of
/// microseconds spent here save milliseconds there; a lone client is never waited for.
const GATHER_TIME_MAX: Duration = Duration::from_micros(150);

pub(super) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    waiting_max: usize,
    group_max: usize,
}

#[derive(Default)]
struct State {
    commands: VecDeque<Box<dyn Command>>,
    closed: bool,
    /// The writer sleeps until so many commands wait.
    wanted: usize,
}

impl Queue {
    pub(super) fn new(waiting_max: usize, group_max: usize) -> Self {
        Self { state: Mutex::default(), ready: Condvar::new(), waiting_max, group_max: group_max.max(1) }
    }

    /// Puts a command at the end.
    pub(super) fn push(&self, command: Box<dyn Command>) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        let waiting = state.commands.len();
        if waiting >= self.waiting_max {
            return Err(StoreError::Overloaded { waiting });
        }
        state.commands.push_back(command);
        let wake = state.commands.len() == state.wanted;
        drop(state);
        if wake {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Waits for commands and moves them into the empty `group`, waiting a moment for `expected` of them.
    /// Returns false when the queue is closed and empty.
    pub(super) fn take(&self, expected: usize, group: &mut Vec<Box<dyn Command>>) -> bool {
        let mut state = self.wait_for(self.lock(), 1, None);
        let expected = expected.min(self.group_max);
        if state.commands.len() < expected {
            state = self.wait_for(state, expected, Some(Instant::now() + GATHER_TIME_MAX));
        }
        state.wanted = 0;
        let taken = state.commands.len().min(self.group_max);
        group.extend(state.commands.drain(..taken));
        taken > 0
    }

    fn wait_for<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        commands: usize,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        state.wanted = commands;
        while state.commands.len() < commands && !state.closed {
            state = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.ready.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => self.ready.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        state
    }

    /// Accepts no more commands; those that wait are still taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().commands.len()
    }

    /// Nothing that holds the lock can panic half-way, so a poisoned lock is sound.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The store as a map in memory, made as unkind as a remote database may be.
//!
//! Rows are "not loaded" at random and every closure runs at least twice, now and then after a made-up conflict, so
//! that tests find the closures that cannot be run again. Other threads' commits really do come in between.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    command::{Closure, Command, Ran},
    error::StoreError,
    overlay::{Base, Bytes, Pair, Pairs},
    stats::{Counters, StoreStats, add, count},
    table::{Range, Seq},
    tx::{Tx, Want},
};

/// After so many runs of one closure no more misses and conflicts are made up.
const UNKIND_RUNS_MAX: usize = 12;
/// A run of a closure counts only if it is at least the second one without a miss.
const RUNS_MIN: usize = 2;
const MISS_CHANCE: f64 = 0.2;
const CONFLICT_CHANCE: f64 = 0.2;

pub(super) struct Model {
    state: Mutex<State>,
    counters: Counters,
}

struct State {
    rows: BTreeMap<Bytes, Bytes>,
    seq: Seq,
    rng: StdRng,
    closed: bool,
}

impl Model {
    pub(super) fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        let state = State { rows: BTreeMap::new(), seq: Seq::default(), rng, closed: false };
        Self { state: Mutex::new(state), counters: Counters::default() }
    }

    /// Runs a closure until it answers; its answer.
    pub(super) fn answer<T, E, F>(&self, mut closure: Closure<T, E, F>) -> Result<T, E>
    where
        Closure<T, E, F>: Command,
        E: From<StoreError>,
    {
        self.run(&mut closure);
        closure.into_answer()
    }

    /// Runs a command until it answers, and commits what it wrote.
    fn run(&self, command: &mut dyn Command) {
        let at = command.at();
        let mut loaded = HashSet::new();
        let mut complete_runs = 0;
        for run in 0.. {
            let mut state = self.lock();
            let State { rows, seq, rng, closed } = &mut *state;
            if *closed {
                return command.refuse(StoreError::Closed);
            }
            let unkind = run < UNKIND_RUNS_MAX;
            let conflict = unkind && rng.random_bool(CONFLICT_CHANCE);
            let base = Unkind { rows, loaded: &loaded, rng: unkind.then(|| RefCell::new(&mut *rng)) };
            let seen = if at.is_some() { seq.next() } else { *seq };
            let tx = Tx::new(&base, None, seen, at);
            match command.run(tx) {
                Ran::Missed(wants) => loaded.extend(wants),
                Ran::Answered(_) if complete_runs + 1 < RUNS_MIN => complete_runs += 1,
                Ran::Answered(_) if conflict => loaded.clear(),
                Ran::Answered(mut writes) => {
                    count(&self.counters.groups);
                    if writes.is_empty() {
                        return count(&self.counters.without_writes);
                    }
                    *seq = seen;
                    count(&self.counters.commits);
                    add(&self.counters.rows_written, writes.len());
                    for (key, value) in writes.drain() {
                        match value {
                            Some(value) => rows.insert(key, value),
                            None => rows.remove(&key),
                        };
                    }
                    return;
                }
            }
        }
    }

    /// Everything there is, and the commit it is of.
    pub(super) fn snapshot(&self) -> (Vec<Pair>, Seq) {
        let state = self.lock();
        (state.rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect(), state.seq)
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
    }

    pub(super) fn stats(&self) -> StoreStats {
        self.counters.stats(0, self.lock().seq.get())
    }

    /// A panic of a closure is caught before it can leave a half-changed state, so a poisoned lock is sound.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows, some of which are said to be missing.
struct Unkind<'a> {
    rows: &'a BTreeMap<Bytes, Bytes>,
    loaded: &'a HashSet<Want>,
    rng: Option<RefCell<&'a mut StdRng>>,
}

impl Unkind<'_> {
    fn load(&self, want: &Want) -> Result<(), StoreError> {
        let Some(rng) = &self.rng else { return Ok(()) };
        if !self.loaded.contains(want) && rng.borrow_mut().random_bool(MISS_CHANCE) {
            return Err(StoreError::Missing);
        }
        Ok(())
    }
}

impl Base for Unkind<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.load(&Want::Row(key.to_vec()))?;
        Ok(self.rows.get(key).cloned())
    }

    fn range(&self, range: &Range) -> Result<Pairs<'_>, StoreError> {
        self.load(&Want::Rows(range.clone()))?;
        let bounds = (Bound::Included(range.from.as_slice()), Bound::Excluded(range.until.as_slice()));
        let rows = self.rows.range::<[u8], _>(bounds).map(|(key, value)| Ok((key.clone(), value.clone())));
        Ok(if range.reverse { Box::new(rows.rev()) } else { Box::new(rows) })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::store::table::Table;

    const TEXTS: Table<u64, String> = Table::new(25, "texts.v1");

    /// Chunks that no row refers to would be kept for ever, personal data among them.
    #[test]
    fn no_chunk_outlives_its_row() {
        let model = Model::new(3);
        let stored = |length: usize| {
            let put = move |tx: &mut Tx<'_>| tx.put(&TEXTS, &1, &"x".repeat(length));
            model.answer(Closure::new(Some(Timestamp::UNIX_EPOCH), put))?;
            Ok::<_, StoreError>(model.lock().rows.len())
        };
        assert_eq!(stored(4_000).unwrap(), 1);
        assert_eq!(stored(20_000).unwrap(), 5);
        assert_eq!(stored(9_000).unwrap(), 3);
        assert_eq!(stored(10).unwrap(), 1);
        assert_eq!(stored(50_000).unwrap(), 13);
        let delete = |tx: &mut Tx<'_>| tx.delete(&TEXTS, &1);
        model.answer(Closure::<_, StoreError, _>::new(Some(Timestamp::UNIX_EPOCH), delete)).unwrap();
        assert_eq!(model.lock().rows.len(), 0);
    }
}

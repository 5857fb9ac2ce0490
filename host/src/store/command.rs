//! A closure on its way through the store.
//!
//! There are hundreds of closures, each with its own type. What it answers is erased here, so that queues, retries and
//! groups are compiled once and not for each of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{
    error::StoreError,
    overlay::Layer,
    tx::{End, Tx, Want},
};

/// How one run of a command ended.
pub(super) enum Ran {
    /// These have to be loaded before it is run again, whatever it answered.
    Missed(Vec<Want>),
    /// It keeps its answer; these are the writes to keep, none if the answer is an error.
    Answered(Layer),
}

/// A closure that can be run, and keeps its answer.
pub(super) trait Command: Send {
    /// Runs it once. A panic and a broken limit are errors.
    fn run(&mut self, tx: Tx<'_>) -> Ran;
    /// What is stamped on the rows it writes; none for a read.
    fn at(&self) -> Option<Timestamp>;
    /// Replaces the answer.
    fn refuse(&mut self, error: StoreError);
    /// Hands the answer to the caller, if it still waits.
    fn answer(self: Box<Self>);
}

pub(super) struct Closure<T, E, F> {
    f: F,
    at: Option<Timestamp>,
    answer: Option<Result<T, E>>,
    caller: Option<oneshot::Sender<Result<T, E>>>,
}

impl<T, E, F> Closure<T, E, F>
where
    E: From<StoreError>,
{
    /// `at` is `None` for a read.
    pub(super) fn new(at: Option<Timestamp>, f: F) -> Self {
        Self { f, at, answer: None, caller: None }
    }

    /// Where the answer will come, once [`Command::answer`] is called.
    pub(super) fn call(&mut self) -> oneshot::Receiver<Result<T, E>> {
        let (caller, answer) = oneshot::channel();
        self.caller = Some(caller);
        answer
    }

    /// What the last run answered.
    pub(super) fn into_answer(self) -> Result<T, E> {
        self.answer.unwrap_or_else(|| Err(StoreError::Missing.into()))
    }
}

impl<T, E, F> Command for Closure<T, E, F>
where
    F: Fn(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, mut tx: Tx<'_>) -> Ran {
        let answer = catch_unwind(AssertUnwindSafe(|| (self.f)(&mut tx)));
        let end = tx.end(answer.as_ref().map(Result::is_ok));
        match (end, answer) {
            (End::Missed(wants), _) => return Ran::Missed(wants),
            (End::Kept(writes), Ok(answer)) => {
                self.answer = Some(answer);
                return Ran::Answered(writes);
            }
            (End::Refused(error), _) => self.refuse(error),
            (End::Kept(_), Err(_)) => self.refuse(StoreError::Missing),
        }
        Ran::Answered(Layer::default())
    }

    fn at(&self) -> Option<Timestamp> {
        self.at
    }

    fn refuse(&mut self, error: StoreError) {
        self.answer = Some(Err(error.into()));
    }

    fn answer(mut self: Box<Self>) {
        if let (Some(caller), Some(answer)) = (self.caller.take(), self.answer.take()) {
            // An error means that the caller no longer waits: the transaction stands all the same.
            let _ = caller.send(answer);
        }
    }
}

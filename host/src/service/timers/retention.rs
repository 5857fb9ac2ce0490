//! What is past is swept: recorded decisions and digests of nights after months, answers to idempotency keys after weeks.

use std::sync::Arc;

use jiff::Timestamp;

use super::jobs::Turn;
use crate::{
    ids::PartnerId,
    scheduler::jobs::{STEP_ROWS_MAX, Step},
    service::{
        Error, Services,
        tables::{IDEMPOTENCY, TIER_DIGESTS},
    },
    store::{Key as _, SCAN_ROWS_MAX, Scan, Tx},
};

/// Segments of decisions that one step deletes: each is read through first.
const SEGMENTS_AT_ONCE: usize = 4;

impl Services {
    /// Deletes segments of decisions that hold nothing younger than the configured days, never the one in use; and the
    /// digests of as many nights.
    pub(super) async fn sweep_decisions(&self, turn: Turn) -> Result<Option<Step>, Error> {
        let before = turn.days_ago(self.settings.schedule.decisions_kept_days);
        let decisions = Arc::clone(&self.decisions);
        let swept = tokio::task::spawn_blocking(move || decisions.forget_before(before, SEGMENTS_AT_ONCE)).await;
        let swept = swept
            .map_err(|stopped| Error::Io { what: "sweep decisions", source: std::io::Error::other(stopped) })?
            .map_err(|error| Error::Decisions(error.to_string()))?;
        let commit = self.commit_step(turn, move |tx| {
            let old = tx.scan(&TIER_DIGESTS, &Scan::all().until(&before).limit(STEP_ROWS_MAX))?;
            for (key, _) in &old {
                tx.delete(&TIER_DIGESTS, key)?;
            }
            let rows = (swept + old.len()) as u64;
            let more = swept == SEGMENTS_AT_ONCE || old.len() == STEP_ROWS_MAX;
            Ok(Step { next: more.then(Vec::new), rows, changed: rows })
        });
        commit.await
    }

    /// Deletes answers to idempotency keys that are older than the configured days.
    pub(super) async fn sweep_idempotency(&self, turn: Turn) -> Result<Option<Step>, Error> {
        let before = turn.days_ago(self.settings.schedule.idempotency_kept_days);
        let cursor = turn.job.cursor.clone();
        self.commit_step(turn, move |tx| sweep_keys(tx, cursor.as_deref(), before)).await
    }
}

/// Most keys are young: a step looks at more rows than it may delete, and ends early where it deleted as many as it may.
fn sweep_keys(tx: &mut Tx<'_>, cursor: Option<&[u8]>, before: Timestamp) -> Result<Step, Error> {
    let scan = Scan::all().limit(SCAN_ROWS_MAX);
    let scan = match cursor.and_then(<(PartnerId, String)>::from_bytes) {
        Some(last) => scan.after(&last),
        None => scan,
    };
    let rows = tx.scan_rows(&IDEMPOTENCY, &scan)?;
    let (mut step, full) = (Step { next: None, rows: 0, changed: 0 }, rows.len() == SCAN_ROWS_MAX);
    for (key, row) in rows {
        step.rows += 1;
        if row.at < before {
            tx.delete(&IDEMPOTENCY, &key)?;
            step.changed += 1;
        }
        step.next = Some(key.to_bytes());
        if step.changed == STEP_ROWS_MAX as u64 {
            return Ok(step);
        }
    }
    step.next = step.next.filter(|_| full);
    Ok(step)
}

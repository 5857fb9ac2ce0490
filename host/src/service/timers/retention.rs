//! What is past is swept: events, recorded decisions and digests of nights after months, answers to idempotency keys after
//! weeks, what the law wants kept after years.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan as _};

use super::jobs::Turn;
use crate::{
    events::{self, Position},
    ids::{self, Id as _, MemberId, PartnerId, PrescriptionId},
    members::vault::{KeyClass, VaultError},
    recommend,
    scheduler::jobs::{STEP_ROWS_MAX, Step},
    service::{
        Error, Services,
        coupons::happened,
        tables::{ERASED_MEMBERS, IDEMPOTENCY, PAPERS, TIER_DIGESTS},
    },
    store::{Key as _, SCAN_ROWS_MAX, Scan, Tx},
};

/// Calendar years for which the law wants prescriptions kept (R15): no setting, because nobody may choose another.
const STATUTORY_YEARS: i64 = 5;
/// Keys that one step destroys: each is synced by itself.
const KEYS_AT_ONCE: usize = 16;

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

    /// Deletes the papers of prescriptions that the law wants kept no longer, and destroys the statutory keys of those who
    /// were erased as long ago: all that such a key sealed is older.
    pub(super) async fn sweep_statutory(&self, turn: Turn) -> Result<Option<Step>, Error> {
        let now = turn.now.to_zoned(self.settings.zone.clone());
        let before = now.checked_sub(STATUTORY_YEARS.years()).map_or(Timestamp::MIN, |at| at.timestamp());
        let read = self.store.read(move |tx| {
            let scan = Scan::all().until(&(before, MemberId::from_bits(0))).limit(KEYS_AT_ONCE);
            Ok::<_, Error>(tx.scan(&ERASED_MEMBERS, &scan)?.into_iter().map(|(key, ())| key).collect())
        });
        let erased: Vec<(Timestamp, MemberId)> = read.await?;
        // The keys first: what is left after a crash is destroyed again, which changes nothing.
        for (_, member) in &erased {
            match self.destroy_key(*member, KeyClass::Statutory, turn.now).await {
                Ok(()) | Err(Error::Vault(VaultError::Unknown)) => {}
                Err(error) => return Err(error),
            }
        }
        let commit = self.commit_step(turn, move |tx| {
            for key in &erased {
                tx.delete(&ERASED_MEMBERS, key)?;
            }
            let old = Scan::all().until(&ids::first_at::<PrescriptionId>(before)).limit(STEP_ROWS_MAX);
            let papers = tx.scan(&PAPERS, &old)?;
            for (id, _) in &papers {
                tx.delete(&PAPERS, id)?;
            }
            let rows = (erased.len() + papers.len()) as u64;
            let more = erased.len() == KEYS_AT_ONCE || papers.len() == STEP_ROWS_MAX;
            Ok(Step { next: more.then(Vec::new), rows, changed: rows })
        });
        commit.await
    }

    /// Deletes events that every consumer has seen and that are older than the configured days.
    pub(super) async fn sweep_events(&self, turn: Turn) -> Result<Option<Step>, Error> {
        let before = turn.days_ago(self.settings.schedule.events_kept_days);
        let first = turn.job.cursor.as_deref().and_then(u16::from_bytes).unwrap_or(0);
        self.commit_step(turn, move |tx| sweep_events(tx, first, before)).await
    }
}

/// Goes through the shards from `first` on until it has deleted as many events as a step may.
fn sweep_events(tx: &mut Tx<'_>, first: u16, before: Timestamp) -> Result<Step, Error> {
    let mut consumers = events::consumers(tx)?;
    if happened::is_idle(tx)? {
        // It stays where it is while nothing waits, and then nothing that happened so far matters to it.
        consumers.retain(|consumer| consumer.name() != happened::CONSUMER);
    }
    let (mut swept, mut next) = (0, None);
    for shard in first..events::SHARDS {
        if swept == STEP_ROWS_MAX {
            next = Some(shard.to_bytes());
            break;
        }
        let passed: Option<Position> = events::passed(tx, &consumers, shard)?;
        let counted = recommend::counted(tx, shard)?;
        if let (Some(passed), Some(counted)) = (passed, counted) {
            swept += events::sweep(tx, shard, before, passed.min(counted), STEP_ROWS_MAX - swept)?;
        }
    }
    Ok(Step { next, rows: swept as u64, changed: swept as u64 })
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

#[cfg(test)]
mod tests;

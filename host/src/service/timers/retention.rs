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
/// Pages of idempotency keys that one step looks through.
const PAGES_AT_ONCE: usize = 10;

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
        let mut found =
            OldKeys { last: turn.job.cursor.as_deref().and_then(UsedKey::from_bytes), ..OldKeys::default() };
        // Most keys are young: they are looked at beside the writer, which sees the old ones alone.
        for _ in 0..PAGES_AT_ONCE {
            let page = self.store.peek(move |tx| old_keys(tx, found.clone(), before));
            found = page.await?;
            if found.complete || found.old.len() == STEP_ROWS_MAX {
                break;
            }
        }
        let commit = self.commit_step(turn, move |tx| {
            let mut step = Step { next: None, rows: found.rows, changed: 0 };
            for key in &found.old {
                // Whoever used the key again since made it young.
                if tx.get_row(&IDEMPOTENCY, key)?.is_some_and(|row| row.at < before) {
                    tx.delete(&IDEMPOTENCY, key)?;
                    step.changed += 1;
                }
            }
            step.next = found.last.as_ref().filter(|_| !found.complete).map(UsedKey::to_bytes);
            Ok(step)
        });
        commit.await
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
        // On most nights there is nothing: that is seen beside the writer.
        let shards: Vec<u16> =
            self.store.peek(move |tx| events::begun_before(tx, first, before)).await.map_err(Error::Store)?;
        self.commit_step(turn, move |tx| sweep_events(tx, &shards, before)).await
    }
}

/// Goes through shards until it has deleted as many events as a step may.
fn sweep_events(tx: &mut Tx<'_>, shards: &[u16], before: Timestamp) -> Result<Step, Error> {
    let mut consumers = events::consumers(tx)?;
    if happened::is_idle(tx)? {
        // It stays where it is while nothing waits, and then nothing that happened so far matters to it.
        consumers.retain(|consumer| consumer.name() != happened::CONSUMER);
    }
    let (mut swept, mut next) = (0, None);
    for shard in shards.iter().copied() {
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

/// A partner's idempotency key.
type UsedKey = (PartnerId, String);

/// Keys to be swept, and where the look for them stands.
#[derive(Clone, Default)]
struct OldKeys {
    old: Vec<UsedKey>,
    /// The last key looked at.
    last: Option<UsedKey>,
    /// How many were looked at.
    rows: u64,
    /// Whether there are no more.
    complete: bool,
}

/// Looks at the next page of keys, until there are as many old ones as a step may delete.
fn old_keys(tx: &mut Tx<'_>, mut found: OldKeys, before: Timestamp) -> Result<OldKeys, Error> {
    let scan = Scan::all().limit(SCAN_ROWS_MAX);
    let scan = if let Some(last) = &found.last { scan.after(last) } else { scan };
    let rows = tx.scan_rows(&IDEMPOTENCY, &scan)?;
    found.complete = rows.len() < SCAN_ROWS_MAX;
    for (key, row) in rows {
        if found.old.len() == STEP_ROWS_MAX {
            found.complete = false;
            break;
        }
        found.rows += 1;
        if row.at < before {
            found.old.push(key.clone());
        }
        found.last = Some(key);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;

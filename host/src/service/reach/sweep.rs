//! Touches that ended long ago are forgotten: first what they said, because that is personal, then they themselves with
//! everything that points at them. Totals go on counting them where they ended.
//!
//! A touch has ended when nothing moves it by itself any more, since it moved last; one that an operator never decided on
//! is forgotten like the others. As long as a touch is kept, asking again under its key makes no second one.

use jiff::Timestamp;

use crate::{
    ids::{self, Id as _, TouchId},
    reach::{
        tables::{CONTENTS, TOUCHES},
        touch::{self, Touch},
    },
    scheduler::jobs::{STEP_ROWS_MAX, Step},
    service::{Error, Services, facts::day_number, timers::Turn},
    store::{Key as _, Row, Scan, StoreError, Tx},
};

/// Touches forgotten in one step: each takes up to fifteen rows along.
const FORGOTTEN_AT_ONCE: usize = 25;
/// What a cursor begins with while contents are swept, and afterwards.
const CONTENTS_FIRST: u8 = 0;
const TOUCHES_THEN: u8 = 1;

impl Services {
    /// Deletes a page of what touches said that ended so many days ago, and after the last one a page of touches.
    pub(in crate::service) async fn sweep_touches(&self, turn: Turn) -> Result<Option<Step>, Error> {
        let contents_before = turn.days_ago(self.settings.reach.contents_kept_days);
        let touches_before = turn.days_ago(self.settings.reach.touches_kept_days);
        let cursor = turn.job.cursor.as_deref().and_then(<(u8, TouchId)>::from_bytes);
        let commit = self.commit_step(turn, move |tx| match cursor {
            Some((TOUCHES_THEN, last)) => Ok(sweep_touches(tx, Some(last), touches_before)?),
            cursor => Ok(sweep_contents(tx, cursor.map(|(_, last)| last), contents_before)?),
        });
        commit.await
    }
}

fn sweep_contents(tx: &mut Tx<'_>, last: Option<TouchId>, before: Timestamp) -> Result<Step, StoreError> {
    let rows = tx.scan(&CONTENTS, &old(last, before).limit(STEP_ROWS_MAX))?;
    let mut changed = 0;
    for (id, _) in &rows {
        if tx.get_row(&TOUCHES, id)?.is_none_or(|touch| has_ended(&touch, before)) {
            tx.delete(&CONTENTS, id)?;
            changed += 1;
        }
    }
    let next = match rows.last() {
        Some((id, _)) if rows.len() == STEP_ROWS_MAX => (CONTENTS_FIRST, *id),
        _ => (TOUCHES_THEN, TouchId::from_bits(0)),
    };
    Ok(Step { next: Some(next.to_bytes()), rows: rows.len() as u64, changed })
}

fn sweep_touches(tx: &mut Tx<'_>, last: Option<TouchId>, before: Timestamp) -> Result<Step, StoreError> {
    let rows = tx.scan_rows(&TOUCHES, &old(last, before).limit(FORGOTTEN_AT_ONCE))?;
    let mut changed = 0;
    // A day of a member's zone ends at most a day after that of UTC; older ones count for nothing any more.
    let days = day_number(before, &jiff::tz::TimeZone::UTC) + 2;
    for (_, row) in &rows {
        if has_ended(row, before) {
            touch::forget(tx, &row.value, days)?;
            changed += 1;
        }
    }
    let next = rows.last().filter(|_| rows.len() == FORGOTTEN_AT_ONCE);
    let next = next.map(|(id, _)| (TOUCHES_THEN, *id).to_bytes());
    Ok(Step { next, rows: rows.len() as u64, changed })
}

/// Ids sort by the time at which touches were asked for, which is before they end.
fn old(last: Option<TouchId>, before: Timestamp) -> Scan<TouchId> {
    let scan = Scan::all().until(&ids::first_at::<TouchId>(before));
    match last {
        Some(last) => scan.after(&last),
        None => scan,
    }
}

fn has_ended(touch: &Row<Touch>, before: Timestamp) -> bool {
    touch.value.state.has_ended() && touch.at < before
}

#[cfg(test)]
mod tests;

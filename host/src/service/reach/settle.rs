//! What became of an attempt: recorded once, for the attempt that is under way and no other.

use jiff::{SignedDuration, Timestamp};

use super::plan::note;
use crate::{
    domain::{
        channel::{Attempt, Failure},
        touch::DropReason,
    },
    ids::TouchId,
    reach::{
        suppression::{self, Cause},
        tables::{LAST_TO_ADDRESS, PROVIDER_IDS, TOUCHES},
        touch::{self, State, Touch},
    },
    service::{Error, Services},
    store::Tx,
};

/// How long after each failed attempt the next one begins, with up to a fifth more: two within a minute.
const RETRIES: [SignedDuration; 2] = [SignedDuration::from_secs(5), SignedDuration::from_secs(25)];
/// A vendor's id is kept if it is no longer than this.
const PROVIDER_ID_BYTES_MAX: usize = 128;

/// What goes into the record of an end.
struct End {
    token: u32,
    attempt: Attempt,
    /// Another provider stands behind this one.
    more: bool,
    now: Timestamp,
    /// 0 to 255: how much of a fifth is added to a wait.
    jitter: u8,
}

impl Services {
    /// Records how an attempt ended, if it is still the one under way.
    pub(super) async fn settle(&self, id: TouchId, token: u32, attempt: Attempt, more: bool) -> Result<(), Error> {
        let now = self.clock.now();
        let [jitter] = self.ids.bytes();
        let end = End { token, attempt, more, now, jitter };
        let settled = self.store.run(now, move |tx| settle(tx, id, &end)).await?;
        if let Some(touch) = settled {
            count(&touch);
        }
        Ok(())
    }

    /// Ends an attempt whose end nobody will ever report.
    pub(super) async fn lost(&self, id: TouchId, token: u32) -> Result<(), Error> {
        let failure = Failure { code: "lost".to_owned(), message: "the server stopped during the attempt".to_owned() };
        self.settle(id, token, Attempt::Unknown(failure), false).await
    }
}

/// Counts where a touch came to stand: a touch that waits twice is counted twice.
pub(super) fn count(touch: &Touch) {
    let outcome = match touch.state {
        State::Dropped(reason) => reason.name(),
        State::Deferred { reason, .. } => reason.name(),
        state => state.name(),
    };
    let labels = [("class", touch.class.name()), ("channel", touch.channel.name()), ("outcome", outcome)];
    metrics::counter!("galenic_touch_outcomes_total", &labels).increment(1);
}

fn settle(tx: &mut Tx<'_>, id: TouchId, end: &End) -> Result<Option<Touch>, Error> {
    let Some(mut touch) = tx.get(&TOUCHES, &id)? else { return Ok(None) };
    let State::Sending { token, deduplicates, .. } = touch.state else { return Ok(None) };
    if token != end.token {
        return Ok(None);
    }
    match &end.attempt {
        Attempt::Accepted(provider_id) => accepted(tx, &mut touch, provider_id.as_deref(), end.now)?,
        Attempt::Rejected(failure) => rejected(tx, &mut touch, failure, end.now)?,
        Attempt::Retry(failure) => {
            touch.note = Some(note(&failure.code, &failure.message));
            later(tx, &mut touch, end)?;
        }
        Attempt::Unknown(failure) => {
            touch.note = Some(note(&failure.code, &failure.message));
            if deduplicates {
                touch.uncertain = true;
                later(tx, &mut touch, end)?;
            } else {
                shift(tx, &mut touch, State::Unknown, None)?;
            }
        }
    }
    Ok(Some(touch))
}

/// A provider took it.
pub(super) fn accepted(
    tx: &mut Tx<'_>,
    touch: &mut Touch,
    provider_id: Option<&str>,
    now: Timestamp,
) -> Result<(), Error> {
    let provider_id = provider_id.filter(|id| (1..=PROVIDER_ID_BYTES_MAX).contains(&id.len()));
    if let (Some(slot), Some(provider_id)) = (&touch.slot, provider_id) {
        tx.put(&PROVIDER_IDS, &(slot.clone(), provider_id.to_owned()), &touch.id)?;
        touch.provider_id = Some(provider_id.to_owned());
    }
    if let Some(address) = touch.address {
        tx.put(&LAST_TO_ADDRESS, &address.0, &touch.id)?;
    }
    touch.sent_at = Some(now);
    touch.note = None;
    shift(tx, touch, State::Sent, None)
}

/// A provider will never take it.
fn rejected(tx: &mut Tx<'_>, touch: &mut Touch, failure: &Failure, now: Timestamp) -> Result<(), Error> {
    touch.note = Some(note(&failure.code, &failure.message));
    if touch.uncertain {
        // It may refuse the repetition of what it took.
        return shift(tx, touch, State::Unknown, None);
    }
    if let Some(address) = touch.address.filter(|_| suppression::is_hard_bounce(&failure.code)) {
        suppression::suppress_address(tx, &address.0, Cause::HardBounce, now)?;
    }
    touch::give_back(tx, touch)?;
    shift(tx, touch, State::Dropped(DropReason::Rejected), None)
}

/// The next attempt, the next provider, or nobody any more.
fn later(tx: &mut Tx<'_>, touch: &mut Touch, end: &End) -> Result<(), Error> {
    let tried = usize::try_from(touch.tries).unwrap_or(usize::MAX).saturating_sub(1);
    if let Some(wait) = RETRIES.get(tried) {
        let fifth = wait.as_millis() / 5 * i128::from(end.jitter) / 255;
        let wait = *wait + SignedDuration::from_millis(i64::try_from(fifth).unwrap_or(0));
        let at = end.now.checked_add(wait).unwrap_or(Timestamp::MAX);
        return shift(tx, touch, State::Pending, Some(at));
    }
    if touch.uncertain {
        return shift(tx, touch, State::Unknown, None);
    }
    if end.more {
        touch.providers_passed = touch.providers_passed.saturating_add(1);
        touch.tries = 0;
        return shift(tx, touch, State::Pending, Some(end.now));
    }
    touch::give_back(tx, touch)?;
    shift(tx, touch, State::Dead, None)
}

pub(super) fn shift(tx: &mut Tx<'_>, touch: &mut Touch, state: State, due: Option<Timestamp>) -> Result<(), Error> {
    let channel = touch.channel;
    Ok(touch::shift(tx, touch, (state, channel), due)?)
}

//! The touch: its row, and the one way in which it moves.
//!
//! [`ask`] makes one, [`shift`] moves it; both keep the queue, the totals and the operator's list in step with the row,
//! in the caller's transaction. Which move is right is the caller's to know.

use std::fmt;

use jiff::Timestamp;
use minicbor::{Decode, Encode};

use super::{
    secrets::StoredHash,
    tables::{
        CONTENTS, DAYS, LAST_TO_ADDRESS, PROVIDER_IDS, QUEUE, STUCK, TOTALS, TOUCH_KEYS, TOUCHES, TOUCHES_OF_MEMBER,
    },
};
use crate::{
    domain::{
        cbor,
        touch::{Channel, Class, DeferReason, DropReason, Language},
    },
    ids::{Id as _, MemberId, PartnerId, TouchId},
    store::{Scan, StoreError, Tx},
};

/// Shards of the queue.
pub const QUEUE_SHARDS: u16 = 16;
/// Shards of the totals.
pub const TOTAL_SHARDS: u16 = 8;
/// Counters of past days deleted with one touch: more than one touch makes.
const DAYS_SWEPT_AT_ONCE: usize = 8;

/// Where a touch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum State {
    /// Waits for its time, or for the next attempt.
    #[n(0)]
    Pending,
    /// The gate holds it back; it is looked at again then.
    #[n(1)]
    Deferred {
        /// Why.
        #[n(0)]
        reason: DeferReason,
        /// Until when.
        #[cbor(n(1), with = "cbor::instant")]
        until: Timestamp,
    },
    /// An attempt is under way.
    #[n(2)]
    Sending {
        /// Numbers the attempts: an end is recorded only for the one that is under way.
        #[n(0)]
        token: u32,
        /// From here on the attempt counts as lost.
        #[cbor(n(1), with = "cbor::instant")]
        lease: Timestamp,
        /// Whether its provider takes the same key twice without a second effect.
        #[n(2)]
        deduplicates: bool,
    },
    /// A provider took it.
    #[n(3)]
    Sent,
    /// It will not go.
    #[n(4)]
    Dropped(#[n(0)] DropReason),
    /// No provider took it: an operator may try again or give it up.
    #[n(5)]
    Dead,
    /// It may have been taken or not, and the provider would not notice a second one: an operator must look.
    #[n(6)]
    Unknown,
}

/// Why the last attempt did not succeed, or what the guard found.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Note {
    /// A vendor's, a rule's or our own code.
    #[n(0)]
    pub code: String,
    /// For the operator, without personal data.
    #[n(1)]
    pub message: String,
}

/// One candidate message to one member.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Touch {
    /// Its id; the digits are the delivery key of every attempt.
    #[n(0)]
    pub id: TouchId,
    /// To whom.
    #[n(1)]
    pub member: MemberId,
    /// The partner that registered the member.
    #[n(2)]
    pub partner: PartnerId,
    /// The template's code.
    #[n(3)]
    pub template: String,
    /// The template's class.
    #[n(4)]
    pub class: Class,
    /// Where it goes: the preferred channel, until the gate picks one.
    #[n(5)]
    pub channel: Channel,
    /// Where it stands.
    #[n(6)]
    pub state: State,
    /// When it was asked for.
    #[cbor(n(7), with = "cbor::instant")]
    pub asked_at: Timestamp,
    /// Not before.
    #[cbor(n(8), with = "cbor::instant")]
    pub due: Timestamp,
    /// Not from here on.
    #[cbor(n(9), with = "cbor::instant")]
    pub expires: Timestamp,
    /// Its place in the queue, where it has one.
    #[cbor(n(10), with = "cbor::maybe_instant")]
    pub queued: Option<Timestamp>,
    /// Attempts begun in all.
    #[n(11)]
    pub attempts: u32,
    /// Attempts begun with the current provider.
    #[n(12)]
    pub tries: u32,
    /// Providers of the channel that gave up.
    #[n(13)]
    pub providers_passed: u32,
    /// The slot of the last attempt.
    #[n(14)]
    pub slot: Option<String>,
    /// An earlier attempt may have been taken.
    #[n(15)]
    pub uncertain: bool,
    /// The member's day it counts towards.
    #[n(16)]
    pub day: Option<i32>,
    /// The address of the last attempt.
    #[n(17)]
    pub address: Option<StoredHash>,
    /// The vendor's id of the message.
    #[n(18)]
    pub provider_id: Option<String>,
    /// In which language it went.
    #[n(19)]
    pub language: Option<Language>,
    /// Which version of the text.
    #[n(20)]
    pub version: Option<u32>,
    /// What stands in its way, or stood last.
    #[n(21)]
    pub note: Option<Note>,
    /// When a provider took it.
    #[cbor(n(22), with = "cbor::maybe_instant")]
    pub sent_at: Option<Timestamp>,
    /// When it arrived.
    #[cbor(n(23), with = "cbor::maybe_instant")]
    pub delivered_at: Option<Timestamp>,
    /// When the member opened it.
    #[cbor(n(24), with = "cbor::maybe_instant")]
    pub opened_at: Option<Timestamp>,
    /// When the member followed a link in it.
    #[cbor(n(25), with = "cbor::maybe_instant")]
    pub clicked_at: Option<Timestamp>,
    /// When the vendor said that it did not arrive.
    #[cbor(n(26), with = "cbor::maybe_instant")]
    pub failed_at: Option<Timestamp>,
    /// What the asker calls it.
    #[n(27)]
    pub dedupe: String,
}

/// The touches that count towards one day of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct DayTouches {
    /// Which.
    #[n(0)]
    pub touches: Vec<TouchId>,
}

/// What the totals count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    /// Asked for, ever.
    Candidates,
    /// Waits for its time or the next attempt.
    Pending,
    /// An attempt is under way.
    Sending,
    /// A provider took it.
    Sent,
    /// The gate holds it back.
    Deferred,
    /// An operator must look.
    Unknown,
    /// It will not go; a dead letter counts as undeliverable.
    Dropped(DropReason),
}

impl Column {
    /// Drop reasons stand from here on.
    const DROPPED: u8 = 16;

    /// The number that is stored.
    pub fn code(self) -> u8 {
        match self {
            Self::Candidates => 0,
            Self::Pending => 1,
            Self::Sending => 2,
            Self::Sent => 3,
            Self::Deferred => 4,
            Self::Unknown => 5,
            Self::Dropped(reason) => Self::DROPPED + reason.code(),
        }
    }

    /// The column with this number.
    pub fn of_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Candidates,
            1 => Self::Pending,
            2 => Self::Sending,
            3 => Self::Sent,
            4 => Self::Deferred,
            5 => Self::Unknown,
            _ => Self::Dropped(DropReason::of_code(code.checked_sub(Self::DROPPED)?)?),
        })
    }
}

impl State {
    /// Where the totals count it.
    pub fn column(self) -> Column {
        match self {
            Self::Pending => Column::Pending,
            Self::Deferred { .. } => Column::Deferred,
            Self::Sending { .. } => Column::Sending,
            Self::Sent => Column::Sent,
            Self::Dropped(reason) => Column::Dropped(reason),
            Self::Dead => Column::Dropped(DropReason::Undeliverable),
            Self::Unknown => Column::Unknown,
        }
    }

    /// For the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Deferred { .. } => "deferred",
            Self::Sending { .. } => "sending",
            Self::Sent => "sent",
            Self::Dropped(_) => "dropped",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the touch waits in the queue for the gate.
    pub fn waits(self) -> bool {
        matches!(self, Self::Pending | Self::Deferred { .. })
    }

    /// Whether only people move it any more.
    pub fn has_ended(self) -> bool {
        !self.waits() && !matches!(self, Self::Sending { .. })
    }

    /// Whether it waits for an operator.
    fn stuck(self) -> bool {
        matches!(self, Self::Dead | Self::Unknown)
    }
}

/// The delivery key of a touch: the 32 digits of its id.
pub fn key_of(id: TouchId) -> String {
    format!("{:032x}", id.to_bits())
}

/// The touch with this delivery key.
pub fn of_key(key: &str) -> Option<TouchId> {
    let fits = key.len() == 32 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    fits.then(|| u128::from_str_radix(key, 16).ok().map(TouchId::from_bits)).flatten()
}

/// The tail of an id is random.
fn shard(id: TouchId, shards: u16) -> u16 {
    u16::try_from(id.to_bits() % u128::from(shards)).unwrap_or(0)
}

/// Writes a new touch with its sealed variables, unless one was asked for under the same key: then that one is meant.
///
/// # Errors
///
/// Those of the store.
pub fn ask(tx: &mut Tx<'_>, touch: &Touch, sealed: &Vec<u8>) -> Result<TouchId, StoreError> {
    let key = (touch.member, touch.template.clone(), touch.dedupe.clone());
    if let Some(known) = tx.get(&TOUCH_KEYS, &key)? {
        return Ok(known);
    }
    tx.put(&TOUCH_KEYS, &key, &touch.id)?;
    tx.put(&CONTENTS, &touch.id, sealed)?;
    tx.put(&TOUCHES_OF_MEMBER, &(touch.member, touch.id), &())?;
    count(tx, touch, Column::Candidates, true)?;
    count(tx, touch, touch.state.column(), true)?;
    let touch = Touch { queued: Some(touch.due), ..touch.clone() };
    tx.put(&QUEUE, &(shard(touch.id, QUEUE_SHARDS), touch.due, touch.id), &())?;
    tx.put(&TOUCHES, &touch.id, &touch)?;
    Ok(touch.id)
}

/// Moves a touch, which the caller has just read, to a state and a channel, and to a place in the queue or out of it.
///
/// # Errors
///
/// Those of the store.
pub fn shift(
    tx: &mut Tx<'_>,
    touch: &mut Touch,
    (state, channel): (State, Channel),
    due: Option<Timestamp>,
) -> Result<(), StoreError> {
    let before = (touch.state.column(), touch.channel, touch.state.stuck());
    if (before.0, before.1) != (state.column(), channel) {
        count(tx, touch, before.0, false)?;
        touch.channel = channel;
        count(tx, touch, state.column(), true)?;
    }
    touch.state = state;
    let shard = shard(touch.id, QUEUE_SHARDS);
    if touch.queued != due {
        if let Some(queued) = touch.queued {
            tx.delete(&QUEUE, &(shard, queued, touch.id))?;
        }
        if let Some(due) = due {
            tx.put(&QUEUE, &(shard, due, touch.id), &())?;
        }
        touch.queued = due;
    }
    match (before.2, state.stuck()) {
        (false, true) => tx.put(&STUCK, &touch.id, &())?,
        (true, false) => tx.delete(&STUCK, &touch.id)?,
        _ => {}
    }
    tx.put(&TOUCHES, &touch.id, touch)
}

fn count(tx: &mut Tx<'_>, touch: &Touch, column: Column, up: bool) -> Result<(), StoreError> {
    let key = (touch.class, touch.channel, column.code(), shard(touch.id, TOTAL_SHARDS));
    let counted = tx.get(&TOTALS, &key)?.unwrap_or(0);
    // A touch keeps its shard for life, so what goes down had gone up.
    let counted = if up { counted.saturating_add(1) } else { counted.saturating_sub(1) };
    tx.put(&TOTALS, &key, &counted)
}

/// Touches whose turn it is, the longest overdue first, from behind `after` on; at most `limit`, and whether there may be
/// more.
///
/// # Errors
///
/// Those of the store.
pub fn due(
    tx: &mut Tx<'_>,
    now: Timestamp,
    after: Option<(Timestamp, TouchId)>,
    limit: usize,
) -> Result<(Vec<(Timestamp, TouchId)>, bool), StoreError> {
    let bound = Timestamp::from_millisecond(now.as_millisecond().saturating_add(1)).unwrap_or(Timestamp::MAX);
    // Ids are spread over the shards by chance: twice a fair share of each is rarely too little.
    let per_shard = limit.div_ceil(usize::from(QUEUE_SHARDS)) * 2;
    let (mut found, mut end) = (Vec::new(), None);
    for shard in 0..QUEUE_SHARDS {
        let scan = Scan::prefix(&shard).until(&(shard, bound)).limit(per_shard);
        let scan = if let Some((due, id)) = after { scan.after(&(shard, due, id)) } else { scan };
        let first = found.len();
        found.extend(tx.scan(&QUEUE, &scan)?.into_iter().map(|((_, due, id), ())| (due, id)));
        if found.len() - first == per_shard {
            // What follows in this shard was not read, so nothing later is told either.
            let last = found.last().copied();
            end = if end.is_none() { last } else { end.min(last) };
        }
    }
    found.retain(|place| end.is_none_or(|end| *place <= end));
    found.sort_unstable();
    let more = end.is_some() || found.len() > limit;
    found.truncate(limit);
    Ok((found, more))
}

/// How many other touches count towards a member's day.
///
/// # Errors
///
/// Those of the store.
pub fn counted(tx: &mut Tx<'_>, touch: &Touch, day: i32) -> Result<usize, StoreError> {
    let row = tx.get(&DAYS, &(touch.member, day))?.unwrap_or_default();
    Ok(row.touches.iter().filter(|id| **id != touch.id).count())
}

/// Counts a touch towards a day. The day it counted towards before gets it back, unless it may have been taken then.
///
/// # Errors
///
/// Those of the store.
pub fn reserve(tx: &mut Tx<'_>, touch: &mut Touch, day: i32) -> Result<(), StoreError> {
    if touch.day == Some(day) {
        return Ok(());
    }
    if !touch.uncertain {
        give_back(tx, touch)?;
    }
    let mut row = tx.get(&DAYS, &(touch.member, day))?.unwrap_or_default();
    if !row.touches.contains(&touch.id) {
        row.touches.push(touch.id);
    }
    touch.day = Some(day);
    tx.put(&DAYS, &(touch.member, day), &row)
}

/// Gives back the day that a touch counted towards, because it did not go.
///
/// # Errors
///
/// Those of the store.
pub fn give_back(tx: &mut Tx<'_>, touch: &mut Touch) -> Result<(), StoreError> {
    let Some(day) = touch.day.take() else { return Ok(()) };
    let key = (touch.member, day);
    let mut row = tx.get(&DAYS, &key)?.unwrap_or_default();
    row.touches.retain(|id| *id != touch.id);
    if row.touches.is_empty() { tx.delete(&DAYS, &key) } else { tx.put(&DAYS, &key, &row) }
}

/// Deletes a touch that has ended, everything that points at it, and some of its member's counters of days before `days`.
/// The totals go on counting it.
///
/// # Errors
///
/// Those of the store.
pub fn forget(tx: &mut Tx<'_>, touch: &Touch, days: i32) -> Result<(), StoreError> {
    tx.delete(&TOUCH_KEYS, &(touch.member, touch.template.clone(), touch.dedupe.clone()))?;
    tx.delete(&TOUCHES_OF_MEMBER, &(touch.member, touch.id))?;
    tx.delete(&CONTENTS, &touch.id)?;
    tx.delete(&STUCK, &touch.id)?;
    if let (Some(slot), Some(provider_id)) = (&touch.slot, &touch.provider_id) {
        let key = (slot.clone(), provider_id.clone());
        if tx.get(&PROVIDER_IDS, &key)? == Some(touch.id) {
            tx.delete(&PROVIDER_IDS, &key)?;
        }
    }
    if let Some(StoredHash(address)) = touch.address
        && tx.get(&LAST_TO_ADDRESS, &address)? == Some(touch.id)
    {
        tx.delete(&LAST_TO_ADDRESS, &address)?;
    }
    // Not its own day alone: one that was uncertain counted towards two.
    let past = Scan::prefix(&touch.member).until(&(touch.member, days)).limit(DAYS_SWEPT_AT_ONCE);
    for (key, _) in tx.scan(&DAYS, &past)? {
        tx.delete(&DAYS, &key)?;
    }
    tx.delete(&TOUCHES, &touch.id)
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

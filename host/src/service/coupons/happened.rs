//! What the event log causes: coupons of offers that wait for an event, and bonuses of a month's spending.
//!
//! A consumer of the log, with a cursor per shard that moves in the transaction of what is issued: each event has its
//! effect once, whatever crashes. While nothing waits for events, nothing is read.

use std::sync::Arc;

use jiff::Timestamp;

use super::issue_matching;
use crate::{
    domain::{
        member::{MemberState, TierCause},
        offer::{Offer, Trigger},
    },
    events::{self, Batch, Consumer, Event, Position, What},
    ids::{CouponId, Id as _},
    service::{
        Error, Services, Settings,
        bonuses::{self, Bonus},
        members, offers,
        tables::MEMBERS,
    },
    store::{StoreError, Tx},
};

/// Its name among the consumers of the log.
pub(in crate::service) const CONSUMER: &str = "offers";
/// Events read in one step of a shard.
const EVENTS_AT_ONCE: usize = 200;
/// Events of one step that something waits for, so that what they cause fits into one transaction.
const CAUSES_AT_ONCE: usize = 8;

/// What waits for events.
#[derive(Clone, Default, PartialEq)]
struct Waiting {
    offers: Vec<Offer>,
    bonuses: Vec<Bonus>,
}

impl Waiting {
    fn is_idle(&self) -> bool {
        self.offers.is_empty() && self.bonuses.is_empty()
    }

    fn wants(&self, position: Position, event: &Event) -> bool {
        let name = event.what.name();
        // A new rule moves members without a gift (R5).
        let silent = matches!(event.what, What::TierChanged { cause: TierCause::RuleChange, .. });
        let paid = matches!(event.what, What::OrderPaid(_)) && !self.bonuses.is_empty();
        !silent && (paid || self.offers.iter().any(|offer| waits_for(offer, name, position)))
    }
}

/// What waits for events now.
fn waiting_now(tx: &mut Tx<'_>) -> Result<Waiting, Error> {
    Ok(Waiting { offers: offers::triggered(tx, Trigger::Event)?, bonuses: bonuses::all(tx)? })
}

/// Whether nothing waits for events. Whoever waits later waits for what happens after that.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn is_idle(tx: &mut Tx<'_>) -> Result<bool, Error> {
    waiting_now(tx).map(|waiting| waiting.is_idle())
}

impl Services {
    /// Issues what has happened calls for, a bounded step in every shard; how many events were dealt with. Call again
    /// while it is not zero.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn issue_for_events(&self) -> Result<usize, Error> {
        let waiting = self.store.peek(waiting_now).await?;
        if waiting.is_idle() {
            return Ok(0);
        }
        let shards = (0..events::SHARDS).map(|shard| self.issue_in_shard(shard, &waiting));
        futures::future::join_all(shards).await.into_iter().sum()
    }

    async fn issue_in_shard(&self, shard: u16, waiting: &Waiting) -> Result<usize, Error> {
        let Some(consumer) = Consumer::new(CONSUMER) else { return Ok(0) };
        let batch: Batch = self
            .store
            .peek(move |tx| events::read(tx, &consumer, shard, EVENTS_AT_ONCE))
            .await
            .map_err(|error: StoreError| Error::Store(error))?;
        if batch.events.is_empty() {
            return Ok(0);
        }
        let (now, first, waiting) = (self.clock.now(), self.ids.ordered(self.clock.now()), waiting.clone());
        let wanted = batch.events.iter().enumerate().filter(|(_, (at, event))| waiting.wants(*at, event));
        let mut count = wanted.map(|(n, _)| n).nth(CAUSES_AT_ONCE).unwrap_or(batch.events.len());
        let step = Arc::new((batch, waiting));
        loop {
            let (step, settings) = (Arc::clone(&step), Arc::clone(&self.settings));
            let run = self.store.run(now, move |tx| {
                let (batch, known) = &*step;
                // Somebody else dealt with them, or something else waits for them now: they are read again.
                if waiting_now(tx)? != *known || !batch.advance(tx, count)? {
                    return Ok(0);
                }
                let mut next: CouponId = first;
                for (position, event) in &batch.events[..count] {
                    if known.wants(*position, event) {
                        next = effects(tx, known, *position, event, next, now, &settings)?;
                    }
                }
                Ok::<_, Error>(count)
            });
            match run.await {
                // What they cause does not fit into one transaction: half of them will, or one alone.
                Err(Error::Store(StoreError::TooManyWrites { .. })) if count > 1 => count /= 2,
                done => return done,
            }
        }
    }
}

fn waits_for(offer: &Offer, event: &str, position: Position) -> bool {
    offer.event.as_deref() == Some(event) && offer.listed_at < position.seq.get()
}

/// Does what one event calls for; the id for the next coupon.
fn effects(
    tx: &mut Tx<'_>,
    waiting: &Waiting,
    position: Position,
    event: &Event,
    first: CouponId,
    now: Timestamp,
    settings: &Settings,
) -> Result<CouponId, Error> {
    let member = tx.get(&MEMBERS, &event.member)?.filter(|member| member.state == MemberState::Active);
    let Some(mut member) = member else { return Ok(first) };
    let name = event.what.name();
    let matches = |offer: &Offer| waits_for(offer, name, position);
    let mut happened = issue_matching(tx, &member, Trigger::Event, first, now, settings, matches)?;
    let next = CouponId::from_bits(first.to_bits().wrapping_add(happened.len() as u128));
    if let What::OrderPaid(order) = event.what {
        for bonus in waiting.bonuses.iter().filter(|bonus| bonus.listed_at < position.seq.get()) {
            happened.extend(bonuses::grant(tx, bonus, member.id, order, now, settings)?);
        }
    }
    if !happened.is_empty() {
        members::put_moved(tx, &mut member)?;
        events::append(tx, member.id, happened)?;
    }
    Ok(next)
}

//! Limits of offers per period and member: taken in the transaction that uses them, given back to the period they were
//! taken from.
//!
//! What all members share is counted in sharded counters, what one member may in a row of their own. A period's counter
//! needs no beginning: as long as it has no row, all of it is left. Rows of past periods are removed as later ones are
//! written; whatever comes back to such a period is past using.

use jiff::civil::DateTime;
use minicbor::{Decode, Encode};

use super::{
    counters::{self, CounterKey},
    tables::{COUNTERS, OFFER_TAKEN},
};
use crate::{
    domain::{
        limit::{Limit, Measure, Period, Room, Short, Whose},
        offer::{Offer, OfferClass},
    },
    events,
    ids::{MemberId, OfferId},
    store::{Scan, StoreError, Tx},
};

/// Rows of past periods removed with one that is written.
const SWEPT_AT_ONCE: usize = 16;

/// What was taken of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Taken {
    /// Whose limit.
    #[n(0)]
    pub whose: Whose,
    /// Of what.
    #[n(1)]
    pub measure: Measure,
    /// In which kind of period.
    #[n(2)]
    pub period: Period,
    /// In which one.
    #[n(3)]
    pub index: i32,
    /// How much.
    #[n(4)]
    pub amount: i64,
}

/// What an order took of an offer's limits.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Reserved {
    /// Of which offer.
    #[n(0)]
    pub offer: OfferId,
    /// Its class: a refund gives some classes back and not others.
    #[n(1)]
    pub class: OfferClass,
    /// By limit.
    #[n(2)]
    pub taken: Vec<Taken>,
}

/// What an order still holds of limits. It names the periods, so that whatever the clock and the zone do meanwhile,
/// each gets back what was taken from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Reservations {
    /// By offer.
    #[n(0)]
    pub offers: Vec<Reserved>,
}

/// Who takes what of an offer, and when.
#[derive(Clone, Copy, Debug)]
pub struct Taking<'a> {
    /// Of which offer.
    pub offer: OfferId,
    /// Its limits, or its breaker.
    pub limits: &'a [Limit],
    /// Who.
    pub member: MemberId,
    /// The local time of the deployment's zone: it says in which periods.
    pub local: DateTime,
    /// How much of each measure; nothing is asked of the others.
    pub amounts: &'a [(Measure, i64)],
}

impl Taking<'_> {
    /// The limits concerned, each with what is asked of it.
    fn parts(&self) -> impl Iterator<Item = (Limit, i64)> + '_ {
        let wanted = |measure| self.amounts.iter().find(|(of, _)| *of == measure).map(|(_, amount)| *amount);
        self.limits.iter().filter_map(move |limit| Some((*limit, wanted(limit.measure)?)))
    }

    /// How the limits stand: the tightest one of amounts, if there is any; or the first one that does not allow what is
    /// asked.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn standing(&self, tx: &mut Tx<'_>) -> Result<Result<Option<Room>, Short>, StoreError> {
        let mut tightest: Option<Room> = None;
        for (limit, wanted) in self.parts() {
            let room = self.room(tx, limit)?;
            if let Some(short) = room.short_of(wanted) {
                return Ok(Err(short));
            }
            if limit.measure == Measure::Amount && tightest.is_none_or(|other| room.left() < other.left()) {
                tightest = Some(room);
            }
        }
        Ok(Ok(tightest))
    }

    fn room(&self, tx: &mut Tx<'_>, limit: Limit) -> Result<Room, StoreError> {
        let index = limit.period.index(self.local);
        let observed = match limit.whose {
            Whose::All => counters::left_of(tx, shared(self.offer, limit, index), unwritten(limit))?,
            Whose::Member => tx.get(&OFFER_TAKEN, &own(self.member, self.offer, limit, index))?.unwrap_or(0),
        };
        Ok(Room { limit, observed })
    }

    /// Takes from every limit concerned, or says which one does not allow it; then nothing is taken.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn take(&self, tx: &mut Tx<'_>) -> Result<Result<Vec<Taken>, Short>, StoreError> {
        if let Err(short) = self.standing(tx)? {
            return Ok(Err(short));
        }
        let mut taken = Vec::new();
        for (limit, amount) in self.parts() {
            let Limit { whose, measure, period, .. } = limit;
            let index = period.index(self.local);
            match whose {
                Whose::All => self.take_shared(tx, limit, index, amount)?,
                Whose::Member => self.take_own(tx, limit, index, amount)?,
            }
            taken.push(Taken { whose, measure, period, index, amount });
        }
        Ok(Ok(taken))
    }

    fn take_shared(&self, tx: &mut Tx<'_>, limit: Limit, index: i32, amount: i64) -> Result<(), StoreError> {
        let (id, near) = (self.offer, events::shard(self.member) % counters::SHARDS);
        let key = shared(id, limit, index);
        if limit.period != Period::Ever && tx.get(&COUNTERS, &(key, near))?.is_none() {
            let past = Scan::all().from(&(shared(id, limit, i32::MIN), 0)).until(&(shared(id, limit, index - 1), 0));
            for (old, _) in tx.scan(&COUNTERS, &past.limit(SWEPT_AT_ONCE))? {
                tx.delete(&COUNTERS, &old)?;
            }
        }
        counters::reserve_of(tx, key, near, amount, unwritten(limit)).map(drop)
    }

    fn take_own(&self, tx: &mut Tx<'_>, limit: Limit, index: i32, amount: i64) -> Result<(), StoreError> {
        let row = |index| own(self.member, self.offer, limit, index);
        let before = tx.get(&OFFER_TAKEN, &row(index))?;
        if before.is_none() && limit.period != Period::Ever {
            let past = Scan::all().from(&row(i32::MIN)).until(&row(index - 1)).limit(SWEPT_AT_ONCE);
            for (old, _) in tx.scan(&OFFER_TAKEN, &past)? {
                tx.delete(&OFFER_TAKEN, &old)?;
            }
        }
        tx.put(&OFFER_TAKEN, &row(index), &before.unwrap_or(0).saturating_add(amount))
    }
}

/// Gives back what was taken of one limit of an offer.
///
/// # Errors
///
/// Those of the store.
pub fn give_back(tx: &mut Tx<'_>, offer: OfferId, member: MemberId, taken: Taken) -> Result<(), StoreError> {
    let Taken { whose, measure, period, index, amount } = taken;
    let limit = Limit { whose, measure, period, most: 0 };
    match whose {
        Whose::All => {
            let (key, near) = (shared(offer, limit, index), events::shard(member));
            if period == Period::Ever || tx.get(&COUNTERS, &(key, near % counters::SHARDS))?.is_some() {
                counters::give_back(tx, key, near, amount)?;
                return Ok(());
            }
            // The member's shard took nothing itself, or its period is past: another shard that took keeps the sum.
            for shard in 0..counters::SHARDS {
                if tx.get(&COUNTERS, &(key, shard))?.is_some() {
                    return counters::give_back(tx, key, shard, amount);
                }
            }
            Ok(())
        }
        Whose::Member => {
            let row = own(member, offer, limit, index);
            match tx.get(&OFFER_TAKEN, &row)? {
                Some(before) => tx.put(&OFFER_TAKEN, &row, &before.saturating_sub(amount).max(0)),
                None => Ok(()),
            }
        }
    }
}

/// Every limit of an offer, its budgets first.
pub fn limits(offer: &Offer) -> Vec<Limit> {
    let budget = |measure, most| Limit { whose: Whose::All, measure, period: Period::Ever, most };
    let uses = offer.budget_uses.map(|most| budget(Measure::Uses, i64::try_from(most).unwrap_or(i64::MAX)));
    let amount = offer.budget_amount.map(|most| budget(Measure::Amount, most.get()));
    uses.into_iter().chain(amount).chain(offer.limits.iter().copied()).collect()
}

/// The counter of a shared limit.
fn shared(offer: OfferId, limit: Limit, index: i32) -> CounterKey {
    match (limit.period, limit.measure) {
        (Period::Ever, Measure::Uses) => CounterKey::OfferUses(offer),
        (Period::Ever, Measure::Amount) => CounterKey::OfferAmount(offer),
        (period, measure) => CounterKey::OfferPeriod { offer, measure: measure as u8, period: period as u8, index },
    }
}

/// What a counter without rows has left: budgets are written when the offer is defined.
fn unwritten(limit: Limit) -> i64 {
    match (limit.period, limit.measure) {
        (Period::Ever, Measure::Uses | Measure::Amount) => 0,
        _ => limit.most,
    }
}

/// The row of what a member took.
fn own(member: MemberId, offer: OfferId, limit: Limit, index: i32) -> (MemberId, OfferId, (u8, u8), i32) {
    (member, offer, (limit.measure as u8, limit.period as u8), index)
}

#[cfg(test)]
mod tests;

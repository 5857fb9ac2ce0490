//! Budgets and stock: counters that are never exceeded and never leak, in shards so that no row is hot.
//!
//! A reservation takes from the shard of the member first and from the others where that is not enough; what comes back
//! goes to the member's shard. The sum over the shards is what is left, exactly.

use minicbor::{Decode, Encode};

use super::tables::COUNTERS;
use crate::{
    ids::{Id, OfferId, ProductId},
    store::{Key, StoreError, Tx},
};

/// How many shards a counter has: rows that setting a limit writes.
pub const SHARDS: u16 = 8;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CounterKey {
    /// Items of a product.
    Stock(ProductId),
    /// Uses of an offer.
    OfferUses(OfferId),
    /// Minor units that an offer may still give.
    OfferAmount(OfferId),
    /// What an offer may still give in one period: see [`super::limits`].
    OfferPeriod {
        /// The offer.
        offer: OfferId,
        /// What is counted.
        measure: u8,
        /// The kind of period.
        period: u8,
        /// Which one.
        index: i32,
    },
}

impl Key for CounterKey {
    fn encode(&self, to: &mut Vec<u8>) {
        let (tag, bits) = match self {
            Self::Stock(product) => (0_u8, product.to_bits()),
            Self::OfferUses(offer) => (1, offer.to_bits()),
            Self::OfferAmount(offer) => (2, offer.to_bits()),
            Self::OfferPeriod { offer, .. } => (3, offer.to_bits()),
        };
        Key::encode(&tag, to);
        Key::encode(&bits, to);
        if let Self::OfferPeriod { measure, period, index, .. } = self {
            Key::encode(&(*measure, *period, *index), to);
        }
    }

    fn decode(from: &mut &[u8]) -> Option<Self> {
        let tag = <u8 as Key>::decode(from)?;
        let bits = <u128 as Key>::decode(from)?;
        match tag {
            0 => Some(Self::Stock(Id::from_bits(bits))),
            1 => Some(Self::OfferUses(Id::from_bits(bits))),
            2 => Some(Self::OfferAmount(Id::from_bits(bits))),
            3 => {
                let (measure, period, index) = Key::decode(from)?;
                Some(Self::OfferPeriod { offer: Id::from_bits(bits), measure, period, index })
            }
            _ => None,
        }
    }
}

/// One shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Counter {
    /// What is left in it; zero or more.
    #[n(0)]
    pub left: i64,
}

/// Sets what is left in all, spread over the shards.
///
/// # Errors
///
/// Those of the store.
pub fn set_limit(tx: &mut Tx<'_>, key: CounterKey, left: i64) -> Result<(), StoreError> {
    for shard in 0..SHARDS {
        tx.put(&COUNTERS, &(key, shard), &Counter { left: share(left, shard) })?;
    }
    Ok(())
}

/// What is left in all; zero where no limit was set.
///
/// # Errors
///
/// Those of the store.
pub fn left(tx: &mut Tx<'_>, key: CounterKey) -> Result<i64, StoreError> {
    left_of(tx, key, 0)
}

/// What is left in all of a counter whose shards, as long as they have no row, share `unwritten`.
///
/// # Errors
///
/// Those of the store.
pub fn left_of(tx: &mut Tx<'_>, key: CounterKey, unwritten: i64) -> Result<i64, StoreError> {
    let rows: Vec<_> = (0..SHARDS).map(|shard| (key, shard)).collect();
    let shards = (0..SHARDS).zip(tx.get_many(&COUNTERS, &rows)?);
    let left = shards.map(|(shard, row)| row.map_or(share(unwritten, shard), |counter| counter.left));
    Ok(left.fold(0, i64::saturating_add))
}

/// Takes `amount` if that much is left; says whether it did. `near` picks the shard to begin with.
///
/// # Errors
///
/// Those of the store.
pub fn reserve(tx: &mut Tx<'_>, key: CounterKey, near: u16, amount: i64) -> Result<bool, StoreError> {
    reserve_of(tx, key, near, amount, 0)
}

/// The same of a counter whose shards, as long as they have no row, share `unwritten`.
///
/// # Errors
///
/// Those of the store.
pub fn reserve_of(
    tx: &mut Tx<'_>,
    key: CounterKey,
    near: u16,
    amount: i64,
    unwritten: i64,
) -> Result<bool, StoreError> {
    let shards = (0..SHARDS).map(|i| (near + i) % SHARDS);
    let (mut missing, mut taken) = (amount.max(0), Vec::new());
    for shard in shards {
        if missing == 0 {
            break;
        }
        let row = tx.get(&COUNTERS, &(key, shard))?;
        let here = row.map_or(share(unwritten, shard), |counter| counter.left);
        let part = here.min(missing);
        if part > 0 {
            missing -= part;
            taken.push((shard, here - part));
        }
    }
    if missing > 0 {
        return Ok(false);
    }
    for (shard, left) in taken {
        tx.put(&COUNTERS, &(key, shard), &Counter { left })?;
    }
    Ok(true)
}

/// What one shard begins with.
fn share(all: i64, shard: u16) -> i64 {
    let (each, rest) = (all.max(0) / i64::from(SHARDS), all.max(0) % i64::from(SHARDS));
    each + i64::from(i64::from(shard) < rest)
}

/// Gives `amount` back.
///
/// # Errors
///
/// Those of the store.
pub fn give_back(tx: &mut Tx<'_>, key: CounterKey, near: u16, amount: i64) -> Result<(), StoreError> {
    let row = (key, near % SHARDS);
    let here = tx.get(&COUNTERS, &row)?.unwrap_or_default().left;
    tx.put(&COUNTERS, &row, &Counter { left: here.saturating_add(amount.max(0)) })
}

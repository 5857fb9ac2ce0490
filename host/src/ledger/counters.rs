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
}

impl Key for CounterKey {
    fn encode(&self, to: &mut Vec<u8>) {
        let (tag, bits) = match self {
            Self::Stock(product) => (0_u8, product.to_bits()),
            Self::OfferUses(offer) => (1, offer.to_bits()),
            Self::OfferAmount(offer) => (2, offer.to_bits()),
        };
        Key::encode(&tag, to);
        Key::encode(&bits, to);
    }

    fn decode(from: &mut &[u8]) -> Option<Self> {
        let tag = <u8 as Key>::decode(from)?;
        let bits = <u128 as Key>::decode(from)?;
        match tag {
            0 => Some(Self::Stock(Id::from_bits(bits))),
            1 => Some(Self::OfferUses(Id::from_bits(bits))),
            2 => Some(Self::OfferAmount(Id::from_bits(bits))),
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
    let (each, rest) = (left.max(0) / i64::from(SHARDS), left.max(0) % i64::from(SHARDS));
    for shard in 0..SHARDS {
        let left = each + i64::from(i64::from(shard) < rest);
        tx.put(&COUNTERS, &(key, shard), &Counter { left })?;
    }
    Ok(())
}

/// What is left in all; zero where no limit was set.
///
/// # Errors
///
/// Those of the store.
pub fn left(tx: &mut Tx<'_>, key: CounterKey) -> Result<i64, StoreError> {
    let rows: Vec<_> = (0..SHARDS).map(|shard| (key, shard)).collect();
    let shards = tx.get_many(&COUNTERS, &rows)?;
    Ok(shards.into_iter().flatten().fold(0, |sum, counter| sum.saturating_add(counter.left)))
}

/// Takes `amount` if that much is left; says whether it did. `near` picks the shard to begin with.
///
/// # Errors
///
/// Those of the store.
pub fn reserve(tx: &mut Tx<'_>, key: CounterKey, near: u16, amount: i64) -> Result<bool, StoreError> {
    let shards = (0..SHARDS).map(|i| (near + i) % SHARDS);
    let (mut missing, mut taken) = (amount.max(0), Vec::new());
    for shard in shards {
        if missing == 0 {
            break;
        }
        let here = tx.get(&COUNTERS, &(key, shard))?.unwrap_or_default().left;
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

//! Which products are bought, and bought together: counts over the paid orders of all members.
//!
//! [`read`] and [`count`] are the way in: one reads the event log behind a cursor per shard, beside whoever writes, the
//! other counts the baskets of paid orders, so that paying an order costs nothing more. [`bought_with`] and [`baskets`] are
//! the ways out. Nothing here knows members, prices or plugins, and a count says nothing of who bought.
//!
//! The counts are of orders as they were paid: refunds do not take them back.
//!
//! # What is approximate
//!
//! A product remembers the [`PARTNERS_MAX`] products that it was bought with most. When another one comes, the rarest
//! makes room and leaves its count behind as `surplus` (the Space-Saving sketch): a pair that makes up more than one in
//! [`PARTNERS_MAX`] of all pairs of its product is never lost, and count less surplus is never more than what happened.
//! That difference is what [`bought_with`] gives. Of an order, the first [`BASKET_PRODUCTS_MAX`] products count.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use crate::{
    events::{EVENTS, Position, What},
    ids::{OrderId, ProductId},
    store::{SCAN_ROWS_MAX, Scan, Seq, StoreError, Table, Tx},
};

/// Paid orders that hold a product.
pub const BASKETS: Table<ProductId, u64> = Table::new(100, "baskets.v1");
/// What a product was bought together with.
pub const PARTNERS: Table<ProductId, Partners> = Table::new(101, "basket-partners.v1");
/// How far each shard of the event log is counted.
pub const CURSORS: Table<u16, Cursor> = Table::new(102, "basket-cursors.v1");

/// Products that a product remembers.
pub const PARTNERS_MAX: usize = 64;
/// Products of an order that count.
pub const BASKET_PRODUCTS_MAX: usize = 20;
/// Products that one transaction changes: two rows each, and a cursor for each shard, are below what it may write.
const PRODUCTS_AT_ONCE: usize = 200;

/// What a product was bought together with, in no order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Partners {
    /// At most [`PARTNERS_MAX`].
    #[n(0)]
    list: Vec<Partner>,
}

/// Another product in the same orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct Partner {
    #[n(0)]
    product: ProductId,
    /// Orders that hold both, at most.
    #[n(1)]
    count: u64,
    /// How many of them may have been another product's.
    #[n(2)]
    surplus: u64,
}

/// The last event that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Cursor {
    /// Of its commit.
    #[n(0)]
    seq: u64,
    /// Within the commit.
    #[n(1)]
    number: u16,
}

impl Partners {
    /// Counts one more order with this product.
    fn meet(&mut self, product: ProductId) {
        if let Some(known) = self.list.iter_mut().find(|known| known.product == product) {
            known.count += 1;
        } else if self.list.len() < PARTNERS_MAX {
            self.list.push(Partner { product, count: 1, surplus: 0 });
        } else if let Some(rarest) = self.list.iter_mut().min_by_key(|known| (known.count, known.product)) {
            *rarest = Partner { product, count: rarest.count + 1, surplus: rarest.count };
        }
    }
}

/// Rows on their way: each is read once and written once, however many orders change it.
#[derive(Default)]
struct Counts(BTreeMap<ProductId, (u64, Partners)>);

impl Counts {
    /// Counts one order, unless there is no more room.
    fn add(&mut self, tx: &mut Tx<'_>, products: &BTreeSet<ProductId>) -> Result<bool, StoreError> {
        let new: Vec<ProductId> = products.iter().filter(|id| !self.0.contains_key(id)).copied().collect();
        if self.0.len() + new.len() > PRODUCTS_AT_ONCE {
            return Ok(false);
        }
        let (counts, partners) = (tx.get_many(&BASKETS, &new)?, tx.get_many(&PARTNERS, &new)?);
        for ((id, count), partners) in new.into_iter().zip(counts).zip(partners) {
            self.0.insert(id, (count.unwrap_or(0), partners.unwrap_or_default()));
        }
        for id in products {
            let Some((count, partners)) = self.0.get_mut(id) else { continue };
            *count += 1;
            products.iter().filter(|other| *other != id).for_each(|other| partners.meet(*other));
        }
        Ok(true)
    }

    fn write(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        for (id, (count, partners)) in &self.0 {
            tx.put(&BASKETS, id, count)?;
            tx.put(&PARTNERS, id, partners)?;
        }
        Ok(())
    }
}

/// How far a shard of the log is counted.
///
/// # Errors
///
/// Those of the store.
pub fn counted(tx: &mut Tx<'_>, shard: u16) -> Result<Option<Position>, StoreError> {
    let cursor = tx.get(&CURSORS, &shard)?;
    Ok(cursor.map(|Cursor { seq, number }| Position { seq: Seq::new(seq), n: number }))
}

/// Events of a shard that are not counted yet, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    shard: u16,
    /// Where they were read.
    before: Option<Cursor>,
    /// Each with the products of the order that it paid, if it did.
    events: Vec<(Cursor, BTreeSet<ProductId>)>,
}

impl Waiting {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// Reads at most `limit` events of a shard that are not counted yet; `products_of` reads what an order holds.
///
/// # Errors
///
/// Those of the store and of `products_of`.
pub fn read<E: From<StoreError>>(
    tx: &mut Tx<'_>,
    shard: u16,
    limit: usize,
    mut products_of: impl FnMut(&mut Tx<'_>, OrderId) -> Result<Vec<ProductId>, E>,
) -> Result<Waiting, E> {
    let before = tx.get(&CURSORS, &shard)?;
    let scan = Scan::prefix(&shard).limit(limit.min(SCAN_ROWS_MAX));
    let scan = match before {
        Some(Cursor { seq, number }) => scan.after(&(shard, Seq::new(seq), number)),
        None => scan,
    };
    let mut events = Vec::new();
    for ((_, seq, number), event) in tx.scan(&EVENTS, &scan)? {
        let mut products = BTreeSet::new();
        if let What::OrderPaid(order) = event.what {
            for product in products_of(tx, order)? {
                if products.len() < BASKET_PRODUCTS_MAX {
                    products.insert(product);
                }
            }
        }
        events.push((Cursor { seq: seq.get(), number }, products));
    }
    Ok(Waiting { shard, before, events })
}

/// Counts events that were read, as many as one transaction may, each once; how many it did.
///
/// # Errors
///
/// Those of the store.
pub fn count(tx: &mut Tx<'_>, waiting: &[Waiting]) -> Result<usize, StoreError> {
    let mut counts = Counts::default();
    let mut done = 0;
    // Another shard comes first each time, so that none starves while all are busy.
    let first = usize::try_from(tx.seq().get()).unwrap_or(0) % waiting.len().max(1);
    let (later, sooner) = waiting.split_at(first);
    for Waiting { shard, before, events } in sooner.iter().chain(later) {
        // Somebody else counted them meanwhile.
        if tx.get(&CURSORS, shard)? != *before {
            continue;
        }
        let mut last = None;
        for (cursor, products) in events {
            if !counts.add(tx, products)? {
                break;
            }
            (last, done) = (Some(*cursor), done + 1);
        }
        if let Some(last) = last {
            tx.put(&CURSORS, shard, &last)?;
        }
    }
    counts.write(tx)?;
    Ok(done)
}

/// What was bought together with any of these products, and is none of them: at least how often, summed over these
/// products. The most often first, at most `limit`.
///
/// # Errors
///
/// Those of the store.
pub fn bought_with(tx: &mut Tx<'_>, products: &[ProductId], limit: usize) -> Result<Vec<(ProductId, u64)>, StoreError> {
    let own: BTreeSet<ProductId> = products.iter().copied().collect();
    let mut together: BTreeMap<ProductId, u64> = BTreeMap::new();
    for partner in tx.get_many(&PARTNERS, products)?.into_iter().flatten().flat_map(|partners| partners.list) {
        let surely = partner.count - partner.surplus.min(partner.count);
        if surely > 0 && !own.contains(&partner.product) {
            *together.entry(partner.product).or_default() += surely;
        }
    }
    let mut together: Vec<_> = together.into_iter().collect();
    together.sort_by_key(|(product, count)| (std::cmp::Reverse(*count), *product));
    together.truncate(limit);
    Ok(together)
}

/// How many paid orders hold each of these products.
///
/// # Errors
///
/// Those of the store.
pub fn baskets(tx: &mut Tx<'_>, products: &[ProductId]) -> Result<Vec<u64>, StoreError> {
    Ok(tx.get_many(&BASKETS, products)?.into_iter().map(Option::unwrap_or_default).collect())
}

#[cfg(test)]
mod tests;

//! What all members hold together, counted in the transaction that moves it: by purse, and what can be spent by the hour
//! it dies in. A programme's liability is read here, not by adding up everybody.
//!
//! Hours are whole hours of UTC since 1970, so that months of any zone are made of them. Rows are sharded by member; one
//! that comes to zero goes away.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    lots::{Lot, PendingLot},
    postings::Balance,
    tables::{BALANCES, LOTS, PENDING_LOTS, TOTALS},
};
use crate::{
    domain::{
        money::Points,
        points::{Account, House, Purse},
    },
    ids::{Id as _, MemberId},
    store::{Scan, Store, StoreError, Tx},
};

/// Rows that one total is spread over.
pub const SHARDS: u16 = 8;
/// Rows read at once.
const PAGE: usize = 1_000;
/// Rows written at once when totals are made anew.
const WRITTEN_AT_ONCE: usize = 400;
/// Stands in place of a purse in the row that says that there are totals.
const COUNTED: u8 = u8::MAX;

/// A purse as its number, the hour in which its points die (0 where they do not), the shard.
pub type TotalKey = (u8, i32, u16);

/// What members hold in all, by purse and by the hour it dies in.
pub type Totals = BTreeMap<(u8, i32), i128>;

/// The hour that an instant lies in.
pub fn hour(at: Timestamp) -> i32 {
    i32::try_from(at.as_second().div_euclid(3_600)).unwrap_or(i32::MAX)
}

fn shard(member: MemberId) -> u16 {
    u16::try_from(member.to_bits() % u128::from(SHARDS)).unwrap_or(0)
}

/// Counts one side of a posting. What can be spent is counted lot by lot instead, by [`in_lot`].
pub(super) fn moved(tx: &mut Tx<'_>, account: Account, by: Points) -> Result<(), StoreError> {
    match account {
        Account::House(..) | Account::Member(_, Purse::Active) => Ok(()),
        Account::Member(member, purse) => add(tx, (purse as u8, 0, shard(member)), by),
    }
}

/// Counts points that are put into a lot, or taken out where `by` is negative.
pub(super) fn in_lot(tx: &mut Tx<'_>, member: MemberId, expires_at: Timestamp, by: Points) -> Result<(), StoreError> {
    add(tx, (Purse::Active as u8, hour(expires_at), shard(member)), by)
}

fn add(tx: &mut Tx<'_>, key: TotalKey, by: Points) -> Result<(), StoreError> {
    let total = tx.get(&TOTALS, &key)?.unwrap_or(0).saturating_add(by.get());
    if total == 0 { tx.delete(&TOTALS, &key) } else { tx.put(&TOTALS, &key, &total) }
}

/// Everything that members hold, of one moment; as many rows as there are hours in which points die, times the shards.
///
/// # Errors
///
/// Those of the store.
pub fn read(tx: &mut Tx<'_>) -> Result<Totals, StoreError> {
    let (mut totals, mut after) = (Totals::new(), None);
    loop {
        let scan = Scan::all().limit(PAGE);
        let page = tx.scan(&TOTALS, &if let Some(last) = &after { scan.after(last) } else { scan })?;
        for ((purse, hour, _), total) in &page {
            if *purse != COUNTED {
                *totals.entry((*purse, *hour)).or_default() += i128::from(*total);
            }
        }
        match page.last() {
            Some((last, _)) => after = Some(*last),
            None => return Ok(totals),
        }
    }
}

/// What a house account holds in all its shards.
///
/// # Errors
///
/// Those of the store.
pub fn of_house(tx: &mut Tx<'_>, house: House) -> Result<i128, StoreError> {
    let shards: Vec<Account> = (0..crate::events::SHARDS).map(|shard| Account::House(house, shard)).collect();
    let balances: Vec<Option<Balance>> = tx.get_many(&BALANCES, &shards)?;
    Ok(balances.into_iter().flatten().map(|balance| i128::from(balance.points.get())).sum())
}

/// Adds everything up from lots and purses.
///
/// # Errors
///
/// Those of the store.
pub async fn recount(store: &Store) -> Result<Totals, StoreError> {
    let mut totals = Totals::new();
    let mut add = |purse: Purse, hour, points: Points| {
        *totals.entry((purse as u8, hour)).or_default() += i128::from(points.get());
    };
    let lots = store.for_each(LOTS, |(_, expires_at, _), row| {
        let lot: Lot = row.value;
        add(Purse::Active, hour(expires_at), lot.remaining);
        Ok::<_, StoreError>(())
    });
    lots.await?;
    let pending = store.for_each(PENDING_LOTS, |_, row| {
        let lot: PendingLot = row.value;
        add(Purse::Pending, 0, lot.points);
        Ok::<_, StoreError>(())
    });
    pending.await?;
    let purses = store.for_each(BALANCES, |account, row| {
        let balance: Balance = row.value;
        if let Account::Member(_, purse @ (Purse::Held | Purse::Debt)) = account {
            add(purse, 0, balance.points);
        }
        Ok::<_, StoreError>(())
    });
    purses.await?;
    totals.retain(|_, total| *total != 0);
    Ok(totals)
}

/// Makes the totals where there are none: in a store from before they were counted. Nobody else writes meanwhile.
///
/// # Errors
///
/// Those of the store.
pub async fn ensure(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    const MARK: TotalKey = (COUNTED, 0, 0);
    if store.read(|tx| tx.get(&TOTALS, &MARK)).await?.is_some() {
        return Ok(());
    }
    let rows: Vec<((u8, i32), i128)> = recount(store).await?.into_iter().collect();
    for page in rows.chunks(WRITTEN_AT_ONCE) {
        let page = page.to_vec();
        let write = store.run(now, move |tx| {
            page.iter().try_for_each(|((purse, hour), total)| {
                let total = i64::try_from(*total).unwrap_or(i64::MAX);
                tx.put(&TOTALS, &(*purse, *hour, 0), &total)
            })
        });
        write.await?;
    }
    store.run(now, |tx| tx.put(&TOTALS, &MARK, &1)).await
}

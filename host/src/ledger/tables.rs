//! The ledger's tables. Tags and names never change and are never used again.

use jiff::Timestamp;

use super::{
    counters::{Counter, CounterKey},
    lots::{Lot, PendingLot},
    postings::Balance,
    totals::TotalKey,
};
use crate::{
    domain::points::{Account, Entry, House, Purse},
    ids::{MemberId, OfferId},
    store::{Key, Table},
};

/// The balance of every account.
pub const BALANCES: Table<Account, Balance> = Table::new(50, "balances.v1");
/// Every side of every posting, numbered within its account. Append-only: nothing removes a row.
pub const ENTRIES: Table<(Account, u64), Entry> = Table::new(51, "entries.v1");
/// Points that cannot be spent yet, by the bits of the order or activity that earned them.
pub const PENDING_LOTS: Table<(MemberId, u128), PendingLot> = Table::new(52, "pending-lots.v1");
/// Points that can be spent, earliest expiry first.
pub const LOTS: Table<(MemberId, Timestamp, u128), Lot> = Table::new(53, "lots.v1");
/// Budgets and stock, in shards.
pub const COUNTERS: Table<(CounterKey, u16), Counter> = Table::new(54, "counters.v1");
/// What a member took of an offer's limits: by measure and kind of period, by period.
pub const OFFER_TAKEN: Table<(MemberId, OfferId, (u8, u8), i32), i64> = Table::new(35, "offer-taken.v1");
/// What members hold in all: by purse, by the hour it dies in, in shards.
pub const TOTALS: Table<TotalKey, i64> = Table::new(57, "points-totals.v1");

impl Key for Account {
    fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Self::Member(member, purse) => {
                0_u8.encode(to);
                member.encode(to);
                (*purse as u8).encode(to);
            }
            Self::House(house, shard) => {
                1_u8.encode(to);
                (*house as u8).encode(to);
                shard.encode(to);
            }
        }
    }

    fn decode(from: &mut &[u8]) -> Option<Self> {
        match u8::decode(from)? {
            0 => {
                let member = MemberId::decode(from)?;
                let purse = match u8::decode(from)? {
                    0 => Purse::Pending,
                    1 => Purse::Active,
                    2 => Purse::Held,
                    3 => Purse::Debt,
                    _ => return None,
                };
                Some(Self::Member(member, purse))
            }
            1 => {
                let house = match u8::decode(from)? {
                    0 => House::Issued,
                    1 => House::Redeemed,
                    2 => House::Expired,
                    3 => House::ClawedBack,
                    4 => House::Opening,
                    5 => House::Adjusted,
                    _ => return None,
                };
                Some(Self::House(house, u16::decode(from)?))
            }
            _ => None,
        }
    }
}

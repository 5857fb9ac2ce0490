//! Every table, in one place: what it holds and how its keys sort. Tags and names never change and are never used again.

use jiff::Timestamp;

use super::{Key, Seq, Table};
use crate::{
    domain::{
        member::{DayTotals, Member, Patient},
        offer::{Coupon, Offer},
        order::{Order, Quote},
        points::{Account, Entry, House, LotOrigin, Purse},
        product::Product,
    },
    events::Event,
    ids::{CouponId, KeyId, MemberId, OfferId, OrderId, PartnerId, PatientId, ProductId, QuoteId},
    ledger::{
        counters::{Counter, CounterKey},
        lots::{Lot, PendingLot},
        postings::Balance,
    },
    scheduler::{Timer, TimerKey},
    service::{
        idempotency::Used,
        keys::{ApiKey, KeyHash, Partner},
        releases::{ActiveRelease, StoredModule, StoredRelease},
    },
};

/// Members, without personal data.
pub const MEMBERS: Table<MemberId, Member> = Table::new(16, "members.v1");
/// Members by what their partner calls them.
pub const MEMBERS_BY_EXTERNAL_ID: Table<(PartnerId, String), MemberId> = Table::new(17, "members-by-external-id.v1");
/// Profiles, sealed under the person's profile key.
pub const PROFILES: Table<MemberId, Vec<u8>> = Table::new(18, "profiles.v1");
/// Patients by member.
pub const PATIENTS: Table<(MemberId, PatientId), Patient> = Table::new(19, "patients.v1");
/// A member's activity by day: days since 1970-01-01 in the deployment's zone.
pub const DAY_TOTALS: Table<(MemberId, i32), DayTotals> = Table::new(20, "day-totals.v1");

/// The catalogue.
pub const PRODUCTS: Table<ProductId, Product> = Table::new(24, "products.v1");
/// Products by what their partner calls them.
pub const PRODUCTS_BY_EXTERNAL_ID: Table<(PartnerId, String), ProductId> = Table::new(25, "products-by-external-id.v1");

/// Offers.
pub const OFFERS: Table<OfferId, Offer> = Table::new(28, "offers.v1");
/// Offers by what the operator calls them.
pub const OFFERS_BY_CODE: Table<String, OfferId> = Table::new(29, "offers-by-code.v1");
/// Offers that apply without a coupon and are live.
pub const AUTOMATIC_OFFERS: Table<OfferId, ()> = Table::new(30, "automatic-offers.v1");
/// Coupons.
pub const COUPONS: Table<CouponId, Coupon> = Table::new(31, "coupons.v1");
/// A member's coupons; `true` for those in hand (issued), `false` for all others.
pub const COUPONS_OF_MEMBER: Table<(MemberId, bool, CouponId), ()> = Table::new(32, "coupons-of-member.v1");
/// Coupons by what their partner calls them.
pub const COUPONS_BY_EXTERNAL_ID: Table<(PartnerId, String), CouponId> = Table::new(33, "coupons-by-external-id.v1");
/// How many coupons of an offer a member was issued.
pub const COUPONS_ISSUED: Table<(OfferId, MemberId), u32> = Table::new(34, "coupons-issued.v1");

/// Quotes, until they are placed or swept away.
pub const QUOTES: Table<QuoteId, Quote> = Table::new(40, "quotes.v1");
/// Orders.
pub const ORDERS: Table<OrderId, Order> = Table::new(41, "orders.v1");
/// A member's orders, in the order they were placed.
pub const ORDERS_OF_MEMBER: Table<(MemberId, OrderId), ()> = Table::new(42, "orders-of-member.v1");
/// Orders by what their partner calls them.
pub const ORDERS_BY_EXTERNAL_ID: Table<(PartnerId, String), OrderId> = Table::new(43, "orders-by-external-id.v1");

/// The balance of every account.
pub const BALANCES: Table<Account, Balance> = Table::new(50, "balances.v1");
/// Every side of every posting, numbered within its account. Append-only: nothing removes a row.
pub const ENTRIES: Table<(Account, u64), Entry> = Table::new(51, "entries.v1");
/// Points that orders earned and that cannot be spent yet.
pub const PENDING_LOTS: Table<(MemberId, OrderId), PendingLot> = Table::new(52, "pending-lots.v1");
/// Points that can be spent, earliest expiry first.
pub const LOTS: Table<(MemberId, Timestamp, u128), Lot> = Table::new(53, "lots.v1");
/// Budgets and stock, in shards.
pub const COUNTERS: Table<(CounterKey, u16), Counter> = Table::new(54, "counters.v1");

/// What is to be done at what time.
pub const TIMERS: Table<TimerKey, Timer> = Table::new(60, "timers.v1");
/// What happened, by shard of the member, in commit order.
pub const EVENTS: Table<(u16, Seq, u16), Event> = Table::new(61, "events.v1");

/// Answers by idempotency key.
pub const IDEMPOTENCY: Table<(PartnerId, String), Used> = Table::new(64, "idempotency.v1");
/// Partners.
pub const PARTNERS: Table<PartnerId, Partner> = Table::new(65, "partners.v1");
/// API keys by the hash of their secret.
pub const KEYS: Table<KeyHash, ApiKey> = Table::new(66, "keys.v1");
/// The hash of an API key's secret by the key's id.
pub const KEYS_BY_ID: Table<KeyId, KeyHash> = Table::new(67, "keys-by-id.v1");

/// Admitted plugin modules by digest; their bytes lie beside the store.
pub const MODULES: Table<String, StoredModule> = Table::new(70, "modules.v1");
/// Releases by slot and number.
pub const RELEASES: Table<(String, u32), StoredRelease> = Table::new(71, "releases.v1");
/// The release that answers in each slot.
pub const ACTIVE_RELEASES: Table<String, ActiveRelease> = Table::new(72, "active-releases.v1");

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

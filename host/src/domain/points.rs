//! The vocabulary of the points ledger: accounts, entries, lots.

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{money::Points, rule::Code};
use crate::ids::{ActivityId, KeyId, MemberId, OrderId, RedemptionId, RefundId};

/// Which of a member's purses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Purse {
    /// Earned, not yet to be spent.
    #[n(0)]
    Pending,
    /// Can be spent.
    #[n(1)]
    Active,
    /// Reserved by an unpaid order, or for a gift.
    #[n(2)]
    Held,
    /// What was clawed back beyond the balance: zero or less. What is earned later pays it first.
    #[n(3)]
    Debt,
}

/// How far earned points are taken back when they are no longer due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clawback {
    /// Only what cannot be spent yet.
    PendingOnly,
    /// What cannot be spent yet, then what can: nobody owes anything.
    #[default]
    WithinBalance,
    /// Everything: what the balance lacks is owed.
    MayGoNegative,
}

/// The programme's side of every posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum House {
    /// Gives what members earn; negative by exactly that.
    #[n(0)]
    Issued,
    /// Takes what members spend.
    #[n(1)]
    Redeemed,
    /// Takes what expires.
    #[n(2)]
    Expired,
    /// Takes back what a refund undoes.
    #[n(3)]
    ClawedBack,
    /// Gives what members bring from an earlier programme.
    #[n(4)]
    Opening,
    /// Gives and takes what operators correct.
    #[n(5)]
    Adjusted,
}

/// Who holds points. House accounts are sharded so that none is hot; a member always meets the same shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Account {
    /// A member's purse.
    #[n(0)]
    Member(#[n(0)] MemberId, #[n(1)] Purse),
    /// A shard of a house account.
    #[n(1)]
    House(#[n(0)] House, #[n(1)] u16),
}

/// What a posting is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Cause {
    /// Earned by a paid order.
    #[n(0)]
    Earned(#[n(0)] OrderId),
    /// Became spendable.
    #[n(1)]
    Activated(#[n(0)] OrderId),
    /// Reserved for an order.
    #[n(2)]
    Held(#[n(0)] OrderId),
    /// The reservation was given back.
    #[n(3)]
    Released(#[n(0)] OrderId),
    /// Spent on an order.
    #[n(4)]
    Spent(#[n(0)] OrderId),
    /// Spent points given back by a refund.
    #[n(5)]
    Restored(#[n(0)] RefundId),
    /// Earned points taken back by a refund.
    #[n(6)]
    ClawedBack(#[n(0)] RefundId),
    /// Reached the end of their life.
    #[n(7)]
    Expired,
    /// Granted or taken by an operator.
    #[n(8)]
    Adjusted,
    /// Taken over from an earlier programme.
    #[n(9)]
    Opening,
    /// Pays what was clawed back beyond the balance.
    #[n(10)]
    DebtPaid,
    /// Earned by an activity.
    #[n(11)]
    ActivityEarned(#[n(0)] ActivityId),
    /// Points of an activity became spendable.
    #[n(12)]
    ActivityActivated(#[n(0)] ActivityId),
    /// Reserved for a gift.
    #[n(13)]
    GiftHeld(#[n(0)] RedemptionId),
    /// The reservation was given back.
    #[n(14)]
    GiftReleased(#[n(0)] RedemptionId),
    /// Spent on a gift.
    #[n(15)]
    GiftSpent(#[n(0)] RedemptionId),
    /// A gift was taken back, and its points given back.
    #[n(16)]
    GiftRestored(#[n(0)] RedemptionId),
}

/// What a posting is about, by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An order.
    Order(OrderId),
    /// A refund.
    Refund(RefundId),
    /// An activity.
    Activity(ActivityId),
    /// A gift that was taken.
    Redemption(RedemptionId),
}

impl Cause {
    /// Every name.
    pub const NAMES: [&str; 11] = [
        "earned",
        "activated",
        "held",
        "released",
        "spent",
        "restored",
        "clawed-back",
        "expired",
        "adjusted",
        "opening",
        "debt-paid",
    ];

    /// The name used in the API and in statements.
    pub const fn name(self) -> &'static str {
        let index = match self {
            Self::Earned(_) | Self::ActivityEarned(_) => 0,
            Self::Activated(_) | Self::ActivityActivated(_) => 1,
            Self::Held(_) | Self::GiftHeld(_) => 2,
            Self::Released(_) | Self::GiftReleased(_) => 3,
            Self::Spent(_) | Self::GiftSpent(_) => 4,
            Self::Restored(_) | Self::GiftRestored(_) => 5,
            Self::ClawedBack(_) => 6,
            Self::Expired => 7,
            Self::Adjusted => 8,
            Self::Opening => 9,
            Self::DebtPaid => 10,
        };
        Self::NAMES[index]
    }

    /// What it is about, where that has an id.
    pub const fn subject(self) -> Option<Subject> {
        match self {
            Self::Earned(id) | Self::Activated(id) | Self::Held(id) | Self::Released(id) | Self::Spent(id) => {
                Some(Subject::Order(id))
            }
            Self::Restored(id) | Self::ClawedBack(id) => Some(Subject::Refund(id)),
            Self::ActivityEarned(id) | Self::ActivityActivated(id) => Some(Subject::Activity(id)),
            Self::GiftHeld(id) | Self::GiftReleased(id) | Self::GiftSpent(id) | Self::GiftRestored(id) => {
                Some(Subject::Redemption(id))
            }
            Self::Expired | Self::Adjusted | Self::Opening | Self::DebtPaid => None,
        }
    }
}

/// Who gave or took points beside what orders and activities earn, and why.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Note {
    /// The API key that was used; none where the programme gave them by itself.
    #[n(0)]
    pub by: Option<KeyId>,
    /// A code, for example `goodwill`: no personal data, no comma.
    #[n(1)]
    pub why: Code,
}

impl Note {
    /// A note of the programme's own.
    pub fn of_programme(why: &str) -> Self {
        Self { by: None, why: Code::from(why) }
    }
}

/// One side of a posting, as stored with its account.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// Added to the account; negative when taken.
    #[n(0)]
    pub amount: Points,
    /// The account's balance after this entry.
    #[n(1)]
    pub balance: Points,
    /// The other side.
    #[n(2)]
    pub counterpart: Account,
    /// What it is about.
    #[n(3)]
    pub cause: Cause,
    /// When; never before the account's entry before this one, even if the clock went back.
    #[cbor(n(4), with = "super::cbor::instant")]
    pub at: Timestamp,
    /// What chains it to all entries of the account before it; none where it was made before there were chains.
    #[n(5)]
    pub link: Option<Link>,
    /// Who did it by hand, and why.
    #[n(6)]
    pub note: Option<Note>,
}

/// What the entries of an account have come to: SHA-256 over the link before, the account, the number and the entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link(pub [u8; 32]);

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl<C> Encode<C> for Link {
    fn encode<W: minicbor::encode::Write>(
        &self,
        to: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        to.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Link {
    fn decode(from: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes = from.bytes()?.try_into().map_err(|_| minicbor::decode::Error::message("a link has 32 bytes"))?;
        Ok(Self(bytes))
    }
}

/// Names an active lot: lots are spent in this order, earliest expiry first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct LotKey {
    /// When its points die.
    #[cbor(n(0), with = "super::cbor::instant")]
    pub expires_at: Timestamp,
    /// Tells lots of one instant apart: the bits of the order or adjustment that made it.
    #[n(1)]
    pub origin: LotOrigin,
}

/// What made a lot, as bits of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LotOrigin(pub u128);

impl<C> Encode<C> for LotOrigin {
    fn encode<W: minicbor::encode::Write>(
        &self,
        to: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        to.bytes(&self.0.to_be_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for LotOrigin {
    fn decode(from: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bits = from.bytes()?.try_into().map_err(|_| minicbor::decode::Error::message("an origin has 16 bytes"))?;
        Ok(Self(u128::from_be_bytes(bits)))
    }
}

/// Points drawn from one lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Draw {
    /// From which lot.
    #[n(0)]
    pub lot: LotKey,
    /// How many.
    #[n(1)]
    pub points: Points,
}

/// A member's points at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Balances {
    /// Earned, not yet to be spent.
    #[n(0)]
    pub pending: Points,
    /// Can be spent now.
    #[n(1)]
    pub active: Points,
    /// Reserved.
    #[n(2)]
    pub held: Points,
    /// Owed: zero or more.
    #[n(3)]
    #[cbor(default)]
    pub debt: Points,
}

//! The vocabulary of the points ledger: accounts, entries, lots.

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::money::Points;
use crate::ids::{MemberId, OrderId, RefundId};

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
    /// Reserved by an unpaid order.
    #[n(2)]
    Held,
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
}

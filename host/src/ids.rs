//! Identifiers: one newtype per thing, so that a coupon is never taken for an order.
//!
//! Every id is 128 bits and shows as a prefix and 32 hexadecimal digits (`mbr_0190…`). Ids that only label things in
//! time order are UUID v7; a member's id is random, because v7 tells when it was made. [`Ids`] is the only source: it is
//! handed down from the edge, so that a run with a seed repeats exactly.

use std::{fmt, str::FromStr, sync::Mutex};

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// A text that is not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind} id: expected `{prefix}_` and 32 hexadecimal digits")]
pub struct BadId {
    kind: &'static str,
    prefix: &'static str,
}

/// An id as 128 bits; what the store needs to use it as a key.
pub trait Id: Copy + Ord + Send + Sync + 'static {
    /// The id as a number; keys keep its order.
    fn to_bits(self) -> u128;
    /// The id with these bits.
    fn from_bits(bits: u128) -> Self;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($prefix:literal, $kind:literal);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl Id for $name {
            fn to_bits(self) -> u128 { self.0 }
            fn from_bits(bits: u128) -> Self { Self(bits) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{:032x}"), self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                let bad = BadId { kind: $kind, prefix: $prefix };
                match text.strip_prefix(concat!($prefix, "_")) {
                    Some(hex) if hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => {
                        u128::from_str_radix(hex, 16).map(Self).map_err(|_| bad)
                    }
                    _ => Err(bad),
                }
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> { to.collect_str(self) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self, to: &mut minicbor::Encoder<W>, _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                to.bytes(&self.0.to_be_bytes())?.ok()
            }
        }
        impl<'b, C> Decode<'b, C> for $name {
            fn decode(from: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let bytes = from.bytes()?;
                let bits = bytes.try_into().map_err(|_| minicbor::decode::Error::message("an id has 16 bytes"))?;
                Ok(Self(u128::from_be_bytes(bits)))
            }
        }
    )*};
}

ids! {
    /// A member of the programme.
    MemberId("mbr", "member");
    /// A patient under a member.
    PatientId("pat", "patient");
    /// An API client.
    PartnerId("prt", "partner");
    /// A catalogue entry.
    ProductId("prd", "product");
    /// Something that can be granted or applied.
    OfferId("off", "offer");
    /// One issued instance of an offer.
    CouponId("cpn", "coupon");
    /// A priced cart.
    QuoteId("quo", "quote");
    /// An order.
    OrderId("ord", "order");
    /// A refund of an order or of some of its lines.
    RefundId("rfd", "refund");
    /// A prescription of a patient.
    PrescriptionId("prs", "prescription");
    /// A recorded decision.
    DecisionId("dec", "decision");
    /// An API key (the id is public, the key is not).
    KeyId("key", "API key");
    /// One candidate message to one member.
    TouchId("tch", "touch");
    /// Something that a member did, as a partner reported it.
    ActivityId("act", "activity");
    /// Something that points buy.
    GiftId("gft", "gift");
    /// A gift that a member took.
    RedemptionId("rdm", "redemption");
}

/// The smallest of the ids that [`Ids::ordered`] gives at an instant: those given before it are smaller.
pub fn first_at<T: Id>(at: Timestamp) -> T {
    T::from_bits(u128::from(at.as_millisecond().max(0).unsigned_abs()) << 80)
}

/// Where ids come from: the operating system's randomness, or a seed.
pub struct Ids(Mutex<StdRng>);

impl Ids {
    /// Ids from the operating system's randomness.
    pub fn random() -> Self {
        Self(Mutex::new(StdRng::from_rng(&mut rand::rng())))
    }

    /// Ids that repeat for the same seed: for demos and tests.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// A random id: says nothing of when it was made.
    pub fn unordered<T: Id>(&self) -> T {
        T::from_bits(uuid::Builder::from_random_bytes(self.bytes()).into_uuid().as_u128())
    }

    /// An id in time order (UUID v7).
    pub fn ordered<T: Id>(&self, at: Timestamp) -> T {
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        let random: [u8; 16] = self.bytes();
        let tail = random.first_chunk().copied().unwrap_or_default();
        T::from_bits(uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid().as_u128())
    }

    /// Random bytes, for secrets and tokens.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut rng = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut bytes = [0; N];
        rng.fill(&mut bytes);
        bytes
    }
}

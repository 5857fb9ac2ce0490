//! The catalogue.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{
    member::{ExternalId, Revision},
    money::Money,
};
use crate::ids::{PartnerId, ProductId};

/// What the law calls a product; decides what may be promoted at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// A prescription medicine.
    #[n(0)]
    Rx,
    /// Over the counter, class A (red).
    #[n(1)]
    OtcA,
    /// Over the counter, class B (green).
    #[n(2)]
    OtcB,
    /// A medical device.
    #[n(3)]
    Device,
    /// A food or supplement.
    #[n(4)]
    Food,
    /// Anything else.
    #[n(5)]
    Other,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 6] = [Self::Rx, Self::OtcA, Self::OtcB, Self::Device, Self::Food, Self::Other];

    /// Whether it is a medicine: never sold again once shipped.
    pub const fn is_medicine(self) -> bool {
        matches!(self, Self::Rx | Self::OtcA | Self::OtcB)
    }

    /// The name used in JSON and in facts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rx => "rx",
            Self::OtcA => "otc-a",
            Self::OtcB => "otc-b",
            Self::Device => "device",
            Self::Food => "food",
            Self::Other => "other",
        }
    }
}

/// A catalogue entry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Product {
    /// Its id.
    #[n(0)]
    pub id: ProductId,
    /// The partner that sells it.
    #[n(1)]
    pub partner: PartnerId,
    /// What that partner calls it.
    #[n(2)]
    pub external_id: ExternalId,
    /// Shown to people.
    #[n(3)]
    pub name: String,
    /// For offers and tags, for example `VITAMINS`.
    #[n(4)]
    pub category: String,
    /// What the law calls it.
    #[n(5)]
    pub class: Class,
    /// Delivered first.
    #[n(6)]
    pub urgent: bool,
    /// Of one item.
    #[n(7)]
    pub list_price: Money,
    /// Active substances.
    #[n(8)]
    pub substances: Vec<String>,
    /// How many days one pack lasts, where that is known.
    #[n(9)]
    pub days_of_supply: Option<u16>,
    /// Whether sales are limited by a stock counter.
    #[n(10)]
    pub stock_tracked: bool,
    /// Moved by every write.
    #[n(11)]
    pub revision: Revision,
    /// Tier, member price and offers together leave at least this of one item.
    #[n(12)]
    pub floor_price: Option<Money>,
}

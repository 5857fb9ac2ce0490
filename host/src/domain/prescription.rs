//! Prescriptions: what a doctor allows a patient to buy, and how much of it is left.

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::member::{ExternalId, Revision};
use crate::ids::{KeyId, MemberId, OrderId, PartnerId, PatientId, PrescriptionId, ProductId};

/// Where a prescription is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum PrescriptionState {
    /// Waits for a pharmacist.
    #[n(0)]
    UnderReview,
    /// Orders may consume it.
    #[n(1)]
    Approved,
    /// A pharmacist refused it.
    #[n(2)]
    Rejected,
    /// Its time is over.
    #[n(3)]
    Expired,
}

/// A product and how many items of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PrescribedItem {
    /// Which product.
    #[n(0)]
    pub product: ProductId,
    /// Items that may be bought; at least one.
    #[n(1)]
    pub quantity: u32,
    /// Items that orders hold or have bought; never more than the quantity.
    #[n(2)]
    pub used: u32,
}

/// What a pharmacist decided.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ruling {
    /// When.
    #[cbor(n(0), with = "super::cbor::instant")]
    pub at: Timestamp,
    /// With whose key.
    #[n(1)]
    pub by: KeyId,
    /// Why it was refused.
    #[n(2)]
    pub reason: Option<String>,
}

/// A prescription without personal data: name, issuer and image lie sealed beside it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Prescription {
    /// Its id.
    #[n(0)]
    pub id: PrescriptionId,
    /// Who uploaded it.
    #[n(1)]
    pub partner: PartnerId,
    /// What that partner calls it.
    #[n(2)]
    pub external_id: Option<ExternalId>,
    /// The member who acts.
    #[n(3)]
    pub member: MemberId,
    /// For whom it was written.
    #[n(4)]
    pub patient: PatientId,
    /// The patient again, where the member acts for another.
    #[n(5)]
    pub acting_for: Option<PatientId>,
    /// What may be bought; each product once.
    #[n(6)]
    pub items: Vec<PrescribedItem>,
    /// Reviewed before those that are not.
    #[n(7)]
    pub urgent: bool,
    /// When it was uploaded.
    #[cbor(n(8), with = "super::cbor::instant")]
    pub uploaded_at: Timestamp,
    /// When a pharmacist is to have decided.
    #[cbor(n(9), with = "super::cbor::instant")]
    pub due_at: Timestamp,
    /// When it was written.
    #[cbor(n(10), with = "super::cbor::instant")]
    pub issued_at: Timestamp,
    /// Not from here on.
    #[cbor(n(11), with = "super::cbor::instant")]
    pub valid_until: Timestamp,
    /// Where it is in its life.
    #[n(12)]
    pub state: PrescriptionState,
    /// What the pharmacist decided.
    #[n(13)]
    pub ruling: Option<Ruling>,
    /// The order that waits for the decision; at most one.
    #[n(14)]
    pub waiting: Option<OrderId>,
    /// Moved by every write.
    #[n(15)]
    pub revision: Revision,
}

/// What a pharmacist looks at: stored only sealed under the person's statutory key.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Paper {
    /// The patient's real name.
    #[n(0)]
    pub name: String,
    /// The hospital or doctor.
    #[n(1)]
    pub issuer: String,
    /// Where the image of it lies, as the partner refers to it.
    #[n(2)]
    pub image: String,
}

impl std::fmt::Debug for Paper {
    /// Never what it holds.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Paper(…)")
    }
}

impl Prescription {
    /// Items of a product that can still be bought.
    pub fn left(&self, product: ProductId) -> u32 {
        let of = self.items.iter().find(|item| item.product == product);
        of.map_or(0, |item| item.quantity - item.used.min(item.quantity))
    }

    /// Why no order may consume it at `now`; nothing if one may, also while it is under review.
    pub fn unusable(&self, now: Timestamp) -> Option<&'static str> {
        match self.state {
            PrescriptionState::Rejected => Some("it was rejected"),
            PrescriptionState::Expired => Some("it has expired"),
            _ if self.valid_until <= now => Some("it has expired"),
            PrescriptionState::UnderReview if self.waiting.is_some() => Some("another order waits for its review"),
            PrescriptionState::UnderReview | PrescriptionState::Approved => None,
        }
    }

    /// Takes items of a product; `false` if there are not so many.
    pub fn take(&mut self, product: ProductId, quantity: u32) -> bool {
        let Some(item) = self.items.iter_mut().find(|item| item.product == product) else { return false };
        match item.used.checked_add(quantity) {
            Some(used) if used <= item.quantity => {
                item.used = used;
                true
            }
            _ => false,
        }
    }

    /// Puts items of a product back.
    pub fn put_back(&mut self, product: ProductId, quantity: u32) {
        if let Some(item) = self.items.iter_mut().find(|item| item.product == product) {
            item.used -= quantity.min(item.used);
        }
    }
}

//! Money that moved: payments and refunds as the books of a day list them, and payments that came too late.

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{member::ExternalId, money::Money, order::PaymentMethod};
use crate::ids::{KeyId, OrderId, PartnerId, RefundId};

/// A payment reference that was seen: each one counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SeenPayment {
    /// What it paid for.
    #[n(0)]
    pub order: OrderId,
    /// How much.
    #[n(1)]
    pub amount: Money,
    /// The refund to make, if it came too late.
    #[n(2)]
    pub late: Option<RefundId>,
}

/// A payment for an order that was given up: to be paid back.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RefundDue {
    /// Its id.
    #[n(0)]
    pub id: RefundId,
    /// Which order it was for.
    #[n(1)]
    pub order: OrderId,
    /// Whose order.
    #[n(2)]
    pub partner: PartnerId,
    /// The payment provider's reference.
    #[n(3)]
    pub reference: ExternalId,
    /// How it was paid.
    #[n(4)]
    pub method: PaymentMethod,
    /// How much.
    #[n(5)]
    pub amount: Money,
    /// When it was reported.
    #[cbor(n(6), with = "super::cbor::instant")]
    pub at: Timestamp,
    /// That it was paid back.
    #[n(7)]
    pub done: Option<PaidBack>,
}

/// That a late payment was paid back.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PaidBack {
    /// The payment provider's reference of the refund.
    #[n(0)]
    pub reference: ExternalId,
    /// When it was marked.
    #[cbor(n(1), with = "super::cbor::instant")]
    pub at: Timestamp,
    /// With whose key.
    #[n(2)]
    pub by: KeyId,
}

/// Which way money moved, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum MoneyKind {
    /// A member paid an order.
    #[n(0)]
    Payment,
    /// An order was refunded, in whole or part.
    #[n(1)]
    Refund,
    /// A member paid an order that was given up.
    #[n(2)]
    LatePayment,
    /// That was paid back.
    #[n(3)]
    LateRefund,
}

impl MoneyKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Payment, Self::Refund, Self::LatePayment, Self::LateRefund];

    /// The name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::LatePayment => "late-payment",
            Self::LateRefund => "late-refund",
        }
    }

    /// Whether money came in.
    pub const fn comes_in(self) -> bool {
        matches!(self, Self::Payment | Self::LatePayment)
    }
}

/// Money that moved, as the books of its day list it. Amounts are zero or more; the kind says which way.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct MoneyMove {
    /// Which way.
    #[n(0)]
    pub kind: MoneyKind,
    /// For which order.
    #[n(1)]
    pub order: OrderId,
    /// Whose order.
    #[n(2)]
    pub partner: PartnerId,
    /// When.
    #[cbor(n(3), with = "super::cbor::instant")]
    pub at: Timestamp,
    /// The payment provider's reference; of a refund, that of the payment it pays back.
    #[n(4)]
    pub reference: ExternalId,
    /// How.
    #[n(5)]
    pub method: PaymentMethod,
    /// Which refund.
    #[n(6)]
    pub refund: Option<RefundId>,
    /// How much in all.
    #[n(7)]
    pub amount: Money,
    /// Of it for delivery.
    #[n(8)]
    pub delivery: Money,
    /// The platform's part of the discounts: given with a payment, got back with a refund.
    #[n(9)]
    pub platform: Money,
    /// The brand's.
    #[n(10)]
    pub brand: Money,
    /// The pharmacy's.
    #[n(11)]
    pub pharmacy: Money,
}

//! What the API shows: domain values as JSON.
//!
//! Names are snake_case, times RFC 3339 in UTC, money `{"minor": 19900, "currency": "CNY"}`, ids texts. The names of
//! choices are those of the domain. A [`Show`] carries what a view needs beyond the value: the currency and the texts of
//! reasons.

mod gift;
pub(crate) mod input;
mod instalment;
mod key;
mod liability;
pub(crate) mod limit;
mod member;
mod money;
mod offer;
mod order;
pub(crate) mod plugin;
mod points;
mod prescription;
mod product;
mod reason;
mod recommendation;
pub(crate) mod schedule;
pub(crate) mod schema;
pub(crate) mod status;
mod tier;
mod touch;

use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use self::{
    gift::{CodesAddedView, GiftView, RedemptionView},
    instalment::InstalmentsView,
    key::{KeyView, NewKeyView, PartnerView},
    liability::{LiabilityView, liability_lines},
    member::{MemberView, ProfileView, ReferralView},
    money::{RefundDueView, SettlementView},
    offer::{CouponView, OfferView},
    order::{OrderView, QuoteView, ReleaseRefView},
    plugin::{ActiveView, ModuleView, ReleaseView, SlotView},
    points::{ActivityView, BalancesView, EntryView, STATEMENT_COLUMNS, statement_line},
    prescription::{PaperView, PatientView, PrescriptionView, RefillView},
    product::{ImportedView, ProductView},
    reason::{Show, Texts},
    recommendation::RecommendationsView,
    status::{LedgerView, StatsView, VerifiedView},
    tier::{BenefitsView, EvaluationView, ProgrammeView, ServiceView, StandingView},
    touch::{
        AskedView, ConsentView, ConsentsView, RenderedView, SuppressedAddressView, SuppressedMemberView, TemplateView,
        TotalsView, TouchView, VariantView,
    },
};
use crate::domain::money::Money;

/// An ISO 4217 code, small enough to be copied everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Currency([u8; 3]);

impl Currency {
    /// The code, if it is three capital letters.
    pub(crate) fn new(code: &str) -> Option<Self> {
        let bytes: [u8; 3] = code.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_uppercase).then_some(Self(bytes))
    }

    /// The code.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three capital letters of ASCII")
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// An amount of money.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[schema(as = Money)]
pub(crate) struct MoneyView {
    /// Minor units, such as fen.
    #[schema(example = 19900)]
    minor: i64,
    /// ISO 4217; one for the whole deployment.
    #[schema(value_type = String, example = "CNY")]
    currency: Currency,
}

impl Show<'_> {
    /// An amount with the deployment's currency.
    pub(crate) fn money(&self, amount: Money) -> MoneyView {
        MoneyView { minor: amount.get(), currency: self.currency }
    }
}

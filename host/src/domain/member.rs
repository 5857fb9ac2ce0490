//! Members, their patients, and the totals that tier rules look at.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, civil::Date};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{money::Money, rule::Code, touch::Language};
use crate::ids::{MemberId, PartnerId, PatientId};

/// A text that may not be an external id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an external id has 1 to 128 visible ASCII characters without `/`")]
pub struct BadExternalId;

/// What a partner calls a member, product, order or coupon: unique per partner and kind, and addressable.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(try_from = "String")]
pub struct ExternalId(#[n(0)] String);

impl ExternalId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ExternalId {
    type Err = BadExternalId;

    fn from_str(text: &str) -> Result<Self, BadExternalId> {
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        if fits { Ok(Self(text.to_owned())) } else { Err(BadExternalId) }
    }
}

impl TryFrom<String> for ExternalId {
    type Error = BadExternalId;

    fn try_from(text: String) -> Result<Self, BadExternalId> {
        text.parse()
    }
}

impl fmt::Display for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A counter that every write to a member moves; what a quote was priced against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Revision(#[n(0)] u64);

impl Revision {
    /// The revision of a new row.
    pub const FIRST: Self = Self(1);

    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// As a number, for entity tags.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Why a member's tier is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum TierCause {
    /// Registered.
    #[n(0)]
    Registered,
    /// Paid an order.
    #[n(1)]
    Paid,
    /// An order was refunded.
    #[n(2)]
    Refunded,
    /// A new release of the tier rule judged the same facts differently: no gift, no notice.
    #[n(3)]
    RuleChange,
    /// The evaluation by timer.
    #[n(4)]
    Scheduled,
    /// Taken over from an earlier programme.
    #[n(5)]
    Opening,
    /// Did something else than buying.
    #[n(50)]
    Activity,
}

/// The tier as stored; it counts from the next order.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HeldTier {
    /// The code that the rule gave.
    #[n(0)]
    pub code: Code,
    /// The release that gave it.
    #[n(1)]
    pub release: u64,
    /// Since when this code is held.
    #[cbor(n(2), with = "super::cbor::instant")]
    pub since: Timestamp,
    /// What moved the member there.
    #[n(3)]
    pub cause: TierCause,
    /// Held although the rule gives a lower one, for a while.
    #[n(4)]
    pub kept: Option<KeptTier>,
}

/// A tier that is kept by one who no longer qualifies.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KeptTier {
    /// The tier that the rule gives instead.
    #[n(0)]
    pub to: Code,
    /// The release that gives it.
    #[n(1)]
    pub release: u64,
    /// Since when.
    #[cbor(n(2), with = "super::cbor::instant")]
    pub since: Timestamp,
    /// Until when the tier is kept.
    #[cbor(n(3), with = "super::cbor::instant")]
    pub until: Timestamp,
    /// What took it away.
    #[n(4)]
    pub cause: TierCause,
}

/// Whether a member takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// Takes part.
    #[n(0)]
    Active,
    /// Erased: the profile key is destroyed, ledgers keep the pseudonym.
    #[n(1)]
    Erased,
}

/// A member as the programme knows them, without personal data.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    /// Random: says nothing of the person or the time.
    #[n(0)]
    pub id: MemberId,
    /// The partner that registered the member.
    #[n(1)]
    pub partner: PartnerId,
    /// What that partner calls the member.
    #[n(2)]
    pub external_id: Option<ExternalId>,
    /// When.
    #[cbor(n(3), with = "super::cbor::instant")]
    pub registered_at: Timestamp,
    /// Active or erased.
    #[n(4)]
    pub state: MemberState,
    /// Moved by every write to the member.
    #[n(5)]
    pub revision: Revision,
    /// The stored tier.
    #[n(6)]
    pub tier: HeldTier,
    /// The patient that the member is.
    #[n(7)]
    pub self_patient: PatientId,
    /// Goods paid, without delivery, less refunds.
    #[n(8)]
    pub lifetime_net_spend: Money,
    /// Orders paid and not refunded in full.
    #[n(9)]
    pub lifetime_paid_orders: u32,
    /// The IANA name of the zone they live in; the deployment's where it is not said.
    #[n(10)]
    pub zone: Option<String>,
    /// The language they read; Chinese where it is not said.
    #[n(11)]
    pub language: Option<Language>,
}

/// One member's activity on one day of the deployment's zone; rolling windows sum these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct DayTotals {
    /// Goods of orders paid this day, less what was refunded of them since.
    #[n(0)]
    pub net_spend: Money,
    /// Orders paid this day and not refunded in full.
    #[n(1)]
    pub paid_orders: u32,
    /// Recorded interactions.
    #[n(2)]
    pub interactions: u32,
}

/// A person under a member (用药人). Every member has one, "self".
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Patient {
    /// Its id.
    #[n(0)]
    pub id: PatientId,
    /// The member who acts for the patient.
    #[n(1)]
    pub member: MemberId,
    /// How the patient relates to the member.
    #[n(2)]
    pub relation: Relation,
}

/// How a patient relates to the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// The member.
    #[n(0)]
    Itself,
    /// A parent.
    #[n(1)]
    Parent,
    /// A child.
    #[n(2)]
    Child,
    /// Husband or wife.
    #[n(3)]
    Spouse,
    /// Anyone else.
    #[n(4)]
    Other,
}

/// Personal data: stored only sealed under the person's profile key.
#[derive(Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Profile {
    /// Given as the member writes it.
    #[n(0)]
    pub name: Option<String>,
    /// In E.164 form, for example `+8613800138000`.
    #[n(1)]
    pub phone: Option<String>,
    /// An address for mail.
    #[n(2)]
    pub email: Option<String>,
    /// As year, month and day.
    #[cbor(n(3), with = "birthday")]
    pub birthday: Option<Date>,
}

impl fmt::Debug for Profile {
    /// Says which fields are set, never what they hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("name", &self.name.is_some())
            .field("phone", &self.phone.is_some())
            .field("email", &self.email.is_some())
            .field("birthday", &self.birthday.is_some())
            .finish()
    }
}

/// A date as `YYYY-MM-DD`, or null.
mod birthday {
    use jiff::civil::Date;
    use minicbor::{Decoder, Encoder, data::Type};

    pub(super) fn encode<C, W: minicbor::encode::Write>(
        date: &Option<Date>,
        to: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match date {
            Some(date) => to.str(&date.to_string())?.ok(),
            None => to.null()?.ok(),
        }
    }

    pub(super) fn decode<C>(from: &mut Decoder<'_>, _: &mut C) -> Result<Option<Date>, minicbor::decode::Error> {
        if from.datatype()? == Type::Null {
            return from.null().map(|()| None);
        }
        from.str()?.parse().map(Some).map_err(|_| minicbor::decode::Error::message("not a date"))
    }
}

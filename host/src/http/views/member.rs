//! Members and their profiles.

use jiff::{Timestamp, civil::Date};
use serde::Serialize;
use utoipa::ToSchema;

use super::{MoneyView, Show, schema};
use crate::{
    domain::{
        member::{ExternalId, Member, MemberState, Profile, TierCause},
        touch::Language,
    },
    ids::{MemberId, PartnerId, PatientId},
    service::referrals::{Referral, ReferralState},
};

/// A member, without personal data.
#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
pub(crate) struct MemberView {
    #[schema(value_type = String, example = "mbr_5f1c9a7e4b2d48c6a1f03e9d7c5b2a18")]
    id: MemberId,
    /// The partner that registered the member.
    #[schema(value_type = String)]
    partner: PartnerId,
    /// What that partner calls the member.
    #[schema(value_type = Option<String>)]
    external_id: Option<ExternalId>,
    #[schema(schema_with = schema::member_state)]
    state: MemberState,
    #[schema(value_type = String, format = DateTime)]
    registered_at: Timestamp,
    /// As stored; it counts from the next order.
    tier: TierView,
    /// The patient that the member is.
    #[schema(value_type = String)]
    self_patient: PatientId,
    /// Goods paid, without delivery, less refunds.
    lifetime_net_spend: MoneyView,
    /// Orders paid and not refunded in full.
    lifetime_paid_orders: u32,
    /// The IANA name of the zone the member lives in; null for the deployment's.
    zone: Option<String>,
    /// The language the member reads; null for `zh-CN`.
    #[schema(schema_with = schema::language)]
    language: Option<Language>,
    /// Moved by every write to the member; also the `ETag`.
    revision: u64,
}

/// The tier a member holds.
#[derive(Serialize, ToSchema)]
#[schema(as = HeldTier)]
pub(crate) struct TierView {
    /// As the tier rule names it.
    #[schema(example = "silver")]
    code: String,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// What moved the member there.
    #[schema(schema_with = schema::tier_cause)]
    cause: TierCause,
    /// The release of the tier slot that gave it.
    release: u64,
}

/// A member's personal data.
#[derive(Serialize, ToSchema)]
#[schema(as = Profile)]
pub(crate) struct ProfileView {
    name: Option<String>,
    #[schema(example = "+8613800138000")]
    phone: Option<String>,
    email: Option<String>,
    #[schema(value_type = Option<String>, format = Date)]
    birthday: Option<Date>,
}

impl Show<'_> {
    /// A member.
    pub(crate) fn member(&self, member: Member) -> MemberView {
        MemberView {
            id: member.id,
            partner: member.partner,
            external_id: member.external_id,
            state: member.state,
            registered_at: member.registered_at,
            tier: TierView {
                code: member.tier.code.to_string(),
                since: member.tier.since,
                cause: member.tier.cause,
                release: member.tier.release,
            },
            self_patient: member.self_patient,
            lifetime_net_spend: self.money(member.lifetime_net_spend),
            lifetime_paid_orders: member.lifetime_paid_orders,
            zone: member.zone,
            language: member.language,
            revision: member.revision.get(),
        }
    }
}

impl From<Profile> for ProfileView {
    fn from(profile: Profile) -> Self {
        let Profile { name, phone, email, birthday } = profile;
        Self { name, phone, email, birthday }
    }
}

/// A referral of one member by another.
#[derive(Serialize, ToSchema)]
#[schema(as = Referral)]
pub(crate) struct ReferralView {
    /// Who was referred.
    #[schema(value_type = String)]
    member: MemberId,
    /// By whom.
    #[schema(value_type = String)]
    by: MemberId,
    /// It succeeds when the one who was referred verifies a phone that was never seen before.
    #[schema(schema_with = schema::referral_state)]
    state: ReferralState,
    #[schema(value_type = String, format = DateTime)]
    joined_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    decided_at: Option<Timestamp>,
}

impl From<Referral> for ReferralView {
    fn from(Referral { member, by, at, state, decided_at }: Referral) -> Self {
        Self { member, by, state, joined_at: at, decided_at }
    }
}

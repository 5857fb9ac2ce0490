//! Offers and coupons.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    MoneyView, Show,
    limit::{ConditionView, LimitView, ValidUntil, WindowView},
    order::FunderView,
    schema,
};
use crate::{
    domain::{
        fact::Value,
        launch::{Launch, PauseCause},
        member::ExternalId,
        offer::{Base, Coupon, CouponState, Offer, OfferClass, OfferState, ProfileField, Purpose, Trigger, Validity},
    },
    ids::{CouponId, KeyId, MemberId, OfferId, OrderId, PartnerId},
};

/// Something that can be granted or applied.
#[derive(Serialize, ToSchema)]
#[schema(as = Offer)]
pub(crate) struct OfferView {
    #[schema(value_type = String)]
    id: OfferId,
    /// What the operator calls it; unique.
    #[schema(value_type = String, example = "welcome-990")]
    code: ExternalId,
    name_zh_cn: String,
    name_en: String,
    /// Its stage of pricing.
    #[schema(schema_with = schema::offer_class)]
    class: OfferClass,
    /// Decides which product classes it may touch.
    #[schema(schema_with = schema::purpose)]
    purpose: Purpose,
    /// The slot whose policy judges it.
    #[schema(example = "coupon")]
    slot: String,
    /// By the names that the policy gave them.
    #[schema(value_type = Object, example = json!({"type": "amount", "threshold": 19900, "amount": 2000}))]
    terms: BTreeMap<String, serde_json::Value>,
    /// Offers of one group exclude each other.
    exclusivity_group: Option<String>,
    /// Higher goes first.
    priority: i32,
    /// Whose money.
    funders: Vec<FunderView>,
    /// How often it may be used in all.
    budget_uses: Option<u64>,
    /// How much it may give in all.
    budget_amount: Option<MoneyView>,
    /// How many coupons one member may be issued.
    per_member: Option<u32>,
    /// How often and how much, by period and member, beside the budgets.
    limits: Vec<LimitView>,
    /// How many days of 24 hours its coupons live; until the offer ends where nothing is said.
    valid_days: Option<u16>,
    /// How many hours its coupons live.
    valid_hours: Option<u16>,
    /// Its coupons live to 23:59:59 of that day.
    #[schema(schema_with = schema::valid_until)]
    valid_until: Option<ValidUntil>,
    /// When it is open, by the calendar of the deployment's zone; always where there are none.
    windows: Vec<WindowView>,
    /// What a member must be to use or claim it.
    conditions: Vec<ConditionView>,
    /// Members claim its coupons themselves, and nobody else issues them.
    claimed: bool,
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
    /// Whether a coupon comes back when its order is refunded in full.
    returns_on_refund: bool,
    /// What issues a coupon of it by itself; nothing where it is null.
    #[schema(schema_with = schema::trigger)]
    issued_on: Option<Trigger>,
    /// The event that issues its coupons, where an event does.
    #[schema(example = "order-delivered")]
    event: Option<String>,
    /// What a profile has to hold to bring a coupon, where a profile does.
    #[schema(value_type = Vec<String>, example = json!(["name", "birthday"]))]
    profile_fields: Vec<ProfileField>,
    /// On which amounts thresholds are tested and percentages computed.
    #[schema(schema_with = schema::base)]
    base: Base,
    #[schema(schema_with = schema::offer_state)]
    state: OfferState,
    /// What paused it last.
    #[schema(schema_with = schema::pause_cause)]
    paused_by: Option<PauseCause>,
    /// How it came to be live.
    launch: Option<LaunchView>,
    /// Rates of all members' uses and money above which it pauses itself.
    breaker: Vec<LimitView>,
    /// Moved by every write; also the `ETag`.
    revision: u64,
}

/// The way of an offer from its draft.
#[derive(Serialize, ToSchema)]
#[schema(as = Launch)]
pub(crate) struct LaunchView {
    /// The key that defined it.
    #[schema(value_type = String)]
    defined_by: KeyId,
    /// The keys that approved it, in this order.
    #[schema(value_type = Vec<String>)]
    approved_by: Vec<KeyId>,
    /// How many other keys have to approve it.
    needed: u8,
    /// It went live without another person, because no other key could approve it.
    alone: bool,
}

impl From<Launch> for LaunchView {
    fn from(launch: Launch) -> Self {
        let approved_by = launch.approvals.iter().map(|approval| approval.by).collect();
        Self { defined_by: launch.defined_by, approved_by, needed: launch.needed, alone: launch.alone }
    }
}

/// One issued instance of an offer.
#[derive(Serialize, ToSchema)]
#[schema(as = Coupon)]
pub(crate) struct CouponView {
    #[schema(value_type = String)]
    id: CouponId,
    #[schema(value_type = String)]
    offer: OfferId,
    #[schema(value_type = String)]
    member: MemberId,
    /// The partner that issued it.
    #[schema(value_type = String)]
    partner: PartnerId,
    /// What that partner calls it.
    #[schema(value_type = Option<String>)]
    external_id: Option<ExternalId>,
    #[schema(schema_with = schema::coupon_state)]
    state: &'static str,
    /// The order that holds or used it.
    #[schema(value_type = Option<String>)]
    order: Option<OrderId>,
    #[schema(value_type = String, format = DateTime)]
    issued_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl Show<'_> {
    /// An offer.
    pub(crate) fn offer(&self, offer: Offer) -> OfferView {
        OfferView {
            id: offer.id,
            code: offer.code,
            name_zh_cn: offer.name_zh_cn,
            name_en: offer.name_en,
            class: offer.class,
            purpose: offer.purpose,
            slot: offer.slot,
            terms: offer.terms.into_iter().map(|(name, value)| (name, json(value))).collect(),
            exclusivity_group: offer.exclusivity_group,
            priority: offer.priority,
            funders: offer.funders.into_iter().map(FunderView::from).collect(),
            budget_uses: offer.budget_uses,
            budget_amount: offer.budget_amount.map(|amount| self.money(amount)),
            per_member: offer.per_member,
            limits: offer.limits.into_iter().map(|limit| self.limit(limit)).collect(),
            valid_days: if let Validity::Days(days) = offer.validity { Some(days) } else { None },
            valid_hours: if let Validity::Hours(hours) = offer.validity { Some(hours) } else { None },
            valid_until: match offer.validity {
                Validity::EndOfDay => Some(ValidUntil::EndOfDay),
                Validity::EndOfMonth => Some(ValidUntil::EndOfMonth),
                Validity::OfferEnd | Validity::Days(_) | Validity::Hours(_) => None,
            },
            windows: offer.windows.into_iter().map(WindowView::from).collect(),
            starts_at: offer.starts_at,
            ends_at: offer.ends_at,
            returns_on_refund: offer.returns_on_refund,
            conditions: offer.conditions.into_iter().map(ConditionView::from).collect(),
            claimed: offer.claimed,
            issued_on: offer.issued_on,
            event: offer.event,
            profile_fields: offer.profile_fields,
            base: offer.base,
            state: offer.state,
            paused_by: offer.paused_by,
            launch: offer.launch.map(LaunchView::from),
            breaker: offer.breaker.into_iter().map(|rate| self.limit(rate)).collect(),
            revision: offer.revision.get(),
        }
    }
}

/// A fact or term as JSON; numbers of every type are integers.
fn json(value: Value) -> serde_json::Value {
    match value {
        Value::Absent => serde_json::Value::Null,
        Value::Flag(flag) => flag.into(),
        Value::Integer(number) => number.into(),
        Value::Text(text) => text.into(),
        Value::Texts(texts) => texts.into(),
    }
}

impl From<Coupon> for CouponView {
    fn from(coupon: Coupon) -> Self {
        let order = match coupon.state {
            CouponState::Held(order) | CouponState::Redeemed(order) => Some(order),
            CouponState::Issued | CouponState::Expired | CouponState::Revoked => None,
        };
        Self {
            id: coupon.id,
            offer: coupon.offer,
            member: coupon.member,
            partner: coupon.partner,
            external_id: coupon.external_id,
            state: coupon.state.name(),
            order,
            issued_at: coupon.issued_at,
            expires_at: coupon.expires_at,
        }
    }
}

//! What points buy, and what members took.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::schema;
use crate::{
    domain::{
        gift::{Gift, GiftKind, Redemption, RedemptionState},
        member::ExternalId,
    },
    ids::{CouponId, GiftId, MemberId, OfferId, ProductId, RedemptionId},
    service::gifts::CodesAdded,
};

/// What a member gets.
#[derive(Serialize, ToSchema)]
#[schema(as = GiftKind)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum GiftKindView {
    /// One item of a product, held until it is handed over.
    Product {
        #[schema(value_type = String)]
        product: ProductId,
    },
    /// One code of a partner's service, at once.
    Service,
    /// A coupon of an offer, at once.
    Credit {
        #[schema(value_type = String)]
        offer: OfferId,
    },
}

/// Something that points buy.
#[derive(Serialize, ToSchema)]
#[schema(as = Gift)]
pub(crate) struct GiftView {
    #[schema(value_type = String)]
    id: GiftId,
    #[schema(value_type = String)]
    code: ExternalId,
    name_zh_cn: String,
    name_en: String,
    kind: GiftKindView,
    /// What it costs.
    points: i64,
    /// Whether it can be taken.
    live: bool,
}

impl From<Gift> for GiftView {
    fn from(gift: Gift) -> Self {
        let kind = match gift.kind {
            GiftKind::Product(product) => GiftKindView::Product { product },
            GiftKind::Service => GiftKindView::Service,
            GiftKind::Credit(offer) => GiftKindView::Credit { offer },
        };
        let Gift { id, code, name_zh_cn, name_en, points, live, .. } = gift;
        Self { id, code, name_zh_cn, name_en, kind, points: points.get(), live }
    }
}

/// What became of a batch of codes.
#[derive(Serialize, ToSchema)]
#[schema(as = CodesAdded)]
pub(crate) struct CodesAddedView {
    /// New ones.
    added: u32,
    /// Those that were uploaded before, or stand twice in the batch.
    known: u32,
}

impl From<CodesAdded> for CodesAddedView {
    fn from(CodesAdded { added, known }: CodesAdded) -> Self {
        Self { added, known }
    }
}

/// A gift that a member took.
#[derive(Serialize, ToSchema)]
#[schema(as = Redemption)]
pub(crate) struct RedemptionView {
    #[schema(value_type = String)]
    id: RedemptionId,
    #[schema(value_type = String)]
    gift: GiftId,
    #[schema(value_type = String)]
    member: MemberId,
    #[schema(schema_with = schema::redemption_state)]
    state: RedemptionState,
    /// What it cost.
    points: i64,
    #[schema(value_type = String, format = DateTime)]
    taken_at: Timestamp,
    /// When the reservation of points and stock gives up.
    #[schema(value_type = Option<String>, format = DateTime)]
    hold_until: Option<Timestamp>,
    /// When it was redeemed or cancelled.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// The service's code; lists leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// The coupon that was issued.
    #[schema(value_type = Option<String>)]
    coupon: Option<CouponId>,
}

impl RedemptionView {
    /// With the code, for whoever may see it.
    pub(crate) fn new(redemption: Redemption, code: Option<String>) -> Self {
        let Redemption { id, gift, member, state, points, at, hold_until, ended_at, coupon, .. } = redemption;
        Self { id, gift, member, state, points: points.get(), taken_at: at, hold_until, ended_at, code, coupon }
    }
}

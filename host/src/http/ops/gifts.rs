//! What points buy: defined, paused, and supplied with codes.

use axum::extract::{OriginalUri, State};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{gift::GiftKind, member::ExternalId, money::Points},
    http::{
        Api,
        extract::{Allowed, Empty, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{CodesAddedView, GiftView},
    },
    ids::{GiftId, OfferId, ProductId},
    service::gifts::NewGift,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(define, list))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(add_codes))
}

/// What a member gets.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
enum KindBody {
    /// One item of a product; never a prescription or class A medicine.
    Product {
        #[schema(value_type = String)]
        product: ProductId,
    },
    /// One code of a partner's service.
    Service {},
    /// A coupon of a declared offer: purchase credit (购药金).
    Credit {
        #[schema(value_type = String)]
        offer: OfferId,
    },
}

/// The gift to define.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewGiftBody {
    /// What operators call it; unique.
    #[schema(value_type = String)]
    code: ExternalId,
    #[schema(max_length = 100)]
    name_zh_cn: String,
    #[schema(max_length = 100)]
    name_en: String,
    kind: KindBody,
    /// What it costs.
    #[schema(minimum = 1)]
    points: i64,
}

/// Codes of a partner's service.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ServiceCodesBody {
    /// 1 to 400, each of 1 to 128 visible ASCII characters.
    codes: Vec<String>,
}

/// Defines a gift, live at once.
#[utoipa::path(
    post, path = "/ops/v1/gifts", tag = "gifts", security(("api_key" = ["gifts:manage"])),
    params(OnceHeader), request_body = NewGiftBody,
    responses((status = 201, body = GiftView), (status = 409, description = "already-exists")),
)]
async fn define(
    State(api): State<Api>,
    caller: Allowed<needs::GiftsManage>,
    Once { key, body: Json(body), .. }: Once<Json<NewGiftBody>>,
) -> Result<Reply<GiftView>, Problem> {
    let kind = match body.kind {
        KindBody::Product { product } => GiftKind::Product(product),
        KindBody::Service {} => GiftKind::Service,
        KindBody::Credit { offer } => GiftKind::Credit(offer),
    };
    let NewGiftBody { code, name_zh_cn, name_en, points, .. } = body;
    let new = NewGift { code, name_zh_cn, name_en, kind, points: Points::new(points) };
    let done = api.services.define_gift(*caller, key, new).await?;
    let location = format!("/ops/v1/gifts/{}", done.value.id);
    Ok(Reply::created(done.value.into(), location).replayed(done.replayed))
}

/// Lists all gifts, oldest first.
#[utoipa::path(
    get, path = "/ops/v1/gifts", tag = "gifts", security(("api_key" = ["gifts:manage"])),
    params(PageQuery), responses((status = 200, body = List<GiftView>)),
)]
async fn list(
    State(api): State<Api>,
    _: Allowed<needs::GiftsManage>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<GiftView>, Problem> {
    let page = api.services.gifts(page.request()?).await?;
    Ok(List::new(page, &uri, GiftView::from))
}

/// Stops a gift: it cannot be taken until it is resumed. What is held stays held.
#[utoipa::path(
    post, path = "/ops/v1/gifts/{gift}/pause", tag = "gifts", security(("api_key" = ["gifts:manage"])),
    params(OnceHeader), responses((status = 200, body = GiftView)),
)]
async fn pause(
    State(api): State<Api>,
    caller: Allowed<needs::GiftsManage>,
    Path(id): Path<GiftId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<GiftView>, Problem> {
    let done = api.services.set_gift_live(*caller, key, id, false).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

/// Makes a paused gift live again.
#[utoipa::path(
    post, path = "/ops/v1/gifts/{gift}/resume", tag = "gifts", security(("api_key" = ["gifts:manage"])),
    params(OnceHeader), responses((status = 200, body = GiftView)),
)]
async fn resume(
    State(api): State<Api>,
    caller: Allowed<needs::GiftsManage>,
    Path(id): Path<GiftId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<GiftView>, Problem> {
    let done = api.services.set_gift_live(*caller, key, id, true).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

/// Adds a batch of codes to a gift of type `service`. They lie sealed; each goes to one member, once.
#[utoipa::path(
    post, path = "/ops/v1/gifts/{gift}/codes", tag = "gifts", security(("api_key" = ["gifts:manage"])),
    params(OnceHeader), request_body = ServiceCodesBody, responses((status = 200, body = CodesAddedView)),
)]
async fn add_codes(
    State(api): State<Api>,
    caller: Allowed<needs::GiftsManage>,
    Path(id): Path<GiftId>,
    Once { key, body: Json(body), .. }: Once<Json<ServiceCodesBody>>,
) -> Result<Reply<CodesAddedView>, Problem> {
    let done = api.services.add_service_codes(*caller, key, id, body.codes).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

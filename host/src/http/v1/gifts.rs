//! Gifts that members take for points.

use axum::extract::{OriginalUri, State};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::gift::Redemption,
    http::{
        Api,
        extract::{Allowed, Empty, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{GiftView, RedemptionView},
    },
    ids::{GiftId, MemberId, RedemptionId},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(gifts))
        .routes(routes!(take, taken))
        .routes(routes!(read))
        .routes(routes!(hand_over))
        .routes(routes!(cancel))
}

/// The gift to take.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TakeBody {
    #[schema(value_type = String)]
    gift: GiftId,
}

fn view(api: &Api, redemption: Redemption) -> Result<RedemptionView, Problem> {
    let code = api.services.code_of(&redemption)?;
    Ok(RedemptionView::new(redemption, code))
}

/// Lists what points buy, oldest first.
#[utoipa::path(
    get, path = "/v1/gifts", tag = "gifts", security(("api_key" = ["points:read"])),
    params(PageQuery), responses((status = 200, body = List<GiftView>)),
)]
async fn gifts(
    State(api): State<Api>,
    _: Allowed<needs::PointsRead>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<GiftView>, Problem> {
    let page = api.services.gifts(page.request()?).await?;
    Ok(List::new(page, &uri, GiftView::from))
}

/// Takes a gift for points. A product is held, with its points and one item of stock, until it is handed over; the code of
/// a service and the coupon of a credit are the member's at once.
#[utoipa::path(
    post, path = "/v1/members/{member}/redemptions", tag = "gifts", security(("api_key" = ["gifts:write"])),
    params(OnceHeader), request_body = TakeBody,
    responses(
        (status = 201, body = RedemptionView),
        (status = 409, description = "gift-not-available, not-enough-points, offer-not-issuable"),
        (status = 410, description = "member-erased"),
    ),
)]
async fn take(
    State(api): State<Api>,
    caller: Allowed<needs::GiftsWrite>,
    Path(member): Path<MemberId>,
    Once { key, body: Json(body), .. }: Once<Json<TakeBody>>,
) -> Result<Reply<RedemptionView>, Problem> {
    let done = api.services.take_gift(*caller, key, member, body.gift).await?;
    let location = format!("/v1/redemptions/{}", done.value.id);
    Ok(Reply::created(view(&api, done.value)?, location).replayed(done.replayed))
}

/// Lists what a member took, in that order, without codes.
#[utoipa::path(
    get, path = "/v1/members/{member}/redemptions", tag = "gifts", security(("api_key" = ["points:read"])),
    params(PageQuery), responses((status = 200, body = List<RedemptionView>)),
)]
async fn taken(
    State(api): State<Api>,
    caller: Allowed<needs::PointsRead>,
    Path(member): Path<MemberId>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<RedemptionView>, Problem> {
    let page = api.services.redemptions(*caller, member, page.request()?).await?;
    Ok(List::new(page, &uri, |redemption| RedemptionView::new(redemption, None)))
}

/// Reads a gift that was taken, with its code.
#[utoipa::path(
    get, path = "/v1/redemptions/{redemption}", tag = "gifts", security(("api_key" = ["gifts:write"])),
    responses((status = 200, body = RedemptionView)),
)]
async fn read(
    State(api): State<Api>,
    caller: Allowed<needs::GiftsWrite>,
    Path(id): Path<RedemptionId>,
) -> Result<Reply<RedemptionView>, Problem> {
    let redemption = api.services.redemption(*caller, id).await?;
    Ok(Reply::ok(view(&api, redemption)?))
}

/// Records that a product was handed over: its points are spent.
#[utoipa::path(
    post, path = "/v1/redemptions/{redemption}/fulfilment", tag = "gifts", security(("api_key" = ["gifts:write"])),
    params(OnceHeader),
    responses((status = 200, body = RedemptionView), (status = 409, description = "wrong-redemption-state")),
)]
async fn hand_over(
    State(api): State<Api>,
    caller: Allowed<needs::GiftsWrite>,
    Path(id): Path<RedemptionId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<RedemptionView>, Problem> {
    let done = api.services.hand_over_gift(*caller, key, id).await?;
    Ok(Reply::ok(view(&api, done.value)?).replayed(done.replayed))
}

/// Gives a held product up, or takes one back: points return to the lots they came from, the item to stock. A code or a
/// coupon cannot be taken back.
#[utoipa::path(
    post, path = "/v1/redemptions/{redemption}/cancellation", tag = "gifts", security(("api_key" = ["gifts:write"])),
    params(OnceHeader),
    responses((status = 200, body = RedemptionView), (status = 409, description = "wrong-redemption-state")),
)]
async fn cancel(
    State(api): State<Api>,
    caller: Allowed<needs::GiftsWrite>,
    Path(id): Path<RedemptionId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<RedemptionView>, Problem> {
    let done = api.services.cancel_gift(*caller, key, id).await?;
    Ok(Reply::ok(view(&api, done.value)?).replayed(done.replayed))
}

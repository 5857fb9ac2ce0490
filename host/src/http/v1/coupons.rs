//! Coupons: issued, claimed, taken back, read, listed by member.

use axum::extract::{OriginalUri, State};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::member::ExternalId,
    http::{
        Api,
        extract::{Allowed, Empty, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::CouponView,
    },
    ids::{CouponId, MemberId, OfferId},
    service::coupons::IssueCoupon,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(issue))
        .routes(routes!(claim))
        .routes(routes!(redeem))
        .routes(routes!(revoke))
        .routes(routes!(read))
        .routes(routes!(list_of_member))
}

/// The coupon to issue.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct IssueBody {
    /// Of which offer.
    #[schema(value_type = String)]
    offer: OfferId,
    /// To whom.
    #[schema(value_type = String)]
    member: MemberId,
    /// What the partner calls it; unique.
    #[schema(value_type = Option<String>)]
    external_id: Option<ExternalId>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CouponsQuery {
    /// Coupons that can be used now alone, where it is true or not said; all where it is false.
    in_hand: Option<bool>,
    /// At most this many items; 50 where it is not said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// As the page before gave it.
    cursor: Option<String>,
}

/// Issues a coupon to a member.
#[utoipa::path(
    post, path = "/v1/coupons", tag = "coupons", security(("api_key" = ["coupons:write"])),
    params(OnceHeader), request_body = IssueBody,
    responses(
        (status = 201, body = CouponView),
        (status = 409, description = "already-exists, offer-not-issuable"),
        (status = 410, description = "member-erased"),
    ),
)]
async fn issue(
    State(api): State<Api>,
    caller: Allowed<needs::CouponsWrite>,
    Once { key, body: Json(body), .. }: Once<Json<IssueBody>>,
) -> Result<Reply<CouponView>, Problem> {
    let issue = IssueCoupon { offer: body.offer, member: body.member, external_id: body.external_id };
    let done = api.services.issue_coupon(*caller, key, issue).await?;
    let location = format!("/v1/coupons/{}", done.value.id);
    Ok(Reply::created(done.value.into(), location).replayed(done.replayed))
}

/// The coupon to claim.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ClaimBody {
    /// Of which offer.
    #[schema(value_type = String)]
    offer: OfferId,
}

/// Gives a member a coupon of an offer whose coupons are claimed, if its conditions and limits allow it.
#[utoipa::path(
    post, path = "/v1/members/{member}/claims", tag = "coupons", security(("api_key" = ["coupons:write"])),
    params(OnceHeader), request_body = ClaimBody,
    responses(
        (status = 201, body = CouponView),
        (status = 409, description = "offer-not-issuable"),
        (status = 410, description = "member-erased"),
    ),
)]
async fn claim(
    State(api): State<Api>,
    caller: Allowed<needs::CouponsWrite>,
    Path(member): Path<MemberId>,
    Once { key, body: Json(body), .. }: Once<Json<ClaimBody>>,
) -> Result<Reply<CouponView>, Problem> {
    let done = api.services.claim_coupon(*caller, key, member, body.offer).await?;
    let location = format!("/v1/coupons/{}", done.value.id);
    Ok(Reply::created(done.value.into(), location).replayed(done.replayed))
}

/// The code that a member typed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CodeBody {
    /// In capital or small letters, with hyphens, spaces or neither.
    #[schema(example = "7K2MQ-XW4RT-9ABC")]
    code: String,
}

/// Gives a member the coupon that a code stands for, once.
#[utoipa::path(
    post, path = "/v1/members/{member}/codes", tag = "coupons", security(("api_key" = ["coupons:write"])),
    params(OnceHeader), request_body = CodeBody,
    responses(
        (status = 201, body = CouponView),
        (status = 404, description = "not-found"),
        (status = 409, description = "code-used, offer-not-issuable"),
        (status = 422, description = "invalid-request: it was mistyped"),
        (status = 429, description = "too-many-guesses"),
    ),
)]
async fn redeem(
    State(api): State<Api>,
    caller: Allowed<needs::CouponsWrite>,
    Path(member): Path<MemberId>,
    Once { key, body: Json(body), .. }: Once<Json<CodeBody>>,
) -> Result<Reply<CouponView>, Problem> {
    let done = api.services.redeem_code(*caller, key, member, &body.code).await?;
    let location = format!("/v1/coupons/{}", done.value.id);
    Ok(Reply::created(done.value.into(), location).replayed(done.replayed))
}

/// Takes a coupon back that is in hand.
#[utoipa::path(
    post, path = "/v1/coupons/{coupon}/revocation", tag = "coupons", security(("api_key" = ["coupons:write"])),
    params(OnceHeader),
    responses((status = 200, body = CouponView), (status = 409, description = "coupon-not-usable")),
)]
async fn revoke(
    State(api): State<Api>,
    caller: Allowed<needs::CouponsWrite>,
    Path(id): Path<CouponId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<CouponView>, Problem> {
    let done = api.services.revoke_coupon(*caller, key, id).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

/// Reads a coupon.
#[utoipa::path(
    get, path = "/v1/coupons/{coupon}", tag = "coupons", security(("api_key" = ["coupons:read"])),
    responses((status = 200, body = CouponView)),
)]
async fn read(
    State(api): State<Api>,
    caller: Allowed<needs::CouponsRead>,
    Path(id): Path<CouponId>,
) -> Result<Reply<CouponView>, Problem> {
    let coupon = api.services.coupon(*caller, id).await?;
    Ok(Reply::ok(coupon.into()))
}

/// Lists a member's coupons.
#[utoipa::path(
    get, path = "/v1/members/{member}/coupons", tag = "coupons", security(("api_key" = ["coupons:read"])),
    params(CouponsQuery), responses((status = 200, body = List<CouponView>)),
)]
async fn list_of_member(
    State(api): State<Api>,
    caller: Allowed<needs::CouponsRead>,
    Path(member): Path<MemberId>,
    Query(query): Query<CouponsQuery>,
    uri: OriginalUri,
) -> Result<List<CouponView>, Problem> {
    let page = PageQuery::new(query.limit, query.cursor).request()?;
    let page = api.services.coupons_of(*caller, member, query.in_hand.unwrap_or(true), page).await?;
    Ok(List::new(page, &uri, CouponView::from))
}

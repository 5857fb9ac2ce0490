//! Coupons: issued, read, listed by member.

use axum::extract::{OriginalUri, State};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::member::ExternalId,
    http::{
        Api,
        extract::{Allowed, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::CouponView,
    },
    ids::{CouponId, MemberId, OfferId},
    service::coupons::IssueCoupon,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(issue)).routes(routes!(read)).routes(routes!(list_of_member))
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
    /// Coupons that can be used now, where it is true or not said; all others where it is false.
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

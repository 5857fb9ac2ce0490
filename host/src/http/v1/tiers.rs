//! Where a member stands in the programme of tiers.

use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    http::{
        Api,
        extract::{Allowed, Path, needs},
        problem::Problem,
        reply::Reply,
        views::{BenefitsView, StandingView},
    },
    ids::MemberId,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(standing)).routes(routes!(benefits))
}

/// Reads where a member stands: the tier held and why, until when, and what is missing to the next one and to keep it.
#[utoipa::path(
    get, path = "/v1/members/{member}/tier", tag = "tiers", security(("api_key" = ["members:read"])),
    responses(
        (status = 200, body = StandingView),
        (status = 410, description = "member-erased"),
        (status = 503, description = "rule-unavailable"),
    ),
)]
async fn standing(
    State(api): State<Api>,
    caller: Allowed<needs::MembersRead>,
    Path(id): Path<MemberId>,
) -> Result<Reply<StandingView>, Problem> {
    let standing = api.services.tier_standing(*caller, id).await?;
    Ok(Reply::ok(api.show().standing(standing)))
}

/// Reads what a member's tier brings today: discount, multipliers, offers with what is left of them, other benefits.
#[utoipa::path(
    get, path = "/v1/members/{member}/benefits", tag = "tiers", security(("api_key" = ["members:read"])),
    responses(
        (status = 200, body = BenefitsView),
        (status = 410, description = "member-erased"),
        (status = 503, description = "rule-unavailable"),
    ),
)]
async fn benefits(
    State(api): State<Api>,
    caller: Allowed<needs::MembersRead>,
    Path(id): Path<MemberId>,
) -> Result<Reply<BenefitsView>, Problem> {
    let benefits = api.services.tier_benefits(*caller, id).await?;
    Ok(Reply::ok(benefits.into()))
}

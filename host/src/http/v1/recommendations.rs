//! What a member might want.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::score::Shelf,
    http::{
        Api,
        extract::{Allowed, Path, Query, needs},
        problem::Problem,
        reply::Reply,
        views::{RecommendationsView, schema},
    },
    ids::MemberId,
};

/// How many where it is not said.
const LIMIT: usize = 10;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ShelfQuery {
    /// `buy-again` for what the member bought and may need again, `discover` for what they never bought.
    #[param(schema_with = schema::shelf)]
    shelf: Shelf,
    /// At most this many items; 10 where it is not said.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
}

/// Recommends products to a member, the best first, with the reasons.
///
/// What is sold out is left out, and prescription medicine is never there to discover. Orders count within seconds of
/// their payment.
#[utoipa::path(
    get, path = "/v1/members/{member}/recommendations", tag = "recommendations", security(("api_key" = ["members:read"])),
    params(ShelfQuery),
    responses(
        (status = 200, body = RecommendationsView),
        (status = 410, description = "member-erased"),
        (status = 503, description = "rule-unavailable"),
    ),
)]
async fn list(
    State(api): State<Api>,
    caller: Allowed<needs::MembersRead>,
    Path(id): Path<MemberId>,
    Query(query): Query<ShelfQuery>,
) -> Result<Reply<RecommendationsView>, Problem> {
    let limit = query.limit.unwrap_or(LIMIT);
    let found = api.services.recommendations(*caller, id, query.shelf, limit).await?;
    Ok(Reply::ok(api.show().recommendations(query.shelf, found)))
}

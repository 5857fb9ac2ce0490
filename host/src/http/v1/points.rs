//! A member's points: balances, also at a past instant, and every entry.

use axum::extract::{OriginalUri, State};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{money::Points, points::Purse},
    http::{
        Api,
        extract::{Allowed, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{BalancesView, EntryView, schema},
    },
    ids::MemberId,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(balances)).routes(routes!(entries)).routes(routes!(adjust))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BalancesQuery {
    /// The balances as they stood then; now where it is not said.
    #[param(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EntriesQuery {
    /// Which purse: `pending`, `active` (where it is not said) or `held`.
    #[param(schema_with = schema::purse)]
    purse: Option<Purse>,
    /// At most this many items; 50 where it is not said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// As the page before gave it.
    cursor: Option<String>,
}

/// Points to grant or to take by hand.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AdjustmentBody {
    /// Granted; taken where negative.
    #[schema(example = 100)]
    points: i64,
}

/// Reads a member's balances.
#[utoipa::path(
    get, path = "/v1/members/{member}/points", tag = "points", security(("api_key" = ["points:read"])),
    params(BalancesQuery), responses((status = 200, body = BalancesView)),
)]
async fn balances(
    State(api): State<Api>,
    caller: Allowed<needs::PointsRead>,
    Path(id): Path<MemberId>,
    Query(query): Query<BalancesQuery>,
) -> Result<Reply<BalancesView>, Problem> {
    let balances = api.services.points(*caller, id, query.at).await?;
    Ok(Reply::ok(balances.into()))
}

/// Lists the entries of one purse.
#[utoipa::path(
    get, path = "/v1/members/{member}/points/entries", tag = "points", security(("api_key" = ["points:read"])),
    params(EntriesQuery), responses((status = 200, body = List<EntryView>)),
)]
async fn entries(
    State(api): State<Api>,
    caller: Allowed<needs::PointsRead>,
    Path(id): Path<MemberId>,
    Query(query): Query<EntriesQuery>,
    uri: OriginalUri,
) -> Result<List<EntryView>, Problem> {
    let page = PageQuery::new(query.limit, query.cursor).request()?;
    let page = api.services.entries(*caller, id, query.purse.unwrap_or(Purse::Active), page).await?;
    Ok(List::new(page, &uri, |(number, row)| EntryView::new(number, row)))
}

/// Grants or takes points by hand.
#[utoipa::path(
    post, path = "/v1/members/{member}/points/adjustments", tag = "points", security(("api_key" = ["points:write"])),
    params(OnceHeader), request_body = AdjustmentBody,
    responses(
        (status = 200, body = BalancesView),
        (status = 409, description = "not-enough-points"),
        (status = 410, description = "member-erased"),
    ),
)]
async fn adjust(
    State(api): State<Api>,
    caller: Allowed<needs::PointsWrite>,
    Path(id): Path<MemberId>,
    Once { key, body: Json(body), .. }: Once<Json<AdjustmentBody>>,
) -> Result<Reply<BalancesView>, Problem> {
    let done = api.services.adjust_points(*caller, key, id, Points::new(body.points)).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

//! What the programme owes its members in points.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{
    Api,
    extract::{Allowed, Query, needs},
    problem::Problem,
    reply::Reply,
    views::{LiabilityView, liability_lines},
};

/// Months shown where it is not said.
const MONTHS: u8 = 12;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(read)).routes(routes!(export))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LiabilityQuery {
    /// Flows of so many months up to this one; 12 where it is not said.
    #[param(minimum = 1, maximum = 36)]
    months: Option<u8>,
}

/// Reports what members hold: by state, by the month it dies in, in points and in money, and what was issued, redeemed,
/// expired and clawed back in each month, reconciled with the house accounts to the point.
#[utoipa::path(
    get, path = "/ops/v1/points/liability", tag = "points", security(("api_key" = ["operate"])),
    params(LiabilityQuery), responses((status = 200, body = LiabilityView)),
)]
async fn read(
    State(api): State<Api>,
    _: Allowed<needs::Operate>,
    Query(query): Query<LiabilityQuery>,
) -> Result<Reply<LiabilityView>, Problem> {
    let liability = api.services.points_liability(query.months.unwrap_or(MONTHS)).await?;
    Ok(Reply::ok(api.show().liability(liability)))
}

/// The same as CSV: one line for each number.
#[utoipa::path(
    get, path = "/ops/v1/points/liability.csv", tag = "points", security(("api_key" = ["operate"])),
    params(LiabilityQuery), responses((status = 200, body = String, content_type = "text/csv")),
)]
async fn export(
    State(api): State<Api>,
    _: Allowed<needs::Operate>,
    Query(query): Query<LiabilityQuery>,
) -> Result<Response, Problem> {
    let liability = api.services.points_liability(query.months.unwrap_or(MONTHS)).await?;
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], liability_lines(&liability)).into_response())
}

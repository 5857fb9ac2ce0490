//! A member's points: balances, also at a past instant, and every entry.

use axum::{
    body::Body,
    extract::{OriginalUri, State},
    http::header,
    response::{IntoResponse as _, Response},
};
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
        views::{BalancesView, EntryView, STATEMENT_COLUMNS, schema, statement_line},
    },
    ids::MemberId,
    service::{Services, points::Statement},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(balances))
        .routes(routes!(entries))
        .routes(routes!(adjust))
        .routes(routes!(statement))
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
    /// Which purse: `pending`, `active` (where it is not said), `held` or `debt`.
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
    /// Why: a code that the statement shows beside the key that was used.
    #[schema(example = "goodwill", max_length = 64)]
    reason: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StatementQuery {
    /// Entries after this instant; from the beginning where it is not said.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Entries up to this instant; up to now where it is not said.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
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
    let done = api.services.adjust_points(*caller, key, id, Points::new(body.points), &body.reason).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

/// Streams a member's statement as CSV: every entry of each purse, oldest first, with the running balance. `…/entries`
/// gives the same page by page as JSON.
#[utoipa::path(
    get, path = "/v1/members/{member}/points/statement.csv", tag = "points",
    security(("api_key" = ["points:read"])), params(StatementQuery),
    responses((status = 200, body = String, content_type = "text/csv")),
)]
async fn statement(
    State(api): State<Api>,
    caller: Allowed<needs::PointsRead>,
    Path(id): Path<MemberId>,
    Query(query): Query<StatementQuery>,
) -> Result<Response, Problem> {
    let statement = api.services.statement(*caller, id, query.from, query.until).await?;
    let begin = (api.services.clone(), statement, Some(STATEMENT_COLUMNS.to_owned()));
    let body = Body::from_stream(futures::stream::unfold(begin, next_piece));
    let name = format!("attachment; filename=\"{id}.csv\"");
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, body).into_response())
}

type Streaming = (Services, Statement, Option<String>);

/// The next piece of a statement: its head first, then a page at a time as the client takes them.
async fn next_piece(state: Streaming) -> Option<(Result<String, std::io::Error>, Streaming)> {
    let (services, mut statement, head) = state;
    if let Some(head) = head {
        return Some((Ok(head), (services, statement, None)));
    }
    match services.statement_page(&mut statement).await {
        Ok(Some((purse, rows))) => {
            let lines: String = rows.iter().map(|(number, row)| statement_line(purse, *number, row)).collect();
            Some((Ok(lines), (services, statement, None)))
        }
        Ok(None) => None,
        Err(error) => {
            tracing::error!(%error, "a statement broke off");
            Some((Err(std::io::Error::other("the statement broke off")), (services, statement, None)))
        }
    }
}

//! Touches as operators see them: totals, and those that are stuck.

use axum::extract::{OriginalUri, State};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    http::{
        Api,
        extract::{Allowed, Empty, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{TotalsView, TouchView},
    },
    ids::TouchId,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(totals))
        .routes(routes!(stuck))
        .routes(routes!(retry))
        .routes(routes!(discard))
        .routes(routes!(confirm))
}

/// Counts all touches by class, channel and outcome: sent, deferred, dropped and in flight are the candidates.
#[utoipa::path(
    get, path = "/ops/v1/touches/totals", tag = "touches", security(("api_key" = ["reach:read"])),
    responses((status = 200, body = TotalsView)),
)]
async fn totals(State(api): State<Api>, _: Allowed<needs::ReachRead>) -> Result<Reply<TotalsView>, Problem> {
    Ok(Reply::ok(api.services.touch_totals().await?.into()))
}

/// Lists dead letters, and touches of which nobody knows whether they were sent.
#[utoipa::path(
    get, path = "/ops/v1/touches/stuck", tag = "touches", security(("api_key" = ["reach:read"])),
    params(PageQuery), responses((status = 200, body = List<TouchView>)),
)]
async fn stuck(
    State(api): State<Api>,
    caller: Allowed<needs::ReachRead>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<TouchView>, Problem> {
    let page = api.services.stuck_touches(*caller, page.request()?).await?;
    Ok(List::new(page, &uri, TouchView::from))
}

/// Tries a stuck touch again, through the gate and with the same key. One that may have been sent may then arrive twice.
/// What a touch said is deleted some days after it ended (`reach.contents_kept_days`): from then on it is refused.
#[utoipa::path(
    post, path = "/ops/v1/touches/{touch}/retry", tag = "touches", security(("api_key" = ["reach:write"])),
    params(OnceHeader), responses((status = 200, body = TouchView), (status = 422, description = "invalid-request")),
)]
async fn retry(
    State(api): State<Api>,
    caller: Allowed<needs::ReachWrite>,
    Path(id): Path<TouchId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<TouchView>, Problem> {
    let done = api.services.retry_touch(*caller, key, id).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

/// Gives a stuck touch up.
#[utoipa::path(
    post, path = "/ops/v1/touches/{touch}/discard", tag = "touches", security(("api_key" = ["reach:write"])),
    params(OnceHeader), responses((status = 200, body = TouchView), (status = 422, description = "invalid-request")),
)]
async fn discard(
    State(api): State<Api>,
    caller: Allowed<needs::ReachWrite>,
    Path(id): Path<TouchId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<TouchView>, Problem> {
    let done = api.services.discard_touch(*caller, key, id).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

/// Says that a stuck touch was sent.
#[utoipa::path(
    post, path = "/ops/v1/touches/{touch}/confirm", tag = "touches", security(("api_key" = ["reach:write"])),
    params(OnceHeader), responses((status = 200, body = TouchView), (status = 422, description = "invalid-request")),
)]
async fn confirm(
    State(api): State<Api>,
    caller: Allowed<needs::ReachWrite>,
    Path(id): Path<TouchId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<TouchView>, Problem> {
    let done = api.services.confirm_touch(*caller, key, id).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

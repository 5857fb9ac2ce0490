//! How the deployment is: the books re-added, and what the server counts.

use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{
    Api,
    extract::{Allowed, needs},
    problem::Problem,
    reply::Reply,
    views::{LedgerView, StatsView, VerifiedView},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(ledger)).routes(routes!(stats)).routes(routes!(verify))
}

/// Re-adds every entry of the ledger, while orders flow.
#[utoipa::path(
    get, path = "/ops/v1/ledger", tag = "operations", security(("api_key" = ["operate"])),
    responses((status = 200, body = LedgerView)),
)]
async fn ledger(State(api): State<Api>, _: Allowed<needs::Operate>) -> Result<Reply<LedgerView>, Problem> {
    let report = api.services.verify_ledger().await?;
    Ok(Reply::ok(report.into()))
}

/// Verifies everything while orders flow: re-adds the ledger, reads every row, and looks whether it refers to what is
/// there. Changes nothing. A large deployment takes longer than a request may: `galenic verify` on a restored backup
/// has all the time it needs.
#[utoipa::path(
    post, path = "/ops/v1/verify", tag = "operations", security(("api_key" = ["operate"])),
    responses((status = 200, body = VerifiedView)),
)]
async fn verify(State(api): State<Api>, _: Allowed<needs::Operate>) -> Result<Reply<VerifiedView>, Problem> {
    let ledger = api.services.verify_ledger().await?;
    let references = api.services.verify_references().await?;
    Ok(Reply::ok(VerifiedView::new(ledger, references)))
}

/// Reads counts since the server started: per release, of the store, of the process.
#[utoipa::path(
    get, path = "/ops/v1/stats", tag = "operations", security(("api_key" = ["operate"])),
    responses((status = 200, body = StatsView)),
)]
async fn stats(State(api): State<Api>, _: Allowed<needs::Operate>) -> Reply<StatsView> {
    Reply::ok(StatsView::new(api.services.engine.stats(), api.services.store.stats()))
}

//! Prescriptions as pharmacists see them: the queue, the paper, the decision.

use axum::extract::{OriginalUri, State};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    http::{
        Api,
        extract::{Allowed, Empty, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{PaperView, PrescriptionView},
    },
    ids::PrescriptionId,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(queue)).routes(routes!(paper)).routes(routes!(approve)).routes(routes!(reject))
}

/// Why a prescription is rejected.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RejectionBody {
    /// 1 to 200 characters; the member is told.
    reason: String,
}

/// Lists what waits for a pharmacist: urgent ones first, then by when they are due.
#[utoipa::path(
    get, path = "/ops/v1/prescriptions/queue", tag = "prescriptions",
    security(("api_key" = ["prescriptions:review"])), params(PageQuery),
    responses((status = 200, body = List<PrescriptionView>)),
)]
async fn queue(
    State(api): State<Api>,
    caller: Allowed<needs::PrescriptionsReview>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<PrescriptionView>, Problem> {
    let page = api.services.review_queue(*caller, page.request()?).await?;
    Ok(List::new(page, &uri, PrescriptionView::from))
}

/// Reads what was uploaded: real name, issuer, image.
#[utoipa::path(
    get, path = "/ops/v1/prescriptions/{prescription}/paper", tag = "prescriptions",
    security(("api_key" = ["prescriptions:review"])), responses((status = 200, body = PaperView)),
)]
async fn paper(
    State(api): State<Api>,
    caller: Allowed<needs::PrescriptionsReview>,
    Path(id): Path<PrescriptionId>,
) -> Result<Reply<PaperView>, Problem> {
    Ok(Reply::ok(api.services.prescription_paper(*caller, id).await?.into()))
}

/// Approves a prescription: the order that waits for it can be paid from now on.
#[utoipa::path(
    post, path = "/ops/v1/prescriptions/{prescription}/approval", tag = "prescriptions",
    security(("api_key" = ["prescriptions:review"])), params(OnceHeader),
    responses((status = 200, body = PrescriptionView), (status = 409, description = "prescription-not-usable")),
)]
async fn approve(
    State(api): State<Api>,
    caller: Allowed<needs::PrescriptionsReview>,
    Path(id): Path<PrescriptionId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<PrescriptionView>, Problem> {
    let done = api.services.decide_prescription(*caller, key, id, None).await?;
    let revision = done.value.revision;
    Ok(Reply::ok(done.value.into()).etag(revision).replayed(done.replayed))
}

/// Rejects a prescription: the order that waits for it is cancelled and gives back all it held.
#[utoipa::path(
    post, path = "/ops/v1/prescriptions/{prescription}/rejection", tag = "prescriptions",
    security(("api_key" = ["prescriptions:review"])), params(OnceHeader), request_body = RejectionBody,
    responses((status = 200, body = PrescriptionView), (status = 409, description = "prescription-not-usable")),
)]
async fn reject(
    State(api): State<Api>,
    caller: Allowed<needs::PrescriptionsReview>,
    Path(id): Path<PrescriptionId>,
    Once { key, body: Json(body), .. }: Once<Json<RejectionBody>>,
) -> Result<Reply<PrescriptionView>, Problem> {
    let done = api.services.decide_prescription(*caller, key, id, Some(body.reason)).await?;
    let revision = done.value.revision;
    Ok(Reply::ok(done.value.into()).etag(revision).replayed(done.replayed))
}

//! Codes in bulk: asked for, looked after, exported.

use axum::{
    body::{Body, Bytes},
    extract::{OriginalUri, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    http::{
        Api,
        extract::{Allowed, Json, Once, OnceHeader, PageQuery, Path, Path2, Query, needs},
        problem::Problem,
        reply::{List, Reply},
    },
    ids::OfferId,
    service::coupons::CodeBatch,
};

/// Codes in one piece of an export.
const CODES_AT_ONCE: u32 = 1_000;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(make, list)).routes(routes!(read)).routes(routes!(export))
}

/// How many codes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CodesBody {
    #[schema(example = 100_000, minimum = 1, maximum = 1_000_000)]
    count: u32,
}

/// Codes of an offer that were made together.
#[derive(Serialize, ToSchema)]
#[schema(as = CodeBatch)]
struct CodeBatchView {
    #[schema(value_type = String)]
    offer: OfferId,
    /// Which of the offer's batches: 1, 2 …
    number: u32,
    /// How many there shall be.
    count: u32,
    /// How many there are.
    made: u32,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// When the last one was made.
    #[schema(value_type = Option<String>, format = DateTime)]
    done_at: Option<Timestamp>,
}

impl From<CodeBatch> for CodeBatchView {
    fn from(batch: CodeBatch) -> Self {
        let CodeBatch { offer, number, count, made, at, done_at, .. } = batch;
        Self { offer, number, count, made, at, done_at }
    }
}

/// Asks for codes of an offer: 65 random bits and a check sign each. They are made step by step; read the batch to see
/// how far they are.
#[utoipa::path(
    post, path = "/ops/v1/offers/{offer}/codes", tag = "codes", security(("api_key" = ["offers:write"])),
    params(OnceHeader), request_body = CodesBody, responses((status = 201, body = CodeBatchView)),
)]
async fn make(
    State(api): State<Api>,
    caller: Allowed<needs::OffersWrite>,
    Path(offer): Path<OfferId>,
    Once { key, body: Json(body), .. }: Once<Json<CodesBody>>,
) -> Result<Reply<CodeBatchView>, Problem> {
    let done = api.services.make_codes(*caller, key, offer, body.count).await?;
    let location = format!("/ops/v1/offers/{offer}/codes/{}", done.value.number);
    Ok(Reply::created(done.value.into(), location).replayed(done.replayed))
}

/// Lists the batches of codes of an offer, oldest first.
#[utoipa::path(
    get, path = "/ops/v1/offers/{offer}/codes", tag = "codes", security(("api_key" = ["offers:read"])),
    params(PageQuery), responses((status = 200, body = List<CodeBatchView>)),
)]
async fn list(
    State(api): State<Api>,
    _: Allowed<needs::OffersRead>,
    Path(offer): Path<OfferId>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<CodeBatchView>, Problem> {
    let page = api.services.code_batches(offer, page.request()?).await?;
    Ok(List::new(page, &uri, CodeBatchView::from))
}

/// Reads a batch: how far it is, without its codes.
#[utoipa::path(
    get, path = "/ops/v1/offers/{offer}/codes/{batch}", tag = "codes", security(("api_key" = ["offers:read"])),
    responses((status = 200, body = CodeBatchView), (status = 404, description = "not-found")),
)]
async fn read(
    State(api): State<Api>,
    _: Allowed<needs::OffersRead>,
    Path2(offer, batch): Path2<OfferId, u32>,
) -> Result<Reply<CodeBatchView>, Problem> {
    Ok(Reply::ok(api.services.code_batch(offer, batch).await?.into()))
}

/// Exports the codes of a batch that were made so far, one a line. They are worth money: few keys should have the scope.
#[utoipa::path(
    get, path = "/ops/v1/offers/{offer}/codes/{batch}/export", tag = "codes",
    security(("api_key" = ["codes:read"])),
    responses((status = 200, body = String, content_type = "text/csv"), (status = 404, description = "not-found")),
)]
async fn export(
    State(api): State<Api>,
    _: Allowed<needs::CodesRead>,
    Path2(offer, batch): Path2<OfferId, u32>,
) -> Result<Response, Problem> {
    let batch = api.services.code_batch(offer, batch).await?;
    let name = format!("attachment; filename=\"codes-{}.csv\"", batch.number);
    let made = batch.made;
    let pieces = (0..made).step_by(CODES_AT_ONCE as usize).map(move |from| {
        let head = if from == 0 { "code\r\n" } else { "" };
        let codes: String = batch.codes(from, CODES_AT_ONCE).map(|code| format!("{code}\r\n")).collect();
        Ok::<_, std::convert::Infallible>(Bytes::from(format!("{head}{codes}")))
    });
    let body = Body::from_stream(futures::stream::iter(pieces));
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, body).into_response())
}

//! Consents of a member, per purpose and channel.

use axum::extract::{OriginalUri, State};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::touch::{Channel, ConsentPurpose},
    http::{
        Api,
        extract::{Allowed, Json, Once, OnceHeader, PageQuery, Path, Path3, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{ConsentView, ConsentsView},
    },
    ids::MemberId,
    service::reach::NewConsent,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(set)).routes(routes!(history))
}

/// What a member said.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConsentBody {
    /// Given, or taken back.
    granted: bool,
    /// Which text the member saw.
    #[schema(example = "privacy-2026-03")]
    text_version: String,
    /// Where the proof lies; no personal data. Needed where consent is given.
    #[schema(example = "archive/2026/03/01/8812")]
    evidence: Option<String>,
    /// Where it was said.
    #[schema(example = "app")]
    source: String,
}

/// Lists a member's consents as they stand.
#[utoipa::path(
    get, path = "/v1/members/{member}/consents", tag = "consents", security(("api_key" = ["members:read"])),
    responses((status = 200, body = ConsentsView)),
)]
async fn list(
    State(api): State<Api>,
    caller: Allowed<needs::MembersRead>,
    Path(member): Path<MemberId>,
) -> Result<Reply<ConsentsView>, Problem> {
    let consents = api.services.consents(*caller, member).await?;
    Ok(Reply::ok(consents.into()))
}

/// Records that a member gave a consent or took it back: one more version. It does not lift a suppression.
#[utoipa::path(
    put, path = "/v1/members/{member}/consents/{purpose}/{channel}", tag = "consents",
    security(("api_key" = ["members:write"])), params(OnceHeader), request_body = ConsentBody,
    responses((status = 200, body = ConsentView), (status = 410, description = "member-erased")),
)]
async fn set(
    State(api): State<Api>,
    caller: Allowed<needs::MembersWrite>,
    Path3(member, purpose, channel): Path3<MemberId, ConsentPurpose, Channel>,
    Once { key, body: Json(body), .. }: Once<Json<ConsentBody>>,
) -> Result<Reply<ConsentView>, Problem> {
    let ConsentBody { granted, text_version, evidence, source } = body;
    let new = NewConsent { granted, text_version, evidence, source };
    let done = api.services.set_consent(*caller, key, member, (purpose, channel), new).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

/// Lists every version of one consent, oldest first.
#[utoipa::path(
    get, path = "/v1/members/{member}/consents/{purpose}/{channel}/history", tag = "consents",
    security(("api_key" = ["members:read"])), params(PageQuery), responses((status = 200, body = List<ConsentView>)),
)]
async fn history(
    State(api): State<Api>,
    caller: Allowed<needs::MembersRead>,
    Path3(member, purpose, channel): Path3<MemberId, ConsentPurpose, Channel>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<ConsentView>, Problem> {
    let page = api.services.consent_history(*caller, member, (purpose, channel), page.request()?).await?;
    Ok(List::new(page, &uri, ConsentView::from))
}

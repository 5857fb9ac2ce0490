//! Templates: written, approved, tried.

use std::collections::BTreeMap;

use axum::extract::{OriginalUri, State};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::touch::{Channel, Class, ConsentPurpose, Language},
    http::{
        Api,
        extract::{Allowed, Json, Once, OnceHeader, PageQuery, Path, Plain, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{RenderedView, TemplateView, VariantView, schema},
    },
    reach::template::Approval,
    service::reach::{Decide, NewVariant, Preview},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(write, list))
        .routes(routes!(versions))
        .routes(routes!(approve))
        .routes(routes!(reject))
        .routes(routes!(preview))
}

/// A new version of a text.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewVariantBody {
    /// How touches ask for it.
    #[schema(example = "refill-due")]
    code: String,
    /// The same for all texts of the code.
    #[schema(schema_with = schema::touch_class)]
    class: Class,
    /// A consent it needs beyond its class's.
    #[schema(schema_with = schema::consent_purpose)]
    purpose: Option<ConsentPurpose>,
    /// The channels of the code from now on, the preferred first.
    #[schema(value_type = Option<Vec<String>>)]
    channels: Option<Vec<Channel>>,
    #[schema(schema_with = schema::channel)]
    channel: Channel,
    #[schema(schema_with = schema::language)]
    language: Language,
    /// The vendor's id of the template it approved.
    vendor_template_id: Option<String>,
    /// The sender's signature that the vendor approved.
    signature: Option<String>,
    /// minijinja, strict.
    subject: Option<String>,
    /// minijinja, strict. `member_name` and `unsubscribe_url` are always there.
    #[schema(example = "{{ product }}快用完了。回R退订")]
    text: String,
    /// The variables that a touch must bring, in the vendor's order.
    #[serde(default)]
    variables: Vec<String>,
}

/// One version of a text.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WhichBody {
    code: String,
    #[schema(schema_with = schema::channel)]
    channel: Channel,
    #[schema(schema_with = schema::language)]
    language: Language,
    version: u32,
}

/// A version and values to try it with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PreviewBody {
    code: String,
    #[schema(schema_with = schema::channel)]
    channel: Channel,
    #[schema(schema_with = schema::language)]
    language: Language,
    version: u32,
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

impl From<WhichBody> for Decide {
    fn from(body: WhichBody) -> Self {
        Self { code: body.code, channel: body.channel, language: body.language, version: body.version }
    }
}

/// Writes a draft: the next version of a text. The approved one goes out until another is approved.
#[utoipa::path(
    post, path = "/ops/v1/templates", tag = "templates", security(("api_key" = ["reach:write"])),
    params(OnceHeader), request_body = NewVariantBody, responses((status = 201, body = VariantView)),
)]
async fn write(
    State(api): State<Api>,
    caller: Allowed<needs::ReachWrite>,
    Once { key, body: Json(body), .. }: Once<Json<NewVariantBody>>,
) -> Result<Reply<VariantView>, Problem> {
    let new = NewVariant {
        code: body.code,
        class: body.class,
        purpose: body.purpose,
        channels: body.channels,
        channel: body.channel,
        language: body.language,
        vendor_template_id: body.vendor_template_id,
        signature: body.signature,
        subject: body.subject,
        text: body.text,
        variables: body.variables,
    };
    let done = api.services.write_template(*caller, key, new).await?;
    let location = format!("/ops/v1/templates/{}", done.value.code);
    Ok(Reply::created(done.value.into(), location).replayed(done.replayed))
}

/// Lists all templates, by code.
#[utoipa::path(
    get, path = "/ops/v1/templates", tag = "templates", security(("api_key" = ["reach:read"])),
    params(PageQuery), responses((status = 200, body = List<TemplateView>)),
)]
async fn list(
    State(api): State<Api>,
    _: Allowed<needs::ReachRead>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<TemplateView>, Problem> {
    let page = api.services.list_templates(page.request()?).await?;
    Ok(List::new(page, &uri, TemplateView::from))
}

/// Lists every version of every text of a template.
#[utoipa::path(
    get, path = "/ops/v1/templates/{code}", tag = "templates", security(("api_key" = ["reach:read"])),
    params(PageQuery), responses((status = 200, body = List<VariantView>)),
)]
async fn versions(
    State(api): State<Api>,
    _: Allowed<needs::ReachRead>,
    Path(code): Path<String>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<VariantView>, Problem> {
    let page = api.services.template_versions(&code, page.request()?).await?;
    Ok(List::new(page, &uri, VariantView::from))
}

/// Approves a version: it goes out from now on.
#[utoipa::path(
    post, path = "/ops/v1/templates/approvals", tag = "templates", security(("api_key" = ["reach:write"])),
    params(OnceHeader), request_body = WhichBody,
    responses((status = 200, body = VariantView), (status = 404, description = "not-found")),
)]
async fn approve(
    State(api): State<Api>,
    caller: Allowed<needs::ReachWrite>,
    Once { key, body: Json(body), .. }: Once<Json<WhichBody>>,
) -> Result<Reply<VariantView>, Problem> {
    let done = api.services.decide_template(*caller, key, body.into(), Approval::Approved).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

/// Rejects a version: it does not go out, also if it did before.
#[utoipa::path(
    post, path = "/ops/v1/templates/rejections", tag = "templates", security(("api_key" = ["reach:write"])),
    params(OnceHeader), request_body = WhichBody,
    responses((status = 200, body = VariantView), (status = 404, description = "not-found")),
)]
async fn reject(
    State(api): State<Api>,
    caller: Allowed<needs::ReachWrite>,
    Once { key, body: Json(body), .. }: Once<Json<WhichBody>>,
) -> Result<Reply<VariantView>, Problem> {
    let done = api.services.decide_template(*caller, key, body.into(), Approval::Rejected).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

/// Renders a version with these values; approved or not.
#[utoipa::path(
    post, path = "/ops/v1/templates/preview", tag = "templates", security(("api_key" = ["reach:read"])),
    request_body = PreviewBody,
    responses((status = 200, body = RenderedView), (status = 404, description = "not-found")),
)]
async fn preview(
    State(api): State<Api>,
    _: Allowed<needs::ReachRead>,
    Plain(Json(body)): Plain<Json<PreviewBody>>,
) -> Result<Reply<RenderedView>, Problem> {
    let which = Decide { code: body.code, channel: body.channel, language: body.language, version: body.version };
    let preview = Preview { which, variables: body.variables.into_iter().collect() };
    Ok(Reply::ok(api.services.preview_template(preview).await?.into()))
}

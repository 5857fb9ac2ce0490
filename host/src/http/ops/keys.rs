//! Partners and their API keys.

use axum::{
    extract::{OriginalUri, State},
    http::StatusCode,
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    http::{
        Api,
        extract::{Allowed, Json, PageQuery, Path, Plain, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{KeyView, NewKeyView, PartnerView},
    },
    ids::{KeyId, PartnerId},
    service::keys::{CreateKey, Scope},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(create_partner, list_partners))
        .routes(routes!(create, list))
        .routes(routes!(revoke))
}

/// The partner to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPartnerBody {
    /// Shown to operators.
    name: String,
}

/// The key to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKeyBody {
    /// Whose.
    #[schema(value_type = String)]
    partner: PartnerId,
    /// Shown to operators.
    name: String,
    /// What it may do.
    #[schema(value_type = Vec<String>, example = json!(["members:read", "orders:write"]))]
    scopes: Vec<Scope>,
    /// Whether it sees what other partners made.
    #[serde(default)]
    sees_all: bool,
}

/// Makes a partner. A retry makes another one.
#[utoipa::path(
    post, path = "/ops/v1/partners", tag = "keys", security(("api_key" = ["keys:write"])),
    request_body = NewPartnerBody, responses((status = 201, body = PartnerView)),
)]
async fn create_partner(
    State(api): State<Api>,
    _: Allowed<needs::KeysWrite>,
    Plain(Json(body)): Plain<Json<NewPartnerBody>>,
) -> Result<Reply<PartnerView>, Problem> {
    let partner = api.services.create_partner(&body.name).await?;
    let location = format!("/ops/v1/partners/{}", partner.id);
    Ok(Reply::created(partner.into(), location))
}

/// Lists all partners, oldest first.
#[utoipa::path(
    get, path = "/ops/v1/partners", tag = "keys", security(("api_key" = ["keys:read"])),
    params(PageQuery), responses((status = 200, body = List<PartnerView>)),
)]
async fn list_partners(
    State(api): State<Api>,
    _: Allowed<needs::KeysRead>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<PartnerView>, Problem> {
    let page = api.services.list_partners(page.request()?).await?;
    Ok(List::new(page, &uri, PartnerView::from))
}

/// Makes a key that may do no more than the caller's; its secret is in the answer and nowhere else. A retry makes another
/// one.
#[utoipa::path(
    post, path = "/ops/v1/keys", tag = "keys", security(("api_key" = ["keys:write"])),
    request_body = NewKeyBody, responses((status = 201, body = NewKeyView)),
)]
async fn create(
    State(api): State<Api>,
    caller: Allowed<needs::KeysWrite>,
    Plain(Json(body)): Plain<Json<NewKeyBody>>,
) -> Result<Reply<NewKeyView>, Problem> {
    let NewKeyBody { partner, name, scopes, sees_all } = body;
    let beyond = scopes.iter().find(|scope| !caller.also(**scope)).map(|scope| format!("the scope `{scope}`"));
    let beyond = beyond.or_else(|| (sees_all && !caller.sees_all).then(|| "`sees_all`".to_owned()));
    if let Some(beyond) = beyond {
        let detail = format!("a key gives no more than it has: this one lacks {beyond}");
        return Err(Problem::new(StatusCode::FORBIDDEN, "scope-missing", detail));
    }
    let (key, secret) = api.services.create_key(CreateKey { partner, name, scopes, sees_all }).await?;
    let location = format!("/ops/v1/keys/{}", key.id);
    Ok(Reply::created(NewKeyView::new(key, &secret), location))
}

/// Lists all keys, oldest first, revoked ones too.
#[utoipa::path(
    get, path = "/ops/v1/keys", tag = "keys", security(("api_key" = ["keys:read"])),
    params(PageQuery), responses((status = 200, body = List<KeyView>)),
)]
async fn list(
    State(api): State<Api>,
    _: Allowed<needs::KeysRead>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<KeyView>, Problem> {
    let page = api.services.list_keys(page.request()?).await?;
    Ok(List::new(page, &uri, KeyView::from))
}

/// Makes a key open nothing from now on.
#[utoipa::path(
    delete, path = "/ops/v1/keys/{key}", tag = "keys", security(("api_key" = ["keys:write"])),
    responses((status = 200, body = KeyView)),
)]
async fn revoke(
    State(api): State<Api>,
    _: Allowed<needs::KeysWrite>,
    Path(id): Path<KeyId>,
) -> Result<Reply<KeyView>, Problem> {
    let key = api.services.revoke_key(id).await?;
    Ok(Reply::ok(key.into()))
}

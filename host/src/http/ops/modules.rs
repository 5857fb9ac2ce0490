//! Plugin modules: pushed, read, listed.

use axum::extract::{OriginalUri, State};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    http::{
        Api,
        extract::{Allowed, Once, OnceHeader, PageQuery, Path, Query, Wasm, needs},
        problem::Problem,
        reply::{List, Reply},
        views::ModuleView,
    },
    plugin::ModuleDigest,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(push, list)).routes(routes!(read))
}

/// Takes a plugin in: a WASM component, checked before it is kept. The same bytes again are the same module.
#[utoipa::path(
    post, path = "/ops/v1/modules", tag = "modules", security(("api_key" = ["plugins:write"])),
    params(OnceHeader), request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 201, body = ModuleView), (status = 422, description = "module-refused")),
)]
async fn push(
    State(api): State<Api>,
    caller: Allowed<needs::PluginsWrite>,
    Once { key, body: Wasm(bytes), .. }: Once<Wasm>,
) -> Result<Reply<ModuleView>, Problem> {
    let done = api.services.push_module(*caller, key, &*bytes).await?;
    let location = format!("/ops/v1/modules/{}", done.value.digest);
    Ok(Reply::created(done.value.into(), location).replayed(done.replayed))
}

/// Lists all modules, by digest.
#[utoipa::path(
    get, path = "/ops/v1/modules", tag = "modules", security(("api_key" = ["plugins:read"])),
    params(PageQuery), responses((status = 200, body = List<ModuleView>)),
)]
async fn list(
    State(api): State<Api>,
    _: Allowed<needs::PluginsRead>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<ModuleView>, Problem> {
    let page = api.services.list_modules(page.request()?).await?;
    Ok(List::new(page, &uri, ModuleView::from))
}

/// Reads a module.
#[utoipa::path(
    get, path = "/ops/v1/modules/{digest}", tag = "modules", security(("api_key" = ["plugins:read"])),
    responses((status = 200, body = ModuleView)),
)]
async fn read(
    State(api): State<Api>,
    _: Allowed<needs::PluginsRead>,
    Path(digest): Path<ModuleDigest>,
) -> Result<Reply<ModuleView>, Problem> {
    let module = api.services.module(digest).await?;
    Ok(Reply::ok(module.into()))
}

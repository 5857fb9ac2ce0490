//! Slots and their releases: made, activated, rolled back.

use std::collections::BTreeMap;

use axum::extract::{OriginalUri, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    http::{
        Api,
        extract::{Allowed, Empty, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{
            ActiveView, ReleaseView, SlotView,
            plugin::{BudgetsView, GrantsView},
            schema,
        },
    },
    plugin::{Budgets, Fallback, Grants, ModuleDigest},
    service::releases::NewRelease,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(create, list_releases))
        .routes(routes!(activate))
        .routes(routes!(rollback))
}

/// The release to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewReleaseBody {
    /// Its plugin, pushed before.
    #[schema(value_type = String)]
    module: ModuleDigest,
    /// The plugin's configuration, by its schema.
    #[serde(default = "empty")]
    #[schema(value_type = Object)]
    config: serde_json::Value,
    /// What it may see beyond open facts; nothing where it is not said.
    #[serde(default)]
    #[schema(value_type = Option<GrantsView>)]
    grants: Grants,
    /// What it may use up; the standard where it is not said.
    #[schema(value_type = Option<BudgetsView>)]
    budgets: Option<Budgets>,
    /// What answers when it cannot: `fail-closed`, `skip` (where it is not said), `previous-release`, or
    /// `{"default": …}` with an answer.
    #[serde(default)]
    #[schema(schema_with = schema::any)]
    fallback: Fallback,
    /// For tier rules: from tier codes of earlier releases to codes of this one.
    #[serde(default)]
    tier_map: BTreeMap<String, String>,
    /// For tier rules: whether members whom only the new rule puts lower move at once.
    #[serde(default)]
    demote_now: bool,
}

fn empty() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

/// Which release is to answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ActivateBody {
    /// Its number in the slot.
    number: u64,
}

/// Every slot that has a release.
#[derive(Serialize, ToSchema)]
struct Slots {
    items: Vec<SlotView>,
}

/// Lists all slots with what is live in each and what its releases did.
#[utoipa::path(
    get, path = "/ops/v1/slots", tag = "slots", security(("api_key" = ["plugins:read"])),
    responses((status = 200, body = Slots)),
)]
async fn list(State(api): State<Api>, _: Allowed<needs::PluginsRead>) -> Result<Reply<Slots>, Problem> {
    let slots = api.services.slots().await?;
    Ok(Reply::ok(Slots { items: slots.into_iter().map(SlotView::from).collect() }))
}

/// Makes the next release of a slot: configured and ready, and live only once it is activated.
#[utoipa::path(
    post, path = "/ops/v1/slots/{slot}/releases", tag = "slots", security(("api_key" = ["plugins:write"])),
    params(OnceHeader), request_body = NewReleaseBody,
    responses(
        (status = 201, body = ReleaseView),
        (status = 422, description = "invalid-request, release-refused, wrong-kind"),
        (status = 503, description = "plugin-failed"),
    ),
)]
async fn create(
    State(api): State<Api>,
    caller: Allowed<needs::PluginsWrite>,
    Path(slot): Path<String>,
    Once { key, body: Json(body), .. }: Once<Json<NewReleaseBody>>,
) -> Result<Reply<ReleaseView>, Problem> {
    let NewReleaseBody { module, config, grants, budgets, fallback, tier_map, demote_now } = body;
    let new = NewRelease { module, config, grants, budgets, fallback, tier_map, demote_now };
    let done = api.services.create_release(*caller, key, &slot, new).await?;
    let location = format!("/ops/v1/slots/{slot}/releases/{}", done.value.number);
    Ok(Reply::created(done.value.into(), location).replayed(done.replayed))
}

/// Lists the releases of a slot, the latest first.
#[utoipa::path(
    get, path = "/ops/v1/slots/{slot}/releases", tag = "slots", security(("api_key" = ["plugins:read"])),
    params(PageQuery), responses((status = 200, body = List<ReleaseView>)),
)]
async fn list_releases(
    State(api): State<Api>,
    _: Allowed<needs::PluginsRead>,
    Path(slot): Path<String>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<ReleaseView>, Problem> {
    let page = api.services.list_releases(&slot, page.request()?).await?;
    Ok(List::new(page, &uri, ReleaseView::from))
}

/// Makes a release live, in one step: every call that begins afterwards is answered by it.
#[utoipa::path(
    put, path = "/ops/v1/slots/{slot}/active", tag = "slots", security(("api_key" = ["plugins:write"])),
    params(OnceHeader), request_body = ActivateBody,
    responses((status = 200, body = ActiveView), (status = 409, description = "tier-codes-unmapped, offer-terms-unknown")),
)]
async fn activate(
    State(api): State<Api>,
    caller: Allowed<needs::PluginsWrite>,
    Path(slot): Path<String>,
    Once { key, body: Json(body), .. }: Once<Json<ActivateBody>>,
) -> Result<Reply<ActiveView>, Problem> {
    let done = api.services.activate(*caller, key, &slot, body.number).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

/// Makes the release live again that answered before.
#[utoipa::path(
    post, path = "/ops/v1/slots/{slot}/rollback", tag = "slots", security(("api_key" = ["plugins:write"])),
    params(OnceHeader),
    responses(
        (status = 200, body = ActiveView),
        (status = 409, description = "nothing-to-roll-back, tier-codes-unmapped, offer-terms-unknown"),
    ),
)]
async fn rollback(
    State(api): State<Api>,
    caller: Allowed<needs::PluginsWrite>,
    Path(slot): Path<String>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<ActiveView>, Problem> {
    let done = api.services.rollback(*caller, key, &slot).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

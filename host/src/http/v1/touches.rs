//! Touches: asked for and read.

use std::collections::BTreeMap;

use axum::extract::{OriginalUri, State};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    http::{
        Api,
        extract::{Allowed, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{AskedView, TouchView},
    },
    ids::{MemberId, TouchId},
    service::reach::WantedTouch,
};

/// How long a touch is worth sending where it is not said.
const EXPIRES_AFTER: SignedDuration = SignedDuration::from_hours(72);

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(ask)).routes(routes!(read)).routes(routes!(of_member))
}

/// Touches to ask for, at most 100.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TouchesBody {
    #[schema(max_items = 100)]
    touches: Vec<TouchBody>,
}

/// A message that a member should get.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TouchBody {
    #[schema(value_type = String)]
    member: MemberId,
    /// The template's code.
    #[schema(example = "refill-due")]
    template: String,
    /// Values of the template's variables; stored sealed.
    #[serde(default)]
    variables: BTreeMap<String, String>,
    /// Your own key: asking again for the same member, template and key makes no second touch.
    #[schema(example = "refill-2026-03")]
    dedupe: String,
    /// Not before; now where it is not said.
    #[schema(value_type = Option<String>, format = DateTime)]
    due: Option<Timestamp>,
    /// Not from here on; 72 hours after `due` where it is not said.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
}

/// Asks for touches; each passes the gate when it is due.
#[utoipa::path(
    post, path = "/v1/touches", tag = "touches", security(("api_key" = ["touches:write"])),
    params(OnceHeader), request_body = TouchesBody, responses((status = 201, body = AskedView)),
)]
async fn ask(
    State(api): State<Api>,
    caller: Allowed<needs::TouchesWrite>,
    Once { key, body: Json(body), .. }: Once<Json<TouchesBody>>,
) -> Result<Reply<AskedView>, Problem> {
    let now = api.services.clock.now();
    let wanted = |touch: TouchBody| {
        let due = touch.due.unwrap_or(now);
        let expires = touch.expires.or_else(|| due.checked_add(EXPIRES_AFTER).ok()).unwrap_or(Timestamp::MAX);
        WantedTouch {
            member: touch.member,
            template: touch.template,
            variables: touch.variables.into_iter().collect(),
            dedupe: touch.dedupe,
            due,
            expires,
        }
    };
    let wanted = body.touches.into_iter().map(wanted).collect();
    let done = api.services.ask_touches(*caller, key, wanted).await?;
    Ok(Reply::created(AskedView::new(done.value), "/v1/touches".to_owned()).replayed(done.replayed))
}

/// Reads a touch.
#[utoipa::path(
    get, path = "/v1/touches/{touch}", tag = "touches", security(("api_key" = ["touches:read"])),
    responses((status = 200, body = TouchView)),
)]
async fn read(
    State(api): State<Api>,
    caller: Allowed<needs::TouchesRead>,
    Path(id): Path<TouchId>,
) -> Result<Reply<TouchView>, Problem> {
    let touch = api.services.touch(*caller, id).await?;
    Ok(Reply::ok(touch.into()))
}

/// Lists a member's touches, oldest first.
#[utoipa::path(
    get, path = "/v1/members/{member}/touches", tag = "touches", security(("api_key" = ["touches:read"])),
    params(PageQuery), responses((status = 200, body = List<TouchView>)),
)]
async fn of_member(
    State(api): State<Api>,
    caller: Allowed<needs::TouchesRead>,
    Path(member): Path<MemberId>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<TouchView>, Problem> {
    let page = api.services.touches_of(*caller, member, page.request()?).await?;
    Ok(List::new(page, &uri, TouchView::from))
}

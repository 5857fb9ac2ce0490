//! Automations: which event asks for which message.

use axum::extract::{OriginalUri, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    http::{
        Api,
        extract::{Allowed, Json, Path2, Plain, needs},
        problem::Problem,
        reply::{List, Reply},
    },
    reach::automation::Automation,
    service::Page,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(set, remove))
}

/// How the message is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AutomationBody {
    /// The message is dropped if it cannot go within so many hours.
    #[schema(minimum = 1, maximum = 720)]
    expires_hours: u32,
}

/// An event that asks for a message.
#[derive(Serialize, ToSchema)]
#[schema(as = Automation)]
struct AutomationView {
    /// The event's name.
    event: String,
    /// The template's code.
    template: String,
    /// The message is dropped if it cannot go within so many hours.
    expires_hours: u32,
    /// When it was set.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

impl From<Automation> for AutomationView {
    fn from(automation: Automation) -> Self {
        let Automation { event, template, expires_hours, at } = automation;
        Self { event, template, expires_hours, at }
    }
}

/// Lists every automation, by event and template.
#[utoipa::path(
    get, path = "/ops/v1/automations", tag = "automations", security(("api_key" = ["reach:read"])),
    responses((status = 200, body = List<AutomationView>)),
)]
async fn list(
    State(api): State<Api>,
    _: Allowed<needs::ReachRead>,
    uri: OriginalUri,
) -> Result<List<AutomationView>, Problem> {
    let rows = api.services.automations().await?;
    Ok(List::new(Page { rows, next: None }, &uri, AutomationView::from))
}

/// Makes an event ask for a template from now on. It tells the template: `coupon-…` `offer`, `offer_en`, `expires_on`;
/// `order-…` and `points-activated` `order`, `payable`; `tier-changed` `from`, `to`; `tier-at-risk` `tier`, `to`, `on`;
/// `tier-renewal` `tier`, `on`; `tier-gift` `tier`, `points`; `points-expiring` `points`, `on`;
/// `bonus-given` `points`;
/// `activity-…` `points`; `gift-…` `gift`, `gift_en`, `points`;
/// `birthday` `year`; `anniversary` `years`; `member-day` `on`; all others nothing. A move by a new tier rule asks for
/// nothing.
#[utoipa::path(
    put, path = "/ops/v1/automations/{event}/{template}", tag = "automations", security(("api_key" = ["reach:write"])),
    request_body = AutomationBody,
    responses((status = 200, body = AutomationView), (status = 404, description = "not-found")),
)]
async fn set(
    State(api): State<Api>,
    _: Allowed<needs::ReachWrite>,
    Path2(event, template): Path2<String, String>,
    Plain(Json(body)): Plain<Json<AutomationBody>>,
) -> Result<Reply<AutomationView>, Problem> {
    let set = api.services.set_automation(event, template, body.expires_hours).await?;
    Ok(Reply::ok(set.into()))
}

/// Makes an event no longer ask for a template.
#[utoipa::path(
    delete, path = "/ops/v1/automations/{event}/{template}", tag = "automations",
    security(("api_key" = ["reach:write"])),
    responses((status = 200, body = AutomationView), (status = 404, description = "not-found")),
)]
async fn remove(
    State(api): State<Api>,
    _: Allowed<needs::ReachWrite>,
    Path2(event, template): Path2<String, String>,
) -> Result<Reply<AutomationView>, Problem> {
    let removed = api.services.remove_automation(event, template).await?;
    Ok(Reply::ok(removed.into()))
}

//! What members do besides buying: reported once, judged by the earning rule.

use axum::extract::{OriginalUri, State};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{activity::ActivityKind, member::ExternalId},
    http::{
        Api,
        extract::{Allowed, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::ActivityView,
    },
    ids::MemberId,
    service::activities::ReportActivity,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(report, list))
}

/// What a member did.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ActivityBody {
    /// What: `review`, `check-in`, `quiz`, `reading`, `like`, `share`, `test`, `event-sign-up`, or what else the earning
    /// rule knows.
    #[schema(value_type = String, example = "check-in", max_length = 32)]
    kind: ActivityKind,
    /// What the partner calls it, for example the review's number: one of a kind counts once.
    #[schema(value_type = String)]
    external_id: ExternalId,
    /// When, at most 30 days ago: the day whose caps it counts against; now where it is not said.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ActivitiesQuery {
    /// At most this many items; 50 where it is not said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// As the page before gave it.
    cursor: Option<String>,
}

/// Reports what a member did. The earning rule says what it earns, daily caps included; it counts as an interaction for
/// the tier. Reported again under the same kind and external id it changes nothing and gets the first answer.
#[utoipa::path(
    post, path = "/v1/members/{member}/activities", tag = "points", security(("api_key" = ["activities:write"])),
    params(OnceHeader), request_body = ActivityBody,
    responses(
        (status = 200, body = ActivityView),
        (status = 409, description = "already-exists"),
        (status = 410, description = "member-erased"),
    ),
)]
async fn report(
    State(api): State<Api>,
    caller: Allowed<needs::ActivitiesWrite>,
    Path(member): Path<MemberId>,
    Once { key, body: Json(body), .. }: Once<Json<ActivityBody>>,
) -> Result<Reply<ActivityView>, Problem> {
    let ask = ReportActivity { kind: body.kind, external_id: body.external_id, at: body.at };
    let done = api.services.report_activity(*caller, key, member, ask).await?;
    Ok(Reply::ok(api.show().activity(done.value)).replayed(done.replayed))
}

/// Lists what a member did, in the order it was reported.
#[utoipa::path(
    get, path = "/v1/members/{member}/activities", tag = "points", security(("api_key" = ["points:read"])),
    params(ActivitiesQuery), responses((status = 200, body = List<ActivityView>)),
)]
async fn list(
    State(api): State<Api>,
    caller: Allowed<needs::PointsRead>,
    Path(member): Path<MemberId>,
    Query(query): Query<ActivitiesQuery>,
    uri: OriginalUri,
) -> Result<List<ActivityView>, Problem> {
    let page = PageQuery::new(query.limit, query.cursor).request()?;
    let page = api.services.activities(*caller, member, page).await?;
    let show = api.show();
    Ok(List::new(page, &uri, |activity| show.activity(activity)))
}

//! What happens by itself: schedules, the jobs they start, timers that were given up, and who reads the event log.

use axum::extract::{OriginalUri, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    http::{
        Api,
        extract::{Allowed, Json, PageQuery, Path, Plain, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{
            input::present,
            schedule::{CursorView, DeadTimerView, JobView, ScheduleView},
            schema,
        },
    },
    service::timers::{CatchUp, ChangeSchedule, TimerName},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(change))
        .routes(routes!(jobs))
        .routes(routes!(dead_timers))
        .routes(routes!(retry_timer))
        .routes(routes!(discard_timer))
        .routes(routes!(cursors))
        .routes(routes!(rewind))
}

/// Every schedule.
#[derive(Serialize, ToSchema)]
struct Schedules {
    items: Vec<ScheduleView>,
}

/// The last job of each schedule.
#[derive(Serialize, ToSchema)]
struct Jobs {
    items: Vec<JobView>,
}

/// Every consumer of the event log.
#[derive(Serialize, ToSchema)]
struct Cursors {
    items: Vec<CursorView>,
}

/// What to change; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeScheduleBody {
    /// Five fields: minute, hour, day of the month, month, day of the week.
    #[schema(example = "0 9 15 * *")]
    expression: Option<String>,
    /// An IANA name; null is the deployment's zone, `member` the zone that each member lives in: then every member is told
    /// when the time comes there, once for each local time, and at the end of a gap that swallows it. For `member-day`
    /// alone, with an expression that names its minute. Absent stays.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "member")]
    zone: Option<Option<String>>,
    /// Whether it fires at all.
    enabled: Option<bool>,
    /// What becomes of occurrences that nobody saw: `once` fires the latest, `all` each of them, `skip` none.
    #[schema(schema_with = schema::catch_up)]
    catch_up: Option<CatchUp>,
    /// An occurrence fires up to so many seconds late.
    #[schema(maximum = 3_600)]
    jitter_seconds: Option<u32>,
}

/// Where to put a consumer back to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RewindBody {
    /// Events of this commit and all later ones are seen again.
    seq: u64,
}

/// What was moved.
#[derive(Serialize, ToSchema)]
struct Rewound {
    /// Shards of the log that the consumer reads again from there; in the others it was not that far yet.
    shards: u16,
}

/// What became of a dead timer.
#[derive(Serialize, ToSchema)]
struct Settled {
    /// Its name, which names nothing any more.
    timer: String,
}

/// Lists all schedules with the instant at which each fires next.
#[utoipa::path(
    get, path = "/ops/v1/schedules", tag = "schedules", security(("api_key" = ["operate"])),
    responses((status = 200, body = Schedules)),
)]
async fn list(State(api): State<Api>, _: Allowed<needs::Operate>) -> Result<Reply<Schedules>, Problem> {
    let items = api.services.schedules().await?;
    Ok(Reply::ok(Schedules { items: items.into_iter().map(ScheduleView::from).collect() }))
}

/// Changes a schedule. A new expression or zone, and one that is switched on again, count from now: what was missed is
/// gone. What has come to some members' zones and not yet to all goes to its end, unless it is switched off by then.
#[utoipa::path(
    put, path = "/ops/v1/schedules/{name}", tag = "schedules", security(("api_key" = ["operate"])),
    request_body = ChangeScheduleBody, responses((status = 200, body = ScheduleView)),
)]
async fn change(
    State(api): State<Api>,
    _: Allowed<needs::Operate>,
    Path(name): Path<String>,
    Plain(Json(body)): Plain<Json<ChangeScheduleBody>>,
) -> Result<Reply<ScheduleView>, Problem> {
    let ChangeScheduleBody { expression, zone, enabled, catch_up, jitter_seconds } = body;
    let change = ChangeSchedule { expression, zone, enabled, catch_up, jitter_seconds };
    let status = api.services.change_schedule(&name, change).await?;
    let revision = status.schedule.revision;
    Ok(Reply::ok(status.into()).etag(revision))
}

/// Lists the last job of each schedule and how far it is.
#[utoipa::path(
    get, path = "/ops/v1/jobs", tag = "schedules", security(("api_key" = ["operate"])),
    responses((status = 200, body = Jobs)),
)]
async fn jobs(State(api): State<Api>, _: Allowed<needs::Operate>) -> Result<Reply<Jobs>, Problem> {
    let items = api.services.job_list().await?;
    Ok(Reply::ok(Jobs { items: items.into_iter().map(JobView::from).collect() }))
}

/// Lists timers that failed too often and were given up.
#[utoipa::path(
    get, path = "/ops/v1/timers/dead", tag = "schedules", security(("api_key" = ["operate"])),
    params(PageQuery), responses((status = 200, body = List<DeadTimerView>)),
)]
async fn dead_timers(
    State(api): State<Api>,
    _: Allowed<needs::Operate>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<DeadTimerView>, Problem> {
    let page = api.services.dead_timers(page.request()?).await?;
    Ok(List::new(page, &uri, DeadTimerView::from))
}

/// Lets a dead timer fire again, with all its tries.
#[utoipa::path(
    post, path = "/ops/v1/timers/dead/{timer}/retry", tag = "schedules", security(("api_key" = ["operate"])),
    responses((status = 200, body = Settled)),
)]
async fn retry_timer(
    State(api): State<Api>,
    _: Allowed<needs::Operate>,
    Path(name): Path<TimerName>,
) -> Result<Reply<Settled>, Problem> {
    api.services.retry_timer(name).await?;
    Ok(Reply::ok(Settled { timer: name.to_string() }))
}

/// Forgets a dead timer: what it was to do never happens.
#[utoipa::path(
    delete, path = "/ops/v1/timers/dead/{timer}", tag = "schedules", security(("api_key" = ["operate"])),
    responses((status = 200, body = Settled)),
)]
async fn discard_timer(
    State(api): State<Api>,
    _: Allowed<needs::Operate>,
    Path(name): Path<TimerName>,
) -> Result<Reply<Settled>, Problem> {
    api.services.discard_timer(name).await?;
    Ok(Reply::ok(Settled { timer: name.to_string() }))
}

/// Lists who reads the event log, and how far behind each is.
#[utoipa::path(
    get, path = "/ops/v1/cursors", tag = "schedules", security(("api_key" = ["operate"])),
    responses((status = 200, body = Cursors)),
)]
async fn cursors(State(api): State<Api>, _: Allowed<needs::Operate>) -> Result<Reply<Cursors>, Problem> {
    let items = api.services.event_cursors().await?;
    Ok(Reply::ok(Cursors { items: items.into_iter().map(CursorView::from).collect() }))
}

/// Lets a consumer see again what happened since a commit. It must deal with events it has seen before. Events are swept
/// some days after they happened (`schedule.events_kept_days`): a commit before that is refused.
#[utoipa::path(
    put, path = "/ops/v1/cursors/{consumer}", tag = "schedules", security(("api_key" = ["operate"])),
    request_body = RewindBody,
    responses((status = 200, body = Rewound), (status = 422, description = "invalid-request")),
)]
async fn rewind(
    State(api): State<Api>,
    _: Allowed<needs::Operate>,
    Path(consumer): Path<String>,
    Plain(Json(body)): Plain<Json<RewindBody>>,
) -> Result<Reply<Rewound>, Problem> {
    let shards = api.services.rewind_cursor(&consumer, body.seq).await?;
    Ok(Reply::ok(Rewound { shards }))
}

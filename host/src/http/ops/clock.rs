//! The manual clock of `serve --dev --clock`: read, and moved forward.

use axum::{extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    http::{
        Api,
        extract::{Allowed, Json, Plain, needs},
        problem::Problem,
        reply::Reply,
    },
    service::{Error, FieldError, timers::Pace},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(read, set))
}

/// Where to move the clock.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ClockBody {
    /// Not before what the clock says now.
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
}

/// What the clock says.
#[derive(Serialize, ToSchema)]
#[schema(as = Clock)]
struct ClockView {
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
    /// Timers that moving the clock made due, all fired.
    timers_fired: usize,
    /// Steps of jobs that became due, all done.
    job_steps: usize,
}

/// Reads the server's clock.
#[utoipa::path(
    get, path = "/ops/v1/clock", tag = "clock", security(("api_key" = ["operate"])),
    responses((status = 200, body = ClockView)),
)]
async fn read(State(api): State<Api>, _: Allowed<needs::Operate>) -> Reply<ClockView> {
    Reply::ok(ClockView { now: api.services.clock.now(), timers_fired: 0, job_steps: 0 })
}

/// Moves a manual clock forward, and does everything that is due by then before it answers: timers, schedules, jobs,
/// and the messages that follow from them.
#[utoipa::path(
    put, path = "/ops/v1/clock", tag = "clock", security(("api_key" = ["operate"])),
    request_body = ClockBody,
    responses((status = 200, body = ClockView), (status = 409, description = "clock-not-manual")),
)]
async fn set(
    State(api): State<Api>,
    _: Allowed<needs::Operate>,
    Plain(Json(body)): Plain<Json<ClockBody>>,
) -> Result<Reply<ClockView>, Problem> {
    let now = api.services.clock.now();
    if body.now < now {
        return Err(Problem::invalid(vec![FieldError::new(
            "/now",
            format!("the clock says {now}: it never goes back"),
        )]));
    }
    api.services
        .clock
        .set(body.now)
        .map_err(|error| Problem::new(StatusCode::CONFLICT, "clock-not-manual", error.to_string()))?;
    let (mut timers_fired, mut job_steps) = (0, 0);
    loop {
        let (ran, moved) = tokio::join!(api.services.run_due(Pace::Full, || true), send_due(&api));
        let (ran, moved) = (ran?, moved?);
        (timers_fired, job_steps) = (timers_fired + ran.timers, job_steps + ran.steps);
        if ran.timers + ran.schedules + ran.steps + moved == 0 {
            return Ok(Reply::ok(ClockView { now: api.services.clock.now(), timers_fired, job_steps }));
        }
    }
}

/// Asks for what events call for and delivers what is due, until nothing is left; how much that was.
async fn send_due(api: &Api) -> Result<usize, Error> {
    let mut moved = 0;
    loop {
        match api.services.ask_for_events().await?.dealt + api.services.deliver_due().await? {
            0 => return Ok(moved),
            more => moved += more,
        }
    }
}

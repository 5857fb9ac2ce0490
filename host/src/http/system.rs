//! Health, readiness, metrics, and the API's own description.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    extract::{Allowed, Json, needs},
    openapi,
    problem::Problem,
    trace,
    views::status,
};
use crate::plugin::{BreakerState, Fault};

/// Routes that stand beside the versioned ones.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(ready))
        .routes(routes!(metrics))
        .routes(routes!(description))
}

/// What the listener for metrics alone serves, to whoever reaches it.
pub(super) fn metrics_router(api: Api) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(open_metrics))
        .fallback(super::not_found)
        .method_not_allowed_fallback(super::method_not_allowed)
        .layer(CatchPanicLayer::custom(trace::panicked))
        .layer(middleware::from_fn(trace::trace))
        .with_state(api)
}

/// How the server is.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `ok`; in `/readyz` also `read-only`: the disk is so full that writes are refused with 507, reads go on.
    #[schema(example = "ok")]
    status: &'static str,
    /// Of the server.
    #[schema(example = "0.1.0")]
    version: &'static str,
}

const OK: Health = Health { status: "ok", version: env!("CARGO_PKG_VERSION") };
/// Ready for reads: taking the server out of service would end those, too.
const READ_ONLY: Health = Health { status: "read-only", ..OK };

/// Answers while the process lives; looks at nothing else.
#[utoipa::path(get, path = "/healthz", tag = "system", responses((status = 200, body = Health)))]
async fn health() -> Json<Health> {
    Json(OK)
}

/// Answers 200 when requests can be served: the store answers, every slot has a release, no drain is under way.
#[utoipa::path(
    get, path = "/readyz", tag = "system",
    responses((status = 200, body = Health), (status = 503, description = "not-ready")),
)]
async fn ready(State(api): State<Api>) -> Result<Json<Health>, Problem> {
    let not_ready =
        |why: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", why).header(header::RETRY_AFTER, "1");
    if api.draining() {
        return Err(not_ready("the server is about to stop"));
    }
    api.services.probe().await.map_err(|_| not_ready("the store does not answer"))?;
    match api.services.engine.slots().iter().find(|slot| slot.live().is_none()) {
        Some(slot) => Err(not_ready(&format!("slot `{}` has no live release", slot.name()))),
        None if api.services.store.stats().read_only() => Ok(Json(READ_ONLY)),
        None => Ok(Json(OK)),
    }
}

/// Figures for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "system", security(("api_key" = ["operate"])),
    responses((status = 200, body = String, content_type = "text/plain")),
)]
async fn metrics(State(api): State<Api>, _: Allowed<needs::Operate>) -> Response {
    render(&api)
}

async fn open_metrics(State(api): State<Api>) -> Response {
    render(&api)
}

fn render(api: &Api) -> Response {
    publish(api);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], api.metrics.render()).into_response()
}

/// Copies what rooms count themselves into the metrics.
fn publish(api: &Api) {
    let store = api.services.store.stats();
    metrics::gauge!("galenic_store_waiting").set(float(store.waiting));
    metrics::counter!("galenic_store_commits_total").absolute(store.commits);
    metrics::counter!("galenic_store_refused_total").absolute(store.refused);
    metrics::counter!("galenic_store_rows_written_total").absolute(store.rows_written);
    metrics::counter!("galenic_store_groups_total").absolute(store.groups);
    metrics::counter!("galenic_store_data_syncs_total").absolute(store.data_syncs);
    metrics::gauge!("galenic_store_sync_seconds_total").set(store.sync_time.as_secs_f64());
    metrics::gauge!("galenic_store_sync_seconds_max").set(store.sync_time_max.as_secs_f64());
    metrics::counter!("galenic_store_reads_total").absolute(store.reads);
    metrics::counter!("galenic_store_read_retries_total").absolute(store.read_retries);
    let gauges = [
        ("galenic_store_free_bytes", store.free_bytes.map(float)),
        ("galenic_store_disk_bytes", store.disk_bytes.map(float)),
        ("galenic_store_reserve_bytes", Some(float(store.reserve_bytes))),
        ("galenic_store_last_sync_age_seconds", store.last_sync_age.map(|age| age.as_secs_f64())),
    ];
    for (name, value) in gauges {
        if let Some(value) = value {
            metrics::gauge!(name).set(value);
        }
    }
    for release in api.services.engine.stats() {
        let labels = [("slot", release.release.slot.to_string()), ("release", release.release.number.to_string())];
        metrics::counter!("galenic_plugin_calls_total", &labels).absolute(release.calls);
        metrics::counter!("galenic_plugin_items_total", &labels).absolute(release.items);
        metrics::counter!("galenic_plugin_fallbacks_total", &labels).absolute(release.fallbacks);
        metrics::counter!("galenic_plugin_fuel_total", &labels).absolute(release.fuel);
        metrics::gauge!("galenic_plugin_p50_seconds", &labels).set(release.p50.as_secs_f64());
        metrics::gauge!("galenic_plugin_p99_seconds", &labels).set(release.p99.as_secs_f64());
        let open = release.breaker != BreakerState::Closed;
        metrics::gauge!("galenic_plugin_breaker_open", &labels).set(f64::from(u8::from(open)));
        // Zeros, too: a counter that appears at its first fault has not increased, as Prometheus sees it.
        for code in Fault::CODES {
            let count = release.faults.iter().find(|(known, _)| *known == code).map_or(0, |(_, count)| *count);
            let [slot, number] = labels.clone();
            metrics::counter!("galenic_plugin_faults_total", &[slot, number, ("fault", code.to_owned())])
                .absolute(count);
        }
    }
    if let (Some(resident), _) = status::resident_bytes() {
        metrics::gauge!("process_resident_memory_bytes").set(float(resident));
    }
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float, and 53 bits are enough for it")]
fn float(count: u64) -> f64 {
    count as f64
}

/// The description of this API, OpenAPI 3.1.
#[utoipa::path(
    get, path = "/openapi.json", tag = "system", responses((status = 200, description = "OpenAPI 3.1", body = Object)),
)]
async fn description() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi::document()).into_response()
}

//! The HTTP API: routes, extractors, problems, idempotency, authorization. Only here is `axum` named.
//!
//! [`Http`] is the way in: it makes the router of the API, and serves it. A handler is thin: it names what it needs in
//! its signature, turns the body into a command, calls one use case and shows what came out. Its scope is the type of
//! an argument (`extract::Allowed`); a test asks every route without a key and with a key without scopes.
//!
//! The layers, from outside: trace id and log line; panics; deadline; who calls and how often; the route. The API's
//! description is made from the handlers (`openapi`) and locked by a snapshot.
//!
//! Nothing here decides anything about members, money or plugins.

mod extract;
mod limits;
mod open;
mod openapi;
mod ops;
mod problem;
mod reply;
mod server;
mod stall;
mod system;
mod trace;
mod v1;
mod views;

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;

use self::{
    extract::{Fingerprints, InFlightKeys},
    limits::RateLimiter,
    problem::Problem,
    views::{Currency, Show, Texts},
};
pub use self::{limits::Rates, server::Bounds};
use crate::{
    domain::{order::ReleaseRef, rule::ReasonText},
    service::Services,
};

/// How the API is served.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// What connections may cost.
    pub bounds: Bounds,
    /// How long a request may take, its body included.
    pub request_max: Duration,
    /// How often callers may ask.
    pub rates: Rates,
    /// Keys the fingerprints of idempotent requests; the same after a restart.
    pub fingerprint_secret: [u8; 32],
}

/// The API over the use cases. Cheap to clone.
#[derive(Clone)]
pub struct Http {
    api: Api,
    bounds: Bounds,
}

/// What handlers and extractors share.
#[derive(Clone)]
pub(crate) struct Api(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) services: Services,
    pub(crate) currency: Currency,
    pub(crate) limiter: RateLimiter,
    pub(crate) in_flight: InFlightKeys,
    pub(crate) fingerprints: Fingerprints,
    pub(crate) metrics: PrometheusHandle,
    request_max: Duration,
    draining: AtomicBool,
}

impl Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The settings name no currency that the API can show.
#[derive(Debug, thiserror::Error)]
#[error("programme.currency must be an ISO 4217 code of three capital letters, not `{0}`")]
pub struct BadCurrency(String);

impl Http {
    /// The API over these use cases.
    ///
    /// # Errors
    ///
    /// [`BadCurrency`].
    pub fn new(services: Services, config: HttpConfig, metrics: PrometheusHandle) -> Result<Self, BadCurrency> {
        let currency = &services.settings.currency;
        let currency = Currency::new(currency).ok_or_else(|| BadCurrency(currency.clone()))?;
        let api = Api(Arc::new(Shared {
            services,
            currency,
            limiter: RateLimiter::new(config.rates),
            in_flight: InFlightKeys::default(),
            fingerprints: Fingerprints::new(&config.fingerprint_secret),
            metrics,
            request_max: config.request_max,
            draining: AtomicBool::new(false),
        }));
        Ok(Self { api, bounds: config.bounds })
    }

    /// Serves the API until `stop` is ready, then lets requests in flight finish; how many were cut off.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> usize {
        let api = self.api.clone();
        let stop = async move {
            stop.await;
            api.draining.store(true, Ordering::Relaxed);
        };
        server::serve(listener, router(self.api.clone()), self.bounds, stop).await
    }

    /// Serves `/metrics`, `/healthz` and `/readyz` alone, without authorization: for a listener that only the
    /// operator's network reaches.
    pub async fn serve_metrics(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> usize {
        server::serve(listener, system::metrics_router(self.api.clone()), self.bounds, stop).await
    }

    /// The description of the API, OpenAPI 3.1, as `/openapi.json` gives it.
    pub fn openapi() -> String {
        openapi::document()
    }
}

impl Shared {
    /// What views need.
    pub(crate) fn show(&self) -> Show<'_> {
        Show { currency: self.currency, texts: self }
    }

    /// Whether the server is about to stop.
    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

impl Texts for Shared {
    fn find(&self, releases: &[ReleaseRef], code: &str) -> Option<ReasonText> {
        self.services.reason_text(releases, code)
    }
}

/// Every route with every layer around it.
fn router(api: Api) -> Router {
    let (routes, _) = openapi::routes().split_for_parts();
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(api.clone(), extract::authenticate))
        .layer(middleware::from_fn(acceptable))
        .layer(middleware::from_fn_with_state(api.clone(), deadline))
        .layer(CatchPanicLayer::custom(trace::panicked))
        .layer(middleware::from_fn(trace::trace))
        .with_state(api)
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-such-route", "there is nothing here: `/openapi.json` lists what there is")
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "the resource does not take this method: see `Allow`",
    )
}

/// Ends a request that takes too long, be it the client's body or our work. What was committed stays; a retry with the
/// same idempotency key tells.
async fn deadline(State(api): State<Api>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(api.request_max, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the request took too long; retry with the same idempotency key to learn what became of it";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "request-timeout", detail);
            problem.header(header::RETRY_AFTER, "1").into_response()
        }
    }
}

/// Refuses a client that would not understand the answer.
async fn acceptable(request: Request, next: Next) -> Response {
    let accepts = |accept: &str| {
        let mut ranges = accept.split(',').map(|range| range.split(';').next().unwrap_or("").trim());
        ranges.any(|range| {
            matches!(range, "" | "*/*" | "application/*" | "application/json" | "text/*" | "text/plain" | "text/csv")
        }) || accept.contains(problem::MEDIA_TYPE)
            || accept.contains(ops::BACKUP_TYPE)
    };
    let given = request.headers().get(header::ACCEPT).map(|value| value.to_str().unwrap_or("*/*"));
    // What people click, and what vendors report with whatever header they have.
    let for_all = [open::LINKS, open::RECEIPTS].iter().any(|path| request.uri().path().starts_with(path));
    if for_all || given.is_none_or(accepts) {
        return next.run(request).await;
    }
    let detail = "answers are `application/json`, refusals `application/problem+json`";
    Problem::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", detail).into_response()
}

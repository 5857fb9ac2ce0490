//! One trace id and one log line per request, and the counts behind `/metrics`.
//!
//! A request's own `traceparent` is taken over. The log names the route's template, never the path, the query or a
//! body, so no personal data gets there.

use std::{fmt, time::Instant};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Instrument as _;

use super::problem::Problem;

const TRACE_ID: HeaderName = HeaderName::from_static("trace-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    static CURRENT: TraceId;
}

/// Names one request in problems and in the log: 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl TraceId {
    /// The id in a W3C `traceparent` header: `00-<32 hex>-<16 hex>-<2 hex>`.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(TRACEPARENT)?.to_str().ok()?;
        let mut parts = text.split('-');
        let (version, id) = (parts.next()?, parts.next()?);
        let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if version.len() != 2 || !hex(version) || version == "ff" || id.len() != 32 || !hex(id) {
            return None;
        }
        u128::from_str_radix(id, 16).ok().filter(|id| *id != 0).map(Self)
    }
}

/// The trace id of the request this runs for; zero outside of one.
pub(crate) fn current() -> TraceId {
    CURRENT.try_with(|id| *id).unwrap_or_default()
}

/// Gives the request its trace id, and logs and counts its answer.
pub(crate) async fn trace(request: Request, next: Next) -> Response {
    let id = TraceId::of(request.headers()).unwrap_or_else(|| TraceId(rand::random()));
    let method = known(request.method());
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("request", trace_id = %id, method, route);
    CURRENT
        .scope(
            id,
            async move {
                let started = Instant::now();
                let mut response = next.run(request).await;
                if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
                    response.headers_mut().insert(TRACE_ID, value);
                }
                record(method, &route, response.status(), started.elapsed());
                response
            }
            .instrument(span),
        )
        .await
}

/// A method by its name. What is none of HTTP's own has one name for all, because every label is kept for ever.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn record(method: &'static str, route: &str, status: StatusCode, elapsed: std::time::Duration) {
    let labels = [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.as_str().to_owned())];
    metrics::counter!("galenic_http_requests_total", &labels).increment(1);
    metrics::histogram!("galenic_http_request_seconds", "method" => labels[0].1.clone(), "route" => labels[1].1.clone())
        .record(elapsed.as_secs_f64());
    tracing::info!(
        status = status.as_u16(),
        elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
}

/// The answer when a handler panics.
pub(crate) fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    Problem::internal(&format!("a handler panicked: {message}")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_str(text).expect("a header"));
        TraceId::of(&headers).map(|id| id.to_string())
    }

    #[test]
    fn a_traceparent_is_taken_over_only_if_it_is_one() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(of(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(), Some(id));
        assert_eq!(of("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
        assert_eq!(of(&format!("ff-{id}-00f067aa0ba902b7-01")), None);
        assert_eq!(of(&format!("00-{}-00f067aa0ba902b7-01", id.to_uppercase())), None);
        assert_eq!(of("00-+bf92f3577b34da6a3ce929d0e0e4736-x"), None);
        assert_eq!(of("nonsense"), None);
    }
}

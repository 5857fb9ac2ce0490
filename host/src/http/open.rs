//! What others call without an API key: vendors, whose plugin says whether it is them, and members, whose link proves it.

use axum::{
    extract::{OriginalUri, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    extract::{Ignored, Path, Plain, Raw},
    problem::Problem,
};
use crate::{
    domain::{channel::Incoming, touch::Language},
    service::{Error, reach::Stopped},
};

/// Where links in messages lead; answers pages for people.
pub(super) const LINKS: &str = "/u/";
/// Where vendors report. What stands in their `Authorization` is for the channel to judge: it is no API key.
pub(super) const RECEIPTS: &str = "/receipts/";

/// Routes without a key.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(receive)).routes(routes!(ask, stop))
}

/// Takes a vendor's report for the channel in a slot; the plugin there proves that it is the vendor's.
#[utoipa::path(
    post, path = "/receipts/{slot}", tag = "receipts", request_body(content = String, content_type = "*/*"),
    responses(
        (status = 200, description = "What the vendor wants to hear", body = String, content_type = "text/plain"),
        (status = 422, description = "invalid-request"),
        (status = 503, description = "rule-unavailable"),
    ),
)]
async fn receive(
    State(api): State<Api>,
    Path(slot): Path<String>,
    OriginalUri(uri): OriginalUri,
    method: Method,
    headers: HeaderMap,
    Plain(Raw(body)): Plain<Raw>,
) -> Result<Response, Problem> {
    let incoming = Incoming {
        method: method.to_string(),
        target: uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string),
        headers: readable(&headers),
        body: body.to_vec(),
    };
    let received = api.services.receive(&slot, incoming).await?;
    let status = StatusCode::from_u16(received.status).ok().filter(|status| !status.is_informational());
    let status = status.unwrap_or(StatusCode::OK);
    let media_type = if received.body.starts_with('{') { "application/json" } else { "text/plain; charset=utf-8" };
    Ok((status, [(header::CONTENT_TYPE, media_type)], Bytes::from(received.body)).into_response())
}

/// Names are lower-case already; a value that is no text is left out.
fn readable(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    headers.iter().filter_map(text).collect()
}

/// Shows a page that asks whether to unsubscribe; changes nothing, because mail scanners follow links.
#[utoipa::path(
    get, path = "/u/{token}", tag = "unsubscribe",
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
)]
async fn ask(State(api): State<Api>, Path(token): Path<String>) -> Response {
    page(api.services.unsubscribe_link(&token).await, |stopped| match stopped.language {
        Language::ZhCn => (
            "退订",
            "<p>您将不再通过此渠道收到我们的消息。与您的订单有关的通知不受影响。</p><form method=\"post\"><button>确认退订</button></form>",
        ),
        Language::En => (
            "Unsubscribe",
            "<p>You will get no more messages from us this way. Notices about your own orders still arrive.</p><form method=\"post\"><button>Unsubscribe</button></form>",
        ),
    })
}

/// Unsubscribes at once, also by one click (RFC 8058). Doing so again changes nothing.
#[utoipa::path(
    post, path = "/u/{token}", tag = "unsubscribe",
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
)]
async fn stop(State(api): State<Api>, Path(token): Path<String>, _: Plain<Ignored>) -> Response {
    page(api.services.unsubscribe(&token).await, |stopped| match stopped.language {
        Language::ZhCn => ("已退订", "<p>退订成功,立即生效。</p>"),
        Language::En => ("Unsubscribed", "<p>Done, from now on.</p>"),
    })
}

/// A plain page in the member's language; nothing in it comes from the request.
fn page(found: Result<Stopped, Error>, show: impl FnOnce(&Stopped) -> (&'static str, &'static str)) -> Response {
    let (status, language, (title, body)) = match &found {
        Ok(stopped) => (StatusCode::OK, stopped.language, show(stopped)),
        Err(Error::Unknown { .. }) => {
            let body = "<p>链接无效。 This link is not valid.</p>";
            (StatusCode::NOT_FOUND, Language::ZhCn, ("链接无效", body))
        }
        Err(error) => {
            tracing::error!(%error, "a link failed");
            let body = "<p>请稍后再试。 Please try again later.</p>";
            (StatusCode::SERVICE_UNAVAILABLE, Language::ZhCn, ("请稍后再试", body))
        }
    };
    let html = format!(
        "<!doctype html>\n<html lang=\"{language}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\
         <title>{title}</title></head><body><h1>{title}</h1>{body}</body></html>\n"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; form-action 'self'; frame-ancestors 'none'"),
    ];
    (status, headers, html).into_response()
}

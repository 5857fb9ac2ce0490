//! What went wrong, as RFC 9457 `application/problem+json`.
//!
//! `type` is `urn:galenic:<code>`; codes are API, clients branch on them, so they never change. [`Problem`] is made from
//! a [`service::Error`](crate::service::Error) or at the edge itself; internal failures are logged here, once, and the
//! client learns nothing of them but the trace id.

use std::{borrow::Cow, fmt};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::trace;
use crate::service::{self, FieldError, error::Nature};

/// The media type of every refusal.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// A refusal on its way to the client.
#[derive(Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    errors: Vec<FieldError>,
    quote: Option<serde_json::Value>,
    headers: HeaderMap,
}

/// The body of every refusal.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// `urn:galenic:` and the code: stable, for clients to branch on.
    #[schema(value_type = String, example = "urn:galenic:invalid-request")]
    r#type: String,
    /// The code in words.
    title: String,
    /// The status of the answer.
    status: u16,
    /// What is wrong here and what would be right.
    detail: &'a str,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: Vec<FieldProblem<'a>>,
    /// With `quote-changed`: a fresh quote of the same cart.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<super::views::QuoteView>)]
    quote: Option<&'a serde_json::Value>,
    /// Finds this request in the server's log.
    #[schema(example = "4bf92f3577b34da6a3ce929d0e0e4736")]
    trace_id: String,
}

/// One field that is wrong.
#[derive(Serialize, ToSchema)]
pub(crate) struct FieldProblem<'a> {
    /// JSON pointer into the body; of a parameter, a slash and its name.
    #[schema(example = "/lines/0/quantity")]
    pointer: &'a str,
    /// What is wrong and what would be right.
    detail: &'a str,
}

impl Problem {
    /// A refusal with a stable code.
    pub(crate) fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status,
            code: code.into(),
            detail: detail.into(),
            errors: Vec::new(),
            quote: None,
            headers: HeaderMap::new(),
        }))
    }

    /// Fields that are wrong, in a request that can be read.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        service::Error::Invalid(errors).into()
    }

    /// A defect or a failing machine: logged here, told to nobody.
    pub(crate) fn internal(error: &dyn fmt::Display) -> Self {
        tracing::error!(error = %error, "internal error");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server failed; retry a write with the same idempotency key. Name the trace id when you report it",
        )
    }

    /// The same with a header.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.insert(name, value);
        }
        self
    }

    /// The same with the fresh quote that replaces a changed one.
    #[must_use]
    pub(crate) fn quote(mut self, quote: &impl Serialize) -> Self {
        self.0.quote = serde_json::to_value(quote).ok();
        self
    }
}

impl From<service::Error> for Problem {
    fn from(error: service::Error) -> Self {
        let (code, nature) = (error.code(), error.nature());
        let status = match nature {
            Nature::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Nature::NotFound => StatusCode::NOT_FOUND,
            Nature::Conflict => StatusCode::CONFLICT,
            Nature::Stale => StatusCode::PRECONDITION_FAILED,
            Nature::Gone => StatusCode::GONE,
            Nature::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Nature::Unavailable if code == "disk-full" => StatusCode::INSUFFICIENT_STORAGE,
            Nature::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Nature::Internal => return Self::internal(&chain(&error)),
        };
        let mut problem = Self::new(status, code, error.to_string());
        if nature == Nature::Unavailable {
            tracing::warn!(error = %error, code, "refused for now");
            problem = problem.header(header::RETRY_AFTER, "1");
        }
        if let service::Error::Invalid(errors) = error {
            problem.0.errors = errors;
        }
        problem
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}

/// `quote-changed` as a title: "Quote changed".
fn title(code: &str) -> String {
    let words = code.replace('-', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { status, code, detail, errors, quote, headers } = *self.0;
        let body = ProblemBody {
            r#type: format!("urn:galenic:{code}"),
            title: title(&code),
            status: status.as_u16(),
            detail: &detail,
            errors: errors
                .iter()
                .map(|error| FieldProblem { pointer: &error.pointer, detail: &error.message })
                .collect(),
            quote: quote.as_ref(),
            trace_id: trace::current().to_string(),
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], json).into_response();
        response.headers_mut().extend(headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_codes_in_words() {
        assert_eq!(title("quote-changed"), "Quote changed");
        assert_eq!(title(""), "");
    }

    #[test]
    fn an_internal_error_tells_nothing() {
        let problem = Problem::internal(&"the secret place is /etc");
        assert_eq!(problem.0.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!problem.0.detail.contains("/etc"));
    }
}

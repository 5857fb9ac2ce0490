//! What stands in the path, the query and the headers.

use std::str::FromStr;

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts, RawPathParams},
    http::{StatusCode, header, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use crate::{
    domain::member::Revision,
    http::{Api, problem::Problem},
    service::{FieldError, PageRequest},
};

/// The path's one parameter.
pub(crate) struct Path<T>(pub(crate) T);

impl<T> FromRequestParts<Api> for Path<T>
where
    T: FromStr<Err: std::fmt::Display> + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let malformed = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "malformed-path", detail);
        let params =
            RawPathParams::from_request_parts(parts, api).await.map_err(|error| malformed(error.body_text()))?;
        let Some((name, text)) = params.iter().next() else {
            return Err(Problem::internal(&"the route has no parameter"));
        };
        text.parse().map(Self).map_err(|error| malformed(format!("{name} `{text}`: {error}")))
    }
}

/// The path's three parameters.
pub(crate) struct Path3<A, B, C>(pub(crate) A, pub(crate) B, pub(crate) C);

impl<A, B, C> FromRequestParts<Api> for Path3<A, B, C>
where
    A: FromStr<Err: std::fmt::Display> + Send,
    B: FromStr<Err: std::fmt::Display> + Send,
    C: FromStr<Err: std::fmt::Display> + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let malformed = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "malformed-path", detail);
        let params =
            RawPathParams::from_request_parts(parts, api).await.map_err(|error| malformed(error.body_text()))?;
        let mut params = params.iter();
        Ok(Self(next_param(&mut params)?, next_param(&mut params)?, next_param(&mut params)?))
    }
}

fn next_param<'a, T: FromStr<Err: std::fmt::Display>>(
    params: &mut impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<T, Problem> {
    let Some((name, text)) = params.next() else {
        return Err(Problem::internal(&"the route has too few parameters"));
    };
    text.parse()
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "malformed-path", format!("{name} `{text}`: {error}")))
}

/// The query's parameters; unknown ones are refused.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Api> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, api).await {
            Ok(query) => Ok(Self(query.0)),
            Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, "malformed-query", error.body_text())),
        }
    }
}

/// Which page of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// At most this many items; 50 where it is not said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// As the page before gave it.
    cursor: Option<String>,
}

impl PageQuery {
    /// Reads `limit` and `cursor`.
    pub(crate) fn new(limit: Option<usize>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// The request as the use cases take it.
    pub(crate) fn request(self) -> Result<PageRequest, Problem> {
        let after = match self.cursor {
            None => None,
            Some(text) => match unhex(&text) {
                Some(bytes) => Some(bytes),
                None => return Err(Problem::invalid(vec![FieldError::new("/cursor", "is not one of ours")])),
            },
        };
        Ok(PageRequest { after, limit: self.limit })
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// The revision that `If-Match` names; taken as `Option`, because most writes do not need one.
pub(crate) struct IfMatch(pub(crate) Revision);

/// The header, for the API's description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes the header; `IfMatch` reads it")]
pub(crate) struct IfMatchHeader {
    /// The `ETag` of the copy that the change was made on; the change is refused with 412 if there is a newer one.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

impl OptionalFromRequestParts<Api> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Option<Self>, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(None) };
        let text = value.to_str().unwrap_or("").trim();
        if text == "*" {
            return Ok(None);
        }
        let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        match number.and_then(|number| serde_json::from_str::<Revision>(number).ok()) {
            Some(revision) => Ok(Some(Self(revision))),
            None => {
                let detail = "If-Match takes one ETag as an answer gave it, for example `\"7\"`";
                Err(Problem::new(StatusCode::BAD_REQUEST, "malformed-if-match", detail))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_bytes_in_hex() {
        assert_eq!(unhex(&hex(&[0, 255, 16])), Some(vec![0, 255, 16]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("zz"), None);
        assert_eq!(unhex("é"), None);
    }
}

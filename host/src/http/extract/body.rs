//! Bodies, read once within a limit and parsed without mercy, and the idempotency key that a write must carry.
//!
//! A body that is no JSON is 400; one that is JSON of another shape is 422 and names every place by JSON pointer as far
//! as it was read. Unknown fields are refused: a misspelt field must never be a silent default.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderName, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{Serialize, de::DeserializeOwned};
use serde_path_to_error::Segment;
use sha2::Sha256;

use super::Authenticated;
use crate::{
    http::{Api, problem::Problem},
    ids::PartnerId,
    service::{FieldError, Idempotency},
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Bytes of a key.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 1..=128;
/// Bytes of a JSON body.
const JSON_BYTES_MAX: usize = 1 << 20;
/// Bytes of a form that is ignored.
const FORM_BYTES_MAX: usize = 4 << 10;
/// Bytes of a plugin module.
const MODULE_BYTES_MAX: usize = 16 << 20;

/// What a body can be parsed to.
pub(crate) trait Payload: Sized + Send {
    /// The most bytes it may have.
    const BYTES_MAX: usize;

    /// Refuses another media type than its own.
    fn check_type(headers: &HeaderMap) -> Result<(), Problem>;

    /// Reads the whole body.
    fn parse(bytes: Bytes) -> Result<Self, Problem>;
}

/// A JSON body; also how answers are written.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> Payload for Json<T> {
    const BYTES_MAX: usize = JSON_BYTES_MAX;

    fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
        media_type(headers, &["application/json", "application/merge-patch+json"])
    }

    fn parse(bytes: Bytes) -> Result<Self, Problem> {
        // serde reads a list as the fields of an object in their order; no API should.
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err(Problem::invalid(vec![FieldError::new("", "must be an object")]));
        }
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let pointer = pointer(error.path());
            shape(&error.into_inner(), pointer)
        })?;
        json.end().map_err(|error| shape(&error, String::new()))?;
        Ok(Self(value))
    }
}

/// The problem of a body that is no JSON, or JSON of another shape.
fn shape(error: &serde_json::Error, pointer: String) -> Problem {
    if error.is_data() {
        let message = error.to_string();
        // serde_json ends its messages with the place, which the pointer says better.
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        return Problem::invalid(vec![FieldError::new(pointer, message)]);
    }
    Problem::new(StatusCode::BAD_REQUEST, "malformed-json", format!("the body is not JSON: {error}"))
}

/// A path as a JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            // Which variant was meant shows in the message; unknown places cannot be pointed at.
            Segment::Enum { .. } | Segment::Unknown => String::new(),
        })
        .collect()
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
            Err(error) => Problem::internal(&error).into_response(),
        }
    }
}

/// No body, or an empty object.
pub(crate) struct Empty;

impl Payload for Empty {
    const BYTES_MAX: usize = JSON_BYTES_MAX;

    fn check_type(_: &HeaderMap) -> Result<(), Problem> {
        Ok(())
    }

    fn parse(bytes: Bytes) -> Result<Self, Problem> {
        match bytes.trim_ascii() {
            b"" | b"{}" => Ok(Self),
            _ => Err(Problem::new(StatusCode::BAD_REQUEST, "body-not-empty", "this request takes no body")),
        }
    }
}

/// Bytes of any type: what a vendor sends.
pub(crate) struct Raw(pub(crate) Bytes);

impl Payload for Raw {
    const BYTES_MAX: usize = JSON_BYTES_MAX;

    fn check_type(_: &HeaderMap) -> Result<(), Problem> {
        Ok(())
    }

    fn parse(bytes: Bytes) -> Result<Self, Problem> {
        Ok(Self(bytes))
    }
}

/// A form whose path says everything: it is read and forgotten.
pub(crate) struct Ignored;

impl Payload for Ignored {
    const BYTES_MAX: usize = FORM_BYTES_MAX;

    fn check_type(_: &HeaderMap) -> Result<(), Problem> {
        Ok(())
    }

    fn parse(_: Bytes) -> Result<Self, Problem> {
        Ok(Self)
    }
}

/// The bytes of a plugin module.
pub(crate) struct Wasm(pub(crate) Bytes);

impl Payload for Wasm {
    const BYTES_MAX: usize = MODULE_BYTES_MAX;

    fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
        media_type(headers, &["application/wasm"])
    }

    fn parse(bytes: Bytes) -> Result<Self, Problem> {
        Ok(Self(bytes))
    }
}

fn media_type(headers: &HeaderMap, accepted: &[&str]) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim();
    if accepted.iter().any(|accepted| essence.eq_ignore_ascii_case(accepted)) {
        return Ok(());
    }
    let detail = format!("the body must be `{}`, not `{essence}`", accepted.join("` or `"));
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail))
}

/// Reads a body of a payload's type and size.
async fn read<T: Payload>(request: Request) -> Result<(Parts, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    T::check_type(&parts.headers)?;
    let bytes = match Limited::new(body, T::BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let detail = format!("the body has more than {} bytes", T::BYTES_MAX);
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail));
        }
        Err(error) => {
            let detail = format!("the body ended early: {error}");
            return Err(Problem::new(StatusCode::BAD_REQUEST, "body-incomplete", detail));
        }
    };
    Ok((parts, bytes))
}

/// The body of a request that needs no idempotency key, because repeating it changes nothing.
pub(crate) struct Plain<T>(pub(crate) T);

impl<T: Payload> FromRequest<Api> for Plain<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        let (_, bytes) = read::<T>(request).await?;
        T::parse(bytes).map(Self)
    }
}

/// A write: its body and its idempotency key. No other request with this key runs while this value lives.
pub(crate) struct Once<T> {
    /// The key and the fingerprint of the request.
    pub(crate) key: Idempotency,
    /// The body.
    pub(crate) body: T,
    _in_flight: InFlight,
}

/// The header, for the API's description.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes the header; `Once` reads it")]
pub(crate) struct OnceHeader {
    /// Chosen by the client for each write, for example a UUID. A retry with the same key and the same request changes
    /// nothing and gets the same answer, with `Idempotent-Replayed: true`.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 128)]
    idempotency_key: String,
}

impl<T: Payload> FromRequest<Api> for Once<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let partner = match request.extensions().get::<Authenticated>() {
            Some(found) => found.caller.partner,
            None => return Err(Problem::internal(&"a write without `Allowed` before it")),
        };
        let key = key(request.headers())?;
        let in_flight = api.in_flight.begin(partner, &key)?;
        let (parts, bytes) = read::<T>(request).await?;
        let fingerprint = api.fingerprints.of(&parts, &bytes);
        let body = T::parse(bytes)?;
        Ok(Self { key: Idempotency { partner, key, fingerprint }, body, _in_flight: in_flight })
    }
}

fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        let detail = "send the header `Idempotency-Key` with a new key, for example a UUID; a retry sends the same key";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "idempotency-key-missing", detail));
    };
    let fits = |text: &&str| KEY_BYTES.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    match value.to_str().ok().filter(fits) {
        Some(text) => Ok(text.to_owned()),
        None => {
            let detail = "the idempotency key must be 1 to 128 visible ASCII characters";
            Err(Problem::new(StatusCode::BAD_REQUEST, "idempotency-key-malformed", detail))
        }
    }
}

/// What a request asks for, as a keyed hash: a body may hold personal data, which the hash must not give away.
pub(crate) struct Fingerprints(Hmac<Sha256>);

impl Fingerprints {
    /// With the deployment's secret.
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"))
    }

    fn of(&self, parts: &Parts, body: &[u8]) -> [u8; 32] {
        let mut hash = self.0.clone();
        hash.update(parts.method.as_str().as_bytes());
        hash.update(b"\0");
        hash.update(parts.uri.path().as_bytes());
        hash.update(b"\0");
        hash.update(body);
        hash.finalize().into_bytes().into()
    }
}

/// The keys of writes that are under way.
#[derive(Clone, Default)]
pub(crate) struct InFlightKeys(Arc<Mutex<HashSet<(PartnerId, String)>>>);

struct InFlight {
    keys: InFlightKeys,
    key: (PartnerId, String),
}

impl InFlightKeys {
    fn begin(&self, partner: PartnerId, key: &str) -> Result<InFlight, Problem> {
        let key = (partner, key.to_owned());
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone()) {
            return Ok(InFlight { keys: self.clone(), key });
        }
        let detail = "a request with this idempotency key is under way: wait for its answer, then retry";
        let problem = Problem::new(StatusCode::CONFLICT, "idempotency-key-in-flight", detail);
        Err(problem.header(header::RETRY_AFTER, "1"))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.keys.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Cart {
        #[allow(dead_code, reason = "only parsed")]
        lines: Vec<Line>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        #[allow(dead_code, reason = "only parsed")]
        quantity: u32,
    }

    fn check(body: &str, status: u16, contains: &str) {
        let Err(problem) = Json::<Cart>::parse(Bytes::from(body.to_owned())) else { panic!("{body} was taken") };
        let text = format!("{problem:?}");
        assert!(text.contains(&format!("status: {status}")), "{body}: {text}");
        assert!(text.contains(contains), "{body}: {text}");
    }

    #[test]
    fn a_bad_body_is_named_by_pointer() {
        check(r#"{"lines":[{"quantity":"two"}]}"#, 422, "/lines/0/quantity");
        check(r#"{"lines":[{"quantity":-1}]}"#, 422, "/lines/0/quantity");
        check(r#"{"lines":[{"quantity":1,"colour":"red"}]}"#, 422, "/lines/0/colour");
        check(r#"{}"#, 422, "missing field `lines`");
        check(r#"{"lines":[]} x"#, 400, "malformed-json");
        check(r#"{"lines":["#, 400, "malformed-json");
        check("", 400, "malformed-json");
    }

    #[test]
    fn a_key_is_in_flight_until_its_guard_is_dropped() {
        let keys = InFlightKeys::default();
        let partner: PartnerId = "prt_00000000000000000000000000000001".parse().expect("an id");
        let first = keys.begin(partner, "a").expect("first");
        assert!(keys.begin(partner, "a").is_err());
        assert!(keys.begin(partner, "b").is_ok());
        drop(first);
        assert!(keys.begin(partner, "a").is_ok());
    }
}

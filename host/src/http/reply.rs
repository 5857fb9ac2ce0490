//! How a handler answers: a status, a view, and the headers that go with them.

use axum::{
    extract::OriginalUri,
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Json, hex};
use crate::{domain::member::Revision, service::Page};

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A view and its headers.
pub(crate) struct Reply<T> {
    status: StatusCode,
    view: T,
    location: Option<String>,
    etag: Option<Revision>,
    replayed: bool,
}

impl<T: Serialize> Reply<T> {
    /// 200 with a view.
    pub(crate) fn ok(view: T) -> Self {
        Self { status: StatusCode::OK, view, location: None, etag: None, replayed: false }
    }

    /// 201 with a view of what was made and where it is.
    pub(crate) fn created(view: T, location: String) -> Self {
        Self { status: StatusCode::CREATED, location: Some(location), ..Self::ok(view) }
    }

    /// The same with the revision as `ETag`.
    #[must_use]
    pub(crate) fn etag(mut self, revision: Revision) -> Self {
        self.etag = Some(revision);
        self
    }

    /// The same, marked if it answers a retry.
    #[must_use]
    pub(crate) fn replayed(mut self, replayed: bool) -> Self {
        self.replayed = replayed;
        self
    }
}

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.view)).into_response();
        let headers = response.headers_mut();
        if let Some(location) = self.location.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(header::LOCATION, location);
        }
        if let Some(etag) =
            self.etag.and_then(|revision| HeaderValue::from_str(&format!("\"{}\"", revision.get())).ok())
        {
            headers.insert(header::ETAG, etag);
        }
        if self.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

/// One page of a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// The items.
    items: Vec<T>,
    /// Ask for the next page with this as `cursor`; null on the last page. The same stands in `Link` as `rel="next"`.
    next_cursor: Option<String>,
    #[serde(skip)]
    link: Option<String>,
}

impl<T> List<T> {
    /// A page of views; `uri` is the request's own.
    pub(crate) fn new<R>(page: Page<R>, uri: &OriginalUri, view: impl FnMut(R) -> T) -> Self {
        let next_cursor = page.next.as_deref().map(hex);
        let link = next_cursor.as_deref().map(|cursor| next_link(&uri.0, cursor));
        Self { items: page.rows.into_iter().map(view).collect(), next_cursor, link }
    }
}

/// The same request with another cursor, as a link.
fn next_link(uri: &Uri, cursor: &str) -> String {
    let kept = uri.query().unwrap_or("").split('&').filter(|part| !part.is_empty() && !part.starts_with("cursor="));
    let query: Vec<&str> = kept.collect();
    let and = if query.is_empty() { "" } else { "&" };
    format!("<{}?{}{and}cursor={cursor}>; rel=\"next\"", uri.path(), query.join("&"))
}

impl<T: Serialize> IntoResponse for List<T> {
    fn into_response(self) -> Response {
        let link = self.link.as_deref().and_then(|link| HeaderValue::from_str(link).ok());
        let mut response = Json(self).into_response();
        if let Some(link) = link {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_keeps_the_other_parameters() {
        let uri: Uri = "/v1/members?limit=2&cursor=00".parse().expect("a uri");
        assert_eq!(next_link(&uri, "ff"), "</v1/members?limit=2&cursor=ff>; rel=\"next\"");
        let uri: Uri = "/v1/members".parse().expect("a uri");
        assert_eq!(next_link(&uri, "ff"), "</v1/members?cursor=ff>; rel=\"next\"");
    }
}

//! What a handler can ask for in its signature; each gives a problem where the request does not have it.

mod auth;
mod body;
mod params;

pub(crate) use auth::{Allowed, Authenticated, authenticate, needs};
pub(crate) use body::{Empty, Fingerprints, Ignored, InFlightKeys, Json, Once, OnceHeader, Plain, Raw, Wasm};
pub(crate) use params::{IfMatch, IfMatchHeader, PageQuery, Path, Path2, Path3, Query, hex};

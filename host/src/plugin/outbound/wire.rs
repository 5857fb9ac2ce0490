//! The shapes of `outbound-http`, `secrets` and `outbound-mail` as wasmtime lifts and lowers them.

use wasmtime::component::{ComponentType, Lift, Lower};

#[derive(ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct Request {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    #[component(name = "secret-headers")]
    pub(super) secret_headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

#[derive(ComponentType, Lower, Clone, Debug, PartialEq, Eq)]
#[component(record)]
pub(in crate::plugin) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

#[derive(ComponentType, Lower, Clone, Debug, PartialEq, Eq)]
#[component(variant)]
pub(in crate::plugin) enum HttpError {
    #[component(name = "denied")]
    Denied(String),
    #[component(name = "unreachable")]
    Unreachable(String),
    #[component(name = "timeout")]
    Timeout,
    #[component(name = "broken")]
    Broken(String),
    #[component(name = "too-large")]
    TooLarge,
}

#[derive(ComponentType, Lift, Clone, Copy, Debug, PartialEq, Eq)]
#[component(enum)]
#[repr(u8)]
#[cfg_attr(not(test), expect(dead_code, reason = "lifted by number, built by name in tests alone"))]
pub(in crate::plugin) enum Algorithm {
    #[component(name = "hmac-sha1")]
    HmacSha1,
    #[component(name = "hmac-sha256")]
    HmacSha256,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct Mail {
    pub(super) id: String,
    pub(super) to: String,
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: Option<String>,
    #[component(name = "unsubscribe-url")]
    pub(super) unsubscribe_url: Option<String>,
}

#[derive(ComponentType, Lower, Clone, Debug, PartialEq, Eq)]
#[component(variant)]
pub(in crate::plugin) enum MailError {
    #[component(name = "denied")]
    Denied(String),
    #[component(name = "later")]
    Later(String),
    #[component(name = "refused")]
    Refused(String),
    #[component(name = "broken")]
    Broken(String),
}

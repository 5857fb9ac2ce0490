//! What a channel may reach, each as far as its release was granted it: [`http`], [`secrets`] and [`mail`].
//!
//! In a test the case answers in the vendor's place, see [`testing`](crate::testing).

/// Requests to the hosts that the release was granted.
pub mod http {
    pub use crate::bindings::galenic::plugin::outbound_http::{Error, Request, Response};
    use crate::channel::{Failure, Outcome};

    impl Request {
        /// A request without headers and body; `url` is absolute.
        pub fn new(method: &str, url: impl Into<String>) -> Self {
            Self {
                method: method.to_owned(),
                url: url.into(),
                headers: Vec::new(),
                secret_headers: Vec::new(),
                body: Vec::new(),
            }
        }

        /// The same with one more header.
        #[must_use]
        pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
            self.headers.push((name.to_owned(), value.into()));
            self
        }

        /// The same with a granted secret as the value of a header; the plugin never sees it.
        #[must_use]
        pub fn secret_header(mut self, name: &str, secret: &str) -> Self {
            self.secret_headers.push((name.to_owned(), secret.to_owned()));
            self
        }

        /// The same with this body.
        #[must_use]
        pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
            self.body = body.into();
            self
        }
    }

    impl Response {
        /// The first header of this name, in lower case.
        pub fn header(&self, name: &str) -> Option<&str> {
            self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        }
    }

    /// Whether a message may have been taken: not where nothing was sent, else nobody knows.
    impl From<Error> for Outcome {
        fn from(error: Error) -> Self {
            match error {
                Error::Denied(why) => Self::Retry(Failure::new("denied", why)),
                Error::Unreachable(why) => Self::Retry(Failure::new("unreachable", why)),
                Error::Timeout => Self::Unknown(Failure::new("timeout", "no answer in time")),
                Error::Broken(why) => Self::Unknown(Failure::new("broken", why)),
                Error::TooLarge => Self::Unknown(Failure::new("too-large", "the answer is larger than 256 KiB")),
            }
        }
    }

    /// Sends one request.
    ///
    /// # Errors
    ///
    /// [`Error`] says whether the request may have arrived.
    pub fn fetch(request: &Request) -> Result<Response, Error> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::galenic::plugin::outbound_http::fetch(request);
        #[cfg(not(target_family = "wasm"))]
        return crate::testing::script::fetch(request);
    }
}

/// Signatures with secrets that stay in the host.
pub mod secrets {
    pub use crate::bindings::galenic::plugin::secrets::Algorithm;

    /// The HMAC of the parts, one after the other, under a granted secret.
    ///
    /// # Errors
    ///
    /// The secret is not granted.
    pub fn hmac(secret: &str, algorithm: Algorithm, parts: &[&[u8]]) -> Result<Vec<u8>, String> {
        let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
        #[cfg(target_family = "wasm")]
        return crate::bindings::galenic::plugin::secrets::hmac(secret, algorithm, &parts);
        #[cfg(not(target_family = "wasm"))]
        return crate::testing::script::hmac(secret, algorithm, &parts);
    }
}

/// Mail through the server that the release was granted.
pub mod mail {
    pub use crate::bindings::galenic::plugin::outbound_mail::{Error, Mail};
    use crate::channel::{Failure, Outcome};

    /// Whether a mail may have been taken.
    impl From<Error> for Outcome {
        fn from(error: Error) -> Self {
            match error {
                Error::Denied(why) => Self::Rejected(Failure::new("denied", why)),
                Error::Later(why) => Self::Retry(Failure::new("later", why)),
                Error::Refused(why) => Self::Rejected(Failure::new("refused", why)),
                Error::Broken(why) => Self::Unknown(Failure::new("broken", why)),
            }
        }
    }

    /// Hands one mail to the server; its answer.
    ///
    /// # Errors
    ///
    /// [`Error`] says whether the server may have taken it.
    pub fn send(mail: &Mail) -> Result<String, Error> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::galenic::plugin::outbound_mail::send(mail);
        #[cfg(not(target_family = "wasm"))]
        return crate::testing::script::mail(mail);
    }
}

//! TLS towards vendors: whom the operator trusts beside the machine's own authorities, and why a handshake failed.

use std::{error::Error, fmt, io};

use rustls::{
    AlertDescription, CertificateError, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Certificates of one place, at most: a file of all public authorities has about 150.
const ROOTS_MAX: usize = 1_000;

/// Certificates of authorities that are trusted beside those of the machine.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Roots(Vec<CertificateDer<'static>>);

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.0.len())
    }
}

impl Roots {
    /// Trusts nobody more.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Trusts the certificates of a PEM file, too.
    ///
    /// # Errors
    ///
    /// What is wrong with the file: it holds no certificate, too many, or one that cannot be an authority's.
    pub fn add_pem(&mut self, pem: &[u8]) -> Result<(), String> {
        let mut store = RootCertStore::empty();
        for found in CertificateDer::pem_slice_iter(pem) {
            let found = found.map_err(|error| format!("it is not PEM: {error}"))?;
            store.add(found.clone()).map_err(|error| format!("certificate {} is none: {error}", store.len() + 1))?;
            if self.0.len() == ROOTS_MAX {
                return Err(format!("more than {ROOTS_MAX} certificates"));
            }
            self.0.push(found);
        }
        if store.is_empty() {
            return Err("it holds no `-----BEGIN CERTIFICATE-----`".to_owned());
        }
        Ok(())
    }

    /// The certificates, as the clients want them.
    pub(super) fn der(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(AsRef::as_ref)
    }
}

/// Why a handshake failed, if that is what lies behind an error; in the operator's words, with the fix. `setting` is where
/// authorities are added.
pub(super) fn why(error: &(dyn Error + 'static), setting: &str) -> Option<String> {
    use CertificateError as Bad;
    let Some(found) = chain(error).find_map(as_tls) else {
        let ended = |cause: &io::Error| cause.kind() == io::ErrorKind::UnexpectedEof;
        let ended = chain(error).any(|cause| cause.downcast_ref().is_some_and(ended));
        return ended.then(|| "the server ended the TLS handshake; does it speak TLS on this port?".to_owned());
    };
    Some(match found {
        rustls::Error::InvalidCertificate(bad) => match bad {
            // Another authority of the same name is not trusted either.
            Bad::UnknownIssuer | Bad::BadSignature => {
                format!("the server's certificate is of an authority that is not trusted; add its CA to `{setting}`")
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                "the server's certificate is for another name".to_owned()
            }
            Bad::Expired | Bad::ExpiredContext { .. } => "the server's certificate has expired".to_owned(),
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => "the server's certificate is not valid yet".to_owned(),
            other => format!("the server's certificate cannot be trusted: {other:?}"),
        },
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS on this port".to_owned(),
        rustls::Error::PeerIncompatible(_)
        | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure) => {
            "the server speaks no TLS that is safe: it must offer 1.2 or 1.3".to_owned()
        }
        other => format!("the TLS handshake failed: {other}"),
    })
}

/// An error and what lies behind it. An I/O error hides what it wraps from `source`, so it is looked into.
pub(super) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
        Some(error)
    })
}

fn as_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    error.downcast_ref()
}

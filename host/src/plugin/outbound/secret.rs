//! Secrets: they sign, and are shown to nobody.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::Sha256;

use super::wire::Algorithm;

/// What marks a secret as bytes in base64, as Standard Webhooks hands them out.
const WEBHOOK_PREFIX: &str = "whsec_";

/// A secret of the host's configuration. A value that begins with `whsec_` signs with the bytes that follow in base64;
/// any other signs with its own characters.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// A secret of this value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// As it is put into a header or told to a server.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    fn key(&self) -> Result<Vec<u8>, String> {
        match self.0.strip_prefix(WEBHOOK_PREFIX) {
            Some(encoded) => {
                STANDARD.decode(encoded).map_err(|_| "the secret behind `whsec_` is not base64".to_owned())
            }
            None => Ok(self.0.as_bytes().to_vec()),
        }
    }

    pub(super) fn hmac(&self, algorithm: Algorithm, parts: &[Vec<u8>]) -> Result<Vec<u8>, String> {
        let key = self.key()?;
        let unfit = |_| "the secret cannot be a key".to_owned();
        Ok(match algorithm {
            Algorithm::HmacSha1 => {
                let mut mac = Hmac::<Sha1>::new_from_slice(&key).map_err(unfit)?;
                parts.iter().for_each(|part| mac.update(part));
                mac.finalize().into_bytes().to_vec()
            }
            Algorithm::HmacSha256 => {
                let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(unfit)?;
                parts.iter().for_each(|part| mac.update(part));
                mac.finalize().into_bytes().to_vec()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 2202 and RFC 4231, case 2.
    #[test]
    fn signs_as_the_rfcs_say() {
        let parts = [b"what do ya want ".to_vec(), b"for nothing?".to_vec()];
        let sign = |algorithm| hex(&Secret::new("Jefe").hmac(algorithm, &parts).expect("signs"));
        assert_eq!(sign(Algorithm::HmacSha1), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(sign(Algorithm::HmacSha256), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn a_webhook_secret_is_decoded_and_none_is_shown() {
        let parts = [b"x".to_vec()];
        let plain = Secret::new("Jefe").hmac(Algorithm::HmacSha256, &parts);
        assert_eq!(Secret::new("whsec_SmVmZQ==").hmac(Algorithm::HmacSha256, &parts), plain);
        assert!(Secret::new("whsec_%").hmac(Algorithm::HmacSha256, &parts).is_err());
        assert_eq!(format!("{:?}", Secret::new("Jefe")), "Secret(…)");
    }
}

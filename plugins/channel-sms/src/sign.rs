//! ACS3-HMAC-SHA256, the vendor's signature: the hash of a canonical request, under the secret itself.

use galenic_sdk::outbound::secrets::{self, Algorithm};
use sha2::{Digest as _, Sha256};

/// The hash of the body: it is empty, parameters stand in the query.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A call of the API that is to be signed.
pub(crate) struct Call<'a> {
    /// As the `host` header has it.
    pub(crate) host: &'a str,
    /// The operation.
    pub(crate) action: &'a str,
    /// The API's version.
    pub(crate) version: &'a str,
    /// `2023-10-26T10:22:32Z`.
    pub(crate) date: &'a str,
    /// Never seen before.
    pub(crate) nonce: &'a str,
    /// Sorted and encoded.
    pub(crate) query: &'a str,
}

impl Call<'_> {
    /// The headers that are signed, sorted by name; `host` is the connection's.
    pub(crate) fn headers(&self) -> [(&'static str, &str); 6] {
        [
            ("host", self.host),
            ("x-acs-action", self.action),
            ("x-acs-content-sha256", EMPTY_SHA256),
            ("x-acs-date", self.date),
            ("x-acs-signature-nonce", self.nonce),
            ("x-acs-version", self.version),
        ]
    }

    fn signed_headers(&self) -> String {
        self.headers().map(|(name, _)| name).join(";")
    }

    fn to_sign(&self) -> String {
        let headers: String = self.headers().iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let request = format!("POST\n/\n{}\n{headers}\n{}\n{EMPTY_SHA256}", self.query, self.signed_headers());
        format!("ACS3-HMAC-SHA256\n{}", hexadecimal(&Sha256::digest(request)))
    }

    /// The value of `authorization`.
    ///
    /// # Errors
    ///
    /// The secret is not granted.
    pub(crate) fn authorization(&self, access_key_id: &str, secret: &str) -> Result<String, String> {
        let signature = secrets::hmac(secret, Algorithm::HmacSha256, &[self.to_sign().as_bytes()])?;
        Ok(format!(
            "ACS3-HMAC-SHA256 Credential={access_key_id},SignedHeaders={},Signature={}",
            self.signed_headers(),
            hexadecimal(&signature)
        ))
    }
}

/// The query of these parameters, which are sorted by name.
pub(crate) fn query(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<_> =
        parameters.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    pairs.join("&")
}

/// Everything but letters, digits, `-`, `_`, `.` and `~` as `%XX`.
fn encoded(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            shown.push(char::from(byte));
        } else {
            shown.push_str(&format!("%{byte:02X}"));
        }
    }
    shown
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vendor's own example with fixed parameters.
    #[test]
    fn the_text_to_sign_is_the_vendors() {
        let call = Call {
            host: "ecs.cn-shanghai.aliyuncs.com",
            action: "RunInstances",
            version: "2014-05-26",
            date: "2023-10-26T10:22:32Z",
            nonce: "3156853299f313e23d1673dc12e1703d",
            query: &query(&[
                ("ImageId", "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"),
                ("RegionId", "cn-shanghai"),
            ]),
        };
        assert_eq!(
            call.to_sign(),
            "ACS3-HMAC-SHA256\n7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259"
        );
        assert_eq!(
            call.signed_headers(),
            "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"
        );
    }

    #[test]
    fn a_query_is_encoded_as_rfc_3986_says() {
        assert_eq!(query(&[("A", "a b*~"), ("B", "{\"k\":\"药\"}")]), "A=a%20b%2A~&B=%7B%22k%22%3A%22%E8%8D%AF%22%7D");
    }
}

//! What only the environment tells. Nothing here is ever logged or shown.

use std::collections::BTreeMap;

use anyhow::Context as _;

use crate::plugin::Secret;

/// What only the environment tells. Never logged, never shown.
#[derive(Clone, Default)]
pub struct Secrets {
    /// `GALENIC_OPERATOR_KEY`: an API key that may do everything.
    pub operator_key: Option<String>,
    /// `GALENIC_MASTER_KEY`: encrypts the keys of personal data; 32 bytes as hexadecimal digits.
    pub master_key: Option<[u8; 32]>,
    /// `GALENIC_SECRET_NAME`: what channels sign and log in with, by `name`.
    pub outbound: BTreeMap<String, Secret>,
}

impl std::fmt::Debug for Secrets {
    /// Says which are set, never what they are.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets")
            .field("operator_key", &self.operator_key.is_some())
            .field("master_key", &self.master_key.is_some())
            .field("outbound", &self.outbound.keys())
            .finish()
    }
}

impl Secrets {
    /// Reads the environment.
    ///
    /// # Errors
    ///
    /// If the master key is no key. The message does not repeat it.
    pub fn from_env() -> anyhow::Result<Self> {
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let master_key = match read("GALENIC_MASTER_KEY") {
            None => None,
            Some(text) => Some(key_bytes(&text).context("GALENIC_MASTER_KEY must be 64 hexadecimal digits")?),
        };
        let outbound = std::env::vars().filter_map(|(variable, value)| {
            let name = variable.strip_prefix("GALENIC_SECRET_")?;
            (!value.is_empty()).then(|| (name.to_lowercase().replace('_', "-"), Secret::new(value)))
        });
        Ok(Self { operator_key: read("GALENIC_OPERATOR_KEY"), master_key, outbound: outbound.collect() })
    }
}

/// 32 bytes from 64 hexadecimal digits.
pub(crate) fn key_bytes(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; 32];
    for (byte, at) in key.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(key)
}

//! What only this deployment can compute: hashes of addresses, and tokens that unsubscribe.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use minicbor::{Decode, Encode};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::{
    domain::{channel::AddressKind, touch::Channel},
    ids::{Id as _, MemberId},
};

/// Bytes of a token: the member, the channel, and the proof.
const TOKEN_BYTES: usize = 16 + 1 + PROOF_BYTES;
const PROOF_BYTES: usize = 16;

/// A keyed hash of an address: says whether two are the same, and nothing else without the key.
pub type AddressHash = [u8; 32];

/// An [`AddressHash`] as a field of a record.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct StoredHash(#[cbor(n(0), with = "minicbor::bytes")] pub AddressHash);

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredHash")
    }
}

/// The room's secret, derived from the deployment's master key.
#[derive(Clone)]
pub struct Secrets(Hmac<Sha256>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// With 32 bytes that stay the same for the life of the deployment.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"))
    }

    /// The hash of an address. Mail addresses count the same in capitals and without.
    pub fn address(&self, kind: AddressKind, address: &str) -> AddressHash {
        let (tag, address) = match kind {
            AddressKind::Phone => (1_u8, address.trim().to_owned()),
            AddressKind::Email => (2, address.trim().to_lowercase()),
            AddressKind::Member => (3, address.trim().to_owned()),
        };
        self.hash(b"address", &[&[tag], address.as_bytes()])
    }

    /// The token of the link that unsubscribes a member from a channel. It holds no personal data.
    pub fn token(&self, member: MemberId, channel: Channel) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.extend_from_slice(&member.to_bits().to_be_bytes());
        bytes.push(channel.code());
        let proof = self.hash(b"unsubscribe", &[&bytes]);
        bytes.extend_from_slice(&proof[..PROOF_BYTES]);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whom and what a token unsubscribes; `None` if it was not made by [`Secrets::token`].
    pub fn read_token(&self, token: &str) -> Option<(MemberId, Channel)> {
        if token.len() != 2 * TOKEN_BYTES || !token.is_ascii() {
            return None;
        }
        let byte = |at: usize| u8::from_str_radix(token.get(2 * at..2 * at + 2)?, 16).ok();
        let bytes: Vec<u8> = (0..TOKEN_BYTES).map(byte).collect::<Option<_>>()?;
        let (named, proof) = bytes.split_at(TOKEN_BYTES - PROOF_BYTES);
        let expected = self.hash(b"unsubscribe", &[named]);
        if !bool::from(expected[..PROOF_BYTES].ct_eq(proof)) {
            return None;
        }
        let (member, channel) = named.split_first_chunk::<16>()?;
        Some((MemberId::from_bits(u128::from_be_bytes(*member)), Channel::of_code(*channel.first()?)?))
    }

    fn hash(&self, purpose: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(purpose);
        mac.update(&[0]);
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_member_and_channel_and_cannot_be_made_up() {
        let secrets = Secrets::new(&[1; 32]);
        let member = MemberId::from_bits(7);
        let token = secrets.token(member, Channel::Email);
        assert_eq!(secrets.read_token(&token), Some((member, Channel::Email)));
        let other = Secrets::new(&[2; 32]);
        assert_eq!(other.read_token(&token), None, "another deployment's");
        let mut forged = token.clone();
        forged.replace_range(32..34, "00");
        assert_eq!(secrets.read_token(&forged), None, "another channel");
        for bad in ["", "zz", &token[2..], &"é".repeat(33)] {
            assert_eq!(secrets.read_token(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_hash_by_what_they_reach() {
        let secrets = Secrets::new(&[1; 32]);
        let mail = |text| secrets.address(AddressKind::Email, text);
        assert_eq!(mail("A@B.cn"), mail("a@b.cn "));
        assert_ne!(mail("+8613800138000"), secrets.address(AddressKind::Phone, "+8613800138000"));
    }
}

//! What the vault's file is made of: slots of one size, so that a key is overwritten where it lies.
//!
//! ```text
//! slot 0:   magic 16 | check of the key-encryption key 16 | zeros
//! slot n:   state u8 | class u8 | zeros 6 | member 16 | nonce 24 | wrapped key 48
//! ```

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};

use super::KeyClass;
use crate::ids::{Id as _, MemberId};

pub(super) const SLOT_BYTES: usize = 96;
pub(super) const MAGIC: &[u8; 16] = b"galenic vault 1\n";
pub(super) const NONCE_BYTES: usize = 24;
/// The state of a slot whose key opens.
pub(super) const LIVE: u8 = 1;
/// The state of a slot whose key is gone for good.
pub(super) const DESTROYED: u8 = 2;

pub(super) type Slot = [u8; SLOT_BYTES];

/// Magic, then a tag that only the same key-encryption key makes. Its nonce is fixed; no other use of the key has it.
pub(super) fn first_slot(wrapping: &XChaCha20Poly1305) -> Slot {
    let check = Payload { msg: &[], aad: b"galenic vault: check of the key-encryption key" };
    let check = wrapping.encrypt(&XNonce::from([0; NONCE_BYTES]), check).expect("nothing can be encrypted");
    let mut slot = [0; SLOT_BYTES];
    slot[..16].copy_from_slice(MAGIC);
    slot[16..32].copy_from_slice(&check);
    slot
}

pub(super) fn empty_slot(state: u8, member: MemberId, class: KeyClass) -> Slot {
    let mut slot = [0; SLOT_BYTES];
    slot[0] = state;
    slot[1] = class.code();
    slot[8..24].copy_from_slice(&member.to_bits().to_be_bytes());
    slot
}

/// Binds a wrapped key to its place and owner: slots cannot be swapped.
pub(super) fn slot_data(number: u64, member: MemberId, class: KeyClass) -> Vec<u8> {
    [b"slot".as_slice(), &number.to_be_bytes(), &member.to_bits().to_be_bytes(), &[class.code()]].concat()
}

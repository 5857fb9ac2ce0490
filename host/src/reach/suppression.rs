//! Suppressions: addresses, and members on a channel, that nothing goes to any more.

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{
    secrets::AddressHash,
    tables::{SUPPRESSED_ADDRESSES, SUPPRESSED_MEMBERS},
};
use crate::{
    domain::{
        cbor,
        touch::{Channel, Class},
    },
    ids::MemberId,
    store::{StoreError, Tx},
};

/// Why nothing goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The member asked to stop: by the link, or by a reply.
    #[n(0)]
    Unsubscribed,
    /// The address does not exist.
    #[n(1)]
    HardBounce,
    /// An operator said so.
    #[n(2)]
    Operator,
}

/// One suppression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Suppression {
    /// Why.
    #[n(0)]
    pub cause: Cause,
    /// Since when.
    #[cbor(n(1), with = "cbor::instant")]
    pub at: Timestamp,
}

impl Suppression {
    /// Whether it holds back a touch of this class. One who asked to stop still hears what answers their own orders; to
    /// an address that does not exist, or that an operator blocked, nothing goes.
    pub fn blocks(&self, class: Class) -> bool {
        match self.cause {
            Cause::Unsubscribed => class.can_be_stopped(),
            Cause::HardBounce | Cause::Operator => true,
        }
    }
}

/// Whether a vendor's code says that the address does not exist. Plugins use the first three for what their vendor calls
/// it; the others are those of mail servers (RFC 3463).
pub fn is_hard_bounce(code: &str) -> bool {
    matches!(code, "hard-bounce" | "invalid-address" | "no-such-address" | "5.1.0" | "5.1.1" | "5.1.2" | "5.1.10")
}

/// Adds a suppression of an address. A stronger cause takes the place of "asked to stop", never the other way round.
///
/// # Errors
///
/// Those of the store.
pub fn suppress_address(tx: &mut Tx<'_>, address: &AddressHash, cause: Cause, at: Timestamp) -> Result<(), StoreError> {
    match tx.get(&SUPPRESSED_ADDRESSES, address)? {
        Some(known) if known.cause != Cause::Unsubscribed || cause == Cause::Unsubscribed => Ok(()),
        _ => tx.put(&SUPPRESSED_ADDRESSES, address, &Suppression { cause, at }),
    }
}

/// Adds a suppression of a member on a channel; as for an address.
///
/// # Errors
///
/// Those of the store.
pub fn suppress_member(
    tx: &mut Tx<'_>,
    member: MemberId,
    channel: Channel,
    cause: Cause,
    at: Timestamp,
) -> Result<(), StoreError> {
    match tx.get(&SUPPRESSED_MEMBERS, &(member, channel))? {
        Some(known) if known.cause != Cause::Unsubscribed || cause == Cause::Unsubscribed => Ok(()),
        _ => tx.put(&SUPPRESSED_MEMBERS, &(member, channel), &Suppression { cause, at }),
    }
}

/// Whether a touch of this class is held back by the member's or the address's suppression.
///
/// # Errors
///
/// Those of the store.
pub fn suppressed(
    tx: &mut Tx<'_>,
    member: MemberId,
    channel: Channel,
    address: Option<&AddressHash>,
    class: Class,
) -> Result<bool, StoreError> {
    let of_member = tx.get(&SUPPRESSED_MEMBERS, &(member, channel))?;
    let of_address = match address {
        Some(address) => tx.get(&SUPPRESSED_ADDRESSES, address)?,
        None => None,
    };
    Ok([of_member, of_address].into_iter().flatten().any(|suppression| suppression.blocks(class)))
}

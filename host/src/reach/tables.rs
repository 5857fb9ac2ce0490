//! The tables of this room. Tags and names never change and are never used again.

use jiff::Timestamp;

use super::{
    consent::Consent,
    secrets::AddressHash,
    suppression::Suppression,
    template::{Head, Template, Variant},
    touch::{DayTouches, Touch},
};
use crate::{
    domain::touch::{Channel, Class, ConsentPurpose, Language},
    ids::{MemberId, TouchId},
    store::{Key, Table},
};

/// A member's consent as it stands.
pub const CONSENTS: Table<(MemberId, ConsentPurpose, Channel), Consent> = Table::new(110, "consents.v1");
/// Every consent given or taken back, by version. Append-only.
pub const CONSENT_VERSIONS: Table<(MemberId, ConsentPurpose, Channel, u32), Consent> =
    Table::new(111, "consent-versions.v1");
/// Addresses nothing goes to, by keyed hash: they outlive the member's erasure.
pub const SUPPRESSED_ADDRESSES: Table<AddressHash, Suppression> = Table::new(112, "suppressed-addresses.v1");
/// Members nothing goes to on a channel.
pub const SUPPRESSED_MEMBERS: Table<(MemberId, Channel), Suppression> = Table::new(113, "suppressed-members.v1");
/// Templates by code.
pub const TEMPLATES: Table<String, Template> = Table::new(114, "templates.v1");
/// The newest and the approved version of each text.
pub const HEADS: Table<(String, Channel, Language), Head> = Table::new(115, "template-heads.v1");
/// Every version of each text.
pub const VARIANTS: Table<(String, Channel, Language, u32), Variant> = Table::new(116, "template-variants.v1");
/// Touches.
pub const TOUCHES: Table<TouchId, Touch> = Table::new(117, "touches.v1");
/// A member's touches, oldest first.
pub const TOUCHES_OF_MEMBER: Table<(MemberId, TouchId), ()> = Table::new(118, "touches-of-member.v1");
/// Which touch was asked for under a member, template and the asker's own key: asking twice makes one.
pub const TOUCH_KEYS: Table<(MemberId, String, String), TouchId> = Table::new(119, "touch-keys.v1");
/// Touches that wait, by when they are due, in shards so that no range is hot.
pub const QUEUE: Table<(u16, Timestamp, TouchId), ()> = Table::new(120, "touch-queue.v1");
/// The touches that count towards a member's day, in days since 1970-01-01 of the member's zone.
pub const DAYS: Table<(MemberId, i32), DayTouches> = Table::new(121, "touch-days.v1");
/// How many touches stand where, by class, channel, column and shard.
pub const TOTALS: Table<(Class, Channel, u8, u16), u64> = Table::new(122, "touch-totals.v1");
/// Touches that wait for an operator.
pub const STUCK: Table<TouchId, ()> = Table::new(123, "touches-stuck.v1");
/// Touches by the slot that sent them and the vendor's id.
pub const PROVIDER_IDS: Table<(String, String), TouchId> = Table::new(124, "touch-provider-ids.v1");
/// The variables of a touch, sealed under the member's profile key.
pub const CONTENTS: Table<TouchId, Vec<u8>> = Table::new(125, "touch-contents.v1");
/// The last touch sent to an address, for replies that name nothing else.
pub const LAST_TO_ADDRESS: Table<AddressHash, TouchId> = Table::new(126, "last-touch-to-address.v1");

macro_rules! code_keys {
    ($($name:ident)*) => {$(
        impl Key for $name {
            fn encode(&self, to: &mut Vec<u8>) {
                self.code().encode(to);
            }

            fn decode(from: &mut &[u8]) -> Option<Self> {
                Self::of_code(u8::decode(from)?)
            }
        }
    )*};
}
code_keys!(Class ConsentPurpose Channel Language);

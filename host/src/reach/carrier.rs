//! What carries a message out of the house, and what reviews it before: traits, so that this room knows no plugin.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;

use super::gate::Cleared;
use crate::domain::{
    channel::{Attempt, ChannelTraits, Incoming, Message, Received},
    guard::Draft,
    touch::Channel,
};

/// One provider of a channel, as it is live now.
pub trait Carrier: Send + Sync {
    /// The slot it stands in: `channel.sms`.
    fn slot(&self) -> &str;

    /// What it needs and what it promises.
    fn traits(&self) -> ChannelTraits;

    /// Tries once. Call [`send`] instead, which asks for the gate's proof.
    fn deliver<'a>(&'a self, message: &'a Message, now: Timestamp, nonce: [u8; 16]) -> BoxFuture<'a, Attempt>;

    /// Reads what its vendor reports.
    fn parse<'a>(
        &'a self,
        incoming: &'a Incoming,
        now: Timestamp,
        nonce: [u8; 16],
    ) -> BoxFuture<'a, Result<Received, Unread>>;
}

/// Why a report was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It cannot be believed, or is none.
    Refused(String),
    /// The carrier cannot say now.
    Unavailable(String),
}

/// What the content guard says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reviewed {
    /// Nothing is wrong.
    Clear,
    /// The phrase that may not be there, and the rule that forbids it.
    Blocked {
        /// The phrase.
        phrase: String,
        /// The rule's code.
        rule: String,
    },
    /// It cannot be asked.
    Unavailable(String),
}

/// The ways out of the house.
pub trait Outlets: Send + Sync {
    /// The providers of a channel, the preferred first.
    fn carriers(&self, channel: Channel) -> Vec<Arc<dyn Carrier>>;

    /// The provider in a slot.
    fn carrier(&self, slot: &str) -> Option<Arc<dyn Carrier>>;

    /// Asks the content guard.
    fn review(&self, draft: Draft) -> BoxFuture<'_, Reviewed>;
}

/// Hands a message that the gate let pass to a carrier, once: the proof is used up.
pub async fn send(
    _cleared: Cleared,
    carrier: &dyn Carrier,
    message: &Message,
    now: Timestamp,
    nonce: [u8; 16],
) -> Attempt {
    carrier.deliver(message, now, nonce).await
}

/// The channel of a slot: that of `channel.sms` and of `channel.sms-2` is the same.
pub fn channel_of(slot: &str) -> Option<Channel> {
    let name = slot.strip_prefix("channel.")?;
    let (base, number) = name.split_once('-').unwrap_or((name, "1"));
    number.parse::<u8>().ok()?;
    base.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_name_their_channel() {
        assert_eq!(channel_of("channel.sms"), Some(Channel::Sms));
        assert_eq!(channel_of("channel.sms-2"), Some(Channel::Sms));
        for other in ["channel.fax", "sms", "channel.sms-x", "coupon"] {
            assert_eq!(channel_of(other), None, "{other}");
        }
    }
}

//! The live releases of the channel and guard slots as the ways out of the house.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::{
    domain::{
        channel::{Attempt, ChannelTraits, Failure, Incoming, Message, Received},
        guard::{Draft, Finding},
        rule::Kind,
        touch::Channel,
    },
    plugin::{Answer, Engine, FellBackTo, Release},
    reach::carrier::{self, Carrier, Outlets, Reviewed, Unread},
    service::rules::GUARD_SLOT,
};

/// Providers of one channel: `channel.sms`, `channel.sms-2`, … up to this number.
const PROVIDERS_MAX: u8 = 9;
/// Characters of a phrase that is shown to the operator.
const PHRASE_CHARS_MAX: usize = 64;

/// Asks the engine.
pub struct EngineOutlets {
    engine: Arc<Engine>,
}

/// A release that was live when it was asked for.
struct Live {
    slot: String,
    release: Arc<Release>,
}

impl EngineOutlets {
    /// Over this engine.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// The live release of a slot, without making the slot.
    fn live(&self, slot: &str, kind: Kind) -> Option<Arc<Release>> {
        let slots = self.engine.slots();
        slots.iter().find(|known| **known.name() == *slot && known.kind() == kind)?.live()
    }
}

impl Outlets for EngineOutlets {
    fn carriers(&self, channel: Channel) -> Vec<Arc<dyn Carrier>> {
        let first = format!("channel.{channel}");
        let names = (1..=PROVIDERS_MAX).map(|n| if n == 1 { first.clone() } else { format!("{first}-{n}") });
        names.filter_map(|slot| self.carrier(&slot)).collect()
    }

    fn carrier(&self, slot: &str) -> Option<Arc<dyn Carrier>> {
        carrier::channel_of(slot)?;
        let release = self.live(slot, Kind::Channel)?;
        Some(Arc::new(Live { slot: slot.to_owned(), release }))
    }

    fn review(&self, draft: Draft) -> BoxFuture<'_, Reviewed> {
        Box::pin(async move {
            let Some(guard) = self.live(GUARD_SLOT, Kind::ContentGuard) else {
                return Reviewed::Unavailable("no content guard is live".to_owned());
            };
            let drafts = [draft];
            let answered = guard.guard(&drafts).await;
            let [draft] = &drafts;
            match answered.answers.first() {
                // An earlier release of the guard is a guard too; any other fallback is none.
                Some(
                    Answer::Decided(findings)
                    | Answer::FellBack { value: Some(findings), by: FellBackTo::Previous(_), .. },
                ) => judged(findings, draft),
                Some(Answer::FellBack { fault, .. }) => Reviewed::Unavailable(fault.to_string()),
                None => Reviewed::Unavailable("the content guard said nothing".to_owned()),
            }
        })
    }
}

/// The first finding as the operator reads it.
fn judged(findings: &[Finding], draft: &Draft) -> Reviewed {
    let Some(finding) = findings.first() else { return Reviewed::Clear };
    let part = draft.parts.get(usize::from(finding.part));
    let phrase = part.and_then(|part| part.get(finding.start as usize..finding.end as usize)).unwrap_or("");
    let phrase = phrase.chars().take(PHRASE_CHARS_MAX).collect();
    Reviewed::Blocked { phrase, rule: finding.reason.code.to_string() }
}

impl Carrier for Live {
    fn slot(&self) -> &str {
        &self.slot
    }

    fn traits(&self) -> ChannelTraits {
        self.release.channel_traits()
    }

    fn deliver<'a>(&'a self, message: &'a Message, now: Timestamp, nonce: [u8; 16]) -> BoxFuture<'a, Attempt> {
        Box::pin(async move {
            let delivered = self.release.deliver(message, now, nonce).await;
            for note in &delivered.notes {
                tracing::debug!(key = message.key, release = %delivered.release, note, "a channel notes");
            }
            // A fault means that nothing was sent: it may be tried again.
            delivered.result.unwrap_or_else(|fault| {
                tracing::warn!(key = message.key, release = %delivered.release, %fault, "a channel failed");
                Attempt::Retry(Failure { code: fault.code().to_owned(), message: fault.to_string() })
            })
        })
    }

    fn parse<'a>(
        &'a self,
        incoming: &'a Incoming,
        now: Timestamp,
        nonce: [u8; 16],
    ) -> BoxFuture<'a, Result<Received, Unread>> {
        Box::pin(async move {
            match self.release.parse_receipt(incoming, now, nonce).await {
                Ok(read) => read.map_err(Unread::Refused),
                Err(fault) => Err(Unread::Unavailable(fault.to_string())),
            }
        })
    }
}

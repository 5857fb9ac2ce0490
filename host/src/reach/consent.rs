//! Consents: per purpose and channel, every change a version that stays.

use jiff::Timestamp;
use minicbor::{Decode, Encode};

use super::tables::{CONSENT_VERSIONS, CONSENTS};
use crate::{
    domain::{
        cbor,
        touch::{Channel, Class, ConsentPurpose},
    },
    ids::{KeyId, MemberId},
    store::{StoreError, Tx},
};

/// What a member said about one purpose on one channel.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Consent {
    /// What for.
    #[n(0)]
    pub purpose: ConsentPurpose,
    /// Where.
    #[n(1)]
    pub channel: Channel,
    /// Counts from one.
    #[n(2)]
    pub version: u32,
    /// Given, or taken back.
    #[n(3)]
    pub granted: bool,
    /// When it was recorded.
    #[cbor(n(4), with = "cbor::instant")]
    pub at: Timestamp,
    /// Which text the member saw.
    #[n(5)]
    pub text_version: String,
    /// Where the proof lies, in the partner's own words; no personal data.
    #[n(6)]
    pub evidence: Option<String>,
    /// Where it was said: `app`, `shop-counter`, `unsubscribe-link`.
    #[n(7)]
    pub source: String,
    /// The API key that recorded it; none where the member did so themselves.
    #[n(8)]
    pub by: Option<KeyId>,
}

/// What is said about a consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Given, or taken back.
    pub granted: bool,
    /// Which text the member saw.
    pub text_version: String,
    /// Where the proof lies.
    pub evidence: Option<String>,
    /// Where it was said.
    pub source: String,
    /// The API key that records it.
    pub by: Option<KeyId>,
}

/// The consents that a touch needs on its channel: its class's, and the one its template names.
pub fn needed(class: Class, purpose: Option<ConsentPurpose>) -> impl Iterator<Item = ConsentPurpose> {
    let own = class.needs();
    own.into_iter().chain(purpose.filter(move |purpose| Some(*purpose) != own))
}

/// Records what a member said, as the next version.
///
/// # Errors
///
/// Those of the store.
pub fn set(
    tx: &mut Tx<'_>,
    member: MemberId,
    (purpose, channel): (ConsentPurpose, Channel),
    said: &Said,
    at: Timestamp,
) -> Result<Consent, StoreError> {
    let before = tx.get(&CONSENTS, &(member, purpose, channel))?;
    let version = before.map_or(1, |before| before.version.saturating_add(1));
    let consent = Consent {
        purpose,
        channel,
        version,
        granted: said.granted,
        at,
        text_version: said.text_version.clone(),
        evidence: said.evidence.clone(),
        source: said.source.clone(),
        by: said.by,
    };
    tx.put(&CONSENTS, &(member, purpose, channel), &consent)?;
    tx.put(&CONSENT_VERSIONS, &(member, purpose, channel, version), &consent)?;
    Ok(consent)
}

/// Whether the member gave every consent that a touch needs on a channel.
///
/// # Errors
///
/// Those of the store.
pub fn given(
    tx: &mut Tx<'_>,
    member: MemberId,
    channel: Channel,
    class: Class,
    purpose: Option<ConsentPurpose>,
) -> Result<bool, StoreError> {
    let keys: Vec<_> = needed(class, purpose).map(|purpose| (member, purpose, channel)).collect();
    let found = tx.get_many(&CONSENTS, &keys)?;
    Ok(found.iter().all(|consent| consent.as_ref().is_some_and(|consent| consent.granted)))
}

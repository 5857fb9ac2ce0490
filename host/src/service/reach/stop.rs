//! A member says stop: by the link in a message, or by a vendor's word.

use jiff::Timestamp;

use crate::{
    domain::{
        channel::AddressKind,
        member::{MemberState, Profile},
        touch::{Channel, ConsentPurpose, Language},
    },
    events::{self, What},
    ids::MemberId,
    reach::{
        consent::{self, Said},
        secrets::AddressHash,
        suppression::{self, Cause},
        tables::CONSENTS,
    },
    service::{
        Error, Services,
        members::put_moved,
        tables::{MEMBERS, PROFILES},
    },
    store::Tx,
};

/// Whom and what a link stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The channel.
    pub channel: Channel,
    /// The language to answer in.
    pub language: Language,
}

impl Services {
    /// What a link would stop; changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a token that is none of ours.
    pub async fn unsubscribe_link(&self, token: &str) -> Result<Stopped, Error> {
        let (member, channel) = self.read_link(token)?;
        let row = self.store.read(move |tx| Ok::<_, Error>(tx.get(&MEMBERS, &member)?)).await?;
        Ok(Stopped { channel, language: row.and_then(|row| row.language).unwrap_or(Language::ZhCn) })
    }

    /// Takes back the consent to marketing on the link's channel, and suppresses the member and their address there.
    /// Doing so again changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a token that is none of ours.
    pub async fn unsubscribe(&self, token: &str) -> Result<Stopped, Error> {
        let (member, channel) = self.read_link(token)?;
        let sealed = self.store.read(move |tx| Ok::<_, Error>(tx.get(&PROFILES, &member)?)).await?;
        // Of an erased member nothing but the pseudonym is left, and that is suppressed all the same.
        let profile = match sealed.map(|sealed| self.unseal(member, &sealed)) {
            None | Some(Err(Error::Erased)) => Profile::default(),
            Some(opened) => opened?,
        };
        let addresses = self.addresses_on(channel, &profile);
        let now = self.clock.now();
        let run = self.store.run(now, move |tx| {
            stop(tx, member, channel, &addresses, "unsubscribe-link", now)?;
            let row = tx.get(&MEMBERS, &member)?;
            Ok::<_, Error>(Stopped { channel, language: row.and_then(|row| row.language).unwrap_or(Language::ZhCn) })
        });
        run.await
    }

    /// The link that stops a channel for a member.
    pub(super) fn link(&self, member: MemberId, channel: Channel) -> String {
        format!("{}/u/{}", self.settings.reach.public_url, self.reach.secrets.token(member, channel))
    }

    fn read_link(&self, token: &str) -> Result<(MemberId, Channel), Error> {
        // The token is not repeated: whoever reads a log could use it.
        self.reach.secrets.read_token(token).ok_or_else(|| Error::unknown("link", "as given"))
    }

    /// The hashes of a member's addresses that a channel's carriers use.
    fn addresses_on(&self, channel: Channel, profile: &Profile) -> Vec<AddressHash> {
        let usual = match channel {
            Channel::Sms => Some(AddressKind::Phone),
            Channel::Email => Some(AddressKind::Email),
            _ => None,
        };
        let address = match usual {
            Some(AddressKind::Phone) => profile.phone.as_deref().map(|phone| (AddressKind::Phone, phone)),
            Some(AddressKind::Email) => profile.email.as_deref().map(|email| (AddressKind::Email, email)),
            _ => None,
        };
        address.map(|(kind, address)| self.reach.secrets.address(kind, address)).into_iter().collect()
    }
}

/// Stops a channel for a member: consent withdrawn where it was given, member and addresses suppressed.
pub(super) fn stop(
    tx: &mut Tx<'_>,
    member: MemberId,
    channel: Channel,
    addresses: &[AddressHash],
    source: &str,
    now: Timestamp,
) -> Result<(), Error> {
    for address in addresses {
        suppression::suppress_address(tx, address, Cause::Unsubscribed, now)?;
    }
    let Some(mut row) = tx.get(&MEMBERS, &member)? else { return Ok(()) };
    suppression::suppress_member(tx, member, channel, Cause::Unsubscribed, now)?;
    let purpose = ConsentPurpose::Marketing;
    let before = tx.get(&CONSENTS, &(member, purpose, channel))?;
    let Some(before) = before.filter(|consent| consent.granted && row.state == MemberState::Active) else {
        return Ok(());
    };
    let said =
        Said { granted: false, text_version: before.text_version, evidence: None, source: source.to_owned(), by: None };
    consent::set(tx, member, (purpose, channel), &said, now)?;
    put_moved(tx, &mut row)?;
    Ok(events::append(tx, member, [What::ConsentChanged { purpose, channel, granted: false }])?)
}

//! Consents as partners record and read them; suppressions as operators keep them.

use crate::{
    domain::{
        channel::AddressKind,
        touch::{Channel, ConsentPurpose},
    },
    events::{self, What},
    ids::MemberId,
    reach::{
        consent::{self, Consent, Said},
        secrets::AddressHash,
        suppression::{self, Cause, Suppression},
        tables::{CONSENT_VERSIONS, CONSENTS, SUPPRESSED_ADDRESSES, SUPPRESSED_MEMBERS},
    },
    service::{
        Caller, Done, Error, Idempotency, Page, PageRequest, Services,
        check::Checks,
        members::{active_member, put_moved, visible_member},
    },
    store::{SCAN_ROWS_DEFAULT, Scan},
};

const TEXT_CHARS_MAX: usize = 64;
const EVIDENCE_CHARS_MAX: usize = 256;

/// What a partner records of a member's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewConsent {
    /// Given, or taken back.
    pub granted: bool,
    /// Which text the member saw.
    pub text_version: String,
    /// Where the proof lies; no personal data.
    pub evidence: Option<String>,
    /// Where it was said.
    pub source: String,
}

impl Services {
    /// Records that a member gave a consent or took it back: one more version. It does not lift a suppression.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for every wrong field, [`Error::Unknown`], [`Error::Erased`].
    pub async fn set_consent(
        &self,
        caller: Caller,
        once: Idempotency,
        member: MemberId,
        (purpose, channel): (ConsentPurpose, Channel),
        new: NewConsent,
    ) -> Result<Done<Consent>, Error> {
        let mut checks = Checks::default();
        checks.text("/text_version", &new.text_version, TEXT_CHARS_MAX);
        checks.text("/source", &new.source, TEXT_CHARS_MAX);
        if let Some(evidence) = &new.evidence {
            checks.text("/evidence", evidence, EVIDENCE_CHARS_MAX);
        }
        let proven = !new.granted || new.evidence.is_some();
        checks.require(proven, "/evidence", "is needed where consent is given: say where the proof lies");
        checks.finish()?;
        let now = self.clock.now();
        let NewConsent { granted, text_version, evidence, source } = new;
        let said = Said { granted, text_version, evidence, source, by: Some(caller.key) };
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                let mut row = active_member(tx, caller, member)?;
                let consent = consent::set(tx, member, (purpose, channel), &said, now)?;
                put_moved(tx, &mut row)?;
                events::append(tx, member, [What::ConsentChanged { purpose, channel, granted: said.granted }])?;
                Ok::<_, Error>(consent)
            })
        });
        run.await
    }

    /// A member's consents as they stand: at most one for each purpose and channel.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn consents(&self, caller: Caller, member: MemberId) -> Result<Vec<Consent>, Error> {
        let read = self.store.read(move |tx| {
            visible_member(tx, caller, member)?;
            let rows = tx.scan(&CONSENTS, &Scan::prefix(&member).limit(SCAN_ROWS_DEFAULT))?;
            Ok::<_, Error>(rows.into_iter().map(|(_, consent)| consent).collect())
        });
        read.await
    }

    /// Every version of one consent, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Invalid`] for a bad page.
    pub async fn consent_history(
        &self,
        caller: Caller,
        member: MemberId,
        (purpose, channel): (ConsentPurpose, Channel),
        page: PageRequest,
    ) -> Result<Page<Consent>, Error> {
        let read = self.store.read(move |tx| {
            visible_member(tx, caller, member)?;
            let scan = page.scan(Scan::prefix(&(member, purpose, channel)))?;
            let rows = tx.scan(&CONSENT_VERSIONS, &scan)?;
            Ok::<_, Error>(page.page(rows)?.map(|(_, consent)| consent))
        });
        read.await
    }

    /// Holds everything back from a member on a channel.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn suppress_member(&self, caller: Caller, member: MemberId, channel: Channel) -> Result<(), Error> {
        let now = self.clock.now();
        let run = self.store.run(now, move |tx| {
            visible_member(tx, caller, member)?;
            Ok::<_, Error>(suppression::suppress_member(tx, member, channel, Cause::Operator, now)?)
        });
        run.await
    }

    /// Lets a member be reached again on a channel; consent they must give themselves.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn lift_member(&self, member: MemberId, channel: Channel) -> Result<(), Error> {
        let now = self.clock.now();
        self.store.run(now, move |tx| Ok::<_, Error>(tx.delete(&SUPPRESSED_MEMBERS, &(member, channel))?)).await
    }

    /// Holds everything back from an address, of which a keyed hash is kept.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a text that is no address.
    pub async fn suppress_address(&self, address: &str) -> Result<(), Error> {
        let (now, hash) = (self.clock.now(), self.address_hash(address)?);
        let run = self
            .store
            .run(now, move |tx| Ok::<_, Error>(suppression::suppress_address(tx, &hash, Cause::Operator, now)?));
        run.await
    }

    /// Lets an address be reached again.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a text that is no address.
    pub async fn lift_address(&self, address: &str) -> Result<(), Error> {
        let (now, hash) = (self.clock.now(), self.address_hash(address)?);
        self.store.run(now, move |tx| Ok::<_, Error>(tx.delete(&SUPPRESSED_ADDRESSES, &hash)?)).await
    }

    /// Suppressed members, by id.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a bad page.
    pub async fn suppressed_members(
        &self,
        page: PageRequest,
    ) -> Result<Page<((MemberId, Channel), Suppression)>, Error> {
        let read = self.store.read(move |tx| page.page(tx.scan(&SUPPRESSED_MEMBERS, &page.scan(Scan::all())?)?));
        read.await
    }

    /// Suppressed addresses, by their hash.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a bad page.
    pub async fn suppressed_addresses(&self, page: PageRequest) -> Result<Page<(AddressHash, Suppression)>, Error> {
        let read = self.store.read(move |tx| page.page(tx.scan(&SUPPRESSED_ADDRESSES, &page.scan(Scan::all())?)?));
        read.await
    }

    /// The hash of a telephone number or an address for mail, told apart by how they look.
    pub(super) fn address_hash(&self, address: &str) -> Result<AddressHash, Error> {
        let kind = match address.trim() {
            address if address.starts_with('+') && address.len() <= 16 => AddressKind::Phone,
            address if address.contains('@') && address.len() <= 254 => AddressKind::Email,
            _ => return Err(Error::field("/address", "must be a number like +8613800138000 or an address for mail")),
        };
        Ok(self.reach.secrets.address(kind, address))
    }
}

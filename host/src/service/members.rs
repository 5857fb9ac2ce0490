//! Members: registered, read, changed, erased.
//!
//! A member's row holds no personal data. The profile is sealed under a key of the person's own that lies outside the
//! store; erasing the member destroys that key, and whatever still holds the sealed bytes holds noise.

mod profile;

use std::sync::Arc;

use jiff::{Timestamp, civil::Date};

pub use profile::{Change, ProfileChange};

use super::{
    Caller, Done, Error, Idempotency, Page, PageRequest, Services, Settings,
    check::Checks,
    coupons, offers, referrals, refills,
    tables::{ERASED_MEMBERS, MEMBERS, MEMBERS_BY_EXTERNAL_ID, MEMBERS_OF_PARTNER, PATIENTS, PROFILES},
    timers::{occasions, zones},
};
use crate::{
    domain::{
        member::{ExternalId, HeldTier, Member, MemberState, Patient, Profile, Relation, Revision, TierCause},
        money::Money,
        offer::{ProfileField, Trigger},
        touch::Language,
    },
    events::{self, What},
    ids::{CouponId, Id as _, MemberId, PartnerId},
    members::{
        erasures::Erasure,
        vault::{KeyClass, Vault, VaultError},
    },
    reach::secrets::AddressHash,
    store::{Scan, Store, StoreError, Tx},
};

/// How often a change is tried again because the profile moved under it.
const UPDATE_TRIES: usize = 8;

/// The member to register.
#[derive(Clone, Debug, Default)]
pub struct NewMember {
    /// What the partner calls the member.
    pub external_id: Option<ExternalId>,
    /// Personal data.
    pub profile: Profile,
    /// The IANA name of the zone they live in.
    pub zone: Option<String>,
    /// The language they read.
    pub language: Option<Language>,
    /// Whether the partner has seen that the phone is theirs.
    pub phone_verified: bool,
    /// The member who referred them.
    pub referred_by: Option<MemberId>,
}

impl Services {
    /// Registers a member with the patient they are, in the lowest tier of the live rule.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for every wrong field, [`Error::Taken`] for an external id in use, [`Error::Plugin`] if no
    /// tier rule is live.
    pub async fn create_member(
        &self,
        caller: Caller,
        once: Idempotency,
        new: NewMember,
    ) -> Result<Done<Member>, Error> {
        let now = self.clock.now();
        let mut checks = Checks::default();
        profile::check(&mut checks, &new.profile, self.today(now));
        profile::check_zone(&mut checks, new.zone.as_deref());
        profile::check_verified(&mut checks, &new.profile, new.phone_verified);
        checks.finish()?;
        if let Some(done) = once.before(&self.store).await? {
            return Ok(done);
        }
        let mut member = self.new_member(caller.partner, new.external_id, now)?;
        (member.zone, member.language) = (new.zone, new.language);
        let (id, wanted) = (member.id, member.clone());
        self.store.read(move |tx| external_id_is_free(tx, &wanted)).await?;
        // The vault is on disk no later than the commit. Keys that no commit follows seal nothing and harm nobody.
        self.vault.create(id, [self.ids.bytes(), self.ids.bytes()], [self.ids.bytes(), self.ids.bytes()])?;
        let sealed = self.seal(id, &new.profile)?;
        let joins = Joins {
            member,
            sealed,
            birthday: new.profile.birthday,
            held: ProfileField::held(&new.profile),
            first_coupon: self.ids.ordered(now),
            settings: Arc::clone(&self.settings),
            referred_by: new.referred_by,
            verified: self.verified_phone(&new.profile, new.phone_verified),
        };
        let run = self.store.run(now, move |tx| once.once(tx, |tx| register(tx, &joins)));
        run.await
    }

    /// One member.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Erased`].
    pub async fn member(&self, caller: Caller, id: MemberId) -> Result<Member, Error> {
        self.store.read(move |tx| active_member(tx, caller, id)).await
    }

    /// The member that the caller's partner calls this.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn member_by_external_id(&self, caller: Caller, external_id: &str) -> Result<Member, Error> {
        let external_id = external_id.to_owned();
        let read = self.store.read(move |tx| {
            let id = tx.get(&MEMBERS_BY_EXTERNAL_ID, &(caller.partner, external_id.clone()))?;
            let id = id.ok_or_else(|| Error::unknown("member", &external_id))?;
            active_member(tx, caller, id)
        });
        read.await
    }

    /// A member's personal data.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Erased`], and [`Error::Vault`] if it cannot be opened.
    pub async fn member_profile(&self, caller: Caller, id: MemberId) -> Result<Profile, Error> {
        let (_, sealed) = self.sealed_profile(caller, id).await?;
        self.unseal(id, &sealed)
    }

    /// The members the caller may see, by id, erased ones too.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a bad page.
    pub async fn list_members(&self, caller: Caller, page: PageRequest) -> Result<Page<Member>, Error> {
        let read = self.store.read(move |tx| {
            if caller.sees_all {
                let rows = tx.scan(&MEMBERS, &page.scan(Scan::all())?)?;
                return Ok(page.page(rows)?.map(|(_, member)| member));
            }
            let rows = tx.scan(&MEMBERS_OF_PARTNER, &page.scan(Scan::prefix(&caller.partner))?)?;
            let rows = page.page(rows)?;
            let ids: Vec<MemberId> = rows.rows.iter().map(|((_, id), ())| *id).collect();
            Ok::<_, Error>(Page { rows: tx.get_many(&MEMBERS, &ids)?.into_iter().flatten().collect(), next: rows.next })
        });
        read.await
    }

    /// Changes a member's personal data: what is absent stays, what is null goes.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for every wrong field, [`Error::Unknown`], [`Error::Erased`], [`Error::Stale`] if `if_match`
    /// is not the member's revision, [`Error::Busy`] if the profile keeps changing under the change.
    pub async fn update_member(
        &self,
        caller: Caller,
        once: Idempotency,
        id: MemberId,
        if_match: Option<Revision>,
        change: ProfileChange,
    ) -> Result<Done<Member>, Error> {
        let now = self.clock.now();
        let mut checks = Checks::default();
        profile::check_change(&mut checks, &change, self.today(now));
        checks.finish()?;
        if let Some(done) = once.before(&self.store).await? {
            return Ok(done);
        }
        for _ in 0..UPDATE_TRIES {
            let (_, before) = self.sealed_profile(caller, id).await?;
            let mut profile = self.unseal(id, &before)?;
            let born = profile.birthday;
            change.clone().apply(&mut profile);
            let mut checks = Checks::default();
            profile::check_verified(&mut checks, &profile, change.phone_verified);
            checks.finish()?;
            let verified = self.verified_phone(&profile, change.phone_verified);
            let birthday = (profile.birthday != born).then_some(profile.birthday);
            let after = self.seal(id, &profile)?;
            let (held, first_coupon) = (ProfileField::held(&profile), self.ids.ordered(now));
            let (once, change, settings) = (once.clone(), change.clone(), Arc::clone(&self.settings));
            let run = self.store.run(now, move |tx| {
                once.once(tx, |tx| {
                    let mut member = active_member(tx, caller, id)?;
                    check_revision(&member, if_match)?;
                    if tx.get(&PROFILES, &id)?.as_ref() != Some(&before) {
                        return Err(Error::Busy);
                    }
                    tx.put(&PROFILES, &id, &after)?;
                    let zone = member.zone.clone();
                    change.clone().apply_open(&mut member);
                    zones::moved(tx, &member, zone.as_deref(), now, &settings)?;
                    if let Some(birthday) = birthday {
                        occasions::set_birthday(tx, id, birthday, now, &settings)?;
                    }
                    let issued = coupons::issue_for_profile(tx, &member, &held, first_coupon, now, &settings)?;
                    let referred = referrals::verified(tx, id, verified.as_ref(), now)?;
                    put_moved(tx, &mut member)?;
                    events::append(tx, id, [What::Updated].into_iter().chain(issued).chain(referred))?;
                    Ok(member)
                })
            });
            match run.await {
                Err(Error::Busy) => {}
                done => return done,
            }
        }
        Err(Error::Busy)
    }

    /// Erases a member: destroys the profile key, then removes the sealed profile and the external id. Points and
    /// orders keep the pseudonym. Erasing an erased member changes nothing.
    ///
    /// The key goes first: if the machine stops in between, the data is beyond reach already and a retry does the
    /// rest; the other way round a member would be called erased whose profile can still be read.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], and [`Error::Vault`] if the key cannot be destroyed.
    pub async fn erase_member(&self, caller: Caller, once: Idempotency, id: MemberId) -> Result<Done<Member>, Error> {
        let now = self.clock.now();
        if let Some(done) = once.before(&self.store).await? {
            return Ok(done);
        }
        let _: Member = self.store.read(move |tx| visible_member(tx, caller, id)).await?;
        self.destroy_key(id, KeyClass::Profile, now).await?;
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                let member = visible_member(tx, caller, id)?;
                erase(tx, member, now)
            })
        });
        run.await
    }

    /// The hash of a phone that was verified.
    fn verified_phone(&self, profile: &Profile, verified: bool) -> Option<AddressHash> {
        profile.phone.as_deref().filter(|_| verified).map(|phone| self.phone_hash(phone))
    }

    fn today(&self, now: Timestamp) -> jiff::civil::Date {
        now.to_zoned(self.settings.zone.clone()).date()
    }

    /// A member who joins now, with the lowest tier of the live rule.
    fn new_member(&self, partner: PartnerId, external_id: Option<ExternalId>, now: Timestamp) -> Result<Member, Error> {
        let (code, release) = self.lowest_tier()?;
        Ok(Member {
            id: self.ids.unordered(),
            partner,
            external_id,
            registered_at: now,
            state: MemberState::Active,
            revision: Revision::FIRST,
            tier: HeldTier { code, release, since: now, cause: TierCause::Registered, kept: None },
            self_patient: self.ids.unordered(),
            lifetime_net_spend: Money::ZERO,
            lifetime_paid_orders: 0,
            zone: None,
            language: None,
        })
    }

    /// The member and their sealed profile, of one moment.
    async fn sealed_profile(&self, caller: Caller, id: MemberId) -> Result<(Member, Vec<u8>), Error> {
        let read = self.store.read(move |tx| {
            let member = active_member(tx, caller, id)?;
            let sealed = tx.get(&PROFILES, &id)?.ok_or(StoreError::Corrupt {
                table: PROFILES.name(),
                reason: format!("{id} is active and has no profile").into(),
            })?;
            Ok((member, sealed))
        });
        read.await
    }

    /// Returns when the key is gone from the disk.
    pub(super) async fn destroy_key(&self, id: MemberId, class: KeyClass, now: Timestamp) -> Result<(), Error> {
        let vault = Arc::clone(&self.vault);
        let task = tokio::task::spawn_blocking(move || vault.destroy(id, class, now));
        Ok(task
            .await
            .map_err(|stopped| Error::Io { what: "destroy a key", source: std::io::Error::other(stopped) })??)
    }

    fn seal(&self, id: MemberId, profile: &Profile) -> Result<Vec<u8>, Error> {
        let plain = minicbor::to_vec(profile)
            .map_err(|error| StoreError::Encode { table: PROFILES.name(), reason: error.to_string().into() })?;
        let sealed = self.vault.seal(id, KeyClass::Profile, PROFILES.name().as_bytes(), &plain, self.ids.bytes());
        sealed.map_err(destroyed_is_erased)
    }

    pub(super) fn unseal(&self, id: MemberId, sealed: &[u8]) -> Result<Profile, Error> {
        let plain =
            self.vault.open(id, KeyClass::Profile, PROFILES.name().as_bytes(), sealed).map_err(destroyed_is_erased)?;
        minicbor::decode(&plain).map_err(|error| {
            Error::Store(StoreError::Corrupt { table: PROFILES.name(), reason: error.to_string().into() })
        })
    }
}

/// Between the destruction of a key and the commit of the erasure the member still looks active.
pub(super) fn destroyed_is_erased(error: VaultError) -> Error {
    match error {
        VaultError::Erased => Error::Erased,
        other => Error::Vault(other),
    }
}

fn external_id_is_free(tx: &mut Tx<'_>, member: &Member) -> Result<(), Error> {
    let Some(external_id) = &member.external_id else { return Ok(()) };
    match tx.get(&MEMBERS_BY_EXTERNAL_ID, &(member.partner, external_id.as_str().to_owned()))? {
        None => Ok(()),
        Some(holder) => Err(Error::Taken { what: "member", name: external_id.clone(), id: holder.to_string() }),
    }
}

/// Everything that a registration writes.
struct Joins {
    member: Member,
    sealed: Vec<u8>,
    birthday: Option<Date>,
    /// What the profile holds.
    held: Vec<ProfileField>,
    /// The id of the first coupon that joining brings.
    first_coupon: CouponId,
    settings: Arc<Settings>,
    referred_by: Option<MemberId>,
    /// The hash of the phone, if it was verified.
    verified: Option<AddressHash>,
}

fn register(tx: &mut Tx<'_>, joins: &Joins) -> Result<Member, Error> {
    let Joins { member, sealed, birthday, held, first_coupon, settings, referred_by, verified } = joins;
    let now = member.registered_at;
    external_id_is_free(tx, member)?;
    if let Some(external_id) = &member.external_id {
        tx.put(&MEMBERS_BY_EXTERNAL_ID, &(member.partner, external_id.as_str().to_owned()), &member.id)?;
    }
    let patient = Patient { id: member.self_patient, member: member.id, relation: Relation::Itself };
    tx.put(&MEMBERS, &member.id, member)?;
    tx.put(&MEMBERS_OF_PARTNER, &(member.partner, member.id), &())?;
    tx.put(&PATIENTS, &(member.id, patient.id), &patient)?;
    tx.put(&PROFILES, &member.id, sealed)?;
    occasions::set_birthday(tx, member.id, *birthday, now, settings)?;
    occasions::set_anniversary(tx, member, now, settings)?;
    zones::joined(tx, member, settings)?;
    let issued = coupons::issue_triggered(tx, member, Trigger::Registration, *first_coupon, now, settings)?;
    // Behind the ids that joining may have used.
    let next = CouponId::from_bits(first_coupon.to_bits().wrapping_add(offers::TRIGGERED_MAX as u128));
    let completed = coupons::issue_for_profile(tx, member, held, next, now, settings)?;
    if let Some(by) = referred_by {
        referrals::joined(tx, member, *by, now)?;
    }
    let referred = referrals::verified(tx, member.id, verified.as_ref(), now)?;
    events::append(tx, member.id, [What::Registered].into_iter().chain(issued).chain(completed).chain(referred))?;
    Ok(member.clone())
}

/// Removes what the destroyed key sealed and what names the person. An erased member stays as it is.
fn erase(tx: &mut Tx<'_>, mut member: Member, now: Timestamp) -> Result<Member, Error> {
    if member.state == MemberState::Erased {
        return Ok(member);
    }
    tx.delete(&PROFILES, &member.id)?;
    occasions::forget(tx, member.id)?;
    refills::forget(tx, member.id)?;
    if let Some(external_id) = member.external_id.take() {
        tx.delete(&MEMBERS_BY_EXTERNAL_ID, &(member.partner, external_id.as_str().to_owned()))?;
    }
    tx.put(&ERASED_MEMBERS, &(now, member.id), &())?;
    member.state = MemberState::Erased;
    put_moved(tx, &mut member)?;
    events::append(tx, member.id, [What::Erased])?;
    Ok(member)
}

/// Does again what a journal of erasures says, in a store and vault that were restored from an older backup; how many
/// members were erased by it. Members that the backup does not know are passed over.
///
/// # Errors
///
/// Those of the store and the vault.
pub async fn reapply_erasures(store: &Store, vault: &Vault, erasures: &[Erasure]) -> Result<u64, Error> {
    let mut erased = 0;
    for erasure in erasures {
        match vault.destroy(erasure.member, erasure.class, erasure.at) {
            Ok(()) | Err(VaultError::Unknown) => {}
            Err(error) => return Err(error.into()),
        }
        if erasure.class != KeyClass::Profile {
            continue;
        }
        let (id, at) = (erasure.member, erasure.at);
        let run = store.run(at, move |tx| match tx.get(&MEMBERS, &id)? {
            Some(member) if member.state == MemberState::Active => erase(tx, member, at).map(|_| 1),
            _ => Ok::<u64, Error>(0),
        });
        erased += run.await?;
    }
    Ok(erased)
}

/// The member, whatever their state, if the caller may see them.
pub(super) fn visible_member(tx: &mut Tx<'_>, caller: Caller, id: MemberId) -> Result<Member, Error> {
    let member = tx.get(&MEMBERS, &id)?.filter(|member| caller.sees(member.partner));
    member.ok_or_else(|| Error::unknown("member", id))
}

/// The member, if the caller may see them and they take part.
pub(super) fn active_member(tx: &mut Tx<'_>, caller: Caller, id: MemberId) -> Result<Member, Error> {
    let member = visible_member(tx, caller, id)?;
    if member.state == MemberState::Erased { Err(Error::Erased) } else { Ok(member) }
}

/// Writes a member with the next revision, as every write to a member must.
pub(super) fn put_moved(tx: &mut Tx<'_>, member: &mut Member) -> Result<(), StoreError> {
    member.revision = member.revision.next();
    tx.put(&MEMBERS, &member.id, member)
}

fn check_revision(member: &Member, if_match: Option<Revision>) -> Result<(), Error> {
    match if_match {
        Some(revision) if revision != member.revision => Err(Error::Stale { current: member.revision }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;

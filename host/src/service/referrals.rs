//! Referrals: who brought whom, and whether that counts (R8).
//!
//! A referral succeeds when the one who was referred verifies a phone that nobody ever verified before. Phones are known by
//! a keyed hash, which outlives the member: who is erased and joins again is no new member. What success brings is for
//! offers to say, which the events `referral-succeeded` and `referred` issue.

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{
    Caller, Error, Page, PageRequest, Services,
    members::active_member,
    tables::{MEMBERS, PHONES_SEEN, REFERRALS, REFERRALS_OF_MEMBER},
};
use crate::{
    domain::{
        channel::AddressKind,
        member::{Member, MemberState},
    },
    events::{self, What},
    ids::MemberId,
    reach::secrets::AddressHash,
    store::{Scan, StoreError, Tx},
};

/// What became of a referral.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum ReferralState {
    /// No phone was verified yet.
    #[n(0)]
    Waiting,
    /// A phone was verified that was never seen before.
    #[n(1)]
    Succeeded,
    /// The phone that was verified had been seen before.
    #[n(2)]
    PhoneSeen,
}

/// A referral of one member by another.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Referral {
    /// Who was referred.
    #[n(0)]
    pub member: MemberId,
    /// By whom.
    #[n(1)]
    pub by: MemberId,
    /// When they joined.
    #[cbor(n(2), with = "crate::domain::cbor::instant")]
    pub at: Timestamp,
    /// What became of it.
    #[n(3)]
    pub state: ReferralState,
    /// When that was decided.
    #[cbor(n(4), with = "crate::domain::cbor::maybe_instant")]
    pub decided_at: Option<Timestamp>,
}

impl Services {
    /// Whom a member referred, by id.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Erased`], [`Error::Invalid`] for a bad page.
    pub async fn referrals(&self, caller: Caller, by: MemberId, page: PageRequest) -> Result<Page<Referral>, Error> {
        let read = self.store.read(move |tx| {
            active_member(tx, caller, by)?;
            let page = page.page(tx.scan(&REFERRALS_OF_MEMBER, &page.scan(Scan::prefix(&by))?)?)?;
            let ids: Vec<MemberId> = page.rows.iter().map(|((_, member), ())| *member).collect();
            let rows = tx.get_many(&REFERRALS, &ids)?.into_iter().flatten().collect();
            Ok(Page { rows, next: page.next })
        });
        read.await
    }

    /// The keyed hash of a phone that was verified.
    pub(super) fn phone_hash(&self, phone: &str) -> AddressHash {
        self.reach.secrets.address(AddressKind::Phone, phone)
    }
}

/// Notes by whom a member who joins was referred.
///
/// # Errors
///
/// [`Error::Invalid`] if the caller knows no such member.
pub(super) fn joined(tx: &mut Tx<'_>, member: &Member, by: MemberId, now: Timestamp) -> Result<(), Error> {
    let known = tx.get(&MEMBERS, &by)?;
    if known.is_none_or(|known| known.partner != member.partner || known.state != MemberState::Active) {
        return Err(Error::field("/referred_by", "is no member of yours who takes part: leave it out"));
    }
    let referral = Referral { member: member.id, by, at: now, state: ReferralState::Waiting, decided_at: None };
    tx.put(&REFERRALS, &member.id, &referral)?;
    Ok(tx.put(&REFERRALS_OF_MEMBER, &(by, member.id), &())?)
}

/// A member verified a phone, if one is given: it counts as seen from now on, and decides a referral that waits. What
/// happened to the member, for the caller to append.
///
/// # Errors
///
/// Those of the store.
pub(super) fn verified(
    tx: &mut Tx<'_>,
    member: MemberId,
    phone: Option<&AddressHash>,
    now: Timestamp,
) -> Result<Option<What>, StoreError> {
    let Some(phone) = phone else { return Ok(None) };
    let seen = tx.get(&PHONES_SEEN, phone)?.is_some();
    if !seen {
        tx.put(&PHONES_SEEN, phone, &member)?;
    }
    let waiting = tx.get(&REFERRALS, &member)?.filter(|referral| referral.state == ReferralState::Waiting);
    let Some(referral) = waiting else { return Ok(None) };
    let by = referral.by;
    let state = if seen { ReferralState::PhoneSeen } else { ReferralState::Succeeded };
    tx.put(&REFERRALS, &member, &Referral { state, decided_at: Some(now), ..referral })?;
    if seen {
        return Ok(None);
    }
    if tx.get(&MEMBERS, &by)?.is_some_and(|by| by.state == MemberState::Active) {
        events::append(tx, by, [What::ReferralSucceeded(member)])?;
    }
    Ok(Some(What::Referred(by)))
}

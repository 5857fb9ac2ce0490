//! Members, their tiers, what was written to them and what they want.

use std::sync::Arc;

use super::{Problems, ReferencesReport, each, must_be, must_have, readable};
use crate::{
    domain::member::{Member, MemberState},
    members::vault::{KeyClass, Vault},
    reach::tables as reach,
    service::{
        tables::{
            COUPONS, DAY_TOTALS, ERASED_MEMBERS, MEMBERS, MEMBERS_BY_EXTERNAL_ID, MEMBERS_OF_PARTNER, OFFERS, ORDERS,
            PARTNERS, PATIENTS, PHONES_SEEN, PRODUCTS, PROFILES, REFERRALS, REFERRALS_OF_MEMBER, SUPPLIES, TIER_GIFTS,
            TIER_PROGRAMMES, TIER_TOLD,
        },
        tiers::GiftState,
    },
    store::{Store, StoreError, Tx},
};

pub(super) async fn members(
    store: &Store,
    vault: Option<Arc<Vault>>,
    report: &mut ReferencesReport,
) -> Result<(), StoreError> {
    each(store, report, MEMBERS, move |tx, id, member, problems| {
        member_refers(tx, member, problems)?;
        // A key may be destroyed a moment before its member is erased: only one that never was is wrong.
        if let Some(vault) = &vault
            && member.state == MemberState::Active
            && !vault.knows(*id, KeyClass::Profile)
        {
            problems.push(format!("{id} is active and has no key in the vault"));
        }
        Ok(())
    })
    .await?;
    each(store, report, MEMBERS_BY_EXTERNAL_ID, |tx, (partner, name), id, problems| {
        let member = tx.get(&MEMBERS, id)?.filter(|member| member.partner == *partner);
        if member.and_then(|member| member.external_id).is_none_or(|known| known.as_str() != name) {
            problems.push(format!("{id} does not have the external id that stands there"));
        }
        Ok(())
    })
    .await?;
    each(store, report, MEMBERS_OF_PARTNER, |tx, (_, id), (), problems| must_have(tx, &MEMBERS, id, id, problems))
        .await?;
    each(store, report, ERASED_MEMBERS, |tx, (_, member), (), problems| {
        must_have(tx, &MEMBERS, member, member, problems)
    })
    .await?;
    each(store, report, SUPPLIES, |tx, (member, patient, product), _, problems| {
        must_have(tx, &PATIENTS, &(*member, *patient), member, problems)?;
        must_have(tx, &PRODUCTS, product, member, problems)
    })
    .await?;
    each(store, report, PHONES_SEEN, |tx, _, member, problems| must_have(tx, &MEMBERS, member, member, problems))
        .await?;
    each(store, report, REFERRALS, |tx, member, referral, problems| {
        must_have(tx, &MEMBERS, member, member, problems)?;
        must_have(tx, &REFERRALS_OF_MEMBER, &(referral.by, *member), member, problems)
    })
    .await?;
    each(store, report, REFERRALS_OF_MEMBER, |tx, (by, member), (), problems| {
        must_have(tx, &MEMBERS, by, by, problems)?;
        must_have(tx, &REFERRALS, member, member, problems)
    })
    .await?;
    each(store, report, PROFILES, |tx, id, _, problems| must_have(tx, &MEMBERS, id, id, problems)).await?;
    each(store, report, PATIENTS, |tx, (member, id), _, problems| must_have(tx, &MEMBERS, member, id, problems))
        .await?;
    each(store, report, DAY_TOTALS, |tx, (member, _), _, problems| must_have(tx, &MEMBERS, member, member, problems))
        .await
}

fn member_refers(tx: &mut Tx<'_>, member: &Member, problems: &mut Problems) -> Result<(), StoreError> {
    let id = member.id;
    must_have(tx, &PARTNERS, &member.partner, id, problems)?;
    must_have(tx, &MEMBERS_OF_PARTNER, &(member.partner, id), id, problems)?;
    must_have(tx, &PATIENTS, &(id, member.self_patient), id, problems)?;
    if let Some(name) = &member.external_id {
        let key = (member.partner, name.as_str().to_owned());
        must_be(tx, &MEMBERS_BY_EXTERNAL_ID, &key, &id, id, problems)?;
    }
    let profile = tx.get(&PROFILES, &id)?.is_some();
    if profile != (member.state == MemberState::Active) {
        problems.push(format!(
            "{id} is {:?}, and a profile is {}there",
            member.state,
            if profile { "" } else { "not " }
        ));
    }
    Ok(())
}

/// The programme of tiers, and what members were told and given by it.
pub(super) async fn tiers(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, TIER_PROGRAMMES, |tx, version, row, problems| {
        let programme = &row.programme;
        if programme.version.get() != *version {
            problems.push(format!("version {version} calls itself {}", programme.version.get()));
        }
        let named = programme.tiers.iter().flat_map(|tier| tier.gift_offers.iter().chain(&tier.entitlements));
        let who = format!("version {version}");
        named.chain(&programme.renewal_offers).try_for_each(|id| must_have(tx, &OFFERS, id, &who, problems))
    })
    .await?;
    each(store, report, TIER_TOLD, |tx, (member, _), _, problems| must_have(tx, &MEMBERS, member, member, problems))
        .await?;
    each(store, report, TIER_GIFTS, |tx, (member, ..), gift, problems| {
        must_have(tx, &MEMBERS, member, member, problems)?;
        match &gift.state {
            GiftState::Waiting { order: Some(order) } => must_have(tx, &ORDERS, order, member, problems),
            GiftState::Given { coupons, .. } => {
                coupons.iter().try_for_each(|id| must_have(tx, &COUPONS, id, member, problems))
            }
            GiftState::Waiting { order: None } | GiftState::Lapsed => Ok(()),
        }
    })
    .await
}

/// Touches, and what points at them.
pub(super) async fn touches(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, reach::TOUCHES, |tx, id, touch, problems| {
        must_have(tx, &MEMBERS, &touch.member, id, problems)?;
        must_have(tx, &reach::TOUCHES_OF_MEMBER, &(touch.member, *id), id, problems)?;
        let key = (touch.member, touch.template.clone(), touch.dedupe.clone());
        must_be(tx, &reach::TOUCH_KEYS, &key, id, id, problems)
    })
    .await?;
    each(store, report, reach::TOUCHES_OF_MEMBER, |tx, (_, id), (), problems| {
        must_have(tx, &reach::TOUCHES, id, id, problems)
    })
    .await?;
    each(store, report, reach::QUEUE, |tx, (_, due, id), (), problems| {
        let queued = tx.get(&reach::TOUCHES, id)?.and_then(|touch| touch.queued);
        if queued != Some(*due) {
            problems.push(format!("{id} does not wait for the time that stands there"));
        }
        Ok(())
    })
    .await?;
    each(store, report, reach::STUCK, |tx, id, (), problems| must_have(tx, &reach::TOUCHES, id, id, problems)).await?;
    each(store, report, reach::CONTENTS, |tx, id, _, problems| must_have(tx, &reach::TOUCHES, id, id, problems))
        .await?;
    each(store, report, reach::TOUCH_KEYS, |tx, _, id, problems| must_have(tx, &reach::TOUCHES, id, id, problems))
        .await?;
    each(store, report, reach::PROVIDER_IDS, |tx, _, id, problems| must_have(tx, &reach::TOUCHES, id, id, problems))
        .await?;
    each(store, report, reach::LAST_TO_ADDRESS, |tx, _, id, problems| must_have(tx, &reach::TOUCHES, id, id, problems))
        .await?;
    readable(store, report, reach::DAYS).await?;
    readable(store, report, reach::TOTALS).await
}

/// What members want, and what may be written to them.
pub(super) async fn consents(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, reach::CONSENTS, |tx, (member, ..), _, problems| {
        must_have(tx, &MEMBERS, member, member, problems)
    })
    .await?;
    readable(store, report, reach::CONSENT_VERSIONS).await?;
    readable(store, report, reach::SUPPRESSED_ADDRESSES).await?;
    readable(store, report, reach::SUPPRESSED_MEMBERS).await?;
    readable(store, report, reach::TEMPLATES).await?;
    each(store, report, reach::HEADS, |tx, (code, ..), _, problems| {
        must_have(tx, &reach::TEMPLATES, code, code, problems)
    })
    .await?;
    readable(store, report, reach::VARIANTS).await
}

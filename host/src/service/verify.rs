//! Whether every row can be read and refers to what is there: indexes to their rows, rows to their indexes, timers and
//! events to members and orders, active members to their keys.
//!
//! Every row is looked at together with what it refers to, in one read, so orders may flow meanwhile. What is wrong is a
//! finding, not an error. The ledger has a verifier of its own.

use std::sync::Arc;

use super::tables::{
    ACTIVE_RELEASES, AUTOMATIC_OFFERS, BONUSES, BONUSES_GIVEN, CODE_BATCHES, CODES, COUPONS, COUPONS_BY_EXTERNAL_ID,
    COUPONS_ISSUED, COUPONS_OF_MEMBER, DAY_TOTALS, GUESSES, IDEMPOTENCY, KEYS, KEYS_BY_ID, MEMBERS,
    MEMBERS_BY_EXTERNAL_ID, MEMBERS_OF_PARTNER, MODULES, OCCASIONS, OFFERS, OFFERS_BY_CODE, ORDER_PRICES, ORDERS,
    ORDERS_BY_EXTERNAL_ID, ORDERS_OF_MEMBER, PARTNERS, PATIENTS, PLACED_QUOTES, POINTS_NOTICES, PRODUCTS,
    PRODUCTS_BY_EXTERNAL_ID, PROFILES, QUOTES, RELEASES, RESERVATIONS, REVOCATIONS, TIER_DIGESTS, TRIGGERED_OFFERS,
};
use super::tables::{
    ACTIVITIES, ACTIVITIES_BY_EXTERNAL_ID, ACTIVITIES_OF_MEMBER, ACTIVITY_DAYS, GIFTS, GIFTS_BY_CODE, MONEY,
    OPEN_REFUNDS_DUE, PAPERS, PAYMENTS, PRESCRIPTIONS, PRESCRIPTIONS_BY_EXTERNAL_ID, PRESCRIPTIONS_OF_PATIENT,
    REDEMPTIONS, REDEMPTIONS_OF_MEMBER, REFUNDS_DUE, REPRICED_BELOW, REVIEW_QUEUE, SERVICE_CODES, TAKEN_OVER,
};
use super::tables::{TIER_GIFTS, TIER_PROGRAMMES, TIER_TOLD};
use super::tiers::GiftState;
use crate::{
    domain::{
        member::{Member, MemberState},
        offer::CouponState,
        prescription::PrescriptionState,
    },
    events::{self, CURSORS, EVENTS},
    ids::{ActivityId, CouponId, Id as _, MemberId, OfferId, OrderId, PrescriptionId, RedemptionId},
    ledger::tables::{BALANCES, COUNTERS, ENTRIES, LOTS, OFFER_TAKEN, PENDING_LOTS, TOTALS},
    members::vault::{KeyClass, Vault},
    plugin::ModuleDigest,
    reach::tables as reach,
    recommend,
    scheduler::{
        DEAD_TIMERS, TIMERS, TimerKey, TimerKind,
        jobs::JOBS,
        leases::LEASES,
        rounds::{ROUNDS, ROUNDS_DUE},
        schedules::SCHEDULES,
    },
    store::{Key, Record, Scan, Store, StoreError, Table, Tx},
};

/// Rows looked at in one read.
const PAGE: usize = 100;
/// Problems listed before the rest is only counted.
const PROBLEMS_LISTED: usize = 100;

/// What the rows say of each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferencesReport {
    /// Tables read.
    pub tables: u64,
    /// Rows read.
    pub rows: u64,
    /// How many things are wrong.
    pub problem_count: u64,
    /// The first hundred of them, in words.
    pub problems: Vec<String>,
}

impl ReferencesReport {
    /// Whether everything refers to what is there.
    pub fn is_sound(&self) -> bool {
        self.problem_count == 0
    }

    fn problem(&mut self, what: String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_LISTED {
            self.problems.push(what);
        }
    }
}

/// What is wrong with a row, in words without personal data.
type Problems = Vec<String>;

/// Looks at every row. Without a vault, keys of members are not looked for.
///
/// # Errors
///
/// Those of the store; a row that cannot be read is a finding.
pub async fn references(store: &Store, vault: Option<&Arc<Vault>>) -> Result<ReferencesReport, StoreError> {
    let mut report = ReferencesReport::default();
    members(store, vault.cloned(), &mut report).await?;
    catalogue(store, &mut report).await?;
    coupons(store, &mut report).await?;
    tiers(store, &mut report).await?;
    orders(store, &mut report).await?;
    prescriptions(store, &mut report).await?;
    deployment(store, &mut report).await?;
    books(store, &mut report).await?;
    activities(store, &mut report).await?;
    gifts(store, &mut report).await?;
    time(store, &mut report).await?;
    touches(store, &mut report).await?;
    consents(store, &mut report).await?;
    Ok(report)
}

/// Looks whether the bytes of every admitted module lie in `dir`; what is wrong, in words.
///
/// # Errors
///
/// Those of the store.
pub async fn modules(store: &Store, dir: &std::path::Path) -> Result<Vec<String>, StoreError> {
    let mut problems = Vec::new();
    let read = store.for_each::<_, _, StoreError>(MODULES, |_, row| {
        let digest = row.value.digest;
        let path = dir.join(format!("{digest}.wasm"));
        if !std::fs::read(&path).is_ok_and(|bytes| ModuleDigest::of(&bytes) == digest) {
            problems.push(format!("{} is missing or damaged: push the module again", path.display()));
        }
        Ok(())
    });
    read.await?;
    Ok(problems)
}

/// Reads a table page by page and hands each row to `check`, together with the transaction that read it.
async fn each<K, V, F>(
    store: &Store,
    report: &mut ReferencesReport,
    table: Table<K, V>,
    check: F,
) -> Result<(), StoreError>
where
    K: Key + Clone + Sync,
    V: Record + Send,
    F: Fn(&mut Tx<'_>, &K, &V, &mut Problems) -> Result<(), StoreError> + Clone + Send + 'static,
{
    report.tables += 1;
    let mut last: Option<K> = None;
    loop {
        let (cursor, check) = (last.clone(), check.clone());
        let page = store.read(move |tx| {
            let scan = Scan::all().limit(PAGE);
            let scan = if let Some(last) = &cursor { scan.after(last) } else { scan };
            let rows = tx.scan(&table, &scan)?;
            let mut problems = Problems::new();
            for (key, value) in &rows {
                check(tx, key, value, &mut problems)?;
            }
            Ok((rows.len(), rows.last().map(|(key, _)| key.clone()), problems))
        });
        let (rows, next, problems) = match page.await {
            Ok(page) => page,
            // Where to go on behind such a row is not known.
            Err(error @ StoreError::Corrupt { .. }) => {
                report.problem(format!("{}: {error}; rows behind it were not read", table.name()));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        report.rows += rows as u64;
        problems.into_iter().for_each(|problem| report.problem(format!("{}: {problem}", table.name())));
        if rows < PAGE {
            return Ok(());
        }
        last = next;
    }
}

/// For tables whose rows refer to nothing: that they can be read.
async fn readable<K, V>(store: &Store, report: &mut ReferencesReport, table: Table<K, V>) -> Result<(), StoreError>
where
    K: Key + Clone + Sync,
    V: Record + Send,
{
    each(store, report, table, |_, _, _, _| Ok(())).await
}

/// Notes it if nothing is at `key`.
fn must_have<K: Key, V: Record>(
    tx: &mut Tx<'_>,
    table: &Table<K, V>,
    key: &K,
    who: impl std::fmt::Display,
    problems: &mut Problems,
) -> Result<(), StoreError> {
    if tx.get(table, key)?.is_none() {
        problems.push(format!("{who} has nothing in {}", table.name()));
    }
    Ok(())
}

/// Notes it if what is at `key` is not `value`.
fn must_be<K: Key, V: Record + PartialEq>(
    tx: &mut Tx<'_>,
    table: &Table<K, V>,
    key: &K,
    value: &V,
    who: impl std::fmt::Display,
    problems: &mut Problems,
) -> Result<(), StoreError> {
    if tx.get(table, key)?.as_ref() != Some(value) {
        problems.push(format!("{who} is not what {} says", table.name()));
    }
    Ok(())
}

async fn members(store: &Store, vault: Option<Arc<Vault>>, report: &mut ReferencesReport) -> Result<(), StoreError> {
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

async fn catalogue(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, PRODUCTS, |tx, id, product, problems| {
        let key = (product.partner, product.external_id.as_str().to_owned());
        must_be(tx, &PRODUCTS_BY_EXTERNAL_ID, &key, id, id, problems)
    })
    .await?;
    each(store, report, PRODUCTS_BY_EXTERNAL_ID, |tx, _, id, problems| must_have(tx, &PRODUCTS, id, id, problems))
        .await?;
    each(store, report, OFFERS, |tx, id, offer, problems| {
        must_be(tx, &OFFERS_BY_CODE, &offer.code.as_str().to_owned(), id, id, problems)
    })
    .await?;
    each(store, report, OFFERS_BY_CODE, |tx, _, id, problems| must_have(tx, &OFFERS, id, id, problems)).await?;
    each(store, report, TRIGGERED_OFFERS, |tx, (_, id), (), problems| must_have(tx, &OFFERS, id, id, problems)).await?;
    each(store, report, AUTOMATIC_OFFERS, |tx, id, (), problems| must_have(tx, &OFFERS, id, id, problems)).await
}

async fn coupons(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, COUPONS, |tx, id, coupon, problems| {
        must_have(tx, &OFFERS, &coupon.offer, id, problems)?;
        must_have(tx, &MEMBERS, &coupon.member, id, problems)?;
        let in_hand = coupon.state == CouponState::Issued;
        must_have(tx, &COUPONS_OF_MEMBER, &(coupon.member, in_hand, *id), id, problems)?;
        if tx.get(&COUPONS_OF_MEMBER, &(coupon.member, !in_hand, *id))?.is_some() {
            problems.push(format!("{id} is both in hand and not"));
        }
        match &coupon.external_id {
            Some(name) => {
                let key = (coupon.partner, name.as_str().to_owned());
                must_be(tx, &COUPONS_BY_EXTERNAL_ID, &key, id, id, problems)
            }
            None => Ok(()),
        }
    })
    .await?;
    each(store, report, COUPONS_OF_MEMBER, |tx, (_, _, id), (), problems| must_have(tx, &COUPONS, id, id, problems))
        .await?;
    each(store, report, COUPONS_BY_EXTERNAL_ID, |tx, _, id, problems| must_have(tx, &COUPONS, id, id, problems))
        .await?;
    each(store, report, REVOCATIONS, |tx, offer, _, problems| must_have(tx, &OFFERS, offer, offer, problems)).await?;
    each(store, report, CODES, |tx, _, code, problems| {
        must_have(tx, &CODE_BATCHES, &(code.offer, code.batch), format_args!("a code of {}", code.offer), problems)
    })
    .await?;
    each(store, report, CODE_BATCHES, |tx, (offer, _), _, problems| must_have(tx, &OFFERS, offer, offer, problems))
        .await?;
    readable(store, report, GUESSES).await?;
    readable(store, report, BONUSES).await?;
    each(store, report, BONUSES_GIVEN, |tx, (member, _, _), _, problems| {
        must_have(tx, &MEMBERS, member, member, problems)
    })
    .await?;
    each(store, report, COUPONS_ISSUED, |tx, (offer, member), _, problems| {
        must_have(tx, &OFFERS, offer, offer, problems)?;
        must_have(tx, &MEMBERS, member, member, problems)
    })
    .await
}

/// The programme of tiers, and what members were told and given by it.
async fn tiers(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
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

async fn orders(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, ORDERS, |tx, id, order, problems| {
        must_have(tx, &MEMBERS, &order.member, id, problems)?;
        must_have(tx, &ORDERS_OF_MEMBER, &(order.member, *id), id, problems)?;
        must_have(tx, &ORDER_PRICES, id, id, problems)?;
        if let Some(prescription) = &order.prescription_id {
            must_have(tx, &PRESCRIPTIONS, prescription, id, problems)?;
        }
        match &order.external_id {
            Some(name) => {
                let key = (order.partner, name.as_str().to_owned());
                must_be(tx, &ORDERS_BY_EXTERNAL_ID, &key, id, id, problems)
            }
            None => Ok(()),
        }
    })
    .await?;
    each(store, report, ORDERS_OF_MEMBER, |tx, (_, id), (), problems| must_have(tx, &ORDERS, id, id, problems)).await?;
    each(store, report, ORDERS_BY_EXTERNAL_ID, |tx, _, id, problems| must_have(tx, &ORDERS, id, id, problems)).await?;
    each(store, report, ORDER_PRICES, |tx, id, _, problems| must_have(tx, &ORDERS, id, id, problems)).await?;
    each(store, report, PAYMENTS, |tx, _, seen, problems| {
        must_have(tx, &ORDERS, &seen.order, seen.order, problems)?;
        match &seen.late {
            Some(late) => must_have(tx, &REFUNDS_DUE, late, seen.order, problems),
            None => Ok(()),
        }
    })
    .await?;
    each(store, report, REFUNDS_DUE, |tx, id, due, problems| {
        must_have(tx, &PAYMENTS, &(due.partner, due.reference.as_str().to_owned()), id, problems)?;
        if tx.get(&OPEN_REFUNDS_DUE, id)?.is_some() == due.done.is_some() {
            problems.push(format!("{id} is both open and done, or neither"));
        }
        must_have(tx, &ORDERS, &due.order, id, problems)
    })
    .await?;
    each(store, report, OPEN_REFUNDS_DUE, |tx, id, (), problems| must_have(tx, &REFUNDS_DUE, id, id, problems)).await?;
    each(store, report, MONEY, |tx, _, row, problems| must_have(tx, &ORDERS, &row.order, row.order, problems)).await?;
    each(store, report, REPRICED_BELOW, |tx, id, _, problems| must_have(tx, &OFFERS, id, id, problems)).await?;
    readable(store, report, QUOTES).await?;
    each(store, report, PLACED_QUOTES, |tx, _, id, problems| must_have(tx, &ORDERS, id, id, problems)).await
}

/// Prescriptions, and what points at them.
async fn prescriptions(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, PRESCRIPTIONS, |tx, id, found, problems| {
        must_have(tx, &PATIENTS, &(found.member, found.patient), id, problems)?;
        must_have(tx, &PRESCRIPTIONS_OF_PATIENT, &(found.member, found.patient, *id), id, problems)?;
        let queued = tx.get(&REVIEW_QUEUE, &(!found.urgent, found.due_at, *id))?.is_some();
        if queued != (found.state == PrescriptionState::UnderReview) {
            problems.push(format!(
                "{id} is {:?}, and is {}in the queue",
                found.state,
                if queued { "" } else { "not " }
            ));
        }
        if found.items.iter().any(|item| item.used > item.quantity) {
            problems.push(format!("{id} was used more often than it allows"));
        }
        if let Some(order) = &found.waiting {
            must_have(tx, &ORDERS, order, id, problems)?;
        }
        match &found.external_id {
            Some(name) => {
                let key = (found.partner, name.as_str().to_owned());
                must_be(tx, &PRESCRIPTIONS_BY_EXTERNAL_ID, &key, id, id, problems)
            }
            None => Ok(()),
        }
    })
    .await?;
    each(store, report, PAPERS, |tx, id, _, problems| must_have(tx, &PRESCRIPTIONS, id, id, problems)).await?;
    each(store, report, REVIEW_QUEUE, |tx, (_, _, id), (), problems| must_have(tx, &PRESCRIPTIONS, id, id, problems))
        .await?;
    each(store, report, PRESCRIPTIONS_OF_PATIENT, |tx, (_, _, id), (), problems| {
        must_have(tx, &PRESCRIPTIONS, id, id, problems)
    })
    .await?;
    each(store, report, PRESCRIPTIONS_BY_EXTERNAL_ID, |tx, _, id, problems| {
        must_have(tx, &PRESCRIPTIONS, id, id, problems)
    })
    .await
}

/// What waits, and what happened.
async fn time(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, TIMERS, |tx, key, _, problems| timer_refers(tx, key, problems)).await?;
    each(store, report, DEAD_TIMERS, |tx, key, _, problems| timer_refers(tx, key, problems)).await?;
    each(store, report, EVENTS, |tx, (shard, seq, n), event, problems| {
        if *shard != events::shard(event.member) {
            problems.push(format!("event {seq}/{n} lies in another shard than that of its member"));
        }
        must_have(tx, &MEMBERS, &event.member, format_args!("event {seq}/{n}"), problems)
    })
    .await?;
    each(store, report, OCCASIONS, |tx, (member, _), _, problems| must_have(tx, &MEMBERS, member, member, problems))
        .await?;
    each(store, report, POINTS_NOTICES, |tx, (member, _), (), problems| {
        must_have(tx, &MEMBERS, member, member, problems)
    })
    .await?;
    readable(store, report, CURSORS).await?;
    readable(store, report, LEASES).await?;
    readable(store, report, SCHEDULES).await?;
    readable(store, report, ROUNDS).await?;
    each(store, report, ROUNDS_DUE, |tx, (.., member), (), problems| must_have(tx, &MEMBERS, member, member, problems))
        .await?;
    readable(store, report, JOBS).await?;
    readable(store, report, TIER_DIGESTS).await?;
    readable(store, report, recommend::BASKETS).await?;
    readable(store, report, recommend::PARTNERS).await
}

/// A timer waits for something that is there.
fn timer_refers(tx: &mut Tx<'_>, key: &TimerKey, problems: &mut Problems) -> Result<(), StoreError> {
    let who = format_args!("the timer {:?} at {}", key.kind, key.due).to_string();
    match key.kind {
        TimerKind::UnpaidOrder | TimerKind::ActivatePoints => {
            must_have(tx, &ORDERS, &OrderId::from_bits(key.subject), who, problems)
        }
        TimerKind::RevokeCoupons | TimerKind::MakeCodes => {
            must_have(tx, &OFFERS, &OfferId::from_bits(key.subject), who, problems)
        }
        TimerKind::ActivateActivity => must_have(tx, &ACTIVITIES, &ActivityId::from_bits(key.subject), who, problems),
        TimerKind::GiftHold => must_have(tx, &REDEMPTIONS, &RedemptionId::from_bits(key.subject), who, problems),
        TimerKind::ExpireCoupon | TimerKind::NoticeCoupon => {
            must_have(tx, &COUPONS, &CouponId::from_bits(key.subject), who, problems)
        }
        TimerKind::PrescriptionExpires => {
            must_have(tx, &PRESCRIPTIONS, &PrescriptionId::from_bits(key.subject), who, problems)
        }
        TimerKind::ExpirePoints
        | TimerKind::NoticePoints
        | TimerKind::Birthday
        | TimerKind::Anniversary
        | TimerKind::TierEnds
        | TimerKind::TierNotice
        | TimerKind::TierRenewal
        | TimerKind::TierGift => must_have(tx, &MEMBERS, &MemberId::from_bits(key.subject), who, problems),
    }
}

/// Touches, and what points at them.
async fn touches(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
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
async fn consents(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
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

async fn deployment(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    readable(store, report, PARTNERS).await?;
    readable(store, report, IDEMPOTENCY).await?;
    each(store, report, KEYS, |tx, hash, key, problems| {
        must_have(tx, &PARTNERS, &key.partner, key.id, problems)?;
        must_be(tx, &KEYS_BY_ID, &key.id, hash, key.id, problems)
    })
    .await?;
    each(store, report, KEYS_BY_ID, |tx, id, hash, problems| must_have(tx, &KEYS, hash, id, problems)).await?;
    readable(store, report, MODULES).await?;
    readable(store, report, RELEASES).await?;
    each(store, report, ACTIVE_RELEASES, |tx, slot, active, problems| {
        must_have(tx, &RELEASES, &(slot.clone(), active.number), format_args!("slot {slot}"), problems)
    })
    .await
}

async fn books(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    readable(store, report, BALANCES).await?;
    readable(store, report, ENTRIES).await?;
    readable(store, report, LOTS).await?;
    readable(store, report, PENDING_LOTS).await?;
    each(store, report, OFFER_TAKEN, |tx, (member, offer, _, _), _, problems| {
        must_have(tx, &OFFERS, offer, offer, problems)?;
        must_have(tx, &MEMBERS, member, member, problems)
    })
    .await?;
    each(store, report, RESERVATIONS, |tx, order, _, problems| must_have(tx, &ORDERS, order, order, problems)).await?;
    readable(store, report, COUNTERS).await?;
    readable(store, report, TOTALS).await
}

/// What members did, and how often.
async fn activities(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, ACTIVITIES, |tx, id, activity, problems| {
        must_have(tx, &MEMBERS, &activity.member, id, problems)?;
        must_have(tx, &ACTIVITIES_OF_MEMBER, &(activity.member, *id), id, problems)?;
        let external = activity.external_id.as_str().to_owned();
        let key = (activity.partner, activity.kind.as_str().to_owned(), external);
        must_be(tx, &ACTIVITIES_BY_EXTERNAL_ID, &key, id, id, problems)
    })
    .await?;
    each(store, report, ACTIVITIES_BY_EXTERNAL_ID, |tx, _, id, problems| must_have(tx, &ACTIVITIES, id, id, problems))
        .await?;
    each(store, report, ACTIVITIES_OF_MEMBER, |tx, (_, id), (), problems| must_have(tx, &ACTIVITIES, id, id, problems))
        .await?;
    each(store, report, ACTIVITY_DAYS, |tx, (member, ..), _, problems| {
        must_have(tx, &MEMBERS, member, member, problems)
    })
    .await
}

/// What points buy, who took it, and what was brought along from an earlier programme.
async fn gifts(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, GIFTS, |tx, id, gift, problems| {
        must_be(tx, &GIFTS_BY_CODE, &gift.code.as_str().to_owned(), id, id, problems)
    })
    .await?;
    each(store, report, GIFTS_BY_CODE, |tx, _, id, problems| must_have(tx, &GIFTS, id, id, problems)).await?;
    each(store, report, REDEMPTIONS, |tx, id, redemption, problems| {
        must_have(tx, &GIFTS, &redemption.gift, id, problems)?;
        must_have(tx, &MEMBERS, &redemption.member, id, problems)?;
        must_have(tx, &REDEMPTIONS_OF_MEMBER, &(redemption.member, *id), id, problems)?;
        match redemption.coupon {
            Some(coupon) => must_have(tx, &COUPONS, &coupon, id, problems),
            None => Ok(()),
        }
    })
    .await?;
    each(store, report, REDEMPTIONS_OF_MEMBER, |tx, (_, id), (), problems| {
        must_have(tx, &REDEMPTIONS, id, id, problems)
    })
    .await?;
    each(store, report, SERVICE_CODES, |tx, (gift, taken, _), code, problems| {
        must_have(tx, &GIFTS, gift, gift, problems)?;
        match code.redemption {
            Some(id) => must_have(tx, &REDEMPTIONS, &id, id, problems)?,
            None if *taken => problems.push(format!("a code of {gift} is taken by nobody")),
            None => {}
        }
        if code.sealed.is_some() == *taken {
            problems.push(format!("a code of {gift} is both taken and free, or neither"));
        }
        Ok(())
    })
    .await?;
    each(store, report, TAKEN_OVER, |tx, _, taken, problems| {
        must_have(tx, &MEMBERS, &taken.member, taken.member, problems)
    })
    .await
}

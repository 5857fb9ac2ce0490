//! Refills: when what was delivered to a patient runs out, and a word some days before (R9).
//!
//! An item lasts its product's days of supply. Supply counts from the day of delivery; what comes while there is some left
//! begins when that ends, and so moves the word that was planned. What comes back is taken off again, as far as its days
//! are still ahead: what ran out before is no part of what there is now.
//!
//! A member has one timer for each day on which something may be said. What fires looks at what runs out soon and was not
//! spoken of: a day on which nothing is due any more passes in silence. What lasts no longer than the notice says nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use minicbor::{Decode, Encode};

use super::{
    Caller, Error, Page, PageRequest, Services, Settings,
    facts::{date_of, day_number},
    members::active_member,
    tables::{MEMBERS, PRODUCTS, SUPPLIES},
};
use crate::{
    domain::{
        member::{ExternalId, MemberState},
        order::Order,
    },
    events::{self, What},
    ids::{MemberId, OrderId, PatientId, ProductId},
    pricing::refund::refunded_items,
    scheduler::{self, TimerKey, TimerKind},
    store::{SCAN_ROWS_MAX, Scan, StoreError, Tx},
};

/// Nothing lasts longer: ten years.
const SUPPLY_DAYS_MAX: i64 = 3_650;
/// How long it is known when something ran out.
const SUPPLIES_KEPT_DAYS: i32 = 400;
/// Supplies forgotten with each delivery: more than most bring.
const SUPPLIES_SWEPT_AT_ONCE: usize = 8;
/// Deliveries of one supply whose return changes it; of more, the oldest are as good as taken.
const STRETCHES_MAX: usize = 32;

/// How long a patient's supply of a product lasts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Supply {
    /// The first day without, in days since 1970-01-01 in the deployment's zone.
    #[n(0)]
    pub runs_out: i32,
    /// The order that was delivered last.
    #[n(1)]
    pub order: OrderId,
    /// Whether the member was told.
    #[n(2)]
    pub told: bool,
    /// The deliveries that it is made of and that last beyond the day of the latest, one after the other.
    #[cbor(n(3), default)]
    pub stretches: Vec<Stretch>,
}

/// The days that one delivery lasts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Stretch {
    /// What was delivered.
    #[n(0)]
    pub order: OrderId,
    /// The first day that it covers.
    #[n(1)]
    pub from: i32,
    /// The first day that it does not.
    #[n(2)]
    pub until: i32,
}

impl Supply {
    /// What is left today is followed by what an order brings.
    fn add(before: Option<Self>, order: OrderId, today: i32, days: i32) -> Self {
        let from = before.as_ref().map_or(today, |supply| supply.runs_out.max(today));
        let mut stretches = before.map_or_else(Vec::new, |supply| supply.stretches);
        stretches.retain(|stretch| stretch.until > today);
        let until = from.saturating_add(days);
        stretches.push(Stretch { order, from, until });
        stretches.drain(..stretches.len().saturating_sub(STRETCHES_MAX));
        Self { runs_out: until, order, told: false, stretches }
    }

    /// Days of what an order brought are gone, as far as they are still ahead; whether any were.
    fn take(&mut self, order: OrderId, today: i32, days: i32) -> bool {
        let Some(at) = self.stretches.iter().position(|stretch| stretch.order == order) else { return false };
        let (from, until) = (self.stretches[at].from, self.stretches[at].until);
        let gone = days.min(until - from.max(today)).max(0);
        self.stretches[at].until -= gone;
        for later in &mut self.stretches[at + 1..] {
            (later.from, later.until) = (later.from - gone, later.until - gone);
        }
        self.runs_out -= gone;
        gone > 0
    }
}

/// A supply as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refill {
    /// Who takes it.
    pub patient: PatientId,
    /// What.
    pub product: ProductId,
    /// What the partner calls that.
    pub external_id: ExternalId,
    /// The first day without it.
    pub runs_out: jiff::civil::Date,
    /// The day on which the member is told, or was.
    pub remind_on: jiff::civil::Date,
    /// Whether they were.
    pub told: bool,
    /// The order that was delivered last.
    pub order: OrderId,
}

/// Whose, whose body, and what.
type Key = (MemberId, PatientId, ProductId);

impl Services {
    /// What a member's patients have of what was delivered, by patient and product; what ran out long ago is gone.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Erased`], [`Error::Invalid`] for a bad page.
    pub async fn refills(&self, caller: Caller, member: MemberId, page: PageRequest) -> Result<Page<Refill>, Error> {
        let notice = i32::from(self.settings.schedule.refill_notice_days);
        let read = self.store.read(move |tx| {
            active_member(tx, caller, member)?;
            let page = page.page(tx.scan(&SUPPLIES, &page.scan(Scan::prefix(&member))?)?)?;
            let products: Vec<ProductId> = page.rows.iter().map(|((.., product), _)| *product).collect();
            let products = tx.get_many(&PRODUCTS, &products)?;
            let mut rows = Vec::with_capacity(page.rows.len());
            for (((_, patient, product), supply), known) in page.rows.into_iter().zip(products) {
                rows.push(Refill {
                    patient,
                    product,
                    external_id: known.ok_or_else(|| Error::unknown("product", product))?.external_id,
                    runs_out: date_of(supply.runs_out),
                    remind_on: date_of(supply.runs_out - notice),
                    told: supply.told,
                    order: supply.order,
                });
            }
            Ok(Page { rows, next: page.next })
        });
        read.await
    }
}

/// An order arrived: what lasts is added to what its patient has.
///
/// # Errors
///
/// Those of the store.
pub(super) fn delivered(tx: &mut Tx<'_>, order: &Order, now: Timestamp, settings: &Settings) -> Result<(), StoreError> {
    let refunded = refunded_items(order);
    let kept = order.priced.lines.iter().zip(refunded).map(|(line, refunded)| line.quantity - refunded);
    let items: Vec<(u16, u32)> = (0..).zip(kept).collect();
    let today = day_number(now, &settings.zone);
    let Some(supplies) = supplies(tx, order, &items)? else { return Ok(()) };
    forget_old(tx, order.member, today)?;
    for (key, days) in supplies {
        let supply = Supply::add(tx.get(&SUPPLIES, &key)?, order.id, today, days);
        put(tx, key, &supply, now, settings)?;
    }
    Ok(())
}

/// Items of an order that had arrived came back: what they would still have lasted is taken off.
///
/// # Errors
///
/// Those of the store.
pub(super) fn came_back(
    tx: &mut Tx<'_>,
    order: &Order,
    items: &[(u16, u32)],
    now: Timestamp,
    settings: &Settings,
) -> Result<(), StoreError> {
    let today = day_number(now, &settings.zone);
    for (key, days) in supplies(tx, order, items)?.unwrap_or_default() {
        let Some(mut supply) = tx.get(&SUPPLIES, &key)? else { continue };
        if !supply.take(order.id, today, days) {
            continue;
        }
        if supply.runs_out <= today {
            tx.delete(&SUPPLIES, &key)?;
        } else {
            put(tx, key, &Supply { told: false, ..supply }, now, settings)?;
        }
    }
    Ok(())
}

/// The timer's work: says what of a member runs out soon.
///
/// # Errors
///
/// Those of the store.
pub(super) fn tell(tx: &mut Tx<'_>, member: MemberId, now: Timestamp, settings: &Settings) -> Result<(), Error> {
    if tx.get(&MEMBERS, &member)?.is_none_or(|member| member.state != MemberState::Active) {
        return Ok(());
    }
    let today = day_number(now, &settings.zone);
    let soon = today.saturating_add(i32::from(settings.schedule.refill_notice_days));
    let mut due = Vec::new();
    for (key, supply) in tx.scan(&SUPPLIES, &Scan::prefix(&member).limit(SCAN_ROWS_MAX))? {
        if !supply.told && (today + 1..=soon).contains(&supply.runs_out) {
            let (_, patient, product) = key;
            due.push(What::RefillDue { patient, product, on: supply.runs_out });
            tx.put(&SUPPLIES, &key, &Supply { told: true, ..supply })?;
        }
    }
    Ok(events::append(tx, member, due)?)
}

/// Removes what says what an erased member's patients took.
///
/// # Errors
///
/// Those of the store.
pub(super) fn forget(tx: &mut Tx<'_>, member: MemberId) -> Result<(), StoreError> {
    for (key, _) in tx.scan(&SUPPLIES, &Scan::prefix(&member).limit(SCAN_ROWS_MAX))? {
        tx.delete(&SUPPLIES, &key)?;
    }
    Ok(())
}

/// How many days items of an order last, by what they are; `None` if none of them lasts.
fn supplies(tx: &mut Tx<'_>, order: &Order, items: &[(u16, u32)]) -> Result<Option<BTreeMap<Key, i32>>, StoreError> {
    let mut days: BTreeMap<ProductId, i64> = BTreeMap::new();
    for (line, items) in items {
        let line = order.priced.lines.get(usize::from(*line));
        if let Some((line, each)) = line.and_then(|line| Some((line, line.days_of_supply?))) {
            *days.entry(line.product).or_default() += i64::from(each) * i64::from(*items);
        }
    }
    days.retain(|_, days| *days > 0);
    if days.is_empty() {
        return Ok(None);
    }
    let member = tx.get(&MEMBERS, &order.member)?.filter(|member| member.state == MemberState::Active);
    let Some(member) = member else { return Ok(None) };
    let patient = order.acting_for.unwrap_or(member.self_patient);
    let bounded = |days: i64| i32::try_from(days.min(SUPPLY_DAYS_MAX)).unwrap_or(i32::MAX);
    Ok(Some(days.into_iter().map(|(product, days)| ((member.id, patient, product), bounded(days))).collect()))
}

/// Writes a supply, and the timer of the day on which it is spoken of.
fn put(tx: &mut Tx<'_>, key: Key, supply: &Supply, now: Timestamp, settings: &Settings) -> Result<(), StoreError> {
    tx.put(&SUPPLIES, &key, supply)?;
    let days = i32::from(settings.schedule.refill_notice_days);
    let day = date_of(supply.runs_out - days).at(settings.schedule.hour, 0, 0, 0).to_zoned(settings.zone.clone());
    match day {
        Ok(at) if days > 0 && at.timestamp() > now => {
            scheduler::schedule(tx, TimerKey::new(at.timestamp(), TimerKind::Refill, key.0))
        }
        _ => Ok(()),
    }
}

fn forget_old(tx: &mut Tx<'_>, member: MemberId, today: i32) -> Result<(), StoreError> {
    let rows = tx.scan(&SUPPLIES, &Scan::prefix(&member).limit(SCAN_ROWS_MAX))?;
    let old = rows.into_iter().filter(|(_, supply)| supply.runs_out < today.saturating_sub(SUPPLIES_KEPT_DAYS));
    for (key, _) in old.take(SUPPLIES_SWEPT_AT_ONCE) {
        tx.delete(&SUPPLIES, &key)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;

    /// Deliveries as day and days, then what comes back as which delivery, day and days: the first day without.
    fn check(deliveries: &[(i32, i32)], back: (u128, i32, i32), runs_out: i32) {
        let mut supply = None;
        for (nth, (today, days)) in (0..).zip(deliveries) {
            supply = Some(Supply::add(supply, OrderId::from_bits(nth), *today, *days));
        }
        let mut supply = supply.expect("something was delivered");
        let (nth, today, days) = back;
        supply.take(OrderId::from_bits(nth), today, days);
        assert_eq!(supply.runs_out, runs_out, "{deliveries:?}, back {back:?}: {supply:?}");
    }

    #[test]
    fn only_days_that_are_still_ahead_come_back() {
        check(&[(0, 30)], (0, 0, 30), 0);
        check(&[(0, 30)], (0, 10, 30), 10);
        check(&[(0, 60)], (0, 10, 30), 30);
        check(&[(0, 30), (20, 30)], (1, 25, 30), 30);
        check(&[(0, 30), (20, 30)], (0, 25, 30), 55);
        check(&[(0, 30), (35, 30)], (0, 36, 30), 65);
        check(&[(0, 30), (20, 30)], (0, 40, 30), 60);
        check(&[(0, 30), (20, 30)], (7, 25, 30), 60);
    }

    #[test]
    fn the_oldest_deliveries_are_forgotten() {
        let deliveries = vec![(0, 1); STRETCHES_MAX + 1];
        check(&deliveries, (0, 0, 1), 33);
        check(&deliveries, (1, 0, 1), 32);
    }
}

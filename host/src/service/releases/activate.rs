//! What answers from now on: the row first, the engine at once after it.

use std::sync::Arc;

use jiff::Timestamp;

use super::{ActiveRelease, PluginRefusal, StoredRelease, TIER_SLOT, known_release, tiers};
use crate::{
    domain::{offer::OfferState, rule::Kind},
    ids::KeyId,
    plugin::Release,
    service::{
        Caller, Done, Error, Idempotency, Services, offers,
        rules::TierPolicy,
        tables::{ACTIVE_RELEASES, OFFERS},
        to_the_end,
    },
    store::{SCAN_ROWS_MAX, Scan, Tx},
};

/// Offers named when a policy cannot judge them.
const MISFITS_MAX: usize = 10;

/// Which release is to answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// This one.
    Number(u64),
    /// The one that answered before.
    Before,
}

impl Services {
    /// Makes a release answer. Activating the live one changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], and [`Error::Plugin`] if members hold tiers or live offers have terms that it knows nothing
    /// of.
    pub async fn activate(
        &self,
        caller: Caller,
        once: Idempotency,
        slot: &str,
        number: u64,
    ) -> Result<Done<ActiveRelease>, Error> {
        self.go_live(slot, Target::Number(number), Some(caller.key), Some(once)).await
    }

    /// Makes the release answer again that did before the live one. Another rollback takes this one back.
    ///
    /// # Errors
    ///
    /// [`Error::Plugin`] if there is none, or if it knows nothing of live offers' terms.
    pub async fn rollback(&self, caller: Caller, once: Idempotency, slot: &str) -> Result<Done<ActiveRelease>, Error> {
        self.go_live(slot, Target::Before, Some(caller.key), Some(once)).await
    }

    /// Commits and follows: a caller that goes away must not leave the engine behind the store.
    pub(super) async fn go_live(
        &self,
        slot: &str,
        target: Target,
        by: Option<KeyId>,
        once: Option<Idempotency>,
    ) -> Result<Done<ActiveRelease>, Error> {
        if let Some(once) = &once
            && let Some(done) = once.before(&self.store).await?
        {
            return Ok(done);
        }
        let (services, slot) = (self.clone(), slot.to_owned());
        to_the_end(async move { services.swap(slot, target, by, once).await }).await
    }

    async fn swap(
        &self,
        slot: String,
        target: Target,
        by: Option<KeyId>,
        once: Option<Idempotency>,
    ) -> Result<Done<ActiveRelease>, Error> {
        let _turn = self.shelf.turn.lock().await;
        let next = self.store.read(move |tx| find(tx, &slot, target)).await?;
        let release = match self.ready_release(&next.slot, next.number) {
            Some(ready) => ready,
            None => self.make_ready(&next).await?,
        };
        let now = self.clock.now();
        let (row, policy) = (next.clone(), Arc::clone(&release));
        let run = self.store.run(now, move |tx| {
            let work = |tx: &mut Tx<'_>| commit(tx, &row, target, &policy, by, now);
            match &once {
                Some(once) => once.once(tx, work),
                None => Ok(Done { value: work(tx)?, replayed: false }),
            }
        });
        let done = run.await?;
        if !done.replayed {
            self.follow(&done.value, &next, release)?;
        }
        Ok(done)
    }

    /// Lets the engine do what the store says.
    pub(super) fn follow(
        &self,
        active: &ActiveRelease,
        row: &StoredRelease,
        release: Arc<Release>,
    ) -> Result<(), Error> {
        let wrong_kind =
            || PluginRefusal::Kind { slot: row.slot.clone(), wanted: row.kind, given: release.module().kind() };
        let slot = self.engine.slot(&row.slot, row.kind).ok_or_else(wrong_kind)?;
        if row.slot == TIER_SLOT {
            let policy = TierPolicy { map: active.tier_map.clone(), demote_now: row.demote_now };
            self.tier_policies.set(row.number, policy);
        }
        self.shelf.put(Arc::clone(&release));
        slot.activate(release).map_err(PluginRefusal::from)?;
        Ok(())
    }
}

fn find(tx: &mut Tx<'_>, slot: &str, target: Target) -> Result<StoredRelease, Error> {
    let number = match target {
        Target::Number(number) => number,
        Target::Before => {
            let active = tx.get(&ACTIVE_RELEASES, &slot.to_owned())?;
            let active = active.ok_or_else(|| PluginRefusal::Empty { slot: slot.to_owned() })?;
            active.previous.ok_or_else(|| PluginRefusal::NothingBefore { slot: slot.to_owned() })?
        }
    };
    known_release(tx, slot, number)
}

fn commit(
    tx: &mut Tx<'_>,
    next: &StoredRelease,
    target: Target,
    release: &Release,
    by: Option<KeyId>,
    now: Timestamp,
) -> Result<ActiveRelease, Error> {
    let active = tx.get(&ACTIVE_RELEASES, &next.slot)?;
    if let Some(active) = active.as_ref().filter(|active| active.number == next.number) {
        return Ok(active.clone());
    }
    let mut tier_map = next.tier_map.clone();
    if next.slot == TIER_SLOT {
        let last = match &active {
            Some(active) => Some(known_release(tx, &next.slot, active.number)?),
            None => None,
        };
        let comes_back = matches!(target, Target::Before);
        let taken = tiers::take_over(active.as_ref().zip(last.as_ref()), next, comes_back);
        tier_map = taken.map_err(|codes| PluginRefusal::Tiers { release: release.reference().to_string(), codes })?;
    }
    if next.kind == Kind::CouponPolicy {
        check_offers(tx, &next.slot, release, now)?;
    }
    let active = ActiveRelease {
        slot: next.slot.clone(),
        number: next.number,
        previous: active.map(|active| active.number),
        tier_map,
        activated_at: now,
        activated_by: by,
    };
    tx.put(&ACTIVE_RELEASES, &next.slot, &active)?;
    Ok(active)
}

/// Every live offer that this policy is to judge must make sense to it.
fn check_offers(tx: &mut Tx<'_>, slot: &str, release: &Release, now: Timestamp) -> Result<(), Error> {
    let (mut misfits, mut scan) = (Vec::new(), Scan::all().limit(SCAN_ROWS_MAX));
    loop {
        let page = tx.scan(&OFFERS, &scan)?;
        let judged = page
            .iter()
            .map(|(_, offer)| offer)
            .filter(|offer| offer.slot == slot && offer.state == OfferState::Live && !offers::has_ended(offer, now));
        misfits.extend(judged.filter_map(|offer| offers::misfit(offer, release)));
        match page.last() {
            Some((last, _)) if page.len() == SCAN_ROWS_MAX && misfits.len() < MISFITS_MAX => scan = scan.after(last),
            _ => break,
        }
    }
    if misfits.is_empty() {
        return Ok(());
    }
    misfits.truncate(MISFITS_MAX);
    Err(PluginRefusal::Terms { release: release.reference().to_string(), misfits }.into())
}

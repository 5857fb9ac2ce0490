//! Asking the plugins for one decision, and keeping what was asked and answered.
//!
//! A decision takes each slot's live release once and asks it for everything, so that an answer never mixes two
//! releases. A release that cannot answer gives its declared fallback: nothing, unless it says otherwise.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, RwLock},
};

use jiff::{Timestamp, tz::TimeZone};

use super::{Error, Services};
use crate::{
    domain::{
        fact::Value,
        member::Member,
        offer::Offer,
        order::ReleaseRef,
        rule::{Activity, Award, CartSubject, Code, Kind, Proposal, Tier, TierSubject, Verdict},
    },
    ids::{DecisionId, MemberId},
    plugin::{Answer, Answered, CallInput, CallOutput, CallRecord, DecisionRecord, FellBackTo, Release},
};

/// The slot that decides tiers.
pub const TIER_SLOT: &str = "tier";
/// The slot that decides what activities earn.
pub const EARNING_SLOT: &str = "earning";
/// The slot that judges offers which name no other.
pub const COUPON_SLOT: &str = "coupon";

/// The slot that says what a member might want.
pub const SCORE_SLOT: &str = "score.home";
/// The slot that looks at messages before they leave.
pub const GUARD_SLOT: &str = "guard";

/// How a release of the tier rule takes over what its predecessors gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TierPolicy {
    /// From codes of earlier releases to codes of this one.
    pub map: BTreeMap<String, String>,
    /// Whether a lower verdict that only the new rule explains counts at once; otherwise the tier is kept.
    pub demote_now: bool,
}

/// The policies of all releases of the tier slot, by number.
#[derive(Debug, Default)]
pub struct TierPolicies(RwLock<HashMap<u64, Arc<TierPolicy>>>);

impl TierPolicies {
    /// Sets the policy of a release.
    pub fn set(&self, release: u64, policy: TierPolicy) {
        self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner).insert(release, Arc::new(policy));
    }

    /// The policy of a release; the empty one where none was set.
    pub fn of(&self, release: u64) -> Arc<TierPolicy> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&release).cloned().unwrap_or_default()
    }
}

/// One decision in the making.
pub(super) struct Rules<'a> {
    services: &'a Services,
    pinned: Vec<Arc<Release>>,
    calls: Vec<CallRecord>,
}

impl<'a> Rules<'a> {
    pub(super) fn new(services: &'a Services) -> Self {
        Self { services, pinned: Vec::new(), calls: Vec::new() }
    }

    /// The zone of the deployment's calendar.
    pub(super) fn zone(&self) -> &'a TimeZone {
        &self.services.settings.zone
    }

    /// The release that this decision asks in a slot.
    pub(super) fn release(&mut self, slot: &str, kind: Kind) -> Result<Arc<Release>, Error> {
        if let Some(release) = self.pinned.iter().find(|release| &*release.reference().slot == slot) {
            return Ok(Arc::clone(release));
        }
        let live = self.services.engine.slot(slot, kind).and_then(|found| found.live());
        let release =
            live.ok_or_else(|| Error::NoRule { slot: slot.to_owned(), why: "it has no release".to_owned() })?;
        self.pinned.push(Arc::clone(&release));
        Ok(release)
    }

    /// The tier a member holds, in the words of the pinned release.
    pub(super) fn held_tier(&mut self, member: &Member) -> Result<Tier, Error> {
        let release = self.release(TIER_SLOT, Kind::TierRule)?;
        let policy = self.services.tier_policies.of(release.reference().number);
        let code = policy.map.get(&*member.tier.code).map_or(&*member.tier.code, String::as_str);
        let tiers = release.tiers();
        let held = tiers.iter().find(|tier| &*tier.code == code).or_else(|| tiers.first());
        held.cloned().ok_or_else(|| Error::NoRule { slot: TIER_SLOT.to_owned(), why: "it has no tiers".to_owned() })
    }

    /// How high a tier is in the pinned release, from zero.
    pub(super) fn rank(&mut self, code: &Code) -> Result<usize, Error> {
        let release = self.release(TIER_SLOT, Kind::TierRule)?;
        Ok(release.tiers().iter().position(|tier| tier.code == *code).unwrap_or(0))
    }

    /// Whether a lower verdict that only the new rule explains counts at once.
    pub(super) fn demotes_now(&mut self) -> Result<bool, Error> {
        let release = self.release(TIER_SLOT, Kind::TierRule)?;
        Ok(self.services.tier_policies.of(release.reference().number).demote_now)
    }

    pub(super) async fn tier(&mut self, subjects: Vec<TierSubject>) -> Result<Vec<Option<Verdict>>, Error> {
        let release = self.release(TIER_SLOT, Kind::TierRule)?;
        let answered = release.tier(&subjects).await;
        let values = self.answers(&answered)?;
        self.keep(&release, &answered, CallInput::Tier(subjects), CallOutput::Tier(values.clone()));
        Ok(values)
    }

    pub(super) async fn earn(&mut self, activity: Activity) -> Result<Option<Award>, Error> {
        let release = self.release(EARNING_SLOT, Kind::EarningRule)?;
        let activities = vec![activity];
        let answered = release.earn(&activities).await;
        let values = self.answers(&answered)?;
        self.keep(&release, &answered, CallInput::Earning(activities), CallOutput::Earning(values.clone()));
        Ok(values.into_iter().next().flatten())
    }

    /// For each cart a proposal for each of its offers; nothing where the policy could not answer.
    pub(super) async fn price(
        &mut self,
        slot: &str,
        carts: Vec<CartSubject>,
    ) -> Result<Vec<Option<Vec<Proposal>>>, Error> {
        let release = self.release(slot, Kind::CouponPolicy)?;
        let answered = release.price(&carts).await;
        let values = self.answers(&answered)?;
        self.keep(&release, &answered, CallInput::Pricing(carts), CallOutput::Pricing(values.clone()));
        Ok(values)
    }

    /// An offer's terms in the order the pinned policy wants them.
    pub(super) fn terms(&mut self, offer: &Offer) -> Result<Vec<Value>, Error> {
        let release = self.release(&offer.slot, Kind::CouponPolicy)?;
        let term = |name: &str| offer.terms.iter().find(|(term, _)| term == name).map(|(_, value)| value.clone());
        Ok(release.module().description().terms.iter().map(|wanted| term(&wanted.name).unwrap_or_default()).collect())
    }

    /// The releases asked so far.
    pub(super) fn releases(&self) -> Vec<ReleaseRef> {
        self.pinned.iter().map(|release| named(release)).collect()
    }

    /// The release asked in a slot.
    pub(super) fn named(&mut self, slot: &str, kind: Kind) -> Result<ReleaseRef, Error> {
        Ok(named(&*self.release(slot, kind)?))
    }

    /// Appends the record of this decision; it is on disk no later than the transaction that follows.
    pub(super) fn record(self, id: DecisionId, at: Timestamp, member: MemberId) -> Result<(), Error> {
        let record = DecisionRecord { id, at, member, calls: self.calls };
        let appended = self.services.decisions.append(&record);
        appended.map(drop).map_err(|error| Error::Decisions(error.to_string()))
    }

    /// The values, fallbacks included; an error where the release is declared to fail closed.
    fn answers<T: Clone>(&self, answered: &Answered<T>) -> Result<Vec<Option<T>>, Error> {
        let refused = answered.answers.iter().find_map(|answer| match answer {
            Answer::FellBack { by: FellBackTo::Refusal, fault, .. } => Some(fault),
            _ => None,
        });
        if let Some(fault) = refused {
            return Err(Error::NoRule { slot: answered.release.slot.to_string(), why: fault.to_string() });
        }
        Ok(answered.answers.iter().map(|answer| answer.value().cloned()).collect())
    }

    fn keep<T>(&mut self, release: &Release, answered: &Answered<T>, input: CallInput, output: CallOutput) {
        if let Some(fault) = answered.fault() {
            tracing::warn!(release = %answered.release, fault = fault.code(), "a rule fell back");
        }
        self.calls.push(CallRecord {
            release: named(release),
            module: release.module().digest(),
            input,
            output,
            fuel: answered.fuel,
            elapsed_ns: u64::try_from(answered.elapsed.as_nanos()).unwrap_or(u64::MAX),
            fault: answered.fault().map(|fault| fault.code().into()),
        });
    }
}

fn named(release: &Release) -> ReleaseRef {
    let reference = release.reference();
    ReleaseRef { slot: reference.slot.to_string(), number: reference.number }
}

//! What members do besides buying: a review, a check-in, a quiz. The earning rule says what it earns, with what the day
//! brought before as facts; each counts once, as an interaction for the tier, too.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::{
    Caller, Done, Error, Idempotency, Page, PageRequest, Services, Settings,
    facts::{self, Totals, change_day, day_number, sealed_profile},
    members,
    order::tier::{Judge, Judged, judge},
    points,
    rules::{EARNING_SLOT, Rules},
    tables::{ACTIVITIES, ACTIVITIES_BY_EXTERNAL_ID, ACTIVITIES_OF_MEMBER, ACTIVITY_DAYS, MEMBERS},
    tiers,
};
use crate::{
    domain::{
        activity::{ActivityDay, ActivityKind, RecordedActivity},
        fact::{self, Facts},
        member::{ExternalId, Member, TierCause},
        money::{Money, Points},
        points::{Cause, House, LotKey, LotOrigin},
        programme::Programme,
        rule::{Activity, Award, Kind},
    },
    events::{self, What},
    ids::{ActivityId, Id as _, MemberId},
    ledger::lots,
    scheduler::{self, TimerKey, TimerKind},
    store::{Scan, Tx},
};

/// How long ago something may have been done that is reported now.
const REPORTED_DAYS_MAX: i64 = 30;
/// How far a partner's clock may be ahead.
const AHEAD_MAX: SignedDuration = SignedDuration::from_mins(5);
/// How often one report is judged anew because the member moved meanwhile.
const ATTEMPTS_MAX: usize = 8;

/// What a member did, as a partner reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportActivity {
    /// What.
    pub kind: ActivityKind,
    /// What the partner calls it: one of a kind counts once.
    pub external_id: ExternalId,
    /// When; now where it is not said.
    pub at: Option<Timestamp>,
}

/// What a report finds.
enum Known {
    Answer(Box<Done<RecordedActivity>>),
    New(Box<Snapshot>),
}

struct Snapshot {
    member: Member,
    sealed: Option<Vec<u8>>,
    totals: Totals,
    day: ActivityDay,
    programme: Programme,
}

/// What the report writes.
#[derive(Clone)]
struct Change {
    activity: RecordedActivity,
    member: Member,
    day: i32,
    judged: Judged,
    settings: Arc<Settings>,
}

impl Services {
    /// Records what a member did and gives the points that the earning rule says. A report of the same kind and external
    /// id changes nothing and gets the answer of the first one.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] and [`Error::Erased`] for the member, [`Error::Invalid`] for the time, [`Error::Taken`] if the
    /// external id is another member's, [`Error::Busy`] if the member keeps moving.
    pub async fn report_activity(
        &self,
        caller: Caller,
        once: Idempotency,
        member: MemberId,
        ask: ReportActivity,
    ) -> Result<Done<RecordedActivity>, Error> {
        let now = self.clock.now();
        let at = time_of(&ask, now)?;
        for _ in 0..ATTEMPTS_MAX {
            let day = day_number(at, &self.settings.zone);
            let today = day_number(now, &self.settings.zone);
            let (key, asked) = (once.clone(), ask.clone());
            let known = self.store.read(move |tx| read(tx, caller, &key, member, &asked, day, today)).await?;
            let snapshot = match known {
                Known::Answer(done) => return Ok(*done),
                Known::New(snapshot) => *snapshot,
            };
            let change = self.judge_activity(caller, snapshot, &ask, at, now).await?;
            let key = once.clone();
            match self.store.run(now, move |tx| key.once(tx, |tx| commit(tx, &change, now))).await {
                Err(Error::Busy) => {}
                done => return done,
            }
        }
        Err(Error::Busy)
    }

    /// A member's activities, in the order they were reported.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for the member, [`Error::Invalid`] for the page.
    pub async fn activities(
        &self,
        caller: Caller,
        member: MemberId,
        page: PageRequest,
    ) -> Result<Page<RecordedActivity>, Error> {
        let read = self.store.read(move |tx| {
            members::visible_member(tx, caller, member)?;
            let rows = page.page(tx.scan(&ACTIVITIES_OF_MEMBER, &page.scan(Scan::prefix(&member))?)?)?;
            let ids: Vec<ActivityId> = rows.rows.iter().map(|((_, id), ())| *id).collect();
            Ok::<_, Error>(Page {
                rows: tx.get_many(&ACTIVITIES, &ids)?.into_iter().flatten().collect(),
                next: rows.next,
            })
        });
        read.await
    }

    /// Asks the earning rule what it earns and the tier rule what follows.
    async fn judge_activity(
        &self,
        caller: Caller,
        snapshot: Snapshot,
        ask: &ReportActivity,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<Change, Error> {
        let Snapshot { mut member, sealed, totals, day, programme } = snapshot;
        let mut rules = Rules::new(self);
        let tier = rules.held_tier(&member)?;
        let birthday = self.open_profile(member.id, sealed.as_deref())?.birthday;
        let then = self.member_facts(&member, birthday, &totals, Some(&tier), at);
        let activity = Activity { as_of: at, facts: with_activity(then, &ask.kind, day), lines: Vec::new() };
        let award = rules.earn(activity).await?;
        let release = rules.named(EARNING_SLOT, Kind::EarningRule)?;
        let before = self.member_facts(&member, birthday, &totals, Some(&tier), now);
        let more = Totals { year_interactions: totals.year_interactions + 1, ..totals };
        let after = self.member_facts(&member, birthday, &more, Some(&tier), now);
        let asked = Judge { member: &member, programme: &programme, now, cause: TierCause::Activity };
        let judged = judge(&mut rules, asked, before, after).await?;
        let decision = self.ids.ordered(now);
        rules.record(decision, now, member.id)?;
        member.tier = judged.tier.clone();
        let (points, active_at, expires_at) = self.life_of(award.as_ref(), at);
        let activity = RecordedActivity {
            id: self.ids.ordered(now),
            member: member.id,
            partner: caller.partner,
            kind: ask.kind.clone(),
            external_id: ask.external_id.clone(),
            at,
            recorded_at: now,
            points,
            active_at,
            expires_at,
            reasons: award.map(|award| award.reasons).unwrap_or_default(),
            release,
            decision,
        };
        let day = day_number(at, &self.settings.zone);
        Ok(Change { activity, member, day, judged, settings: Arc::clone(&self.settings) })
    }

    /// How many points, from when to when they can be spent.
    fn life_of(&self, award: Option<&Award>, at: Timestamp) -> (Points, Option<Timestamp>, Option<Timestamp>) {
        let Some(award) = award.filter(|award| award.points > Points::ZERO) else { return (Points::ZERO, None, None) };
        let wait = SignedDuration::from_hours(24 * i64::from(award.pending_days));
        let active = at.checked_add(wait).unwrap_or(Timestamp::MAX);
        let expires = active.to_zoned(self.settings.zone.clone()).checked_add(i64::from(award.valid_months).months());
        (award.points, Some(active), Some(expires.map_or(Timestamp::MAX, |at| at.timestamp())))
    }
}

fn time_of(ask: &ReportActivity, now: Timestamp) -> Result<Timestamp, Error> {
    let Some(at) = ask.at else { return Ok(now) };
    let age = now.duration_since(at);
    if age < -AHEAD_MAX {
        return Err(Error::field("/at", format!("must not be in the future: it is {now} here")));
    }
    if age > SignedDuration::from_hours(24 * REPORTED_DAYS_MAX) {
        return Err(Error::field("/at", format!("must be at most {REPORTED_DAYS_MAX} days ago")));
    }
    Ok(at.min(now))
}

fn with_activity(member: Facts, kind: &ActivityKind, day: ActivityDay) -> Facts {
    member
        .with(&fact::ACTIVITY_KIND, kind.as_str().into())
        .with(&fact::ACTIVITY_GOODS_NET, Money::ZERO.into())
        .with(&fact::ACTIVITY_TODAY_COUNT, i64::from(day.count).into())
        .with(&fact::ACTIVITY_TODAY_POINTS, day.points.get().into())
}

fn external_key(caller: Caller, ask: &ReportActivity) -> (crate::ids::PartnerId, String, String) {
    (caller.partner, ask.kind.as_str().to_owned(), ask.external_id.as_str().to_owned())
}

fn read(
    tx: &mut Tx<'_>,
    caller: Caller,
    once: &Idempotency,
    member: MemberId,
    ask: &ReportActivity,
    day: i32,
    today: i32,
) -> Result<Known, Error> {
    if let Some(done) = once.look_up(tx)? {
        return Ok(Known::Answer(Box::new(done)));
    }
    let member = members::active_member(tx, caller, member)?;
    if let Some(id) = tx.get(&ACTIVITIES_BY_EXTERNAL_ID, &external_key(caller, ask))? {
        let known = tx.get(&ACTIVITIES, &id)?.filter(|known| known.member == member.id);
        let taken = || Error::Taken { what: "activity", name: ask.external_id.clone(), id: id.to_string() };
        return Ok(Known::Answer(Box::new(Done { value: known.ok_or_else(taken)?, replayed: true })));
    }
    let day = tx.get(&ACTIVITY_DAYS, &(member.id, day, ask.kind.as_str().to_owned()))?.unwrap_or_default();
    let (totals, sealed) = (facts::totals(tx, &member, today)?, sealed_profile(tx, member.id)?);
    let programme = tiers::current(tx)?;
    Ok(Known::New(Box::new(Snapshot { member, sealed, totals, day, programme })))
}

/// The transaction; [`Error::Busy`] if the member moved since they were read, or another reported the same.
fn commit(tx: &mut Tx<'_>, change: &Change, now: Timestamp) -> Result<RecordedActivity, Error> {
    let (activity, mut member) = (change.activity.clone(), change.member.clone());
    let (id, kind) = (activity.id, activity.kind.as_str().to_owned());
    let external = (activity.partner, kind.clone(), activity.external_id.as_str().to_owned());
    let stored = tx.get(&MEMBERS, &member.id)?.map(|stored| stored.revision);
    if stored != Some(member.revision) || tx.get(&ACTIVITIES_BY_EXTERNAL_ID, &external)?.is_some() {
        return Err(Error::Busy);
    }
    tx.put(&ACTIVITIES, &id, &activity)?;
    tx.put(&ACTIVITIES_BY_EXTERNAL_ID, &external, &id)?;
    tx.put(&ACTIVITIES_OF_MEMBER, &(member.id, id), &())?;
    let key = (member.id, change.day, kind);
    let mut day = tx.get(&ACTIVITY_DAYS, &key)?.unwrap_or_default();
    day.count = day.count.saturating_add(1);
    day.points = day.points.plus(activity.points)?;
    tx.put(&ACTIVITY_DAYS, &key, &day)?;
    change_day(tx, member.id, change.day, |day| {
        day.interactions = day.interactions.saturating_add(1);
        Ok(())
    })?;
    give(tx, &activity, now, &change.settings)?;
    members::put_moved(tx, &mut member)?;
    let moved = tiers::settle(tx, member.id, &change.judged, None, now, &change.settings)?;
    events::append(tx, member.id, [What::ActivityRecorded(id, activity.points)].into_iter().chain(moved))?;
    Ok(activity)
}

/// Posts what an activity earned: pending until its time, or at once.
fn give(tx: &mut Tx<'_>, activity: &RecordedActivity, now: Timestamp, settings: &Settings) -> Result<(), Error> {
    let (Some(active_at), Some(expires_at)) = (activity.active_at, activity.expires_at) else { return Ok(()) };
    let (member, origin) = (activity.member, LotOrigin(activity.id.to_bits()));
    let cause = Cause::ActivityEarned(activity.id);
    if active_at > now {
        lots::earn(tx, member, origin, activity.points, cause)?;
        return Ok(scheduler::schedule(tx, TimerKey::new(active_at, TimerKind::ActivateActivity, activity.id))?);
    }
    lots::grant(tx, member, House::Issued, activity.points, LotKey { expires_at, origin }, cause)?;
    Ok(points::set_expiry(tx, member, expires_at, now, settings)?)
}

/// Makes an activity's points spendable: the timer's work.
///
/// # Errors
///
/// Those of the ledger.
pub(super) fn activate(tx: &mut Tx<'_>, id: ActivityId, now: Timestamp, settings: &Settings) -> Result<(), Error> {
    let Some(activity) = tx.get(&ACTIVITIES, &id)? else { return Ok(()) };
    let (Some(expires_at), member) = (activity.expires_at, activity.member) else { return Ok(()) };
    let cause = Cause::ActivityActivated(id);
    if !lots::activate(tx, member, LotKey { expires_at, origin: LotOrigin(id.to_bits()) }, cause)? {
        return Ok(());
    }
    if let Some(mut member) = tx.get(&MEMBERS, &member)? {
        members::put_moved(tx, &mut member)?;
    }
    points::set_expiry(tx, member, expires_at, now, settings)?;
    Ok(events::append(tx, member, [What::ActivityActivated(id)])?)
}

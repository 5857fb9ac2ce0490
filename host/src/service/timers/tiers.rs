//! The nightly evaluation: every member's tier, by the rule that is live, because time alone moves rolling windows.
//!
//! A page of members is judged by column, which is fast and gives no reasons. Who comes out as they are gets nothing
//! written but a share in the page's digest; who does not is judged again alone, with reasons, exactly as after a
//! payment, and the decision recorded. So a night gives what one evaluation after the other would.

use std::{collections::HashMap, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, future::ready, stream};
use jiff::Timestamp;
use minicbor::{Decode, Encode};
use sha2::{Digest as _, Sha256};

use super::jobs::{Turn, members_page};
use crate::{
    domain::{
        fact::{self, Facts},
        member::{HeldTier, Member, MemberState, Revision, TierCause},
        programme::Programme,
        rule::{Code, Kind},
    },
    events,
    ids::{Id as _, MemberId},
    plugin::Release,
    scheduler::jobs::{STEP_ROWS_MAX, Step},
    service::{
        Error, Services,
        facts::{self, Totals, day_number, sealed_profile},
        members,
        order::tier::{Judge, judge},
        rules::{Rules, TIER_SLOT},
        tables::{MEMBERS, TIER_DIGESTS},
        tiers as programme,
    },
    store::{SCAN_ROWS_MAX, Tx},
};

/// Members judged in one step: as many as one scan gives. Where nothing changes it writes one row.
const MEMBERS_AT_ONCE: usize = SCAN_ROWS_MAX;
/// Members judged alone at the same time.
const JUDGED_AT_ONCE: usize = 16;
/// How often a member is judged again because they moved meanwhile.
const ATTEMPTS_MAX: usize = 8;

/// What a page of members came out as.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TierDigest {
    /// The release that judged.
    #[n(0)]
    pub release: u64,
    /// Members judged.
    #[n(1)]
    pub members: u32,
    /// Members whose tier moved.
    #[n(2)]
    pub changed: u32,
    /// SHA-256 over each member's id and the tier given, in order.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub digest: [u8; 32],
}

/// What is known of a member when they are judged.
struct Snapshot {
    member: Member,
    sealed: Option<Vec<u8>>,
    totals: Totals,
}

impl Services {
    /// Judges one member's tier as of now, as the nightly evaluation does: whether it moved.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::NoRule`], [`Error::Busy`] if the member keeps moving.
    pub async fn evaluate_tier(&self, id: MemberId, now: Timestamp) -> Result<bool, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let (Snapshot { member, sealed, totals }, programme) = self.tier_snapshot(id, now).await?;
            if member.state == MemberState::Erased {
                return Ok(false);
            }
            let mut rules = Rules::new(self);
            let tier = rules.held_tier(&member)?;
            let birthday = self.open_profile(id, sealed.as_deref())?.birthday;
            let facts = self.member_facts(&member, birthday, &totals, Some(&tier), now);
            let asked = Judge { member: &member, programme: &programme, now, cause: TierCause::Scheduled };
            let judged = judge(&mut rules, asked, facts.clone(), facts).await?;
            if judged.tier == member.tier {
                return Ok(false);
            }
            let moved = judged.moved();
            if moved || judged.tier.kept != member.tier.kept {
                rules.record(self.ids.ordered(now), now, id)?;
            }
            let settings = Arc::clone(&self.settings);
            let run = self.store.run(now, move |tx| {
                let mut stored = tx.get(&MEMBERS, &id)?.ok_or_else(|| Error::unknown("member", id))?;
                if stored.revision != member.revision {
                    return Err(Error::Busy);
                }
                stored.tier = judged.tier.clone();
                members::put_moved(tx, &mut stored)?;
                let moved = programme::settle(tx, id, &judged, None, now, &settings)?;
                Ok(events::append(tx, id, moved)?)
            });
            match run.await {
                Err(Error::Busy) => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(moved),
            }
        }
        Err(Error::Busy)
    }

    /// Judges the job's next page of members.
    pub(super) async fn evaluate_page(&self, turn: Turn) -> Result<Option<Step>, Error> {
        let (now, cursor) = (turn.now, turn.job.cursor.clone());
        let mut rules = Rules::new(self);
        let rule = rules.release(TIER_SLOT, Kind::TierRule)?;
        let (release, wanted) = (rule.reference().number, Wanted::by(&rule));
        let today = day_number(now, &self.settings.zone);
        // What comes of it is answered by the commit of the step, which waits for what was read.
        let read = self.store.peek(move |tx| read_page(tx, cursor.as_deref(), today, wanted));
        let (page, mut step) = read.await?;
        let given = self.judged_by_column(&mut rules, &page, wanted, now).await?;
        let (mut confirmed, mut doubtful) = (Vec::new(), Vec::new());
        let mut hash = Sha256::new();
        for (Snapshot { member, .. }, given) in page.iter().zip(&given) {
            hash.update(member.id.to_bits().to_be_bytes());
            hash.update(given.as_deref().unwrap_or("").as_bytes());
            hash.update([0]);
            match given.as_ref().map(|given| stays(&member.tier, given, release, now)) {
                Some(Stays::AsItIs) => {}
                // A new release that says the same is noted once, so that what time does later counts as time's.
                Some(Stays::UnderNewRule) => confirmed.push((member.id, member.revision)),
                Some(Stays::Perhaps) | None => doubtful.push(member.id),
            }
        }
        let judged = stream::iter(doubtful).map(|id| self.evaluate_tier(id, now)).buffer_unordered(JUDGED_AT_ONCE);
        step.changed += judged.try_filter(|moved| ready(*moved)).try_fold(0, async |sum, _| Ok(sum + 1)).await?;
        let digest = TierDigest {
            release,
            members: u32::try_from(page.len()).unwrap_or(u32::MAX),
            changed: u32::try_from(step.changed).unwrap_or(u32::MAX),
            digest: hash.finalize().into(),
        };
        for confirmed in confirmed.chunks(STEP_ROWS_MAX) {
            self.confirm(confirmed.to_vec(), release, now).await?;
        }
        let page = (turn.job.occurrence, turn.job.steps);
        let commit = self.commit_step(turn, move |tx| {
            tx.put(&TIER_DIGESTS, &page, &digest)?;
            Ok(step.clone())
        });
        commit.await
    }

    /// Notes the release that confirmed the tier of these members, where they have not moved since.
    async fn confirm(&self, members: Vec<(MemberId, Revision)>, release: u64, now: Timestamp) -> Result<(), Error> {
        let run = self.store.run(now, move |tx| {
            for (id, revision) in &members {
                if let Some(mut member) = tx.get(&MEMBERS, id)?.filter(|member| member.revision == *revision) {
                    member.tier.release = release;
                    members::put_moved(tx, &mut member)?;
                }
            }
            Ok::<_, Error>(())
        });
        run.await
    }

    /// For each member the tier that the rule gives; `None` where it failed: then each is asked for alone, where the
    /// release's fallback answers.
    async fn judged_by_column(
        &self,
        rules: &mut Rules<'_>,
        page: &[Snapshot],
        wanted: Wanted,
        now: Timestamp,
    ) -> Result<Vec<Option<Code>>, Error> {
        if page.is_empty() {
            return Ok(Vec::new());
        }
        let mut shared: HashMap<Code, Facts> = HashMap::new();
        let mut facts = Vec::with_capacity(page.len());
        for Snapshot { member, sealed, totals, .. } in page {
            let mut known = match shared.get(&member.tier.code) {
                Some(shared) => shared.clone(),
                None => {
                    let tier = rules.held_tier(member)?;
                    let known = self.tier_and_calendar(&tier.code, Some(&tier), now);
                    shared.entry(member.tier.code.clone()).or_insert(known).clone()
                }
            };
            totals.tell(&mut known);
            if wanted.tenure {
                known.set(&fact::MEMBER_TENURE_MONTHS, self.tenure_months(member, now).into());
            }
            if wanted.birthday {
                let birthday = self.open_profile(member.id, sealed.as_deref())?.birthday;
                known.set(&fact::MEMBER_BIRTHDAY_MONTH, self.birthday_month(birthday, now));
            }
            facts.push(known);
        }
        let release = rules.release(TIER_SLOT, Kind::TierRule)?;
        match release.tier_columns(now, &facts).await {
            Ok(columns) => {
                let tiers = release.tiers();
                let code = |index: &u16| tiers.get(usize::from(*index)).map(|tier| tier.code.clone());
                Ok(columns.tiers.iter().map(code).collect())
            }
            Err(fault) => {
                let release = release.reference().number;
                tracing::warn!(release, fault = fault.code(), "no evaluation by column: each member is asked");
                Ok(vec![None; page.len()])
            }
        }
    }

    async fn tier_snapshot(&self, id: MemberId, now: Timestamp) -> Result<(Snapshot, Programme), Error> {
        let today = day_number(now, &self.settings.zone);
        let read = self.store.peek(move |tx| {
            let member = tx.get(&MEMBERS, &id)?.ok_or_else(|| Error::unknown("member", id))?;
            Ok::<_, Error>((read_snapshot(tx, member, today, Wanted::ALL)?, programme::current(tx)?))
        });
        read.await
    }
}

/// What a verdict by column says of a member.
enum Stays {
    /// Nothing changes.
    AsItIs,
    /// Nothing but that the live release says it now.
    UnderNewRule,
    /// To be judged with reasons.
    Perhaps,
}

fn stays(held: &HeldTier, given: &Code, release: u64, now: Timestamp) -> Stays {
    match &held.kept {
        None if *given == held.code && held.release == release => Stays::AsItIs,
        None if *given == held.code => Stays::UnderNewRule,
        // Kept for a while, and told so: what comes then is no news.
        Some(kept) if *given == kept.to && kept.release == release && kept.until > now => Stays::AsItIs,
        _ => Stays::Perhaps,
    }
}

/// What a rule wants to know that costs more than the member's row.
#[derive(Clone, Copy)]
struct Wanted {
    /// The sealed profile.
    birthday: bool,
    /// The days of the last year.
    year: bool,
    /// A calendar.
    tenure: bool,
}

impl Wanted {
    const ALL: Self = Self { birthday: true, year: true, tenure: true };

    fn by(release: &Release) -> Self {
        let year = [&fact::MEMBER_YEAR_NET_SPEND, &fact::MEMBER_YEAR_PAID_ORDERS, &fact::MEMBER_YEAR_INTERACTIONS];
        Self {
            birthday: release.sees(&fact::MEMBER_BIRTHDAY_MONTH),
            year: year.into_iter().any(|fact| release.sees(fact)),
            tenure: release.sees(&fact::MEMBER_TENURE_MONTHS),
        }
    }
}

/// A page of members who take part, and the step that they make.
fn read_page(
    tx: &mut Tx<'_>,
    cursor: Option<&[u8]>,
    today: i32,
    wanted: Wanted,
) -> Result<(Vec<Snapshot>, Step), Error> {
    let (members, step) = members_page(tx, cursor, MEMBERS_AT_ONCE)?;
    let active = members.into_iter().filter(|member| member.state == MemberState::Active);
    let page = active.map(|member| read_snapshot(tx, member, today, wanted)).collect::<Result<_, _>>()?;
    Ok((page, step))
}

fn read_snapshot(tx: &mut Tx<'_>, member: Member, today: i32, wanted: Wanted) -> Result<Snapshot, Error> {
    let totals = if wanted.year { facts::totals(tx, &member, today)? } else { facts::lifetime(&member) };
    let sealed = if wanted.birthday { sealed_profile(tx, member.id)? } else { None };
    Ok(Snapshot { member, sealed, totals })
}

#[cfg(test)]
mod tests;

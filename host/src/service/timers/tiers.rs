//! The nightly evaluation: every member's tier, by the rule that is live, because time alone moves rolling windows.
//!
//! A page of members is judged by column, which is fast and gives no reasons. Who comes out as they are gets nothing
//! written but a share in the page's digest; who does not is judged again alone, with reasons, exactly as after a
//! payment, and the decision recorded. So a night gives what one evaluation after the other would.

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use sha2::{Digest as _, Sha256};

use super::jobs::{Turn, members_page};
use crate::{
    domain::{
        fact::Facts,
        member::{Member, MemberState, TierCause},
        rule::{Code, Kind},
    },
    events::{self, What},
    ids::{Id as _, MemberId},
    scheduler::jobs::Step,
    service::{
        Error, Services,
        facts::{self, Totals, day_number, sealed_profile},
        members,
        order::tier::{Judged, judge},
        rules::{Rules, TIER_SLOT},
        tables::{MEMBERS, TIER_DIGESTS},
    },
    store::Tx,
};

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
            let Snapshot { member, sealed, totals } = self.tier_snapshot(id, now).await?;
            if member.state == MemberState::Erased {
                return Ok(false);
            }
            let mut rules = Rules::new(self);
            let facts = self.tier_facts(&mut rules, &member, sealed.as_deref(), &totals, now)?;
            let judged = judge(&mut rules, &member, facts.clone(), facts, now, TierCause::Scheduled).await?;
            let Judged { tier, moved } = judged;
            if tier == member.tier {
                return Ok(false);
            }
            if moved {
                rules.record(self.ids.ordered(now), now, id)?;
            }
            let run = self.store.run(now, move |tx| {
                let mut stored = tx.get(&MEMBERS, &id)?.ok_or_else(|| Error::unknown("member", id))?;
                if stored.revision != member.revision {
                    return Err(Error::Busy);
                }
                let from = std::mem::replace(&mut stored.tier, tier.clone()).code;
                members::put_moved(tx, &mut stored)?;
                if moved {
                    let (from, to) = (from.to_string(), tier.code.to_string());
                    events::append(tx, id, [What::TierChanged { from, to }])?;
                }
                Ok(())
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
        let read = self.store.read(move |tx| members_page(tx, cursor.as_deref()).map_err(Error::from));
        let (mut members, mut step) = read.await?;
        members.retain(|member| member.state == MemberState::Active);
        let (release, given) = self.judged_by_column(&members, now).await?;
        let mut confirmed = Vec::new();
        let mut hash = Sha256::new();
        for (member, given) in members.iter().zip(&given) {
            hash.update(member.id.to_bits().to_be_bytes());
            hash.update(given.as_deref().unwrap_or("").as_bytes());
            hash.update([0]);
            if given.as_ref() == Some(&member.tier.code) {
                // A new release that says the same is noted once, so that what time does later counts as time's.
                if member.tier.release != release {
                    confirmed.push((member.id, member.revision));
                }
            } else if self.evaluate_tier(member.id, now).await? {
                step.changed += 1;
            }
        }
        let digest = TierDigest {
            release,
            members: u32::try_from(members.len()).unwrap_or(u32::MAX),
            changed: u32::try_from(step.changed).unwrap_or(u32::MAX),
            digest: hash.finalize().into(),
        };
        let page = (turn.job.occurrence, turn.job.steps);
        let commit = self.commit_step(turn, move |tx| {
            for (id, revision) in &confirmed {
                if let Some(mut member) = tx.get(&MEMBERS, id)?.filter(|member| member.revision == *revision) {
                    member.tier.release = release;
                    members::put_moved(tx, &mut member)?;
                }
            }
            tx.put(&TIER_DIGESTS, &page, &digest)?;
            Ok(step.clone())
        });
        commit.await
    }

    /// The release that is live and, for each member, the tier it gives; `None` where it failed: then each is asked for
    /// alone, where the release's fallback answers.
    async fn judged_by_column(&self, members: &[Member], now: Timestamp) -> Result<(u64, Vec<Option<Code>>), Error> {
        let mut rules = Rules::new(self);
        let release = rules.release(TIER_SLOT, Kind::TierRule)?;
        let number = release.reference().number;
        let mut facts = Vec::with_capacity(members.len());
        for member in members {
            let Snapshot { member, sealed, totals } = self.tier_snapshot(member.id, now).await?;
            facts.push(self.tier_facts(&mut rules, &member, sealed.as_deref(), &totals, now)?);
        }
        if facts.is_empty() {
            return Ok((number, Vec::new()));
        }
        match release.tier_columns(now, &facts).await {
            Ok(columns) => {
                let tiers = release.tiers();
                let code = |index: &u16| tiers.get(usize::from(*index)).map(|tier| tier.code.clone());
                Ok((number, columns.tiers.iter().map(code).collect()))
            }
            Err(fault) => {
                tracing::warn!(release = number, fault = fault.code(), "no evaluation by column: each member is asked");
                Ok((number, vec![None; members.len()]))
            }
        }
    }

    async fn tier_snapshot(&self, id: MemberId, now: Timestamp) -> Result<Snapshot, Error> {
        let today = day_number(now, &self.settings.zone);
        self.store.read(move |tx| read_snapshot(tx, id, today)).await
    }

    fn tier_facts(
        &self,
        rules: &mut Rules<'_>,
        member: &Member,
        sealed: Option<&[u8]>,
        totals: &Totals,
        now: Timestamp,
    ) -> Result<Facts, Error> {
        let tier = rules.held_tier(member)?;
        let birthday = self.open_profile(member.id, sealed)?.birthday;
        Ok(self.member_facts(member, birthday, totals, Some(&tier), now))
    }
}

fn read_snapshot(tx: &mut Tx<'_>, id: MemberId, today: i32) -> Result<Snapshot, Error> {
    let member = tx.get(&MEMBERS, &id)?.ok_or_else(|| Error::unknown("member", id))?;
    Ok(Snapshot { totals: facts::totals(tx, &member, today)?, sealed: sealed_profile(tx, id)?, member })
}

#[cfg(test)]
mod tests;

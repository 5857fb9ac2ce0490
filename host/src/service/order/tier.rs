//! Which tier a member holds after what they did.

use jiff::Timestamp;

use crate::{
    domain::{
        fact::Facts,
        member::{HeldTier, Member, TierCause},
        rule::{Kind, TierSubject, Verdict},
    },
    service::{
        Error,
        rules::{Rules, TIER_SLOT},
    },
};

/// What the tier rule says of a member, and what follows.
pub(in crate::service) struct Judged {
    /// The tier to store.
    pub(in crate::service) tier: HeldTier,
    /// Whether its code differs from the one stored.
    pub(in crate::service) moved: bool,
}

/// Asks the tier rule with the facts as they will be. Where the release is not the one that gave the stored tier, the
/// rule is also asked with the facts as they were: what only the new rule explains is a `rule-change`, and a demotion by
/// it waits unless the release says otherwise.
pub(in crate::service) async fn judge(
    rules: &mut Rules<'_>,
    member: &Member,
    before: Facts,
    after: Facts,
    now: Timestamp,
    cause: TierCause,
) -> Result<Judged, Error> {
    let release = rules.named(TIER_SLOT, Kind::TierRule)?.number;
    let new_rule = member.tier.release != release;
    let mut subjects = vec![TierSubject { as_of: now, facts: after }];
    if new_rule {
        subjects.push(TierSubject { as_of: now, facts: before });
    }
    let mut verdicts = rules.tier(subjects).await?.into_iter();
    let unmoved = || Judged { tier: member.tier.clone(), moved: false };
    let Some(Some(verdict)) = verdicts.next() else { return Ok(unmoved()) };
    if !new_rule {
        return Ok(moved_to(member, verdict, release, now, cause));
    }
    let Some(Some(as_before)) = verdicts.next() else { return Ok(unmoved()) };
    if as_before.tier != verdict.tier {
        return Ok(moved_to(member, verdict, release, now, cause));
    }
    let held = rules.held_tier(member)?.code;
    let demoted = rules.rank(&verdict.tier)? < rules.rank(&held)?;
    if demoted && !rules.demotes_now()? {
        return Ok(unmoved());
    }
    Ok(moved_to(member, verdict, release, now, TierCause::RuleChange))
}

fn moved_to(member: &Member, verdict: Verdict, release: u64, now: Timestamp, cause: TierCause) -> Judged {
    if verdict.tier == member.tier.code {
        return Judged { tier: HeldTier { release, ..member.tier.clone() }, moved: false };
    }
    Judged { tier: HeldTier { code: verdict.tier, release, since: now, cause }, moved: true }
}

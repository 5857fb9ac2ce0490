//! Which tier a member holds after what they did.

use jiff::Timestamp;

use crate::{
    domain::{
        fact::Facts,
        member::{HeldTier, Member, TierCause},
        programme::Programme,
        rule::{Kind, TierSubject},
    },
    service::{
        Error,
        rules::{Rules, TIER_SLOT},
        tiers::keep::{self, Case},
    },
};

/// What the tier rule says of a member, and what follows.
#[derive(Clone)]
pub(in crate::service) struct Judged {
    /// The tier as it was stored.
    pub(in crate::service) was: HeldTier,
    /// The tier to store.
    pub(in crate::service) tier: HeldTier,
    /// Whether it ranks above the one before.
    pub(in crate::service) raised: bool,
}

impl Judged {
    /// Whether the tier's code differs from the one stored.
    pub(in crate::service) fn moved(&self) -> bool {
        self.was.code != self.tier.code
    }
}

/// A member to judge, and by what besides the rule.
pub(in crate::service) struct Judge<'a> {
    pub(in crate::service) member: &'a Member,
    pub(in crate::service) programme: &'a Programme,
    pub(in crate::service) now: Timestamp,
    pub(in crate::service) cause: TierCause,
}

/// Asks the tier rule with the facts as they will be. Where the release is not the one that gave the stored tier, the
/// rule is also asked with the facts as they were: what only the new rule explains is a `rule-change`, and a demotion by
/// it waits for the period's end unless the release says otherwise.
pub(in crate::service) async fn judge(
    rules: &mut Rules<'_>,
    judge: Judge<'_>,
    before: Facts,
    after: Facts,
) -> Result<Judged, Error> {
    let Judge { member, programme, now, cause } = judge;
    let release = rules.named(TIER_SLOT, Kind::TierRule)?.number;
    let new_rule = member.tier.release != release;
    let mut subjects = vec![TierSubject { as_of: now, facts: after }];
    if new_rule {
        subjects.push(TierSubject { as_of: now, facts: before });
    }
    let mut verdicts = rules.tier(subjects).await?.into_iter();
    let unmoved = || Judged { was: member.tier.clone(), tier: member.tier.clone(), raised: false };
    let Some(Some(verdict)) = verdicts.next() else { return Ok(unmoved()) };
    let mut why = cause;
    if new_rule {
        let Some(Some(as_before)) = verdicts.next() else { return Ok(unmoved()) };
        if as_before.tier == verdict.tier {
            why = TierCause::RuleChange;
        }
    }
    let held = rules.held_tier(member)?.code;
    let (given, held) = (rules.rank(&verdict.tier)?, rules.rank(&held)?);
    let case = Case {
        programme,
        zone: rules.zone(),
        now,
        verdict: verdict.tier,
        release,
        lower: given < held,
        cause: why,
        demote_now: rules.demotes_now()?,
    };
    let tier = keep::next(&member.tier, case);
    let raised = given > held && tier.code != member.tier.code;
    Ok(Judged { was: member.tier.clone(), tier, raised })
}

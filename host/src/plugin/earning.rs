//! Earning rules: how many points an activity earns.

use super::{
    call::{Core, Rule, Values, Warm, check_count, take},
    fault::Fault,
    program::{Rules, wrong_kind},
    release::Ready,
    sandbox::Sandbox,
    wire,
};
use crate::domain::{
    money::Points,
    rule::{Activity, Award, Kind},
};

/// Lines of an order.
const LINES_MAX: usize = 200;
/// Days until points can be spent.
const PENDING_DAYS_MAX: u16 = 366;
/// Months until points expire.
const VALID_MONTHS_MAX: u16 = 120;

pub(super) enum EarningRules {}

impl Rule for EarningRules {
    const KIND: Kind = Kind::EarningRule;
    type Subject = Activity;
    type Answer = Award;

    async fn ask(core: &Core, sandbox: &mut Sandbox, activities: &[Activity]) -> Result<Vec<Award>, Fault> {
        let Rules::Earning { evaluate } = &core.program.rules else { return Err(wrong_kind(Self::KIND)) };
        if let Some(activity) = activities.iter().find(|activity| activity.lines.len() > LINES_MAX) {
            return Err(Fault::BadInput(format!("{} lines, at most {LINES_MAX}", activity.lines.len())));
        }
        let (width, line_width) = (core.picks.subject.len(), core.picks.line.len());
        let lines: usize = activities.iter().map(|activity| activity.lines.len()).sum();
        let mut values = Values::with_capacity(width * activities.len() + line_width * lines);
        for activity in activities {
            values.push_facts(&core.picks.subject, &activity.facts);
            activity.lines.iter().for_each(|line| values.push_facts(&core.picks.line, line));
        }
        let values = values.finish(&core.budgets, activities.len())?;
        let mut rest = values.as_slice();
        let mut facts = Vec::with_capacity(activities.len());
        let mut rows = Vec::with_capacity(lines);
        for activity in activities {
            facts.push(take(&mut rest, width));
            rows.extend(activity.lines.iter().map(|_| take(&mut rest, line_width)));
        }
        let mut rows = rows.as_slice();
        let lowered: Vec<_> = activities
            .iter()
            .zip(facts)
            .map(|(activity, facts)| wire::Activity {
                as_of: activity.as_of.as_millisecond(),
                facts,
                lines: take(&mut rows, activity.lines.len()),
            })
            .collect();
        let given = evaluate.call(sandbox, (&lowered,)).await;
        let (given,) = given.map_err(|error| core.classify(&error, activities.len()))?;
        check_count("awards", given.len(), activities.len())?;
        given.into_iter().map(|award| accept(core, award)).collect()
    }

    fn default(ready: &Ready) -> Option<Award> {
        if let Ready::Award(award) = ready { Some(award.clone()) } else { None }
    }
}

fn accept(core: &Core, award: wire::Award) -> Result<Award, Fault> {
    let wire::Award { points, pending_days, valid_months, reasons } = award;
    let points = Points::new(points);
    check(points, pending_days, valid_months).map_err(Fault::BadAnswer)?;
    Ok(Award { points, pending_days, valid_months, reasons: core.reasons(reasons)? })
}

/// Whether these can be an award.
pub(super) fn check(points: Points, pending_days: u16, valid_months: u16) -> Result<(), String> {
    if points < Points::ZERO {
        return Err(format!("a negative award of {points} points"));
    }
    if pending_days > PENDING_DAYS_MAX {
        return Err(format!("{pending_days} pending days, at most {PENDING_DAYS_MAX}"));
    }
    if !(1..=VALID_MONTHS_MAX).contains(&valid_months) {
        return Err(format!("valid for {valid_months} months, must be 1 to {VALID_MONTHS_MAX}"));
    }
    Ok(())
}

impl Warm {
    /// The points each activity earns.
    ///
    /// # Errors
    ///
    /// The [`Fault`] for all of them; there is no fallback.
    pub async fn earn(&mut self, activities: &[Activity]) -> Result<Vec<Award>, Fault> {
        self.ask::<EarningRules>(activities).await
    }
}

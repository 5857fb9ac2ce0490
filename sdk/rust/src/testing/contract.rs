//! What `wit/v0` demands of every plugin.

use std::collections::BTreeSet;

use crate::{
    ReasonCode,
    content_guard::Finding,
    coupon_policy::{Outcome, Proposal},
    scorer::Score,
    types::{Description, Parameter, Reason},
};

/// Panics if a description breaks a limit: this is wrong whatever the case.
pub(super) fn check_description(description: &Description, reasons: &[ReasonCode]) {
    assert!(is_name(&description.name), "the name `{}` is not 1 to 64 bytes of a-z, 0-9 and -", description.name);
    assert!(!description.summary.is_empty(), "Cargo.toml has no `description`, the operator's one sentence");
    assert!(description.config_schema.len() <= 64 << 10, "the configuration's schema is larger than 64 KiB");
    assert!(description.facts.len() <= 256, "more than 256 facts");
    assert!(reasons.len() <= 256, "more than 256 reasons");
    let mut codes = BTreeSet::new();
    for reason in reasons {
        assert!(is_name(reason.code), "the reason `{}` is not 1 to 64 bytes of a-z, 0-9 and -", reason.code);
        assert!(codes.insert(reason.code), "the reason `{}` stands twice", reason.code);
        let (zh_cn, en) = (placeholders(reason.zh_cn), placeholders(reason.en));
        assert_eq!(zh_cn, en, "the texts of `{}` do not take the same parameters", reason.code);
    }
}

/// At most 64 bytes of `[a-z0-9-]`.
pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// The numbers in the placeholders `{0}`, `{1}` … of a text.
fn placeholders(text: &str) -> BTreeSet<usize> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')?.0.parse().ok()).collect()
}

/// Each reason takes as many parameters as its texts show.
pub(super) fn check_reasons(reasons: &[Reason], codes: &[ReasonCode]) -> Result<(), String> {
    if reasons.len() > 8 {
        return Err("more than 8 reasons".to_owned());
    }
    for reason in reasons {
        let code = codes.get(usize::from(reason.code)).ok_or("a reason that is not in the table")?;
        let shown = placeholders(code.en).last().map_or(0, |last| last + 1);
        if reason.parameters.len() != shown || shown > 8 {
            return Err(format!("`{}` has {} parameters, its texts show {shown}", code.code, reason.parameters.len()));
        }
    }
    Ok(())
}

/// Each candidate at most once, each value a number that can be compared.
pub(super) fn check_scores(scores: &[Score], candidates: usize) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for Score { candidate, value, .. } in scores {
        if *candidate as usize >= candidates {
            return Err(format!("candidate {candidate} of {candidates} does not exist"));
        }
        if !seen.insert(candidate) {
            return Err(format!("candidate {candidate} is scored twice"));
        }
        if !value.is_finite() {
            return Err(format!("the score of candidate {candidate} is {value}, must be finite"));
        }
    }
    Ok(())
}

/// At most 32 findings, each a piece of a part, cut between characters, with the phrase as its first parameter.
pub(super) fn check_findings(findings: &[Finding], parts: &[String]) -> Result<(), String> {
    if findings.len() > 32 {
        return Err(format!("{} findings, at most 32", findings.len()));
    }
    for finding in findings {
        let part = parts.get(usize::from(finding.part)).ok_or("a part that is not there")?;
        let piece = part.get(finding.start as usize..finding.end as usize).filter(|piece| !piece.is_empty());
        piece.ok_or(format!("{finding:?} is no piece of part {}", finding.part))?;
        if !matches!(finding.reason.parameters.first(), Some(Parameter::Text(phrase)) if !phrase.is_empty()) {
            return Err(format!("the first parameter of {finding:?} is not the phrase"));
        }
    }
    Ok(())
}

/// A proposal takes something, and no more than there is. `amounts` are what the lines cost, `fee` the delivery.
pub(super) fn check_proposal(proposal: &Proposal, amounts: &[i64], fee: i64) -> Result<(), String> {
    let ascending = |lines: &[u16]| lines.is_sorted_by(|a, b| a < b);
    let cost = |line: u16| amounts.get(usize::from(line)).copied().ok_or(format!("line {line} is not in the cart"));
    let within = |amount: i64, most: i64| {
        if (1..=most).contains(&amount) { Ok(()) } else { Err(format!("takes {amount} off {most}")) }
    };
    match &proposal.outcome {
        Outcome::Declined if proposal.reasons.is_empty() => Err("declines without a reason".to_owned()),
        Outcome::Declined => Ok(()),
        Outcome::Shared(shared) if !ascending(&shared.lines) => Err("its lines are not ascending".to_owned()),
        Outcome::Shared(shared) => {
            let most = shared.lines.iter().map(|line| cost(*line)).sum::<Result<i64, _>>()?;
            within(shared.amount, most)
        }
        Outcome::Lines(lines) if lines.is_empty() => Err("takes nothing off any line".to_owned()),
        Outcome::Lines(lines) => {
            if !ascending(&lines.iter().map(|discount| discount.line).collect::<Vec<_>>()) {
                return Err("its lines are not ascending".to_owned());
            }
            lines.iter().try_for_each(|discount| within(discount.amount, cost(discount.line)?))
        }
        Outcome::Delivery(amount) => within(*amount, fee),
    }
}

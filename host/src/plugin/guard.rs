//! Content guards: what a message may not say.

use super::{
    call::{Core, Rule, Values, check_count, take},
    fault::Fault,
    program::{Rules, wrong_kind},
    release::Ready,
    sandbox::Sandbox,
    wire,
};
use crate::domain::{
    guard::{Draft, Finding},
    rule::{Kind, Parameter},
};

/// Parts of a message.
const PARTS_MAX: usize = 16;
/// Findings of a message.
const FINDINGS_MAX: usize = 32;

pub(super) enum ContentGuards {}

impl Rule for ContentGuards {
    const KIND: Kind = Kind::ContentGuard;
    type Subject = Draft;
    type Answer = Vec<Finding>;

    async fn ask(core: &Core, sandbox: &mut Sandbox, drafts: &[Draft]) -> Result<Vec<Vec<Finding>>, Fault> {
        let Rules::Guard { check } = &core.program.rules else { return Err(wrong_kind(Self::KIND)) };
        if let Some(draft) = drafts.iter().find(|draft| draft.parts.len() > PARTS_MAX) {
            return Err(Fault::BadInput(format!("{} parts, at most {PARTS_MAX}", draft.parts.len())));
        }
        let width = core.picks.subject.len();
        let mut values = Values::with_capacity(width * drafts.len());
        for draft in drafts {
            values.push_facts(&core.picks.subject, &draft.facts);
            values.count(draft.parts.iter().map(|part| 8 + part.len()).sum());
        }
        let values = values.finish(&core.budgets, drafts.len())?;
        let mut rest = values.as_slice();
        let lowered: Vec<_> =
            drafts.iter().map(|draft| wire::Draft { facts: take(&mut rest, width), parts: &draft.parts }).collect();
        let given = check.call(sandbox, (&lowered,)).await;
        let (given,) = given.map_err(|error| core.classify(&error, drafts.len()))?;
        check_count("lists of findings", given.len(), drafts.len())?;
        given.into_iter().zip(drafts).map(|(findings, draft)| accept_all(core, findings, draft)).collect()
    }

    fn default(_: &Ready) -> Option<Vec<Finding>> {
        None
    }
}

fn accept_all(core: &Core, given: Vec<wire::Finding>, draft: &Draft) -> Result<Vec<Finding>, Fault> {
    if given.len() > FINDINGS_MAX {
        return Err(Fault::BadAnswer(format!("{} findings, at most {FINDINGS_MAX}", given.len())));
    }
    let finding = |(index, finding): (usize, wire::Finding)| {
        check_place(&finding, draft).map_err(|why| Fault::BadAnswer(format!("finding {index}: {why}")))?;
        let wire::Finding { part, start, end, reason } = finding;
        let reason = core.reasons(vec![reason])?.pop().filter(names_the_phrase);
        let nameless = || Fault::BadAnswer(format!("finding {index}: the first parameter must be the phrase, a text"));
        Ok(Finding { part, start, end, reason: reason.ok_or_else(nameless)? })
    };
    given.into_iter().enumerate().map(finding).collect()
}

fn names_the_phrase(reason: &crate::domain::rule::Reason) -> bool {
    matches!(reason.parameters.first(), Some(Parameter::Text(phrase)) if !phrase.is_empty())
}

/// The place is a piece of one part, at least one character, cut between characters.
fn check_place(finding: &wire::Finding, draft: &Draft) -> Result<(), String> {
    let wire::Finding { part, start, end, .. } = *finding;
    let Some(text) = draft.parts.get(usize::from(part)) else {
        return Err(format!("part {part} of {} does not exist", draft.parts.len()));
    };
    if start >= end {
        return Err(format!("it begins at {start} and ends at {end}, must end behind its beginning"));
    }
    if end as usize > text.len() {
        return Err(format!("it ends at {end}, part {part} has {} bytes", text.len()));
    }
    match [start, end].into_iter().find(|at| !text.is_char_boundary(*at as usize)) {
        Some(at) => Err(format!("byte {at} of part {part} lies inside a character")),
        None => Ok(()),
    }
}

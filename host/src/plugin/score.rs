//! Scorers: what a member might want, and why.

use super::{
    call::{Core, Rule, Values, check_count, take},
    fault::Fault,
    program::{Rules, wrong_kind},
    release::Ready,
    sandbox::Sandbox,
    wire,
};
use crate::domain::{
    rule::Kind,
    score::{Score, ScoreRequest},
};

/// Candidates of one request.
const CANDIDATES_MAX: usize = 1_000;
/// Purchases of one candidate.
const PURCHASES_MAX: usize = 32;

pub(super) enum Scorers {}

impl Rule for Scorers {
    const KIND: Kind = Kind::Scorer;
    type Subject = ScoreRequest;
    type Answer = Vec<Score>;

    async fn ask(core: &Core, sandbox: &mut Sandbox, requests: &[ScoreRequest]) -> Result<Vec<Vec<Score>>, Fault> {
        let Rules::Scorer { evaluate } = &core.program.rules else { return Err(wrong_kind(Self::KIND)) };
        requests.iter().try_for_each(check_input)?;
        let (width, candidate_width) = (core.picks.subject.len(), core.picks.candidate.len());
        let candidates: usize = requests.iter().map(|request| request.candidates.len()).sum();
        let mut values = Values::with_capacity(width * requests.len() + candidate_width * candidates);
        let mut purchases = Vec::new();
        for request in requests {
            values.push_facts(&core.picks.subject, &request.facts);
            for candidate in &request.candidates {
                values.push_facts(&core.picks.candidate, &candidate.facts);
                purchases.extend(candidate.purchased_at.iter().map(|at| at.as_millisecond()));
            }
        }
        values.count(purchases.len() * size_of::<i64>());
        let values = values.finish(&core.budgets, requests.len())?;
        let (mut rest, mut purchases) = (values.as_slice(), purchases.as_slice());
        let mut facts = Vec::with_capacity(requests.len());
        let mut rows = Vec::with_capacity(candidates);
        for request in requests {
            facts.push(take(&mut rest, width));
            rows.extend(request.candidates.iter().map(|candidate| wire::Candidate {
                facts: take(&mut rest, candidate_width),
                purchased_at: take(&mut purchases, candidate.purchased_at.len()),
            }));
        }
        let mut rows = rows.as_slice();
        let lowered: Vec<_> = requests
            .iter()
            .zip(facts)
            .map(|(request, facts)| wire::ScoreRequest {
                as_of: request.as_of.as_millisecond(),
                facts,
                candidates: take(&mut rows, request.candidates.len()),
            })
            .collect();
        let given = evaluate.call(sandbox, (&lowered,)).await;
        let (given,) = given.map_err(|error| core.classify(&error, requests.len()))?;
        check_count("lists of scores", given.len(), requests.len())?;
        given.into_iter().zip(requests).map(|(scores, request)| accept(core, scores, request)).collect()
    }

    fn default(_: &Ready) -> Option<Vec<Score>> {
        None
    }
}

fn check_input(request: &ScoreRequest) -> Result<(), Fault> {
    if request.candidates.len() > CANDIDATES_MAX {
        return Err(Fault::BadInput(format!("{} candidates, at most {CANDIDATES_MAX}", request.candidates.len())));
    }
    let purchases = request.candidates.iter().map(|candidate| candidate.purchased_at.len()).max().unwrap_or(0);
    if purchases > PURCHASES_MAX {
        return Err(Fault::BadInput(format!("a candidate bought {purchases} times, at most {PURCHASES_MAX}")));
    }
    Ok(())
}

/// Each candidate at most once, each value a number that can be compared.
fn accept(core: &Core, given: Vec<wire::Score>, request: &ScoreRequest) -> Result<Vec<Score>, Fault> {
    let bad = |why: String| Err(Fault::BadAnswer(why));
    let candidates = request.candidates.len();
    if given.len() > candidates {
        return bad(format!("{} scores for {candidates} candidates", given.len()));
    }
    let mut seen = vec![false; candidates];
    let mut scores = Vec::with_capacity(given.len());
    for score in given {
        let wire::Score { candidate, shelf, value, reasons } = score;
        match seen.get_mut(candidate as usize) {
            None => return bad(format!("candidate {candidate} of {candidates} does not exist")),
            Some(true) => return bad(format!("candidate {candidate} is scored twice")),
            Some(first) => *first = true,
        }
        if !value.is_finite() {
            return bad(format!("the score of candidate {candidate} is {value}, must be finite"));
        }
        let reasons = core.reasons(reasons)?;
        scores.push(Score { candidate, shelf: shelf.into(), value, reasons });
    }
    Ok(scores)
}

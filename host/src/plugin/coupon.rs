//! Coupon policies: what offers are worth for a cart.

use super::{
    call::{Core, Rule, Values, Warm, check_count, take},
    fault::Fault,
    module::FieldError,
    program::{Rules, wrong_kind},
    release::Ready,
    sandbox::Sandbox,
    wire,
};
use crate::domain::{
    fact::{self, Fact, Facts, Value},
    money::Money,
    rule::{CartSubject, Kind, Outcome, Proposal},
};

/// Lines of a cart.
const LINES_MAX: usize = 200;
/// Offers judged at once.
const OFFERS_MAX: usize = 200;

pub(super) enum CouponPolicies {}

impl Rule for CouponPolicies {
    const KIND: Kind = Kind::CouponPolicy;
    type Subject = CartSubject;
    type Answer = Vec<Proposal>;

    async fn ask(core: &Core, sandbox: &mut Sandbox, carts: &[CartSubject]) -> Result<Vec<Vec<Proposal>>, Fault> {
        let Rules::Coupon { evaluate, .. } = &core.program.rules else { return Err(wrong_kind(Self::KIND)) };
        carts.iter().try_for_each(|cart| check_input(core, cart))?;
        let (width, line_width) = (core.picks.subject.len(), core.picks.line.len());
        let rows: usize = carts.iter().map(|cart| cart.lines.len() + cart.offers.len()).sum();
        let widest = line_width.max(core.module.description().terms.len());
        let mut values = Values::with_capacity(width * carts.len() + widest * rows);
        for cart in carts {
            values.push_facts(&core.picks.subject, &cart.facts);
            cart.lines.iter().for_each(|line| values.push_facts(&core.picks.line, line));
            cart.offers.iter().flatten().for_each(|term| values.push(term));
        }
        let values = values.finish(&core.budgets, carts.len())?;
        let mut rest = values.as_slice();
        let mut facts = Vec::with_capacity(carts.len());
        let mut table = Vec::with_capacity(rows);
        for cart in carts {
            facts.push(take(&mut rest, width));
            table.extend(cart.lines.iter().map(|_| take(&mut rest, line_width)));
            table.extend(cart.offers.iter().map(|terms| take(&mut rest, terms.len())));
        }
        let mut table = table.as_slice();
        let lowered: Vec<_> = carts
            .iter()
            .zip(facts)
            .map(|(cart, facts)| wire::Cart {
                as_of: cart.as_of.as_millisecond(),
                facts,
                lines: take(&mut table, cart.lines.len()),
                offers: take(&mut table, cart.offers.len()),
            })
            .collect();
        let given = evaluate.call(sandbox, (&lowered,)).await;
        let (given,) = given.map_err(|error| core.classify(&error, carts.len()))?;
        check_count("carts", given.len(), carts.len())?;
        given.into_iter().zip(carts).map(|(proposals, cart)| accept_all(core, proposals, cart)).collect()
    }

    fn default(_: &Ready) -> Option<Vec<Proposal>> {
        None
    }
}

fn check_input(core: &Core, cart: &CartSubject) -> Result<(), Fault> {
    let terms = core.module.description().terms.len();
    let why = if cart.lines.len() > LINES_MAX {
        format!("{} lines, at most {LINES_MAX}", cart.lines.len())
    } else if cart.offers.len() > OFFERS_MAX {
        format!("{} offers, at most {OFFERS_MAX}", cart.offers.len())
    } else if let Some(index) = cart.offers.iter().position(|offer| offer.len() != terms) {
        format!("offer {index} has {} terms, the policy {terms}", cart.offers[index].len())
    } else {
        return Ok(());
    };
    Err(Fault::BadInput(why))
}

fn accept_all(core: &Core, given: Vec<wire::Proposal>, cart: &CartSubject) -> Result<Vec<Proposal>, Fault> {
    check_count("proposals", given.len(), cart.offers.len())?;
    let mut proposals = Vec::with_capacity(given.len());
    for (offer, proposal) in given.into_iter().enumerate() {
        let in_offer = |why: String| Fault::BadAnswer(format!("offer {offer}: {why}"));
        let outcome = accept(proposal.outcome, cart).map_err(in_offer)?;
        let reasons = core.reasons(proposal.reasons).map_err(|fault| match fault {
            Fault::BadAnswer(why) => in_offer(why),
            fault => fault,
        })?;
        if outcome == Outcome::Declined && reasons.is_empty() {
            return Err(in_offer("declined without a reason".to_owned()));
        }
        proposals.push(Proposal { outcome, reasons });
    }
    Ok(proposals)
}

fn accept(outcome: wire::Outcome, cart: &CartSubject) -> Result<Outcome, String> {
    Ok(match outcome {
        wire::Outcome::Declined => Outcome::Declined,
        wire::Outcome::Shared(wire::SharedDiscount { amount, lines }) => {
            if lines.is_empty() {
                return Err("a discount over no line".to_owned());
            }
            check_lines(&lines, cart)?;
            let left: i128 = lines.iter().map(|line| i128::from(line_amount(cart, *line))).sum();
            let amount = check_amount(amount, left, "what its lines cost")?;
            Outcome::Shared { amount, lines }
        }
        wire::Outcome::Lines(discounts) => {
            if discounts.is_empty() {
                return Err("a discount over no line".to_owned());
            }
            let lines: Vec<u16> = discounts.iter().map(|discount| discount.line).collect();
            check_lines(&lines, cart)?;
            let check = |wire::LineDiscount { line, amount }| {
                let left = i128::from(line_amount(cart, line));
                Ok((line, check_amount(amount, left, &format!("what line {line} costs"))?))
            };
            Outcome::Lines(discounts.into_iter().map(check).collect::<Result<_, String>>()?)
        }
        wire::Outcome::Delivery(amount) => {
            let fee = i128::from(integer(&cart.facts, &fact::CART_DELIVERY_FEE));
            Outcome::Delivery(check_amount(amount, fee, "the delivery fee")?)
        }
    })
}

/// Lines must exist and ascend.
fn check_lines(lines: &[u16], cart: &CartSubject) -> Result<(), String> {
    if let Some(line) = lines.iter().find(|line| usize::from(**line) >= cart.lines.len()) {
        return Err(format!("line {line} of {} does not exist", cart.lines.len()));
    }
    if lines.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err("lines must ascend, each named once".to_owned());
    }
    Ok(())
}

fn check_amount(amount: i64, most: i128, of: &str) -> Result<Money, String> {
    if amount <= 0 {
        return Err(format!("a discount of {}, must be above zero", Money::new(amount)));
    }
    if i128::from(amount) > most {
        let most = i64::try_from(most).map_or_else(|_| most.to_string(), |most| Money::new(most).to_string());
        return Err(format!("a discount of {}, above {of}, {most}", Money::new(amount)));
    }
    Ok(Money::new(amount))
}

fn line_amount(cart: &CartSubject, line: u16) -> i64 {
    cart.lines.get(usize::from(line)).map_or(0, |facts| integer(facts, &fact::LINE_AMOUNT))
}

/// The fact as a number; zero where the host does not know it, so that nothing can be taken off it.
fn integer(facts: &Facts, fact: &Fact) -> i64 {
    if let Value::Integer(number) = facts.get(fact) { *number } else { 0 }
}

/// Asks the policy about an offer's terms.
pub(super) async fn check_terms(core: &Core, terms: &[Value]) -> Result<Result<(), Vec<FieldError>>, Fault> {
    let Rules::Coupon { check, .. } = &core.program.rules else { return Err(wrong_kind(Kind::CouponPolicy)) };
    let wanted = core.module.description().terms.len();
    if terms.len() != wanted {
        return Err(Fault::BadInput(format!("{} terms, the policy has {wanted}", terms.len())));
    }
    let mut values = Values::with_capacity(terms.len());
    terms.iter().for_each(|term| values.push(term));
    let values = values.finish(&core.budgets, 1)?;
    let mut sandbox = core.fresh(1).await?;
    let (checked,) = check.call(&mut sandbox, (&values,)).await.map_err(|error| core.classify(&error, 1))?;
    Ok(checked.map_err(|fields| fields.into_iter().map(FieldError::from).collect()))
}

impl Warm {
    /// For each cart a proposal for each of its offers.
    ///
    /// # Errors
    ///
    /// The [`Fault`] for all of them; there is no fallback.
    pub async fn price(&mut self, carts: &[CartSubject]) -> Result<Vec<Vec<Proposal>>, Fault> {
        self.ask::<CouponPolicies>(carts).await
    }
}

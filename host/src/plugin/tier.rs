//! Tier rules: which tier a member holds.

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;

use super::{
    call::{Columns, Core, Rule, Values, Warm, check_count, take},
    fault::Fault,
    module::is_name,
    program::{Rules, wrong_kind},
    release::{Ready, ReleaseError},
    sandbox::Sandbox,
    wire,
};
use crate::domain::{
    fact::{Fact, Facts, Value, ValueType},
    money::BasisPoints,
    rule::{Kind, Tier, TierSubject, Verdict},
};

/// Tiers of a rule.
const TIERS_MAX: usize = 32;
/// Bytes of a tier's code.
const CODE_BYTES_MAX: usize = 32;
/// Bytes of a tier's name.
const NAME_BYTES_MAX: usize = 256;
/// The most a benefit multiplies: a hundred times.
const MULTIPLIER_MAX: u32 = 1_000_000;

pub(super) enum TierRules {}

impl Rule for TierRules {
    const KIND: Kind = Kind::TierRule;
    type Subject = TierSubject;
    type Answer = Verdict;

    async fn ask(core: &Core, sandbox: &mut Sandbox, subjects: &[TierSubject]) -> Result<Vec<Verdict>, Fault> {
        let Rules::Tier { evaluate, .. } = &core.program.rules else { return Err(wrong_kind(Self::KIND)) };
        let width = core.picks.subject.len();
        let mut values = Values::with_capacity(width * subjects.len());
        subjects.iter().for_each(|subject| values.push_facts(&core.picks.subject, &subject.facts));
        let values = values.finish(&core.budgets, subjects.len())?;
        let mut rest = values.as_slice();
        let lowered: Vec<_> = subjects
            .iter()
            .map(|subject| wire::Subject { as_of: subject.as_of.as_millisecond(), facts: take(&mut rest, width) })
            .collect();
        let given = evaluate.call(sandbox, (&lowered,)).await;
        let (given,) = given.map_err(|error| core.classify(&error, subjects.len()))?;
        check_count("verdicts", given.len(), subjects.len())?;
        given.into_iter().map(|verdict| accept(core, verdict)).collect()
    }

    fn default(ready: &Ready) -> Option<Verdict> {
        if let Ready::Tier(verdict) = ready { Some(verdict.clone()) } else { None }
    }
}

fn accept(core: &Core, verdict: wire::Verdict) -> Result<Verdict, Fault> {
    let tier = core.tiers.get(usize::from(verdict.tier)).ok_or_else(|| unknown_tier(core, verdict.tier))?;
    Ok(Verdict { tier: tier.code.clone(), reasons: core.reasons(verdict.reasons)? })
}

fn unknown_tier(core: &Core, tier: u16) -> Fault {
    Fault::BadAnswer(format!("tier {tier} of {} does not exist", core.tiers.len()))
}

/// Asks the configured rule for its tiers and checks them.
pub(super) async fn read_tiers(core: &Core, sandbox: &mut Sandbox) -> Result<Arc<[Tier]>, ReleaseError> {
    let Rules::Tier { tiers, .. } = &core.program.rules else {
        return Err(ReleaseError::Start(wrong_kind(Kind::TierRule)));
    };
    let (given,) = tiers.call(sandbox, ()).await.map_err(|error| ReleaseError::Start(core.classify(&error, 1)))?;
    if given.is_empty() || given.len() > TIERS_MAX {
        return Err(wrong("/tiers", format!("{} tiers, there must be 1 to {TIERS_MAX}", given.len())));
    }
    let mut tiers: Vec<Tier> = Vec::with_capacity(given.len());
    for (index, tier) in given.into_iter().enumerate() {
        let tier = check_tier(index, tier)?;
        if tiers.iter().any(|other| other.code == tier.code) {
            return Err(wrong(format!("/tiers/{index}/code"), format!("`{}` is there twice", tier.code)));
        }
        tiers.push(tier);
    }
    Ok(tiers.into())
}

fn wrong(pointer: impl Into<String>, why: String) -> ReleaseError {
    ReleaseError::Tiers { pointer: pointer.into(), why }
}

fn check_tier(index: usize, tier: wire::Tier) -> Result<Tier, ReleaseError> {
    if !is_name(&tier.code, CODE_BYTES_MAX) {
        let why = format!("`{}` is not 1 to {CODE_BYTES_MAX} bytes of [a-z0-9-]", tier.code.escape_debug());
        return Err(wrong(format!("/tiers/{index}/code"), why));
    }
    for (field, name) in [("name-zh-cn", &tier.name_zh_cn), ("name-en", &tier.name_en)] {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(wrong(format!("/tiers/{index}/{field}"), format!("must be 1 to {NAME_BYTES_MAX} bytes")));
        }
    }
    let mut known = Tier {
        code: tier.code.as_str().into(),
        name_zh_cn: tier.name_zh_cn,
        name_en: tier.name_en,
        discount: BasisPoints::new(0),
        points_multiplier: BasisPoints::ONE,
        birthday_points_multiplier: BasisPoints::ONE,
    };
    let mut seen = Vec::new();
    for (position, benefit) in tier.benefits.into_iter().enumerate() {
        let pointer = format!("/tiers/{index}/benefits/{position}");
        let (place, max) = match benefit.name.as_str() {
            "discount" => (&mut known.discount, BasisPoints::ONE.get()),
            "points-multiplier" => (&mut known.points_multiplier, MULTIPLIER_MAX),
            "birthday-points-multiplier" => (&mut known.birthday_points_multiplier, MULTIPLIER_MAX),
            other => return Err(wrong(pointer, format!("the host knows no benefit `{}`", other.escape_debug()))),
        };
        let rate = match benefit.value {
            wire::OwnedValue::Integer(rate) => u32::try_from(rate).ok().filter(|rate| *rate <= max),
            _ => None,
        };
        let rate =
            rate.ok_or_else(|| wrong(&*pointer, format!("`{}` must be 0 to {max} basis points", benefit.name)))?;
        *place = BasisPoints::new(rate);
        if seen.contains(&benefit.name) {
            return Err(wrong(pointer, format!("`{}` is there twice", benefit.name)));
        }
        seen.push(benefit.name);
    }
    Ok(known)
}

/// One fact of many members, as it travels.
enum Column<'a> {
    Integers(Vec<i64>),
    Flags(Vec<u8>),
    Texts(Vec<&'a str>),
}

impl<'a> Column<'a> {
    /// The column of a fact; `None` stands for one that was not granted.
    fn of(wanted: ValueType, fact: Option<&'static Fact>, members: &'a [Facts]) -> Result<Self, Fault> {
        let value = |member: &'a Facts| fact.map_or(&Value::Absent, |fact| member.get(fact));
        let column = match wanted {
            ValueType::Texts => {
                return Err(Fault::BadInput("a fact of type `texts` cannot travel by column".to_owned()));
            }
            ValueType::Text => {
                Self::Texts(members.iter().map(|m| if let Value::Text(t) = value(m) { t } else { "" }).collect())
            }
            ValueType::Flag => Self::Flags(
                members.iter().map(|m| if let Value::Flag(flag) = value(m) { u8::from(*flag) } else { 2 }).collect(),
            ),
            _ => Self::Integers(
                members.iter().map(|m| if let Value::Integer(n) = value(m) { *n } else { i64::MIN }).collect(),
            ),
        };
        Ok(column)
    }

    fn lowered(&self) -> wire::Column<'_> {
        match self {
            Self::Integers(numbers) => wire::Column::Integers(numbers),
            Self::Flags(flags) => wire::Column::Flags(flags),
            Self::Texts(texts) => wire::Column::Texts(texts),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Integers(numbers) => numbers.len() * 8,
            Self::Flags(flags) => flags.len(),
            Self::Texts(texts) => texts.iter().map(|text| 8 + text.len()).sum(),
        }
    }
}

/// The tiers of many members, in a fresh sandbox.
pub(super) async fn columns(core: &Core, as_of: Timestamp, members: &[Facts]) -> Result<Columns, Fault> {
    let began = Instant::now();
    let metrics = &core.health.metrics;
    let _in_flight = metrics.begin();
    if !core.health.breaker.admits(tokio::time::Instant::now) {
        metrics.fault(&Fault::BreakerOpen);
        return Err(Fault::BreakerOpen);
    }
    let (tiers, fuel) = match core.fresh(members.len()).await {
        Err(fault) => (Err(fault), 0),
        Ok(mut sandbox) => {
            let tiers = ask_columns(core, &mut sandbox, as_of, members).await;
            let burnt = sandbox.burnt(&core.budgets, members.len());
            (tiers, burnt)
        }
    };
    let elapsed = began.elapsed();
    metrics.call(members.len(), fuel, elapsed);
    match &tiers {
        Ok(_) => core.health.breaker.succeeded(),
        Err(fault) => {
            metrics.fault(fault);
            if fault.is_plugins() {
                core.health.breaker.failed(tokio::time::Instant::now());
            }
        }
    }
    Ok(Columns { tiers: tiers?, release: core.health.release.clone(), fuel, elapsed })
}

async fn ask_columns(
    core: &Core,
    sandbox: &mut Sandbox,
    as_of: Timestamp,
    members: &[Facts],
) -> Result<Vec<u16>, Fault> {
    let Rules::Tier { columns, .. } = &core.program.rules else { return Err(wrong_kind(Kind::TierRule)) };
    let wanted = &core.module.description().facts;
    let table: Vec<_> = wanted
        .iter()
        .zip(&core.picks.subject)
        .map(|(fact, pick)| Column::of(fact.value_type, *pick, members))
        .collect::<Result<_, _>>()?;
    let bytes: usize = table.iter().map(Column::bytes).sum();
    let limit = (core.budgets.input_bytes as usize).saturating_mul(members.len());
    if bytes > limit {
        return Err(Fault::InputTooLarge { bytes: bytes as u64, limit: limit as u64 });
    }
    let lowered: Vec<_> = table.iter().map(Column::lowered).collect();
    let given = columns.call(sandbox, (as_of.as_millisecond(), &lowered)).await;
    let (given,) = given.map_err(|error| core.classify(&error, members.len()))?;
    check_count("tiers", given.len(), members.len())?;
    match given.iter().find(|tier| usize::from(**tier) >= core.tiers.len()) {
        Some(tier) => Err(unknown_tier(core, *tier)),
        None => Ok(given),
    }
}

impl Warm {
    /// The tier of each member.
    ///
    /// # Errors
    ///
    /// The [`Fault`] for all of them; there is no fallback.
    pub async fn tier(&mut self, subjects: &[TierSubject]) -> Result<Vec<Verdict>, Fault> {
        self.ask::<TierRules>(subjects).await
    }

    /// The tier of each member as an index into the release's tiers.
    ///
    /// # Errors
    ///
    /// The [`Fault`] for all of them; there is no fallback.
    pub async fn tier_columns(&mut self, as_of: Timestamp, members: &[Facts]) -> Result<Vec<u16>, Fault> {
        let mut sandbox = self.take(members.len()).await?;
        let tiers = ask_columns(&self.core, &mut sandbox, as_of, members).await?;
        self.put_back(sandbox);
        Ok(tiers)
    }
}

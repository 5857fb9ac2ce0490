//! The floor: the same snapshot called through wasmtime alone, for the benchmark to compare with.
//!
//! No fallback, no breaker, no checks, no figures, no limits, and a call that blocks its thread. Nothing else should
//! use it.

use std::sync::Arc;

use wasmtime::{
    Store,
    component::{InstancePre, Linker, TypedFunc},
};

use super::{
    call::{Core, Values},
    fault::Fault,
    program::Rules,
    release::Release,
    wire,
};
use crate::domain::{
    fact::Value,
    rule::{Kind, TierSubject},
};

/// One question to one tier rule.
pub struct Bare {
    core: Arc<Core>,
    pre: InstancePre<()>,
    as_of: i64,
    values: Vec<Value>,
}

impl Bare {
    /// What it takes to ask this release about this member.
    ///
    /// # Errors
    ///
    /// [`Fault::BadInput`] if the release is no tier rule, [`Fault::Start`] if it cannot be linked.
    pub fn tier(release: &Release, subject: &TierSubject) -> Result<Self, Fault> {
        let core = Arc::clone(&release.core);
        if !matches!(core.program.rules, Rules::Tier { .. }) || core.configure.is_some() {
            return Err(super::program::wrong_kind(Kind::TierRule));
        }
        let component = core.program.pre.component();
        let linker = Linker::new(component.engine());
        let pre = linker.instantiate_pre(component).map_err(|error| Fault::Start(error.to_string()))?;
        let value = |pick: &Option<_>| pick.map_or(Value::Absent, |fact| subject.facts.get(fact).clone());
        let values = core.picks.subject.iter().map(value).collect();
        Ok(Self { pre, as_of: subject.as_of.as_millisecond(), values, core })
    }

    /// Asks in a fresh store: the index of the tier.
    ///
    /// # Errors
    ///
    /// [`Fault::Trap`] whatever goes wrong.
    pub fn fresh(&self) -> Result<u16, Fault> {
        let failed = |error: wasmtime::Error| Fault::Trap(error.to_string());
        let Rules::Tier { evaluate, .. } = &self.core.program.rules else {
            return Err(super::program::wrong_kind(Kind::TierRule));
        };
        let mut values = Values::with_capacity(self.values.len());
        self.values.iter().for_each(|value| values.push(value));
        let values = values.finish(&self.core.budgets, 1)?;
        let subject = [wire::Subject { as_of: self.as_of, facts: &values }];
        let mut store = Store::new(self.pre.engine(), ());
        store.set_fuel(u64::MAX / 2).map_err(failed)?;
        store.set_epoch_deadline(1_000_000);
        let instance = self.pre.instantiate(&mut store).map_err(failed)?;
        let function = instance.get_func(&mut store, evaluate.index).ok_or(Fault::NoRelease)?;
        type Evaluate<'a> = TypedFunc<(&'a [wire::Subject<'a>],), (Vec<wire::Verdict>,)>;
        // SAFETY: the index is of this component, and was found by `Export::find` for these types.
        let function: Evaluate<'_> = unsafe { TypedFunc::new_unchecked(function) };
        let (verdicts,) = function.call(&mut store, (&subject,)).map_err(failed)?;
        verdicts.first().map(|verdict| verdict.tier).ok_or(Fault::NoRelease)
    }
}

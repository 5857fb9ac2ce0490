//! A compiled component with its exported functions, looked up and type-checked once.

use std::marker::PhantomData;

use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Linker, Lower, TypedFunc,
    types::ComponentItem,
};

use super::{
    channel::wire as channel,
    fault::Fault,
    sandbox::{Guest, Sandbox},
    wire,
};
use crate::domain::rule::Kind;

/// The version of the interfaces that this engine speaks.
pub(super) const INTERFACE_VERSION: &str = "0.1.0";

/// A function of `wit/v0`: its name and the Rust types it is called with.
pub(super) trait Function {
    const NAME: &'static str;
    type Params<'a>: ComponentNamedList + Lower + 'a;
    type Results: ComponentNamedList + Lift + 'static;
}

macro_rules! functions {
    ($($name:ident $wit:literal ($($param:ty),*) -> $result:ty;)*) => {$(
        pub(super) enum $name {}
        impl Function for $name {
            const NAME: &'static str = $wit;
            type Params<'a> = ($($param,)*);
            type Results = ($result,);
        }
    )*};
}

functions! {
    Describe "describe" () -> wire::Description;
    Configure "configure" (&'a str) -> Result<(), Vec<wire::FieldError>>;
    Tiers "tiers" () -> Vec<wire::Tier>;
    EvaluateTiers "evaluate" (&'a [wire::Subject<'a>]) -> Vec<wire::Verdict>;
    EvaluateColumns "evaluate-columns" (i64, &'a [wire::Column<'a>]) -> Vec<u16>;
    EvaluateActivities "evaluate" (&'a [wire::Activity<'a>]) -> Vec<wire::Award>;
    Terms "terms" () -> Vec<wire::Term>;
    CheckTerms "check-terms" (&'a [wire::Value<'a>]) -> Result<(), Vec<wire::FieldError>>;
    EvaluateCarts "evaluate" (&'a [wire::Cart<'a>]) -> Vec<Vec<wire::Proposal>>;
    ReadTraits "traits" () -> channel::Traits;
    SendMessage "send" (channel::Message<'a>, channel::Moment<'a>, &'a [u8]) -> channel::Sent;
    ParseReceipt "parse-receipt" (channel::Incoming<'a>, channel::Moment<'a>) -> Result<channel::Received, String>;
    EvaluateCandidates "evaluate" (&'a [wire::ScoreRequest<'a>]) -> Vec<Vec<wire::Score>>;
    CheckDrafts "check" (&'a [wire::Draft<'a>]) -> Vec<Vec<wire::Finding>>;
}

/// Where a component exports a function, known to have its type.
pub(super) struct Export<F> {
    pub(super) index: ComponentExportIndex,
    function: PhantomData<fn() -> F>,
}

/// A function that the interface has and the component has not, or not with this type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the export `{function}` is not what the interface says: {why}")]
pub struct BadExport {
    /// The function's name.
    pub function: &'static str,
    /// What differs.
    pub why: String,
}

impl<F: Function> Export<F> {
    fn find(pre: &InstancePre<Guest>, interface: &ComponentExportIndex) -> Result<Self, BadExport> {
        let bad = |why: String| BadExport { function: F::NAME, why };
        let found = pre.component().get_export(Some(interface), F::NAME);
        let (item, index) = found.ok_or_else(|| bad("it is missing".to_owned()))?;
        let ComponentItem::ComponentFunc(function) = item else { return Err(bad("it is not a function".to_owned())) };
        if function.async_() {
            return Err(bad("it is async".to_owned()));
        }
        let types = pre.instance_type();
        function.typecheck::<F::Params<'static>, F::Results>(&types).map_err(|error| bad(format!("{error:#}")))?;
        Ok(Self { index, function: PhantomData })
    }

    /// Calls the function in a sandbox of the same component.
    pub(super) async fn call(&self, sandbox: &mut Sandbox, params: F::Params<'_>) -> wasmtime::Result<F::Results> {
        let function = sandbox.instance.get_func(&mut sandbox.store, self.index);
        let function = function.ok_or_else(|| wasmtime::format_err!("`{}` is of another component", F::NAME))?;
        // SAFETY: an index finds functions of its own component alone, and `find` has checked this function against
        // the same types; a lifetime is no part of the check.
        let function = unsafe { TypedFunc::<F::Params<'_>, F::Results>::new_unchecked(function) };
        function.call_async(&mut sandbox.store, params).await
    }
}

/// The functions of each kind.
pub(super) enum Rules {
    Tier { tiers: Export<Tiers>, evaluate: Export<EvaluateTiers>, columns: Export<EvaluateColumns> },
    Earning { evaluate: Export<EvaluateActivities> },
    Coupon { terms: Export<Terms>, check: Export<CheckTerms>, evaluate: Export<EvaluateCarts> },
    Channel { traits: Export<ReadTraits>, send: Export<SendMessage>, parse: Export<ParseReceipt> },
    Scorer { evaluate: Export<EvaluateCandidates> },
    Guard { check: Export<CheckDrafts> },
}

/// A component that can be instantiated, with its functions.
pub(super) struct Program {
    pub(super) pre: InstancePre<Guest>,
    pub(super) describe: Export<Describe>,
    pub(super) configure: Export<Configure>,
    pub(super) rules: Rules,
}

/// Why a component could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("it cannot be linked: {0}")]
    Link(String),
    #[error(transparent)]
    Export(#[from] BadExport),
}

impl Program {
    pub(super) fn load(linker: &Linker<Guest>, component: &Component, kind: Kind) -> Result<Self, LoadError> {
        let pre = linker.instantiate_pre(component).map_err(|error| LoadError::Link(format!("{error:#}")))?;
        let name = interface_name(kind);
        let interface = component.get_export_index(None, name.as_str());
        let interface = interface.ok_or_else(|| LoadError::Link(format!("`{name}` is not exported")))?;
        let rules = match kind {
            Kind::TierRule => Rules::Tier {
                tiers: Export::find(&pre, &interface)?,
                evaluate: Export::find(&pre, &interface)?,
                columns: Export::find(&pre, &interface)?,
            },
            Kind::EarningRule => Rules::Earning { evaluate: Export::find(&pre, &interface)? },
            Kind::CouponPolicy => Rules::Coupon {
                terms: Export::find(&pre, &interface)?,
                check: Export::find(&pre, &interface)?,
                evaluate: Export::find(&pre, &interface)?,
            },
            Kind::Channel => Rules::Channel {
                traits: Export::find(&pre, &interface)?,
                send: Export::find(&pre, &interface)?,
                parse: Export::find(&pre, &interface)?,
            },
            Kind::Scorer => Rules::Scorer { evaluate: Export::find(&pre, &interface)? },
            Kind::ContentGuard => Rules::Guard { check: Export::find(&pre, &interface)? },
        };
        let describe = Export::find(&pre, &interface)?;
        let configure = Export::find(&pre, &interface)?;
        Ok(Self { pre, describe, configure, rules })
    }

    /// Configures the guest in a sandbox; the inner error is the guest's list of wrong fields.
    pub(super) async fn configure(
        &self,
        sandbox: &mut Sandbox,
        config: &str,
    ) -> wasmtime::Result<Result<(), Vec<wire::FieldError>>> {
        Ok(self.configure.call(sandbox, (config,)).await?.0)
    }
}

/// `galenic:plugin/tier-rule@0.1.0`.
pub(super) fn interface_name(kind: Kind) -> String {
    format!("galenic:plugin/{}@{INTERFACE_VERSION}", kind.name())
}

/// The fault of a call that asks for functions which the kind does not have.
pub(super) fn wrong_kind(wanted: Kind) -> Fault {
    Fault::BadInput(format!("the release is no {}", wanted.name()))
}

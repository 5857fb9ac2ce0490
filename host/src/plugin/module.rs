//! Modules: a plugin's bytes, named by their digest, and the questions they must pass to be taken in.
//!
//! Admission asks nothing of the configuration: whatever depends on it is asked when a release is prepared.

use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, types::ComponentItem};

use super::{
    artefact::Kept,
    budget::Budgets,
    engine::{Pool, Shared},
    fault::Fault,
    outbound::Import,
    program::{BadExport, INTERFACE_VERSION, LoadError, Program, Rules},
    sandbox::{Sandbox, block_on, classify},
    wire,
};
use crate::domain::{
    fact::{self, Fact, Scope, ValueType},
    rule::{Kind, ReasonText},
};

/// Facts that a plugin can want.
const FACTS_MAX: usize = 256;
/// Reasons that a plugin can give.
const REASONS_MAX: usize = 256;
/// Terms that a policy can have.
const TERMS_MAX: usize = 64;
/// Bytes of a name or code.
const NAME_BYTES_MAX: usize = 64;
/// Bytes of a summary or of a reason's text.
const TEXT_BYTES_MAX: usize = 1_024;
/// Bytes of the JSON Schema.
const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// The SHA-256 of a module's bytes: the only name a module has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ModuleDigest(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);

/// A text that is not a module's digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a module digest: expected 64 lower-case hexadecimal digits")]
pub struct BadDigest;

impl ModuleDigest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest as bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ModuleDigest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(BadDigest);
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| BadDigest)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| BadDigest)?;
        }
        Ok(Self(digest))
    }
}

impl Serialize for ModuleDigest {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModuleDigest {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One thing wrong with a configuration or with an offer's terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer to the field.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl From<wire::FieldError> for FieldError {
    fn from(error: wire::FieldError) -> Self {
        Self { pointer: error.pointer, message: error.message }
    }
}

/// What a plugin says of itself.
#[derive(Clone, Debug)]
pub struct Description {
    /// Its name: `[a-z0-9-]`.
    pub name: String,
    /// Its own version, as semantic versioning has it.
    pub version: String,
    /// One sentence for the operator.
    pub summary: String,
    /// JSON Schema of the configuration.
    pub config_schema: serde_json::Value,
    /// The facts it wants, in its order.
    pub facts: Vec<&'static Fact>,
    /// Every reason it may give, by index.
    pub reasons: Arc<[ReasonText]>,
    /// The terms that an offer under this policy may set, in order; empty for other kinds.
    pub terms: Vec<Term>,
}

/// A term of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Its name: `[a-z0-9-]`.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
    /// One sentence for the operator.
    pub summary: String,
}

/// A plugin's bytes, checked and tried.
pub struct Module {
    digest: ModuleDigest,
    kind: Kind,
    description: Description,
    bytes: Arc<[u8]>,
    /// What it imports: a channel alone imports anything.
    pub(super) imports: Vec<Import>,
    pub(super) schema: jsonschema::Validator,
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Module({} {} {})", self.description.name, self.description.version, self.digest)
    }
}

impl Module {
    /// Its name.
    pub fn digest(&self) -> ModuleDigest {
        self.digest
    }

    /// The interface it exports.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it says of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The bytes as they were taken in.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// The component as it came, not configured, compiled to fast code. Blocks.
    pub(super) fn compile(&self, shared: &Shared) -> Result<Component, AdmissionError> {
        compile(shared, &shared.small, self.digest, &self.bytes)
    }
}

/// Why a module is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// No bytes at all.
    #[error("the file is empty; send the plugin's .wasm component")]
    Empty,
    /// More bytes than the engine takes.
    #[error(
        "the module has {bytes} bytes, the limit is {limit}; build with `opt-level = \"s\"` and without debug info"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most it may be.
        limit: usize,
    },
    /// Readable text.
    #[error("the file is text, not a WASM component; compile it first and send the .wasm")]
    Text,
    /// Something else.
    #[error("the file is not WASM: it does not begin with `\\0asm`")]
    NotWasm,
    /// A core module, not wrapped as a component.
    #[error("this is a core WASM module; wrap it as a component with `wasm-tools component new`")]
    CoreModule,
    /// The file ends in the middle.
    #[error("the component is truncated: {0}; send the whole file")]
    Truncated(String),
    /// A broken component, or one that uses what the engine does not allow.
    #[error("the component is malformed: {0}")]
    Malformed(String),
    /// An import that no grant covers.
    #[error("the import `{import}` is not allowed: {fix}")]
    Import {
        /// The interface and function.
        import: String,
        /// What is missing and what to do.
        fix: &'static str,
    },
    /// No interface that the engine knows.
    #[error("no known interface is exported (found: {found}); export one of {known}")]
    NoKind {
        /// What is exported.
        found: String,
        /// What would be known.
        known: String,
    },
    /// More than one interface.
    #[error("more than one kind is exported: {0}; build one component for each")]
    SeveralKinds(String),
    /// A known interface of a version that this host does not speak.
    #[error("`{found}` is exported, this host speaks version {INTERFACE_VERSION}; build with the matching SDK")]
    Version {
        /// The export.
        found: String,
    },
    /// A function that is missing or has another type.
    #[error(transparent)]
    Export(#[from] BadExport),
    /// It cannot be instantiated within the limits.
    #[error("the component cannot be started: {0}")]
    Start(Fault),
    /// `describe` or `terms` failed.
    #[error("`{function}` failed: {fault}")]
    Describe {
        /// Which function.
        function: &'static str,
        /// How.
        fault: Fault,
    },
    /// A part of the description is not as it must be.
    #[error("the description is wrong at {pointer}: {why}")]
    Description {
        /// The part.
        pointer: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The host itself failed.
    #[error("the host could not check the module: {0}")]
    Host(String),
}

/// Checks a module; blocks.
pub(super) fn admit(shared: &Shared, bytes: Arc<[u8]>) -> Result<Arc<Module>, AdmissionError> {
    check_header(&bytes, shared.module_bytes_max)?;
    let digest = ModuleDigest::of(&bytes);
    let component = compile(shared, &shared.trial, digest, &bytes)?;
    let kind = find_kind(shared, &component);
    let imports = check_imports(shared, &component, kind.as_ref().is_ok_and(|kind| *kind == Kind::Channel))?;
    let kind = kind?;
    let program = Program::load(&shared.trial.linker, &component, kind).map_err(|error| match error {
        LoadError::Export(export) => AdmissionError::Export(export),
        LoadError::Link(why) => AdmissionError::Malformed(why),
    })?;
    let (wire, terms) = block_on(ask(shared, &program))?;
    let description = check_description(kind, wire, terms)?;
    let schema = jsonschema::draft202012::new(&description.config_schema)
        .map_err(|error| wrong("/config-schema", format!("it is not a JSON Schema: {error}")))?;
    Ok(Arc::new(Module { digest, kind, description, bytes, imports, schema }))
}

fn check_header(bytes: &[u8], limit: usize) -> Result<(), AdmissionError> {
    if bytes.is_empty() {
        return Err(AdmissionError::Empty);
    }
    if bytes.len() > limit {
        return Err(AdmissionError::TooLarge { bytes: bytes.len(), limit });
    }
    match bytes.get(..8) {
        Some(b"\0asm\x0d\0\x01\0") => Ok(()),
        Some(b"\0asm\x01\0\0\0") => Err(AdmissionError::CoreModule),
        _ if b"\0asm\x0d\0\x01\0".starts_with(bytes) => Err(AdmissionError::Truncated("the header is cut off".into())),
        _ if bytes.starts_with(b"\0asm") => Err(AdmissionError::Malformed("an unknown version of WASM".into())),
        _ if std::str::from_utf8(&bytes[..bytes.len().min(512)]).is_ok_and(|text| !text.contains('\0')) => {
            Err(AdmissionError::Text)
        }
        _ => Err(AdmissionError::NotWasm),
    }
}

fn compile(shared: &Shared, pool: &Pool, digest: ModuleDigest, bytes: &[u8]) -> Result<Component, AdmissionError> {
    let key = shared.artefacts.key(&[pool.name.as_bytes(), b"module", digest.as_bytes()]);
    if let Some(Kept::Component(component)) = shared.artefacts.load(&pool.engine, key) {
        return Ok(component);
    }
    let component = Component::from_binary(&pool.engine, bytes).map_err(|error| {
        let why = format!("{error:#}");
        if why.contains("unexpected end") { AdmissionError::Truncated(why) } else { AdmissionError::Malformed(why) }
    })?;
    shared.artefacts.keep(key, Some(&component));
    Ok(component)
}

/// Pure kinds import nothing, a channel what the host offers to channels. Types travel as an import of an interface that
/// has nothing else: those may stay.
fn check_imports(shared: &Shared, component: &Component, is_channel: bool) -> Result<Vec<Import>, AdmissionError> {
    let engine = &shared.trial.engine;
    let mut imports = Vec::new();
    for (name, import) in component.component_type().imports(engine) {
        let known = Import::ALL.into_iter().find(|import| is_channel && import.interface() == name);
        let forbidden = match import.ty {
            ComponentItem::Type(_) => None,
            ComponentItem::ComponentInstance(interface) => interface
                .exports(engine)
                .find(|(function, item)| {
                    let offered = known.is_some_and(|import| import.function() == *function);
                    !matches!(item.ty, ComponentItem::Type(_)) && !offered
                })
                .map(|(function, _)| format!("{name}#{function}")),
            _ => Some(name.to_owned()),
        };
        if let Some(import) = forbidden {
            return Err(AdmissionError::Import { fix: fix_for(&import, is_channel), import });
        }
        imports.extend(known);
    }
    Ok(imports)
}

fn fix_for(import: &str, is_channel: bool) -> &'static str {
    if is_channel {
        "a channel may import `fetch` of outbound-http, `hmac` of secrets and `send` of outbound-mail, each of this host's \
         version; build for wasm32-unknown-unknown with the matching SDK"
    } else if import.starts_with("wasi:") {
        "this kind is pure and no grant covers WASI; build for wasm32-unknown-unknown instead of a wasi target"
    } else if import.contains("outbound-http") {
        "the grant `outbound-http` exists for channels alone; a rule gets everything it may know as facts"
    } else if import.contains("galenic:plugin/") {
        "secrets and outbound-mail exist for channels alone; a rule gets everything it may know as facts"
    } else {
        "this kind is pure and imports nothing; ask for a fact instead, or take the value from the configuration"
    }
}

fn find_kind(shared: &Shared, component: &Component) -> Result<Kind, AdmissionError> {
    let ty = component.component_type();
    let exports: Vec<&str> = ty.exports(&shared.trial.engine).map(|(name, _)| name).collect();
    let mut kinds = Vec::new();
    for name in &exports {
        let interface = name.strip_prefix("galenic:plugin/").and_then(|rest| rest.split_once('@'));
        let Some((interface, version)) = interface else { continue };
        if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == interface) {
            if version != INTERFACE_VERSION {
                return Err(AdmissionError::Version { found: (*name).to_owned() });
            }
            kinds.push(kind);
        }
    }
    match kinds[..] {
        [kind] => Ok(kind),
        [] => Err(AdmissionError::NoKind {
            found: if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") },
            known: Kind::ALL.map(super::program::interface_name).join(", "),
        }),
        _ => Err(AdmissionError::SeveralKinds(kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "))),
    }
}

async fn ask(shared: &Shared, program: &Program) -> Result<(wire::Description, Vec<wire::Term>), AdmissionError> {
    let budgets = Budgets::preparing();
    let place = shared.trial.place().await.map_err(AdmissionError::Start)?;
    let mut sandbox = Sandbox::open(&program.pre, &budgets, 1, Some(place)).await.map_err(AdmissionError::Start)?;
    let failed = |function| {
        move |error: wasmtime::Error| AdmissionError::Describe { function, fault: classify(&error, &budgets, 1) }
    };
    let (description,) = program.describe.call(&mut sandbox, ()).await.map_err(failed("describe"))?;
    let terms = match &program.rules {
        Rules::Coupon { terms, .. } => terms.call(&mut sandbox, ()).await.map_err(failed("terms"))?.0,
        _ => Vec::new(),
    };
    Ok((description, terms))
}

fn wrong(pointer: impl Into<String>, why: impl Into<String>) -> AdmissionError {
    AdmissionError::Description { pointer: pointer.into(), why: why.into() }
}

/// At most `max` bytes of `[a-z0-9-]`, and at least one.
pub(super) fn is_name(name: &str, max: usize) -> bool {
    !name.is_empty()
        && name.len() <= max
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn check_name(pointer: impl Into<String>, name: &str) -> Result<(), AdmissionError> {
    if is_name(name, NAME_BYTES_MAX) {
        return Ok(());
    }
    Err(wrong(pointer, format!("`{}` is not 1 to {NAME_BYTES_MAX} bytes of [a-z0-9-]", name.escape_debug())))
}

fn check_text(pointer: impl Into<String>, text: &str) -> Result<(), AdmissionError> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    Err(wrong(pointer, format!("{} bytes, at most {TEXT_BYTES_MAX}", text.len())))
}

fn check_count(pointer: &str, count: usize, max: usize) -> Result<(), AdmissionError> {
    if count <= max { Ok(()) } else { Err(wrong(pointer, format!("{count} entries, at most {max}"))) }
}

fn check_description(
    kind: Kind,
    from: wire::Description,
    terms: Vec<wire::Term>,
) -> Result<Description, AdmissionError> {
    check_name("/name", &from.name)?;
    if !is_semver(&from.version) {
        return Err(wrong(
            "/version",
            format!("`{}` is not a semantic version like 1.2.3", from.version.escape_debug()),
        ));
    }
    check_text("/summary", &from.summary)?;
    if from.config_schema.len() > SCHEMA_BYTES_MAX {
        return Err(wrong("/config-schema", format!("{} bytes, at most {SCHEMA_BYTES_MAX}", from.config_schema.len())));
    }
    let config_schema = serde_json::from_str(&from.config_schema)
        .map_err(|error| wrong("/config-schema", format!("it is not JSON: {error}")))?;
    Ok(Description {
        facts: check_facts(kind, &from.facts)?,
        reasons: check_reasons(from.reasons)?,
        terms: check_terms(terms)?,
        name: from.name,
        version: from.version,
        summary: from.summary,
        config_schema,
    })
}

fn check_facts(kind: Kind, wanted: &[wire::WantedFact]) -> Result<Vec<&'static Fact>, AdmissionError> {
    check_count("/facts", wanted.len(), FACTS_MAX)?;
    let mut facts: Vec<&'static Fact> = Vec::with_capacity(wanted.len());
    for (index, fact) in wanted.iter().enumerate() {
        let pointer = format!("/facts/{index}");
        let Some(known) = fact::find(&fact.name) else {
            let name = fact.name.escape_debug();
            return Err(wrong(
                pointer,
                format!("the catalogue of this host has no fact `{name}`; the SDK names all there are"),
            ));
        };
        let asked = ValueType::from(fact.value_type);
        if asked != known.value_type {
            let (asked, is) = (asked.name(), known.value_type.name());
            return Err(wrong(pointer, format!("`{}` is of type {is}, not {asked}", known.name)));
        }
        if kind == Kind::Channel {
            return Err(wrong(pointer, "a channel is asked about messages, not about facts; want none"));
        }
        if let Some(why) = misplaced(kind, known) {
            return Err(wrong(pointer, format!("`{}` {why}", known.name)));
        }
        if facts.iter().any(|other| other.name == known.name) {
            return Err(wrong(pointer, format!("`{}` is wanted twice", known.name)));
        }
        facts.push(known);
    }
    Ok(facts)
}

/// Why a kind cannot want a fact: it is never asked about what the fact belongs to.
fn misplaced(kind: Kind, fact: &Fact) -> Option<&'static str> {
    let of_message = fact.name.starts_with("touch.");
    match (kind, fact.scope) {
        (Kind::EarningRule | Kind::CouponPolicy, Scope::Line) | (Kind::Scorer, Scope::Candidate) => None,
        (Kind::TierRule, Scope::Line) => Some("belongs to a line, and a tier rule has no lines"),
        (_, Scope::Line) => Some("belongs to a line; only earning rules and coupon policies have lines"),
        (_, Scope::Candidate) => Some("belongs to a candidate; only scorers have candidates"),
        (Kind::ContentGuard, Scope::Subject) if !of_message => {
            Some("is none of a message; a content guard sees facts that begin with `touch.`")
        }
        (Kind::ContentGuard, Scope::Subject) => None,
        (_, Scope::Subject) if of_message => Some("belongs to a message; only content guards see messages"),
        (_, Scope::Subject) => None,
    }
}

fn check_reasons(reasons: Vec<wire::ReasonText>) -> Result<Arc<[ReasonText]>, AdmissionError> {
    check_count("/reasons", reasons.len(), REASONS_MAX)?;
    let mut codes = BTreeSet::new();
    for (index, reason) in reasons.iter().enumerate() {
        check_name(format!("/reasons/{index}/code"), &reason.code)?;
        check_text(format!("/reasons/{index}/zh-cn"), &reason.zh_cn)?;
        check_text(format!("/reasons/{index}/en"), &reason.en)?;
        if !codes.insert(reason.code.as_str()) {
            return Err(wrong(format!("/reasons/{index}/code"), format!("`{}` is there twice", reason.code)));
        }
    }
    let text =
        |reason: wire::ReasonText| ReasonText { code: reason.code.as_str().into(), zh_cn: reason.zh_cn, en: reason.en };
    Ok(reasons.into_iter().map(text).collect())
}

fn check_terms(terms: Vec<wire::Term>) -> Result<Vec<Term>, AdmissionError> {
    check_count("/terms", terms.len(), TERMS_MAX)?;
    let mut names = BTreeSet::new();
    for (index, term) in terms.iter().enumerate() {
        check_name(format!("/terms/{index}/name"), &term.name)?;
        check_text(format!("/terms/{index}/summary"), &term.summary)?;
        if !names.insert(term.name.as_str()) {
            return Err(wrong(format!("/terms/{index}/name"), format!("`{}` is there twice", term.name)));
        }
    }
    let term = |term: wire::Term| Term { name: term.name, value_type: term.value_type.into(), summary: term.summary };
    Ok(terms.into_iter().map(term).collect())
}

/// Whether this is a version by semantic versioning 2.0.0: three numbers without leading zeros, then perhaps a
/// pre-release and build metadata.
fn is_semver(version: &str) -> bool {
    let identifiers = |text: &str| {
        text.split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
    };
    let (rest, build) = version.split_once('+').map_or((version, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let number = |part: &str| part.parse::<u64>().is_ok_and(|number| number.to_string() == part);
    version.len() <= NAME_BYTES_MAX
        && core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(identifiers)
        && build.is_none_or(identifiers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semantic_versions() {
        for good in ["0.1.0", "10.20.30", "1.0.0-rc.1", "1.0.0+linux", "1.0.0-a-b.1+x.y"] {
            assert!(is_semver(good), "{good}");
        }
        for bad in ["", "1", "1.2", "1.2.3.4", "v1.2.3", "01.2.3", "1.2.3-", "1.2.3+", "1.2.x", "1.2.3-a..b", "1.2.3-ä"]
        {
            assert!(!is_semver(bad), "{bad}");
        }
    }

    #[test]
    fn digests_read_back() {
        let digest = ModuleDigest::of(b"abc");
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!("ba78".parse::<ModuleDigest>(), Err(BadDigest));
        assert_eq!(
            "BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse::<ModuleDigest>(),
            Err(BadDigest)
        );
    }
}

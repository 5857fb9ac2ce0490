//! Modules, releases and what is live: the durable side of the plugin engine.
//!
//! The engine answers; the store says which release it answers with. A module's bytes lie in a file named by their
//! digest, its row beside them; a release is a row that never changes; what is live in a slot is one row, moved by
//! [`Services::activate`] and [`Services::rollback`]. That row is committed first and the engine follows at once, so
//! that a crash at any moment leaves what the store says, and no answer names a release that a restart would undo.

mod activate;
mod files;
mod refusal;
mod restore;
mod shelf;
mod tiers;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde_json::Value as Json;

pub use refusal::PluginRefusal;
pub use shelf::Shelf;

use super::{
    Caller, Done, Error, FieldError, Idempotency, Page, PageRequest, Services,
    check::Checks,
    rules::{COUPON_SLOT, EARNING_SLOT, GUARD_SLOT, SCORE_SLOT, TIER_SLOT},
    tables::{ACTIVE_RELEASES, MODULES, RELEASES},
};
use crate::{
    domain::{cbor, rule::Kind},
    ids::KeyId,
    plugin::{Budgets, Fallback, Grants, Module, ModuleDigest, Release, ReleaseError, ReleaseSpec, ReleaseStats},
    store::{Scan, Tx},
};

/// How often a release is numbered again because another one came first.
const CREATE_TRIES: usize = 8;
/// Codes that a release takes over from earlier ones.
const TIER_MAP_MAX: usize = 256;
/// Bytes of a configuration.
const CONFIG_BYTES_MAX: usize = 256 << 10;

/// An admitted module, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct StoredModule {
    /// Its name.
    #[n(0)]
    pub digest: ModuleDigest,
    /// The interface it exports.
    #[n(1)]
    pub kind: Kind,
    /// What it calls itself.
    #[n(2)]
    pub name: String,
    /// Its own version.
    #[n(3)]
    pub version: String,
    /// One sentence for the operator.
    #[n(4)]
    pub summary: String,
    /// Its size.
    #[n(5)]
    pub bytes: u64,
    /// When it was taken in.
    #[cbor(n(6), with = "cbor::instant")]
    pub pushed_at: Timestamp,
    /// With which key; none for those that came with the program.
    #[n(7)]
    pub pushed_by: Option<KeyId>,
}

/// A release as it was made: it never changes.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct StoredRelease {
    /// Its slot.
    #[n(0)]
    pub slot: String,
    /// Its number in the slot, from 1.
    #[n(1)]
    pub number: u64,
    /// Its plugin.
    #[n(2)]
    pub module: ModuleDigest,
    /// Which kind that is.
    #[n(3)]
    pub kind: Kind,
    /// The plugin's configuration.
    #[cbor(n(4), with = "as_json")]
    pub config: Json,
    /// What it may see.
    #[cbor(n(5), with = "as_json")]
    pub grants: Grants,
    /// What it may use up.
    #[cbor(n(6), with = "as_json")]
    pub budgets: Budgets,
    /// What answers when it cannot.
    #[cbor(n(7), with = "as_json")]
    pub fallback: Fallback,
    /// The release that was live when it was made: what [`Fallback::PreviousRelease`] means.
    #[n(8)]
    pub previous: Option<u64>,
    /// The codes of its tiers, lowest first; empty for other kinds.
    #[n(9)]
    pub tiers: Vec<String>,
    /// From tier codes of earlier releases to its own.
    #[n(10)]
    pub tier_map: BTreeMap<String, String>,
    /// Whether members whom only the new rule puts lower move at once; otherwise they keep their tier.
    #[n(11)]
    pub demote_now: bool,
    /// When it was made.
    #[cbor(n(12), with = "cbor::instant")]
    pub created_at: Timestamp,
    /// With which key; none for those that came with the program.
    #[n(13)]
    pub created_by: Option<KeyId>,
}

/// What is live in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ActiveRelease {
    /// The slot.
    #[n(0)]
    pub slot: String,
    /// The release that answers.
    #[n(1)]
    pub number: u64,
    /// The one that answered before: what a rollback goes back to.
    #[n(2)]
    pub previous: Option<u64>,
    /// Every tier code that a member may still hold and this release does not give, with the one that stands for it.
    #[n(3)]
    pub tier_map: BTreeMap<String, String>,
    /// Since when.
    #[cbor(n(4), with = "cbor::instant")]
    pub activated_at: Timestamp,
    /// With which key; none if the program did so by itself.
    #[n(5)]
    pub activated_by: Option<KeyId>,
}

/// The release to make.
#[derive(Clone, Debug)]
pub struct NewRelease {
    /// Its plugin, pushed before.
    pub module: ModuleDigest,
    /// The plugin's configuration.
    pub config: Json,
    /// What it may see.
    pub grants: Grants,
    /// What it may use up; [`Budgets::of`] the module's kind where it is not said.
    pub budgets: Option<Budgets>,
    /// What answers when it cannot.
    pub fallback: Fallback,
    /// For tier rules: from tier codes of earlier releases to codes of this one.
    pub tier_map: BTreeMap<String, String>,
    /// For tier rules: whether members whom only the new rule puts lower move at once.
    pub demote_now: bool,
}

/// A slot as operators see it.
#[derive(Clone, Debug)]
pub struct SlotView {
    /// Its name.
    pub name: String,
    /// The kind it uses.
    pub kind: Kind,
    /// What is live.
    pub active: ActiveRelease,
    /// The release that is live, in full.
    pub release: StoredRelease,
    /// The number of the latest release.
    pub latest: u64,
    /// What the releases did since the start, the oldest first.
    pub stats: Vec<ReleaseStats>,
}

/// Whether a slot can be called this.
pub(super) fn is_slot_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

/// The kind of the slots that the host itself asks.
fn kind_of_known_slot(name: &str) -> Option<Kind> {
    match name {
        TIER_SLOT => Some(Kind::TierRule),
        EARNING_SLOT => Some(Kind::EarningRule),
        COUPON_SLOT => Some(Kind::CouponPolicy),
        SCORE_SLOT => Some(Kind::Scorer),
        GUARD_SLOT => Some(Kind::ContentGuard),
        name if name.starts_with("channel.") => Some(Kind::Channel),
        _ => None,
    }
}

impl Services {
    /// Takes a module in: checks it, keeps its bytes, and only then its row. The same bytes again are the same module.
    ///
    /// # Errors
    ///
    /// [`Error::Plugin`] with what is wrong with the module, [`Error::Io`] if the bytes cannot be kept.
    pub async fn push_module(
        &self,
        caller: Caller,
        once: Idempotency,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<Done<StoredModule>, Error> {
        if let Some(done) = once.before(&self.store).await? {
            return Ok(done);
        }
        let module = self.engine.admit(bytes.into()).await.map_err(PluginRefusal::from)?;
        let (row, now) = (self.keep_module(&module, Some(caller.key)).await?, self.clock.now());
        self.store.run(now, move |tx| once.once(tx, |tx| put_module(tx, &row))).await
    }

    /// All modules, by digest.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a bad page.
    pub async fn list_modules(&self, page: PageRequest) -> Result<Page<StoredModule>, Error> {
        let read = self.store.read(move |tx| {
            let rows = tx.scan(&MODULES, &page.scan(Scan::all())?)?;
            Ok(page.page(rows)?.map(|(_, module)| module))
        });
        read.await
    }

    /// One module.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn module(&self, digest: ModuleDigest) -> Result<StoredModule, Error> {
        let read = self
            .store
            .read(move |tx| tx.get(&MODULES, &digest.to_string())?.ok_or_else(|| Error::unknown("module", digest)));
        read.await
    }

    /// Makes the next release of a slot. It is configured and ready to answer, and answers nothing until activated.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for wrong fields, those of the configuration included, and [`Error::Plugin`] if the plugin
    /// cannot be made ready or is of another kind than the slot.
    pub async fn create_release(
        &self,
        caller: Caller,
        once: Idempotency,
        slot: &str,
        new: NewRelease,
    ) -> Result<Done<StoredRelease>, Error> {
        check(slot, &new)?;
        if let Some(done) = once.before(&self.store).await? {
            return Ok(done);
        }
        for _ in 0..CREATE_TRIES {
            let (row, release) = self.prepare_next(slot, &new, Some(caller.key)).await?;
            let (once, at) = (once.clone(), row.created_at);
            let run = self.store.run(at, move |tx| once.once(tx, |tx| put_release(tx, &row)));
            match run.await {
                Err(Error::Busy) => {}
                Ok(done) => {
                    if !done.replayed {
                        self.shelf.put(release);
                    }
                    return Ok(done);
                }
                refused => return refused,
            }
        }
        Err(Error::Busy)
    }

    /// The releases of a slot, the latest first.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a bad page.
    pub async fn list_releases(&self, slot: &str, page: PageRequest) -> Result<Page<StoredRelease>, Error> {
        let slot = slot.to_owned();
        let read = self.store.read(move |tx| {
            let rows = tx.scan(&RELEASES, &page.scan(Scan::prefix(&slot).reverse())?)?;
            Ok(page.page(rows)?.map(|(_, release)| release))
        });
        read.await
    }

    /// One release.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn release(&self, slot: &str, number: u64) -> Result<StoredRelease, Error> {
        let slot = slot.to_owned();
        self.store.read(move |tx| known_release(tx, &slot, number)).await
    }

    /// Every slot with a live release, by name.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn slots(&self) -> Result<Vec<SlotView>, Error> {
        let read = self.store.read(|tx| {
            let mut rows = Vec::new();
            for (slot, active) in tx.scan(&ACTIVE_RELEASES, &Scan::all().limit(crate::store::SCAN_ROWS_MAX))? {
                let release = known_release(tx, &slot, active.number)?;
                let latest = latest(tx, &slot)?.map_or(active.number, |latest| latest.number);
                rows.push((active, release, latest));
            }
            Ok::<_, Error>(rows)
        });
        let rows = read.await?;
        let live = self.engine.slots();
        let view = |(active, release, latest): (ActiveRelease, StoredRelease, u64)| {
            let stats = live.iter().find(|slot| **slot.name() == *active.slot).map(|slot| slot.stats());
            let (name, kind) = (active.slot.clone(), release.kind);
            SlotView { name, kind, active, release, latest, stats: stats.unwrap_or_default() }
        };
        Ok(rows.into_iter().map(view).collect())
    }

    /// The release that answers in a slot now. Asks the engine without making the slot.
    pub(super) fn live_release(&self, slot: &str, kind: Kind) -> Option<Arc<Release>> {
        let slots = self.engine.slots();
        slots.iter().find(|known| **known.name() == *slot && known.kind() == kind)?.live()
    }

    /// The lowest tier of the live rule, where everybody starts, and the release that gives it.
    pub(super) fn lowest_tier(&self) -> Result<(crate::domain::rule::Code, u64), Error> {
        let live = self.live_release(TIER_SLOT, Kind::TierRule);
        let lowest = live.as_ref().and_then(|release| Some((release.tiers().first()?, release.reference().number)));
        let (tier, number) = lowest.ok_or(PluginRefusal::Empty { slot: TIER_SLOT.to_owned() })?;
        Ok((tier.code.clone(), number))
    }

    /// Makes the next release ready, under the number it will have if no other comes first.
    async fn prepare_next(
        &self,
        slot: &str,
        new: &NewRelease,
        by: Option<KeyId>,
    ) -> Result<(StoredRelease, Arc<Release>), Error> {
        let (name, digest) = (slot.to_owned(), new.module);
        let read = self.store.read(move |tx| {
            let missing = || Error::field("/module", "no module has this digest: push it first");
            let module = tx.get(&MODULES, &digest.to_string())?.ok_or_else(missing)?;
            let latest = latest(tx, &name)?;
            let active = tx.get(&ACTIVE_RELEASES, &name)?;
            Ok::<_, Error>((module.kind, latest, active))
        });
        let (kind, latest, active) = read.await?;
        let wanted = latest.as_ref().map(|latest| latest.kind).or_else(|| kind_of_known_slot(slot));
        if let Some(wanted) = wanted.filter(|wanted| *wanted != kind) {
            return Err(PluginRefusal::Kind { slot: slot.to_owned(), wanted, given: kind }.into());
        }
        let mut row = StoredRelease {
            slot: slot.to_owned(),
            number: latest.map_or(1, |latest| latest.number + 1),
            module: digest,
            kind,
            config: new.config.clone(),
            grants: new.grants.clone(),
            budgets: new.budgets.unwrap_or_else(|| Budgets::of(kind)),
            fallback: new.fallback.clone(),
            previous: active.map(|active| active.number),
            tiers: Vec::new(),
            tier_map: new.tier_map.clone(),
            demote_now: new.demote_now,
            created_at: self.clock.now(),
            created_by: by,
        };
        let release = self.make_ready(&row).await?;
        row.tiers = release.tiers().iter().map(|tier| tier.code.to_string()).collect();
        tiers::check_map(&row)?;
        Ok((row, release))
    }

    /// Makes a stored release ready to answer. Blocks nobody: the engine works on threads of its own.
    async fn make_ready(&self, row: &StoredRelease) -> Result<Arc<Release>, Error> {
        let module = self.load_module(row.module).await?;
        let previous = match (&row.fallback, row.previous) {
            (Fallback::PreviousRelease, Some(number)) => Some(self.fallback_release(&row.slot, number).await?),
            _ => None,
        };
        let spec = spec(row, module, row.fallback.clone(), previous);
        self.engine.prepare(spec).await.map_err(refused)
    }

    /// The release that another one falls back to. What that one in turn would fall back to is never asked.
    async fn fallback_release(&self, slot: &str, number: u64) -> Result<Arc<Release>, Error> {
        if let Some(ready) = self.ready_release(slot, number) {
            return Ok(ready);
        }
        let row = self.release(slot, number).await?;
        let module = self.load_module(row.module).await?;
        self.engine.prepare(spec(&row, module, Fallback::Skip, None)).await.map_err(refused)
    }

    /// A release that is ready already: live, withdrawn lately, or made lately.
    fn ready_release(&self, slot: &str, number: u64) -> Option<Arc<Release>> {
        let slots = self.engine.slots();
        let known = slots.iter().find(|known| **known.name() == *slot);
        let near = known.and_then(|known| {
            [known.live(), known.previous()].into_iter().flatten().find(|release| release.reference().number == number)
        });
        near.or_else(|| self.shelf.find(slot, number))
    }

    /// An admitted module, by its digest.
    async fn load_module(&self, digest: ModuleDigest) -> Result<Arc<Module>, Error> {
        let live =
            self.engine.slots().iter().filter_map(|slot| slot.live()).find(|live| live.module().digest() == digest);
        if let Some(module) = live.map(|live| Arc::clone(live.module())).or_else(|| self.shelf.module(digest)) {
            return Ok(module);
        }
        let bytes = files::read(Arc::clone(&self.modules), digest).await?;
        Ok(self.engine.admit(bytes).await.map_err(PluginRefusal::from)?)
    }

    /// Keeps a module's bytes; returns the row to write once they are on disk.
    async fn keep_module(&self, module: &Module, by: Option<KeyId>) -> Result<StoredModule, Error> {
        files::write(Arc::clone(&self.modules), module.digest(), Arc::clone(module.bytes())).await?;
        let said = module.description();
        Ok(StoredModule {
            digest: module.digest(),
            kind: module.kind(),
            name: said.name.clone(),
            version: said.version.clone(),
            summary: said.summary.clone(),
            bytes: module.bytes().len() as u64,
            pushed_at: self.clock.now(),
            pushed_by: by,
        })
    }
}

fn spec(row: &StoredRelease, module: Arc<Module>, fallback: Fallback, previous: Option<Arc<Release>>) -> ReleaseSpec {
    ReleaseSpec {
        slot: row.slot.as_str().into(),
        number: row.number,
        module,
        config: row.config.clone(),
        grants: row.grants.clone(),
        budgets: row.budgets,
        fallback,
        previous,
    }
}

/// A refused configuration or grant is a wrong request, field by field; everything else is the plugin's affair.
fn refused(error: ReleaseError) -> Error {
    let field = |field: crate::plugin::FieldError| FieldError::new(format!("/config{}", field.pointer), field.message);
    match error {
        ReleaseError::Config(fields) => Error::Invalid(fields.into_iter().map(field).collect()),
        ReleaseError::Grant { pointer, why } => Error::field(pointer, why),
        other => PluginRefusal::from(other).into(),
    }
}

fn check(slot: &str, new: &NewRelease) -> Result<(), Error> {
    let mut checks = Checks::default();
    checks.require(is_slot_name(slot), "/slot", "must be 1 to 64 characters of [a-z0-9.-]");
    let config = new.config.to_string().len() <= CONFIG_BYTES_MAX;
    checks.require(config, "/config", format!("must be at most {CONFIG_BYTES_MAX} bytes"));
    let codes = new.tier_map.len() <= TIER_MAP_MAX;
    checks.require(codes, "/tier_map", format!("must hold at most {TIER_MAP_MAX} codes"));
    checks.finish()
}

fn put_module(tx: &mut Tx<'_>, row: &StoredModule) -> Result<StoredModule, Error> {
    let key = row.digest.to_string();
    if let Some(stored) = tx.get(&MODULES, &key)? {
        return Ok(stored);
    }
    tx.put(&MODULES, &key, row)?;
    Ok(row.clone())
}

/// Writes a release under its number, if that is still the next one.
fn put_release(tx: &mut Tx<'_>, row: &StoredRelease) -> Result<StoredRelease, Error> {
    let latest = latest(tx, &row.slot)?;
    let active = tx.get(&ACTIVE_RELEASES, &row.slot)?.map(|active| active.number);
    if latest.map_or(1, |latest| latest.number + 1) != row.number || active != row.previous {
        return Err(Error::Busy);
    }
    tx.put(&RELEASES, &(row.slot.clone(), row.number), row)?;
    Ok(row.clone())
}

fn latest(tx: &mut Tx<'_>, slot: &str) -> Result<Option<StoredRelease>, Error> {
    let rows = tx.scan(&RELEASES, &Scan::prefix(&slot.to_owned()).reverse().limit(1))?;
    Ok(rows.into_iter().next().map(|(_, release)| release))
}

fn known_release(tx: &mut Tx<'_>, slot: &str, number: u64) -> Result<StoredRelease, Error> {
    let row = tx.get(&RELEASES, &(slot.to_owned(), number))?;
    row.ok_or_else(|| Error::unknown("release", format!("{slot}#{number}")))
}

/// Values of foreign types as JSON text.
mod as_json {
    use minicbor::{Decoder, Encoder};
    use serde::{Serialize, de::DeserializeOwned};

    pub(super) fn encode<C, T: Serialize, W: minicbor::encode::Write>(
        value: &T,
        to: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let text = serde_json::to_string(value).map_err(minicbor::encode::Error::message)?;
        to.str(&text)?.ok()
    }

    pub(super) fn decode<C, T: DeserializeOwned>(
        from: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<T, minicbor::decode::Error> {
        serde_json::from_str(from.str()?).map_err(minicbor::decode::Error::custom)
    }
}

#[cfg(test)]
mod tests;

//! At start: what was live is live again, and a new deployment gets the reference rules.

use std::collections::BTreeMap;

use super::{
    COUPON_SLOT, EARNING_SLOT, GUARD_SLOT, NewRelease, SCORE_SLOT, TIER_SLOT, activate::Target, known_release, latest,
    put_module, put_release,
};
use crate::{
    domain::rule::Kind,
    plugin::{
        Fallback, Grants, ModuleDigest,
        embedded::{EMBEDDED, Embedded},
    },
    service::{
        Error, Services,
        tables::{ACTIVE_RELEASES, MODULES},
    },
    store::{SCAN_ROWS_MAX, Scan},
};

/// The rules of a new deployment: the slot and the reference plugin in it.
const FIRST_RULES: [(&str, &str); 5] = [
    (TIER_SLOT, "tier-spend"),
    (EARNING_SLOT, "earning-standard"),
    (COUPON_SLOT, "coupon-standard"),
    (SCORE_SLOT, "scorer-rebuy"),
    (GUARD_SLOT, "guard-ad-law"),
];

impl Services {
    /// Makes every release that the store calls live answer again; takes in the reference plugins that came with the
    /// program, and puts them into the slots that orders need and that never had a release.
    ///
    /// # Errors
    ///
    /// Those of making a release ready: [`Error::Io`] names a module file that is gone.
    pub async fn restore_releases(&self) -> Result<(), Error> {
        let read = self.store.read(|tx| {
            let mut rows = Vec::new();
            for (slot, active) in tx.scan(&ACTIVE_RELEASES, &Scan::all().limit(SCAN_ROWS_MAX))? {
                rows.push((known_release(tx, &slot, active.number)?, active));
            }
            Ok::<_, Error>(rows)
        });
        for (row, active) in read.await? {
            let release = self.make_ready(&row).await?;
            self.follow(&active, &row, release)?;
        }
        for plugin in EMBEDDED {
            self.take_in(plugin).await?;
        }
        for (slot, plugin) in FIRST_RULES {
            if let Some(plugin) = Embedded::find(plugin) {
                self.fill_slot(slot, plugin).await?;
            }
        }
        Ok(())
    }

    async fn take_in(&self, plugin: &Embedded) -> Result<(), Error> {
        let key = ModuleDigest::of(plugin.component).to_string();
        let known = self.store.read(move |tx| Ok::<_, Error>(tx.get(&MODULES, &key)?.is_some()));
        if known.await? {
            return Ok(());
        }
        let module = self.engine.admit(plugin.component).await.map_err(super::PluginRefusal::from)?;
        let (row, now) = (self.keep_module(&module, None).await?, self.clock.now());
        self.store.run(now, move |tx| put_module(tx, &row)).await.map(drop)
    }

    async fn fill_slot(&self, slot: &str, plugin: &Embedded) -> Result<(), Error> {
        let name = slot.to_owned();
        if self.store.read(move |tx| latest(tx, &name)).await?.is_some() {
            return Ok(());
        }
        let config = serde_json::from_str(plugin.config)
            .map_err(|error| Error::field("/config", format!("of {} is not JSON: {error}", plugin.name)))?;
        let new = NewRelease {
            module: ModuleDigest::of(plugin.component),
            config,
            grants: Grants { personal: true, ..Grants::default() },
            budgets: None,
            fallback: if plugin.kind == Kind::ContentGuard { Fallback::FailClosed } else { Fallback::Skip },
            tier_map: BTreeMap::new(),
            demote_now: false,
        };
        let (row, release) = self.prepare_next(slot, &new, None).await?;
        let number = row.number;
        self.store.run(row.created_at, move |tx| put_release(tx, &row)).await?;
        self.shelf.put(release);
        self.go_live(slot, Target::Number(number), None, None).await.map(drop)
    }
}

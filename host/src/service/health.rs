//! Whether the rooms answer, and what reasons mean: what the edge asks that is no use case of a noun.

use super::{Error, Services, tables::ACTIVE_RELEASES};
use crate::{
    domain::{order::ReleaseRef, rule::ReasonText},
    store::{Scan, StoreError},
};

impl Services {
    /// Answers once the store has.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn probe(&self) -> Result<(), Error> {
        let read = self.store.read(|tx| tx.scan(&ACTIVE_RELEASES, &Scan::all().limit(1)).map(drop));
        read.await.map_err(|error: StoreError| error.into())
    }

    /// The texts of a reason, as one of these releases ships them, or another release of the same slot: codes keep
    /// their meaning.
    pub fn reason_text(&self, releases: &[ReleaseRef], code: &str) -> Option<ReasonText> {
        let slots = self.engine.slots();
        let wanted = |name: &str| releases.iter().find(|release| release.slot == name);
        slots.iter().filter_map(|slot| wanted(slot.name()).map(|release| (slot, release.number))).find_map(
            |(slot, number)| {
                let mut ready: Vec<_> = [slot.live(), slot.previous()].into_iter().flatten().collect();
                ready.sort_by_key(|release| release.reference().number != number);
                let texts = ready.iter().flat_map(|release| release.module().description().reasons.iter());
                texts.into_iter().find(|text| *text.code == *code).cloned()
            },
        )
    }
}

//! A member's points: balances now and then, the statement, and what operators correct.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan as _};

use super::{Caller, Done, Error, Idempotency, Page, PageRequest, Services, tables::MEMBERS, timers::notice};
use crate::{
    domain::{
        money::Points,
        points::{Account, Balances, Cause, Entry, House, LotKey, LotOrigin, Purse},
    },
    ids::{Id as _, MemberId, RefundId},
    ledger::{
        lots,
        tables::ENTRIES,
        verify::{self, LedgerReport},
    },
    scheduler::{self, TimerKey, TimerKind},
    store::{Row, Scan, Tx},
};

/// How long granted points live where the operator does not say.
const GRANT_MONTHS: i64 = 12;

impl Services {
    /// A member's points, now or at a past instant.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for the member.
    pub async fn points(&self, caller: Caller, id: MemberId, at: Option<Timestamp>) -> Result<Balances, Error> {
        self.store
            .read(move |tx| {
                seen(tx, caller, id)?;
                Ok(lots::balances(tx, id, at)?)
            })
            .await
    }

    /// The statement of one purse, newest first: numbers and entries.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for the member, [`Error::Invalid`] for the page.
    pub async fn entries(
        &self,
        caller: Caller,
        id: MemberId,
        purse: Purse,
        page: PageRequest,
    ) -> Result<Page<(u64, Row<Entry>)>, Error> {
        self.store
            .read(move |tx| {
                seen(tx, caller, id)?;
                let scan = page.scan(Scan::prefix(&Account::Member(id, purse)).reverse())?;
                let page = page.page(tx.scan_rows(&ENTRIES, &scan)?)?;
                Ok(page.map(|((_, number), row)| (number, row)))
            })
            .await
    }

    /// Grants points, or takes them where `points` is negative.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Ledger`] if there are fewer to take.
    pub async fn adjust_points(
        &self,
        caller: Caller,
        once: Idempotency,
        id: MemberId,
        points: Points,
    ) -> Result<Done<Balances>, Error> {
        let now = self.clock.now();
        let expires = now.to_zoned(self.settings.zone.clone()).checked_add(GRANT_MONTHS.months());
        let expires_at = expires.map_or(Timestamp::MAX, |at| at.timestamp());
        let origin: RefundId = self.ids.ordered(now);
        let lot = LotKey { expires_at, origin: LotOrigin(origin.to_bits()) };
        let settings = Arc::clone(&self.settings);
        self.store
            .run(now, move |tx| {
                once.once(tx, |tx| {
                    let mut member = seen(tx, caller, id)?;
                    if points < Points::ZERO {
                        lots::take_away(tx, id, points.negated()?, now)?;
                    } else {
                        lots::grant(tx, id, House::Adjusted, points, lot, Cause::Adjusted)?;
                        scheduler::schedule(tx, TimerKey::new(expires_at, TimerKind::ExpirePoints, id))?;
                        notice::for_points(tx, id, expires_at, now, &settings)?;
                    }
                    member.revision = member.revision.next();
                    tx.put(&MEMBERS, &id, &member)?;
                    Ok::<_, Error>(lots::balances(tx, id, None)?)
                })
            })
            .await
    }

    /// Re-adds the whole ledger.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn verify_ledger(&self) -> Result<LedgerReport, Error> {
        Ok(verify::verify(&self.store).await?)
    }
}

fn seen(tx: &mut Tx<'_>, caller: Caller, id: MemberId) -> Result<crate::domain::member::Member, Error> {
    let member = tx.get(&MEMBERS, &id)?.filter(|member| caller.sees(member.partner));
    member.ok_or_else(|| Error::unknown("member", id))
}

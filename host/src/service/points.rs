//! A member's points: balances now and then, the statement, and what operators correct.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan as _};

use super::{
    Caller, Done, Error, Idempotency, Page, PageRequest, Services, Settings,
    members::{active_member, put_moved, visible_member},
    timers::notice,
};
use crate::{
    domain::{
        money::Points,
        points::{Account, Balances, Cause, Entry, House, LotKey, LotOrigin, Note, Purse},
        rule::Code,
    },
    ids::{Id as _, MemberId, RefundId},
    ledger::{
        lots, postings,
        tables::ENTRIES,
        totals,
        verify::{self, LedgerReport},
    },
    scheduler::{self, TimerKey, TimerKind},
    store::{Row, Scan, StoreError, Tx},
};

/// How long granted points live where the operator does not say.
const GRANT_MONTHS: i64 = 12;
/// The most points granted or taken by hand at once: no mistake may make later sums overflow.
const ADJUSTED_MAX: u64 = 1_000_000_000;
/// The most entries of one statement.
pub const STATEMENT_ENTRIES_MAX: u64 = 100_000;
/// Entries of a statement that are read at once.
const STATEMENT_PAGE: usize = 500;
/// The purses of a statement, in their order.
const PURSES: [Purse; 4] = [Purse::Pending, Purse::Active, Purse::Held, Purse::Debt];

/// Which entries a statement has: of each purse those from one number to before another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    member: MemberId,
    left: Vec<(Purse, u64, u64)>,
}

/// Some entries of a statement: of one purse, with their numbers, oldest first.
pub type StatementPage = (Purse, Vec<(u64, Row<Entry>)>);

impl Services {
    /// A member's points, now or at a past instant.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for the member.
    pub async fn points(&self, caller: Caller, id: MemberId, at: Option<Timestamp>) -> Result<Balances, Error> {
        self.store
            .read(move |tx| {
                visible_member(tx, caller, id)?;
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
                visible_member(tx, caller, id)?;
                let scan = page.scan(Scan::prefix(&Account::Member(id, purse)).reverse())?;
                let page = page.page(tx.scan_rows(&ENTRIES, &scan)?)?;
                Ok(page.map(|((_, number), row)| (number, row)))
            })
            .await
    }

    /// Begins the statement of all purses over a time, as of now: entries after `from`, up to `until`.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for the member, [`Error::Invalid`] for a time with more than [`STATEMENT_ENTRIES_MAX`] entries.
    pub async fn statement(
        &self,
        caller: Caller,
        member: MemberId,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<Statement, Error> {
        let read = self.store.read(move |tx| {
            visible_member(tx, caller, member)?;
            let (mut left, mut entries) = (Vec::new(), 0);
            for purse in PURSES {
                let account = Account::Member(member, purse);
                let first = from.map_or(Ok(0), |at| postings::entries_until(tx, account, at))?;
                let end = postings::entries_until(tx, account, until.unwrap_or(Timestamp::MAX))?;
                entries += end.saturating_sub(first);
                left.push((purse, first, end));
            }
            if entries > STATEMENT_ENTRIES_MAX {
                let message =
                    format!("there are {entries} entries, at most {STATEMENT_ENTRIES_MAX}: ask for less time");
                return Err(Error::field("/from", message));
            }
            Ok(Statement { member, left })
        });
        read.await
    }

    /// The next entries of a statement; `None` after the last ones.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn statement_page(&self, statement: &mut Statement) -> Result<Option<StatementPage>, Error> {
        while let Some((purse, first, end)) = statement.left.first().copied() {
            if first >= end {
                statement.left.remove(0);
                continue;
            }
            let account = Account::Member(statement.member, purse);
            let read = self.store.read(move |tx| {
                let scan = Scan::prefix(&account).from(&(account, first)).until(&(account, end)).limit(STATEMENT_PAGE);
                Ok::<_, Error>(tx.scan_rows(&ENTRIES, &scan)?)
            });
            let rows: Vec<(u64, Row<Entry>)> =
                read.await?.into_iter().map(|((_, number), row)| (number, row)).collect();
            statement.left[0].1 = rows.last().map_or(end, |(last, _)| last + 1);
            return Ok(Some((purse, rows)));
        }
        Ok(None)
    }

    /// Grants points, or takes them where `points` is negative; the entry says who did it and why.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Invalid`] for the reason, [`Error::Ledger`] if there are fewer to take.
    pub async fn adjust_points(
        &self,
        caller: Caller,
        once: Idempotency,
        id: MemberId,
        points: Points,
        why: &str,
    ) -> Result<Done<Balances>, Error> {
        let letters = why.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !letters || !(1..=64).contains(&why.len()) {
            let message = "must be a code of 1 to 64 lower-case letters, digits and hyphens, such as `goodwill`";
            return Err(Error::field("/reason", message));
        }
        if points.get().unsigned_abs() > ADJUSTED_MAX {
            return Err(Error::field("/points", format!("must be -{ADJUSTED_MAX} to {ADJUSTED_MAX}")));
        }
        let note = Note { by: Some(caller.key), why: Code::from(why) };
        let now = self.clock.now();
        let expires = now.to_zoned(self.settings.zone.clone()).checked_add(GRANT_MONTHS.months());
        let expires_at = expires.map_or(Timestamp::MAX, |at| at.timestamp());
        let origin: RefundId = self.ids.ordered(now);
        let lot = LotKey { expires_at, origin: LotOrigin(origin.to_bits()) };
        let settings = Arc::clone(&self.settings);
        self.store
            .run(now, move |tx| {
                once.once(tx, |tx| {
                    let mut member = active_member(tx, caller, id)?;
                    if points < Points::ZERO {
                        lots::take_away(tx, id, points.negated()?, now, Some(&note))?;
                    } else {
                        lots::grant_noted(tx, id, House::Adjusted, points, lot, Cause::Adjusted, Some(&note))?;
                        set_expiry(tx, id, expires_at, now, &settings)?;
                    }
                    put_moved(tx, &mut member)?;
                    Ok::<_, Error>(lots::balances(tx, id, None)?)
                })
            })
            .await
    }

    /// Counts what members hold in all where that was never done: in a store from before it was counted.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn ensure_points_totals(&self) -> Result<(), Error> {
        Ok(totals::ensure(&self.store, self.clock.now()).await?)
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

/// Sets the timers of points that can be spent from now on: the one that lets them die, and the notice before it.
///
/// # Errors
///
/// Those of the store.
pub(super) fn set_expiry(
    tx: &mut Tx<'_>,
    member: MemberId,
    expires_at: Timestamp,
    now: Timestamp,
    settings: &Settings,
) -> Result<(), StoreError> {
    scheduler::schedule(tx, TimerKey::new(expires_at, TimerKind::ExpirePoints, member))?;
    notice::for_points(tx, member, expires_at, now, settings)
}

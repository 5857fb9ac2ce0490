//! Proves the books: re-adds every entry of every account, while orders flow.
//!
//! Entries are append-only and both sides of a posting carry one commit number, so all entries up to one commit sum to
//! zero exactly. [`verify`] picks the newest commit and checks up to there: the sums, that each entry is chained to the
//! one before it, and that the lots of a purse sum to it.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{
    chain::Walk,
    lots::{Lot, PendingLot},
    tables::{BALANCES, ENTRIES, LOTS, PENDING_LOTS},
    totals,
};
use crate::{
    domain::{
        money::Points,
        points::{Account, Entry, House, Link, Purse},
    },
    ids::MemberId,
    store::{Key as _, Row, Scan, Seq, Store, StoreError},
};

/// Rows read at once.
const PAGE: usize = 1_000;
/// Problems listed before the rest is only counted.
const PROBLEMS_LISTED: usize = 100;

/// What the books say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerReport {
    /// Accounts with at least one entry.
    pub accounts: u64,
    /// Entries re-added.
    pub entries: u64,
    /// Lots counted, pending ones included.
    pub lots: u64,
    /// The commit that everything was checked up to.
    pub seq: Seq,
    /// A digest of the heads of all chains at that commit: written down, it tells later whether history was rewritten.
    pub root: Option<Link>,
    /// Entries from before there were chains: their sums alone are proven.
    pub unchained: u64,
    /// The sum of all entries: zero, or the books do not close.
    pub sum: i128,
    /// What members hold and what the programme gave and took.
    pub totals: Totals,
    /// How many things are wrong.
    pub problem_count: u64,
    /// The first hundred of them, in words.
    pub problems: Vec<String>,
}

/// Points by what holds them. What the programme gave is negative there, and shown here as given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// With members, not yet to be spent.
    pub pending: i128,
    /// With members, to be spent.
    pub active: i128,
    /// With members, reserved.
    pub held: i128,
    /// Owed by members: zero or less.
    pub debt: i128,
    /// Given for activities.
    pub issued: i128,
    /// Spent, less what refunds gave back.
    pub redeemed: i128,
    /// Died.
    pub expired: i128,
    /// Taken back after refunds.
    pub clawed_back: i128,
    /// Brought from an earlier programme.
    pub opening: i128,
    /// Given by operators, less what they took.
    pub adjusted: i128,
}

impl Totals {
    fn add(&mut self, account: Account, sum: i128) {
        match account {
            Account::Member(_, Purse::Pending) => self.pending += sum,
            Account::Member(_, Purse::Active) => self.active += sum,
            Account::Member(_, Purse::Held) => self.held += sum,
            Account::Member(_, Purse::Debt) => self.debt += sum,
            Account::House(House::Issued, _) => self.issued -= sum,
            Account::House(House::Redeemed, _) => self.redeemed += sum,
            Account::House(House::Expired, _) => self.expired += sum,
            Account::House(House::ClawedBack, _) => self.clawed_back += sum,
            Account::House(House::Opening, _) => self.opening -= sum,
            Account::House(House::Adjusted, _) => self.adjusted -= sum,
        }
    }
}

impl LedgerReport {
    /// Whether the books close.
    pub fn is_sound(&self) -> bool {
        self.sum == 0 && self.problem_count == 0
    }

    fn add(&mut self, account: Account, sum: i128) {
        self.sum += sum;
        self.totals.add(account, sum);
    }

    fn problem(&mut self, what: String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_LISTED {
            self.problems.push(what);
        }
    }
}

/// Re-adds everything.
///
/// # Errors
///
/// Those of the store; a book that does not close is no error but a finding.
pub async fn verify(store: &Store) -> Result<LedgerReport, StoreError> {
    let newest = store.read(|tx| Ok::<_, StoreError>(tx.seq())).await?;
    verify_until(store, newest).await
}

/// Re-adds everything up to a commit: its root is the one that [`verify`] gave when that commit was the newest, unless
/// something was written anew.
///
/// # Errors
///
/// As for [`verify`].
pub async fn verify_until(store: &Store, cut: Seq) -> Result<LedgerReport, StoreError> {
    let (mut report, mut heads) = (LedgerReport { seq: cut, ..LedgerReport::default() }, Sha256::new());
    let mut after: Option<Account> = None;
    loop {
        let page = store
            .read(move |tx| {
                let scan = Scan::all().limit(PAGE);
                tx.scan(&BALANCES, &if let Some(last) = after { scan.after(&last) } else { scan })
            })
            .await?;
        for (account, _) in &page {
            let walked = check_account(store, *account, cut, &mut report).await?;
            report.accounts += 1;
            report.add(*account, walked.sum);
            report.unchained += walked.unchained;
            if let Some(head) = walked.head {
                heads.update(account.to_bytes());
                heads.update(walked.next.to_be_bytes());
                heads.update(head.0);
            }
            if let Account::Member(member, purse) = account {
                check_lots(store, *member, *purse, &mut report).await?;
            }
        }
        match page.last() {
            Some((last, _)) => after = Some(*last),
            None => {
                report.root = Some(Link(heads.finalize().into()));
                check_totals(store, cut, &mut report).await?;
                return Ok(report);
            }
        }
    }
}

/// Re-adds one account's entries up to the cut: the running balances must agree with the sum, and the chain must hold.
async fn check_account(
    store: &Store,
    account: Account,
    cut: Seq,
    report: &mut LedgerReport,
) -> Result<Walk, StoreError> {
    let mut walk = Walk::new(account);
    loop {
        let next = walk.next;
        // The balance is read with the page: on the last one the two must agree.
        let (page, balance) = store
            .read(move |tx| {
                let scan = Scan::prefix(&account).from(&(account, next)).limit(PAGE);
                let page: Vec<((Account, u64), Row<Entry>)> = tx.scan_rows(&ENTRIES, &scan)?;
                Ok::<_, StoreError>((page, tx.get(&BALANCES, &account)?))
            })
            .await?;
        let full = page.len() == PAGE;
        for ((_, number), row) in page {
            if row.seq > cut {
                return Ok(walk);
            }
            report.entries += 1;
            walk.take(number, &row.value, |what| report.problem(what));
        }
        if full {
            continue;
        }
        let Some(balance) = balance else { return Ok(walk) };
        if balance.entries != walk.next {
            report.problem(format!(
                "{account:?}: the balance counts {} entries, there are {}: those at the end are missing",
                balance.entries, walk.next
            ));
        } else if balance.head != walk.head {
            report.problem(format!(
                "{account:?}: after {} entries the chain has another head than the balance",
                walk.next
            ));
        }
        if i128::from(balance.points.get()) != walk.sum {
            report.problem(format!("{account:?}: the balance is {}, the sum is {}", balance.points, walk.sum));
        }
        return Ok(walk);
    }
}

/// The lots of a purse must sum to its balance.
async fn check_lots(
    store: &Store,
    member: MemberId,
    purse: Purse,
    report: &mut LedgerReport,
) -> Result<(), StoreError> {
    let (count, lots, balance) = store
        .read(move |tx| {
            let (mut count, mut lots) = (0_u64, 0_i128);
            match purse {
                Purse::Held | Purse::Debt => return Ok((0, 0, 0)),
                Purse::Pending => {
                    let mut scan = Scan::prefix(&member).limit(PAGE);
                    loop {
                        let page: Vec<((MemberId, u128), PendingLot)> = tx.scan(&PENDING_LOTS, &scan)?;
                        count += page.len() as u64;
                        lots += page.iter().map(|(_, lot)| i128::from(lot.points.get())).sum::<i128>();
                        let Some((last, _)) = page.last() else { break };
                        scan = Scan::prefix(&member).limit(PAGE).after(last);
                    }
                }
                Purse::Active => {
                    let mut scan = Scan::prefix(&member).limit(PAGE);
                    loop {
                        let page: Vec<((MemberId, Timestamp, u128), Lot)> = tx.scan(&LOTS, &scan)?;
                        count += page.len() as u64;
                        lots += page.iter().map(|(_, lot)| i128::from(lot.remaining.get())).sum::<i128>();
                        let Some((last, _)) = page.last() else { break };
                        scan = Scan::prefix(&member).limit(PAGE).after(last);
                    }
                }
            }
            let balance = tx.get(&BALANCES, &Account::Member(member, purse))?;
            let balance = balance.map_or(Points::ZERO, |balance| balance.points);
            Ok::<_, StoreError>((count, lots, i128::from(balance.get())))
        })
        .await?;
    report.lots += count;
    if matches!(purse, Purse::Pending | Purse::Active) && lots != balance {
        report.problem(format!("{member} {purse:?}: the lots sum to {lots}, the balance is {balance}"));
    }
    Ok(())
}

/// What is counted in all must be what lots and purses add up to. Where orders flow meanwhile, that cannot be told.
async fn check_totals(store: &Store, cut: Seq, report: &mut LedgerReport) -> Result<(), StoreError> {
    let counted = store.read(totals::read).await?;
    let added = totals::recount(store).await?;
    if store.read(|tx| Ok::<_, StoreError>(tx.seq())).await? != cut || counted == added {
        return Ok(());
    }
    let keys: std::collections::BTreeSet<_> = counted.keys().chain(added.keys()).copied().collect();
    for key in keys {
        let (counted, added) = (counted.get(&key).copied().unwrap_or(0), added.get(&key).copied().unwrap_or(0));
        if counted != added {
            let (purse, hour) = key;
            report.problem(format!("the total of purse {purse}, hour {hour} is {counted}, the members hold {added}"));
        }
    }
    Ok(())
}

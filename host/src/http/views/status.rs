//! What the server counts about itself, and what the books say.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    ledger::verify::{LedgerReport, Totals},
    plugin::ReleaseStats,
    service::verify::ReferencesReport,
    store::{GROUP_SIZE_BOUNDS, StoreStats},
};

/// What the books say.
#[derive(Serialize, ToSchema)]
#[schema(as = LedgerReport)]
pub(crate) struct LedgerView {
    /// Whether the books close.
    sound: bool,
    /// Accounts with at least one entry.
    accounts: u64,
    /// Entries re-added.
    entries: u64,
    /// Lots counted, pending ones included.
    lots: u64,
    /// The commit that everything was checked up to.
    commit: u64,
    /// A digest of the heads of all chains at that commit: written down, it tells later whether history was rewritten.
    #[schema(value_type = Option<String>)]
    root: Option<String>,
    /// Entries from before there were chains: their sums alone are proven.
    unchained: u64,
    /// The sum of all entries: zero, or the books do not close.
    #[schema(value_type = i64)]
    sum: i128,
    totals: TotalsView,
    /// How many things are wrong.
    problem_count: u64,
    /// The first hundred of them, in words.
    problems: Vec<String>,
}

impl From<LedgerReport> for LedgerView {
    fn from(report: LedgerReport) -> Self {
        let sound = report.is_sound();
        let LedgerReport { accounts, entries, lots, seq, root, unchained, sum, totals, problem_count, problems } =
            report;
        let (commit, root) = (seq.get(), root.map(|root| root.to_string()));
        let totals = totals.into();
        Self { sound, accounts, entries, lots, commit, root, unchained, sum, totals, problem_count, problems }
    }
}

/// What the books and the rows say.
#[derive(Serialize, ToSchema)]
#[schema(as = VerifyReport)]
pub(crate) struct VerifiedView {
    /// Whether the books close and every row refers to what is there.
    sound: bool,
    ledger: LedgerView,
    /// Tables read.
    tables: u64,
    /// Rows read.
    rows: u64,
    /// How many rows refer to what is not there, or cannot be read.
    problem_count: u64,
    /// The first hundred of them, in words.
    problems: Vec<String>,
}

impl VerifiedView {
    /// Both reports as one.
    pub(crate) fn new(ledger: LedgerReport, references: ReferencesReport) -> Self {
        let sound = ledger.is_sound() && references.is_sound();
        let ReferencesReport { tables, rows, problem_count, problems } = references;
        Self { sound, ledger: ledger.into(), tables, rows, problem_count, problems }
    }
}

/// Points by what holds them: what members have, and what the programme gave and took for it.
#[derive(Serialize, ToSchema)]
#[schema(as = LedgerTotals)]
pub(crate) struct TotalsView {
    /// With members, not yet to be spent.
    #[schema(value_type = i64)]
    pending: i128,
    /// With members, to be spent.
    #[schema(value_type = i64)]
    active: i128,
    /// With members, reserved.
    #[schema(value_type = i64)]
    held: i128,
    /// Owed by members after clawing back: zero or less.
    #[schema(value_type = i64)]
    debt: i128,
    /// Given for activities.
    #[schema(value_type = i64)]
    issued: i128,
    /// Spent, less what refunds gave back.
    #[schema(value_type = i64)]
    redeemed: i128,
    /// Died.
    #[schema(value_type = i64)]
    expired: i128,
    /// Taken back after refunds.
    #[schema(value_type = i64)]
    clawed_back: i128,
    /// Brought from an earlier programme.
    #[schema(value_type = i64)]
    opening: i128,
    /// Given by operators, less what they took.
    #[schema(value_type = i64)]
    adjusted: i128,
}

impl From<Totals> for TotalsView {
    fn from(totals: Totals) -> Self {
        let Totals { pending, active, held, debt, issued, redeemed, expired, clawed_back, opening, adjusted } = totals;
        Self { pending, active, held, debt, issued, redeemed, expired, clawed_back, opening, adjusted }
    }
}

/// Counts since the server started.
#[derive(Serialize, ToSchema)]
#[schema(as = Stats)]
pub(crate) struct StatsView {
    /// Every release that answered since then.
    releases: Vec<ReleaseStatsView>,
    store: StoreStatsView,
    process: ProcessView,
}

/// What a release did.
#[derive(Serialize, ToSchema)]
#[schema(as = ReleaseStats)]
pub(crate) struct ReleaseStatsView {
    slot: String,
    number: u64,
    /// Calls, each with one item or a batch.
    calls: u64,
    /// Items in those calls.
    items: u64,
    /// Faults by code, without those that never happened.
    faults: BTreeMap<&'static str, u64>,
    /// Items that the fallback answered.
    fallbacks: u64,
    /// Fuel burnt, all in all.
    fuel: u64,
    /// Fuel per item.
    fuel_mean: u64,
    /// Calls under way.
    in_flight: u64,
    /// The circuit breaker: `closed` answers, `open` falls back, `half-open` tries.
    #[schema(example = "closed")]
    breaker: &'static str,
    /// Half of the calls took at most this long.
    p50_ns: u64,
    /// 99 of 100 calls took at most this long.
    p99_ns: u64,
    /// No call took longer.
    max_ns: u64,
}

/// What the store did.
#[derive(Serialize, ToSchema)]
#[schema(as = StoreStats)]
pub(crate) struct StoreStatsView {
    /// Commands that wait for the writer now.
    waiting: u64,
    /// The number of the last commit, ever.
    seq: u64,
    /// Transactions that wrote.
    commits: u64,
    /// Transactions refused because the disk is full or too many waited.
    refused: u64,
    /// Rows written.
    rows_written: u64,
    /// Groups of commands that shared one sync.
    groups: u64,
    /// Groups by their size, up to and including the bound.
    group_sizes: Vec<GroupSizeView>,
    /// One for each group that wrote.
    data_syncs: u64,
    sync_ns_total: u64,
    sync_ns_max: u64,
    /// Reads answered beside the writer.
    reads: u64,
    /// Reads begun anew because a commit came in between.
    read_retries: u64,
    /// Reads that the writer had to answer.
    read_fallbacks: u64,
    /// Bytes free on the disk; null where it does not tell.
    free_bytes: Option<u64>,
    /// Bytes that the store takes on disk; null where it does not tell.
    disk_bytes: Option<u64>,
    /// Writes are refused when less than this is free.
    reserve_bytes: u64,
}

/// How many groups were of one size.
#[derive(Serialize, ToSchema)]
#[schema(as = GroupSize)]
pub(crate) struct GroupSizeView {
    /// Commands at most; null for any number.
    commands_max: Option<u64>,
    groups: u64,
}

/// What the process uses.
#[derive(Serialize, ToSchema)]
#[schema(as = Process)]
pub(crate) struct ProcessView {
    /// Memory in use now; null where the system does not tell.
    resident_bytes: Option<u64>,
    /// The most there was.
    resident_bytes_max: Option<u64>,
}

/// Resident memory, now and at most, as Linux tells.
pub(crate) fn resident_bytes() -> (Option<u64>, Option<u64>) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib * 1024)
    };
    (field("VmRSS:"), field("VmHWM:"))
}

fn nanos(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl StatsView {
    /// Everything there is to tell.
    pub(crate) fn new(releases: Vec<ReleaseStats>, store: StoreStats) -> Self {
        let (resident_bytes, resident_bytes_max) = resident_bytes();
        Self {
            releases: releases.into_iter().map(ReleaseStatsView::from).collect(),
            store: store.into(),
            process: ProcessView { resident_bytes, resident_bytes_max },
        }
    }
}

impl From<ReleaseStats> for ReleaseStatsView {
    fn from(stats: ReleaseStats) -> Self {
        Self {
            slot: stats.release.slot.to_string(),
            number: stats.release.number,
            calls: stats.calls,
            items: stats.items,
            faults: stats.faults.into_iter().collect(),
            fallbacks: stats.fallbacks,
            fuel: stats.fuel,
            fuel_mean: stats.fuel_mean,
            in_flight: stats.in_flight,
            breaker: stats.breaker.name(),
            p50_ns: nanos(stats.p50),
            p99_ns: nanos(stats.p99),
            max_ns: nanos(stats.max),
        }
    }
}

impl From<StoreStats> for StoreStatsView {
    fn from(stats: StoreStats) -> Self {
        let size = |(&bound, &groups): (&u64, &u64)| GroupSizeView {
            commands_max: (bound != u64::MAX).then_some(bound),
            groups,
        };
        Self {
            waiting: stats.waiting,
            seq: stats.seq,
            commits: stats.commits,
            refused: stats.refused,
            rows_written: stats.rows_written,
            groups: stats.groups,
            group_sizes: GROUP_SIZE_BOUNDS.iter().zip(&stats.group_sizes).map(size).collect(),
            data_syncs: stats.data_syncs,
            sync_ns_total: nanos(stats.sync_time),
            sync_ns_max: nanos(stats.sync_time_max),
            reads: stats.reads,
            read_retries: stats.read_retries,
            read_fallbacks: stats.read_fallbacks,
            free_bytes: stats.free_bytes,
            disk_bytes: stats.disk_bytes,
            reserve_bytes: stats.reserve_bytes,
        }
    }
}

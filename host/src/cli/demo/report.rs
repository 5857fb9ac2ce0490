//! What the demo found, as a table for people and as one line of JSON.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};

use super::{
    operator::{Operator, Swap},
    shop::{Shop, Tally},
};

/// Everything there is to tell.
pub(super) struct Report {
    members: usize,
    calls: u64,
    failed: u64,
    failures: Vec<String>,
    tally: Tally,
    tiers_before: BTreeMap<String, u64>,
    tiers_after: BTreeMap<String, u64>,
    swaps: Vec<Swap>,
    ledger: Json,
    stats: Json,
    quote_p50: Duration,
    quote_p95: Duration,
    replay: Duration,
}

/// A bar on a terminal; nothing elsewhere.
pub(super) fn progress(orders: u64) -> ProgressBar {
    let bar = ProgressBar::new(orders);
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} orders, {per_sec}, {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

impl Report {
    pub(super) async fn collect(
        shop: &Shop,
        operator: &Operator,
        tiers_before: BTreeMap<String, u64>,
        tiers_after: BTreeMap<String, u64>,
        swaps: Vec<Swap>,
        replay: Duration,
    ) -> anyhow::Result<Self> {
        let ledger = operator.client.get("/ops/v1/ledger").await.context("the ledger does not answer")?;
        let stats = operator.client.get("/ops/v1/stats").await.context("the server does not say how it did")?;
        let (quote_p50, quote_p95) = shop.client.quote_times();
        let mut failures = shop.client.failures();
        failures.extend(operator.client.failures());
        Ok(Self {
            members: tiers_after.values().map(|n| usize::try_from(*n).unwrap_or(0)).sum(),
            calls: shop.client.calls() + operator.client.calls(),
            failed: shop.client.failed() + operator.client.failed(),
            failures,
            tally: shop.tally().clone(),
            tiers_before,
            tiers_after,
            swaps,
            ledger,
            stats,
            quote_p50,
            quote_p95,
            replay,
        })
    }

    /// No call failed, and the books close.
    pub(super) fn is_sound(&self) -> bool {
        self.failed == 0 && self.ledger["sound"] == true
    }

    pub(super) fn print(&self, elapsed: Duration, as_json: bool) {
        println!("A year of drugstore purchases (dunnhumby \"The Complete Journey\", simulated from real patterns),");
        println!(
            "dollars taken times 7 as yuan. Birthdays, classes, substances and days of supply are made from a seed."
        );
        self.print_orders();
        self.print_points();
        self.print_tiers();
        self.print_releases();
        self.print_machine(elapsed);
        for failure in &self.failures {
            println!("failed: {failure}");
        }
        if as_json {
            println!("{}", self.json(elapsed));
        }
    }

    fn print_orders(&self) {
        let tally = &self.tally;
        println!("\nORDERS");
        row("members", self.members);
        row("orders", tally.orders);
        row("gross, yuan", yuan(tally.gross));
        for (source, (times, amount)) in &tally.off {
            row(&format!("  off by {source}, yuan"), format!("{} ({times} times)", yuan(*amount)));
        }
        row("delivery, yuan", yuan(tally.delivery));
        row("paid, yuan", yuan(tally.paid));
        row("refunded in part, yuan", format!("{} ({} orders)", yuan(tally.refunded), tally.refunds));
    }

    fn print_points(&self) {
        println!("\nPOINTS");
        for (label, key) in [
            ("issued", "issued"),
            ("redeemed", "redeemed"),
            ("clawed back", "clawed_back"),
            ("expired", "expired"),
            ("outstanding, pending", "pending"),
            ("outstanding, active", "active"),
            ("outstanding, held", "held"),
        ] {
            row(label, &self.ledger["totals"][key]);
        }
        let sound = if self.ledger["sound"] == true { "the books close" } else { "THE BOOKS DO NOT CLOSE" };
        row("sum of all accounts", format!("{} over {} entries: {sound}", self.ledger["sum"], self.ledger["entries"]));
    }

    fn print_tiers(&self) {
        println!("\nTIERS, members");
        for (label, tiers) in [("before the swap", &self.tiers_before), ("at the end", &self.tiers_after)] {
            let tiers: Vec<String> = tiers.iter().map(|(tier, members)| format!("{tier} {members}")).collect();
            row(label, tiers.join(", "));
        }
        for swap in &self.swaps {
            let Swap { slot, release, module, took } = swap;
            row(
                &format!("swapped {slot}"),
                format!("to release {release} ({module}) in {} ms, durable", millis(*took)),
            );
        }
    }

    fn print_releases(&self) {
        println!("\nRELEASES           calls     p50 µs   p99 µs   fuel   fallbacks   orders priced");
        for release in self.stats["releases"].as_array().into_iter().flatten() {
            let name = format!("{}#{}", release["slot"].as_str().unwrap_or_default(), release["number"]);
            let priced = self.tally.priced_by.get(&name).map(u64::to_string).unwrap_or_default();
            println!(
                "  {name:<14} {:>8} {:>10.1} {:>8.1} {:>6} {:>11} {priced:>15}",
                release["calls"],
                micros(&release["p50_ns"]),
                micros(&release["p99_ns"]),
                release["fuel_mean"],
                release["fallbacks"],
            );
        }
    }

    fn print_machine(&self, elapsed: Duration) {
        println!("\nMACHINE");
        row("calls", format!("{} ({} failed, {} quotes changed)", self.calls, self.failed, self.tally.requotes));
        row("orders/s", format!("{:.0}", self.orders_per_second()));
        row(
            "quote, as the shop saw it",
            format!("p50 {} ms, p95 {} ms", millis(self.quote_p50), millis(self.quote_p95)),
        );
        row("time", format!("{:.1} s, {:.1} s of them replaying", elapsed.as_secs_f64(), self.replay.as_secs_f64()));
        let bytes = self.stats["process"]["resident_bytes_max"].as_u64().unwrap_or(0);
        row("memory at most, shop included", format!("{} MB", bytes / 1_000_000));
        let store = &self.stats["store"];
        row("commits", format!("{} in {} groups, one sync each", store["commits"], store["data_syncs"]));
    }

    fn orders_per_second(&self) -> f64 {
        let orders = u32::try_from(self.tally.orders).unwrap_or(u32::MAX);
        f64::from(orders) / self.replay.as_secs_f64().max(f64::EPSILON)
    }

    fn json(&self, elapsed: Duration) -> Json {
        let tally = &self.tally;
        let off: BTreeMap<&str, Json> =
            tally.off.iter().map(|(k, (times, fen))| (k.as_str(), json!({ "times": times, "fen": fen }))).collect();
        let swaps: Vec<Json> = self
            .swaps
            .iter()
            .map(|swap| {
                json!({
                    "slot": swap.slot, "release": swap.release, "module": swap.module,
                    "milliseconds": swap.took.as_secs_f64() * 1e3,
                })
            })
            .collect();
        json!({
            "members": self.members,
            "orders": tally.orders,
            "calls": self.calls,
            "failed_calls": self.failed,
            "quotes_changed": tally.requotes,
            "gross_fen": tally.gross,
            "discounts": off,
            "delivery_fen": tally.delivery,
            "paid_fen": tally.paid,
            "refunds": tally.refunds,
            "refunded_fen": tally.refunded,
            "points": self.ledger["totals"],
            "ledger_sum": self.ledger["sum"],
            "ledger_sound": self.ledger["sound"],
            "tiers_before": self.tiers_before,
            "tiers_after": self.tiers_after,
            "swaps": swaps,
            "orders_priced_by": tally.priced_by,
            "releases": self.stats["releases"],
            "orders_per_second": self.orders_per_second(),
            "quote_p50_ms": self.quote_p50.as_secs_f64() * 1e3,
            "quote_p95_ms": self.quote_p95.as_secs_f64() * 1e3,
            "seconds": elapsed.as_secs_f64(),
            "resident_bytes_max": self.stats["process"]["resident_bytes_max"],
        })
    }
}

fn row(label: &str, value: impl std::fmt::Display) {
    println!("  {label:<30} {value}");
}

fn yuan(fen: i64) -> String {
    crate::domain::money::Money::new(fen).to_string()
}

fn millis(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

fn micros(nanos: &Json) -> f64 {
    nanos.as_f64().unwrap_or(0.0) / 1e3
}

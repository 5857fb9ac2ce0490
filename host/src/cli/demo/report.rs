//! What the demo found, as a table for people and as one line of JSON; and whether it is what it must be.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value as Json, json};

use super::{
    gateway::Seen,
    messages::{self, Fared, MailSeen, Vendors},
    operator::{Operator, POINTS_VALID_MONTHS, Swap},
    recount::{self, PointsTerms},
    shop::{Shop, Tally},
    showcase::Showcase,
};

/// The hour of birthdays and member days, and the days that points wait: the server's defaults.
const HOUR: i8 = 9;
const PENDING_DAYS: i64 = 7;

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
    classes: BTreeMap<String, Fared>,
    sms: Seen,
    mail: Option<MailSeen>,
    checks: Vec<Check>,
    rest: Showcase,
    rest_took: Duration,
}

/// A figure of the server's beside the same counted again from the orders, or by the vendors.
struct Check {
    what: &'static str,
    server: i64,
    counted: i64,
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
        vendors: &Vendors,
        (tiers_before, tiers_after): (BTreeMap<String, u64>, BTreeMap<String, u64>),
        swaps: Vec<Swap>,
        (replay, until): (Duration, Timestamp),
    ) -> anyhow::Result<Self> {
        let ledger = operator.client.get("/ops/v1/ledger").await.context("the ledger does not answer")?;
        let totals = operator.client.get("/ops/v1/touches/totals").await.context("the touches are not counted")?;
        let (classes, sms, mail) = (messages::fared(&totals), vendors.sms(), vendors.mail());
        let mut checks = recounted(shop, &ledger, &classes, until)?;
        checks.extend(vouched(&totals, &classes, &sms, mail.as_ref()));
        let (quote_p50, quote_p95) = shop.client.quote_times();
        Ok(Self {
            members: tiers_after.values().map(|n| usize::try_from(*n).unwrap_or(0)).sum(),
            calls: 0,
            failed: 0,
            failures: Vec::new(),
            tally: shop.tally().clone(),
            tiers_before,
            tiers_after,
            swaps,
            ledger,
            stats: Json::Null,
            quote_p50,
            quote_p95,
            replay,
            classes,
            sms,
            mail,
            checks,
            rest: Showcase::default(),
            rest_took: Duration::ZERO,
        })
    }

    /// Adds what came after the year, and how the machine did in all.
    pub(super) async fn close(
        &mut self,
        shop: &Shop,
        operator: &Operator,
        rest: Showcase,
        took: Duration,
    ) -> anyhow::Result<()> {
        (self.rest, self.rest_took) = (rest, took);
        self.stats = operator.client.get("/ops/v1/stats").await.context("the server does not say how it did")?;
        for client in [&shop.client, &operator.client] {
            self.calls += client.calls();
            self.failed += client.failed();
            self.failures.extend(client.failures());
        }
        Ok(())
    }

    /// No call failed, the books close, and everything that was counted twice came to the same, row by row.
    pub(super) fn is_sound(&self) -> bool {
        let counted = self.ledger["sound"] == true && self.checks.iter().all(Check::agrees);
        self.failed == 0 && counted && self.rest.is_sound()
    }

    pub(super) fn print(&self, elapsed: Duration, as_json: bool) {
        println!("A year of drugstore purchases (dunnhumby \"The Complete Journey\", simulated from real patterns),");
        println!(
            "dollars taken times 7 as yuan. Birthdays, classes, substances and days of supply are made from a seed."
        );
        self.print_orders();
        self.print_points();
        self.print_tiers();
        self.print_messages();
        self.print_checks();
        self.rest.print();
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

    fn print_messages(&self) {
        println!("\nMESSAGES");
        let list = |of: &BTreeMap<String, u64>| {
            let parts: Vec<String> = of.iter().map(|(name, n)| format!("{n} {name}")).collect();
            if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
        };
        for (class, fared) in &self.classes {
            let Fared { candidates, sent, deferred, dropped, open } = fared;
            let (sent, dropped) = (list(sent), list(dropped));
            row(class, format!("{candidates}: sent {sent}; dropped {dropped}; {deferred} deferred, {open} open"));
        }
        let Seen { taken, twice, later, refused, unsigned } = &self.sms;
        let taken = taken.values().sum::<u64>();
        row(
            "SMS gateway",
            format!("{taken} taken, {twice} twice, {later} later, {refused} refused, {unsigned} unsigned"),
        );
        match &self.mail {
            Some(MailSeen { taken, later, refused, twice }) => {
                row("SMTP server", format!("{taken} taken, {twice} twice, {later} later, {refused} refused"));
            }
            None => row("SMTP server", "not there: `make setup` installs aiosmtpd"),
        }
    }

    fn print_checks(&self) {
        println!("\nCOUNTED AGAIN                                      server      again");
        for check in &self.checks {
            let verdict = if check.agrees() { "" } else { "  DIFFERS" };
            println!("  {:<40} {:>14} {:>10}{verdict}", check.what, check.server, check.counted);
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
        let [all, replay, rest] = [elapsed, self.replay, self.rest_took].map(|time| time.as_secs_f64());
        row("time", format!("{all:.1} s: {replay:.1} s replaying, {rest:.1} s for the rest of the business"));
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
            "messages": self.messages_json(),
            "counted_again": self.checks_json(),
            "rows": self.rest.json(),
            "rows_sound": self.rest.is_sound(),
            "rows_seconds": self.rest_took.as_secs_f64(),
            "orders_per_second": self.orders_per_second(),
            "quote_p50_ms": self.quote_p50.as_secs_f64() * 1e3,
            "quote_p95_ms": self.quote_p95.as_secs_f64() * 1e3,
            "seconds": elapsed.as_secs_f64(),
            "resident_bytes_max": self.stats["process"]["resident_bytes_max"],
        })
    }
}

impl Report {
    fn messages_json(&self) -> Json {
        let class = |(class, fared): (&String, &Fared)| {
            let Fared { candidates, sent, deferred, dropped, open } = fared;
            let fared = json!({
                "candidates": candidates, "sent": sent, "deferred": deferred, "dropped": dropped, "open": open,
            });
            (class.clone(), fared)
        };
        self.classes.iter().map(class).collect()
    }

    fn checks_json(&self) -> Json {
        let check = |check: &Check| json!({ "what": check.what, "server": check.server, "again": check.counted });
        self.checks.iter().map(check).collect()
    }
}

impl Check {
    fn agrees(&self) -> bool {
        self.server == self.counted
    }
}

/// What the orders and the calendar say, beside what the server says.
fn recounted(
    shop: &Shop,
    ledger: &Json,
    classes: &BTreeMap<String, Fared>,
    until: Timestamp,
) -> anyhow::Result<Vec<Check>> {
    let zone = TimeZone::get("Asia/Shanghai").context("the demo's zone")?;
    let terms = PointsTerms { pending_days: PENDING_DAYS, valid_months: POINTS_VALID_MONTHS };
    let tally = shop.tally().clone();
    let points = recount::points(&tally.moves, until, terms, &zone);
    let candidates = |class: &str| classes.get(class).map_or(0, |fared| signed(fared.candidates));
    let total = |key: &str| ledger["totals"][key].as_i64().unwrap_or(-1);
    let (mut birthdays, mut member_days) = (0, 0);
    for (member, joined) in &tally.joined {
        let birthday = shop.history.members[*member].birthday;
        birthdays += recount::yearly(birthday, *joined, until, HOUR, &zone);
        member_days += recount::member_days(*joined, until, HOUR, &zone);
    }
    let check = |what, server, counted| Check { what, server, counted };
    Ok(vec![
        check("points expired", total("expired"), points.expired),
        check("points pending", total("pending"), points.pending),
        check("points active", total("active"), points.active),
        check("birthdays (marketing messages)", candidates("marketing"), signed(birthdays)),
        check("member days (content messages)", candidates("content"), signed(member_days)),
        check("parcels (transactional messages)", candidates("transactional"), signed(tally.shipped)),
    ])
}

/// What the vendors say, beside what the server says; every candidate ended somewhere.
fn vouched(totals: &Json, classes: &BTreeMap<String, Fared>, sms: &Seen, mail: Option<&MailSeen>) -> Vec<Check> {
    let sent = |channel: &str| signed(classes.values().filter_map(|fared| fared.sent.get(channel)).sum());
    let number = |key: &str| totals[key].as_i64().unwrap_or(-1);
    let ended = ["sent", "deferred", "dropped", "in_flight"].iter().map(|key| number(key)).sum();
    let check = |what, server, counted| Check { what, server, counted };
    let mut checks = vec![
        check("messages: candidates, and where they are", number("candidates"), ended),
        check("text messages sent, and taken", sent("sms"), signed(sms.taken.values().sum())),
        check("text messages taken twice or unsigned", 0, signed(sms.twice + sms.unsigned)),
    ];
    if let Some(mail) = mail {
        checks.push(check("mails sent, and taken", sent("email"), signed(mail.taken)));
        checks.push(check("mails taken twice", 0, signed(mail.twice)));
    }
    checks
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
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

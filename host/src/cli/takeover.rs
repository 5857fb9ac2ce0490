//! `galenic takeover`: opening points, tiers and coupons of an earlier programme, from CSV into a running server.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Map, Value as Json, json};

use super::remote::{Body, Remote, ServerArgs};

/// Rows sent at once.
const BATCH: usize = 200;

/// What to take over, and from where.
#[derive(Args)]
pub(super) struct TakeoverArgs {
    /// What the rows are.
    #[arg(value_enum)]
    what: What,
    /// CSV with a head. points: external_id,member,points,expires_at; tiers: member,tier,since,lifetime_net_spend,
    /// lifetime_paid_orders; coupons: external_id,member,offer,expires_at. Times as 2027-03-31T15:59:59Z, money in fen.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whose members they are.
    #[arg(long, value_name = "PARTNER")]
    partner: String,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    Points,
    Tiers,
    Coupons,
}

impl What {
    const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Points => &["external_id", "member", "points", "expires_at"],
            Self::Tiers => &["member", "tier", "since", "lifetime_net_spend", "lifetime_paid_orders"],
            Self::Coupons => &["external_id", "member", "offer", "expires_at"],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Points => "points",
            Self::Tiers => "tiers",
            Self::Coupons => "coupons",
        }
    }
}

/// What became of the rows.
#[derive(Default)]
struct Totals {
    taken: u64,
    known: u64,
    refused: u64,
}

/// Sends the file batch by batch. It may be sent again: rows count once.
pub(super) async fn run(args: TakeoverArgs) -> anyhow::Result<ExitCode> {
    let TakeoverArgs { what, file, partner, server } = args;
    let remote = server.connect()?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(&file);
    let reader = reader.as_mut().map_err(|error| anyhow::anyhow!("cannot read {}: {error}", file.display()))?;
    let head = reader.headers().context("the file has no head")?.clone();
    for column in &head {
        ensure!(what.columns().contains(&column), "there is no column `{column}`: {}", what.columns().join(","));
    }
    let (mut batch, mut totals) = (Vec::new(), Totals::default());
    for record in reader.records() {
        let record = record.with_context(|| format!("{} cannot be read", file.display()))?;
        let line = record.position().map_or(0, csv::Position::line);
        match row(&head, &record) {
            Ok(row) => batch.push((line, row)),
            Err((column, fix)) => {
                totals.refused += 1;
                say!("line {line}: refused: {column}: {fix}");
            }
        }
        if batch.len() == BATCH {
            send(&remote, what, &partner, &mut batch, &mut totals).await?;
        }
    }
    send(&remote, what, &partner, &mut batch, &mut totals).await?;
    let Totals { taken, known, refused } = totals;
    say!("{}: taken {taken}, known before {known}, refused {refused}", what.name());
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line as the server takes it; an empty field is left out.
fn row(head: &csv::StringRecord, record: &csv::StringRecord) -> Result<Json, (String, &'static str)> {
    let mut row = Map::new();
    for (column, text) in head.iter().zip(record).filter(|(_, text)| !text.is_empty()) {
        let value = match column {
            "points" | "lifetime_net_spend" | "lifetime_paid_orders" => {
                text.parse::<i64>().map(Json::from).map_err(|_| (column.to_owned(), "must be a whole number"))?
            }
            "expires_at" | "since" => {
                let time = text.parse::<jiff::Timestamp>();
                time.map_err(|_| (column.to_owned(), "must be a time such as 2027-03-31T15:59:59Z"))?;
                text.into()
            }
            _ => text.into(),
        };
        row.insert(column.to_owned(), value);
    }
    Ok(Json::Object(row))
}

async fn send(
    remote: &Remote,
    what: What,
    partner: &str,
    batch: &mut Vec<(u64, Json)>,
    totals: &mut Totals,
) -> anyhow::Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let (lines, rows): (Vec<u64>, Vec<Json>) = std::mem::take(batch).into_iter().unzip();
    let body = json!({"partner": partner, "rows": rows});
    let path = format!("/ops/v1/takeover/{}", what.name());
    let report = remote.ask(Method::POST, &path, Body::Json(body)).await;
    let first = lines.first().copied().unwrap_or(0);
    let report =
        report.with_context(|| format!("the batch from line {first} on was not taken; send the file again"))?;
    let count = |name: &str| report[name].as_u64().unwrap_or(0);
    totals.taken += count("taken");
    totals.known += count("known");
    totals.refused += count("refused");
    for refusal in report["refusals"].as_array().into_iter().flatten() {
        let row = refusal["row"].as_u64().and_then(|row| usize::try_from(row).ok());
        let line = row.and_then(|row| lines.get(row)).copied().unwrap_or(0);
        let (field, fix) = (refusal["field"].as_str().unwrap_or(""), refusal["fix"].as_str().unwrap_or(""));
        say!("line {line}: refused: {field}: {fix}");
    }
    Ok(())
}

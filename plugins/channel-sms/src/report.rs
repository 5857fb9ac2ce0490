//! The vendor's batch reports: what became of messages (`SmsReport`), and what members replied (`SmsUp`).
//!
//! The vendor does not sign them. Who sets `report_token` puts it into the URL that the vendor calls.

use galenic_sdk::prelude::*;
use serde::Deserialize;

use crate::{Config, time};

/// What the vendor wants to hear; anything else and it reports again.
const TAKEN: &str = r#"{"code":0,"msg":"成功"}"#;
/// Lines of one report.
const LINES_MAX: usize = 500;

/// One line of a report. A reply has `content`, a status has `success`.
#[derive(Deserialize)]
struct Line {
    phone_number: Option<String>,
    send_time: Option<String>,
    report_time: Option<String>,
    success: Option<bool>,
    #[serde(default)]
    err_code: String,
    biz_id: Option<String>,
    out_id: Option<String>,
    content: Option<String>,
}

pub(crate) fn read(config: &Config, incoming: &Incoming) -> Result<Received, String> {
    if incoming.method != "POST" {
        return Err("a report is POSTed".to_owned());
    }
    if let Some(token) = &config.report_token {
        let query = incoming.target.split_once('?').map_or("", |(_, query)| query);
        let given = query.split('&').find_map(|pair| pair.strip_prefix("token="));
        if given != Some(token) {
            return Err("the report's URL does not carry the token".to_owned());
        }
    }
    let lines: Vec<Line> = serde_json::from_slice(&incoming.body).map_err(|error| {
        // The position says where it broke; the text itself may name a member.
        format!("the report cannot be read at line {}, column {}", error.line(), error.column())
    })?;
    if lines.len() > LINES_MAX {
        return Err(format!("{} lines in one report, at most {LINES_MAX}", lines.len()));
    }
    let mut receipts = Vec::with_capacity(lines.len());
    for line in lines {
        receipts.extend(receipt(config, line)?);
    }
    Ok(Received { receipts, status: 200, body: TAKEN.to_owned() })
}

/// What a line says; a reply that is no stop word says nothing.
fn receipt(config: &Config, line: Line) -> Result<Option<Receipt>, String> {
    let at = line.report_time.as_deref().or(line.send_time.as_deref());
    let at = at.and_then(time::beijing).ok_or("a line without an instant")?;
    let code = if line.err_code.len() <= 64 { line.err_code } else { "too-long".to_owned() };
    if let Some(content) = line.content {
        let word = content.trim().to_uppercase();
        if !config.stop_words.iter().any(|stop| stop.to_uppercase() == word) {
            return Ok(None);
        }
        let address = line.phone_number.ok_or("a reply without a number")?;
        let reply = Receipt {
            key: None,
            provider_id: None,
            address: Some(e164(&address)),
            status: Status::Unsubscribed,
            at,
            code: "reply".to_owned(),
        };
        return Ok(Some(reply));
    }
    let success = line.success.ok_or("a line without `success`")?;
    let status = if success { Status::Delivered } else { Status::Failed };
    let key = line.out_id.filter(|key| !key.is_empty());
    Ok(Some(Receipt { key, provider_id: line.biz_id, address: None, status, at, code }))
}

/// A number as the host writes it: mainland numbers come without their prefix.
fn e164(number: &str) -> String {
    match number.strip_prefix('+') {
        Some(_) => number.to_owned(),
        None if number.len() == 11 && number.starts_with('1') => format!("+86{number}"),
        None => format!("+{number}"),
    }
}

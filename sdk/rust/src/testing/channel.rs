//! Cases of channels: the vendor is played by the case.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{
    contract::check_description,
    refused, run,
    script::{self, text},
};
use crate::{
    Channel,
    channel::{self, AddressKind, Failure, Incoming, Message, Moment, Outcome, Receipt, Received, Sent, Status},
    config,
};

/// A message as a case spells it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CaseMessage {
    key: String,
    class: String,
    language: String,
    to: String,
    template_id: Option<String>,
    signature: Option<String>,
    variables: Vec<(String, String)>,
    subject: Option<String>,
    text: String,
    unsubscribe_url: Option<String>,
}

impl Default for CaseMessage {
    fn default() -> Self {
        Self {
            key: "0123456789abcdef0123456789abcdef".to_owned(),
            class: "transactional".to_owned(),
            language: "zh-CN".to_owned(),
            to: String::new(),
            template_id: None,
            signature: None,
            variables: Vec::new(),
            subject: None,
            text: String::new(),
            unsubscribe_url: None,
        }
    }
}

impl From<&CaseMessage> for Message {
    fn from(message: &CaseMessage) -> Self {
        Self {
            key: message.key.clone(),
            class: message.class.clone(),
            language: message.language.clone(),
            to: message.to.clone(),
            template_id: message.template_id.clone(),
            signature: message.signature.clone(),
            variables: message.variables.clone(),
            subject: message.subject.clone(),
            text: message.text.clone(),
            unsubscribe_url: message.unsubscribe_url.clone(),
        }
    }
}

/// A report as a case spells it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseIncoming {
    #[serde(default = "post")]
    method: String,
    #[serde(default)]
    target: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Json,
}

fn post() -> String {
    "POST".to_owned()
}

impl From<&CaseIncoming> for Incoming {
    fn from(incoming: &CaseIncoming) -> Self {
        Self {
            method: incoming.method.clone(),
            target: incoming.target.clone(),
            headers: incoming.headers.clone().into_iter().collect(),
            body: text(&incoming.body).into_bytes(),
        }
    }
}

/// Runs the cases of a channel; `config` is the configuration of those that bring none.
///
/// # Panics
///
/// If a case fails or the channel breaks the contract, with everything that differs.
pub fn channel<T: Channel>(config: &str, cases: &str) {
    check_description(&channel::describe::<T>(), &[]);
    run(config, cases, |case, config| {
        let channel = match config::parse(config).and_then(T::configure) {
            Ok(channel) => channel,
            Err(errors) => return Ok(refused(&errors)),
        };
        let moment = Moment { now: case.as_of.as_millisecond(), nonce: "5a".repeat(16) };
        match (&case.message, &case.incoming) {
            (Some(message), None) => {
                let send = || channel.send(&message.into(), &moment, Vec::new());
                let sent = script::with(&case.secrets, &case.exchange, send)?;
                check_sent(&sent)?;
                Ok(outcome_json(&sent.outcome))
            }
            (None, Some(incoming)) => {
                let read = || channel.parse_receipt(&incoming.into(), &moment);
                match script::with(&case.secrets, &case.exchange, read)? {
                    Ok(received) => report_json(&received),
                    Err(why) => Ok(json!({ "unbelieved": why })),
                }
            }
            (None, None) => {
                let traits = channel.traits();
                let address = match traits.address {
                    AddressKind::Phone => "phone",
                    AddressKind::Email => "email",
                    AddressKind::Member => "member",
                };
                Ok(json!({
                    "address": address,
                    "deduplicates": traits.deduplicates,
                    "templates_only": traits.templates_only,
                }))
            }
            (Some(_), Some(_)) => Err("a case has a message or an incoming report, not both".to_owned()),
        }
    });
}

/// The limits of what an attempt leaves.
fn check_sent(sent: &Sent) -> Result<(), String> {
    if let Outcome::Rejected(failure) | Outcome::Retry(failure) | Outcome::Unknown(failure) = &sent.outcome {
        let Failure { code, message } = failure;
        if code.is_empty() || code.len() > 64 || message.len() > 512 {
            return Err("a code has 1 to 64 bytes, a message at most 512".to_owned());
        }
    }
    if sent.state.len() > 4 << 10 {
        return Err(format!("a state of {} bytes, at most 4096", sent.state.len()));
    }
    if sent.notes.len() > 8 || sent.notes.iter().any(|note| note.len() > 512) {
        return Err("at most 8 notes of 512 bytes".to_owned());
    }
    Ok(())
}

fn outcome_json(outcome: &Outcome) -> Json {
    let failed = |outcome: &str, failure: &Failure| json!({ "outcome": outcome, "code": failure.code, "message": failure.message });
    match outcome {
        Outcome::Accepted(id) => json!({ "outcome": "accepted", "provider_id": id }),
        Outcome::Rejected(failure) => failed("rejected", failure),
        Outcome::Retry(failure) => failed("retry", failure),
        Outcome::Unknown(failure) => failed("unknown", failure),
    }
}

fn report_json(received: &Received) -> Result<Json, String> {
    if received.receipts.len() > 500 || !(200..=599).contains(&received.status) {
        return Err("at most 500 receipts, and a status of 200 to 599".to_owned());
    }
    let receipts = received.receipts.iter().map(receipt_json).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({ "status": received.status, "body": received.body, "receipts": receipts }))
}

fn receipt_json(receipt: &Receipt) -> Result<Json, String> {
    let status = match receipt.status {
        Status::Delivered => "delivered",
        Status::Failed => "failed",
        Status::Opened => "opened",
        Status::Clicked => "clicked",
        Status::Unsubscribed => "unsubscribed",
    };
    if receipt.code.len() > 64 {
        return Err("a code has at most 64 bytes".to_owned());
    }
    let at = jiff::Timestamp::from_millisecond(receipt.at).map_err(|error| error.to_string())?;
    Ok(json!({
        "key": receipt.key,
        "provider_id": receipt.provider_id,
        "address": receipt.address,
        "status": status,
        "at": at.to_string(),
        "code": receipt.code,
    }))
}

//! Cases of channels: the vendor is played by the case.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::Case;
use crate::{
    domain::channel::{AddressKind, Attempt, Failure, Incoming, Message, Receipt, ReceiptStatus},
    plugin::{
        channel,
        outbound::{Script, Via},
        release::Release,
    },
};

/// What every case of a channel is called with, where a real call has something never seen before.
const NONCE: [u8; 16] = [0x5a; 16];

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

impl CaseMessage {
    fn message(&self) -> Result<Message, String> {
        let classes = ["transactional", "care", "content", "marketing"];
        let class = classes.into_iter().find(|class| *class == self.class);
        Ok(Message {
            key: self.key.clone(),
            class: class.ok_or_else(|| format!("`{}` is none of {}", self.class, classes.join(", ")))?,
            language: self.language.clone(),
            to: self.to.clone(),
            template_id: self.template_id.clone(),
            signature: self.signature.clone(),
            variables: self.variables.clone(),
            subject: self.subject.clone(),
            text: self.text.clone(),
            unsubscribe_url: self.unsubscribe_url.clone(),
        })
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

impl CaseIncoming {
    fn incoming(&self) -> Incoming {
        let body = match &self.body {
            Json::Null => String::new(),
            Json::String(text) => text.clone(),
            json => json.to_string(),
        };
        Incoming {
            method: self.method.clone(),
            target: self.target.clone(),
            headers: self.headers.clone().into_iter().collect(),
            body: body.into_bytes(),
        }
    }
}

/// What comes out of a case: of a message how the attempt ended, of a report what it says, else the traits.
pub(super) async fn answer(release: &Release, case: &Case) -> Result<Json, String> {
    let script = Arc::new(Script::new(&case.secrets, &case.exchange));
    let via = Via::Script(Arc::clone(&script));
    let core = &release.core;
    let shown = match (&case.message, &case.incoming) {
        (Some(message), None) => {
            let message = message.message()?;
            let delivered = channel::deliver(core, &message, case.as_of, NONCE, via).await;
            attempt(&delivered.result.map_err(|fault| fault.to_string())?)
        }
        (None, Some(incoming)) => {
            let read = channel::parse_receipt(core, &incoming.incoming(), case.as_of, NONCE, via).await;
            match read.map_err(|fault| fault.to_string())? {
                Ok(received) => json!({
                    "status": received.status,
                    "body": received.body,
                    "receipts": received.receipts.iter().map(receipt).collect::<Vec<_>>(),
                }),
                Err(why) => json!({ "unbelieved": why }),
            }
        }
        (None, None) => {
            let traits = channel::traits(core);
            let address = match traits.address {
                AddressKind::Phone => "phone",
                AddressKind::Email => "email",
                AddressKind::Member => "member",
            };
            json!({ "address": address, "deduplicates": traits.deduplicates, "templates_only": traits.templates_only })
        }
        (Some(_), Some(_)) => return Err("a case has a message or an incoming report, not both".to_owned()),
    };
    let wrong = script.differences();
    if wrong.is_empty() { Ok(shown) } else { Err(wrong.join("; ")) }
}

fn attempt(attempt: &Attempt) -> Json {
    let failed = |outcome: &str, failure: &Failure| json!({ "outcome": outcome, "code": failure.code, "message": failure.message });
    match attempt {
        Attempt::Accepted(id) => json!({ "outcome": "accepted", "provider_id": id }),
        Attempt::Rejected(failure) => failed("rejected", failure),
        Attempt::Retry(failure) => failed("retry", failure),
        Attempt::Unknown(failure) => failed("unknown", failure),
    }
}

fn receipt(receipt: &Receipt) -> Json {
    let status = match receipt.status {
        ReceiptStatus::Delivered => "delivered",
        ReceiptStatus::Failed => "failed",
        ReceiptStatus::Opened => "opened",
        ReceiptStatus::Clicked => "clicked",
        ReceiptStatus::Unsubscribed => "unsubscribed",
    };
    json!({
        "key": receipt.key,
        "provider_id": receipt.provider_id,
        "address": receipt.address,
        "status": status,
        "at": receipt.at.to_string(),
        "code": receipt.code,
    })
}

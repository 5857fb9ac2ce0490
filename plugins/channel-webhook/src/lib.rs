//! Messages as signed webhooks, by Standard Webhooks 1.0: `webhook-id` is the delivery key, so the receiver drops what it
//! has seen; `webhook-signature` is `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64.
//!
//! The host's secret is the receiver's as it was handed out, `whsec_` and base64. Reports come back the same way: a JSON
//! list under the same signature.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use galenic_sdk::{
    channel::Outcome,
    outbound::{
        http::{self, Request, Response},
        secrets::{self, Algorithm},
    },
    prelude::*,
};
use serde::{Deserialize, Serialize};

/// How old or early a report's signature may be, in milliseconds.
const TOLERANCE_MS: i64 = 300_000;

config! {
    /// Where messages go.
    pub struct Config {
        /// Absolute; its scheme, host and port must be granted.
        pub url: String,
        /// The secret that signs, by its name in the host's configuration.
        pub secret: String,
        /// What `to` holds.
        #[serde(default)]
        pub address: Address,
        /// Whether the receiver drops a message whose `webhook-id` it has seen.
        #[serde(default = "yes")]
        pub deduplicates: bool,
    }
    /// Which of a member's addresses the receiver needs.
    #[derive(Copy, Default, PartialEq, Eq)]
    #[serde(rename_all = "kebab-case")]
    pub enum Address {
        /// The member's id.
        #[default]
        Member,
        /// A phone number in E.164 form.
        Phone,
        /// A mail address.
        Email,
    }
}

fn yes() -> bool {
    true
}

/// A message as the receiver gets it.
#[derive(Serialize)]
struct Payload<'a> {
    /// Always `message.send`.
    r#type: &'static str,
    /// When it was sent, milliseconds since 1970.
    timestamp_ms: i64,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    key: &'a str,
    class: &'a str,
    language: &'a str,
    to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
    variables: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unsubscribe_url: Option<&'a str>,
}

/// What the receiver may answer, and what a report is.
#[derive(Deserialize)]
struct Taken {
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    key: Option<String>,
    id: Option<String>,
    address: Option<String>,
    status: Reported,
    at_ms: i64,
    #[serde(default)]
    code: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reported {
    Delivered,
    Failed,
    Opened,
    Clicked,
    Unsubscribed,
}

/// The channel, configured.
pub struct Webhook(Config);

impl Webhook {
    /// The value of `webhook-signature`.
    fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> Result<String, String> {
        let parts: [&[u8]; 5] = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        let mac = secrets::hmac(&self.0.secret, Algorithm::HmacSha256, &parts)?;
        Ok(format!("v1,{}", STANDARD.encode(mac)))
    }

    /// Says why a call is not from the receiver, if it is not.
    fn verify(&self, incoming: &Incoming, now: i64) -> Result<(), String> {
        let header = |name| incoming.header(name).ok_or_else(|| format!("the header `{name}` is missing"));
        let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
        let seconds: i64 = timestamp.parse().map_err(|_| "`webhook-timestamp` is no number of seconds")?;
        if seconds.saturating_mul(1_000).saturating_sub(now).saturating_abs() > TOLERANCE_MS {
            return Err("`webhook-timestamp` is more than five minutes off".to_owned());
        }
        let expected = self.sign(id, timestamp, &incoming.body)?;
        let known = header("webhook-signature")?.split(' ').any(|given| equal(given.as_bytes(), expected.as_bytes()));
        if known { Ok(()) } else { Err("the signature is wrong".to_owned()) }
    }
}

/// Compares in a time that does not depend on where the two differ.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

/// What the receiver's answer means.
fn outcome(response: &Response) -> Sent {
    let code = format!("http-{}", response.status);
    match response.status {
        200..=299 => {
            let taken = serde_json::from_slice::<Taken>(&response.body).ok();
            Sent::accepted(taken.and_then(|taken| taken.id).filter(|id| id.len() <= 200))
        }
        408 | 425 | 429 => Sent::retry(code, "the receiver asks to wait"),
        300..=399 => Sent::rejected(code, "the receiver has moved; redirects are not followed"),
        400..=499 => Sent::rejected(code, "the receiver refuses the message"),
        _ => Sent::unknown(code, "the receiver failed and may have taken the message"),
    }
}

impl Channel for Webhook {
    type Config = Config;
    const ABOUT: About = about!();

    fn configure(config: Config) -> Result<Self, Vec<FieldError>> {
        let mut errors = Errors::new();
        let absolute = config.url.starts_with("https://") || config.url.starts_with("http://");
        errors.require(absolute, "/url", "must begin with https:// or http://");
        errors.require(!config.secret.is_empty(), "/secret", "must name a secret of the host's configuration");
        errors.into_result(Self(config))
    }

    fn traits(&self) -> ChannelTraits {
        let address = match self.0.address {
            Address::Member => AddressKind::Member,
            Address::Phone => AddressKind::Phone,
            Address::Email => AddressKind::Email,
        };
        ChannelTraits { address, deduplicates: self.0.deduplicates, templates_only: false }
    }

    fn send(&self, message: &Message, moment: &Moment, _: Vec<u8>) -> Sent {
        let payload = Payload {
            r#type: "message.send",
            timestamp_ms: moment.now,
            data: Data {
                key: &message.key,
                class: &message.class,
                language: &message.language,
                to: &message.to,
                template_id: message.template_id.as_deref(),
                signature: message.signature.as_deref(),
                variables: message.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
                subject: message.subject.as_deref(),
                text: &message.text,
                unsubscribe_url: message.unsubscribe_url.as_deref(),
            },
        };
        let body = serde_json::to_vec(&payload).expect("texts and numbers are JSON");
        let timestamp = moment.now.div_euclid(1_000).to_string();
        let signature = match self.sign(&message.key, &timestamp, &body) {
            Ok(signature) => signature,
            Err(why) => return Sent::retry("unsigned", why),
        };
        let request = Request::new("POST", &self.0.url)
            .header("content-type", "application/json")
            .header("webhook-id", &message.key)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body);
        match http::fetch(&request) {
            Ok(response) => outcome(&response),
            Err(error) => Outcome::from(error).into(),
        }
    }

    fn parse_receipt(&self, incoming: &Incoming, moment: &Moment) -> Result<Received, String> {
        self.verify(incoming, moment.now)?;
        let reports: Vec<Report> =
            serde_json::from_slice(&incoming.body).map_err(|error| format!("the report cannot be read: {error}"))?;
        let receipt = |report: Report| Receipt {
            key: report.key,
            provider_id: report.id,
            address: report.address,
            status: match report.status {
                Reported::Delivered => Status::Delivered,
                Reported::Failed => Status::Failed,
                Reported::Opened => Status::Opened,
                Reported::Clicked => Status::Clicked,
                Reported::Unsubscribed => Status::Unsubscribed,
            },
            at: report.at_ms,
            code: report.code,
        };
        Ok(Received { receipts: reports.into_iter().map(receipt).collect(), status: 200, body: String::new() })
    }
}

export_channel!(Webhook);

#[cfg(test)]
mod tests {
    #[test]
    fn cases() {
        galenic_sdk::testing::channel::<super::Webhook>(include_str!("../config.json"), include_str!("../cases.json"));
    }
}

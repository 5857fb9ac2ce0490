//! Text messages through Alibaba Cloud SMS: `SendSms` of 2017-05-25, signed by ACS3-HMAC-SHA256.
//!
//! The vendor does not drop what it has seen, so an attempt whose end is unknown is never a retry; `OutId` carries the
//! delivery key and comes back in its reports. The signing key is the access key's secret itself and stays in the host.

mod report;
mod sign;
mod time;

use galenic_sdk::{
    channel::Outcome,
    outbound::http::{self, Request, Response},
    prelude::*,
};
use serde::Deserialize;

config! {
    /// The account at the vendor.
    pub struct Config {
        /// The access key's id.
        pub access_key_id: String,
        /// The access key's secret, by its name in the host's configuration.
        pub secret: String,
        /// Where the API is; scheme, host and port must be granted.
        #[serde(default = "endpoint")]
        pub endpoint: String,
        /// The signature of messages that bring none.
        #[serde(default)]
        pub signature: Option<String>,
        /// Upstream replies that mean no more of this, without regard to case and blanks.
        #[serde(default = "stop_words")]
        pub stop_words: Vec<String>,
        /// A word that the report's URL carries as `?token=`, because the vendor does not sign its reports.
        #[serde(default)]
        pub report_token: Option<String>,
    }
}

fn endpoint() -> String {
    "https://dysmsapi.aliyuncs.com".to_owned()
}

fn stop_words() -> Vec<String> {
    ["R", "T", "TD", "N", "退订"].map(str::to_owned).to_vec()
}

/// The vendor's answer to `SendSms`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    code: String,
    #[serde(default)]
    message: String,
    biz_id: Option<String>,
}

/// The channel, configured.
pub struct Sms {
    config: Config,
    /// Host and port as the `host` header has them.
    host: String,
}

/// The host of an endpoint, with a port that is not the scheme's own.
fn host(endpoint: &str) -> Option<&str> {
    let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    (!host.is_empty() && host.bytes().all(plain)).then_some(host)
}

/// Mainland numbers go without their prefix, others without the plus.
fn number(to: &str) -> &str {
    let digits = to.strip_prefix('+').unwrap_or(to);
    digits.strip_prefix("86").filter(|rest| rest.len() == 11).unwrap_or(digits)
}

/// What a code of the vendor means. Those that name a limit, a busy side or an account to be topped up pass; those about
/// the number, the template or the text do not.
fn failed(status: u16, answer: &Answer) -> Sent {
    const LATER: [&str; 12] = [
        "isv.BUSINESS_LIMIT_CONTROL",
        "isv.DAY_LIMIT_CONTROL",
        "isv.MONTH_LIMIT_CONTROL",
        "isv.AMOUNT_NOT_ENOUGH",
        "isv.OUT_OF_SERVICE",
        "isv.PRODUCT_UN_SUBSCRIPT",
        "isv.ACCOUNT_NOT_EXISTS",
        "isv.ACCOUNT_ABNORMAL",
        "isp.RAM_PERMISSION_DENY",
        "SignatureDoesNotMatch",
        "SignatureNonceUsed",
        "ServiceUnavailable",
    ];
    let code = answer.code.as_str();
    let is = |begin: &str| code.starts_with(begin);
    if LATER.contains(&code)
        || is("Throttling")
        || is("InvalidAccessKeyId")
        || is("InvalidTimeStamp")
        || is("Forbidden")
    {
        return Sent::retry(code, "the vendor takes nothing for now");
    }
    if code == "isp.SYSTEM_ERROR" || is("InternalError") || status >= 500 {
        return Sent::unknown(code, "the vendor failed and may have taken the message");
    }
    Sent::rejected(code, "the vendor refuses the message")
}

/// What the vendor's answer means.
fn outcome(response: &Response) -> Sent {
    match serde_json::from_slice::<Answer>(&response.body) {
        Ok(Answer { code, biz_id, .. }) if code == "OK" && response.status == 200 => Sent::accepted(biz_id),
        Ok(answer) => {
            let note = format!("{}: {}", answer.code, redacted(&answer.message));
            failed(response.status, &answer).note(note)
        }
        Err(_) => Sent::unknown(format!("http-{}", response.status), "the answer is not the vendor's"),
    }
}

/// The vendor's words without digits: they like to repeat the number.
fn redacted(text: &str) -> String {
    text.chars().map(|letter| if letter.is_ascii_digit() { '#' } else { letter }).take(120).collect()
}

impl Sms {
    /// The request of one message, without its signature: the query, sorted and encoded.
    fn query(&self, message: &Message) -> Result<String, Sent> {
        let Some(template) = &message.template_id else {
            return Err(Sent::rejected("no-template", "this vendor sends approved templates only"));
        };
        let Some(signature) = message.signature.as_ref().or(self.config.signature.as_ref()) else {
            return Err(Sent::rejected("no-signature", "set `signature` or give the message one"));
        };
        let values = message.variables.iter().map(|(name, value)| (name.clone(), value.clone().into()));
        let values = serde_json::Value::Object(values.collect()).to_string();
        let mut parameters = vec![
            ("OutId", message.key.as_str()),
            ("PhoneNumbers", number(&message.to)),
            ("SignName", signature),
            ("TemplateCode", template),
        ];
        if !message.variables.is_empty() {
            parameters.push(("TemplateParam", &values));
        }
        Ok(sign::query(&parameters))
    }
}

impl Channel for Sms {
    type Config = Config;
    const ABOUT: About = about!();

    fn configure(config: Config) -> Result<Self, Vec<FieldError>> {
        let mut errors = Errors::new();
        errors.require(!config.access_key_id.is_empty(), "/access_key_id", "must be the id of an access key");
        errors.require(!config.secret.is_empty(), "/secret", "must name a secret of the host's configuration");
        let host = host(&config.endpoint).unwrap_or("").to_owned();
        errors.require(!host.is_empty(), "/endpoint", "must be a scheme and a host, without a path");
        errors.require(!config.stop_words.is_empty(), "/stop_words", "must hold a word by which members leave");
        errors.into_result(Self { config, host })
    }

    fn traits(&self) -> ChannelTraits {
        ChannelTraits { address: AddressKind::Phone, deduplicates: false, templates_only: true }
    }

    fn send(&self, message: &Message, moment: &Moment, _: Vec<u8>) -> Sent {
        let query = match self.query(message) {
            Ok(query) => query,
            Err(sent) => return sent,
        };
        let call = sign::Call {
            host: &self.host,
            action: "SendSms",
            version: "2017-05-25",
            date: &time::iso_8601(moment.now),
            nonce: &moment.nonce,
            query: &query,
        };
        let authorization = match call.authorization(&self.config.access_key_id, &self.config.secret) {
            Ok(authorization) => authorization,
            Err(why) => return Sent::retry("unsigned", why),
        };
        let request = Request::new("POST", format!("{}/?{query}", self.config.endpoint));
        let headers = call.headers().into_iter().filter(|(name, _)| *name != "host");
        let request = headers.fold(request, |request, (name, value)| request.header(name, value));
        match http::fetch(&request.header("accept", "application/json").header("authorization", authorization)) {
            Ok(response) => outcome(&response),
            Err(error) => Outcome::from(error).into(),
        }
    }

    fn parse_receipt(&self, incoming: &Incoming, _: &Moment) -> Result<Received, String> {
        report::read(&self.config, incoming)
    }
}

export_channel!(Sms);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases() {
        galenic_sdk::testing::channel::<Sms>(include_str!("../config.json"), include_str!("../cases.json"));
    }

    #[test]
    fn numbers_as_the_vendor_writes_them() {
        assert_eq!(number("+8613800000001"), "13800000001");
        assert_eq!(number("+85291234567"), "85291234567");
        assert_eq!(number("13800000001"), "13800000001");
        assert_eq!(number("+8612"), "8612");
    }

    #[test]
    fn notes_name_nobody() {
        assert_eq!(redacted("号码13800000001无效"), "号码###########无效");
    }
}

//! The vendor of the case that runs on this thread: what it is to be sent, and what it answers.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use sha1::Sha1;
use sha2::Sha256;

use super::case::compare;
use crate::outbound::{http, mail, secrets::Algorithm};

/// One exchange of a case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    fetch: Option<Json>,
    mail: Option<Json>,
    answer: Answer,
}

/// What comes back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    status: Option<u16>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Json,
    taken: Option<String>,
    error: Option<String>,
}

#[derive(Default)]
struct Script {
    secrets: BTreeMap<String, String>,
    steps: VecDeque<Step>,
    wrong: Vec<String>,
}

thread_local! {
    static SCRIPT: RefCell<Script> = RefCell::default();
}

/// Runs `call` with this vendor; what was not as the case says is an error.
pub(super) fn with<T>(
    secrets: &BTreeMap<String, String>,
    steps: &[Step],
    call: impl FnOnce() -> T,
) -> Result<T, String> {
    let script = Script { secrets: secrets.clone(), steps: steps.iter().cloned().collect(), wrong: Vec::new() };
    SCRIPT.set(script);
    let answer = call();
    let Script { steps, mut wrong, .. } = SCRIPT.take();
    if !steps.is_empty() {
        wrong.push(format!("{} exchanges of the case were never asked for", steps.len()));
    }
    if wrong.is_empty() { Ok(answer) } else { Err(wrong.join("\n    ")) }
}

/// The answer to what is sent, if the case has one.
fn answer(what: &str, expected: impl Fn(&Step) -> Option<&Json>, sent: &Json) -> Result<Answer, String> {
    SCRIPT.with_borrow_mut(|script| {
        let Some(step) = script.steps.pop_front() else {
            script.wrong.push(format!("a {what} that the case does not expect: {sent}"));
            return Err("the case expects no more".to_owned());
        };
        match expected(&step) {
            Some(expected) => compare(expected, sent, &format!("/{what}"), &mut script.wrong),
            None => script.wrong.push(format!("a {what} where the case expects another kind of call")),
        }
        Ok(step.answer)
    })
}

pub(crate) fn fetch(request: &http::Request) -> Result<http::Response, http::Error> {
    let answer = answer("fetch", |step| step.fetch.as_ref(), &request_json(request)).map_err(http::Error::Denied)?;
    let why = || "as the case says".to_owned();
    match answer.error.as_deref() {
        None => Ok(http::Response {
            status: answer.status.unwrap_or(200),
            headers: answer.headers.into_iter().collect(),
            body: text(&answer.body).into_bytes(),
        }),
        Some("timeout") => Err(http::Error::Timeout),
        Some("unreachable") => Err(http::Error::Unreachable(why())),
        Some("broken") => Err(http::Error::Broken(why())),
        Some("too-large") => Err(http::Error::TooLarge),
        Some(_) => Err(http::Error::Denied(why())),
    }
}

pub(crate) fn mail(mail: &mail::Mail) -> Result<String, mail::Error> {
    let sent = json!({
        "id": mail.id,
        "to": mail.to,
        "subject": mail.subject,
        "text": mail.text,
        "html": mail.html,
        "unsubscribe_url": mail.unsubscribe_url,
    });
    let answer = answer("mail", |step| step.mail.as_ref(), &sent).map_err(mail::Error::Denied)?;
    let why = || "as the case says".to_owned();
    match answer.error.as_deref() {
        None => Ok(answer.taken.unwrap_or_default()),
        Some("later") => Err(mail::Error::Later(why())),
        Some("refused") => Err(mail::Error::Refused(why())),
        Some("broken") => Err(mail::Error::Broken(why())),
        Some(_) => Err(mail::Error::Denied(why())),
    }
}

/// As the host signs: a secret that begins with `whsec_` is bytes in base64.
pub(crate) fn hmac(name: &str, algorithm: Algorithm, parts: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let secret = SCRIPT.with_borrow(|script| script.secrets.get(name).cloned());
    let secret = secret.ok_or_else(|| format!("the case has no secret `{name}`"))?;
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).map_err(|error| error.to_string())?,
        None => secret.into_bytes(),
    };
    let unfit = |_| "the secret cannot be a key".to_owned();
    Ok(match algorithm {
        Algorithm::HmacSha1 => {
            let mut mac = Hmac::<Sha1>::new_from_slice(&key).map_err(unfit)?;
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().to_vec()
        }
        Algorithm::HmacSha256 => {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(unfit)?;
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().to_vec()
        }
    })
}

/// A body: text as it is, anything else as JSON.
pub(super) fn text(body: &Json) -> String {
    match body {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        json => json.to_string(),
    }
}

fn request_json(request: &http::Request) -> Json {
    let body = serde_json::from_slice(&request.body);
    let body = body.unwrap_or_else(|_| Json::String(String::from_utf8_lossy(&request.body).into_owned()));
    let pairs = |pairs: &[(String, String)]| json!(pairs.iter().cloned().collect::<BTreeMap<_, _>>());
    json!({
        "method": request.method,
        "url": request.url,
        "headers": pairs(&request.headers),
        "secret_headers": pairs(&request.secret_headers),
        "body": body,
    })
}

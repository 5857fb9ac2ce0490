//! A vendor played by a case: what a channel is to send, in order, and what it hears.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{
    Secret,
    wire::{Algorithm, HttpError, Mail, MailError, Request, Response},
};
use crate::plugin::cases::differences;

/// One exchange of a case: `fetch` or `mail` is what must be sent, `answer` what comes back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::plugin) struct Step {
    fetch: Option<Json>,
    mail: Option<Json>,
    answer: Answer,
}

/// What comes back: a response, a mail server's line, or an error by its name.
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

/// The exchanges that are still to come, and what was not as the case says.
pub(in crate::plugin) struct Script {
    secrets: BTreeMap<String, Secret>,
    state: Mutex<State>,
}

struct State {
    steps: VecDeque<Step>,
    wrong: Vec<String>,
}

impl Script {
    pub(in crate::plugin) fn new(secrets: &BTreeMap<String, String>, steps: &[Step]) -> Self {
        let secrets = secrets.iter().map(|(name, value)| (name.clone(), Secret::new(value.clone()))).collect();
        Self { secrets, state: Mutex::new(State { steps: steps.iter().cloned().collect(), wrong: Vec::new() }) }
    }

    /// What was not as the case says.
    pub(in crate::plugin) fn differences(&self) -> Vec<String> {
        let state = self.state();
        let left = state.steps.len();
        let left = (left > 0).then(|| format!("{left} exchanges of the case were never asked for"));
        state.wrong.iter().cloned().chain(left).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to what is sent, if the case has one.
    fn answer(&self, what: &str, expected: impl Fn(&Step) -> Option<&Json>, sent: &Json) -> Result<Answer, String> {
        let mut state = self.state();
        let Some(step) = state.steps.pop_front() else {
            state.wrong.push(format!("a {what} that the case does not expect: {sent}"));
            return Err("the case expects no more".to_owned());
        };
        match expected(&step) {
            Some(expected) => {
                state.wrong.extend(differences(expected, sent).into_iter().map(|why| format!("{what} {why}")))
            }
            None => state.wrong.push(format!("a {what} where the case expects another kind of call")),
        }
        Ok(step.answer)
    }

    pub(super) fn fetch(&self, request: &Request) -> Result<Response, HttpError> {
        let answer =
            self.answer("fetch", |step| step.fetch.as_ref(), &request_json(request)).map_err(HttpError::Denied)?;
        let why = || "as the case says".to_owned();
        match answer.error.as_deref() {
            None => Ok(Response {
                status: answer.status.unwrap_or(200),
                headers: answer.headers.into_iter().collect(),
                body: text(&answer.body).into_bytes(),
            }),
            Some("timeout") => Err(HttpError::Timeout),
            Some("unreachable") => Err(HttpError::Unreachable(why())),
            Some("broken") => Err(HttpError::Broken(why())),
            Some("too-large") => Err(HttpError::TooLarge),
            Some(_) => Err(HttpError::Denied(why())),
        }
    }

    pub(super) fn mail(&self, mail: &Mail) -> Result<String, MailError> {
        let answer = self.answer("mail", |step| step.mail.as_ref(), &mail_json(mail)).map_err(MailError::Denied)?;
        let why = || "as the case says".to_owned();
        match answer.error.as_deref() {
            None => Ok(answer.taken.unwrap_or_default()),
            Some("later") => Err(MailError::Later(why())),
            Some("refused") => Err(MailError::Refused(why())),
            Some("broken") => Err(MailError::Broken(why())),
            Some(_) => Err(MailError::Denied(why())),
        }
    }

    pub(super) fn hmac(&self, name: &str, algorithm: Algorithm, parts: &[Vec<u8>]) -> Result<Vec<u8>, String> {
        let secret = self.secrets.get(name).ok_or_else(|| format!("the case has no secret `{name}`"))?;
        secret.hmac(algorithm, parts)
    }
}

/// A body: text as it is, anything else as JSON.
fn text(body: &Json) -> String {
    match body {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        json => json.to_string(),
    }
}

fn request_json(request: &Request) -> Json {
    let body = serde_json::from_slice(&request.body);
    let body = body.unwrap_or_else(|_| Json::String(String::from_utf8_lossy(&request.body).into_owned()));
    let pairs = |pairs: &[(String, String)]| -> Json {
        pairs.iter().cloned().collect::<BTreeMap<_, _>>().into_iter().collect()
    };
    json!({
        "method": request.method,
        "url": request.url,
        "headers": pairs(&request.headers),
        "secret_headers": pairs(&request.secret_headers),
        "body": body,
    })
}

fn mail_json(mail: &Mail) -> Json {
    json!({
        "id": mail.id,
        "to": mail.to,
        "subject": mail.subject,
        "text": mail.text,
        "html": mail.html,
        "unsubscribe_url": mail.unsubscribe_url,
    })
}

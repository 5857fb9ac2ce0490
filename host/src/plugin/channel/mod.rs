//! Channels: one attempt to deliver one message, and a vendor's report read.
//!
//! An attempt that faults before anything left the host sent nothing, and says so as a [`Fault`]. One that faults later
//! is [`Attempt::Unknown`]: whoever repeats it must know that the vendor deduplicates.

pub(super) mod wire;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::{
    breaker::Breaker,
    budget::Grants,
    call::Core,
    fault::Fault,
    outbound::{Egress, Session, Via},
    program::{Rules, wrong_kind},
    release::{ReleaseError, ReleaseRef},
    sandbox::Sandbox,
};
use crate::domain::{
    channel::{AddressKind, Attempt, ChannelTraits, Failure, Incoming, Message, Receipt, Received},
    rule::Kind,
};

/// Bytes that a channel may keep from one call to the next.
const STATE_BYTES_MAX: usize = 4 << 10;
/// Lines for the log, and the bytes of each.
const NOTES_MAX: usize = 8;
const NOTE_BYTES_MAX: usize = 512;
/// Bytes of a failure's code and message.
const CODE_BYTES_MAX: usize = 64;
const MESSAGE_BYTES_MAX: usize = 512;
/// Bytes of a vendor's id, a key, an address.
const ID_BYTES_MAX: usize = 254;
/// Lines of one report, and the bytes of what the vendor wants to hear.
const RECEIPTS_MAX: usize = 500;
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The largest report.
const REPORT_BYTES_MAX: usize = 1 << 20;

/// How an attempt to deliver ended.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The attempt; or a fault, and then nothing was sent.
    pub result: Result<Attempt, Fault>,
    /// The release that tried.
    pub release: ReleaseRef,
    /// Lines for the log, bounded and without control characters. Where there were more, the last one says how many.
    pub notes: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What a release of this kind keeps beside its sandboxes.
pub(super) struct Channel {
    traits: ChannelTraits,
    state: Mutex<Arc<[u8]>>,
    egress: Arc<Egress>,
    places: [Arc<Semaphore>; 2],
    grants: Arc<Grants>,
    /// Of reading reports. Apart from that of sending: whoever sends bad reports must stop no messages.
    reports: Breaker,
}

/// Configures a channel for the first time and asks for its traits; `None` for other kinds.
pub(super) async fn prepare(
    core: &Core,
    egress: &Arc<Egress>,
    grants: &Grants,
) -> Result<Option<Channel>, ReleaseError> {
    let Rules::Channel { traits, .. } = &core.program.rules else { return Ok(None) };
    let mut sandbox = core.fresh(1).await.map_err(ReleaseError::Configure)?;
    let (given,) =
        traits.call(&mut sandbox, ()).await.map_err(|error| ReleaseError::Start(core.classify(&error, 1)))?;
    Ok(Some(Channel {
        traits: given.into(),
        state: Mutex::new(Arc::from([])),
        egress: Arc::clone(egress),
        places: egress.places(),
        grants: Arc::new(grants.clone()),
        reports: Breaker::new(tokio::time::Instant::now()),
    }))
}

/// The traits of a channel; of another kind that it takes nothing.
pub(super) fn traits(core: &Core) -> ChannelTraits {
    let none = ChannelTraits { address: AddressKind::Member, deduplicates: false, templates_only: false };
    core.channel.as_ref().map_or(none, |channel| channel.traits)
}

/// A call of a channel that is under way.
struct Open<'a> {
    channel: &'a Channel,
    sandbox: Sandbox,
}

/// A configured sandbox that may reach what the release was granted.
async fn open(core: &Core, via: Via, sends: bool) -> Result<Open<'_>, Fault> {
    let Some(channel) = &core.channel else { return Err(wrong_kind(Kind::Channel)) };
    let places = places(core, channel).await?;
    let mut sandbox = core.fresh(1).await?;
    // A tenth of the time is left to the guest, to say what came of a call that took too long.
    let until = tokio::time::Instant::now() + core.budgets.wall() * 9 / 10;
    let (egress, grants) = (Arc::clone(&channel.egress), Arc::clone(&channel.grants));
    sandbox.store.data_mut().session = Some(Session::new(egress, grants, via, until, sends, places));
    Ok(Open { channel, sandbox })
}

/// A place among the release's calls, then one among all channels'. Who waits for a vendor holds a sandbox; rules must
/// never wait for that.
async fn places(core: &Core, channel: &Channel) -> Result<Vec<OwnedSemaphorePermit>, Fault> {
    let wait = core.budgets.wall();
    let taken = async {
        let mut taken = Vec::with_capacity(channel.places.len());
        for places in &channel.places {
            taken.push(Arc::clone(places).acquire_owned().await?);
        }
        Ok::<_, AcquireError>(taken)
    };
    match tokio::time::timeout(wait, taken).await {
        Ok(Ok(places)) => Ok(places),
        _ => Err(Fault::PoolBusy(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX))),
    }
}

/// One attempt.
pub(super) async fn deliver(core: &Core, message: &Message, now: Timestamp, nonce: [u8; 16], via: Via) -> Delivered {
    let began = Instant::now();
    let health = &core.health;
    let _in_flight = health.metrics.begin();
    let mut notes = Vec::new();
    let result = if health.breaker.admits(tokio::time::Instant::now) {
        let (result, sent, fuel) = attempt(core, message, now, nonce, via, &mut notes).await;
        record(core, &health.breaker, &result, fuel, began.elapsed());
        match result {
            Err(fault) if sent => Ok(Attempt::Unknown(Failure {
                code: "plugin-fault".to_owned(),
                message: bounded(&fault.to_string(), MESSAGE_BYTES_MAX),
            })),
            result => result,
        }
    } else {
        health.metrics.fault(&Fault::BreakerOpen);
        Err(Fault::BreakerOpen)
    };
    Delivered { result, release: health.release.clone(), notes, elapsed: began.elapsed() }
}

/// The attempt, whether something may have left the host, and what it burnt.
async fn attempt(
    core: &Core,
    message: &Message,
    now: Timestamp,
    nonce: [u8; 16],
    via: Via,
    notes: &mut Vec<String>,
) -> (Result<Attempt, Fault>, bool, u64) {
    let (message, nonce) = (wire::Message::from(message), hexadecimal(nonce));
    if let Err(fault) = check_input(core, message.bytes()) {
        return (Err(fault), false, 0);
    }
    let Open { channel, mut sandbox } = match open(core, via, true).await {
        Ok(open) => open,
        Err(fault) => return (Err(fault), false, 0),
    };
    let Rules::Channel { send, .. } = &core.program.rules else {
        return (Err(wrong_kind(Kind::Channel)), false, 0);
    };
    let state = Arc::clone(&channel.state.lock().unwrap_or_else(PoisonError::into_inner));
    let moment = wire::Moment { now: now.as_millisecond(), nonce: &nonce };
    let answer = send.call(&mut sandbox, (message, moment, &state)).await;
    let sent = sandbox.store.data().session.as_ref().is_some_and(|session| session.began);
    let burnt = sandbox.burnt(&core.budgets, 1);
    let result = answer.map_err(|error| core.classify(&error, 1)).and_then(|(sent,)| {
        *notes = sent.notes.iter().take(NOTES_MAX).map(|note| bounded(note, NOTE_BYTES_MAX)).collect();
        if let Some(cut @ 1..) = sent.notes.len().checked_sub(NOTES_MAX) {
            notes.push(format!("{cut} more notes were cut"));
        }
        let attempt = accept(sent.outcome)?;
        keep_state(channel, sent.state)?;
        Ok(attempt)
    });
    (result, sent, burnt)
}

/// Reads a report. It may sign, to see whether the vendor did; it sends nothing.
pub(super) async fn parse_receipt(
    core: &Core,
    incoming: &Incoming,
    now: Timestamp,
    nonce: [u8; 16],
    via: Via,
) -> Result<Result<Received, String>, Fault> {
    let Some(channel) = &core.channel else { return Err(wrong_kind(Kind::Channel)) };
    let began = Instant::now();
    let _in_flight = core.health.metrics.begin();
    if !channel.reports.admits(tokio::time::Instant::now) {
        core.health.metrics.fault(&Fault::BreakerOpen);
        return Err(Fault::BreakerOpen);
    }
    let (result, fuel) = read(core, incoming, now, nonce, via).await;
    record(core, &channel.reports, &result, fuel, began.elapsed());
    result
}

async fn read(
    core: &Core,
    incoming: &Incoming,
    now: Timestamp,
    nonce: [u8; 16],
    via: Via,
) -> (Result<Result<Received, String>, Fault>, u64) {
    if incoming.body.len() > REPORT_BYTES_MAX {
        let (bytes, limit) = (incoming.body.len() as u64, REPORT_BYTES_MAX as u64);
        return (Err(Fault::InputTooLarge { bytes, limit }), 0);
    }
    let (incoming, nonce) = (wire::Incoming::from(incoming), hexadecimal(nonce));
    if let Err(fault) = check_input(core, incoming.bytes()) {
        return (Err(fault), 0);
    }
    let mut sandbox = match open(core, via, false).await {
        Ok(open) => open.sandbox,
        Err(fault) => return (Err(fault), 0),
    };
    let Rules::Channel { parse, .. } = &core.program.rules else { return (Err(wrong_kind(Kind::Channel)), 0) };
    let moment = wire::Moment { now: now.as_millisecond(), nonce: &nonce };
    let answer = parse.call(&mut sandbox, (incoming, moment)).await;
    let burnt = sandbox.burnt(&core.budgets, 1);
    let result = answer.map_err(|error| core.classify(&error, 1)).and_then(|(answer,)| match answer {
        Ok(received) => accept_report(received).map(Ok),
        Err(why) => Ok(Err(bounded(&why, MESSAGE_BYTES_MAX))),
    });
    (result, burnt)
}

/// Counts a call. A vendor that refuses or asks to wait is no fault of the plugin.
fn record<T>(core: &Core, breaker: &Breaker, result: &Result<T, Fault>, fuel: u64, elapsed: Duration) {
    core.health.metrics.call(1, fuel, elapsed);
    match result {
        Ok(_) => breaker.succeeded(),
        Err(fault) => {
            core.health.metrics.fault(fault);
            if fault.is_plugins() {
                breaker.failed(tokio::time::Instant::now());
            }
        }
    }
}

fn check_input(core: &Core, bytes: usize) -> Result<(), Fault> {
    let limit = core.budgets.input_bytes as usize;
    if bytes > limit { Err(Fault::InputTooLarge { bytes: bytes as u64, limit: limit as u64 }) } else { Ok(()) }
}

fn bad<T>(why: String) -> Result<T, Fault> {
    Err(Fault::BadAnswer(why))
}

/// Fails if a text is longer than it may be.
fn fits(what: &str, text: &str, max: usize) -> Result<(), Fault> {
    if text.len() <= max { Ok(()) } else { bad(format!("{what} of {} bytes, at most {max}", text.len())) }
}

fn accept(outcome: wire::Outcome) -> Result<Attempt, Fault> {
    let failure = |failure: wire::Failure| {
        fits("a code", &failure.code, CODE_BYTES_MAX)?;
        fits("a message", &failure.message, MESSAGE_BYTES_MAX)?;
        Ok(Failure {
            code: bounded(&failure.code, CODE_BYTES_MAX),
            message: bounded(&failure.message, MESSAGE_BYTES_MAX),
        })
    };
    Ok(match outcome {
        wire::Outcome::Accepted(id) => {
            fits("a vendor's id", id.as_deref().unwrap_or(""), ID_BYTES_MAX)?;
            Attempt::Accepted(id)
        }
        wire::Outcome::Rejected(why) => Attempt::Rejected(failure(why)?),
        wire::Outcome::Retry(why) => Attempt::Retry(failure(why)?),
        wire::Outcome::Unknown(why) => Attempt::Unknown(failure(why)?),
    })
}

fn keep_state(channel: &Channel, state: Vec<u8>) -> Result<(), Fault> {
    if state.len() > STATE_BYTES_MAX {
        return bad(format!("a state of {} bytes, at most {STATE_BYTES_MAX}", state.len()));
    }
    *channel.state.lock().unwrap_or_else(PoisonError::into_inner) = state.into();
    Ok(())
}

fn accept_report(received: wire::Received) -> Result<Received, Fault> {
    if received.receipts.len() > RECEIPTS_MAX {
        return bad(format!("{} receipts, at most {RECEIPTS_MAX}", received.receipts.len()));
    }
    if !(200..=599).contains(&received.status) {
        return bad(format!("the status {} for the vendor, must be 200 to 599", received.status));
    }
    fits("an answer for the vendor", &received.body, ANSWER_BYTES_MAX)?;
    let mut receipts = Vec::with_capacity(received.receipts.len());
    for receipt in received.receipts {
        let wire::Receipt { key, provider_id, address, status, at, code } = receipt;
        for id in [&key, &provider_id, &address].into_iter().flatten() {
            fits("an id or address", id, ID_BYTES_MAX)?;
        }
        fits("a code", &code, CODE_BYTES_MAX)?;
        let Ok(at) = Timestamp::from_millisecond(at) else { return bad(format!("the instant {at} cannot be")) };
        let code = bounded(&code, CODE_BYTES_MAX);
        receipts.push(Receipt { key, provider_id, address, status: status.into(), at, code });
    }
    Ok(Received { receipts, status: received.status, body: received.body })
}

/// At most `max` bytes of a text, without control characters.
fn bounded(text: &str, max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(max));
    for letter in text.chars() {
        let start = shown.len();
        match letter {
            '\'' | '"' | '\\' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
        if shown.len() > max {
            shown.truncate(start);
            break;
        }
    }
    shown
}

fn hexadecimal(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_cut_and_carry_no_control_characters() {
        assert_eq!(bounded("短信\n已发", 100), "短信\\n已发");
        assert_eq!(bounded(&"药".repeat(300), 512).len(), 510);
        assert_eq!(bounded("\u{1b}[31m'a' \\", 100), "\\u{1b}[31m'a' \\");
        assert_eq!(hexadecimal([0xab; 16]), "ab".repeat(16));
    }
}

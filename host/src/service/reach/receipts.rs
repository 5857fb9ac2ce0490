//! What vendors report: arrived, opened, followed, failed, and that a member wants no more.

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use super::{plan::note, settle, stop::stop};
use crate::{
    domain::{
        channel::{Incoming, Receipt, ReceiptStatus, Received},
        touch::Channel,
    },
    ids::TouchId,
    reach::{
        carrier::{self, Unread},
        secrets::AddressHash,
        suppression::{self, Cause},
        tables::{LAST_TO_ADDRESS, PROVIDER_IDS, TOUCHES},
        touch::{self, State, Touch},
    },
    service::{Error, Services},
    store::Tx,
};

/// Lines of one report.
const RECEIPTS_MAX: usize = 500;
/// Lines written at one time.
const WRITTEN_AT_ONCE: usize = 16;

/// One line, as a transaction needs it.
#[derive(Clone)]
struct Line {
    slot: String,
    channel: Channel,
    key: Option<TouchId>,
    provider_id: Option<String>,
    address: Option<AddressHash>,
    status: ReceiptStatus,
    code: String,
    at: Timestamp,
}

impl Services {
    /// Reads a vendor's report through the plugin in its slot, which says whether it is the vendor's; what it wants to
    /// hear. A line about a touch that is not known, or not of this channel, changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a slot without a live channel, [`Error::Invalid`] for a report that cannot be believed,
    /// [`Error::NoRule`] if the plugin cannot say.
    pub async fn receive(&self, slot: &str, incoming: Incoming) -> Result<Received, Error> {
        let carrier = self.reach.outlets.carrier(slot).ok_or_else(|| Error::unknown("channel", slot))?;
        let channel = carrier::channel_of(slot).ok_or_else(|| Error::unknown("channel", slot))?;
        let (now, nonce) = (self.clock.now(), self.ids.bytes());
        let parsed = tokio::time::timeout(self.settings.reach.attempt_max, carrier.parse(&incoming, now, nonce)).await;
        let late = || Err(Unread::Unavailable("it took too long".to_owned()));
        let received = match parsed.unwrap_or_else(|_| late()) {
            Ok(received) => received,
            Err(Unread::Refused(why)) => return Err(Error::field("", format!("the report is refused: {why}"))),
            Err(Unread::Unavailable(why)) => return Err(Error::NoRule { slot: slot.to_owned(), why }),
        };
        let kind = carrier.traits().address;
        let line = |receipt: &Receipt| Line {
            slot: slot.to_owned(),
            channel,
            key: receipt.key.as_deref().and_then(touch::of_key),
            provider_id: receipt.provider_id.clone().filter(|id| id.len() <= 128),
            address: receipt.address.as_deref().map(|address| self.reach.secrets.address(kind, address)),
            status: receipt.status,
            code: receipt.code.clone(),
            // A vendor's clock may be anything: nothing is reported before it happens.
            at: receipt.at.min(now),
        };
        let lines: Vec<Line> = received.receipts.iter().take(RECEIPTS_MAX).map(line).collect();
        let written = futures::stream::iter(lines)
            .map(|line| self.store.run(now, move |tx| apply(tx, &line, now)))
            .buffered(WRITTEN_AT_ONCE);
        written.try_for_each(|()| async { Ok(()) }).await?;
        metrics::counter!("galenic_touch_receipts_total", "slot" => slot.to_owned())
            .increment(received.receipts.len() as u64);
        Ok(received)
    }
}

fn apply(tx: &mut Tx<'_>, line: &Line, now: Timestamp) -> Result<(), Error> {
    let touch = find(tx, line)?;
    if line.status == ReceiptStatus::Unsubscribed {
        let mut addresses: Vec<AddressHash> = line.address.into_iter().collect();
        let Some(touch) = touch else {
            for address in addresses {
                suppression::suppress_address(tx, &address, Cause::Unsubscribed, now)?;
            }
            return Ok(());
        };
        addresses.extend(touch.address.map(|address| address.0).filter(|known| Some(*known) != line.address));
        return stop(tx, touch.member, touch.channel, &addresses, "reply", now);
    }
    let Some(mut touch) = touch else { return Ok(()) };
    match line.status {
        ReceiptStatus::Failed => return failed(tx, &mut touch, line, now),
        ReceiptStatus::Delivered => touch.delivered_at = touch.delivered_at.or(Some(line.at)),
        ReceiptStatus::Opened => touch.opened_at = touch.opened_at.or(Some(line.at)),
        ReceiptStatus::Clicked => touch.clicked_at = touch.clicked_at.or(Some(line.at)),
        ReceiptStatus::Unsubscribed => {}
    }
    // It went, whatever the provider said before: it must not go again.
    if touch.state != State::Sent && touch.attempts > 0 && !matches!(touch.state, State::Dropped(_)) {
        return settle::accepted(tx, &mut touch, line.provider_id.as_deref(), line.at);
    }
    Ok(tx.put(&TOUCHES, &touch.id, &touch)?)
}

/// It did not arrive. What was sent stays sent: the vendor took it.
fn failed(tx: &mut Tx<'_>, touch: &mut Touch, line: &Line, now: Timestamp) -> Result<(), Error> {
    if let Some(address) = touch.address.filter(|_| suppression::is_hard_bounce(&line.code)) {
        suppression::suppress_address(tx, &address.0, Cause::HardBounce, now)?;
    }
    touch.failed_at = touch.failed_at.or(Some(line.at));
    touch.note = Some(note(&line.code, "the vendor reports that it did not arrive"));
    if touch.state == State::Unknown {
        // Now it is known, and an operator may try again.
        touch::give_back(tx, touch)?;
        touch.uncertain = false;
        return settle::shift(tx, touch, State::Dead, None);
    }
    Ok(tx.put(&TOUCHES, &touch.id, touch)?)
}

/// The touch that a line is about: by its key, by the vendor's id, or as the last one sent to an address.
fn find(tx: &mut Tx<'_>, line: &Line) -> Result<Option<Touch>, Error> {
    let mut id = line.key;
    if let (None, Some(provider_id)) = (id, &line.provider_id) {
        id = tx.get(&PROVIDER_IDS, &(line.slot.clone(), provider_id.clone()))?;
    }
    if let (None, Some(address)) = (id, &line.address) {
        id = tx.get(&LAST_TO_ADDRESS, address)?;
    }
    let Some(id) = id else { return Ok(None) };
    let touch = tx.get(&TOUCHES, &id)?;
    Ok(touch.filter(|touch| touch.slot.as_deref().and_then(carrier::channel_of) == Some(line.channel)))
}

//! Consents, suppressions, templates and touches.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::schema;
use crate::{
    domain::touch::{Channel, Class, ConsentPurpose, Language},
    http::extract::hex,
    ids::{KeyId, MemberId, TouchId},
    reach::{
        consent::Consent,
        secrets::AddressHash,
        suppression::{Cause, Suppression},
        template::{Approval, Rendered, Template, Variant},
        touch::{Column, State, Touch},
    },
    service::reach::Total,
};

/// What a member said about one purpose on one channel.
#[derive(Serialize, ToSchema)]
#[schema(as = Consent)]
pub(crate) struct ConsentView {
    #[schema(schema_with = schema::consent_purpose)]
    purpose: ConsentPurpose,
    #[schema(schema_with = schema::channel)]
    channel: Channel,
    /// Counts from one; every change is one more.
    version: u32,
    /// Given, or taken back.
    granted: bool,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Which text the member saw.
    text_version: String,
    /// Where the proof lies.
    evidence: Option<String>,
    /// Where it was said.
    #[schema(example = "app")]
    source: String,
    /// The API key that recorded it; null where the member did so by a link or a reply.
    #[schema(value_type = Option<String>)]
    recorded_by: Option<KeyId>,
}

/// A member's consents as they stand.
#[derive(Serialize, ToSchema)]
#[schema(as = Consents)]
pub(crate) struct ConsentsView {
    items: Vec<ConsentView>,
}

/// A member to whom nothing goes on a channel.
#[derive(Serialize, ToSchema)]
#[schema(as = SuppressedMember)]
pub(crate) struct SuppressedMemberView {
    #[schema(value_type = String)]
    member: MemberId,
    #[schema(schema_with = schema::channel)]
    channel: Channel,
    #[schema(schema_with = schema::suppression_cause)]
    cause: Cause,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

/// An address nothing goes to.
#[derive(Serialize, ToSchema)]
#[schema(as = SuppressedAddress)]
pub(crate) struct SuppressedAddressView {
    /// A keyed hash: the address itself is not kept.
    address_hash: String,
    #[schema(schema_with = schema::suppression_cause)]
    cause: Cause,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

/// What all texts of one code share.
#[derive(Serialize, ToSchema)]
#[schema(as = Template)]
pub(crate) struct TemplateView {
    #[schema(example = "refill-due")]
    code: String,
    #[schema(schema_with = schema::touch_class)]
    class: Class,
    /// The consent it needs beyond its class's.
    #[schema(schema_with = schema::consent_purpose)]
    purpose: Option<ConsentPurpose>,
    /// The preferred first.
    #[schema(value_type = Vec<String>, example = json!(["sms", "email"]))]
    channels: Vec<Channel>,
}

/// One version of a text.
#[derive(Serialize, ToSchema)]
#[schema(as = TemplateVersion)]
pub(crate) struct VariantView {
    code: String,
    #[schema(schema_with = schema::channel)]
    channel: Channel,
    #[schema(schema_with = schema::language)]
    language: Language,
    version: u32,
    #[schema(schema_with = schema::approval)]
    approval: Approval,
    vendor_template_id: Option<String>,
    signature: Option<String>,
    subject: Option<String>,
    text: String,
    variables: Vec<String>,
    #[schema(value_type = String)]
    written_by: KeyId,
    #[schema(value_type = String, format = DateTime)]
    written_at: Timestamp,
    #[schema(value_type = Option<String>)]
    decided_by: Option<KeyId>,
    #[schema(value_type = Option<String>, format = DateTime)]
    decided_at: Option<Timestamp>,
}

/// What a member would read.
#[derive(Serialize, ToSchema)]
#[schema(as = Rendered)]
pub(crate) struct RenderedView {
    subject: Option<String>,
    text: String,
}

/// The touches that were asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = AskedTouches)]
pub(crate) struct AskedView {
    /// Their ids, in the order of the request.
    #[schema(value_type = Vec<String>)]
    touches: Vec<TouchId>,
}

/// A touch, without what it says.
#[derive(Serialize, ToSchema)]
#[schema(as = Touch)]
pub(crate) struct TouchView {
    #[schema(value_type = String, example = "tch_0190f2c4a1b27e55a1f03e9d7c5b2a18")]
    id: TouchId,
    #[schema(value_type = String)]
    member: MemberId,
    template: String,
    dedupe: String,
    #[schema(schema_with = schema::touch_class)]
    class: Class,
    /// The preferred channel, until the gate picks one.
    #[schema(schema_with = schema::channel)]
    channel: Channel,
    /// `pending`, `deferred`, `sending`, `sent`, `dropped`, `dead` (no provider took it) or `unknown` (nobody knows
    /// whether it was taken).
    #[schema(example = "sent")]
    state: &'static str,
    /// Why it waits or was dropped: a stable code.
    #[schema(example = "quiet-hours")]
    reason: Option<&'static str>,
    /// What stands in its way, or stood last: a vendor's or a rule's code, and a text for the operator.
    note: Option<NoteView>,
    #[schema(value_type = String, format = DateTime)]
    asked_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    due: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires: Timestamp,
    /// When it is looked at next.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_at: Option<Timestamp>,
    attempts: u32,
    /// The slot of the last attempt.
    slot: Option<String>,
    #[schema(schema_with = schema::language)]
    language: Option<Language>,
    /// The version of the text.
    version: Option<u32>,
    #[schema(value_type = Option<String>, format = DateTime)]
    sent_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    delivered_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    opened_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    clicked_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    failed_at: Option<Timestamp>,
}

/// What stands in the way of a touch.
#[derive(Serialize, ToSchema)]
#[schema(as = TouchNote)]
pub(crate) struct NoteView {
    code: String,
    message: String,
}

/// How many touches stand where.
#[derive(Serialize, ToSchema)]
#[schema(as = TouchTotals)]
pub(crate) struct TotalsView {
    /// Asked for, ever: always the sum of all columns of all rows.
    candidates: u64,
    sent: u64,
    deferred: u64,
    dropped: u64,
    /// Waiting for their time, for an attempt's end, or for an operator's word.
    in_flight: u64,
    /// By class and channel.
    rows: Vec<TotalsRow>,
}

/// The totals of one class on one channel.
#[derive(Serialize, ToSchema)]
#[schema(as = TouchTotalsRow)]
pub(crate) struct TotalsRow {
    #[schema(schema_with = schema::touch_class)]
    class: Class,
    #[schema(schema_with = schema::channel)]
    channel: Channel,
    pending: u64,
    sending: u64,
    unknown: u64,
    sent: u64,
    deferred: u64,
    /// By reason.
    dropped: BTreeMap<&'static str, u64>,
}

impl From<Consent> for ConsentView {
    fn from(consent: Consent) -> Self {
        let Consent { purpose, channel, version, granted, at, text_version, evidence, source, by } = consent;
        Self { purpose, channel, version, granted, at, text_version, evidence, source, recorded_by: by }
    }
}

impl From<Vec<Consent>> for ConsentsView {
    fn from(consents: Vec<Consent>) -> Self {
        Self { items: consents.into_iter().map(ConsentView::from).collect() }
    }
}

impl From<((MemberId, Channel), Suppression)> for SuppressedMemberView {
    fn from(((member, channel), suppression): ((MemberId, Channel), Suppression)) -> Self {
        Self { member, channel, cause: suppression.cause, since: suppression.at }
    }
}

impl From<(AddressHash, Suppression)> for SuppressedAddressView {
    fn from((address, suppression): (AddressHash, Suppression)) -> Self {
        Self { address_hash: hex(&address), cause: suppression.cause, since: suppression.at }
    }
}

impl From<Template> for TemplateView {
    fn from(template: Template) -> Self {
        let Template { code, class, purpose, channels } = template;
        Self { code, class, purpose, channels }
    }
}

impl From<Variant> for VariantView {
    fn from(variant: Variant) -> Self {
        Self {
            code: variant.code,
            channel: variant.channel,
            language: variant.language,
            version: variant.version,
            approval: variant.approval,
            vendor_template_id: variant.vendor_template_id,
            signature: variant.signature,
            subject: variant.subject,
            text: variant.text,
            variables: variant.variables,
            written_by: variant.written_by,
            written_at: variant.written_at,
            decided_by: variant.decided_by,
            decided_at: variant.decided_at,
        }
    }
}

impl From<Rendered> for RenderedView {
    fn from(rendered: Rendered) -> Self {
        Self { subject: rendered.subject, text: rendered.text }
    }
}

impl AskedView {
    /// Of these touches.
    pub(crate) fn new(touches: Vec<TouchId>) -> Self {
        Self { touches }
    }
}

impl From<Touch> for TouchView {
    fn from(touch: Touch) -> Self {
        let reason = match touch.state {
            State::Deferred { reason, .. } => Some(reason.name()),
            State::Dropped(reason) => Some(reason.name()),
            _ => None,
        };
        Self {
            id: touch.id,
            member: touch.member,
            template: touch.template,
            dedupe: touch.dedupe,
            class: touch.class,
            channel: touch.channel,
            state: touch.state.name(),
            reason,
            note: touch.note.map(|note| NoteView { code: note.code, message: note.message }),
            asked_at: touch.asked_at,
            due: touch.due,
            expires: touch.expires,
            next_at: touch.queued,
            attempts: touch.attempts,
            slot: touch.slot,
            language: touch.language,
            version: touch.version,
            sent_at: touch.sent_at,
            delivered_at: touch.delivered_at,
            opened_at: touch.opened_at,
            clicked_at: touch.clicked_at,
            failed_at: touch.failed_at,
        }
    }
}

impl From<Vec<Total>> for TotalsView {
    fn from(totals: Vec<Total>) -> Self {
        let mut all = Self { candidates: 0, sent: 0, deferred: 0, dropped: 0, in_flight: 0, rows: Vec::new() };
        for Total { class, channel, column, count } in totals {
            if column == Column::Candidates {
                all.candidates += count;
                continue;
            }
            if all.rows.last().is_none_or(|row| (row.class, row.channel) != (class, channel)) {
                let dropped = BTreeMap::new();
                let row =
                    TotalsRow { class, channel, pending: 0, sending: 0, unknown: 0, sent: 0, deferred: 0, dropped };
                all.rows.push(row);
            }
            let Some(row) = all.rows.last_mut() else { continue };
            let (sum, place) = match column {
                Column::Candidates => continue,
                Column::Pending => (&mut all.in_flight, &mut row.pending),
                Column::Sending => (&mut all.in_flight, &mut row.sending),
                Column::Unknown => (&mut all.in_flight, &mut row.unknown),
                Column::Sent => (&mut all.sent, &mut row.sent),
                Column::Deferred => (&mut all.deferred, &mut row.deferred),
                Column::Dropped(reason) => (&mut all.dropped, row.dropped.entry(reason.name()).or_default()),
            };
            *sum += count;
            *place += count;
        }
        all
    }
}

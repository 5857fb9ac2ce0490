//! The shapes of the interface `channel`: borrowed on the way in, owned on the way out.

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::domain::channel;

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "lifted by number, never built by name")]
pub(in crate::plugin) enum AddressKind {
    #[component(name = "phone")]
    Phone,
    #[component(name = "email")]
    Email,
    #[component(name = "member")]
    Member,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct Traits {
    address: AddressKind,
    deduplicates: bool,
    #[component(name = "templates-only")]
    templates_only: bool,
}

impl From<Traits> for channel::ChannelTraits {
    fn from(traits: Traits) -> Self {
        let address = match traits.address {
            AddressKind::Phone => channel::AddressKind::Phone,
            AddressKind::Email => channel::AddressKind::Email,
            AddressKind::Member => channel::AddressKind::Member,
        };
        Self { address, deduplicates: traits.deduplicates, templates_only: traits.templates_only }
    }
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(in crate::plugin) struct Message<'a> {
    key: &'a str,
    class: &'a str,
    language: &'a str,
    to: &'a str,
    #[component(name = "template-id")]
    template_id: Option<&'a str>,
    signature: Option<&'a str>,
    variables: &'a [(String, String)],
    subject: Option<&'a str>,
    text: &'a str,
    #[component(name = "unsubscribe-url")]
    unsubscribe_url: Option<&'a str>,
}

impl<'a> From<&'a channel::Message> for Message<'a> {
    fn from(message: &'a channel::Message) -> Self {
        Self {
            key: &message.key,
            class: message.class,
            language: &message.language,
            to: &message.to,
            template_id: message.template_id.as_deref(),
            signature: message.signature.as_deref(),
            variables: &message.variables,
            subject: message.subject.as_deref(),
            text: &message.text,
            unsubscribe_url: message.unsubscribe_url.as_deref(),
        }
    }
}

impl Message<'_> {
    pub(super) fn bytes(&self) -> usize {
        let options = [self.template_id, self.signature, self.subject, self.unsubscribe_url];
        let variables: usize = self.variables.iter().map(|(name, value)| 16 + name.len() + value.len()).sum();
        let texts = [self.key, self.class, self.language, self.to, self.text];
        let texts: usize = texts.into_iter().chain(options.into_iter().flatten()).map(str::len).sum();
        texts + variables
    }
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(in crate::plugin) struct Moment<'a> {
    pub(super) now: i64,
    pub(super) nonce: &'a str,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct Failure {
    pub(super) code: String,
    pub(super) message: String,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(in crate::plugin) enum Outcome {
    #[component(name = "accepted")]
    Accepted(Option<String>),
    #[component(name = "rejected")]
    Rejected(Failure),
    #[component(name = "retry")]
    Retry(Failure),
    #[component(name = "unknown")]
    Unknown(Failure),
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct Sent {
    pub(super) outcome: Outcome,
    pub(super) state: Vec<u8>,
    pub(super) notes: Vec<String>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(in crate::plugin) struct Incoming<'a> {
    method: &'a str,
    target: &'a str,
    headers: &'a [(String, String)],
    body: &'a [u8],
}

impl<'a> From<&'a channel::Incoming> for Incoming<'a> {
    fn from(incoming: &'a channel::Incoming) -> Self {
        Self { method: &incoming.method, target: &incoming.target, headers: &incoming.headers, body: &incoming.body }
    }
}

impl Incoming<'_> {
    pub(super) fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| 16 + name.len() + value.len()).sum();
        self.method.len() + self.target.len() + headers + self.body.len()
    }
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "lifted by number, never built by name")]
pub(in crate::plugin) enum Status {
    #[component(name = "delivered")]
    Delivered,
    #[component(name = "failed")]
    Failed,
    #[component(name = "opened")]
    Opened,
    #[component(name = "clicked")]
    Clicked,
    #[component(name = "unsubscribed")]
    Unsubscribed,
}

impl From<Status> for channel::ReceiptStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Delivered => Self::Delivered,
            Status::Failed => Self::Failed,
            Status::Opened => Self::Opened,
            Status::Clicked => Self::Clicked,
            Status::Unsubscribed => Self::Unsubscribed,
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct Receipt {
    pub(super) key: Option<String>,
    #[component(name = "provider-id")]
    pub(super) provider_id: Option<String>,
    pub(super) address: Option<String>,
    pub(super) status: Status,
    pub(super) at: i64,
    pub(super) code: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct Received {
    pub(super) receipts: Vec<Receipt>,
    pub(super) status: u16,
    pub(super) body: String,
}

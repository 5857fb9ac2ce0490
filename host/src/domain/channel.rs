//! What goes to a channel and what comes back, as plain values.

use std::fmt;

use jiff::Timestamp;

/// Which of a member's addresses a channel needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKind {
    /// A phone number in E.164 form.
    Phone,
    /// A mail address.
    Email,
    /// The member's id.
    Member,
}

/// What the host must know of a configured channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelTraits {
    /// What [`Message::to`] must hold.
    pub address: AddressKind,
    /// Whether a second attempt with the same key has no second effect.
    pub deduplicates: bool,
    /// Whether every message must name a template that the vendor has approved.
    pub templates_only: bool,
}

/// One message to one member. Holds personal data: it is shown without.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The delivery key: the same for every attempt. 32 letters and digits.
    pub key: String,
    /// `transactional`, `care`, `content` or `marketing`.
    pub class: &'static str,
    /// `zh-CN` or `en`.
    pub language: String,
    /// Where to.
    pub to: String,
    /// The vendor's id of the template.
    pub template_id: Option<String>,
    /// The sender's approved signature.
    pub signature: Option<String>,
    /// The values of the template, by name.
    pub variables: Vec<(String, String)>,
    /// A subject.
    pub subject: Option<String>,
    /// The text with the values in it.
    pub text: String,
    /// Where one click unsubscribes.
    pub unsubscribe_url: Option<String>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("key", &self.key).field("class", &self.class).finish_non_exhaustive()
    }
}

/// Why an attempt did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The vendor's code, or one of the plugin's own.
    pub code: String,
    /// For the operator, without personal data.
    pub message: String,
}

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The vendor took it; its id for receipts.
    Accepted(Option<String>),
    /// The vendor will never take it.
    Rejected(Failure),
    /// The vendor did not take it, and may later.
    Retry(Failure),
    /// It may have been taken or not.
    Unknown(Failure),
}

/// A vendor's call, as it came in.
#[derive(Clone, PartialEq, Eq)]
pub struct Incoming {
    /// For example `POST`.
    pub method: String,
    /// The path with its query.
    pub target: String,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub body: Vec<u8>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptStatus {
    /// It arrived.
    Delivered,
    /// It did not and will not.
    Failed,
    /// The member opened it.
    Opened,
    /// The member followed a link.
    Clicked,
    /// The member wants no more of this.
    Unsubscribed,
}

/// One line of a vendor's report.
#[derive(Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The key of the message, where the vendor repeats it.
    pub key: Option<String>,
    /// The vendor's id of the message.
    pub provider_id: Option<String>,
    /// For a reply: where it came from.
    pub address: Option<String>,
    /// What became of it.
    pub status: ReceiptStatus,
    /// When.
    pub at: Timestamp,
    /// The vendor's code.
    pub code: String,
}

/// A vendor's call, understood.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// What it reports.
    pub receipts: Vec<Receipt>,
    /// What the vendor wants to hear: the status of the answer.
    pub status: u16,
    /// And its body.
    pub body: String,
}

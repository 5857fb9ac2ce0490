//! Channels: they carry messages to members by one vendor's protocol.

pub use crate::bindings::exports::galenic::plugin::channel::{
    AddressKind, ChannelTraits, Failure, Incoming, Message, Moment, Outcome, Receipt, Received, Sent, Status,
};
use crate::{
    About, Config, FieldError, Instant,
    bindings::exports::galenic::plugin::channel::Guest,
    glue,
    glue::{Export, Plugged},
    types::Description,
};

/// The largest text of a failure or a note.
const TEXT_BYTES_MAX: usize = 512;
/// The largest code.
const CODE_BYTES_MAX: usize = 64;

/// Carries messages to members. Export it with [`export_channel!`](crate::export_channel!).
///
/// The host has asked for consent, quiet hours and limits before; it repeats what may be repeated. A channel says exactly
/// how one attempt ended: a message that may have been taken is never called a retry.
pub trait Channel: Sized + Send + Sync + 'static {
    /// The configuration, see [`config!`](crate::config!).
    type Config: Config;

    /// Who the plugin is: [`about!()`](crate::about!).
    const ABOUT: About;

    /// Makes a channel of a configuration.
    ///
    /// # Errors
    ///
    /// Every field that is wrong; [`Errors`](crate::Errors) collects them.
    fn configure(config: Self::Config) -> Result<Self, Vec<FieldError>>;

    /// What the host must know of it.
    fn traits(&self) -> ChannelTraits;

    /// Tries once. `state` is what the last call left, for example a token; empty at first.
    fn send(&self, message: &Message, moment: &Moment, state: Vec<u8>) -> Sent;

    /// Reads a vendor's report.
    ///
    /// # Errors
    ///
    /// Why it cannot be believed or read.
    fn parse_receipt(&self, incoming: &Incoming, moment: &Moment) -> Result<Received, String> {
        let _unread = (incoming, moment);
        Err("this channel gets no reports".to_owned())
    }
}

impl Failure {
    /// A code and a sentence for the operator, each cut to what the host takes. Neither may name a person.
    pub fn new(code: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        Self { code: cut(code.as_ref(), CODE_BYTES_MAX), message: cut(message.as_ref(), TEXT_BYTES_MAX) }
    }
}

/// The beginning of a text.
fn cut(text: &str, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

impl From<Outcome> for Sent {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, state: Vec::new(), notes: Vec::new() }
    }
}

impl Sent {
    /// The vendor took it; its id for receipts.
    pub fn accepted(id: Option<String>) -> Self {
        Outcome::Accepted(id).into()
    }

    /// The vendor will never take it.
    pub fn rejected(code: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        Outcome::Rejected(Failure::new(code, message)).into()
    }

    /// The vendor did not take it, and may later.
    pub fn retry(code: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        Outcome::Retry(Failure::new(code, message)).into()
    }

    /// It may have been taken or not.
    pub fn unknown(code: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        Outcome::Unknown(Failure::new(code, message)).into()
    }

    /// The same, leaving this state to the next call.
    #[must_use]
    pub fn with_state(mut self, state: Vec<u8>) -> Self {
        self.state = state;
        self
    }

    /// The same with one more line for the log.
    #[must_use]
    pub fn note(mut self, note: impl AsRef<str>) -> Self {
        self.notes.push(cut(note.as_ref(), TEXT_BYTES_MAX));
        self
    }
}

impl Message {
    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Moment {
    /// Now.
    pub fn instant(&self) -> Instant {
        Instant::new(self.now)
    }
}

impl Incoming {
    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) fn describe<T: Channel>() -> Description {
    glue::describe::<T::Config>(T::ABOUT, &[], &[])
}

impl<P: Plugged<Rule: Channel>> Guest for Export<P> {
    fn describe() -> Description {
        describe::<P::Rule>()
    }

    fn configure(config: String) -> Result<(), Vec<FieldError>> {
        Self::configure(&config, P::Rule::configure)
    }

    fn traits() -> ChannelTraits {
        Self::rule().traits()
    }

    fn send(message: Message, moment: Moment, state: Vec<u8>) -> Sent {
        Self::rule().send(&message, &moment, state)
    }

    fn parse_receipt(incoming: Incoming, moment: Moment) -> Result<Received, String> {
        Self::rule().parse_receipt(&incoming, &moment)
    }
}

/// Makes the crate a plugin of kind `channel`: `export_channel!(Sms);` where `Sms` is a [`Channel`].
#[macro_export]
macro_rules! export_channel {
    ($channel:ty) => {
        $crate::__export! { $channel, CHANNEL,
            use $crate::bindings::exports::galenic::plugin::channel as interface;
            $crate::bindings::exports::galenic::plugin::channel::__export_galenic_plugin_channel_0_1_0_cabi!(
                Export with_types_in interface
            );
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_cut_between_letters() {
        let failure = Failure::new("c".repeat(100), "药".repeat(300));
        assert_eq!((failure.code.len(), failure.message.len()), (64, 510));
    }
}

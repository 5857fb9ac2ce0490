//! Messages as mail through the SMTP server that the release was granted.
//!
//! A server that took a mail twice would deliver it twice, so nothing deduplicates here; the Message-ID is the delivery
//! key, by which a reader's mailbox may.

use galenic_sdk::{
    channel::Outcome,
    outbound::mail::{self, Mail},
    prelude::*,
};

config! {
    /// How a message becomes a mail.
    pub struct Config {
        /// The subject of messages that bring none.
        pub subject: String,
        /// Whether the text is sent as HTML too, its lines as paragraphs.
        #[serde(default)]
        pub html: bool,
    }
}

/// The channel, configured.
pub struct Email(Config);

/// The text as HTML: blank lines part paragraphs, nothing in it is markup.
fn html(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let paragraph = |part: &str| format!("<p>{}</p>", part.trim().replace('\n', "<br>"));
    escaped.split("\n\n").filter(|part| !part.trim().is_empty()).map(paragraph).collect()
}

impl Channel for Email {
    type Config = Config;
    const ABOUT: About = about!();

    fn configure(config: Config) -> Result<Self, Vec<FieldError>> {
        let mut errors = Errors::new();
        let one_line = !config.subject.trim().is_empty() && !config.subject.chars().any(char::is_control);
        errors.require(one_line && config.subject.len() <= 200, "/subject", "must be one line of 1 to 200 bytes");
        errors.into_result(Self(config))
    }

    fn traits(&self) -> ChannelTraits {
        ChannelTraits { address: AddressKind::Email, deduplicates: false, templates_only: false }
    }

    fn send(&self, message: &Message, _: &Moment, _: Vec<u8>) -> Sent {
        let mail = Mail {
            id: message.key.clone(),
            to: message.to.clone(),
            subject: message.subject.clone().unwrap_or_else(|| self.0.subject.clone()),
            text: message.text.clone(),
            html: self.0.html.then(|| html(&message.text)),
            unsubscribe_url: message.unsubscribe_url.clone(),
        };
        match mail::send(&mail) {
            Ok(_) => Sent::accepted(Some(message.key.clone())),
            Err(error) => Outcome::from(error).into(),
        }
    }
}

export_channel!(Email);

#[cfg(test)]
mod tests {
    #[test]
    fn cases() {
        galenic_sdk::testing::channel::<super::Email>(include_str!("../config.json"), include_str!("../cases.json"));
    }
}

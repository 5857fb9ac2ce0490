//! What a message to a member is: its class, where it goes, in which language, and how it may end.
//!
//! Names are part of the API, numbers are stored: both stay.

use std::{fmt, str::FromStr};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// A name that no such choice has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: there are {}", .names.join(", "))]
pub struct UnknownName {
    what: &'static str,
    names: &'static [&'static str],
}

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$about:meta])* $variant:ident = $code:tt, $text:tt;)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
        #[cbor(index_only)]
        pub enum $name {
            $($(#[$about])* #[n($code)] #[serde(rename = $text)] $variant = $code),*
        }

        impl $name {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name used in the API.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The number that is stored.
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The one with this number.
            pub fn of_code(code: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.code() == code)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                let found = Self::ALL.iter().copied().find(|known| known.name() == text);
                found.ok_or(UnknownName { what: $what, names: &[$($text),*] })
            }
        }
    )*};
}

choices! {
    /// What sort of message it is; decides what it needs and what holds it back.
    Class, "class of touch" {
        /// Answers something the member did: an order confirmed, a code to log in.
        Transactional = 0, "transactional";
        /// Looks after a patient: a dose, a refill without a price.
        Care = 1, "care";
        /// To read, without an offer.
        Content = 2, "content";
        /// Sells: also a refill notice with a price.
        Marketing = 3, "marketing";
    }

    /// What data may be used for; consent is given per purpose and channel.
    ConsentPurpose, "consent purpose" {
        /// Health data.
        HealthData = 0, "health-data";
        /// Offers made for the member.
        Personalisation = 1, "personalisation";
        /// Being followed up after a visit.
        Retargeting = 2, "retargeting";
        /// Advertising.
        Marketing = 3, "marketing";
        /// Readings of devices.
        DeviceReadings = 4, "device-readings";
        /// Passing data on.
        ThirdPartySharing = 5, "third-party-sharing";
        /// Taking part in the community.
        Community = 6, "community";
        /// A guardian's, for one under fourteen.
        Guardian = 7, "guardian";
    }

    /// A way to a member. Slots that carry it are `channel.NAME`, `channel.NAME-2` and so on.
    Channel, "channel" {
        /// A text message.
        Sms = 0, "sms";
        /// A mail.
        Email = 1, "email";
        /// A partner's own system.
        Webhook = 2, "webhook";
        /// The messenger.
        Wechat = 3, "wechat";
        /// A notification of the app.
        App = 4, "app";
    }

    /// The language of a text.
    Language, "language" {
        /// Simplified Chinese.
        ZhCn = 0, "zh-CN";
        /// English.
        En = 1, "en";
    }

    /// Why a touch will not be sent.
    DropReason, "drop reason" {
        /// The member gave no consent, or took it back.
        NoConsent = 0, "no-consent";
        /// The member or the address wants, or can get, no more of this.
        Suppressed = 1, "suppressed";
        /// No text for the channel is approved; nothing is sent as free text.
        TemplateUnapproved = 2, "template-unapproved";
        /// The text cannot be made from the variables given.
        TemplateBroken = 3, "template-broken";
        /// The content guard found what may not be said.
        GuardBlocked = 4, "guard-blocked";
        /// The member has no address for any of its channels.
        NoAddress = 5, "no-address";
        /// Its time was over before it could go.
        Expired = 6, "expired";
        /// The member was erased.
        Erased = 7, "erased";
        /// The vendor will never take it.
        Rejected = 8, "rejected";
        /// No provider took it: a dead letter, until an operator tries again.
        Undeliverable = 9, "undeliverable";
        /// An operator gave it up.
        Discarded = 10, "discarded";
    }

    /// Why a touch waits.
    DeferReason, "reason to defer" {
        /// The member sleeps.
        QuietHours = 0, "quiet-hours";
        /// The member had their messages for the day.
        FrequencyCap = 1, "frequency-cap";
        /// The content guard cannot be asked; nothing goes without it.
        GuardUnavailable = 2, "guard-unavailable";
        /// No release carries any of its channels.
        NoCarrier = 3, "no-carrier";
    }
}

impl Class {
    /// Whether it counts towards the daily cap.
    pub const fn capped(self) -> bool {
        matches!(self, Self::Content | Self::Marketing)
    }

    /// Whether it keeps quiet hours.
    pub const fn keeps_quiet(self) -> bool {
        !matches!(self, Self::Transactional)
    }

    /// Whether it must tell how to stop it.
    pub const fn can_be_stopped(self) -> bool {
        !matches!(self, Self::Transactional)
    }

    /// The consent that the class itself needs; a template may need one more. Transactional messages answer what the
    /// member did and need none.
    pub const fn needs(self) -> Option<ConsentPurpose> {
        match self {
            Self::Transactional => None,
            Self::Care => Some(ConsentPurpose::HealthData),
            Self::Content | Self::Marketing => Some(ConsentPurpose::Marketing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_read_back() {
        for class in Class::ALL {
            assert_eq!(class.name().parse(), Ok(*class));
            assert_eq!(Class::of_code(class.code()), Some(*class));
            assert_eq!(serde_json::to_value(class).ok(), Some(class.name().into()));
        }
        let refused = "fax".parse::<Channel>().map_err(|error| error.to_string());
        assert_eq!(refused, Err("not a channel: there are sms, email, webhook, wechat, app".to_owned()));
    }
}

//! `[reach]`: how members are reached.

use std::time::Duration;

use anyhow::Context as _;
use jiff::civil::Time;
use serde::{Deserialize, Serialize};

use crate::{plugin::places_per_release, reach::gate::QuietHours, service::settings::ReachSettings};

/// How members are reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reach {
    /// From this time of the member's day nothing but transactional messages goes out, as `21:00`.
    pub quiet_from: String,
    /// Until this one; the same for no quiet hours.
    pub quiet_to: String,
    /// Content and marketing messages that one member gets in a day, over all channels.
    pub cap_per_day: u32,
    /// What links in messages begin with: where members reach this server, without a slash at its end.
    pub public_url: String,
    /// Messages worked on at one time.
    pub at_once: u32,
    /// How long one attempt may take before its end counts as unknown.
    pub attempt_seconds_max: u32,
    /// Messages are kept so many days after they ended; asking again under a key makes no second one meanwhile.
    pub touches_kept_days: u32,
    /// What they said is kept so many days after they ended; until then an operator can have them tried again.
    pub contents_kept_days: u32,
}

impl Reach {
    /// The defaults.
    pub(super) fn standard() -> Self {
        Self {
            quiet_from: "21:00".to_owned(),
            quiet_to: "09:00".to_owned(),
            cap_per_day: 1,
            public_url: "http://127.0.0.1:8080".to_owned(),
            at_once: 64,
            attempt_seconds_max: 25,
            touches_kept_days: 400,
            contents_kept_days: 30,
        }
    }

    pub(super) fn check(&self, require: &mut impl FnMut(bool, String)) {
        for (key, value) in [("quiet_from", &self.quiet_from), ("quiet_to", &self.quiet_to)] {
            require(value.parse::<Time>().is_ok(), format!("reach.{key} must be a time like `21:00`, not `{value}`"));
        }
        require((1..=100).contains(&self.cap_per_day), "reach.cap_per_day must be 1 to 100".to_owned());
        require((1..=1_000).contains(&self.at_once), "reach.at_once must be 1 to 1000".to_owned());
        require((1..=60).contains(&self.attempt_seconds_max), "reach.attempt_seconds_max must be 1 to 60".to_owned());
        let days = (7..=36_600).contains(&self.touches_kept_days);
        require(days, "reach.touches_kept_days must be 7 to 36600".to_owned());
        let days = (1..=self.touches_kept_days).contains(&self.contents_kept_days);
        require(days, "reach.contents_kept_days must be 1 to reach.touches_kept_days".to_owned());
        let url = self.public_url.as_str();
        let fits = (url.starts_with("https://") || url.starts_with("http://"))
            && !url.ends_with('/')
            && url.len() <= 128
            && url.bytes().all(|byte| byte.is_ascii_graphic());
        require(
            fits,
            format!("reach.public_url must be `https://` and a host, without a slash at its end, not `{url}`"),
        );
    }

    /// One channel gets three quarters of what may be under way, and no more than may call out of `sandboxes`.
    pub(super) fn settings(&self, sandboxes: u32) -> anyhow::Result<ReachSettings> {
        let per_channel = (self.at_once * 3 / 4).min(places_per_release(sandboxes)).max(1);
        let time = |text: &str, key: &'static str| text.parse::<Time>().context(key);
        Ok(ReachSettings {
            quiet: QuietHours {
                from: time(&self.quiet_from, "reach.quiet_from")?,
                to: time(&self.quiet_to, "reach.quiet_to")?,
            },
            cap_per_day: self.cap_per_day as usize,
            public_url: self.public_url.clone(),
            at_once: self.at_once as usize,
            per_channel: per_channel as usize,
            attempt_max: Duration::from_secs(self.attempt_seconds_max.into()),
            touches_kept_days: self.touches_kept_days,
            contents_kept_days: self.contents_kept_days,
        })
    }
}

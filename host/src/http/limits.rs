//! How often a caller may ask: one token bucket per API key, and one per address for those without a key. An IPv6 address
//! counts as its network of 64 bits, which one household has. Beyond a number of addresses the others share one bucket.
//!
//! Answers carry `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers); a refusal is 429 with
//! `Retry-After`.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::problem::Problem;
use crate::ids::KeyId;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Buckets kept before those that are full again are dropped, and then before addresses share one.
const BUCKETS_MAX: usize = 10_000;
/// An empty bucket is full again after this.
const REFILL: Duration = Duration::from_secs(1);

/// Requests per second that one caller may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// With an API key; zero for no limit.
    pub per_key: u32,
    /// From one address without a valid key; zero for no limit.
    pub anonymous: u32,
}

/// Who is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Counted {
    Key(KeyId),
    Address(IpAddr),
    /// Addresses for which no bucket is free.
    Others,
}

impl Counted {
    /// As the address counts.
    pub(crate) fn address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address => address,
        })
    }
}

/// A token bucket that holds one second's worth of requests.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// Every caller's bucket.
pub(crate) struct RateLimiter {
    rates: Rates,
    buckets: Mutex<Buckets>,
}

#[derive(Default)]
struct Buckets {
    of: HashMap<Counted, Bucket>,
    swept: Option<Instant>,
}

impl Buckets {
    /// The bucket that counts for somebody. Those that are full again make room, at most once a second.
    fn find(&mut self, who: Counted, now: Instant) -> Counted {
        let long_ago = |then: Instant| now.saturating_duration_since(then) >= REFILL;
        if self.of.len() >= BUCKETS_MAX && !self.of.contains_key(&who) {
            if self.swept.is_none_or(long_ago) {
                self.swept = Some(now);
                self.of.retain(|_, bucket| !long_ago(bucket.filled));
            }
            if self.of.len() >= BUCKETS_MAX && matches!(who, Counted::Address(_)) {
                return Counted::Others;
            }
        }
        who
    }
}

/// What a caller has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    rate: u32,
    left: u32,
    allowed: bool,
}

impl RateLimiter {
    pub(crate) fn new(rates: Rates) -> Self {
        Self { rates, buckets: Mutex::default() }
    }

    /// Takes one token; `None` where there is no limit.
    pub(crate) fn take(&self, who: Counted, now: Instant) -> Option<Standing> {
        let rate = match who {
            Counted::Key(_) => self.rates.per_key,
            Counted::Address(_) | Counted::Others => self.rates.anonymous,
        };
        if rate == 0 {
            return None;
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let who = buckets.find(who, now);
        let full = f64::from(rate);
        let bucket = buckets.of.entry(who).or_insert(Bucket { tokens: full, filled: now });
        let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + elapsed * full).min(full);
        bucket.filled = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to rate, by the lines above")]
        let left = bucket.tokens as u32;
        Some(Standing { rate, left, allowed })
    }
}

impl Standing {
    /// The refusal, if there is one.
    pub(crate) fn refusal(self) -> Option<Response> {
        if self.allowed {
            return None;
        }
        let problem = Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-requests",
            format!("more than {} requests in a second: slow down", self.rate),
        );
        let mut response = problem.header(header::RETRY_AFTER, "1").into_response();
        self.write(response.headers_mut());
        Some(response)
    }

    /// Adds the headers.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        let pairs = [
            (RATE_LIMIT_POLICY, format!("\"default\";q={};w=1", self.rate)),
            (RATE_LIMIT, format!("\"default\";r={};t=1", self.left)),
        ];
        for (name, text) in pairs {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_again() {
        let limiter = RateLimiter::new(Rates { per_key: 2, anonymous: 0 });
        let who = Counted::Key("key_00000000000000000000000000000001".parse().expect("an id"));
        let start = Instant::now();
        let allowed = |at| limiter.take(who, at).map(|standing| standing.allowed);
        assert_eq!(allowed(start), Some(true));
        assert_eq!(allowed(start), Some(true));
        assert_eq!(allowed(start), Some(false));
        assert_eq!(allowed(start + Duration::from_millis(600)), Some(true));
        assert_eq!(limiter.take(Counted::address(IpAddr::from([127, 0, 0, 1])), start), None);
    }

    #[test]
    fn addresses_count_by_network_and_no_number_of_them_takes_all_memory() {
        let address = |text: &str| Counted::address(text.parse().expect(text));
        assert_eq!(address("2001:db8:1:2:3::4"), address("2001:db8:1:2:ffff::"));
        assert_ne!(address("2001:db8:1:2::"), address("2001:db8:1:3::"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        let limiter = RateLimiter::new(Rates { per_key: 1, anonymous: 1 });
        let (start, many) = (Instant::now(), u32::try_from(BUCKETS_MAX).expect("fits") + 2);
        let allowed = |who, at| limiter.take(who, at).expect("is limited").allowed;
        let refused: Vec<u32> =
            (0..many).filter(|n| !allowed(Counted::address(n.to_be_bytes().into()), start)).collect();
        assert_eq!(refused, [many - 1], "the last two share a bucket");
        let key = Counted::Key("key_00000000000000000000000000000001".parse().expect("an id"));
        assert!(allowed(key, start), "who has a key has a bucket");
        assert!(allowed(Counted::address((many - 1).to_be_bytes().into()), start + REFILL));
        assert!(limiter.buckets.lock().expect("sound").of.len() < 3);
    }
}

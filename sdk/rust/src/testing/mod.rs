//! Runs the cases of a plugin natively, without WASM: the same file that `galenic plugin check` runs through it.
//!
//! ```ignore
//! #[cfg(test)]
//! mod tests {
//!     #[test]
//!     fn cases() {
//!         galenic_sdk::testing::tier_rule::<super::SpendTiers>(include_str!("../config.json"), include_str!("../cases.json"));
//!     }
//! }
//! ```
//!
//! # `cases.json`
//!
//! A list of objects. A member that the format does not know is an error, and so is a fact or a term that the plugin does
//! not ask for, so that a slip of the pen cannot make a case pass.
//!
//! | member | meaning | default |
//! |---|---|---|
//! | `name` | what the case shows; one line | required |
//! | `config` | the configuration | the plugin's `config.json` |
//! | `as_of` | the instant of the call, RFC 3339 | `1970-01-01T00:00:00Z` |
//! | `facts` | facts by name; one that is left out or `null` is absent | `{}` |
//! | `lines` | for each cart line its `line.…` facts by name (earning rules, coupon policies) | `[]` |
//! | `offers` | for each offer its terms by name (coupon policies) | `[]` |
//! | `candidates` | for each candidate `{"facts": {…}, "purchased_at": […]}`: its `candidate.…` facts by name and when the member bought it, newest first (scorers) | `[]` |
//! | `parts` | what the reader of the message sees (content guards) | `[]` |
//! | `message` | for channels: what is to be sent; `key` is `0123456789abcdef` twice, `class` `transactional` and `language` `zh-CN` where they are left out | |
//! | `incoming` | for channels: a vendor's report: `method` (`POST`), `target`, `headers`, `body` (text, or JSON) | |
//! | `secrets` | for channels: the secrets of the case by name | `{}` |
//! | `exchange` | for channels: what must be sent, in order, and what comes back | `[]` |
//! | `expect` | what must come out | required |
//!
//! Numbers stand in the smallest unit, as everywhere: money in minor units, rates in basis points. An `instant` is RFC 3339
//! or milliseconds.
//!
//! `expect` is compared member by member; a member that it leaves out may be anything.
//!
//! | kind | `expect` |
//! |---|---|
//! | tier-rule | `{"tier": "bronze", "reasons": […]}`, the tier by its code |
//! | earning-rule | `{"points": 158, "pending_days": 7, "valid_months": 12, "reasons": […]}` |
//! | coupon-policy | a list, for each offer one of: `{"outcome": "declined", "reasons": […]}`, `{"outcome": "shared", "amount": 2000, "lines": [0, 1], …}`, `{"outcome": "lines", "amounts": [[0, 500], [2, 80]], …}`, `{"outcome": "delivery", "amount": 600, …}`; `{"refused": ["/amount"]}` where `check-terms` refuses the offer at exactly these pointers |
//! | scorer | a list, the highest value first and equal ones in the order of the candidates: `{"candidate": 0, "shelf": "buy-again", "value": 1.25, "reasons": […]}`; values are rounded to four places and always spelled with a point: `2.0` |
//! | content-guard | a list of findings as the guard gave them: `{"part": 0, "start": 6, "end": 12, "text": "根治", "reason": ["absolute-term", …]}`; `text` is the piece of the part |
//! | channel | of a message `{"outcome": "accepted", "provider_id": "…"}`, or `rejected`, `retry`, `unknown` with `code` and `message`; of a report `{"status": 200, "body": "…", "receipts": […]}` or `{"unbelieved": "why"}`; of neither the traits `{"address": "phone", "deduplicates": false, "templates_only": true}` |
//! | any | `{"refused": ["/tiers/0/from"]}` where `configure` refuses the configuration at exactly these pointers |
//!
//! A reason is a list: its code, then its parameters, each `{"integer": …}`, `{"money": …}`, `{"points": …}`,
//! `{"basis_points": …}` or `{"text": …}`: `["below-threshold", {"money": 9680}, {"money": 10000}]`.
//!
//! # A vendor in a case
//!
//! A channel's case plays the vendor, because no test may depend on one. Each entry of `exchange` is what must be sent next
//! and what comes back. `fetch` is compared with the request (`method`, `url`, `headers`, `secret_headers` and `body`, as JSON
//! where it is JSON), `mail` with the mail (`id`, `to`, `subject`, `text`, `html`, `unsubscribe_url`); members that are left
//! out may be anything. `answer` is `{"status": 200, "headers": {}, "body": …}`, for a mail `{"taken": "250 ok"}`, or
//! `{"error": "timeout"}` with an error's name in WIT. Signatures are real: `secrets` holds the keys. The nonce is `5a`
//! sixteen times, the time `as_of`.
//!
//! # What is checked besides
//!
//! The limits of the contract (`wit/v0`): names, sizes, unique codes, the number of parameters against the placeholders of
//! both texts, no negative award, no discount above what the lines cost, no candidate scored twice, no finding that begins
//! or ends inside a character. For tier rules also that bulk evaluation by
//! columns agrees with single verdicts, at the facts of every case and at their neighbours.

mod case;
mod channel;
mod contract;
mod kinds;
pub(crate) mod script;

use case::{Case, compare};
pub use channel::channel;
pub use kinds::{content_guard, coupon_policy, earning_rule, scorer, tier_rule};
use serde_json::{Value as Json, json};

use crate::types::FieldError;

/// Runs every case and panics with all that failed.
fn run(config: &str, cases: &str, check: impl Fn(&Case, &str) -> Result<Json, String>) {
    let cases: Vec<Case> = serde_json::from_str(cases).unwrap_or_else(|error| panic!("cases.json: {error}"));
    assert!(!cases.is_empty(), "cases.json holds no case");
    let mut failures = Vec::new();
    for case in &cases {
        let own = case.config.as_ref().map(Json::to_string);
        let mut differences = Vec::new();
        match check(case, own.as_deref().unwrap_or(config)) {
            Ok(actual) => compare(&case.expect, &actual, "", &mut differences),
            Err(error) => differences.push(error),
        }
        if !differences.is_empty() {
            failures.push(format!("  {}\n    {}", case.name, differences.join("\n    ")));
        }
    }
    assert!(failures.is_empty(), "{} of {} cases failed:\n{}\n", failures.len(), cases.len(), failures.join("\n"));
}

/// A refusal as a case spells it.
fn refused(errors: &[FieldError]) -> Json {
    json!({ "refused": errors.iter().map(|error| &error.pointer).collect::<Vec<_>>() })
}

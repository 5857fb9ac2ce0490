//! What becomes of the tiers that members hold when another rule takes over.
//!
//! A member keeps the code that some release once gave. Whoever is live must be able to say what that code is worth
//! today: it is one of its own, or its `tier_map` names the one that stands for it. A release that comes back by a
//! rollback cannot know codes that came after it; there a code is worth what it was mapped from, or else the tier as
//! high in rank, so that going back is always possible.

use std::collections::{BTreeMap, BTreeSet};

use super::{ActiveRelease, StoredRelease};
use crate::{
    domain::rule::Kind,
    service::{Error, check::Checks},
};

/// Checks the map of a release whose tiers are known.
pub(super) fn check_map(row: &StoredRelease) -> Result<(), Error> {
    let mut checks = Checks::default();
    if row.kind != Kind::TierRule {
        checks.require(row.tier_map.is_empty(), "/tier_map", "is for tier rules alone");
        checks.require(!row.demote_now, "/demote_now", "is for tier rules alone");
    } else {
        let own = row.tiers.join(", ");
        for (old, new) in &row.tier_map {
            let pointer = format!("/tier_map/{}", old.replace('~', "~0").replace('/', "~1"));
            checks.require(!row.tiers.contains(old), &pointer, "is a tier of this release itself: leave it out");
            checks.require(row.tiers.contains(new), &pointer, format!("must map to a tier of this release: {own}"));
        }
    }
    checks.finish()
}

/// What each code that members may hold is worth under `next`, codes of its own left out.
///
/// # Errors
///
/// The codes that `next` says nothing of; none when it comes back by a rollback.
pub(super) fn take_over(
    before: Option<(&ActiveRelease, &StoredRelease)>,
    next: &StoredRelease,
    comes_back: bool,
) -> Result<BTreeMap<String, String>, Vec<String>> {
    let Some((active, last)) = before else { return Ok(next.tier_map.clone()) };
    let held: BTreeSet<&String> = active.tier_map.keys().chain(&last.tiers).collect();
    let (mut map, mut missing) = (next.tier_map.clone(), Vec::new());
    for code in held {
        if next.tiers.contains(code) || map.contains_key(code) {
            continue;
        }
        match if comes_back { worth_before(code, active, last, next) } else { None } {
            Some(worth) => drop(map.insert(code.clone(), worth)),
            None => missing.push(code.clone()),
        }
    }
    if missing.is_empty() { Ok(map) } else { Err(missing) }
}

/// The tier of the rule that comes back which stands for a code of the rule that goes.
fn worth_before(code: &str, active: &ActiveRelease, last: &StoredRelease, next: &StoredRelease) -> Option<String> {
    let today = active.tier_map.get(code).map_or(code, String::as_str);
    if next.tiers.iter().any(|own| own == today) {
        return Some(today.to_owned());
    }
    let mapped = next.tiers.iter().rev().find(|own| active.tier_map.get(*own).is_some_and(|to| to == today));
    let rank = last.tiers.iter().position(|tier| tier == today).unwrap_or(0);
    mapped.or_else(|| next.tiers.get(rank)).or_else(|| next.tiers.last()).cloned()
}

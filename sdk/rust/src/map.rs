//! A map whose order does not depend on chance.

/// A hash map with a fixed hasher.
///
/// The standard map draws a random seed, and a plugin has no randomness: its seed would depend on what the same sandbox
/// did before, and replaying a decision would iterate in another order. Even so let no answer depend on the order
/// (native tests and WASM differ); take a `BTreeMap` where it shows.
pub type Map<K, V> = rustc_hash::FxHashMap<K, V>;

//! What belongs to people alone: the keys that their personal data is sealed under.

pub mod erasures;
pub mod vault;

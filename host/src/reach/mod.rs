//! What decides whether a message reaches a member, and what became of it.
//!
//! [`gate::check`] is the one gate, a pure function with one fixed order; only what it let pass carries a
//! [`gate::Cleared`], and [`carrier::send`] takes nothing without one. Everything else here are rows and the rules that
//! keep them consistent: consents and suppressions, templates, the touch with its queue, its totals and the daily cap.
//! Use cases that bring these together with members, plugins and the vault are in `service/reach`.

pub mod carrier;
pub mod consent;
pub mod gate;
pub mod secrets;
pub mod suppression;
pub mod tables;
pub mod template;
pub mod touch;

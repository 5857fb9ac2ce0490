//! The reference plugins, built with the host and carried in it, so that a bare `galenic serve` has rules.

use crate::domain::rule::Kind;

/// A reference plugin.
#[derive(Clone, Copy, Debug)]
pub struct Embedded {
    /// The plugin's name, as `describe` gives it.
    pub name: &'static str,
    /// The kind it exports.
    pub kind: Kind,
    /// The component.
    pub component: &'static [u8],
    /// Its default configuration, JSON.
    pub config: &'static str,
    /// Its cases, JSON: what it must answer under which configuration.
    pub cases: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

impl Embedded {
    /// The plugin of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        EMBEDDED.iter().find(|plugin| plugin.name == name)
    }
}

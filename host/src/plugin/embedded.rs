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

#[cfg(test)]
mod tests {
    use wasmtime::{Engine, component::Component};

    use super::*;

    /// Each plugin can be compiled, imports nothing, or what channels may, and exports the interface of its kind.
    #[test]
    fn plugins_import_nothing_and_export_their_kind() {
        let engine = Engine::default();
        for plugin in EMBEDDED {
            let component = Component::new(&engine, plugin.component).expect(plugin.name);
            let outside = component.component_type();
            let mut imports: Vec<&str> = outside.imports(&engine).map(|(name, _)| name).collect();
            if plugin.kind == Kind::Channel {
                assert!(!imports.is_empty(), "{} reaches nobody", plugin.name);
                let offered = ["outbound-http", "outbound-mail", "secrets"];
                imports.retain(|import| !offered.iter().any(|name| *import == format!("galenic:plugin/{name}@0.1.0")));
            }
            assert!(imports.is_empty(), "{} imports {imports:?}", plugin.name);
            let interface = format!("galenic:plugin/{}@0.1.0", plugin.kind.name());
            assert!(component.get_export_index(None, &interface).is_some(), "{} has no {interface}", plugin.name);
            assert!(Embedded::find(plugin.name).is_some_and(|found| found.kind == plugin.kind));
        }
    }

    #[test]
    fn configurations_and_cases_are_json() {
        for plugin in EMBEDDED {
            serde_json::from_str::<serde_json::Value>(plugin.config).expect(plugin.name);
            let cases: Vec<serde_json::Value> = serde_json::from_str(plugin.cases).expect(plugin.name);
            assert!(!cases.is_empty(), "{} has no case", plugin.name);
        }
    }
}

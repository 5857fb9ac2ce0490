//! Rules as sandboxed WASM components.

pub mod embedded;

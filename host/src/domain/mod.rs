//! Plain values with no I/O: what the other rooms talk about. Imports no sibling room.

pub mod cbor;
pub mod fact;
pub mod money;
pub mod rule;

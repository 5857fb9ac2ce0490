//! Plain values with no I/O: what the other rooms talk about. Imports no sibling room.

pub mod activity;
pub mod cbor;
pub mod channel;
pub mod code;
pub mod condition;
pub mod fact;
pub mod gift;
pub mod guard;
pub mod instalment;
pub mod launch;
pub mod limit;
pub mod member;
pub mod money;
pub mod offer;
pub mod order;
pub mod payment;
pub mod points;
pub mod prescription;
pub mod product;
pub mod programme;
pub mod rule;
pub mod score;
pub mod service_hours;
pub mod touch;
pub mod window;

//! Galenic: a growth and loyalty engine for pharmacy e-commerce.
//!
//! A small host owns what must never be wrong — members, orders, the points ledger, coupons — and asks sandboxed
//! plugins for everything a business wants to change on a Tuesday afternoon. The README holds the map.

pub mod app;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod domain;
pub mod events;
pub mod http;
pub mod ids;
pub mod ledger;
pub mod members;
pub mod plugin;
pub mod pricing;
pub mod reach;
pub mod recommend;
pub mod scheduler;
pub mod service;
pub mod store;

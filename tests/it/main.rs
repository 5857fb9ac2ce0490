//! Everything that is tested from outside: crashes, the whole system, house rules. One binary.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod anonymous;
mod app;
mod backup;
mod channels;
mod conventions;
mod corpus;
mod demo;
mod deploy;
mod flash;
mod gifts;
mod guest;
mod hostile;
mod launches;
mod offer_kinds;
mod offers;
mod operator;
mod oracle;
mod payments;
mod people;
mod points;
mod prescriptions;
mod program;
mod reach;
mod recommendations;
mod releases;
mod rules;
mod shop;
mod simulator;
mod stacking;
mod store_crash;
mod swaps;
mod tidy;
mod tiers;
mod time;
mod timers_crash;
mod tls;
mod touches_crash;
mod vendor;

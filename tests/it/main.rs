//! Everything that is tested from outside: crashes, the whole system, house rules. One binary.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod guest;
mod hostile;
mod releases;
mod store_crash;

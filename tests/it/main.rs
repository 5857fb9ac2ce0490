//! Everything that is tested from outside: crashes, the whole system, house rules. One binary.

mod guest;
mod hostile;
mod releases;
mod store_crash;

//! Everything that is tested from outside: crashes, the whole system, house rules. One binary.

mod app;
mod conventions;
mod guest;
mod hostile;
mod operator;
mod releases;
mod rules;
mod shop;
mod store_crash;
mod swaps;
mod tidy;

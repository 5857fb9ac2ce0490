//! Everything that is tested from outside: crashes, the whole system, house rules. One binary.

mod store_crash;

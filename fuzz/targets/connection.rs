//! Gives libFuzzer's bytes to `tests/fuzz/connection.rs`.
#![no_main]

#[path = "../../tests/fuzz/connection.rs"]
mod connection;
#[path = "../../tests/simulation/classifier/promises.rs"]
mod promises;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| connection::run(bytes));

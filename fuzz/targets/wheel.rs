//! Gives libFuzzer's bytes to `tests/fuzz/wheel.rs`.
#![no_main]

#[path = "../../tests/fuzz/wheel.rs"]
mod wheel;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wheel::run(bytes));

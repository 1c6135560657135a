//! Gives libFuzzer's bytes to `tests/fuzz/framing.rs`.
#![no_main]

#[path = "../../tests/fuzz/framing.rs"]
mod framing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| framing::run(bytes));

//! Gives libFuzzer's bytes to `tests/fuzz/classifier.rs`.
#![no_main]

#[path = "../../tests/fuzz/classifier.rs"]
mod classifier;
#[path = "../../tests/simulation/classifier/promises.rs"]
mod promises;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| classifier::run(bytes));

//! Gives libFuzzer's bytes to `tests/fuzz/world.rs`.
#![no_main]

#[path = "../../tests/fuzz/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| world::run(bytes));

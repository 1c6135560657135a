//! A fuzzer's bytes spell a whole world, and the loop keeps its promises in it.

use closecall::simulation::run_bytes;

pub(crate) fn run(bytes: &[u8]) {
    if let Err(failure) = run_bytes(bytes) {
        panic!("\n{failure}\n");
    }
}

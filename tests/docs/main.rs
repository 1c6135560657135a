//! The documents are right: their commands are accepted and work, their links lead somewhere, and
//! the names of verdicts and scenarios in them exist in the program.
#![cfg(all(target_os = "linux", feature = "cli"))]

#[path = "../common/process.rs"]
mod process;
#[path = "../common/scratch.rs"]
mod scratch;

mod by_hand;
mod commands;
mod links;
mod markdown;
mod names;
mod recipe;
mod shell;

#[track_caller]
fn assert_clean(broken: &[String]) {
    assert!(broken.is_empty(), "\n  {}\n", broken.join("\n  "));
}

/// Says what a part of a test needs that this machine does not have. The gate installs none of it,
/// so it is no failure there.
fn skipped(needs: &str) {
    #[allow(clippy::print_stderr)] // for the person that runs the tests
    let () = eprintln!("skipped: needs {needs}");
}

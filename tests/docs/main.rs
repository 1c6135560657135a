//! The documents are right: what they tell people to type is accepted and works, what they link to
//! exists, and the names of verdicts and scenarios in them are names that the program knows.
//! On Linux, whose verdicts the documents name.
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
    #[allow(clippy::print_stderr)] // it is for whoever runs the tests
    let () = eprintln!("skipped: needs {needs}");
}

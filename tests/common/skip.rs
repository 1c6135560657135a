//! Skipping: a test that cannot run on this machine prints why, and fails where it is required to
//! run.

/// Prints that a test is skipped, and what it needs. With CLOSECALL_NAMESPACES=required that is a
/// failure.
#[track_caller]
pub(crate) fn skips(needs: &str) {
    let required = std::env::var_os("CLOSECALL_NAMESPACES").is_some_and(|it| it == "required");
    assert!(!required, "skipped: needs {needs}");
    #[allow(clippy::print_stderr)] // for the person that runs the tests
    let () = eprintln!("skipped: needs {needs}");
}

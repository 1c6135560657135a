//! What cannot be tested on this machine is skipped aloud, and never where it has to be tested.

/// Says that a test is skipped, and what it needs. With CLOSECALL_NAMESPACES=required that is a
/// failure.
#[track_caller]
pub(crate) fn skips(needs: &str) {
    let required = std::env::var_os("CLOSECALL_NAMESPACES").is_some_and(|it| it == "required");
    assert!(!required, "skipped: needs {needs}");
    #[allow(clippy::print_stderr)] // it is for whoever runs the tests
    let () = eprintln!("skipped: needs {needs}");
}

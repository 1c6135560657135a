//! What the commands print: reports on stdout, remarks on stderr, progress on a terminal.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::{Failure, sink};

/// Writes a report to stdout. A reader that has closed its pipe does not want it.
///
/// # Errors
/// It cannot be written: the disk is full, for example.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let mut parts = sink::calls(text.as_bytes());
    match parts.try_for_each(|part| stdout.write_all(part).and_then(|()| stdout.flush())) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Unsaid(format!("stdout cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a remark to stderr, as one line with the name of the program. If stderr is closed, it is
/// lost.
pub(super) fn warn(remark: &str) {
    let _ = io::stderr().write_all(format!("closecall: {remark}\n").as_bytes());
}

/// A report as indented JSON, with a newline at its end.
pub(super) fn json(report: &impl Serialize) -> String {
    // Names, numbers and null: nothing of it can fail.
    serde_json::to_string_pretty(report).unwrap_or_default() + "\n"
}

/// The same on one line.
pub(super) fn json_line(report: &impl Serialize) -> String {
    serde_json::to_string(report).unwrap_or_default() + "\n"
}

/// A progress bar of `length` steps on stderr, hidden if that is no terminal. `position` is a
/// template of indicatif, such as `{percent}%`; a message follows it.
pub(super) fn bar(length: u64, position: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(&format!("{{bar:20}} {position} {{wide_msg}}")) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

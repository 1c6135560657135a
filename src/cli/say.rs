//! Output of the commands: reports on stdout, warnings and errors on stderr, progress on a
//! terminal.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::{Failure, sink};

/// Writes a report to stdout. It is no error if the reader has closed the pipe.
///
/// # Errors
/// The report cannot be written, for example because the disk is full.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let mut parts = sink::calls(text.as_bytes());
    match parts.try_for_each(|part| stdout.write_all(part).and_then(|()| stdout.flush())) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Unsaid(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a warning or an error to stderr, one line with the name of the program. If stderr is
/// closed, the line is lost.
pub(super) fn warn(remark: &str) {
    let _ = io::stderr().write_all(format!("closecall: {remark}\n").as_bytes());
}

/// A report as indented JSON, with a newline at its end.
pub(super) fn json(report: &impl Serialize) -> String {
    // A report has only strings, numbers and null, so this cannot fail.
    serde_json::to_string_pretty(report).unwrap_or_default() + "\n"
}

/// A report as JSON on one line.
pub(super) fn json_line(report: &impl Serialize) -> String {
    serde_json::to_string(report).unwrap_or_default() + "\n"
}

/// A progress bar of `length` steps on stderr, hidden if stderr is not a terminal. `position` is a
/// template of indicatif, such as `{percent}%`; the message follows it.
pub(super) fn bar(length: u64, position: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(&format!("{{bar:20}} {position} {{wide_msg}}")) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

//! Logging: env_logger formats and filters records, and the sink of stderr writes them.
//!
//! Each record is one line, whatever it contains: control characters are escaped here once more,
//! although the code that logs a client's bytes escapes them already.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use log::{LevelFilter, Record};

use super::sink::{Content, Out, PIPE_BUF, Sink};
use super::words::thousands;

/// The most lines that wait for stderr. Few lines are longer than a kilobyte, so this is a few
/// megabytes.
const LINES_MAX: usize = 4096;

/// The longest line, in bytes. Together with a newline that ends a torn line before it, it fits one
/// call on a pipe, so that no other writer can tear it. A line is about a kilobyte at most, unless
/// it repeats a longer path or RUST_LOG. If PIPE_BUF is 512, a long line may be torn, which is
/// better than to cut it.
const LINE_BYTES_MAX: usize = if PIPE_BUF < 4096 { 4094 } else { PIPE_BUF - 2 };

/// The environment variable with the log filter.
const VARIABLE: &str = "RUST_LOG";

/// Sink of stderr: whole lines, newline included.
pub(super) type LineSink = Sink<Vec<u8>>;

struct LogLines;

impl Content for LogLines {
    type Item = Vec<u8>;

    fn render(&mut self, line: &Vec<u8>, into: &mut Vec<u8>) {
        into.extend_from_slice(line);
    }

    fn failed(&mut self, _error: &io::Error) {} // there is no other place to report it

    fn lost(&mut self, lost: u64, into: &mut Vec<u8>) {
        let text = format!("… {} log lines were dropped\n", thousands(lost));
        into.extend_from_slice(text.as_bytes());
    }
}

/// Starts the sink of stderr.
///
/// # Errors
/// The system has no thread for it.
pub(super) fn start_sink(out: impl Out) -> io::Result<LineSink> {
    Sink::start("stderr", out, LogLines, LINES_MAX, Vec::new())
}

/// Sends the log to `sink`, filtered by RUST_LOG.
pub(super) fn start(sink: LineSink) {
    let asked = std::env::var(VARIABLE).unwrap_or_default();
    let (directives, ignored) = directives(&asked);
    let mut builder = env_logger::Builder::new();
    if directives.is_empty() {
        builder.filter_level(LevelFilter::Info);
    } else {
        builder.parse_filters(&directives);
    }
    builder.format(line);
    builder.target(env_logger::Target::Pipe(Box::new(Pipe(sink))));
    // It fails if the process already has a logger, which then stays.
    if builder.try_init().is_err() {
        return;
    }
    for directive in ignored {
        log::warn!(
            "{VARIABLE}: \"{directive}\" is ignored: expected LEVEL, TARGET or TARGET=LEVEL"
        );
    }
}

/// Splits RUST_LOG into valid directives and invalid ones. env_logger would report the invalid ones
/// with `eprintln!`, which panics if stderr is full and blocks if no process reads it.
fn directives(asked: &str) -> (String, Vec<String>) {
    let (asked, filter) = match asked.split_once('/') {
        Some((asked, filter)) if !filter.contains('/') => (asked, Some(filter)),
        Some(_) => return (String::new(), vec![asked.to_owned()]),
        None => (asked, None),
    };
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for directive in asked.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let is_good = match directive.split_once('=') {
            None => true,
            Some((_, level)) => level.is_empty() || level.trim().parse::<LevelFilter>().is_ok(),
        };
        if is_good { good.push(directive) } else { bad.push(directive.to_owned()) }
    }
    let mut good = good.join(",");
    if let Some(filter) = filter {
        if good.is_empty() {
            good.push_str("info");
        }
        good.push('/');
        good.push_str(filter);
    }
    (good, bad)
}

fn line(into: &mut env_logger::fmt::Formatter, record: &Record<'_>) -> io::Result<()> {
    let time = into.timestamp_millis();
    let mut message = OneLine(String::new());
    // If a value cannot be formatted, the rest of the line is lost.
    let _ = message.write_fmt(*record.args());
    writeln!(into, "{time} {:<5} {}: {}", record.level(), record.target(), message.0)
}

/// Text on one line: control characters are escaped.
struct OneLine(String);

impl fmt::Write for OneLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if character.is_control() {
                self.0.extend(character.escape_default());
            } else {
                self.0.push(character);
            }
        }
        Ok(())
    }
}

/// The line, cut to [`LINE_BYTES_MAX`] with its newline.
fn shortened(line: &[u8]) -> Vec<u8> {
    if line.len() <= LINE_BYTES_MAX {
        return line.to_vec();
    }
    const END: &str = "…\n";
    let is_start = |byte: u8| byte & 0xC0 != 0x80; // of a character in UTF-8
    let mut length = LINE_BYTES_MAX - END.len();
    while length > 0 && !is_start(line[length]) {
        length -= 1;
    }
    [&line[..length], END.as_bytes()].concat()
}

/// The target of env_logger: each call is one line.
struct Pipe(LineSink);

impl Write for Pipe {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(shortened(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_directives_of_rust_log_are_set_aside() {
        let set = |asked| {
            let (good, bad) = directives(asked);
            (good, bad.join(" "))
        };
        let pair = |good: &str, bad: &str| (good.to_owned(), bad.to_owned());
        assert_eq!(set(""), pair("", ""));
        assert_eq!(set("debug, mio=off"), pair("debug,mio=off", ""));
        assert_eq!(set("warn,a=loud,b=c=d"), pair("warn", "a=loud b=c=d"));
        assert_eq!(set("a/b/c"), pair("", "a/b/c"));
        assert_eq!(set("/Hi"), pair("info/Hi", ""));
    }

    #[test]
    fn a_line_fits_one_call_on_a_pipe() {
        let line = |length: usize| ["é".repeat(length / 2).as_bytes(), b"\n"].concat();
        assert_eq!(shortened(&line(4000)), line(4000));
        let short = String::from_utf8(shortened(&line(5000))).unwrap();
        assert!(short.len() <= LINE_BYTES_MAX && short.len() > LINE_BYTES_MAX - 4, "{short}");
        assert!(short.ends_with("é…\n"), "{short}");
    }

    #[test]
    fn a_message_is_one_line() {
        let mut line = OneLine(String::new());
        line.write_str("a\nb\x1b[31m\u{9b}\x7f é…").unwrap();
        assert_eq!(line.0, "a\\nb\\u{1b}[31m\\u{9b}\\u{7f} é…");
    }
}

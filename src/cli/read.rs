//! `closecall read`: how each TCP connection in a capture ended.

mod source;
mod summary;
mod view;

use std::io::{self, BufWriter, StdoutLock, Write};
use std::process::ExitCode;

use self::source::{Seen, Source, What};
use self::summary::Summary;
use self::view::Connection;
use super::args::{ReadArgs, ReadFormat};
use super::say::{json_line, warn};
use super::{EXIT_FAILED, Failure};
use crate::wire::{Ended, Skipped, Table};

/// Reads the captures, and prints each connection when its end is known.
///
/// # Errors
/// A file cannot be opened or is no capture, or stdout cannot be written.
pub(super) fn run(args: &ReadArgs) -> Result<ExitCode, Failure> {
    let sources: Result<Vec<Source>, Failure> =
        args.files.iter().map(|path| Source::open(path)).collect();
    let mut merged = Merged::new(sources?);
    let mut report = Report::new(args);
    let mut table = Table::new(args.max_flows);
    let mut skips = Skips::default();
    let mut ended = Vec::new();
    while let Some(seen) = merged.next() {
        match seen.what {
            What::Segment(segment) => table.takes(&segment, seen.at_ns, &mut ended),
            What::Skipped(reason) => skips.counts[reason as usize] += 1,
            What::UnknownLink(link) => skips.unknown_link(link),
        }
        for connection in ended.drain(..) {
            report.takes(&connection);
        }
        if report.is_unwanted() {
            break;
        }
    }
    table.finish(&mut ended);
    for connection in ended.drain(..) {
        report.takes(&connection);
    }
    report.finish()?;
    skips.remark();
    for remark in &merged.damaged {
        warn(&format!("{remark}; what came before is reported"));
    }
    Ok(if merged.damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// Several captures as one, in the order of their packets' times.
struct Merged {
    /// Each with its next packet.
    sources: Vec<(Source, Seen)>,
    /// What is said of those that could not be read to their end.
    damaged: Vec<String>,
}

impl Merged {
    fn new(sources: Vec<Source>) -> Merged {
        let mut merged = Merged { sources: Vec::new(), damaged: Vec::new() };
        for mut source in sources {
            if let Some(seen) = merged.next_of(&mut source) {
                merged.sources.push((source, seen));
            }
        }
        merged
    }

    fn next_of(&mut self, source: &mut Source) -> Option<Seen> {
        source.next().unwrap_or_else(|remark| {
            self.damaged.push(remark);
            None
        })
    }

    fn next(&mut self) -> Option<Seen> {
        let times = self.sources.iter().enumerate().map(|(at, (_, seen))| (seen.at_ns, at));
        let (_, earliest) = times.min()?;
        let (mut source, seen) = self.sources.swap_remove(earliest);
        if let Some(next) = self.next_of(&mut source) {
            self.sources.push((source, next));
            let last = self.sources.len() - 1;
            self.sources.swap(earliest, last);
        }
        Some(seen)
    }
}

/// What was not looked into.
#[derive(Default)]
struct Skips {
    counts: [u64; Skipped::COUNT],
    /// Frames of link layers that are not read, and the number of the first of them.
    unknown: u64,
    first_unknown: u32,
}

impl Skips {
    fn unknown_link(&mut self, link: u32) {
        if self.unknown == 0 {
            self.first_unknown = link;
        }
        self.unknown += 1;
    }

    /// Says what may have had TCP segments in it, if there was any.
    fn remark(&self) {
        let of = |reason: Skipped| self.counts[reason as usize];
        let hidden = Skipped::ALL.into_iter().filter(|it| it.may_hide_tcp() && of(*it) > 0);
        let mut parts: Vec<String> =
            hidden.map(|reason| format!("{} {}", of(reason), reason.name())).collect();
        if self.unknown > 0 {
            parts.push(format!("{} of link type {}", self.unknown, self.first_unknown));
        }
        if !parts.is_empty() {
            warn(&format!(
                "packets that may have TCP in them and were not read: {}",
                parts.join(", ")
            ));
        }
    }
}

/// What is printed, and where.
struct Report<'a> {
    args: &'a ReadArgs,
    summary: Summary,
    stdout: BufWriter<StdoutLock<'static>>,
    /// The first error of writing.
    failed: Option<io::Error>,
}

impl<'a> Report<'a> {
    fn new(args: &'a ReadArgs) -> Report<'a> {
        let stdout = BufWriter::new(io::stdout().lock());
        Report { args, summary: Summary::default(), stdout, failed: None }
    }

    fn takes(&mut self, ended: &Ended) {
        let args = self.args;
        let has = |port: u16| ended.flow.ends().iter().any(|end| end.port() == port);
        if args.port.is_some_and(|port| !has(port)) {
            return;
        }
        let connection = Connection::new(ended, args.role, args.port);
        let kind = connection.verdict.kind;
        if !args.only.is_empty() && !args.only.iter().any(|only| only.fits(kind)) {
            return;
        }
        if args.summary {
            return self.summary.counts(kind, connection.peer().ip());
        }
        let line = match args.format {
            ReadFormat::Table => connection.line(),
            ReadFormat::Json => json_line(&connection.record()),
        };
        self.writes(&line);
    }

    fn writes(&mut self, text: &str) {
        if self.failed.is_none() {
            self.failed = self.stdout.write_all(text.as_bytes()).err();
        }
    }

    /// Nothing more can be written.
    fn is_unwanted(&self) -> bool {
        self.failed.is_some()
    }

    /// # Errors
    /// It could not be written. A reader that has closed its pipe does not want it.
    fn finish(mut self) -> Result<(), Failure> {
        if self.args.summary {
            let text = self.summary.text();
            self.writes(&text);
        }
        let failed = self.failed.take().or_else(|| self.stdout.flush().err());
        match failed {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::Unsaid(format!("stdout cannot be written: {error}")))
            }
            _ => Ok(()),
        }
    }
}

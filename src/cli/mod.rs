//! Command line of closecall: arguments become a configuration, endings become log lines, and
//! outcomes become exit codes.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the command ran and something failed: for example, a second signal, or stdout is full |
//! | 2 | usage error: one line with the option or variable, its value, and what is allowed |
//! | 3 | the system does not allow it: one line with the reason and the remedy |
//!
//! An output may be a pipe that no process reads, a full disk, or a closed descriptor. None of
//! these may stop the server, and `println!` panics on them, so no code here uses it. While a
//! server runs, all output goes through a `sink`. Before that, the program tries one write and
//! ignores its result. The other commands print a report: a report that cannot be written is a
//! failure, unless its reader has closed the pipe.

mod addresses;
mod args;
mod client;
mod close_log;
mod fit;
mod lab;
mod limits;
mod load;
mod logging;
mod memory;
mod read;
mod report;
mod say;
mod serve;
mod signals;
mod sink;
mod table;
mod usage;
mod values;
mod words;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use self::args::{Cli, Command};

/// Exit code of a command that ran, and in which something failed.
const EXIT_FAILED: u8 = 1;
/// Exit code of a usage error.
const EXIT_USAGE: u8 = 2;
/// Exit code of a command that the system does not allow.
const EXIT_REFUSED: u8 = 3;

/// Why a command did nothing, or why it could not write its report. Each variant holds the error
/// message, one line.
#[derive(Debug)]
enum Failure {
    /// The options are wrong.
    Usage(String),
    /// The system does not allow it.
    Refused(String),
    /// The command ran, and its report cannot be written, or it was interrupted.
    Unsaid(String),
}

/// Entry point of the program `closecall`.
pub fn main() -> ExitCode {
    if !limits::is_enough_memory_to_begin() {
        let line = b"closecall: not enough memory to start: raise the memory limit (ulimit -v)\n";
        let _ = io::stderr().write_all(line);
        return ExitCode::from(EXIT_REFUSED);
    }
    signals::prepare();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let outcome = match Cli::try_parse_from(&arguments) {
        Ok(Cli { command }) => match command {
            Command::Serve(args) => serve::run(&args),
            Command::Client(args) => client::run(&args),
            Command::Lab(args) => lab::run(&args),
            Command::Load(args) => load::run(&args.what),
            Command::Read(args) => read::run(&args),
            Command::Hold => Ok(client::hold()),
        },
        Err(error) if !error.use_stderr() => {
            // For --help and --version.
            say::say(&error.to_string()).map(|()| ExitCode::SUCCESS)
        }
        Err(error) => Err(Failure::Usage(usage::line(&error, &arguments))),
    };
    let (code, line) = match outcome {
        Ok(code) => return code,
        Err(Failure::Usage(line)) => (EXIT_USAGE, line),
        Err(Failure::Refused(line)) => (EXIT_REFUSED, line),
        Err(Failure::Unsaid(line)) => (EXIT_FAILED, line),
    };
    say::warn(&line);
    ExitCode::from(code)
}

//! Asks: text becomes a configuration, endings become lines, outcomes become exit codes.
//!
//! | exit code | means |
//! |---|---|
//! | 0 | done |
//! | 1 | it ran, and something failed: the second signal ended it by force, stdout is full |
//! | 2 | usage: one line names the option or the variable, the value and what is allowed |
//! | 3 | the environment refused: one line names the remedy |
//!
//! Whatever is printed may meet a pipe that is not read, a full disk or a closed descriptor, and
//! none of it may stop the server. So nothing here uses `println!`, which panics then: while a
//! server runs everything goes through a `sink`; before that, one write is tried and its result
//! ignored. The other commands have nothing to say but their report: that it cannot be written is
//! a failure, unless its reader has closed the pipe.

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

/// It ran, and something failed.
const EXIT_FAILED: u8 = 1;
/// What was asked for makes no sense.
const EXIT_USAGE: u8 = 2;
/// The machine does not let us.
const EXIT_REFUSED: u8 = 3;

/// Why nothing was done, or why its report could not be written. Each holds the one line that says
/// so.
#[derive(Debug)]
enum Failure {
    /// What was asked for makes no sense.
    Usage(String),
    /// The machine does not let us.
    Refused(String),
    /// It is done and the report cannot be written, or it was interrupted.
    Unsaid(String),
}

/// The program `closecall`.
pub fn main() -> ExitCode {
    if !limits::is_enough_memory_to_begin() {
        let line = b"closecall: no memory to begin with: raise the limit of memory (ulimit -v)\n";
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
            // --help and --version.
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

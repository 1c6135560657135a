//! The options of `closecall load`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::addresses::Endpoint;
use crate::cli::values::load::{self as values, Network};
use crate::cli::values::{self as all, Format, OrOff};

/// The options of `closecall load`.
#[derive(Args, Debug)]
pub(in crate::cli) struct LoadArgs {
    #[command(subcommand)]
    pub(in crate::cli) what: Load,
}

#[derive(Subcommand, Debug)]
pub(in crate::cli) enum Load {
    /// Hold connections open; each says something when it is opened, and every now and then.
    Hold(RunArgs),

    /// Ask, wait for the reply, ask again, on connections that stay open.
    Echo(RunArgs),

    /// Connect, ask, wait for the reply, close, connect again.
    /// We send the first FIN and wait for the server's, so TIME_WAIT stays with us: a port is
    /// used again after a second on loopback, elsewhere after a minute. --source gives more.
    #[command(verbatim_doc_comment)]
    Churn(RunArgs),

    /// Add up files of --hdr, and show the percentiles of all of them together.
    Merge(MergeArgs),

    /// One process of several: what --processes starts. Its plan comes on stdin.
    #[command(hide = true)]
    Process,
}

/// The options of a run.
#[derive(Args, Debug)]
pub(in crate::cli) struct RunArgs {
    /// The server to connect to. A name stands for the first of its addresses that answers.
    #[arg(value_name = "ADDR", value_parser = all::endpoint)]
    pub(in crate::cli) address: Option<Endpoint>,

    /// Connections; for churn, those that are under way at a time.
    #[arg(short = 'c', long, value_name = "N", default_value = "50")]
    #[arg(value_parser = values::connections, allow_hyphen_values = true)]
    pub(in crate::cli) connections: u32,

    /// How long to measure, from the moment that all are connected.
    #[arg(short = 'd', long, value_name = "DUR", default_value = "10s")]
    #[arg(value_parser = values::duration, allow_hyphen_values = true)]
    pub(in crate::cli) duration: u64,

    /// Open loop: so many requests, or cycles, a second over all connections, whether or not the
    /// server keeps up. Latency then counts from when a request was due; from when it was sent is
    /// shown as well. Without it the loop is closed: who waits for a reply does not ask.
    #[arg(long, value_name = "N", verbatim_doc_comment)]
    #[arg(value_parser = values::rate, allow_hyphen_values = true)]
    pub(in crate::cli) rate: Option<u32>,

    /// Bytes of a message; a newline is the last of them.
    #[arg(long, value_name = "BYTES", default_value = "64")]
    #[arg(value_parser = values::size, allow_hyphen_values = true)]
    pub(in crate::cli) size: u32,

    /// Requests under way on each connection at a time, for echo.
    #[arg(long, value_name = "N", default_value = "1")]
    #[arg(value_parser = values::depth, allow_hyphen_values = true)]
    pub(in crate::cli) depth: u32,

    /// Addresses of this machine to connect from, in turn, such as 127.0.1.0/24.
    /// Between each of them and the server there is a whole range of ports.
    #[arg(long, value_name = "CIDR", value_parser = values::sources, verbatim_doc_comment)]
    pub(in crate::cli) source: Option<Network>,

    /// Processes that share connections and rate. Each has the whole limit of open files for
    /// itself, and a thread of its own.
    #[arg(long, value_name = "N", default_value = "1", verbatim_doc_comment)]
    #[arg(value_parser = values::processes, allow_hyphen_values = true)]
    pub(in crate::cli) processes: u32,

    /// The server's process, if it is on this machine: its CPU for each reply, and its memory.
    #[arg(long, value_name = "PID", value_parser = values::pid, allow_hyphen_values = true)]
    pub(in crate::cli) pid: Option<u32>,

    /// Connects a second. Without it as fast as it goes, with 256 under way at most.
    #[arg(long, value_name = "N", value_parser = values::ramp, allow_hyphen_values = true)]
    pub(in crate::cli) ramp: Option<u32>,

    /// How often an idle connection says something: in hold always, in echo until all are
    /// connected; or off. Half of the server's deadline or less. Default: 5s.
    #[arg(long, value_name = "DUR", verbatim_doc_comment)]
    #[arg(value_parser = all::deadline, allow_hyphen_values = true)]
    pub(in crate::cli) every: Option<OrOff<u64>>,

    /// What the server lays before each reply; auto: what the first reply begins with, which has
    /// to end with what was sent.
    #[arg(long, value_name = "TEXT|auto", default_value = "auto", verbatim_doc_comment)]
    #[arg(value_parser = all::prefix, allow_hyphen_values = true)]
    pub(in crate::cli) prefix: String,

    /// A connect, a reply or the server's FIN that takes longer is an error, and ends its
    /// connection.
    #[arg(long, value_name = "DUR", default_value = "10s", verbatim_doc_comment)]
    #[arg(value_parser = values::duration, allow_hyphen_values = true)]
    pub(in crate::cli) timeout: u64,

    /// As a table for people, or as JSON (docs/load.schema.json).
    #[arg(long, value_name = "table|json", default_value = "table")]
    #[arg(value_parser = values::format(), hide_possible_values = true)]
    pub(in crate::cli) format: Format,

    /// Write the histogram of latencies there: HdrHistogram V2, in nanoseconds.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) hdr: Option<PathBuf>,
}

/// The options of `closecall load merge`.
#[derive(Args, Debug)]
pub(in crate::cli) struct MergeArgs {
    /// Files that --hdr wrote.
    #[arg(value_name = "FILE")]
    pub(in crate::cli) files: Vec<PathBuf>,

    /// As a table for people, or as JSON.
    #[arg(long, value_name = "table|json", default_value = "table")]
    #[arg(value_parser = values::format(), hide_possible_values = true)]
    pub(in crate::cli) format: Format,

    /// Write all of them together there.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) hdr: Option<PathBuf>,
}

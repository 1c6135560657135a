//! The options of `closecall load`.

use std::path::PathBuf;

use clap::builder::ArgPredicate;
use clap::{Args, Subcommand};

use crate::cli::addresses::Endpoint;
use crate::cli::values::load::{self as values, Network};
use crate::cli::values::{self as all, Format, OrOff};
use crate::load::{Arrivals, Condition, Mode, Objective};

/// The options of `closecall load`.
#[derive(Args, Debug)]
pub(in crate::cli) struct LoadArgs {
    #[command(subcommand)]
    pub(in crate::cli) what: Load,
}

#[derive(Subcommand, Debug)]
pub(in crate::cli) enum Load {
    /// Hold connections open; each sends a message when it is opened and then from time to time.
    #[command(
        after_help = "Example: hold 19,000 connections for a minute and measure what each costs \
        the server:\n  \
        closecall load hold 127.0.0.1:20003 -c 19000 -d 1m --pid $(pidof closecall)"
    )]
    Hold(HoldArgs),

    /// Send requests on connections that stay open, each after the reply to the one before.
    #[command(after_help = "Example: 10,000 requests a second over 1,000 connections:\n  \
        closecall load echo 127.0.0.1:20003 -c 1000 --rate 10000\n\n\
        The same at random moments, measured for a minute after 5 seconds of warm-up:\n  \
        closecall load echo 127.0.0.1:20003 -c 1000 --rate 10000 \
        --arrivals poisson --warmup 5s -d 1m\n\n\
        A report for each second, as JSON lines:\n  \
        closecall load echo 127.0.0.1:20003 --every-report 1s --format json")]
    Echo(EchoArgs),

    /// Connect, send a request, wait for the reply, close, and connect again.
    /// The client sends the first FIN and waits for the server's, so TIME_WAIT is on the client: a
    /// port can be used again after a second on loopback, elsewhere after a minute. --source adds
    /// ports.
    #[command(verbatim_doc_comment)]
    #[command(
        after_help = "Example: open and close connections as fast as the server allows, 64 at \
        a time:\n  \
        closecall load churn 127.0.0.1:20003 -c 64 -d 30s"
    )]
    Churn(ChurnArgs),

    /// Add up files written by --hdr, and show the percentiles of all of them together.
    #[command(after_help = "Example: closecall load merge monday.hdr tuesday.hdr --hdr both.hdr")]
    Merge(MergeArgs),

    /// One of the processes that --processes starts. It reads its plan from stdin.
    #[command(hide = true)]
    Process,
}

/// The options of `closecall load hold`.
#[derive(Args, Debug)]
pub(in crate::cli) struct HoldArgs {
    #[command(flatten)]
    pub(in crate::cli) common: CommonArgs,

    #[command(flatten)]
    pub(in crate::cli) idle: IdleArgs,
}

/// The options of `closecall load echo`.
#[derive(Args, Debug)]
pub(in crate::cli) struct EchoArgs {
    #[command(flatten)]
    pub(in crate::cli) common: CommonArgs,

    #[command(flatten)]
    pub(in crate::cli) open_loop: OpenLoopArgs,

    #[command(flatten)]
    pub(in crate::cli) idle: IdleArgs,

    /// The number of requests under way on each connection.
    #[arg(long, value_name = "N", default_value = "1")]
    #[arg(value_parser = values::depth, allow_hyphen_values = true)]
    pub(in crate::cli) depth: u32,
}

/// The options of `closecall load churn`.
#[derive(Args, Debug)]
pub(in crate::cli) struct ChurnArgs {
    #[command(flatten)]
    pub(in crate::cli) common: CommonArgs,

    #[command(flatten)]
    pub(in crate::cli) open_loop: OpenLoopArgs,
}

/// What every mode takes.
#[derive(Args, Debug)]
pub(in crate::cli) struct CommonArgs {
    /// The server to connect to. Of a name, the first address that answers is used.
    #[arg(value_name = "ADDR", value_parser = all::endpoint)]
    pub(in crate::cli) address: Option<Endpoint>,

    /// The number of connections; for churn, the number under way at a time.
    #[arg(short = 'c', long, value_name = "N", default_value = "50")]
    #[arg(value_parser = values::connections, allow_hyphen_values = true)]
    pub(in crate::cli) connections: u32,

    /// How long to measure, once all connections are open.
    #[arg(short = 'd', long, value_name = "DUR", default_value = "10s")]
    #[arg(default_value_if("find_rate", ArgPredicate::IsPresent, "2s"))]
    #[arg(value_parser = values::duration, allow_hyphen_values = true)]
    pub(in crate::cli) duration: u64,

    /// The length of a message in bytes, its newline included.
    #[arg(long, value_name = "BYTES", default_value = "64")]
    #[arg(value_parser = values::size, allow_hyphen_values = true)]
    pub(in crate::cli) size: u32,

    /// Addresses of this machine to connect from, in turn, such as 127.0.1.0/24. Each has a port
    /// range of its own. By default the system chooses. To a server on 127.0.0.0/8 (Linux) the
    /// default is as many of 127.0.0.1 to 127.0.0.254 as the run needs ports: the server's log then
    /// shows several peers, and its --max-per-ip counts each. --source 127.0.0.1 uses this one
    /// only.
    #[arg(long, value_name = "CIDR", value_parser = values::sources, verbatim_doc_comment)]
    pub(in crate::cli) source: Option<Network>,

    /// The number of processes that share the connections and the rate. Each has its own open-file
    /// limit and its own thread.
    #[arg(long, value_name = "N", default_value = "1", verbatim_doc_comment)]
    #[arg(value_parser = values::processes, allow_hyphen_values = true)]
    pub(in crate::cli) processes: u32,

    /// Process id of a server on this machine, to report its CPU for each reply and its memory.
    #[arg(long, value_name = "PID", value_parser = values::pid, allow_hyphen_values = true)]
    pub(in crate::cli) pid: Option<u32>,

    /// The text that the server sends before each reply. With auto it is taken from the first
    /// reply, which must end with the data that was sent.
    #[arg(long, value_name = "TEXT|auto", default_value = "auto", verbatim_doc_comment)]
    #[arg(value_parser = all::prefix, allow_hyphen_values = true)]
    pub(in crate::cli) prefix: String,

    /// The longest time for a connect, a reply, or the server's FIN. A longer one is an error and
    /// ends the connection.
    #[arg(long, value_name = "DUR", default_value = "10s", verbatim_doc_comment)]
    #[arg(value_parser = values::duration, allow_hyphen_values = true)]
    pub(in crate::cli) timeout: u64,

    /// Print a table or JSON (docs/load.schema.json).
    #[arg(long, value_name = "table|json", default_value = "table")]
    #[arg(value_parser = values::format(), hide_possible_values = true)]
    pub(in crate::cli) format: Format,

    /// Write the histogram of latencies to FILE (HdrHistogram V2, nanoseconds), and its percentiles
    /// to FILE.hgrm (text, milliseconds, for the HdrHistogram plotter). If FILE ends in .hgrm, only
    /// the text is written.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub(in crate::cli) hdr: Option<PathBuf>,

    /// Exit with code 1 if the run meets this condition, such as 'p99>5ms', 'p99.9>=800us',
    /// 'max>1s', 'mean>2ms' or 'rate<9000'. Also: min, errors, mismatches and unanswered. Without
    /// any timed reply, a condition on a latency counts as met. May be repeated.
    #[arg(long, value_name = "CONDITION", verbatim_doc_comment)]
    #[arg(value_parser = values::condition, allow_hyphen_values = true)]
    pub(in crate::cli) fail_if: Vec<Condition>,

    /// Run the same load for this long before measuring. -d counts from the end of the warm-up.
    /// Requests of the warm-up are in no figure, but its failures are errors.
    #[arg(long, value_name = "DUR", verbatim_doc_comment)]
    #[arg(value_parser = values::duration, allow_hyphen_values = true)]
    pub(in crate::cli) warmup: Option<u64>,

    /// While measuring, report each interval of this length in a line on stderr.
    /// With --format json, stdout has JSON lines: {"interval": …} for each interval
    /// (docs/load-interval.schema.json), and the whole report as the last line.
    #[arg(long, value_name = "DUR", verbatim_doc_comment)]
    #[arg(value_parser = values::every_report, allow_hyphen_values = true)]
    pub(in crate::cli) every_report: Option<u64>,
}

/// What the modes take in which requests follow each other.
#[derive(Args, Debug)]
pub(in crate::cli) struct OpenLoopArgs {
    /// Open loop: N requests (or cycles) a second over all connections, whether or not the server
    /// keeps up. Response times count from when a request was due, service times from when it was
    /// sent. Without this option the loop is closed: a connection sends its next request when the
    /// reply has arrived.
    #[arg(long, value_name = "N", verbatim_doc_comment)]
    #[arg(value_parser = values::rate, allow_hyphen_values = true)]
    pub(in crate::cli) rate: Option<u32>,

    /// Find the highest rate that meets an objective, such as 'p99<5ms' or 'p99<5ms,max<1s'.
    /// Each step is an open loop over -c connections for -d (default: 2s). A closed loop gives an
    /// estimate, and the search begins at half of it. It doubles the rate until a step fails, or
    /// quarters it until one succeeds; then it tries the geometric mean of the two bounds until
    /// they are within 2 %. A step also fails if it achieves less than 99 % of its rate or if a
    /// request fails. A failed step is repeated once. A last step of three times -d confirms the
    /// rate or a lower one.
    #[arg(long, value_name = "OBJECTIVE", verbatim_doc_comment)]
    #[arg(value_parser = values::objective, allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["rate", "hdr", "pid", "every_report"])]
    pub(in crate::cli) find_rate: Option<Objective>,

    /// When the requests of --rate are due. even: at equal intervals. poisson: at random times with
    /// exponential gaps, as from many independent clients; the total number is that of even, and
    /// each run uses the same times. Default: even.
    #[arg(long, value_name = "even|poisson", verbatim_doc_comment)]
    #[arg(value_parser = values::arrivals(), hide_possible_values = true)]
    pub(in crate::cli) arrivals: Option<Arrivals>,
}

/// What the modes take whose connections are opened first and stay.
#[derive(Args, Debug)]
pub(in crate::cli) struct IdleArgs {
    /// The number of connects a second, and of closes a second at the end. Default: as fast as the
    /// server answers. At most 256 connects of each process are under way at a time.
    #[arg(long, value_name = "N", value_parser = values::ramp, allow_hyphen_values = true)]
    #[arg(verbatim_doc_comment)]
    pub(in crate::cli) ramp: Option<u32>,

    /// How often an idle connection sends a message, or off. For hold this is always; for echo,
    /// until all are connected and while it waits to be closed. Use at most half of the server's
    /// read deadline. Default: 5s.
    #[arg(long, value_name = "DUR", verbatim_doc_comment)]
    #[arg(value_parser = all::deadline, allow_hyphen_values = true)]
    pub(in crate::cli) every: Option<OrOff<u64>>,
}

/// A run in any mode.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct RunArgs<'a> {
    pub(in crate::cli) mode: Mode,
    pub(in crate::cli) common: &'a CommonArgs,
    pub(in crate::cli) open_loop: Option<&'a OpenLoopArgs>,
    pub(in crate::cli) idle: Option<&'a IdleArgs>,
    pub(in crate::cli) depth: u32,
}

impl RunArgs<'_> {
    /// Requests or cycles a second over all connections; `None` in the closed loop.
    pub(in crate::cli) fn rate(&self) -> Option<u32> {
        self.open_loop.and_then(|options| options.rate)
    }

    /// What the highest rate is looked for to meet.
    pub(in crate::cli) fn find_rate(&self) -> Option<&Objective> {
        self.open_loop.and_then(|options| options.find_rate.as_ref())
    }
}

impl HoldArgs {
    pub(in crate::cli) fn run(&self) -> RunArgs<'_> {
        let (common, idle) = (&self.common, Some(&self.idle));
        RunArgs { mode: Mode::Hold, common, open_loop: None, idle, depth: 1 }
    }
}

impl EchoArgs {
    pub(in crate::cli) fn run(&self) -> RunArgs<'_> {
        let (open_loop, idle) = (Some(&self.open_loop), Some(&self.idle));
        RunArgs { mode: Mode::Echo, common: &self.common, open_loop, idle, depth: self.depth }
    }
}

impl ChurnArgs {
    pub(in crate::cli) fn run(&self) -> RunArgs<'_> {
        let (common, open_loop) = (&self.common, Some(&self.open_loop));
        RunArgs { mode: Mode::Churn, common, open_loop, idle: None, depth: 1 }
    }
}

/// The options of `closecall load merge`.
#[derive(Args, Debug)]
pub(in crate::cli) struct MergeArgs {
    /// Files that --hdr wrote.
    #[arg(value_name = "FILE")]
    pub(in crate::cli) files: Vec<PathBuf>,

    /// Print a table or JSON.
    #[arg(long, value_name = "table|json", default_value = "table")]
    #[arg(value_parser = values::format(), hide_possible_values = true)]
    pub(in crate::cli) format: Format,

    /// Write the sum to FILE, and as text to FILE.hgrm. If FILE ends in .hgrm, only the text is
    /// written.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub(in crate::cli) hdr: Option<PathBuf>,
}

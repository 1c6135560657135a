//! Options of the command line. [`crate::config`] has their meaning, [`super::values`] their
//! ranges.
//!
//! The help texts are wrapped by hand and printed as they are. Values may begin with a hyphen, so
//! that the error for `--drain -5s` is about the duration and not about an unknown option.

mod client;
mod load;
mod read;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

pub(super) use self::client::ClientArgs;
pub(super) use self::load::{CommonArgs, Load, LoadArgs, MergeArgs, RunArgs};
pub(super) use self::read::{ReadArgs, ReadFormat};
use super::addresses::Endpoint;
use super::values::{self, FailOn, Format, Message, OrOff};
use crate::config::Overload;
use crate::machine::reply::Framing;

/// An echo server that knows how every connection ended.
///
/// Exit codes: 0 success; 1 the run failed, or was ended by force; 2 wrong usage;
/// 3 the system refused (address in use, not permitted, too few files).
#[derive(Parser, Debug)]
#[command(name = "closecall", version, verbatim_doc_comment)]
#[command(
    after_help = "Example: run a server, and in another terminal reset a connection to it:\n  \
    closecall serve\n  \
    closecall client 127.0.0.1:20003 --end reset"
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Run the server and log how each connection ended.
    ///
    /// stdout gets one line for each address: `listening on 127.0.0.1:20003`. The log and, on exit,
    /// the table of verdicts go to stderr. RUST_LOG sets the log level (default: info).
    ///
    /// SIGINT or SIGTERM drains the server (see --drain); a second one ends it at once with exit
    /// code 1. SIGUSR1 prints the table of verdicts so far. SIGHUP reopens the close log and
    /// changes nothing else; under nohup it is ignored. To rotate the close log, rename it and run
    /// `kill -HUP PID`. An example for logrotate (more in docs/OPERATING.md):
    ///   /var/log/closecall/close.log {
    ///       daily
    ///       delaycompress
    ///       postrotate
    ///           kill -HUP "$(cat /run/closecall.pid)"
    ///       endscript
    ///   }
    ///
    /// DUR is a duration such as 250ms, 10s, 2m or 1h. Where the help mentions it, `off` disables.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Example: a server with one connection limit for all and one for each \
        address, and a record of each\nending in a file:\n  \
        closecall serve --max-connections 10000 --max-per-ip 100 --close-log close.log")]
    Serve(ServeArgs),

    /// Run a client that connects, sends a message and ends the connection in a chosen way.
    /// It prints each step with its time and the segments on the wire.
    ///
    /// Exit codes: 0 all steps succeeded; 1 a step failed (no reply, a reset too early) or was
    /// interrupted; 2 wrong usage; 3 no connection.
    #[command(verbatim_doc_comment)]
    #[command(
        after_help = "Example: end a connection with a reset, then list all ways to end one:\n  \
        closecall client 127.0.0.1:20003 --end reset\n  \
        closecall client --end list"
    )]
    Client(ClientArgs),

    /// Play every way in which a connection can end, and show what each side observed.
    /// Without ADDR, the lab plays against a server of its own. Each scenario is one row: what the
    /// client does, what a plain recv loop returns, the verdict, and the bytes that were lost. The
    /// first rows are the five experiments of the article "go socket close".
    ///
    /// With ADDR it plays against that server, of any kind, and shows what a client can see: the
    /// bytes that come back, how and when the server ends its side, and whether it survives. An
    /// order of events that the client alone cannot force is a race, or is skipped.
    ///
    /// Exit codes: 0 every row is as expected; 1 a row is not, the run was interrupted, or the
    /// proxy changes what --fail-on names; 2 wrong usage; 3 nothing was played: no server or
    /// capture could be started, no server is at ADDR, or a file cannot be opened.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Example: one scenario, then all of them against another server:\n  \
        closecall lab --only S1\n  \
        closecall lab 192.0.2.1:7")]
    Lab(LabArgs),

    /// Put load on any echo server: many connections, each reply compared byte by byte.
    /// Reports latencies in a histogram, and how each connection ended.
    ///
    /// Exit codes: 0 no errors; 1 there were errors, --fail-if was met, or the run was interrupted;
    /// 2 wrong usage; 3 no server is at ADDR, or there are too few files, ports or processes.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Example: 1,000 connections that each send the next request when the \
        reply has arrived:\n  \
        closecall load echo 127.0.0.1:20003 -c 1000")]
    Load(LoadArgs),

    /// Read captures of packets and report how each TCP connection ended.
    ///
    /// Exit codes: 0 success; 1 a capture was damaged or cut off; 2 wrong usage; 3 a file cannot be
    /// opened, or is no capture.
    #[command(verbatim_doc_comment, hide = true)]
    #[command(
        after_help = "Example: the connections that the peer reset, in a compressed capture:\n  \
        closecall read --only peer_reset trace.pcap.gz"
    )]
    Read(ReadArgs),

    /// Holds its stdout until it is killed. `client --end killed` starts and kills it.
    #[command(hide = true)]
    Hold,
}

/// Options of a run, which have no meaning where a report is only shown.
const NOT_WITH_FROM: [&str; 12] = [
    "address",
    "observe",
    "via",
    "patience",
    "message",
    "any_reply",
    "list",
    "repeat",
    "capture",
    "pcap",
    "grade",
    "pid",
];

/// Options of the scenarios, which have no meaning where a server is graded.
const NOT_WITH_GRADE: [&str; 11] = [
    "observe",
    "via",
    "message",
    "any_reply",
    "fail_on",
    "only",
    "list",
    "repeat",
    "capture",
    "pcap",
    "long",
];

/// The options of `closecall lab`.
#[derive(Args, Debug)]
pub(super) struct LabArgs {
    /// The server to play against, instead of the lab's own.
    #[arg(value_name = "ADDR", value_parser = values::endpoint)]
    pub(super) address: Option<Endpoint>,

    /// The close log of the closecall at ADDR, to add its verdicts. The file must be on this
    /// machine and grow during the run. Lines are matched by the client's port. For a remote
    /// server, copy the log while it grows: ssh HOST tail -F close.log > FILE
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub(super) observe: Option<PathBuf>,

    /// A proxy or balancer in front of ADDR. Plays each scenario directly and through it, and shows
    /// the differences.
    #[arg(long, value_name = "ADDR", value_parser = values::endpoint)]
    pub(super) via: Option<Endpoint>,

    /// How long the client waits for the server at ADDR to close, and for a line of its close log.
    /// It waits a quarter of that for a reply, and at least 3s. [default: 12s]
    #[arg(long, value_name = "DUR", verbatim_doc_comment)]
    #[arg(value_parser = values::patience)]
    #[arg(allow_hyphen_values = true)]
    pub(super) patience: Option<u64>,

    /// The message that each client sends to ADDR. Escapes: \r, \n, \t, \\ and \xNN for a byte.
    /// With --observe the lab makes it longer, so that each line of the close log can be matched.
    /// [default: "Hi,here is glp"]
    #[arg(long, value_name = "TEXT", verbatim_doc_comment)]
    #[arg(value_parser = values::message, allow_hyphen_values = true)]
    pub(super) message: Option<Message>,

    /// Accept any bytes as the reply: the server at ADDR is not an echo server.
    #[arg(long, action = ArgAction::SetTrue)]
    pub(super) any_reply: bool,

    /// Exit with code 1 if the proxy of --via changes an ending, or if a reply is lost.
    #[arg(long, value_name = "CHANGE", value_enum)]
    pub(super) fail_on: Option<FailOn>,

    /// Play only these scenarios: a name such as S4 or "S3 FIN first", or a number for all of its
    /// scenarios. S13 stands for S13a and S13b because there is no S13; S1 does not include S1c.
    #[arg(long, value_name = "ID[,ID]", value_parser = values::scenario, value_delimiter = ',')]
    #[arg(verbatim_doc_comment)]
    pub(super) only: Vec<String>,

    /// List the scenarios and play none.
    #[arg(long, action = ArgAction::SetTrue)]
    pub(super) list: bool,

    /// The number of runs of the race in the fifth experiment, to count its outcomes.
    #[arg(long, value_name = "N", default_value = "200", value_parser = values::repeat)]
    #[arg(allow_hyphen_values = true)]
    pub(super) repeat: u32,

    /// Capture packets: each row is compared with the packets on the wire, and --long shows them.
    /// Needs Linux and CAP_NET_RAW. Captures the first 1000 runs of a race, and no connections of
    /// the recv loop.
    #[arg(long, action = ArgAction::SetTrue, verbatim_doc_comment)]
    pub(super) capture: bool,

    /// Write the packets of all scenarios to this file, for Wireshark. Implies --capture.
    #[arg(long, value_name = "FILE")]
    pub(super) pcap: Option<PathBuf>,

    /// Show all details of each row: the wire, the evidence, the reasons, and the packets of
    /// --capture. Without it each row is one line.
    #[arg(long, action = ArgAction::SetTrue, conflicts_with = "list", verbatim_doc_comment)]
    pub(super) long: bool,

    /// Show the report in FILE, written by --format json, and play nothing; - is stdin. --only
    /// selects rows. The exit code is 0, or 1 if --fail-on names a change in the report.
    #[arg(long, value_name = "FILE", conflicts_with_all = NOT_WITH_FROM, verbatim_doc_comment)]
    pub(super) from: Option<PathBuf>,

    /// Grade the echo server at ADDR, in any language: seven levels, from 1 (echoes) to 7 (drains
    /// on SIGTERM). Each failure says what to change; see docs/GRADE.md. The exit code is 0 if all
    /// levels are passed, or 1. JSON: docs/grade.schema.json.
    #[arg(long, action = ArgAction::SetTrue, conflicts_with_all = NOT_WITH_GRADE)]
    #[arg(verbatim_doc_comment)]
    pub(super) grade: bool,

    /// The process of the server at ADDR, on this machine. --grade ends it in level 7: it sends
    /// SIGTERM, and the server has to finish what it has begun.
    #[arg(long, value_name = "PID", value_parser = values::load::pid, verbatim_doc_comment)]
    #[arg(allow_hyphen_values = true, conflicts_with_all = NOT_WITH_GRADE)]
    pub(super) pid: Option<u32>,

    /// Print a table, JSON (docs/lab.schema.json), or Markdown to paste into an issue.
    #[arg(long, value_name = "table|json|markdown", default_value = "table")]
    #[arg(value_enum, hide_possible_values = true)]
    pub(super) format: Format,
}

/// The options of `closecall serve`.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// Address to listen on; repeatable, separated by commas in the environment.
    /// Port 0 lets the system choose. A name stands for all of its addresses, with one port.
    /// A link-local address needs its interface: [fe80::1%eth0]:20003.
    #[arg(long, env = "CLOSECALL_LISTEN", value_name = "ADDR", verbatim_doc_comment)]
    #[arg(default_value = "127.0.0.1:20003", value_parser = values::endpoint)]
    #[arg(value_delimiter = ',')]
    pub(super) listen: Vec<Endpoint>,

    /// Text sent before each reply, at most 4096 bytes.
    #[arg(long, env = "CLOSECALL_PREFIX", value_name = "TEXT")]
    #[arg(default_value = "from server back[rust]:", value_parser = values::prefix)]
    #[arg(allow_hyphen_values = true)]
    pub(super) prefix: String,

    /// How replies are framed.
    /// chunk: one reply for each read, the prefix and the data of that read;
    /// line: the prefix before each line, wherever TCP splits the stream;
    /// raw: the data without a prefix (RFC 862).
    #[arg(long, env = "CLOSECALL_FRAMING", value_name = "chunk|line|raw", verbatim_doc_comment)]
    #[arg(default_value = "chunk", value_enum, hide_possible_values = true)]
    pub(super) framing: Framing,

    /// The longest read, and so the longest chunk: 1 to 16777216 bytes (16 MiB).
    #[arg(long, env = "CLOSECALL_READ_BUFFER", value_name = "BYTES")]
    #[arg(default_value = "65536", value_parser = values::read_buffer)]
    #[arg(allow_hyphen_values = true)]
    pub(super) read_buffer: usize,

    /// End a connection that sends nothing for this long; or off.
    /// The server sends its FIN, and reads and drops data that still arrives.
    #[arg(long, env = "CLOSECALL_READ_DEADLINE", value_name = "DUR", verbatim_doc_comment)]
    #[arg(default_value = "10s", value_parser = values::deadline)]
    #[arg(allow_hyphen_values = true)]
    pub(super) read_deadline: OrOff<u64>,

    /// Reset a connection whose pending output makes no progress for this long; or off.
    #[arg(long, env = "CLOSECALL_WRITE_DEADLINE", value_name = "DUR")]
    #[arg(default_value = "10s", value_parser = values::deadline)]
    #[arg(allow_hyphen_values = true)]
    pub(super) write_deadline: OrOff<u64>,

    /// How long an ended connection waits to learn whether its last reply arrived.
    /// With 0s the verdict is given at once, with less certainty.
    #[arg(long, env = "CLOSECALL_VERDICT_WAIT", value_name = "DUR", verbatim_doc_comment)]
    #[arg(default_value = "2s", value_parser = values::wait)]
    #[arg(allow_hyphen_values = true)]
    pub(super) verdict_wait: u64,

    /// How long a drain may take, after the first signal. The server answers the data that has
    /// arrived and sends each connection a FIN. When this time has passed, it resets a connection
    /// whose peer has not closed or whose reply is not sent in full. A second signal does so at
    /// once. The server accepts the backlog before it closes the listener; a handshake that
    /// completes between the last accept and that close is reset.
    #[arg(long, env = "CLOSECALL_DRAIN", value_name = "DUR", verbatim_doc_comment)]
    #[arg(default_value = "5s", value_parser = values::wait)]
    #[arg(allow_hyphen_values = true)]
    pub(super) drain: u64,

    /// Most connections at a time. Default: as the open-file limit allows, at most 1048576.
    #[arg(long, env = "CLOSECALL_MAX_CONNECTIONS", value_name = "N")]
    #[arg(value_parser = values::max_connections)]
    #[arg(allow_hyphen_values = true)]
    pub(super) max_connections: Option<usize>,

    /// What happens to new connections at that limit, or when the process is out of files.
    /// wait: they stay in the backlog until a connection ends; shed: they are accepted and reset.
    #[arg(long, env = "CLOSECALL_OVERLOAD", value_name = "wait|shed", verbatim_doc_comment)]
    #[arg(default_value = "wait", value_enum, hide_possible_values = true)]
    pub(super) overload: Overload,

    /// Most connections at a time from one IP address; further ones are accepted and reset. Or off.
    /// IPv6 addresses are counted by their /64, because one host usually has all of it.
    #[arg(long, env = "CLOSECALL_MAX_PER_IP", value_name = "N", verbatim_doc_comment)]
    #[arg(default_value = "off", value_parser = values::max_per_ip)]
    #[arg(allow_hyphen_values = true)]
    pub(super) max_per_ip: OrOff<u32>,

    /// End a connection that is older than this with a FIN (verdict local.policy); or off.
    /// The server first answers the data that has arrived. The age is up to 10 % shorter for each
    /// connection, so that connections of the same moment do not all end at once.
    #[arg(long, env = "CLOSECALL_MAX_AGE", value_name = "DUR", verbatim_doc_comment)]
    #[arg(default_value = "off", value_parser = values::max_age)]
    #[arg(allow_hyphen_values = true)]
    pub(super) max_age: OrOff<u64>,

    /// Most memory for all replies that wait for their sockets, in bytes; or off.
    /// Near the limit reads become small; beyond it each connection may have one small reply.
    /// Default: a quarter of the memory of the machine or of the control group.
    #[arg(long, env = "CLOSECALL_OUTPUT_MEMORY", value_name = "BYTES", verbatim_doc_comment)]
    #[arg(value_parser = values::output_memory)]
    #[arg(allow_hyphen_values = true)]
    pub(super) output_memory: Option<OrOff<u64>>,

    /// TCP_USER_TIMEOUT: end a connection whose data stays unacknowledged for this long; or off.
    /// It also ends the connection of a live peer whose window stays zero for that long.
    #[arg(long, env = "CLOSECALL_USER_TIMEOUT", value_name = "DUR", verbatim_doc_comment)]
    #[arg(default_value = "off", value_parser = values::user_timeout)]
    #[arg(allow_hyphen_values = true)]
    pub(super) user_timeout: OrOff<u64>,

    /// SO_KEEPALIVE: after this long without data, send 3 probes, a third of it apart; or off.
    /// At least 1s. It is useful only with a longer --read-deadline or none.
    #[arg(long, env = "CLOSECALL_KEEPALIVE", value_name = "DUR", verbatim_doc_comment)]
    #[arg(default_value = "off", value_parser = values::keepalive)]
    #[arg(allow_hyphen_values = true)]
    pub(super) keepalive: OrOff<u64>,

    /// Let several processes listen on the same port (SO_REUSEPORT).
    #[arg(long, env = "CLOSECALL_REUSE_PORT", action = ArgAction::SetTrue)]
    #[arg(value_parser = values::switch)]
    pub(super) reuse_port: bool,

    /// Most connections that wait in the kernel to be accepted; the kernel may lower it.
    #[arg(long, env = "CLOSECALL_BACKLOG", value_name = "N")]
    #[arg(default_value = "4096", value_parser = values::backlog)]
    #[arg(allow_hyphen_values = true)]
    pub(super) backlog: i32,

    /// Do not ask the kernel about an ending (SIOCOUTQ, TCP_INFO), to measure what asking costs.
    /// Verdicts are less detailed and less certain then.
    #[arg(long, env = "CLOSECALL_NO_PROBES", action = ArgAction::SetTrue, verbatim_doc_comment)]
    #[arg(value_parser = values::switch)]
    pub(super) no_probes: bool,

    /// Append a line with a JSON object for each ended connection; - is stdout.
    #[arg(long, env = "CLOSECALL_CLOSE_LOG", value_name = "PATH")]
    pub(super) close_log: Option<PathBuf>,
}

//! The options, as people type them. What they mean is in [`crate::config`], what is allowed in
//! [`super::values`].
//!
//! The texts are broken by hand: they are printed as they stand. A value may begin with a hyphen,
//! so that `--drain -5s` is told what a duration is.

mod load;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

pub(super) use self::load::{CommonArgs, Load, LoadArgs, MergeArgs, RunArgs};
use super::addresses::{Address, Endpoint};
use super::values::{self, End, FailOn, Format, Message, OrOff};
use crate::config::Overload;
use crate::machine::reply::Framing;

/// An echo server that knows how every connection ended.
///
/// Exit codes: 0 done; 1 it ran and something failed, a forced stop among that;
/// 2 usage; 3 the environment refused (address in use, not permitted, too few files).
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
    /// stdout has one line for each address, `listening on 127.0.0.1:20003`. The log is on stderr,
    /// driven by RUST_LOG (default: info), and so is the table of verdicts on exit.
    ///
    /// SIGINT or SIGTERM drains the server (see --drain); a second one ends it at once with exit
    /// code 1. SIGHUP reopens the close log and changes nothing else; if it was ignored at the
    /// start (nohup) it stays ignored. SIGUSR1 prints the table of verdicts so far. To rotate the
    /// close log: rename it, then `kill -HUP PID`; for logrotate (docs/OPERATING.md):
    ///   /var/log/closecall/close.log {
    ///       daily
    ///       delaycompress
    ///       postrotate
    ///           kill -HUP "$(cat /run/closecall.pid)"
    ///       endscript
    ///   }
    ///
    /// DUR is a duration such as 250ms, 10s, 2m or 1h; where it may be missing, `off`.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Example: a server with one connection limit for all and one for each \
        address, and a record of each\nending in a file:\n  \
        closecall serve --max-connections 10000 --max-per-ip 100 --close-log close.log")]
    Serve(ServeArgs),

    /// Be a client: connect, say something, end the connection in one of the ways there are,
    /// and tell what happened when and what goes over the wire.
    ///
    /// Exit codes: 0 it went as planned; 1 something failed (no reply, a reset too early), or it
    /// was interrupted; 2 usage; 3 there is no connection.
    #[command(verbatim_doc_comment)]
    #[command(
        after_help = "Example: see how a reset looks from the client, then all ways to end a \
        connection:\n  \
        closecall client 127.0.0.1:20003 --end reset\n  \
        closecall client --end list"
    )]
    Client(ClientArgs),

    /// The lab: play every way in which a connection can end against a server of its own, and
    /// show each in a row: what the client does, what goes over the wire, what a bare recv loop
    /// is told, what closecall says and why. The article's five experiments stand first.
    ///
    /// With ADDR it plays against that server, of any make, and shows what a client can see:
    /// what comes back, how the server ends its side and when, and whether it survives. Orders that
    /// the client alone cannot force are races then, or are skipped.
    ///
    /// Exit codes: 0 all is as expected; 1 something is not, or it was interrupted;
    /// or the proxy changes what --fail-on names; 2 usage; 3 nothing was played: no servers or no
    /// capture can be started, or no server is at ADDR, or a file cannot be opened.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Example: the article's fourth experiment, then all of them against \
        another server:\n  \
        closecall lab --only S4\n  \
        closecall lab 192.0.2.1:7")]
    Lab(LabArgs),

    /// Put load on an echo server, ours or another: many connections, every reply compared byte
    /// by byte, latencies in a histogram, and how each connection ended.
    ///
    /// Exit codes: 0 all was as it has to be; 1 something was not, or it was interrupted;
    /// 2 usage; 3 no server is at ADDR, or files, ports or processes do not suffice.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Example: 1,000 connections that send a request when the reply to the \
        one before it has come:\n  \
        closecall load echo 127.0.0.1:20003 -c 1000")]
    Load(LoadArgs),

    /// Holds its stdout until it is killed: what `client --end killed` starts and kills.
    #[command(hide = true)]
    Hold,
}

/// The options of `closecall client`.
#[derive(Args, Debug)]
pub(super) struct ClientArgs {
    /// The server to connect to. A name stands for the first of its addresses that answers.
    #[arg(value_name = "ADDR", value_parser = values::endpoint)]
    pub(super) address: Option<Endpoint>,

    /// What to send. Escapes: \r, \n, \t, \\ and \xNN for a byte.
    #[arg(long, value_name = "TEXT", default_value = "Hi,here is glp")]
    #[arg(value_parser = values::message, allow_hyphen_values = true)]
    pub(super) message: Message,

    /// How to end the connection; list shows all ways there are.
    #[arg(long, value_name = "MODE", default_value = "close", value_parser = values::end)]
    pub(super) end: End,

    /// How long to wait before the last step; ways that end at once do not wait.
    #[arg(long, value_name = "DUR", default_value = "0s", value_parser = values::wait)]
    #[arg(allow_hyphen_values = true)]
    pub(super) wait: u64,

    /// The number of connections, one after the other, with a summary of them.
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::count)]
    #[arg(allow_hyphen_values = true)]
    pub(super) count: u32,

    /// The address to connect from: one of this machine. A link-local one without an interface
    /// (fe80::1, not fe80::1%eth0) is on that of the server.
    #[arg(long, value_name = "IP", value_parser = values::source, verbatim_doc_comment)]
    pub(super) source: Option<Address>,
}

/// What belongs to a run, and says nothing where a report is only shown.
const NOT_WITH_FROM: [&str; 10] = [
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
];

/// The options of `closecall lab`.
#[derive(Args, Debug)]
pub(super) struct LabArgs {
    /// Play against this server, and not against one of the lab's own.
    #[arg(value_name = "ADDR", value_parser = values::endpoint)]
    pub(super) address: Option<Endpoint>,

    /// The close log of the closecall at ADDR, a file on this machine that grows meanwhile: its
    /// lines are joined by the client's port. For a server elsewhere copy it here as it grows:
    /// ssh HOST tail -F close.log > FILE
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub(super) observe: Option<PathBuf>,

    /// A proxy or balancer in front of ADDR: play each scenario twice, directly and through it,
    /// and show where the two differ.
    #[arg(long, value_name = "ADDR", value_parser = values::endpoint)]
    pub(super) via: Option<Endpoint>,

    /// How long the client waits for the end that the server at ADDR makes, and for a line of its
    /// close log; for a reply a quarter of that, or 3s if that is more. [default: 12s]
    #[arg(long, value_name = "DUR", verbatim_doc_comment)]
    #[arg(value_parser = values::patience)]
    #[arg(allow_hyphen_values = true)]
    pub(super) patience: Option<u64>,

    /// What each client sends to ADDR, with the escapes \r, \n, \t, \\ and \xNN. With --observe
    /// something is added to it, so that the server's line tells whose connection it is.
    /// [default: "Hi,here is glp"]
    #[arg(long, value_name = "TEXT", verbatim_doc_comment)]
    #[arg(value_parser = values::message, allow_hyphen_values = true)]
    pub(super) message: Option<Message>,

    /// Take whatever bytes come for the reply: the server at ADDR is not an echo server.
    #[arg(long, action = ArgAction::SetTrue)]
    pub(super) any_reply: bool,

    /// Exit with 1 if the proxy of --via changes anything (differs), or if a reply is lost.
    #[arg(long, value_name = "CHANGE", value_enum)]
    pub(super) fail_on: Option<FailOn>,

    /// Only these: a scenario by its name, such as S4 or "S3 FIN first", or all with its number.
    /// S13 is S13a and S13b, for there is no S13; S1 is S1 alone, and not S1c.
    #[arg(long, value_name = "ID[,ID]", value_parser = values::scenario, value_delimiter = ',')]
    #[arg(verbatim_doc_comment)]
    pub(super) only: Vec<String>,

    /// Show what there is to play, and play nothing.
    #[arg(long, action = ArgAction::SetTrue)]
    pub(super) list: bool,

    /// How often the race of the fifth experiment is run, to count its odds.
    #[arg(long, value_name = "N", default_value = "200", value_parser = values::repeat)]
    #[arg(allow_hyphen_values = true)]
    pub(super) repeat: u32,

    /// Look at the wire: each row shows the packets that were seen, and is held against what has to
    /// be there. Needs Linux and CAP_NET_RAW. Of a race the first 1000 runs; the recv loop's
    /// connections are not captured.
    #[arg(long, action = ArgAction::SetTrue, verbatim_doc_comment)]
    pub(super) capture: bool,

    /// Keep all packets of the scenarios in this file, for Wireshark; implies --capture.
    #[arg(long, value_name = "FILE")]
    pub(super) pcap: Option<PathBuf>,

    /// Show everything that is known of each row: wire, evidence, reasons, and the packets of
    /// --capture. Without it each row has one line.
    #[arg(long, action = ArgAction::SetTrue, conflicts_with = "list", verbatim_doc_comment)]
    pub(super) long: bool,

    /// Play nothing, and show the report in FILE, which --format json has written; - is stdin.
    /// --only chooses rows of it. Exit code 0 means that it was shown, whatever it says, and 1 that
    /// --fail-on names what it says.
    #[arg(long, value_name = "FILE", conflicts_with_all = NOT_WITH_FROM, verbatim_doc_comment)]
    pub(super) from: Option<PathBuf>,

    /// As a table for a terminal, as JSON (docs/lab.schema.json), or to paste into an issue.
    #[arg(long, value_name = "table|json|markdown", default_value = "table")]
    #[arg(value_enum, hide_possible_values = true)]
    pub(super) format: Format,
}

/// The options of `closecall serve`.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// Where to listen; repeatable, in the environment separated by commas.
    /// Port 0 picks a free one. A name stands for all of its addresses, with one port.
    /// A link-local address needs its interface: [fe80::1%eth0]:20003.
    #[arg(long, env = "CLOSECALL_LISTEN", value_name = "ADDR", verbatim_doc_comment)]
    #[arg(default_value = "127.0.0.1:20003", value_parser = values::endpoint)]
    #[arg(value_delimiter = ',')]
    pub(super) listen: Vec<Endpoint>,

    /// Text laid before each reply, at most 4096 bytes.
    #[arg(long, env = "CLOSECALL_PREFIX", value_name = "TEXT")]
    #[arg(default_value = "from server back[rust]:", value_parser = values::prefix)]
    #[arg(allow_hyphen_values = true)]
    pub(super) prefix: String,

    /// What a reply is made of.
    /// chunk: one reply for each read, the prefix and what was read;
    /// line: the prefix goes out before each line, however TCP cut the stream;
    /// raw: the bytes and nothing else (RFC 862).
    #[arg(long, env = "CLOSECALL_FRAMING", value_name = "chunk|line|raw", verbatim_doc_comment)]
    #[arg(default_value = "chunk", value_enum, hide_possible_values = true)]
    pub(super) framing: Framing,

    /// The longest read, and so the longest chunk, in bytes: 1 to 16777216 (16 MiB).
    #[arg(long, env = "CLOSECALL_READ_BUFFER", value_name = "BYTES")]
    #[arg(default_value = "65536", value_parser = values::read_buffer)]
    #[arg(allow_hyphen_values = true)]
    pub(super) read_buffer: usize,

    /// Silence longer than this ends a connection; or off.
    /// Our FIN goes out, and what still comes is read and dropped.
    #[arg(long, env = "CLOSECALL_READ_DEADLINE", value_name = "DUR", verbatim_doc_comment)]
    #[arg(default_value = "10s", value_parser = values::deadline)]
    #[arg(allow_hyphen_values = true)]
    pub(super) read_deadline: OrOff<u64>,

    /// No progress of pending output for this long ends a connection, with a reset; or off.
    #[arg(long, env = "CLOSECALL_WRITE_DEADLINE", value_name = "DUR")]
    #[arg(default_value = "10s", value_parser = values::deadline)]
    #[arg(allow_hyphen_values = true)]
    pub(super) write_deadline: OrOff<u64>,

    /// How long an ended connection may wait to learn what became of its last reply.
    /// 0s: decide at once, with less certainty.
    #[arg(long, env = "CLOSECALL_VERDICT_WAIT", value_name = "DUR", verbatim_doc_comment)]
    #[arg(default_value = "2s", value_parser = values::wait)]
    #[arg(allow_hyphen_values = true)]
    pub(super) verdict_wait: u64,

    /// How long the end may take after the first signal. What had arrived when the signal
    /// came is answered, then each connection is sent a FIN. When this time is over, a
    /// connection is reset if its peer has not closed its side or its reply was not sent in
    /// full. A second signal does that at once.
    /// The backlog is accepted first, then the listener is closed: a handshake that
    /// completes between the last accept and that close is reset.
    #[arg(long, env = "CLOSECALL_DRAIN", value_name = "DUR", verbatim_doc_comment)]
    #[arg(default_value = "5s", value_parser = values::wait)]
    #[arg(allow_hyphen_values = true)]
    pub(super) drain: u64,

    /// Connections at a time. Without it: what the limit of open files allows, at most 1048576.
    #[arg(long, env = "CLOSECALL_MAX_CONNECTIONS", value_name = "N")]
    #[arg(value_parser = values::max_connections)]
    #[arg(allow_hyphen_values = true)]
    pub(super) max_connections: Option<usize>,

    /// What becomes of newcomers at that limit, or when the process is out of files.
    /// wait: they stay in the backlog until a connection ends; shed: they are accepted and reset.
    #[arg(long, env = "CLOSECALL_OVERLOAD", value_name = "wait|shed", verbatim_doc_comment)]
    #[arg(default_value = "wait", value_enum, hide_possible_values = true)]
    pub(super) overload: Overload,

    /// Connections at a time from one IP address; more are accepted and reset. Or off.
    /// IPv6 addresses count by their /64: one host has all of it.
    #[arg(long, env = "CLOSECALL_MAX_PER_IP", value_name = "N", verbatim_doc_comment)]
    #[arg(default_value = "off", value_parser = values::max_per_ip)]
    #[arg(allow_hyphen_values = true)]
    pub(super) max_per_ip: OrOff<u32>,

    /// A connection that is older than this ends politely, as local.policy; or off.
    /// What has arrived is answered, then our FIN goes out. Up to 10 % is taken off for
    /// each connection, so that connections of one moment do not all end at once.
    #[arg(long, env = "CLOSECALL_MAX_AGE", value_name = "DUR", verbatim_doc_comment)]
    #[arg(default_value = "off", value_parser = values::max_age)]
    #[arg(allow_hyphen_values = true)]
    pub(super) max_age: OrOff<u64>,

    /// Memory for all replies together that their sockets have not taken yet, in bytes; or off.
    /// Near it reads become small. Beyond it each connection may have one small reply.
    /// Without it: a quarter of the memory of the machine or of the control group.
    #[arg(long, env = "CLOSECALL_OUTPUT_MEMORY", value_name = "BYTES", verbatim_doc_comment)]
    #[arg(value_parser = values::output_memory)]
    #[arg(allow_hyphen_values = true)]
    pub(super) output_memory: Option<OrOff<u64>>,

    /// TCP_USER_TIMEOUT: a connection ends when data stays unacknowledged for this long; or off.
    /// It also ends a live peer whose window stays zero for that long.
    #[arg(long, env = "CLOSECALL_USER_TIMEOUT", value_name = "DUR", verbatim_doc_comment)]
    #[arg(default_value = "off", value_parser = values::user_timeout)]
    #[arg(allow_hyphen_values = true)]
    pub(super) user_timeout: OrOff<u64>,

    /// SO_KEEPALIVE: after this long without a byte, 3 probes a third of it apart; or off.
    /// At least 1s, and of use only with a longer --read-deadline, or none.
    #[arg(long, env = "CLOSECALL_KEEPALIVE", value_name = "DUR", verbatim_doc_comment)]
    #[arg(default_value = "off", value_parser = values::keepalive)]
    #[arg(allow_hyphen_values = true)]
    pub(super) keepalive: OrOff<u64>,

    /// Let several processes listen on one port (SO_REUSEPORT).
    #[arg(long, env = "CLOSECALL_REUSE_PORT", action = ArgAction::SetTrue)]
    #[arg(value_parser = values::switch)]
    pub(super) reuse_port: bool,

    /// Connections that the kernel keeps until they are accepted; it may cut this down.
    #[arg(long, env = "CLOSECALL_BACKLOG", value_name = "N")]
    #[arg(default_value = "4096", value_parser = values::backlog)]
    #[arg(allow_hyphen_values = true)]
    pub(super) backlog: i32,

    /// Ask the kernel nothing about an ending (SIOCOUTQ, TCP_INFO), as on a system that does not
    /// tell: to measure what asking costs. The verdicts say less then, and are less certain.
    #[arg(long, env = "CLOSECALL_NO_PROBES", action = ArgAction::SetTrue, verbatim_doc_comment)]
    #[arg(value_parser = values::switch)]
    pub(super) no_probes: bool,

    /// Append one JSON object for each ended connection, a line each; - is stdout.
    #[arg(long, env = "CLOSECALL_CLOSE_LOG", value_name = "PATH")]
    pub(super) close_log: Option<PathBuf>,
}

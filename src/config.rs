//! Configuration: every limit and every duration in one plain struct, each with its unit and its
//! default.

pub(crate) mod ranges;
mod set;

use std::net::{Ipv4Addr, SocketAddr};

pub use self::ranges::ConfigError;

use crate::machine::reply::Framing;

/// Connections that are closing still hold their slots and files when a new connection is accepted
/// in their place: at most this many at a time beyond `max_connections`.
pub(crate) const LEAVING_MAX: usize = 4;

/// What happens to new connections at `max_connections` or when the process is out of files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Overload {
    /// They wait in the backlog, where the kernel keeps them, until a slot is free.
    #[default]
    Wait,
    /// They are accepted and reset, and counted as `local.policy`.
    Shed,
}

/// The settings of a [`Server`](crate::server::Server). [`Config::new`] has the defaults of the
/// command line: each chunk that is read is answered with `from server back[rust]:` and the chunk,
/// and ten seconds of silence end a connection.
///
/// Set fields, or chain the setters, which take a [`Duration`](std::time::Duration). There will be
/// more settings: a literal ends with `..Config::default()`.
///
/// [`validate`](Self::validate) checks the ranges, as the command line does. Without it a value out
/// of its range is used as it is: a table for `max_connections` is reserved at the start, a longer
/// prefix or read buffer uses its memory, and a coarser tick makes deadlines later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    // ---- addresses and replies ----
    /// Addresses to listen on; port 0 picks one. Default: `127.0.0.1:20003`.
    pub listen: Vec<SocketAddr>,
    /// Bytes put before each reply, at most
    /// [`PREFIX_BYTES_MAX`](crate::machine::reply::PREFIX_BYTES_MAX) bytes. Default: `from server
    /// back[rust]:`.
    pub prefix: Vec<u8>,
    /// The unit of a reply. Default: [`Framing::Chunk`].
    pub framing: Framing,
    /// The longest read, in bytes. Default: 65,536.
    pub read_buffer_bytes: usize,

    // ---- durations ----
    /// Silence longer than this ends a connection, in milliseconds; `None` is never. Default:
    /// 10,000. The steps from this setting to that end are drawn on
    /// [`Connection`](crate::machine::connection::Connection#deadlines).
    pub read_deadline_ms: Option<u64>,
    /// No progress of pending output for this long ends a connection, in milliseconds; `None` is
    /// never. Default: 10,000.
    pub write_deadline_ms: Option<u64>,
    /// How long an ended connection may wait for its evidence, in milliseconds; 0 decides at once.
    /// Default: 2,000.
    pub verdict_wait_ms: u64,
    /// How long a drain may take, in milliseconds. Default: 5,000.
    pub drain_ms: u64,
    /// The resolution of all deadlines, in milliseconds, at most 10. None is early, and none is
    /// later than two ticks and the current turn. Default: 8.
    pub tick_ms: u64,
    /// The pause before a send or receive that failed for lack of memory is tried again, in
    /// milliseconds. Default: 20.
    pub retry_ms: u64,
    /// The pause before accept is tried again after the process ran out of files or memory, in
    /// milliseconds. Default: 100.
    pub accept_retry_ms: u64,
    /// TCP_USER_TIMEOUT (tcp(7), RFC 5482) in milliseconds; `None` leaves it to the system.
    /// Default: `None`.
    pub user_timeout_ms: Option<u64>,
    /// SO_KEEPALIVE (socket(7), RFC 9293, section 3.8.4), in milliseconds: idle for this long, then
    /// 3 probes a third of it apart. Default: `None`.
    pub keepalive_ms: Option<u64>,

    // ---- limits ----
    /// Connections at a time, including those that wait for their evidence. Default: 1,048,576.
    pub max_connections: usize,
    /// Connections at a time from one IPv4 address or from one /64 of IPv6; `None` is no limit.
    /// Default: `None`.
    pub max_per_ip: Option<u32>,
    /// A connection older than this ends politely, in milliseconds: what has arrived is answered,
    /// then our FIN is sent. The limit is up to a tenth lower, by the connection's number, so that
    /// connections of one moment do not end in one moment. `None` is no limit. Default: `None`.
    pub max_age_ms: Option<u64>,
    /// The memory for all pending output together, in bytes: near the limit reads become small.
    /// Beyond it each connection may have one small reply, see
    /// [`output_bytes_max`](Self::output_bytes_max). `None` is no limit. Default: `None`.
    pub output_memory_bytes: Option<u64>,
    /// What happens to new connections beyond `max_connections`. Default: [`Overload::Wait`].
    pub overload: Overload,
    /// Connections that the kernel may keep before they are accepted (listen(2)). Default: 4,096.
    pub backlog: i32,
    /// Whether several processes may listen on one port: SO_REUSEPORT (socket(7)). Default: no.
    pub reuse_port: bool,
    /// Whether the kernel is asked what became of the last reply. Without it verdicts are less
    /// exact. Default: yes.
    pub asks_kernel: bool,

    // ---- budgets: what one turn of the loop may do ----
    /// Connections accepted in a turn, over all listeners: less than 200 µs; or a quarter of what
    /// serving cost in it, if that is more. 0 counts as 1. Default: 16.
    pub accepts_per_turn: u32,
    /// Bytes received from and sent to one connection in one visit, where each call counts as 4,096
    /// at least. 0 counts as 1. Default: 262,144.
    pub bytes_per_visit: usize,
    /// Bytes for which connections are served in a turn: this many for those with an event, and as
    /// many again for those that were stopped by a budget. 0 counts as 1. Default: 2,097,152.
    pub bytes_per_turn: u64,
    /// Deadlines handled in a turn: less than 200 µs, for which the other connections wait; or half
    /// of what serving cost in it, if that is more. 0 counts as 1. Default: 16.
    pub expiries_per_turn: u32,
    /// Ended connections whose evidence is read and whose sockets are closed in a turn: less than
    /// 200 µs; or half of what serving cost in it, if that is more. 0 counts as 1. Default: 16.
    pub reaps_per_turn: u32,
    /// Connections served between two readings of the clock. Default: 64.
    pub clock_interval: u32,
    /// Endings kept until they are read; further ones are only counted. Default: 65,536.
    pub endings_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 20003))],
            prefix: b"from server back[rust]:".to_vec(),
            framing: Framing::Chunk,
            read_buffer_bytes: 65_536,
            read_deadline_ms: Some(10_000),
            write_deadline_ms: Some(10_000),
            verdict_wait_ms: 2_000,
            drain_ms: 5_000,
            tick_ms: 8,
            retry_ms: 20,
            accept_retry_ms: 100,
            user_timeout_ms: None,
            keepalive_ms: None,
            max_connections: 1 << 20,
            max_per_ip: None,
            max_age_ms: None,
            output_memory_bytes: None,
            overload: Overload::Wait,
            backlog: 4096,
            reuse_port: false,
            asks_kernel: true,
            accepts_per_turn: 16,
            bytes_per_visit: 256 << 10,
            bytes_per_turn: 2 << 20,
            expiries_per_turn: 16,
            reaps_per_turn: 16,
            clock_interval: 64,
            endings_max: 1 << 16,
        }
    }
}

impl Config {
    /// The default.
    pub fn new() -> Config {
        Config::default()
    }

    /// The most memory that all pending output together can use, in bytes: the longest reply for
    /// each connection, or less if [`output_memory_bytes`](Self::output_memory_bytes) is less.
    ///
    /// ```
    /// use closecall::config::Config;
    ///
    /// let mut config = Config { max_connections: 10_000, ..Config::default() };
    /// assert_eq!(config.output_bytes_max(), 10_004 * 65_559); // four may be closing
    /// config.output_memory_bytes = Some(64 << 20);
    /// assert_eq!(config.output_bytes_max(), (64 << 20) + 10_004 * 279);
    /// ```
    pub fn output_bytes_max(&self) -> u64 {
        let slots = self.slots() as u64;
        let (prefix_bytes, buffer_bytes) = (self.prefix.len(), self.read_buffer_bytes);
        let longest = self.framing.reply_bytes_max(prefix_bytes, buffer_bytes) as u64;
        let shortest = self.framing.reply_bytes_min(prefix_bytes, buffer_bytes) as u64;
        let cap = self.output_memory_bytes.unwrap_or(u64::MAX);
        slots.saturating_mul(longest).min(cap.saturating_add(slots.saturating_mul(shortest)))
    }

    /// Above this number of open connections no further one begins to wait for evidence: seven
    /// eighths of the limit.
    pub fn settles_up_to(&self) -> usize {
        self.max_connections - self.max_connections / 8
    }

    /// Slots of the table: one for each connection that may be open, and those that are closing.
    pub(crate) fn slots(&self) -> usize {
        self.max_connections.saturating_add(LEAVING_MAX)
    }
}

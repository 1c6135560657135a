//! Setters for the configuration, with durations as [`Duration`].

use std::net::SocketAddr;
use std::time::Duration;

use super::{Config, Overload};
use crate::machine::reply::Framing;

/// Milliseconds, rounded up, so that a short time does not become 0. A value that does not fit is
/// out of every range.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Each sets the field of the same name. Durations are rounded up to whole milliseconds. The
/// budgets of a turn are set as fields.
///
/// ```
/// use std::time::Duration;
///
/// use closecall::{Config, Framing};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::new()
///     .listen(["127.0.0.1:0".parse()?])
///     .framing(Framing::Line)
///     .read_deadline(Duration::from_secs(30))
///     .write_deadline(None);
/// config.validate()?;
/// assert_eq!((config.read_deadline_ms, config.write_deadline_ms), (Some(30_000), None));
/// # Ok(())
/// # }
/// ```
impl Config {
    /// Addresses to listen on, instead of the default.
    pub fn listen(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Config {
        self.listen = addresses.into_iter().collect();
        self
    }

    /// Bytes put before each reply.
    pub fn prefix(mut self, bytes: impl Into<Vec<u8>>) -> Config {
        self.prefix = bytes.into();
        self
    }

    /// The unit of a reply.
    pub fn framing(mut self, framing: Framing) -> Config {
        self.framing = framing;
        self
    }

    /// The longest read, in bytes.
    pub fn read_buffer_bytes(mut self, bytes: usize) -> Config {
        self.read_buffer_bytes = bytes;
        self
    }

    /// Silence longer than this ends a connection; `None` is never.
    pub fn read_deadline(mut self, silence: impl Into<Option<Duration>>) -> Config {
        self.read_deadline_ms = silence.into().map(milliseconds);
        self
    }

    /// No progress of pending output for this long ends a connection; `None` is never.
    pub fn write_deadline(mut self, stall: impl Into<Option<Duration>>) -> Config {
        self.write_deadline_ms = stall.into().map(milliseconds);
        self
    }

    /// How long an ended connection may wait for its evidence; zero decides at once.
    pub fn verdict_wait(mut self, wait: Duration) -> Config {
        self.verdict_wait_ms = milliseconds(wait);
        self
    }

    /// How long a drain may take.
    pub fn drain(mut self, limit: Duration) -> Config {
        self.drain_ms = milliseconds(limit);
        self
    }

    /// The resolution of all deadlines.
    pub fn tick(mut self, grain: Duration) -> Config {
        self.tick_ms = milliseconds(grain);
        self
    }

    /// The pause before a send or receive that failed for lack of memory is tried again.
    pub fn retry(mut self, pause: Duration) -> Config {
        self.retry_ms = milliseconds(pause);
        self
    }

    /// The pause before accept is tried again after the process ran out of files or memory.
    pub fn accept_retry(mut self, pause: Duration) -> Config {
        self.accept_retry_ms = milliseconds(pause);
        self
    }

    /// TCP_USER_TIMEOUT; `None` leaves it to the system.
    pub fn user_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Config {
        self.user_timeout_ms = timeout.into().map(milliseconds);
        self
    }

    /// SO_KEEPALIVE, after this long without a byte; `None` turns it off.
    pub fn keepalive(mut self, idle: impl Into<Option<Duration>>) -> Config {
        self.keepalive_ms = idle.into().map(milliseconds);
        self
    }

    /// Connections at a time.
    pub fn max_connections(mut self, connections: usize) -> Config {
        self.max_connections = connections;
        self
    }

    /// Connections at a time from one IPv4 address or one /64 of IPv6; `None` is no limit.
    pub fn max_per_ip(mut self, connections: impl Into<Option<u32>>) -> Config {
        self.max_per_ip = connections.into();
        self
    }

    /// The age at which a connection is ended politely; `None` is no limit.
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Config {
        self.max_age_ms = age.into().map(milliseconds);
        self
    }

    /// The memory for all pending output together, in bytes; `None` is no limit.
    pub fn output_memory_bytes(mut self, bytes: impl Into<Option<u64>>) -> Config {
        self.output_memory_bytes = bytes.into();
        self
    }

    /// What happens to new connections at a limit.
    pub fn overload(mut self, overload: Overload) -> Config {
        self.overload = overload;
        self
    }

    /// Connections that the kernel may keep before they are accepted.
    pub fn backlog(mut self, connections: i32) -> Config {
        self.backlog = connections;
        self
    }

    /// Whether several processes may listen on one port.
    pub fn reuse_port(mut self, reuse: bool) -> Config {
        self.reuse_port = reuse;
        self
    }

    /// Whether the kernel is asked what became of the last reply.
    pub fn asks_kernel(mut self, asks: bool) -> Config {
        self.asks_kernel = asks;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up_and_never_become_none() {
        let config = Config::new()
            .read_deadline(Duration::from_nanos(1))
            .write_deadline(Some(Duration::from_micros(1500)))
            .verdict_wait(Duration::ZERO)
            .drain(Duration::MAX);
        assert_eq!((config.read_deadline_ms, config.write_deadline_ms), (Some(1), Some(2)));
        assert_eq!((config.verdict_wait_ms, config.drain_ms), (0, u64::MAX));
        assert_eq!(config.validate().unwrap_err().setting(), "drain_ms");
    }

    #[test]
    fn each_setter_sets_its_field() {
        let second = Duration::from_secs(1);
        let config = Config::new()
            .listen([])
            .prefix("p")
            .framing(Framing::Raw)
            .read_buffer_bytes(1)
            .read_deadline(None)
            .write_deadline(None)
            .verdict_wait(second)
            .drain(second)
            .tick(second)
            .retry(second)
            .accept_retry(second)
            .user_timeout(second)
            .keepalive(second)
            .max_connections(2)
            .max_per_ip(3)
            .max_age(second)
            .output_memory_bytes(4)
            .overload(Overload::Shed)
            .backlog(5)
            .reuse_port(true)
            .asks_kernel(false);
        let expected = Config {
            listen: Vec::new(),
            prefix: b"p".to_vec(),
            framing: Framing::Raw,
            read_buffer_bytes: 1,
            read_deadline_ms: None,
            write_deadline_ms: None,
            verdict_wait_ms: 1000,
            drain_ms: 1000,
            tick_ms: 1000,
            retry_ms: 1000,
            accept_retry_ms: 1000,
            user_timeout_ms: Some(1000),
            keepalive_ms: Some(1000),
            max_connections: 2,
            max_per_ip: Some(3),
            max_age_ms: Some(1000),
            output_memory_bytes: Some(4),
            overload: Overload::Shed,
            backlog: 5,
            reuse_port: true,
            asks_kernel: false,
            ..Config::default()
        };
        assert_eq!(config, expected);
    }
}

//! Ranges of the settings. The command line uses the same ranges.

use std::error::Error;
use std::fmt;
use std::ops::RangeInclusive;

use super::Config;
use crate::machine::reply::{PREFIX_BYTES_MAX, READ_BUFFER_BYTES_MAX};

pub(crate) const HOUR_MS: u64 = 3_600_000;

/// A year: far longer than any wait, far less than any sum of two could overflow.
pub(crate) const DURATION_MS_MAX: u64 = 8760 * HOUR_MS;

pub(crate) const DEADLINE_MS: RangeInclusive<u64> = 1..=DURATION_MS_MAX;
pub(crate) const WAIT_MS: RangeInclusive<u64> = 0..=DURATION_MS_MAX;

/// Without a pause a retry is a loop that does not sleep.
const RETRY_MS: RangeInclusive<u64> = 1..=DURATION_MS_MAX;

const TICK_MS: RangeInclusive<u64> = 1..=10;

/// Linux keeps TCP_USER_TIMEOUT in an `int` of milliseconds, which ends at 596 hours.
pub(crate) const USER_TIMEOUT_MS: RangeInclusive<u64> = 1..=576 * HOUR_MS;

/// Systems count in seconds. tcp(7): Linux takes at most 32,767 of them.
pub(crate) const KEEPALIVE_MS: RangeInclusive<u64> = 1000..=9 * HOUR_MS;

/// A connection that may be younger than this could be too old before its first request has come.
pub(crate) const MAX_AGE_MS: RangeInclusive<u64> = 100..=DURATION_MS_MAX;

pub(crate) const PREFIX_BYTES: RangeInclusive<usize> = 0..=PREFIX_BYTES_MAX;
pub(crate) const READ_BUFFER_BYTES: RangeInclusive<usize> = 1..=READ_BUFFER_BYTES_MAX;

/// From one reply of the default length to 1 PiB, which is more than any machine has.
pub(crate) const OUTPUT_MEMORY_BYTES: RangeInclusive<u64> = 64 << 10..=1 << 50;

/// Connections have keys of 31 bits, and their table is reserved in advance.
pub(crate) const CONNECTIONS: RangeInclusive<usize> = 1..=1 << 24;

pub(crate) const CONNECTIONS_PER_IP: RangeInclusive<u32> = 1..=u32::MAX;
pub(crate) const BACKLOG: RangeInclusive<i32> = 1..=i32::MAX;

/// A setting of a [`Config`] that is out of its range.
///
/// ```
/// use std::time::Duration;
///
/// let config = closecall::Config::new().read_deadline(Duration::ZERO);
/// let error = config.validate().unwrap_err();
/// assert_eq!(error.setting(), "read_deadline_ms");
/// assert_eq!(error.to_string(), "read_deadline_ms is 0: expected 1 to 31536000000");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    setting: &'static str,
    value: i128,
    allowed: RangeInclusive<i128>,
}

impl ConfigError {
    /// The name of the field, with its unit.
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = self.allowed.clone().into_inner();
        write!(f, "{} is {}: expected {least} to {most}", self.setting, self.value)
    }
}

impl Error for ConfigError {}

/// Whether the setting, if it is set, is in its range.
fn check<T: Copy + TryInto<i128>>(
    setting: &'static str,
    value: impl Into<Option<T>>,
    allowed: &RangeInclusive<T>,
) -> Result<(), ConfigError> {
    let number = |value: T| value.try_into().unwrap_or(i128::MAX);
    let allowed = number(*allowed.start())..=number(*allowed.end());
    match value.into().map(number) {
        Some(value) if !allowed.contains(&value) => Err(ConfigError { setting, value, allowed }),
        _ => Ok(()),
    }
}

impl Config {
    /// Checks that each setting is in the range that the command line allows for it.
    /// [`Server::bind`](crate::server::Server::bind) does not: the documentation of [`Config`]
    /// describes what a value out of its range does.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check("prefix.len()", self.prefix.len(), &PREFIX_BYTES)?;
        check("read_buffer_bytes", self.read_buffer_bytes, &READ_BUFFER_BYTES)?;
        check("read_deadline_ms", self.read_deadline_ms, &DEADLINE_MS)?;
        check("write_deadline_ms", self.write_deadline_ms, &DEADLINE_MS)?;
        check("verdict_wait_ms", self.verdict_wait_ms, &WAIT_MS)?;
        check("drain_ms", self.drain_ms, &WAIT_MS)?;
        check("tick_ms", self.tick_ms, &TICK_MS)?;
        check("retry_ms", self.retry_ms, &RETRY_MS)?;
        check("accept_retry_ms", self.accept_retry_ms, &RETRY_MS)?;
        check("user_timeout_ms", self.user_timeout_ms, &USER_TIMEOUT_MS)?;
        check("keepalive_ms", self.keepalive_ms, &KEEPALIVE_MS)?;
        check("max_connections", self.max_connections, &CONNECTIONS)?;
        check("max_per_ip", self.max_per_ip, &CONNECTIONS_PER_IP)?;
        check("max_age_ms", self.max_age_ms, &MAX_AGE_MS)?;
        check("output_memory_bytes", self.output_memory_bytes, &OUTPUT_MEMORY_BYTES)?;
        check("backlog", self.backlog, &BACKLOG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::new();
        change(&mut config);
        config.validate().map_err(|error| error.to_string()).unwrap_err()
    }

    #[test]
    fn the_default_and_both_ends_of_a_range_are_allowed() {
        assert_eq!(Config::new().validate(), Ok(()));
        for (deadline_ms, drain_ms, age_ms) in
            [(1, 0, 100), (DURATION_MS_MAX, DURATION_MS_MAX, DURATION_MS_MAX)]
        {
            let config = Config {
                read_deadline_ms: Some(deadline_ms),
                write_deadline_ms: None,
                drain_ms,
                max_age_ms: Some(age_ms),
                ..Config::new()
            };
            assert_eq!(config.validate(), Ok(()));
        }
    }

    #[test]
    fn what_is_out_of_range_is_named_with_its_value_and_its_range() {
        let refusals = [
            (
                refused(|it| it.prefix = vec![b'p'; 4097]),
                "prefix.len() is 4097: expected 0 to 4096",
            ),
            (
                refused(|it| it.read_buffer_bytes = 0),
                "read_buffer_bytes is 0: expected 1 to 16777216",
            ),
            (
                refused(|it| it.write_deadline_ms = Some(u64::MAX)),
                "write_deadline_ms is 18446744073709551615: expected 1 to 31536000000",
            ),
            (refused(|it| it.tick_ms = 11), "tick_ms is 11: expected 1 to 10"),
            (refused(|it| it.retry_ms = 0), "retry_ms is 0: expected 1 to 31536000000"),
            (
                refused(|it| it.keepalive_ms = Some(999)),
                "keepalive_ms is 999: expected 1000 to 32400000",
            ),
            (
                refused(|it| it.max_connections = (1 << 24) + 1),
                "max_connections is 16777217: expected 1 to 16777216",
            ),
            (refused(|it| it.max_per_ip = Some(0)), "max_per_ip is 0: expected 1 to 4294967295"),
            (
                refused(|it| it.output_memory_bytes = Some(65_535)),
                "output_memory_bytes is 65535: expected 65536 to 1125899906842624",
            ),
            (refused(|it| it.backlog = -1), "backlog is -1: expected 1 to 2147483647"),
        ];
        for (said, expected) in refusals {
            assert_eq!(said, expected);
        }
    }
}

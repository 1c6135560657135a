//! Parsers for the option values of `closecall load`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::super::Failure;
use super::super::addresses::Address;
use super::{Format, expect, number};
use crate::config::ranges::{CONNECTIONS, DURATION_MS_MAX};
use crate::load::{Arrivals, Condition, Objective, SIZE_MAX, Sources};

/// One packet every hundred nanoseconds: more than one machine sends.
const RATE_MAX: u32 = 10_000_000;
/// Faster reports cannot be read.
const EVERY_REPORT_MS_MIN: u64 = 10;
const DEPTH_MAX: u32 = 1024;
const PROCESSES_MAX: u32 = 256;
/// The most addresses of a network that are used: far more than needed.
const SOURCES_MAX: u32 = 1 << 16;

/// `-c`.
pub(in crate::cli) fn connections(text: &str) -> Result<u32, String> {
    let max = *CONNECTIONS.end() as u32;
    expect(number(text, 1..=max), &format!("a number from 1 to {max}"))
}

/// `-d`, `--timeout`, `--warmup`.
pub(in crate::cli) fn duration(text: &str) -> Result<u64, String> {
    let value = super::duration(text, 1..=DURATION_MS_MAX);
    expect(value, "a duration from 1ms to 8760h, such as 250ms, 10s, 2m or 1h")
}

/// `--every-report`.
pub(in crate::cli) fn every_report(text: &str) -> Result<u64, String> {
    let value = super::duration(text, EVERY_REPORT_MS_MIN..=DURATION_MS_MAX);
    expect(value, "a duration from 10ms to 8760h, such as 1s")
}

/// `--rate`.
pub(in crate::cli) fn rate(text: &str) -> Result<u32, String> {
    expect(number(text, 1..=RATE_MAX), &format!("a number a second from 1 to {RATE_MAX}"))
}

/// `--ramp`.
pub(in crate::cli) fn ramp(text: &str) -> Result<u32, String> {
    rate(text)
}

/// `--size`.
pub(in crate::cli) fn size(text: &str) -> Result<u32, String> {
    expect(number(text, 1..=SIZE_MAX), &format!("a number of bytes from 1 to {SIZE_MAX}"))
}

/// `--depth`.
pub(in crate::cli) fn depth(text: &str) -> Result<u32, String> {
    expect(number(text, 1..=DEPTH_MAX), &format!("a number from 1 to {DEPTH_MAX}"))
}

/// `--processes`.
pub(in crate::cli) fn processes(text: &str) -> Result<u32, String> {
    expect(number(text, 1..=PROCESSES_MAX), &format!("a number from 1 to {PROCESSES_MAX}"))
}

/// `--pid`.
pub(in crate::cli) fn pid(text: &str) -> Result<u32, String> {
    expect(number(text, 1..=u32::MAX), "a process id")
}

/// `--format`, without Markdown.
pub(in crate::cli) fn format() -> impl TypedValueParser<Value = Format> {
    let names = PossibleValuesParser::new(["table", "json"]);
    names.map(|name| if name == "json" { Format::Json } else { Format::Table })
}

/// `--fail-if`.
pub(in crate::cli) fn condition(text: &str) -> Result<Condition, String> {
    Condition::parse(text)
}

/// `--find-rate`.
pub(in crate::cli) fn objective(text: &str) -> Result<Objective, String> {
    Objective::parse(text)
}

/// `--arrivals`.
pub(in crate::cli) fn arrivals() -> impl TypedValueParser<Value = Arrivals> {
    let names = PossibleValuesParser::new(["even", "poisson"]);
    names.map(|name| if name == "poisson" { Arrivals::Poisson } else { Arrivals::Even })
}

/// The value of `--source`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli) struct Network {
    /// The address that was given, with its zone.
    address: Address,
    first: IpAddr,
    count: u32,
}

impl Network {
    pub(in crate::cli) fn is_ipv4(&self) -> bool {
        self.first.is_ipv4()
    }

    /// The addresses, with the number of their interface.
    ///
    /// # Errors
    /// This machine has no interface of that name.
    pub(in crate::cli) fn resolve(&self) -> Result<Sources, Failure> {
        let scope = self.address.scope("--source")?;
        Ok(Sources { first: self.first, count: self.count, scope })
    }
}

/// `--source`: an address, or a network. The first and the last address of an IPv4 network are its
/// own number and its broadcast address; no host has them.
pub(in crate::cli) fn sources(text: &str) -> Result<Network, String> {
    // The kernel would silently replace these by another address.
    let is_no_host =
        |it: IpAddr| it.is_unspecified() || it.is_multicast() || it == Ipv4Addr::BROADCAST;
    let value = network(text).filter(|sources| !is_no_host(sources.first));
    expect(value, "addresses of this machine, such as 127.0.1.0/24, 127.0.0.2 or fe80::1%eth0")
}

fn network(text: &str) -> Option<Network> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let is_ipv6 = address.contains(':');
    let address = Address::parse(address)?;
    let (first, count) = match address.ip {
        IpAddr::V4(ip) => {
            // An IPv4 address that is written as an IPv6 address has 96 bits more.
            let written_bits: u32 = if is_ipv6 { 128 } else { 32 };
            let host_bits = written_bits.checked_sub(length.unwrap_or(written_bits))?;
            let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
            let first = u32::from(ip) & mask;
            let (first, count) = match host_bits {
                0 | 1 => (first, 1 << host_bits),
                2..=32 => (first + 1, (1u64 << host_bits) - 2),
                _ => return None,
            };
            (Ipv4Addr::from(first).into(), count)
        }
        IpAddr::V6(ip) => {
            let host_bits = 128u32.checked_sub(length.unwrap_or(128))?;
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            let first = Ipv6Addr::from(u128::from(ip) & mask);
            (first.into(), 1u64.checked_shl(host_bits).unwrap_or(u64::MAX))
        }
    };
    Some(Network { address, first, count: count.min(SOURCES_MAX.into()) as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_a_range_of_addresses() {
        for (text, first, count) in [
            ("127.0.1.0/24", "127.0.1.1", 254),
            ("127.0.1.77/24", "127.0.1.1", 254),
            ("127.0.0.2", "127.0.0.2", 1),
            ("127.0.0.2/32", "127.0.0.2", 1),
            ("127.0.0.2/31", "127.0.0.2", 2),
            ("127.0.0.4/30", "127.0.0.5", 2),
            ("127.0.0.0/8", "127.0.0.1", 65_536),
            ("0.0.0.0/0", "0.0.0.1", 65_536),
            ("::1", "::1", 1),
            ("fd00::9/120", "fd00::", 256),
            ("fd00::/64", "fd00::", 65_536),
            ("::ffff:127.0.0.2", "127.0.0.2", 1),
            ("::ffff:127.0.1.0/120", "127.0.1.1", 254),
            ("fe80::9/126", "fe80::8", 4),
        ] {
            let expected = Sources { first: first.parse().unwrap(), count, scope: 0 };
            assert_eq!(sources(text).unwrap().resolve().unwrap(), expected, "{text}");
        }
        for text in ["", "127.0.0.1/33", "::1/129", "127.0.0.1/", "127.0.0.1/-1", "localhost/8"] {
            assert!(sources(text).is_err(), "{text}");
        }
        for text in ["::ffff:127.0.0.1/64", "::1%1", "127.0.0.1%1", "fe80::1%"] {
            assert!(sources(text).is_err(), "{text}");
        }
        let zoned = sources("fe80::9%5/126").unwrap().resolve().unwrap();
        assert_eq!(zoned, Sources { first: "fe80::8".parse().unwrap(), count: 4, scope: 5 });
    }
}

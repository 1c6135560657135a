//! Parsers for the values of single options. An error has what is allowed; [`super::usage`] adds
//! the option or variable and the value.

pub(super) mod load;
mod read;

use std::ops::RangeInclusive;
use std::str::FromStr;

use clap::ValueEnum;
use clap::builder::PossibleValue;

pub(super) use self::read::{Only, flows, only, port};
use super::addresses::{Address, Endpoint};
use crate::client::Way;
use crate::config::Overload;
use crate::config::ranges::{
    BACKLOG, CONNECTIONS, CONNECTIONS_PER_IP, DEADLINE_MS, HOUR_MS, KEEPALIVE_MS, MAX_AGE_MS,
    OUTPUT_MEMORY_BYTES, PREFIX_BYTES, READ_BUFFER_BYTES, USER_TIMEOUT_MS, WAIT_MS,
};
use crate::lab;
use crate::machine::reply::Framing;

/// A value, or the word `off`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OrOff<T>(pub(super) Option<T>);

/// The value of `--end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// Show all ways.
    List,
    /// End a connection in this way.
    As(Way),
}

/// The value of `--message`: bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Message(pub(super) Vec<u8>);

/// The value of `--fail-on`: this change, or a worse one, is a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum FailOn {
    /// The proxy changes something.
    Differs,
    /// A reply, or a part of it, is lost.
    Lost,
}

/// The value of `--format`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Format {
    /// For a terminal.
    Table,
    /// For programs.
    Json,
    /// For an issue.
    Markdown,
}

impl ValueEnum for Framing {
    fn value_variants<'a>() -> &'a [Framing] {
        &[Framing::Chunk, Framing::Line, Framing::Raw]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Framing::Chunk => "chunk",
            Framing::Line => "line",
            Framing::Raw => "raw",
        }))
    }
}

impl ValueEnum for Overload {
    fn value_variants<'a>() -> &'a [Overload] {
        &[Overload::Wait, Overload::Shed]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Overload::Wait => "wait",
            Overload::Shed => "shed",
        }))
    }
}

/// Short enough for any socket to take at once.
const MESSAGE_BYTES_MAX: usize = 65_536;
/// A race takes less than a millisecond: two minutes at most.
const REPEAT_MAX: u32 = 100_000;

/// A duration in milliseconds.
fn milliseconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => HOUR_MS,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_ms)
}

fn duration(text: &str, allowed_ms: RangeInclusive<u64>) -> Option<u64> {
    milliseconds(text).filter(|ms| allowed_ms.contains(ms))
}

fn number<T: FromStr + PartialOrd>(text: &str, allowed: RangeInclusive<T>) -> Option<T> {
    text.parse().ok().filter(|number| allowed.contains(number))
}

fn or_off<T>(text: &str, value: Option<T>) -> Option<OrOff<T>> {
    if text == "off" { Some(OrOff(None)) } else { value.map(|value| OrOff(Some(value))) }
}

/// The value, or an error with what was expected.
fn expect<T>(value: Option<T>, what: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("expected {what}"))
}

/// `--read-deadline`, `--write-deadline`.
pub(super) fn deadline(text: &str) -> Result<OrOff<u64>, String> {
    let value = or_off(text, duration(text, DEADLINE_MS));
    expect(value, "a duration from 1ms to 8760h, such as 250ms, 10s, 2m or 1h, or off for none")
}

/// `--end`.
pub(super) fn end(text: &str) -> Result<End, String> {
    let value = if text == "list" { Some(End::List) } else { Way::named(text).map(End::As) };
    let names: Vec<_> = Way::all().map(Way::name).collect();
    expect(value, &format!("list, or one of {}", names.join(", ")))
}

/// `--message`.
pub(super) fn message(text: &str) -> Result<Message, String> {
    let allowed = |bytes: &Vec<u8>| (1..=MESSAGE_BYTES_MAX).contains(&bytes.len());
    let value = unescaped(text).filter(allowed).map(Message);
    let escapes = r"escapes: \r, \n, \t, \\ and \xNN";
    expect(value, &format!("1 to {MESSAGE_BYTES_MAX} bytes ({escapes})"))
}

/// `None` if an escape is invalid.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (&escape, behind) = rest.split_first()?;
        rest = behind;
        bytes.push(match escape {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let (digits, behind) = rest.split_at_checked(2)?;
                rest = behind;
                let digit = |byte: u8| (byte as char).to_digit(16);
                u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?
            }
            _ => return None,
        });
    }
    Some(bytes)
}

/// `--count`.
pub(super) fn count(text: &str) -> Result<u32, String> {
    expect(number(text, 1..=u32::MAX), &format!("a number from 1 to {}", u32::MAX))
}

/// `--only`: the id of a scenario, or a number that several share.
pub(super) fn scenario(text: &str) -> Result<String, String> {
    let value = (!lab::named(text).is_empty()).then(|| text.to_owned());
    let ids: Vec<_> = lab::all().iter().map(|scenario| scenario.id).collect();
    expect(value, &format!("one or more of {}", ids.join(", ")))
}

/// `--repeat`.
pub(super) fn repeat(text: &str) -> Result<u32, String> {
    expect(number(text, 1..=REPEAT_MAX), &format!("a number from 1 to {REPEAT_MAX}"))
}

/// `--patience`.
pub(super) fn patience(text: &str) -> Result<u64, String> {
    let value = duration(text, 100..=HOUR_MS);
    expect(value, "a duration from 100ms to 1h, such as 500ms or 12s")
}

/// `--source`.
pub(super) fn source(text: &str) -> Result<Address, String> {
    expect(Address::parse(text), "an IP address of this machine, such as 127.0.0.2 or fe80::1%eth0")
}

/// `--verdict-wait`, `--drain`.
pub(super) fn wait(text: &str) -> Result<u64, String> {
    let value = duration(text, WAIT_MS);
    expect(value, "a duration from 0s to 8760h, such as 250ms, 10s, 2m or 1h")
}

/// `--user-timeout`.
pub(super) fn user_timeout(text: &str) -> Result<OrOff<u64>, String> {
    let value = or_off(text, duration(text, USER_TIMEOUT_MS));
    expect(value, "a duration from 1ms to 576h, such as 500ms, 30s or 2m, or off")
}

/// `--keepalive`.
pub(super) fn keepalive(text: &str) -> Result<OrOff<u64>, String> {
    let value = or_off(text, duration(text, KEEPALIVE_MS));
    expect(value, "a duration from 1s to 9h, such as 30s or 2m, or off")
}

/// `--read-buffer`.
pub(super) fn read_buffer(text: &str) -> Result<usize, String> {
    let most = READ_BUFFER_BYTES.end();
    expect(number(text, READ_BUFFER_BYTES), &format!("a number of bytes from 1 to {most}"))
}

/// `--max-connections`.
pub(super) fn max_connections(text: &str) -> Result<usize, String> {
    let most = CONNECTIONS.end();
    expect(number(text, CONNECTIONS), &format!("a number from 1 to {most}"))
}

/// `--max-per-ip`.
pub(super) fn max_per_ip(text: &str) -> Result<OrOff<u32>, String> {
    let value = or_off(text, number(text, CONNECTIONS_PER_IP));
    expect(value, &format!("a number from 1 to {}, or off", u32::MAX))
}

/// `--max-age`.
pub(super) fn max_age(text: &str) -> Result<OrOff<u64>, String> {
    let value = or_off(text, duration(text, MAX_AGE_MS));
    expect(value, "a duration from 100ms to 8760h, such as 30s, 10m or 1h, or off for no limit")
}

/// `--output-memory`.
pub(super) fn output_memory(text: &str) -> Result<OrOff<u64>, String> {
    let (min, max) = OUTPUT_MEMORY_BYTES.into_inner();
    let value = or_off(text, number(text, min..=max));
    expect(value, &format!("a number of bytes from {min} to {max}, or off for no limit"))
}

/// `--backlog`.
pub(super) fn backlog(text: &str) -> Result<i32, String> {
    expect(number(text, BACKLOG), &format!("a number from 1 to {}", i32::MAX))
}

/// `--prefix`.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    match text.len() {
        bytes if PREFIX_BYTES.contains(&bytes) => Ok(text.to_owned()),
        bytes => Err(format!("expected at most {} bytes, got {bytes}", PREFIX_BYTES.end())),
    }
}

/// The environment variable of a switch.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    let value = match text {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" | "" => Some(false),
        _ => None,
    };
    expect(value, "true or false")
}

/// `--listen`, and ADDR.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    Endpoint::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_integers_with_a_unit() {
        for (text, ms) in [("10s", 10_000), ("250ms", 250), ("2m", 120_000), ("1h", HOUR_MS)] {
            assert_eq!(deadline(text), Ok(OrOff(Some(ms))), "{text}");
        }
        for text in ["", "10", "s", "1.5s", "-1s", "+1s", "10 s", "10S", "1d", "８s", "0s", "0ms"]
        {
            assert!(deadline(text).is_err(), "{text:?}");
        }
        for text in ["8761h", "18446744073709551615h", "99999999999999999999s"] {
            assert!(deadline(text).is_err() && wait(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn messages_have_escapes() {
        let bytes = |text| message(text).map(|Message(bytes)| bytes);
        assert_eq!(bytes("Hi,here is glp").unwrap(), b"Hi,here is glp");
        assert_eq!(bytes(r"a\r\n\t\\\x00\xfF").unwrap(), b"a\r\n\t\\\x00\xff");
        for text in ["", r"\", r"\q", r"\x", r"\x0", r"\x0g", r"\x+1"] {
            assert!(bytes(text).unwrap_err().contains(r"\xNN"), "{text:?}");
        }
    }

    #[test]
    fn off_is_allowed_where_it_makes_sense() {
        assert_eq!(deadline("off"), Ok(OrOff(None)));
        assert_eq!(user_timeout("off"), Ok(OrOff(None)));
        assert_eq!(keepalive("off"), Ok(OrOff(None)));
        assert_eq!(max_per_ip("off"), Ok(OrOff(None)));
        assert_eq!(max_age("off"), Ok(OrOff(None)));
        assert_eq!(output_memory("off"), Ok(OrOff(None)));
        assert!(wait("off").is_err());
        assert_eq!(wait("0s"), Ok(0));
    }
}

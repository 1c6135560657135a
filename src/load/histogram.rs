//! Histogram of latencies in nanoseconds, with three significant digits.
//!
//! It is an HdrHistogram, and its bytes have that project's format V2, so other programs can read
//! them, and two of them add up without loss.

mod hgrm;

use std::fmt;
use std::io::Cursor;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::de::{self, Deserialize, Deserializer as From};
use serde::ser::{Serialize, Serializer as Into};

/// The longest latency that is distinguished from longer ones: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

const SIGNIFICANT_DIGITS: u8 = 3;

/// Latencies, in nanoseconds.
#[derive(Clone, PartialEq, Debug)]
pub struct Latency(Histogram<u64>);

/// Percentiles, mean and standard deviation, in microseconds, to three significant digits.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)] // their names say it
pub struct Microseconds {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub p99_99: f64,
    pub max: f64,
    pub min: f64,
    pub mean: f64,
    pub stddev: f64,
}

/// The highest count of a histogram: counts are signed in format V2.
const COUNT_MAX: u64 = i64::MAX as u64;

/// The sum of two histograms is more than format V2 can hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooMany;

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "together the histograms count more than {COUNT_MAX} latencies")
    }
}

impl std::error::Error for TooMany {}

/// The bytes are not a histogram, or are one with other bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAHistogram;

impl fmt::Display for NotAHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an HdrHistogram in format V2")
    }
}

impl std::error::Error for NotAHistogram {}

impl Default for Latency {
    fn default() -> Latency {
        let bounds = Histogram::new_with_bounds(1, LONGEST_NS, SIGNIFICANT_DIGITS);
        let mut histogram = bounds.expect("the bounds are sound");
        histogram.auto(true); // for histograms of other programs, which may have wider bounds
        Latency(histogram)
    }
}

impl Latency {
    /// Counts one latency; one longer than an hour counts as an hour.
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns.min(LONGEST_NS));
    }

    /// The number of latencies.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Adds all latencies of another histogram.
    ///
    /// # Errors
    /// The sum is more than [`to_bytes`](Self::to_bytes) can write, or more than this machine can
    /// address. Nothing was added.
    pub fn add(&mut self, other: &Latency) -> Result<(), TooMany> {
        self.add_all(&other.0)
    }

    /// No count of a bucket exceeds the total, and the total saturates in a histogram that was
    /// read.
    fn add_all(&mut self, other: &Histogram<u64>) -> Result<(), TooMany> {
        match self.0.len().checked_add(other.len()) {
            Some(0..=COUNT_MAX) => self.0.add(other).map_err(|_| TooMany),
            _ => Err(TooMany),
        }
    }

    /// The percentiles; `None` without a latency.
    pub fn percentiles(&self) -> Option<Microseconds> {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1000.0;
        (!self.0.is_empty()).then(|| Microseconds {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: self.0.max() as f64 / 1000.0,
            min: self.0.min() as f64 / 1000.0,
            mean: rounded(self.0.mean() / 1000.0, 3),
            stddev: rounded(self.0.stdev() / 1000.0, 3),
        })
    }

    /// The latency below which this share of them is, from 0 to 1, in microseconds: 0 gives the
    /// shortest, 1 the longest. `None` without a latency.
    pub fn at_quantile_us(&self, quantile: f64) -> Option<f64> {
        let ns = match quantile {
            share if share <= 0.0 => self.0.min(),
            share if share >= 1.0 => self.0.max(),
            share => self.0.value_at_quantile(share),
        };
        (!self.0.is_empty()).then(|| ns as f64 / 1000.0)
    }

    /// The mean, in microseconds; `None` without a latency.
    pub fn mean_us(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.mean() / 1000.0)
    }

    /// The bytes in format V2.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written = V2Serializer::new().serialize(&self.0, &mut bytes);
        written.expect("memory takes all of it, and add() keeps each count within i64");
        bytes
    }

    /// A histogram from its bytes.
    ///
    /// # Errors
    /// They are something else, more bytes follow, or the counts are more than format V2 can hold.
    pub fn from_bytes(bytes: &[u8]) -> Result<Latency, NotAHistogram> {
        // Before memory is reserved for the size that they state.
        if payload_bytes(bytes) != Some(bytes.len().saturating_sub(HEADER_BYTES)) {
            return Err(NotAHistogram);
        }
        let read: Histogram<u64> =
            Deserializer::new().deserialize(&mut Cursor::new(bytes)).map_err(|_| NotAHistogram)?;
        let mut latency = Latency::default();
        // Into our own bounds: those of what was read may differ.
        latency.add_all(&read).map_err(|_| NotAHistogram)?;
        Ok(latency)
    }
}

/// Between processes: format V2 as base64 (RFC 4648).
impl Serialize for Latency {
    fn serialize<S: Into>(&self, into: S) -> Result<S::Ok, S::Error> {
        into.serialize_str(&BASE64_STANDARD.encode(self.to_bytes()))
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: From<'de>>(from: D) -> Result<Latency, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = BASE64_STANDARD.decode(text).map_err(de::Error::custom)?;
        Latency::from_bytes(&bytes).map_err(de::Error::custom)
    }
}

/// A number with this many decimal places: more would be noise.
pub(super) fn rounded(number: f64, places: i32) -> f64 {
    let unit = 10f64.powi(places);
    (number * unit).round() / unit
}

/// The header of format V2: cookie, length of the payload, and 32 bytes more.
const HEADER_BYTES: usize = 40;

/// The cookie of format V2 that is not compressed.
const COOKIE: [u8; 4] = 0x1c84_9313_u32.to_be_bytes();

/// The length of the payload, as stated in the header.
fn payload_bytes(bytes: &[u8]) -> Option<usize> {
    let length = bytes.strip_prefix(&COOKIE)?.first_chunk()?;
    usize::try_from(u32::from_be_bytes(*length)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_is_the_same_as_recording_in_one() {
        let (mut one, mut other, mut both) =
            (Latency::default(), Latency::default(), Latency::default());
        for ns in (1..100_000u64).map(|number| number * number) {
            let part = if ns % 3 == 0 { &mut one } else { &mut other };
            part.record(ns);
            both.record(ns);
        }
        one.add(&Latency::from_bytes(&other.to_bytes()).unwrap()).unwrap();
        assert_eq!(one, both);
        assert_eq!(one.to_bytes(), both.to_bytes());
    }

    #[test]
    fn other_bytes_are_no_histogram() {
        let bytes = Latency::default().to_bytes();
        assert!(Latency::from_bytes(&bytes).is_ok());
        assert_eq!(Latency::from_bytes(&bytes[1..]), Err(NotAHistogram));
        assert_eq!(Latency::from_bytes(&[&bytes[..], b"x"].concat()), Err(NotAHistogram));
        assert_eq!(Latency::from_bytes(b""), Err(NotAHistogram));
        assert_eq!(Latency::from_bytes(&[0; 100]), Err(NotAHistogram));
        let header_only = [&COOKIE[..], &[0xff; 4], &bytes[8..HEADER_BYTES]].concat();
        assert_eq!(Latency::from_bytes(&header_only), Err(NotAHistogram), "4 GiB are not there");
    }

    /// A histogram of these counts, one after the other, in format V2: 49 bytes for one count.
    fn crafted(counts: &[u64]) -> Vec<u8> {
        let mut payload = Vec::new();
        for count in counts {
            let mut rest = count << 1; // ZigZag of a positive number
            for _ in 0..8 {
                payload.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            payload.push(rest as u8);
        }
        let mut bytes = COOKIE.to_vec();
        bytes.extend((payload.len() as u32).to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(u32::from(SIGNIFICANT_DIGITS).to_be_bytes());
        bytes.extend(1u64.to_be_bytes());
        bytes.extend(LONGEST_NS.to_be_bytes());
        bytes.extend(1f64.to_be_bytes());
        [bytes, payload].concat()
    }

    /// Regression: a merge of such files panicked, or counted too few.
    #[test]
    fn counts_that_the_format_cannot_hold_are_refused() {
        let one = Latency::from_bytes(&crafted(&[COUNT_MAX])).unwrap();
        assert_eq!((one.count(), one.to_bytes().len()), (COUNT_MAX, 49));
        let mut all = Latency::default();
        all.add(&one).unwrap();
        assert_eq!((all.add(&one), all.count()), (Err(TooMany), COUNT_MAX));
        assert_eq!(Latency::from_bytes(&all.to_bytes()), Ok(all));
        for counts in [&[COUNT_MAX, 1][..], &[COUNT_MAX; 2], &[COUNT_MAX; 3]] {
            assert_eq!(Latency::from_bytes(&crafted(counts)), Err(NotAHistogram), "{counts:?}");
        }
    }

    #[test]
    fn what_others_wrote_may_be_longer_than_an_hour() {
        let mut long = Histogram::<u64>::new(3).unwrap();
        long.record(5 * LONGEST_NS).unwrap();
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&long, &mut bytes).unwrap();
        let mut ours = Latency::default();
        ours.record(7 * LONGEST_NS);
        ours.add(&Latency::from_bytes(&bytes).unwrap()).unwrap();
        let all = ours.percentiles().unwrap();
        let hour_us = LONGEST_NS as f64 / 1000.0;
        assert!((all.p50 / hour_us - 1.0).abs() < 0.001, "{all:?}");
        assert!((all.max / hour_us - 5.0).abs() < 0.005, "{all:?}");
    }

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut latency = Latency::default();
        assert!(latency.percentiles().is_none());
        for us in 1..=1000 {
            latency.record(us * 1000);
        }
        let all = latency.percentiles().unwrap();
        assert!((all.p50 - 500.0).abs() < 1.0 && (all.max - 1000.0).abs() < 1.0, "{all:?}");
        assert!((all.min - 1.0).abs() < 0.001 && (all.mean - 500.5).abs() < 0.5, "{all:?}");
        // Of 1 to n it is the root of (n² - 1) / 12.
        assert!((all.stddev - 288.675).abs() < 0.5, "{all:?}");
    }

    #[test]
    fn between_processes_it_is_base64_and_anything_else_is_refused() {
        let mut latency = Latency::default();
        (1..1000).for_each(|us| latency.record(us * 1000));
        let text = serde_json::to_string(&latency).unwrap();
        assert!(text.starts_with("\"HISTEwAA"), "the cookie 1c 84 93 13: {text}");
        assert_eq!(serde_json::from_str::<Latency>(&text).unwrap(), latency);
        for other in ["\"HISTE\"", "\"1c849313\"", "\"\"", "7", &text[..20]] {
            assert!(serde_json::from_str::<Latency>(other).is_err(), "{other}");
        }
    }
}

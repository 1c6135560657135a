//! Times of day as the close log writes them: RFC 3339, UTC, milliseconds, 24 characters. For
//! serde's `with`.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

const DAY_MS: i64 = 86_400_000;

/// From 1 March of the year 0, from which the calendar is counted here, to 1970.
const EPOCH_DAYS: i64 = 719_468;

/// 400 years: after them the calendar repeats.
const ERA_DAYS: i64 = 146_097;

pub(super) fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&Rfc3339(*time))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
    let text = Cow::<str>::deserialize(from)?;
    parsed(text.as_bytes()).ok_or_else(|| {
        D::Error::custom(format_args!("expected a time such as 2026-11-22T19:00:00.123Z: {text:?}"))
    })
}

struct Rfc3339(SystemTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = milliseconds(self.0);
        // Only a clock that is set to before the year 0 or after 9999 has no such text.
        let (year, month, day) = match date(ms.div_euclid(DAY_MS)) {
            date @ (0..=9999, ..) => date,
            _ => (1970, 1, 1),
        };
        let ms = ms.rem_euclid(DAY_MS);
        let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
        let (second, ms) = (ms / 1000 % 60, ms % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

/// Milliseconds since 1970, rounded down.
fn milliseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(error) => {
            let before = error.duration().as_nanos().div_ceil(1_000_000);
            i64::try_from(before).map_or(i64::MIN, |ms| -ms)
        }
    }
}

/// The date that is this many days after 1 January 1970, in the Gregorian calendar. Source: Howard
/// Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153; // 0 is March
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + next_year, month, day)
}

/// The inverse of [`date`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * ERA_DAYS + day_of_era - EPOCH_DAYS
}

/// The time behind a text of exactly this form.
fn parsed(text: &[u8]) -> Option<SystemTime> {
    const FORM: &[u8; 24] = b"0000-00-00T00:00:00.000Z";
    let fits = |(&byte, &form): (&u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        _ => byte == form,
    };
    if text.len() != FORM.len() || !text.iter().zip(FORM).all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().fold(0, |number, &digit| 10 * number + i64::from(digit - b'0'))
    };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    if hour > 23 || minute > 59 || second > 59 || !(1..=12).contains(&month) {
        return None;
    }
    let days = days(year, month, day);
    if date(days) != (year, month, day) {
        return None; // 30 February
    }
    let ms = days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + number(20, 23);
    let distance = Duration::from_millis(ms.unsigned_abs());
    if ms < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is_written_and_read(ms: i64, text: &str) {
        let distance = Duration::from_millis(ms.unsigned_abs());
        let time = if ms < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance };
        assert_eq!(Rfc3339(time).to_string(), text);
        assert_eq!(parsed(text.as_bytes()), Some(time), "{text}");
    }

    /// The numbers are those of date(1): `date -u -d TEXT +%s%3N`.
    #[test]
    fn known_moments_are_written_and_read() {
        is_written_and_read(0, "1970-01-01T00:00:00.000Z");
        is_written_and_read(-1, "1969-12-31T23:59:59.999Z");
        is_written_and_read(951_782_400_000, "2000-02-29T00:00:00.000Z");
        is_written_and_read(1_795_374_000_123, "2026-11-22T19:00:00.123Z");
        is_written_and_read(4_107_542_399_999, "2100-02-28T23:59:59.999Z");
        is_written_and_read(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
        is_written_and_read(253_402_300_799_999, "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn each_day_of_the_calendar_has_one_date() {
        let mut before = (-1, 12, 31);
        for day in days(0, 1, 1)..=days(9999, 12, 31) {
            let date = date(day);
            assert!(date > before && days(date.0, date.1, date.2) == day, "{before:?} {date:?}");
            before = date;
        }
        assert_eq!(before, (9999, 12, 31));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2026-11-22",
            "2026-11-22T19:00:00Z",
            "2026-11-22T19:00:00.123+00:00",
            "2026-11-22 19:00:00.123Z",
            "2026-02-29T19:00:00.123Z",
            "2026-13-01T19:00:00.123Z",
            "2026-00-01T19:00:00.123Z",
            "2026-11-00T19:00:00.123Z",
            "2026-11-22T24:00:00.000Z",
            "2026-11-22T19:60:00.000Z",
            "2026-11-22T19:00:0x.000Z",
        ] {
            assert_eq!(parsed(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_clock_that_is_far_off_is_written_as_the_epoch() {
        let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert!(Rfc3339(far).to_string().starts_with("1970-01-01T"));
    }
}

//! Durations and counts as text, in one format for all output of the lab.

use std::time::Duration;

/// "0.23 ms", "17 ms", "10.02 s".
pub(crate) fn span(time: Duration) -> String {
    match time.as_micros() {
        0 => "0 ms".to_owned(),
        us @ ..1_000 => format!("0.{:02} ms", us / 10),
        us @ ..1_000_000 => format!("{} ms", us / 1_000),
        us => {
            let text = format!("{}.{:02}", us / 1_000_000, us % 1_000_000 / 10_000);
            format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
        }
    }
}

/// "1 run", "2 runs".
pub(crate) fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_format() {
        let texts = [0, 5, 230, 17_400, 999_999, 1_000_000, 10_017_000, 12_000_000, 100_500_000]
            .map(|us| span(Duration::from_micros(us)));
        assert_eq!(
            texts,
            ["0 ms", "0.00 ms", "0.23 ms", "17 ms", "999 ms", "1 s", "10.01 s", "12 s", "100.5 s"]
        );
    }

    #[test]
    fn a_count_of_one_is_singular() {
        assert_eq!([0, 1, 2].map(|it| counted(it, "row")), ["0 rows", "1 row", "2 rows"]);
    }
}

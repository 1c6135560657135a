//! `--fail-if`: conditions that make a finished run a failure.

use super::text;
use crate::cli::say::warn;
use crate::cli::words::thousands;
use crate::load::{Condition, Outcome, Unit};

/// Whether the run meets one of the conditions. Each condition that it meets is a line on stderr.
///
/// A run without a timed reply meets every condition on a latency: a server that sends no reply
/// must not pass a test of its latency.
pub(super) fn are_met(conditions: &[Condition], outcome: &Outcome) -> bool {
    let lines: Vec<_> = conditions.iter().filter_map(|it| verdict(it, outcome)).collect();
    lines.iter().for_each(|line| warn(line));
    !lines.is_empty()
}

/// The line about a condition that the run meets.
fn verdict(condition: &Condition, outcome: &Outcome) -> Option<String> {
    let metric = condition.metric();
    match condition.measured(outcome) {
        None => Some(format!("--fail-if '{condition}' counts as met: no reply was timed")),
        Some(figure) if condition.holds(figure) => {
            let figure = shown(figure, condition.unit());
            Some(format!("--fail-if '{condition}' is met: {metric} {figure}"))
        }
        Some(_) => None,
    }
}

/// 12.3 ms, 7, 8,999 a second.
pub(super) fn shown(figure: f64, unit: Unit) -> String {
    match unit {
        Unit::Microseconds => text::time(figure),
        Unit::Count => thousands(figure as u64),
        Unit::PerSecond => format!("{} a second", thousands(figure.round() as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(condition: &str, outcome: &Outcome) -> Option<String> {
        verdict(&Condition::parse(condition).unwrap(), outcome)
    }

    #[test]
    fn the_line_names_the_condition_and_the_figure() {
        let mut outcome = Outcome { in_time: 17_998, seconds: 2.0, ..Outcome::default() };
        outcome.latency.record(12_300_000);
        outcome.mismatches = 1234;
        for (condition, expected) in [
            ("p99>5ms", Some("--fail-if 'p99>5ms' is met: p99 12.3 ms")),
            ("rate<9000", Some("--fail-if 'rate<9000' is met: rate 8,999 a second")),
            ("mismatches>0", Some("--fail-if 'mismatches>0' is met: mismatches 1,234")),
            ("p99>13ms", None),
            ("errors>0", None),
        ] {
            assert_eq!(line(condition, &outcome).as_deref(), expected, "{condition}");
        }
    }

    #[test]
    fn a_run_without_a_reply_fails_every_condition_on_a_latency() {
        let nothing = Outcome::default();
        let expected = "--fail-if 'p99>5ms' counts as met: no reply was timed";
        assert_eq!(line("p99>5ms", &nothing).as_deref(), Some(expected));
        assert!(line("max<1s", &nothing).is_some());
        assert_eq!(line("errors>0", &nothing), None);
    }
}

//! Conditions on a run, such as `p99<5ms`: a metric, a comparison and a bound.
//!
//! | metric | of | bound |
//! |---|---|---|
//! | `min`, `mean`, `max`, `p50`, `p99`, `p99.9`, any other percentile | latency, as in the report | a duration: `800us`, `1.5ms`, `2s` |
//! | `errors`, `mismatches`, `unanswered` | the report's counts | a number |
//! | `rate` | replies or cycles a second | a number |

use std::fmt;

use super::Outcome;

/// The metric.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Metric {
    /// The latency below which this share of the replies is, from 0 to 1.
    Quantile(f64),
    Min,
    Mean,
    Max,
    Errors,
    Mismatches,
    Unanswered,
    Rate,
}

/// The comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// The unit of a metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Microseconds.
    Microseconds,
    /// A number.
    Count,
    /// A number per second.
    PerSecond,
}

/// One condition.
#[derive(Clone, PartialEq, Debug)]
pub struct Condition {
    metric: Metric,
    comparison: Comparison,
    /// In the metric's unit.
    bound: f64,
    text: String,
}

/// A longer sign stands before the shorter one with which it begins.
const COMPARISONS: [(&str, Comparison); 4] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("<", Comparison::Below),
    (">", Comparison::Above),
];

impl Condition {
    /// Parses `text`.
    ///
    /// # Errors
    /// What is wrong with the text, and what is allowed.
    pub fn parse(text: &str) -> Result<Condition, String> {
        let sign = text.find(['<', '>']).ok_or("expected one of <, <=, > and >=, as in p99>5ms")?;
        let (name, rest) = (text[..sign].trim(), &text[sign..]);
        let (sign, comparison) =
            COMPARISONS.into_iter().find(|(sign, _)| rest.starts_with(sign)).expect("it is there");
        let value = rest[sign.len()..].trim();
        let metric = Metric::named(name).ok_or_else(|| {
            format!(
                "'{}' is not a metric: expected p50, p99.9 or another percentile, min, mean, max, \
                 errors, mismatches, unanswered or rate",
                name.escape_debug()
            )
        })?;
        let (bound, expected) = match metric.unit() {
            Unit::Microseconds => {
                (microseconds(value), "a duration in ns, us, ms or s, such as 5ms")
            }
            Unit::Count => (value.parse().ok().map(|it: u32| it.into()), "a number, such as 0"),
            Unit::PerSecond => (decimal(value), "a number per second, such as 9000"),
        };
        let bound = bound.ok_or_else(|| {
            format!("'{}' is not a bound for {name}: expected {expected}", value.escape_debug())
        })?;
        Ok(Condition { metric, comparison, bound, text: format!("{name}{sign}{value}") })
    }

    /// The name of the metric, such as `p99`.
    pub fn metric(&self) -> &str {
        self.text.split(['<', '>']).next().unwrap_or_default()
    }

    /// The unit of the metric.
    pub fn unit(&self) -> Unit {
        self.metric.unit()
    }

    /// Whether it is an upper bound: every low enough figure meets it.
    pub fn is_upper_bound(&self) -> bool {
        matches!(self.comparison, Comparison::Below | Comparison::AtMost)
    }

    /// Whether it is an upper bound that no run can meet: no latency is 0, and no count is below
    /// it.
    pub fn is_out_of_reach(&self) -> bool {
        self.bound <= 0.0
            && match self.comparison {
                Comparison::Below => true,
                Comparison::AtMost => self.unit() == Unit::Microseconds,
                Comparison::Above | Comparison::AtLeast => false,
            }
    }

    /// The value of the metric in this run, in its unit; `None` if no reply was timed.
    pub fn measured(&self, outcome: &Outcome) -> Option<f64> {
        let latency = &outcome.latency;
        Some(match self.metric {
            Metric::Quantile(quantile) => latency.at_quantile_us(quantile)?,
            Metric::Max => latency.at_quantile_us(1.0)?,
            Metric::Min => latency.at_quantile_us(0.0)?,
            Metric::Mean => latency.mean_us()?,
            Metric::Errors => outcome.errors.values().sum::<u64>() as f64,
            Metric::Mismatches => outcome.mismatches as f64,
            Metric::Unanswered => outcome.unanswered as f64,
            Metric::Rate if outcome.seconds > 0.0 => outcome.in_time as f64 / outcome.seconds,
            Metric::Rate => 0.0,
        })
    }

    /// Whether this figure meets the condition.
    pub fn holds(&self, figure: f64) -> bool {
        match self.comparison {
            Comparison::Below => figure < self.bound,
            Comparison::AtMost => figure <= self.bound,
            Comparison::Above => figure > self.bound,
            Comparison::AtLeast => figure >= self.bound,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Metric {
    fn named(name: &str) -> Option<Metric> {
        Some(match name {
            "min" => Metric::Min,
            "mean" => Metric::Mean,
            "max" => Metric::Max,
            "errors" => Metric::Errors,
            "mismatches" => Metric::Mismatches,
            "unanswered" => Metric::Unanswered,
            "rate" => Metric::Rate,
            _ => {
                let percent = name.strip_prefix('p').filter(|it| decimal(it).is_some())?;
                // The quantile as it is written, 0.999; 99.9 divided by 100 is a different number.
                let quantile = format!("{percent}e-2").parse().ok()?;
                return (quantile <= 1.0).then_some(Metric::Quantile(quantile));
            }
        })
    }

    fn unit(self) -> Unit {
        match self {
            Metric::Quantile(_) | Metric::Min | Metric::Mean | Metric::Max => Unit::Microseconds,
            Metric::Errors | Metric::Mismatches | Metric::Unanswered => Unit::Count,
            Metric::Rate => Unit::PerSecond,
        }
    }
}

/// Digits, with at most one point between them. No sign, no exponent, no `inf`.
fn decimal(text: &str) -> Option<f64> {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A duration with its unit, in microseconds.
fn microseconds(text: &str) -> Option<f64> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(unit);
    let unit_us = match unit {
        "ns" => 1e-3,
        "us" | "µs" | "μs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(decimal(number)? * unit_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand replies in two seconds, of 1 to 1,000 µs, and some errors.
    fn outcome() -> Outcome {
        let mut outcome = Outcome { in_time: 1000, seconds: 2.0, ..Outcome::default() };
        (1..=1000).for_each(|us| outcome.latency.record(us * 1000));
        outcome.errors = [("reset".to_owned(), 2), ("timeout".to_owned(), 3)].into();
        (outcome.mismatches, outcome.unanswered) = (7, 11);
        outcome
    }

    #[test]
    fn each_metric_is_measured_in_its_unit() {
        for (text, expected) in [
            ("p50<1s", 500.0),
            ("p99<1s", 990.0),
            ("p99.9<1s", 999.0),
            ("p12.5<1s", 125.0),
            ("p0<1s", 1.0),
            ("p100<1s", 1000.0),
            ("min<1s", 1.0),
            ("mean<1s", 500.5),
            ("max<1s", 1000.0),
            ("errors<1", 5.0),
            ("mismatches<1", 7.0),
            ("unanswered<1", 11.0),
            ("rate<1", 500.0),
        ] {
            let condition = Condition::parse(text).unwrap();
            let measured = condition.measured(&outcome()).unwrap();
            let is_near = (measured - expected).abs() <= expected * 0.001;
            assert!(is_near, "{text}: {measured}");
        }
    }

    #[test]
    fn without_a_reply_no_latency_is_known_and_counts_are() {
        let measured = |text: &str| Condition::parse(text).unwrap().measured(&Outcome::default());
        for text in ["p99<1s", "min<1s", "mean<1s", "max<1s"] {
            assert_eq!(measured(text), None, "{text}");
        }
        assert_eq!(measured("errors<1"), Some(0.0));
        assert_eq!(measured("rate<1"), Some(0.0));
    }

    #[test]
    fn durations_have_units_and_comparisons_have_borders() {
        for (text, at, holds) in [
            ("p99<5ms", 4999.0, true),
            ("p99<5ms", 5000.0, false),
            ("p99<=5ms", 5000.0, true),
            ("p99>5ms", 5000.0, false),
            ("p99>5ms", 5001.0, true),
            ("p99>=5ms", 5000.0, true),
            ("p99 <= 1.5ms", 1500.0, true),
            ("max<2s", 1_999_999.0, true),
            ("max<300us", 299.0, true),
            ("max<300µs", 300.0, false),
            ("max<800ns", 0.79, true),
            ("errors<=0", 0.0, true),
            ("errors<=0", 1.0, false),
            ("rate<9000.5", 9000.4, true),
        ] {
            let condition = Condition::parse(text).unwrap();
            assert_eq!(condition.holds(at), holds, "{text} at {at}");
        }
        assert_eq!(Condition::parse(" p99 < 5ms ").unwrap().to_string(), "p99<5ms");
    }

    #[test]
    fn nonsense_is_named() {
        for (text, named) in [
            ("", "expected one of <"),
            ("p99", "expected one of <"),
            ("p99=5ms", "expected one of <"),
            ("<5ms", "'' is not a metric"),
            ("q99<5ms", "'q99' is not a metric"),
            ("p101<5ms", "'p101' is not a metric"),
            ("p<5ms", "'p' is not a metric"),
            ("p9e1<5ms", "'p9e1' is not a metric"),
            ("p.5<5ms", "'p.5' is not a metric"),
            ("p99<5", "'5' is not a bound for p99: expected a duration"),
            ("p99<", "'' is not a bound for p99"),
            ("p99<-5ms", "'-5ms' is not a bound"),
            ("p99<5m", "'5m' is not a bound"),
            ("p99<5 ms", "'5 ms' is not a bound"),
            ("p99<infms", "'infms' is not a bound"),
            ("p99<=>5ms", "'>5ms' is not a bound"),
            ("errors<1.5", "'1.5' is not a bound for errors: expected a number"),
            ("errors<5ms", "'5ms' is not a bound for errors"),
            ("rate<9k", "'9k' is not a bound for rate: expected a number per second"),
            ("p99<5ms,max<1s", "'5ms,max<1s' is not a bound for p99"),
            ("p\n9<1s", r"'p\n9' is not a metric"),
        ] {
            let error = Condition::parse(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}

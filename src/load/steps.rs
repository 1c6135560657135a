//! The report of a search for a rate: plain values, as they stand in its JSON.
//!
//! The fields and their names are a promise, see `docs/find-rate.schema.json`: fields may be added,
//! none is renamed. What is not known is null.

use std::collections::BTreeMap;

use serde::Serialize;

use super::condition::Unit;
use super::histogram::rounded;
use super::objective::Objective;
use super::plan::Mode;
use super::report::BUSY;
use super::search::{ACHIEVED, Purpose, Trial};
use super::{Outcome, Trouble};

/// A search, and what it found.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FindReport {
    /// What the connections did.
    pub mode: Mode,
    /// The conditions that the rate had to meet.
    pub objective: String,
    /// How the next rate was chosen, and when a step failed.
    pub rule: &'static str,
    /// Connections in each step.
    pub connections: u32,
    /// Processes that shared them.
    pub processes: u32,
    /// The measured time of a step, in seconds; a step that confirms a rate takes three times that.
    pub step_duration_s: f64,
    /// The steps, in their order. One that was interrupted is not among them.
    pub steps: Vec<Step>,
    /// The highest rate that met the objective and was confirmed; null if there is none.
    pub found_rate_per_s: Option<u32>,
    /// What the limit was in the failed step that is next above the found rate; null if no step
    /// failed.
    pub limited_by: Option<Limit>,
    /// The search was ended before its time.
    pub interrupted: bool,
}

/// One step of a search.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Step {
    /// What it was for.
    pub purpose: Purpose,
    /// Requests a second that were asked for; null in the closed loop.
    pub target_rate_per_s: Option<u32>,
    /// Replies or cycles a second that came within the step, counted from when the first of them
    /// could have come: from its begin and the shortest latency on.
    pub rate_per_s: f64,
    /// What the metrics of the objective were: latencies in microseconds, counts as they are. Null
    /// if no reply was timed.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// The generator's share of a processor, from 0 to 1; of several processes the busiest one's.
    pub generator_cpu_share: Option<f64>,
    /// The share of the time in which it was ready to run and had to wait for a processor.
    pub generator_run_delay_share: Option<f64>,
    /// Whether the step was ok. The closed loop always is.
    pub ok: bool,
    /// Why it failed.
    pub reasons: Vec<String>,
    /// What the limit was, if it failed.
    pub limited_by: Option<Limit>,
}

/// What a failed step was limited by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// The generator was busy, or had no port, file or process left: nothing is said about the
    /// server.
    Generator,
    /// The generator had to wait for a processor, because others had them.
    Machine,
    /// Neither of these: what is behind the connections.
    Server,
}

impl Step {
    /// What a step came to. `shown` gives a figure as people read it.
    pub fn new(
        trial: Trial,
        objective: &Objective,
        outcome: &Outcome,
        shown: impl Fn(f64, Unit) -> String,
    ) -> Step {
        let figures = objective.conditions().iter().map(|it| (it, it.measured(outcome)));
        let metrics = figures.clone().map(|(it, figure)| (it.metric().to_owned(), figure));
        let missed = figures.filter_map(|(condition, figure)| match figure {
            Some(figure) if condition.holds(figure) => None,
            Some(figure) => {
                Some(format!("{} {}", condition.metric(), shown(figure, condition.unit())))
            }
            None => Some("no reply was timed".to_owned()),
        });
        let rate = achieved(outcome);
        let mut reasons: Vec<_> = missed.collect();
        reasons.dedup();
        if let Some(target) = trial.rate
            && rate < f64::from(target) * ACHIEVED
        {
            reasons.push(format!("{:.0} % achieved", (rate / f64::from(target) * 100.0).floor()));
        }
        reasons.extend(wrong(objective, outcome));
        let ok = trial.rate.is_none() || reasons.is_empty();
        if ok {
            reasons.clear();
        }
        let [cpu_share, run_delay_share] =
            [outcome.cpu_seconds, outcome.waited_seconds].map(|it| {
                it.filter(|_| outcome.seconds > 0.0).map(|it| rounded(it / outcome.seconds, 3))
            });
        Step {
            purpose: trial.purpose,
            target_rate_per_s: trial.rate,
            rate_per_s: rounded(rate, 3),
            metrics: metrics.collect(),
            generator_cpu_share: cpu_share,
            generator_run_delay_share: run_delay_share,
            ok,
            reasons,
            limited_by: (!ok).then(|| limit(outcome, cpu_share, run_delay_share)),
        }
    }
}

/// Replies a second from when the first of them could have come: else the requests that are under
/// way at the end would be missed at a distant server, however fast it is.
fn achieved(outcome: &Outcome) -> f64 {
    let first_s = outcome.latency.at_quantile_us(0.0).unwrap_or(0.0) / 1e6;
    match outcome.seconds - first_s {
        seconds if seconds > 0.0 => outcome.in_time as f64 / seconds,
        _ => 0.0,
    }
}

/// What went wrong, and is not bounded by the objective.
fn wrong(objective: &Objective, outcome: &Outcome) -> Vec<String> {
    let counts = [("mismatches", outcome.mismatches), ("unanswered", outcome.unanswered)];
    let errors = outcome.errors.iter().filter(|_| !objective.bounds("errors"));
    let errors = errors.map(|(name, count)| (name.as_str(), *count));
    let counts = counts.into_iter().filter(|(name, _)| !objective.bounds(name));
    let happened = errors.chain(counts).filter(|(_, count)| *count > 0);
    happened.map(|(name, count)| format!("{name} {count}")).collect()
}

fn limit(outcome: &Outcome, cpu: Option<f64>, run_delay: Option<f64>) -> Limit {
    let own = [Trouble::NoPort, Trouble::NoResource, Trouble::Process];
    let is_own_error = own.iter().any(|trouble| outcome.errors.contains_key(trouble.name()));
    match (cpu, run_delay) {
        _ if is_own_error => Limit::Generator,
        (Some(ran), _) if ran >= BUSY => Limit::Generator,
        (Some(ran), Some(waited)) if ran + waited >= BUSY => Limit::Machine,
        _ => Limit::Server,
    }
}

impl FindReport {
    /// What limited the found rate: the last failure at the lowest rate above it.
    pub fn limit(steps: &[Step], found: Option<u32>) -> Option<Limit> {
        let above = steps.iter().filter(|step| !step.ok && step.target_rate_per_s > found);
        // Of equal ones `min_by_key` gives the first.
        above.rev().min_by_key(|step| step.target_rate_per_s)?.limited_by
    }
}

#[cfg(test)]
mod tests {
    use schemars::generate::SchemaSettings;
    use snapbox::{assert_data_eq, file};

    use super::*;

    /// SNAPSHOTS=overwrite writes it anew.
    #[test]
    fn the_schema_in_docs_is_that_of_the_types() {
        let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        let mut schema = generator.into_root_schema_for::<FindReport>();
        schema.insert("title".to_owned(), "closecall load --find-rate --format json".into());
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        assert_data_eq!(text, file!["../../docs/find-rate.schema.json"].raw());
    }

    /// A step of a second at 1,000 a second, with replies that all took as long as the first.
    fn outcome(replies: u64, latency_us: u64) -> Outcome {
        let mut outcome = Outcome { in_time: replies, seconds: 1.0, ..Outcome::default() };
        (0..replies).for_each(|_| outcome.latency.record(latency_us * 1000));
        (outcome.cpu_seconds, outcome.waited_seconds) = (Some(0.2), Some(0.1));
        outcome
    }

    #[track_caller]
    fn step(objective: &str, outcome: &Outcome) -> Step {
        let trial = Trial { purpose: Purpose::Search, rate: Some(1000) };
        let objective = Objective::parse(objective).unwrap();
        Step::new(trial, &objective, outcome, |figure, _| format!("{figure:.0}"))
    }

    #[test]
    fn a_step_fails_for_its_objective_its_rate_and_its_errors() {
        let good = step("p99<5ms", &outcome(1000, 100));
        assert!(good.ok && good.reasons.is_empty() && good.limited_by.is_none(), "{good:?}");
        let mut bad = outcome(900, 9000);
        bad.errors.insert("reset".to_owned(), 3);
        (bad.unanswered, bad.mismatches) = (2, 1);
        let failed = step("p99<5ms,max<8ms,p50<1s", &bad);
        let expected =
            ["p99 9003", "max 9003", "90 % achieved", "reset 3", "mismatches 1", "unanswered 2"];
        assert_eq!(failed.reasons, expected);
        assert!(!failed.ok && failed.limited_by == Some(Limit::Server), "{failed:?}");
        assert_eq!(failed.metrics.len(), 3);
        let nothing = step("p99<5ms,max<8ms", &outcome(0, 0));
        assert_eq!(nothing.reasons, ["no reply was timed", "0 % achieved"]);
    }

    #[test]
    fn what_the_objective_bounds_may_happen_as_often_as_it_says() {
        let mut some = outcome(1000, 100);
        some.errors.insert("reset".to_owned(), 3);
        assert!(step("p99<5ms,errors<=3", &some).ok);
        assert_eq!(step("p99<5ms,errors<3", &some).reasons, ["errors 3"]);
        assert_eq!(step("p99<5ms", &some).reasons, ["reset 3"]);
    }

    /// 800 replies of a second's 1,000: those of the last 200 ms come after its end.
    #[test]
    fn a_distant_server_achieves_its_rate() {
        let distant = step("p99<5s", &outcome(800, 200_000));
        assert!(distant.ok && (distant.rate_per_s - 1000.0).abs() < 1.0, "{distant:?}");
        assert_eq!(step("p99<5s", &outcome(980, 100)).reasons, ["98 % achieved"]);
    }

    #[test]
    fn the_closed_loop_is_an_estimate_and_never_fails() {
        let trial = Trial { purpose: Purpose::Estimate, rate: None };
        let objective = Objective::parse("p99<1ns").unwrap();
        let step = Step::new(trial, &objective, &outcome(10, 5), |_, _| String::new());
        assert!(step.ok && step.reasons.is_empty(), "{step:?}");
    }

    #[test]
    fn the_limit_is_the_generator_before_it_is_the_server() {
        for (cpu, waited, error, expected) in [
            (0.95, 0.0, None, Limit::Generator),
            (0.5, 0.45, None, Limit::Machine),
            (0.5, 0.1, None, Limit::Server),
            (0.1, 0.0, Some("no_port"), Limit::Generator),
            (0.1, 0.0, Some("reset"), Limit::Server),
        ] {
            let mut slow = outcome(10, 100);
            (slow.cpu_seconds, slow.waited_seconds) = (Some(cpu), Some(waited));
            slow.errors.extend(error.map(|it| (it.to_owned(), 1)));
            assert_eq!(step("p99<5ms", &slow).limited_by, Some(expected), "{cpu} {error:?}");
        }
    }

    #[test]
    fn the_limit_of_a_search_is_that_of_the_next_failure_above() {
        let step = |rate, limited_by: Option<Limit>| Step {
            target_rate_per_s: Some(rate),
            ok: limited_by.is_none(),
            limited_by,
            ..step("p99<5ms", &outcome(1000, 100))
        };
        let steps = [
            step(2000, Some(Limit::Generator)),
            step(1000, None),
            step(1500, Some(Limit::Machine)),
            step(1500, Some(Limit::Server)),
            step(900, Some(Limit::Generator)),
        ];
        assert_eq!(FindReport::limit(&steps, Some(1000)), Some(Limit::Server), "the repetition");
        assert_eq!(FindReport::limit(&steps, Some(1500)), Some(Limit::Generator));
        assert_eq!(FindReport::limit(&steps, Some(2000)), None);
        assert_eq!(FindReport::limit(&steps, None), Some(Limit::Generator));
    }
}

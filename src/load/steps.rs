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
use super::search::{ACHIEVED, Finding, Purpose, Trial};
use super::{Outcome, Trouble};

/// A search, and what it found.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FindReport {
    /// What the connections did.
    pub mode: Mode,
    /// The conditions that the rate must meet.
    pub objective: String,
    /// How the next rate was chosen, and when a step failed.
    pub rule: &'static str,
    /// Connections in each step.
    pub connections: u32,
    /// Processes that share them.
    pub processes: u32,
    /// The measured time of a step, in seconds; a step that confirms a rate takes three times that.
    pub step_duration_s: f64,
    /// The steps, in their order, without one that was interrupted.
    pub steps: Vec<RateStep>,
    /// The highest rate that met the objective and was confirmed; null if there is none.
    pub found_rate_per_s: Option<u32>,
    /// What the limit was in the failed step that is next above the found rate; null if no step
    /// failed, if the server stopped answering, or if the search was interrupted.
    pub limited_by: Option<Limit>,
    /// Why the search ended before a rate was found: the server answered nothing, or no source port
    /// was left. Null if the rule was followed to its end, or if the search was interrupted.
    pub ended_because: Option<String>,
    /// Whether the search was interrupted.
    pub interrupted: bool,
}

/// One step of a search.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RateStep {
    /// The purpose of the step.
    pub purpose: Purpose,
    /// The rate of the step, in requests a second; null in the closed loop.
    pub target_rate_per_s: Option<u32>,
    /// Replies or cycles a second within the step. The time counts from when the first of them
    /// could have arrived: the beginning plus the shortest latency.
    pub rate_per_s: f64,
    /// The metrics of the objective: latencies in microseconds, counts as they are. Null if no
    /// reply was timed.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// The generator's share of a processor, from 0 to 1; of several processes the busiest one's.
    pub generator_cpu_share: Option<f64>,
    /// The share of the time in which the generator was ready to run and waited for a processor.
    pub generator_run_delay_share: Option<f64>,
    /// Whether the step was ok. The closed loop is ok if a reply arrived within it.
    pub ok: bool,
    /// Why it failed, errors first. For the closed loop: what went wrong in it.
    pub reasons: Vec<String>,
    /// The limit of a failed step; null if the server answered nothing.
    pub limited_by: Option<Limit>,
}

/// The limit in a failed step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// The generator was busy, or out of files or processes: nothing is known about the server.
    Generator,
    /// No source port was left: nothing is known about the server.
    Ports,
    /// The generator waited for a processor, because other programs used them.
    Machine,
    /// None of these: the server, or the network.
    Server,
}

impl RateStep {
    /// The result of a step. `shown` formats a figure for people.
    pub fn new(
        trial: Trial,
        objective: &Objective,
        outcome: &Outcome,
        shown: impl Fn(f64, Unit) -> String,
    ) -> RateStep {
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
        // Errors are the cause of the rest, and are named first: a table has no room for all.
        let mut reasons = errors(objective, outcome);
        if trial.rate.is_some() {
            reasons.extend(missed);
            reasons.dedup();
        }
        if let Some(target) = trial.rate
            && rate < f64::from(target) * ACHIEVED
        {
            reasons.push(format!("{:.0} % achieved", (rate / f64::from(target) * 100.0).floor()));
        }
        reasons.extend(missing(objective, outcome));
        let ok = if trial.rate.is_some() { reasons.is_empty() } else { rate > 0.0 };
        let [cpu_share, run_delay_share] =
            [outcome.cpu_seconds, outcome.waited_seconds].map(|it| {
                it.filter(|_| outcome.seconds > 0.0).map(|it| rounded(it / outcome.seconds, 3))
            });
        RateStep {
            purpose: trial.purpose,
            target_rate_per_s: trial.rate,
            rate_per_s: rounded(rate, 3),
            metrics: metrics.collect(),
            generator_cpu_share: cpu_share,
            generator_run_delay_share: run_delay_share,
            ok,
            reasons,
            limited_by: if ok { None } else { limit(outcome, cpu_share, run_delay_share) },
        }
    }

    /// What the step shows about its rate. `ports_return`: a port that was used is free again when
    /// the next step begins.
    pub fn finding(&self, outcome: &Outcome, ports_return: bool) -> Finding {
        match self.limited_by {
            _ if self.ok => Finding::Ok,
            _ if is_silent(outcome) => Finding::Stuck,
            Some(Limit::Ports) if !ports_return => Finding::Stuck,
            _ => Finding::Failed,
        }
    }
}

/// Whether requests were sent, as far as this machine could, and the server answered none.
pub fn is_silent(outcome: &Outcome) -> bool {
    let is_answered = outcome.done > 0 || outcome.mismatches > 0;
    let is_asked = outcome.unanswered > 0 || !outcome.errors.is_empty();
    is_asked && !is_answered && !is_own(outcome, Trouble::NoPort) && !has_own_error(outcome)
}

/// Whether the generator lacked something other than a port.
fn has_own_error(outcome: &Outcome) -> bool {
    [Trouble::NoResource, Trouble::Process].into_iter().any(|it| is_own(outcome, it))
}

fn is_own(outcome: &Outcome, trouble: Trouble) -> bool {
    outcome.errors.contains_key(trouble.name())
}

/// Replies a second, counted from when the first of them could have arrived. Otherwise the requests
/// in flight at the end would be missing at a distant server, however fast it is.
fn achieved(outcome: &Outcome) -> f64 {
    let first_s = outcome.latency.at_quantile_us(0.0).unwrap_or(0.0) / 1e6;
    match outcome.seconds - first_s {
        seconds if seconds > 0.0 => outcome.in_time as f64 / seconds,
        _ => 0.0,
    }
}

/// Errors and wrong replies that the objective does not bound.
fn errors(objective: &Objective, outcome: &Outcome) -> Vec<String> {
    let errors = outcome.errors.iter().filter(|_| !objective.bounds("errors"));
    let errors = errors.map(|(name, count)| format!("{name} {count}"));
    errors.chain(counted("mismatches", outcome.mismatches, objective)).collect()
}

/// Missing replies that the objective does not bound.
fn missing(objective: &Objective, outcome: &Outcome) -> Option<String> {
    counted("unanswered", outcome.unanswered, objective)
}

fn counted(name: &str, count: u64, objective: &Objective) -> Option<String> {
    (count > 0 && !objective.bounds(name)).then(|| format!("{name} {count}"))
}

fn limit(outcome: &Outcome, cpu: Option<f64>, run_delay: Option<f64>) -> Option<Limit> {
    Some(match (cpu, run_delay) {
        _ if is_own(outcome, Trouble::NoPort) => Limit::Ports,
        _ if has_own_error(outcome) => Limit::Generator,
        _ if is_silent(outcome) => return None,
        (Some(ran), _) if ran >= BUSY => Limit::Generator,
        (Some(ran), Some(waited)) if ran + waited >= BUSY => Limit::Machine,
        _ => Limit::Server,
    })
}

impl FindReport {
    /// The limit of the found rate: that of the last failure at the lowest rate above it.
    pub fn limit(steps: &[RateStep], found: Option<u32>) -> Option<Limit> {
        // A closed loop that failed is the only step.
        let is_above = |step: &&RateStep| {
            let rate = step.target_rate_per_s;
            !step.ok && (rate > found || (rate, found) == (None, None))
        };
        let above = steps.iter().filter(is_above);
        // `min_by_key` returns the first of equal ones.
        above.rev().min_by_key(|step| step.target_rate_per_s)?.limited_by
    }
}

#[cfg(test)]
mod tests {
    use schemars::generate::SchemaSettings;
    use snapbox::{assert_data_eq, file};

    use super::*;

    /// `SNAPSHOTS=overwrite` rewrites it.
    #[test]
    fn the_schema_in_docs_is_that_of_the_types() {
        let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        let mut schema = generator.into_root_schema_for::<FindReport>();
        schema.insert("title".to_owned(), "closecall load --find-rate --format json".into());
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        assert_data_eq!(text, file!["../../docs/find-rate.schema.json"].raw());
    }

    /// A step of a second at 1,000 a second, in which all replies took as long as the first.
    fn outcome(replies: u64, latency_us: u64) -> Outcome {
        let mut outcome =
            Outcome { done: replies, in_time: replies, seconds: 1.0, ..Outcome::default() };
        (0..replies).for_each(|_| outcome.latency.record(latency_us * 1000));
        (outcome.cpu_seconds, outcome.waited_seconds) = (Some(0.2), Some(0.1));
        outcome
    }

    #[track_caller]
    fn step(objective: &str, outcome: &Outcome) -> RateStep {
        let trial = Trial { purpose: Purpose::Search, rate: Some(1000) };
        let objective = Objective::parse(objective).unwrap();
        RateStep::new(trial, &objective, outcome, |figure, _| format!("{figure:.0}"))
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
            ["reset 3", "mismatches 1", "p99 9003", "max 9003", "90 % achieved", "unanswered 2"];
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

    /// 800 replies of a second's 1,000: those of the last 200 ms arrive after its end.
    #[test]
    fn a_distant_server_achieves_its_rate() {
        let distant = step("p99<5s", &outcome(800, 200_000));
        assert!(distant.ok && (distant.rate_per_s - 1000.0).abs() < 1.0, "{distant:?}");
        assert_eq!(step("p99<5s", &outcome(980, 100)).reasons, ["98 % achieved"]);
    }

    /// Regression: errors of the closed loop were not reported, and one without a reply counted as
    /// ok.
    #[test]
    fn the_closed_loop_misses_no_objective_and_keeps_its_errors() {
        let trial = Trial { purpose: Purpose::Estimate, rate: None };
        let objective = Objective::parse("p99<1ns").unwrap();
        let step = |it: &Outcome| RateStep::new(trial, &objective, it, |_, _| String::new());
        let mut some = outcome(10, 5);
        assert!(step(&some).ok && step(&some).reasons.is_empty());
        some.errors.insert("reset".to_owned(), 50);
        assert!(step(&some).ok && step(&some).reasons == ["reset 50"]);
        let mut none = outcome(0, 0);
        none.errors.insert("closed".to_owned(), 3);
        assert!(!step(&none).ok && step(&none).reasons == ["closed 3"], "{:?}", step(&none));
    }

    #[test]
    fn a_step_without_a_reply_says_nothing_about_its_rate() {
        for (replies, error, ports_return, expected) in [
            (0, Some("refused"), true, (None, Finding::Stuck)),
            (9, Some("refused"), true, (Some(Limit::Server), Finding::Failed)),
            (0, Some("no_port"), true, (Some(Limit::Ports), Finding::Failed)),
            (9, Some("no_port"), false, (Some(Limit::Ports), Finding::Stuck)),
            (0, Some("no_resource"), true, (Some(Limit::Generator), Finding::Failed)),
            (0, None, true, (Some(Limit::Server), Finding::Failed)), // none was due
            (1000, None, true, (None, Finding::Ok)),
        ] {
            let mut outcome = outcome(replies, 100);
            outcome.errors.extend(error.map(|it| (it.to_owned(), 1)));
            let step = step("p99<5ms", &outcome);
            let came = (step.limited_by, step.finding(&outcome, ports_return));
            assert_eq!(came, expected, "{replies} {error:?} {ports_return}");
        }
    }

    #[test]
    fn the_limit_is_the_generator_before_it_is_the_server() {
        for (cpu, waited, error, expected) in [
            (0.95, 0.0, None, Limit::Generator),
            (0.5, 0.45, None, Limit::Machine),
            (0.5, 0.1, None, Limit::Server),
            (0.95, 0.0, Some("no_port"), Limit::Ports),
            (0.1, 0.0, Some("no_resource"), Limit::Generator),
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
        let step = |rate, limited_by: Option<Limit>| RateStep {
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

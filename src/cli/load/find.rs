//! `--find-rate`: runs the steps of a search, and shows them.

use std::process::ExitCode;

use super::conditions::{self, shown};
use super::interrupts::Interrupts;
use super::watch::Watch;
use super::{conduct, not_started};
use crate::cli::args::RunArgs;
use crate::cli::fit::{cut, pad};
use crate::cli::say::{json, say, warn};
use crate::cli::values::Format;
use crate::cli::words::{duration, thousands};
use crate::cli::{EXIT_FAILED, Failure};
use crate::load::{
    CONFIRM_TIMES, Conductor, FindReport, Limit, Moment, Objective, Outcome, Plan, Progress,
    Purpose, RULE, STEPS_MAX, Search, Step,
};

/// Columns of the table, and of each of its fields but the last.
const COLUMNS: usize = 80;
const FIELD: usize = 11;
/// Metrics that have a column; the others are in the JSON.
const METRICS_SHOWN: usize = 3;

/// Searches for the highest rate that meets the objective.
///
/// # Errors
/// A step cannot be started, or stdout cannot be written.
pub(super) fn run(
    run: &RunArgs<'_>,
    objective: &Objective,
    plan: &Plan,
    interrupts: &Interrupts,
) -> Result<ExitCode, Failure> {
    let args = run.common;
    let is_table = args.format != Format::Json;
    if is_table {
        say(&headline(run, objective))?;
    }
    let (mut search, mut steps, mut last) = (Search::default(), Vec::new(), None);
    while let Some(trial) = search.next().filter(|_| !interrupts.is_one())
        && steps.len() < STEPS_MAX
    {
        let times = if trial.purpose == Purpose::Confirm { CONFIRM_TIMES } else { 1 };
        let (rate, duration_ms) = (trial.rate.map(f64::from), plan.duration_ms * times);
        let mut watch = Quiet(Watch::new(None, plan, run.common.format).map_err(not_started)?);
        let plan = Plan { rate, duration_ms, watched: watch.watches(), ..plan.clone() };
        let outcome = conduct(&plan, args, interrupts, &mut watch);
        watch.0.finish()?;
        let outcome = outcome?;
        if outcome.interrupted {
            break;
        }
        let step = Step::new(trial, objective, &outcome, shown);
        if is_table {
            say(&row(&step, objective))?;
        }
        match trial.purpose {
            Purpose::Estimate => search.estimated(step.rate_per_s),
            Purpose::Search | Purpose::Confirm => search.ended(step.ok),
        }
        steps.push(step);
        last = Some(outcome);
    }
    let found = search.found();
    let report = FindReport {
        mode: run.mode,
        objective: objective.to_string(),
        rule: RULE,
        connections: args.connections,
        processes: args.processes,
        step_duration_s: plan.duration_ms as f64 / 1e3,
        limited_by: FindReport::limit(&steps, found),
        steps,
        found_rate_per_s: found,
        interrupted: interrupts.is_one() && found.is_none(),
    };
    say(&if is_table { conclusion(&report) } else { json(&report) })?;
    remark(&report);
    // The last step is the one that confirmed the rate.
    let confirmed = last.filter(|_| found.is_some());
    let failed = confirmed.is_none_or(|it: Outcome| conditions::are_met(&args.fail_if, &it));
    Ok(if failed { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

/// What is said about the search beside its table.
fn remark(report: &FindReport) {
    match report.limited_by {
        Some(Limit::Generator) => warn(
            "the generator was the limit, not the server: it was busy, or had no port or file \
             left; the server may do more; give it more --processes, or --source",
        ),
        Some(Limit::Machine) => warn(
            "the machine was the limit: the generator had to wait for a processor; leave one to \
             it, or measure the server from another machine",
        ),
        Some(Limit::Server) | None => {}
    }
    if report.interrupted {
        warn("interrupted: these are the steps until then");
    }
}

// ---- the table --------------------------------------------------------------------------------

fn headline(run: &RunArgs<'_>, objective: &Objective) -> String {
    let args = run.common;
    let (connections, processes) = (args.connections, args.processes);
    let metrics = objective.conditions().iter().map(|it| it.metric()).take(METRICS_SHOWN);
    let names = ["asked", "achieved"].into_iter().chain(metrics).chain(["generator"]);
    let names: String = names.map(|name| pad(name, FIELD)).collect();
    format!(
        "{}, {} connections, {processes} process{}, {} bytes, steps of {}: {objective}\n{}\n",
        run.mode.name(),
        thousands(connections.into()),
        if processes == 1 { "" } else { "es" },
        thousands(args.size.into()),
        duration(args.duration),
        cut(&format!("{names}verdict"), COLUMNS),
    )
}

fn row(step: &Step, objective: &Objective) -> String {
    let count = |rate: f64| thousands(rate.round() as u64);
    let mut fields = vec![
        step.target_rate_per_s.map_or("closed".to_owned(), |rate| thousands(rate.into())),
        count(step.rate_per_s),
    ];
    fields.extend(objective.conditions().iter().take(METRICS_SHOWN).map(|condition| {
        let figure = step.metrics.get(condition.metric()).copied().flatten();
        figure.map_or("none".to_owned(), |figure| shown(figure, condition.unit()))
    }));
    let share = step.generator_cpu_share;
    fields.push(share.map_or("unknown".to_owned(), |share| format!("{:.0} %", share * 100.0)));
    let fields: String = fields.iter().map(|field| pad(field, FIELD)).collect();
    cut(&format!("{fields}{}", verdict(step)), COLUMNS) + "\n"
}

fn verdict(step: &Step) -> String {
    let what = match (step.purpose, step.ok) {
        (Purpose::Estimate, _) => "estimate",
        (Purpose::Search, true) => "ok",
        (Purpose::Confirm, true) => "confirmed",
        (_, false) => "failed",
    };
    let at_limit = match step.limited_by {
        Some(Limit::Generator) => Some("generator busy".to_owned()),
        Some(Limit::Machine) => Some("machine busy".to_owned()),
        Some(Limit::Server) | None => None,
    };
    let why: Vec<_> = at_limit.into_iter().chain(step.reasons.iter().cloned()).collect();
    if why.is_empty() { what.to_owned() } else { format!("{what}: {}", why.join(", ")) }
}

fn conclusion(report: &FindReport) -> String {
    let limit = match report.limited_by {
        Some(Limit::Generator) => "; the generator was the limit, not the server",
        Some(Limit::Machine) => "; the machine was the limit",
        Some(Limit::Server) => "; the server was the limit",
        None => "",
    };
    match report.found_rate_per_s {
        Some(rate) => format!("found: {} a second{limit}\n", thousands(rate.into())),
        None if report.interrupted => "found: none before the interrupt\n".to_owned(),
        None => format!("found: none{limit}\n"),
    }
}

// ---- watching a step ----------------------------------------------------------------------------

/// Shows how far a step is. That a step fails is part of the search and stands in its row, so the
/// first error of each step is no line of its own.
struct Quiet(Watch);

impl Conductor for Quiet {
    fn reached(&mut self, moment: Moment) {
        self.0.reached(moment);
    }

    fn releases(&mut self, moment: Moment) -> bool {
        self.0.releases(moment)
    }

    fn trouble(&mut self, _what: &str) {}

    fn progress(&mut self, progress: &Progress) {
        self.0.progress(progress);
    }

    fn watches(&self) -> bool {
        self.0.watches()
    }
}

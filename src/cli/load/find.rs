//! `--find-rate`: runs the steps of a search and prints them.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use super::conditions::{self, shown};
use super::interrupts::Interrupts;
use super::shortage::no_port;
use super::watch::Watch;
use super::{LOOK_UP, conduct, not_started};
use crate::cli::args::RunArgs;
use crate::cli::fit::{cut, pad, paragraphs};
use crate::cli::say::{json, say, warn};
use crate::cli::values::Format;
use crate::cli::words::{duration, thousands};
use crate::cli::{EXIT_FAILED, Failure};
use crate::load::{
    BUSY, CONFIRM_TIMES, Conductor, FindReport, Limit, Lost, Milestone, Objective, Outcome, Plan,
    Progress, Purpose, RULE, RateStep, STEPS_MAX, Search, Trial, is_silent, ports_return_after,
};

/// Columns of the table, and of each of its fields but the last.
const COLUMNS: usize = 80;
const FIELD: usize = 11;
/// The most metrics with a column. With more, the verdict would have no room for its reason.
const METRICS_SHOWN: usize = 2;

/// Searches for the highest rate that meets the objective. `looked` is the result of the first
/// connection; `None` if it was interrupted.
///
/// # Errors
/// A step cannot be started, or stdout cannot be written.
pub(super) fn run(
    run: &RunArgs<'_>,
    objective: &Objective,
    looked: Option<Result<Plan, Lost>>,
    interrupts: &Interrupts,
) -> Result<ExitCode, Failure> {
    let args = run.common;
    let is_table = args.format != Format::Json;
    if is_table {
        say(&headline(run, objective))?;
    }
    let mut finder = Finder::new(run, objective, interrupts);
    match looked {
        Some(Ok(plan)) => finder.search(&plan)?,
        Some(Err(lost)) => finder.ended_because = Some(lost.to_string()),
        None => {}
    }
    let found = finder.search.found();
    let interrupted = interrupts.is_one() && found.is_none();
    let is_unknown = interrupted || finder.last.as_ref().is_some_and(is_silent);
    let report = FindReport {
        mode: run.mode,
        objective: objective.to_string(),
        rule: RULE,
        connections: args.connections,
        processes: args.processes,
        step_duration_s: args.duration as f64 / 1e3,
        limited_by: FindReport::limit(&finder.steps, found).filter(|_| !is_unknown),
        steps: finder.steps,
        found_rate_per_s: found,
        ended_because: finder.ended_because.filter(|_| !interrupted),
        interrupted,
    };
    let text = || conclusion(&report, finder.search.highest_ok());
    say(&if is_table { text() } else { json(&report) })?;
    remark(&report, finder.ports_lacked.as_deref());
    // The last step is the one that confirmed the rate.
    let confirmed = finder.last.filter(|_| found.is_some());
    let failed = confirmed.is_none_or(|it: Outcome| conditions::are_met(&args.fail_if, &it));
    Ok(if failed { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

/// A search in progress, and the results of its steps.
struct Finder<'a> {
    run: &'a RunArgs<'a>,
    objective: &'a Objective,
    interrupts: &'a Interrupts,
    search: Search,
    steps: Vec<RateStep>,
    /// The outcome of the last step.
    last: Option<Outcome>,
    /// Why the search ended early.
    ended_because: Option<String>,
    /// The line about ports of the last step that ran out of them.
    ports_lacked: Option<String>,
    /// Whether the first error was reported.
    has_told: bool,
}

impl<'a> Finder<'a> {
    fn new(run: &'a RunArgs<'a>, objective: &'a Objective, interrupts: &'a Interrupts) -> Self {
        Finder {
            run,
            objective,
            interrupts,
            search: Search::default(),
            steps: Vec::new(),
            last: None,
            ended_because: None,
            ports_lacked: None,
            has_told: false,
        }
    }

    /// Runs one step after the other, until there is no next one or an interrupt comes.
    fn search(&mut self, plan: &Plan) -> Result<(), Failure> {
        let return_after = ports_return_after(plan.server);
        while let Some(trial) = self.search.next().filter(|_| !self.interrupts.is_one())
            && self.steps.len() < STEPS_MAX
        {
            let outcome = self.step(plan, trial)?;
            if outcome.interrupted {
                break;
            }
            let step = RateStep::new(trial, self.objective, &outcome, shown);
            if self.run.common.format != Format::Json {
                say(&row(&step, self.objective))?;
            }
            match trial.purpose {
                Purpose::Estimate => self.search.estimated(step.rate_per_s),
                _ => self.search.ended(step.finding(&outcome, return_after.is_some())),
            }
            let is_over = self.search.next().is_none() && self.search.found().is_none();
            self.ended_because = is_over.then(|| because(&step, &outcome, return_after)).flatten();
            self.steps.push(step);
            if let Some(line) = no_port(plan, &outcome) {
                self.ports_lacked = Some(line);
                // Otherwise the next step would lack the ports in TIME_WAIT.
                return_after.filter(|_| !is_over).into_iter().for_each(|it| self.pause(it));
            }
            self.last = Some(outcome);
        }
        Ok(())
    }

    fn step(&mut self, plan: &Plan, trial: Trial) -> Result<Outcome, Failure> {
        let args = self.run.common;
        let times = if trial.purpose == Purpose::Confirm { CONFIRM_TIMES } else { 1 };
        let (rate, duration_ms) = (trial.rate.map(f64::from), plan.duration_ms * times);
        let watch = Watch::new(None, plan, args.format).map_err(not_started)?;
        let mut watch = Quiet { watch, has_told: &mut self.has_told };
        let plan = Plan { rate, duration_ms, watched: watch.watches(), ..plan.clone() };
        let outcome = conduct(&plan, args, self.interrupts, &mut watch);
        watch.watch.finish()?;
        outcome
    }

    /// Waits, but not beyond an interrupt.
    fn pause(&self, length: Duration) {
        let end = Instant::now() + length;
        while Instant::now() < end && !self.interrupts.is_one() {
            thread::sleep(LOOK_UP);
        }
    }
}

/// Why the search ended with this step, unless no rate meets the objective.
fn because(step: &RateStep, outcome: &Outcome, return_after: Option<Duration>) -> Option<String> {
    let is_estimate = step.purpose == Purpose::Estimate;
    match step.limited_by {
        _ if is_silent(outcome) => {
            let why = step.reasons.first().map_or("no reply", |it| it);
            let when = if is_estimate { "sent no reply" } else { "no longer answers" };
            Some(format!("the server {when}: {why}"))
        }
        Some(Limit::Ports) if is_estimate || return_after.is_none() => {
            Some("no local port was free".to_owned())
        }
        _ if is_estimate => {
            Some("no reply arrived in the closed-loop step: give a longer -d".to_owned())
        }
        _ => None,
    }
}

/// Warnings about the search.
fn remark(report: &FindReport, ports_lacked: Option<&str>) {
    match report.limited_by {
        Some(Limit::Generator) => warn(
            "the generator was the limit, not the server: it was busy, or had no file left; the \
             server may reach a higher rate; give more --processes",
        ),
        Some(Limit::Machine) => warn(
            "the machine was the limit: the generator had to wait for a processor; leave one \
             free for it, or measure the server from another machine",
        ),
        Some(Limit::Ports) => ports_lacked.iter().for_each(|line| warn(line)),
        Some(Limit::Server) | None => {}
    }
    if report.interrupted {
        warn("interrupted: the table has the steps until then");
    }
}

// ---- the table --------------------------------------------------------------------------------

fn headline(run: &RunArgs<'_>, objective: &Objective) -> String {
    let args = run.common;
    let (connections, processes) = (args.connections, args.processes);
    let metrics: Vec<_> = objective.conditions().iter().map(|it| it.metric()).collect();
    let (shown, others) = metrics.split_at(metrics.len().min(METRICS_SHOWN));
    let names = ["asked", "achieved"].iter().chain(shown).chain(&["generator"]);
    let names: String = names.map(|name| pad(name, FIELD)).collect();
    let what = format!(
        "{}, {} connection{}, {processes} process{}, {} bytes, steps of {}: {}",
        run.mode.name(),
        thousands(connections.into()),
        if connections == 1 { "" } else { "s" },
        if processes == 1 { "" } else { "es" },
        thousands(args.size.into()),
        duration(args.duration),
        objective.to_string().replace(',', ", "),
    );
    let without = match others {
        [] => String::new(),
        _ => format!("no column here, see --format json: {}", others.join(", ")),
    };
    let names = cut(&format!("{names}verdict"), COLUMNS);
    format!("{}{}{names}\n", paragraphs(&what, COLUMNS), paragraphs(&without, COLUMNS))
}

fn row(step: &RateStep, objective: &Objective) -> String {
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

fn verdict(step: &RateStep) -> String {
    let what = match (step.purpose, step.ok) {
        (Purpose::Estimate, _) => "estimate",
        (Purpose::Search, true) => "ok",
        (Purpose::Confirm, true) => "confirmed",
        (_, false) => "failed",
    };
    let at_limit = match step.limited_by {
        Some(Limit::Generator) if step.generator_cpu_share.is_some_and(|it| it >= BUSY) => {
            Some("generator busy".to_owned())
        }
        Some(Limit::Ports) => Some("no port left".to_owned()),
        Some(Limit::Machine) => Some("machine busy".to_owned()),
        // The first reason names its error.
        Some(Limit::Generator | Limit::Server) | None => None,
    };
    let why: Vec<_> = at_limit.into_iter().chain(step.reasons.iter().cloned()).collect();
    if why.is_empty() { what.to_owned() } else { format!("{what}: {}", why.join(", ")) }
}

fn conclusion(report: &FindReport, highest_ok: Option<u32>) -> String {
    let limit = match (report.limited_by, &report.ended_because) {
        (_, Some(why)) => format!("; {why}"),
        (Some(Limit::Generator), _) => "; the generator was the limit, not the server".to_owned(),
        (Some(Limit::Ports), _) => "; ports were the limit, not the server".to_owned(),
        (Some(Limit::Machine), _) => "; the machine was the limit".to_owned(),
        (Some(Limit::Server), _) => "; the server was the limit".to_owned(),
        (None, None) => String::new(),
    };
    let unconfirmed = match highest_ok {
        Some(rate) => format!("not confirmed: {} a second was ok before", thousands(rate.into())),
        None => String::new(),
    };
    let line = match report.found_rate_per_s {
        Some(rate) => return format!("found: {} a second{limit}\n", thousands(rate.into())),
        None if report.interrupted => "found: none before the interrupt".to_owned(),
        None => format!("found: none{limit}"),
    };
    paragraphs(&line, COLUMNS) + &paragraphs(&unconfirmed, COLUMNS)
}

// ---- watching a step ----------------------------------------------------------------------------

/// Shows the progress of a step. A failed step is part of the search and has its row, so only the
/// first error of the whole search is a line of its own.
struct Quiet<'a> {
    watch: Watch,
    has_told: &'a mut bool,
}

impl Conductor for Quiet<'_> {
    fn reached(&mut self, milestone: Milestone) {
        self.watch.reached(milestone);
    }

    fn releases(&mut self, milestone: Milestone) -> bool {
        self.watch.releases(milestone)
    }

    fn trouble(&mut self, what: &str) {
        if !std::mem::replace(self.has_told, true) {
            self.watch.trouble(what);
        }
    }

    fn progress(&mut self, progress: &Progress) {
        self.watch.progress(progress);
    }

    fn watches(&self) -> bool {
        self.watch.watches()
    }
}

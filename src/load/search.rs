//! The search for the highest rate that meets an objective: which rate to try next, and when it is
//! found. It is pure: the result of a step is an argument, and the caller runs the steps.
//!
//! ```text
//!   start: a closed loop gives an estimate, and half of it is tried first
//!     ok ──▶ twice the rate, until a step fails ──┐
//!     failed ──▶ a quarter, until a step is ok ───┴──▶ between the two bounds, until they are
//!                                                      within 2 % of each other
//!                                                        │
//!   found ◀── ok ── confirm: a longer step at the lower bound
//!                     ▲       │ failed
//!                     └───────┘ 2 % less
//! ```
//!
//! A step that fails is repeated once, and only the second failure counts, because a pause of a
//! shared machine is not the server's fault. Two steps in a row that show nothing about their rate
//! (the server does not answer, no port is left) end the search without a result.

use serde::Serialize;

/// The search between the bounds ends when the upper one is at most this multiple of the lower one,
/// or is the next whole number.
const NEAR: f64 = 1.02;
/// The factors for a rate that was not confirmed, the first time and each time after it.
const LESS: [f64; 5] = [0.98, 0.98, 0.96, 0.92, 0.84];
/// A rate below this share of the estimate is not tried.
const LEAST: f64 = 1.0 / 1024.0;
/// The highest rate that is tried.
const RATE_MAX: u32 = 10_000_000;

/// The rule, as it appears in the JSON.
pub const RULE: &str = "A closed loop gives an estimate, and half of it is the first rate. The \
    rate is doubled until a step fails, or divided by 4 until a step is ok; after that, the next \
    rate is the geometric mean of the two bounds, until they are within 2 %. A step fails if it \
    misses the objective, achieves less than 99 % of its rate, or has an error that the objective \
    does not allow. A failed step is repeated once, and only the second failure counts. A step of \
    three times the length confirms the rate; if it fails, the rate is lowered by 2 %, then by 2, \
    4, 8 and 16 %. Two steps in a row without a reply end the search without a result.";

/// The step that confirms the rate is longer by this factor.
pub const CONFIRM_TIMES: u64 = 3;

/// The share of its rate that a step must achieve.
pub(super) const ACHIEVED: f64 = 0.99;

/// The highest number of steps: the closed loop; each doubling up to the highest rate; the failure
/// above, or five quarters, with their repetitions; the bisection of a factor of 4; the
/// confirmations.
pub const STEPS_MAX: usize = 1 + 24 + 2 * (5 + 8) + 2 * (LESS.len() + 1);

/// The purpose of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// The closed loop, for an estimate.
    Estimate,
    /// A measurement at one rate.
    Search,
    /// A longer measurement at the rate that is to be reported.
    Confirm,
}

/// A step to be run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trial {
    /// Its purpose.
    pub purpose: Purpose,
    /// Its rate, in requests a second; `None` is the closed loop.
    pub rate: Option<u32>,
}

/// The result of a step at a rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finding {
    /// The rate met the objective.
    Ok,
    /// It did not.
    Failed,
    /// Nothing is known about the rate: the server answered nothing, or no port was left. It counts
    /// as a failure, and a second one in a row ends the search.
    Stuck,
}

/// A search in progress. Run what [`next`](Self::next) returns and report it with
/// [`estimated`](Self::estimated) or [`ended`](Self::ended), until it returns `None`.
#[derive(Clone, PartialEq, Debug)]
pub struct Search {
    stage: SearchPhase,
    estimate: f64,
    /// The highest rate that was ok.
    low: Option<u32>,
    /// The lowest rate that failed twice.
    high: Option<u32>,
    /// Whether the current step is the second one of its rate.
    is_repetition: bool,
    /// Whether the previous step was [`Finding::Stuck`].
    is_stuck: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SearchPhase {
    Estimating,
    Searching(u32),
    /// The rate, and how many rates were tried before it.
    Confirming(u32, usize),
    Over(Option<u32>),
}

impl Default for Search {
    fn default() -> Search {
        Search {
            stage: SearchPhase::Estimating,
            estimate: 0.0,
            low: None,
            high: None,
            is_repetition: false,
            is_stuck: false,
        }
    }
}

impl Search {
    /// The step to run; `None` at the end.
    pub fn next(&self) -> Option<Trial> {
        match self.stage {
            SearchPhase::Estimating => Some(Trial { purpose: Purpose::Estimate, rate: None }),
            SearchPhase::Searching(rate) => {
                Some(Trial { purpose: Purpose::Search, rate: Some(rate) })
            }
            SearchPhase::Confirming(rate, _) => {
                Some(Trial { purpose: Purpose::Confirm, rate: Some(rate) })
            }
            SearchPhase::Over(_) => None,
        }
    }

    /// The rate that was confirmed; `None` before the end, and if none was.
    pub fn found(&self) -> Option<u32> {
        match self.stage {
            SearchPhase::Over(found) => found,
            _ => None,
        }
    }

    /// Reports the replies per second of the closed loop.
    pub fn estimated(&mut self, per_second: f64) {
        self.estimate = per_second;
        let half = (per_second / 2.0).round().min(RATE_MAX.into());
        self.stage = match per_second > 0.0 {
            true => SearchPhase::Searching((half as u32).max(1)),
            false => SearchPhase::Over(None),
        };
    }

    /// The highest rate that was ok in one step; it is the result only if it is
    /// [confirmed](Self::found).
    pub fn highest_ok(&self) -> Option<u32> {
        self.low
    }

    /// Reports the result of the step that [`next`](Self::next) returned.
    pub fn ended(&mut self, finding: Finding) {
        let (is_ok, was_stuck) = (finding == Finding::Ok, self.is_stuck);
        self.is_stuck = finding == Finding::Stuck;
        if self.is_stuck && was_stuck {
            self.stage = SearchPhase::Over(None);
            return;
        }
        if !is_ok && !self.is_repetition {
            self.is_repetition = true;
            return;
        }
        self.is_repetition = false;
        self.stage = match self.stage {
            SearchPhase::Searching(rate) => {
                *(if is_ok { &mut self.low } else { &mut self.high }) = Some(rate);
                self.narrowed()
            }
            SearchPhase::Confirming(rate, _) if is_ok => SearchPhase::Over(Some(rate)),
            SearchPhase::Confirming(rate, tried) => {
                let less = LESS.get(tried).map(|left| (f64::from(rate) * left).floor() as u32);
                match less {
                    Some(less @ 1..) => SearchPhase::Confirming(less, tried + 1),
                    _ => SearchPhase::Over(None),
                }
            }
            stage => stage,
        };
    }

    /// The next stage after a bound has moved.
    fn narrowed(&self) -> SearchPhase {
        match (self.low, self.high) {
            (Some(RATE_MAX), _) => SearchPhase::Confirming(RATE_MAX, 0),
            (Some(low), None) => SearchPhase::Searching(low.saturating_mul(2).min(RATE_MAX)),
            (None, Some(high)) => match high / 4 {
                rate if rate > 0 && f64::from(rate) >= self.estimate * LEAST => {
                    SearchPhase::Searching(rate)
                }
                _ => SearchPhase::Over(None),
            },
            (Some(low), Some(high)) => {
                let is_near = high - low <= 1 || f64::from(high) <= f64::from(low) * NEAR;
                let middle = (f64::from(low) * f64::from(high)).sqrt().round() as u32;
                match is_near {
                    true => SearchPhase::Confirming(low, 0),
                    false => SearchPhase::Searching(middle.clamp(low + 1, high - 1)),
                }
            }
            (None, None) => self.stage,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs a search to its end. `is_ok` gets the number of the step and what it is.
    fn search(estimate: f64, mut is_ok: impl FnMut(u32, Trial) -> bool) -> (Search, Vec<Trial>) {
        let (mut search, mut steps) = (Search::default(), Vec::new());
        while let Some(trial) = search.next() {
            assert!(steps.len() < STEPS_MAX, "{steps:?}");
            steps.push(trial);
            match trial.purpose {
                Purpose::Estimate => search.estimated(estimate),
                _ if is_ok(steps.len() as u32, trial) => search.ended(Finding::Ok),
                _ => search.ended(Finding::Failed),
            }
        }
        (search, steps)
    }

    fn rates(steps: &[Trial]) -> Vec<(Purpose, u32)> {
        steps.iter().skip(1).map(|it| (it.purpose, it.rate.unwrap())).collect()
    }

    #[test]
    fn it_doubles_then_bisects_then_confirms() {
        let (search, steps) = search(2000.0, |_, trial| trial.rate.unwrap() <= 1700);
        use Purpose::{Confirm, Search};
        let expected = [
            (Search, 1000),
            (Search, 2000),
            (Search, 2000),
            (Search, 1414),
            (Search, 1682),
            (Search, 1834),
            (Search, 1834),
            (Search, 1756),
            (Search, 1756),
            (Search, 1719), // 2.2 % above 1,682: one more lies between
            (Search, 1719),
            (Search, 1700),
            (Confirm, 1700),
        ];
        assert_eq!(rates(&steps), expected);
        assert_eq!(search.found(), Some(1700));
    }

    #[test]
    fn it_goes_down_by_quarters_and_gives_up() {
        let (search, steps) = search(1024.0, |_, _| false);
        let rates: Vec<_> = rates(&steps).into_iter().map(|(_, rate)| rate).collect();
        assert_eq!(rates, [512, 512, 128, 128, 32, 32, 8, 8, 2, 2]);
        assert_eq!(search.found(), None);
    }

    #[test]
    fn a_server_that_answers_nothing_ends_the_search() {
        let (search, steps) = search(0.0, |_, _| true);
        assert_eq!((search.found(), steps.len()), (None, 1));
    }

    /// Regression: a server that had died was tried 26 more times.
    #[test]
    fn two_stuck_steps_in_a_row_end_the_search_without_a_rate() {
        use Finding::{Failed, Ok, Stuck};
        let mut search = Search::default();
        search.estimated(2000.0);
        // 1,000 is ok; 2,000 fails after a stuck step; 1,414 is ok after one; 1,682 is stuck twice.
        for finding in [Ok, Stuck, Failed, Stuck, Ok, Stuck] {
            search.ended(finding);
            assert!(search.next().is_some(), "{search:?}");
        }
        search.ended(Stuck);
        assert_eq!((search.next(), search.found(), search.highest_ok()), (None, None, Some(1414)));
    }

    #[test]
    fn the_highest_rate_of_all_is_enough() {
        let (search, _) = search(1e7, |_, _| true);
        assert_eq!(search.found(), Some(RATE_MAX));
    }

    #[test]
    fn a_rate_that_is_not_confirmed_is_lowered_and_never_reported() {
        let is_ok = |_: u32, trial: Trial| {
            trial.rate.unwrap() <= if trial.purpose == Purpose::Confirm { 970 } else { 1000 }
        };
        let (search, steps) = search(1000.0, is_ok);
        let confirmed: Vec<_> =
            rates(&steps).into_iter().filter(|it| it.0 == Purpose::Confirm).collect();
        let confirmed: Vec<_> = confirmed.into_iter().map(|(_, rate)| rate).collect();
        assert_eq!(confirmed, [1000, 1000, 980, 980, 960]);
        assert_eq!(search.found(), Some(960));
    }

    /// Regression: only five steps of 2 % less were tried, so on a machine whose speed changed by a
    /// third during the search the result was none.
    #[test]
    fn a_server_that_has_become_slower_is_found_at_its_new_capacity() {
        let is_ok = |_: u32, trial: Trial| {
            trial.rate.unwrap() <= if trial.purpose == Purpose::Confirm { 750 } else { 1000 }
        };
        assert_eq!(search(1000.0, is_ok).0.found(), Some(711));
    }

    proptest! {
        /// A server of known capacity, whose steps are wrong near to it and fail without a reason
        /// now and then, but not twice in a row.
        #[test]
        fn the_capacity_is_found_within_5_percent(
            capacity in 20f64..2e6,
            guess in 0.3f64..1.3,
            noise in prop::collection::vec((-0.01f64..0.01, 0u8..4), STEPS_MAX + 1),
        ) {
            let mut failed_at = None;
            let (search, steps) = search(capacity * guess, |step, trial| {
                let (shift, dice) = noise[step as usize];
                let is_true = f64::from(trial.rate.unwrap()) <= capacity * (1.0 + shift);
                let is_spurious = dice == 0 && failed_at != Some(step - 1);
                if is_spurious {
                    failed_at = Some(step);
                }
                is_true && !is_spurious
            });
            let found = f64::from(search.found().unwrap());
            let is_near = (found / capacity - 1.0).abs() <= 0.05 || (found - capacity).abs() <= 1.5;
            prop_assert!(is_near, "{found} of {capacity}: {steps:?}");
            prop_assert!(steps.len() <= 40, "{} steps", steps.len());
        }

        /// Whatever the results of the steps, the search ends, and its last step confirmed its
        /// result.
        #[test]
        fn what_is_reported_was_confirmed(
            estimate in 0f64..1e8,
            answers in prop::collection::vec(any::<bool>(), STEPS_MAX + 1),
        ) {
            let (search, steps) = search(estimate, |step, _| answers[step as usize]);
            if let Some(found) = search.found() {
                let expected = Trial { purpose: Purpose::Confirm, rate: Some(found) };
                prop_assert_eq!(steps.last(), Some(&expected));
                prop_assert!(answers[steps.len()]);
            }
        }
    }
}

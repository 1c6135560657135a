//! What is found out about the loop: a trace of what happened, and the first rule that it broke.

use super::Rule;
use super::trace::{Trace, What};

/// A rule that the loop broke.
#[derive(Clone, Debug)]
pub(super) struct Violation {
    pub(super) rule: Rule,
    pub(super) link: Option<u32>,
    pub(super) what: String,
    pub(super) turn: u64,
    pub(super) at_us: u64,
}

/// The trace, and the first violation. What follows a violation is not recorded.
#[derive(Debug)]
pub(super) struct Findings {
    /// The real loop makes the calls, and is held to the rules; else a test makes them.
    judged: bool,
    trace: Trace,
    violation: Option<Violation>,
}

impl Findings {
    /// Keeps the last `trace_max` things that happened.
    pub(super) fn new(trace_max: usize) -> Findings {
        Findings { judged: true, trace: Trace::new(trace_max), violation: None }
    }

    /// A test makes the calls: no rule holds.
    pub(super) fn stop_judging(&mut self) {
        self.judged = false;
    }

    pub(super) fn is_judged(&self) -> bool {
        self.judged
    }

    /// Records what happened to `link`. Times are counted from the world's beginning.
    pub(super) fn note(&mut self, turn: u64, times_us: [u64; 2], link: u32, what: What) {
        if self.violation.is_none() {
            self.trace.add(turn, times_us, link, what);
        }
    }

    /// Something happened that never may. The first such thing counts.
    pub(super) fn violate(&mut self, violation: impl FnOnce() -> Violation) {
        if self.judged && self.violation.is_none() {
            self.violation = Some(violation());
        }
    }

    pub(super) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub(super) fn trace(&self) -> &Trace {
        &self.trace
    }
}

#[cfg(test)]
mod tests {
    use super::super::trace::NO_LINK;
    use super::*;

    fn violation(turn: u64) -> Violation {
        Violation { rule: Rule::Late, link: None, what: String::new(), turn, at_us: 0 }
    }

    #[test]
    fn the_first_violation_counts_and_ends_the_trace() {
        let mut findings = Findings::new(10);
        findings.note(1, [0, 0], NO_LINK, What::Facts);
        findings.violate(|| violation(1));
        findings.violate(|| violation(2));
        findings.note(2, [0, 0], NO_LINK, What::Facts);
        assert_eq!(findings.violation().map(|it| it.turn), Some(1));
        assert_eq!(findings.trace().lines().len(), 1);
    }

    #[test]
    fn where_a_test_makes_the_calls_no_rule_holds() {
        let mut findings = Findings::new(10);
        findings.stop_judging();
        findings.violate(|| violation(1));
        assert!(findings.violation().is_none());
    }
}

//! A failing world made small: the choices of its seed as bytes, of which pieces are left out or
//! set to zero for as long as the same rule is broken.
//!
//! A zero is the quiet choice, and bytes that have run out are zeros. So what remains is the faults
//! and the peers that it takes.

use std::sync::PoisonError;

use super::choices::Choices;
use super::{Failure, TRACE_MAX, run_bytes, run_choices};

/// A world that breaks the same rule as the one it was made of, with fewer choices in it.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// Its choices, for [`run_bytes`].
    pub bytes: Vec<u8>,
    /// How it fails.
    pub failure: Box<Failure>,
    /// Worlds that were run on the way.
    pub runs: u32,
}

/// Worlds that are run to make one smaller: a few seconds.
const RUNS_MAX: u32 = 6_000;

/// Makes the failing world of `seed` as small as can be found out with a few thousand runs; `None`
/// if it does not fail.
pub fn shrink(seed: u64) -> Option<Shrunk> {
    let (choices, taken) = Choices::recorded(seed);
    run_choices(choices, TRACE_MAX).0.err()?;
    let bytes = taken.lock().unwrap_or_else(PoisonError::into_inner).clone();
    search(bytes, |bytes| run_bytes(bytes).err())
}

/// Makes `bytes` smaller for as long as they fail in the same way; `None` if they do not fail.
fn search(bytes: Vec<u8>, mut fails: impl FnMut(&[u8]) -> Option<Box<Failure>>) -> Option<Shrunk> {
    let failure = fails(&bytes)?;
    let mut search = Search { bytes, failure, runs: 1, fails };
    loop {
        let before = search.bytes.clone();
        search.cut_tail();
        search.cut_pieces();
        search.lower_bytes();
        if search.bytes == before || search.runs >= RUNS_MAX {
            let Search { bytes, failure, runs, .. } = search;
            return Some(Shrunk { bytes, failure, runs });
        }
    }
}

/// The smallest failing world so far.
struct Search<F> {
    bytes: Vec<u8>,
    failure: Box<Failure>,
    runs: u32,
    fails: F,
}

impl<F: FnMut(&[u8]) -> Option<Box<Failure>>> Search<F> {
    /// Takes `bytes` if they break the same rule, and are shorter, or as long with more zeros.
    fn try_bytes(&mut self, mut bytes: Vec<u8>) -> bool {
        bytes.truncate(bytes.iter().rposition(|&byte| byte > 0).map_or(0, |last| last + 1));
        if bytes == self.bytes || self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        match (self.fails)(&bytes) {
            Some(failure) if failure.rule == self.failure.rule => {
                (self.bytes, self.failure) = (bytes, failure);
                true
            }
            _ => false,
        }
    }

    /// Leaves out the end, by halves and less.
    fn cut_tail(&mut self) {
        let mut piece = self.bytes.len() / 2;
        while piece > 0 {
            let kept = self.bytes.len().saturating_sub(piece);
            if !self.try_bytes(self.bytes[..kept].to_vec()) {
                piece /= 2;
            }
        }
    }

    /// Leaves out pieces, large ones first, or sets them to zero.
    fn cut_pieces(&mut self) {
        let mut length = self.bytes.len().next_power_of_two() / 2;
        while length > 0 {
            let mut start = 0;
            while start < self.bytes.len() && self.runs < RUNS_MAX {
                let end = (start + length).min(self.bytes.len());
                let mut fewer = self.bytes.clone();
                fewer.drain(start..end);
                if self.try_bytes(fewer) {
                    continue;
                }
                if self.bytes[start..end].iter().any(|&byte| byte > 0) {
                    let mut quieter = self.bytes.clone();
                    quieter[start..end].fill(0);
                    self.try_bytes(quieter);
                }
                start += length;
            }
            length /= 2;
        }
    }

    /// Makes each byte smaller.
    fn lower_bytes(&mut self) {
        let mut place = 0;
        while let Some(&byte) = self.bytes.get(place)
            && self.runs < RUNS_MAX
        {
            for smaller in [1, byte / 4, byte / 2, byte.saturating_sub(1)] {
                let mut lower = self.bytes.clone();
                lower[place] = smaller;
                if smaller > 0 && smaller < byte && self.try_bytes(lower) {
                    break;
                }
            }
            place += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rule;
    use super::*;

    fn failure(rule: Rule) -> Option<Box<Failure>> {
        let (what, trace) = (String::new(), Vec::new());
        Some(Box::new(Failure { seed: None, rule, what, turn: 0, at_us: 0, trace }))
    }

    #[test]
    fn what_is_left_is_what_the_failure_needs() {
        let needs = |bytes: &[u8]| {
            let first = bytes.iter().position(|&byte| byte >= 40)?;
            bytes[first + 1..].iter().find(|&&byte| byte >= 7)?;
            failure(Rule::Bytes)
        };
        let bytes: Vec<u8> = (0..5_000_u32).map(|at| (at * at % 251) as u8).collect();
        let shrunk = search(bytes, needs).expect("it fails");
        assert_eq!((shrunk.bytes, shrunk.failure.rule), (vec![40, 7], Rule::Bytes));
        assert!(shrunk.runs < RUNS_MAX, "{} runs", shrunk.runs);
    }

    #[test]
    fn another_rule_is_another_failure() {
        let rule = |bytes: &[u8]| failure(if bytes.len() > 3 { Rule::Late } else { Rule::Early });
        let shrunk = search(vec![1; 100], rule).expect("it fails");
        assert_eq!((shrunk.bytes.len(), shrunk.failure.rule), (4, Rule::Late));
    }

    #[test]
    fn a_world_that_holds_is_left_alone() {
        assert!(shrink(1).is_none());
        assert!(search(vec![1, 2, 3], |_| None).is_none());
    }
}

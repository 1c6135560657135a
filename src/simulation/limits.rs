//! Queue of the moments by which the loop must act, the earliest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Limits of links, in milliseconds of the loop's clock. An entry may be out of date: the one that
/// counts is kept with its link, as [`Duty::limit_ms`](super::duty::Duty).
#[derive(Debug, Default)]
pub(super) struct Limits(BinaryHeap<Reverse<(u64, u32)>>);

impl Limits {
    /// Adds a limit of `link`.
    pub(super) fn add(&mut self, limit_ms: u64, link: u32) {
        self.0.push(Reverse((limit_ms, link)));
    }

    /// The earliest limit, and the link that has it.
    pub(super) fn earliest(&self) -> Option<(u64, u32)> {
        self.0.peek().map(|&Reverse(limit)| limit)
    }

    /// Removes the earliest limit.
    pub(super) fn remove_earliest(&mut self) {
        self.0.pop();
    }
}

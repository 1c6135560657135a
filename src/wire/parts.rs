//! The parts of a stream that were seen, with the holes between them.

/// Parts beyond the first hole that are kept apart. With one more, the first hole is given up: the
/// capture missed those bytes. A receiver that reassembles has a window of as many segments.
const PARTS_MAX: usize = 64;

/// Which places of a stream were seen. Place 1 is the first byte.
///
/// ```text
/// 1          next          beyond[0]         beyond[1]
/// |===========|    hole    |=======|   hole  |====|
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Parts {
    /// All places before it were seen, or are given up.
    next: u64,
    /// Parts behind it: from, to; in order, with holes between them.
    beyond: Vec<(u64, u64)>,
    /// Bytes in holes that were given up.
    lost: u64,
}

impl Parts {
    pub(super) const fn new() -> Parts {
        Parts { next: 1, beyond: Vec::new(), lost: 0 }
    }

    /// Adds the places from `from` up to `to`, and gives how many of them are new.
    pub(super) fn insert(&mut self, from: u64, to: u64) -> u64 {
        let from = from.max(self.next);
        if to <= from {
            return 0;
        }
        if self.beyond.is_empty() {
            if from == self.next {
                self.next = to;
                return to - from;
            }
        } else if let Some(last) = self.beyond.last_mut().filter(|last| last.1 == from) {
            last.1 = to;
            return to - from;
        }
        self.insert_between(from, to)
    }

    fn insert_between(&mut self, from: u64, to: u64) -> u64 {
        // What it touches becomes one part with it.
        let first = self.beyond.partition_point(|part| part.1 < from);
        let touched = self.beyond[first..].iter().take_while(|part| part.0 <= to).count();
        let (mut whole, mut old) = ((from, to), 0);
        for part in &self.beyond[first..first + touched] {
            old += part.1.min(to).saturating_sub(part.0.max(from));
            whole = (whole.0.min(part.0), whole.1.max(part.1));
        }
        self.beyond.splice(first..first + touched, [whole]);
        if self.beyond.len() > PARTS_MAX {
            self.lost += self.beyond[0].0 - self.next;
            self.next = self.beyond[0].0;
        }
        if self.beyond[0].0 <= self.next {
            self.next = self.beyond.remove(0).1;
        }
        to - from - old
    }

    /// How many places before `end` were not seen.
    pub(super) fn missing(&self, end: u64) -> u64 {
        let mut from = self.next;
        let mut missing = self.lost;
        for part in &self.beyond {
            missing += part.0.min(end).saturating_sub(from);
            from = part.1;
        }
        missing + end.saturating_sub(from)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn holes_are_filled_in_any_order() {
        let mut parts = Parts::new();
        assert_eq!(parts.insert(1, 11), 10);
        assert_eq!(parts.insert(1, 11), 0, "a retransmission");
        assert_eq!(parts.insert(21, 31), 10);
        assert_eq!(parts.insert(41, 51), 10);
        assert_eq!((parts.missing(51), parts.missing(36), parts.missing(60)), (20, 15, 29));
        assert_eq!(parts.insert(5, 46), 20, "it overlaps on both sides");
        assert_eq!(parts, Parts { next: 51, beyond: Vec::new(), lost: 0 });
    }

    #[test]
    fn no_more_than_so_many_parts_are_kept() {
        let mut parts = Parts::new();
        for place in 1..=1000 {
            assert_eq!(parts.insert(place * 10, place * 10 + 5), 5);
        }
        assert!(parts.beyond.len() <= PARTS_MAX);
        assert_eq!(parts.missing(10_005), 9 + 5 * 999);
    }

    proptest! {
        #[test]
        fn what_is_new_is_counted_once(
            pieces in proptest::collection::vec((1_u64..300, 0_u64..40), 1..60),
        ) {
            let mut parts = Parts::new();
            let mut seen = std::collections::BTreeSet::new();
            for (from, length) in pieces {
                let new = (from..from + length).filter(|place| seen.insert(*place)).count();
                prop_assert_eq!(parts.insert(from, from + length), new as u64);
                let missing = (1..400_u64).filter(|place| !seen.contains(place)).count();
                prop_assert_eq!(parts.missing(400), missing as u64);
            }
        }
    }
}

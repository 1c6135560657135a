//! Where every choice of the world comes from: a seed, or bytes that a fuzzer made.
//!
//! A choice of 0 is always the quiet one: no fault, the first of a list, the smallest number. So
//! bytes that have run out give a world in which nothing more goes wrong, and it ends.

use std::sync::{Arc, Mutex, PoisonError};

/// The source of all randomness: everything that happens in a world follows from it.
#[derive(Clone, Debug)]
pub struct Choices(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The state of a splitmix64 generator (Steele, Lea, Flood, *Fast Splittable Pseudorandom
    /// Number Generators*, 2014).
    Seed {
        state: u64,
        taken: Option<Taken>,
    },
    Bytes {
        bytes: Box<[u8]>,
        next: usize,
    },
}

/// The bytes that spell what was chosen. Shared with the caller, because a world that panics takes
/// its choices with it.
type Taken = Arc<Mutex<Vec<u8>>>;

/// Bytes that spell a choice below `end`.
const fn length(end: u64) -> usize {
    (64 - (end - 1).leading_zeros()).div_ceil(8) as usize
}

/// One step of splitmix64's output function: spreads `word` over all 64 bits.
pub(super) const fn spread(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl Choices {
    /// Endless choices; the same seed gives the same ones.
    pub const fn seeded(seed: u64) -> Choices {
        Choices(Source::Seed { state: seed, taken: None })
    }

    /// The choices of `seed`, and the bytes that spell those which have been made: the same world
    /// again for [`from_bytes`](Choices::from_bytes).
    pub(super) fn recorded(seed: u64) -> (Choices, Taken) {
        let taken = Taken::default();
        (Choices(Source::Seed { state: seed, taken: Some(taken.clone()) }), taken)
    }

    /// The choices that `bytes` spell, and zeros after their end.
    pub fn from_bytes(bytes: &[u8]) -> Choices {
        Choices(Source::Bytes { bytes: bytes.into(), next: 0 })
    }

    /// A number below `end`; 0 where there is no other. It takes no more bytes than it needs.
    pub fn below(&mut self, end: u64) -> u64 {
        if end <= 1 {
            return 0;
        }
        match &mut self.0 {
            Source::Seed { state, taken } => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let choice = ((u128::from(spread(*state)) * u128::from(end)) >> 64) as u64;
                if let Some(taken) = taken {
                    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                    taken.extend_from_slice(&choice.to_be_bytes()[8 - length(end)..]);
                }
                choice
            }
            Source::Bytes { bytes, next } => {
                let length = length(end);
                let word = (0..length).fold(0, |word, index| {
                    word << 8 | u64::from(bytes.get(*next + index).copied().unwrap_or(0))
                });
                *next += length;
                word % end
            }
        }
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// A number from `low` to `high` (at least 1) in which small ones are as likely as large ones:
    /// each power of two has the same chance.
    pub fn magnitude(&mut self, low: u64, high: u64) -> u64 {
        let bits = |number: u64| u64::from(64 - number.leading_zeros());
        let length = self.between(bits(low), bits(high));
        let top = if length >= 64 { u64::MAX } else { (1 << length) - 1 };
        self.between(low.max(top.div_ceil(2)), high.min(top))
    }

    /// True once in `times`; never for 0.
    pub fn one_in(&mut self, times: u32) -> bool {
        times == 1 || (times > 1 && self.below(u64::from(times)) == u64::from(times) - 1)
    }

    /// One of `list`, which is not empty.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_choices_and_stays_in_range() {
        let (mut one, mut two) = (Choices::seeded(7), Choices::seeded(7));
        for _ in 0..1_000 {
            let (low, high) = (one.below(50) + 1, one.below(5_000) + 60);
            assert_eq!((low, high), (two.below(50) + 1, two.below(5_000) + 60));
            assert!((low..=high).contains(&one.between(low, high)));
            assert!((low..=high).contains(&two.magnitude(low, high)));
            (one, two) = (two.clone(), two);
        }
    }

    #[test]
    fn a_seed_that_is_recorded_can_be_spelled() {
        let ends = [1, 2, 7, 256, 257, 65_536, 65_537, 1 << 40, u64::MAX];
        let (mut seeded, taken) = Choices::recorded(3);
        let chosen = ends.map(|end| seeded.below(end));
        let mut spelled = Choices::from_bytes(&taken.lock().unwrap());
        assert_eq!(ends.map(|end| spelled.below(end)), chosen);
        let mut plain = Choices::seeded(3);
        assert_eq!(ends.map(|end| plain.below(end)), chosen);
    }

    #[test]
    fn bytes_that_have_run_out_choose_quietly() {
        let mut choices = Choices::from_bytes(&[9, 1, 0]);
        assert_eq!((choices.below(100), choices.below(1_000)), (9, 256));
        assert!(!choices.one_in(2) && choices.one_in(1) && !choices.one_in(0));
        assert_eq!((choices.pick(&[4, 5]), choices.magnitude(3, 900)), (4, 3));
    }
}

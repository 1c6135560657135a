//! Promise: the timer wheel is a map from key to deadline, only faster. Both run the same
//! operations and must agree after each.

use std::collections::{BTreeMap, BTreeSet};

use closecall::machine::tick::Tick;
use closecall::machine::wheel::TimerWheel;
use proptest::prelude::*;

/// The wheel as anybody would write it without thinking of time: a tick for each key.
struct Model {
    tick_ms: u64,
    due: BTreeMap<u32, u64>,
    /// The tick up to which everything due was taken.
    taken: u64,
    /// Keys that were armed more than a round ahead: the wheel may ask to look at them on the way.
    far: BTreeSet<u32>,
}

impl Model {
    fn new(tick_ms: u64, now: Tick) -> Model {
        let taken = now.as_ms() / tick_ms;
        Model { tick_ms, due: BTreeMap::new(), taken, far: BTreeSet::new() }
    }

    /// Rounded up, and one tick more.
    fn arm(&mut self, key: u32, deadline: Tick) {
        let due = deadline.as_ms().div_ceil(self.tick_ms) + 1;
        self.due.insert(key, due);
        self.far.remove(&key);
        if due >= self.taken + 4_096 {
            self.far.insert(key);
        }
    }

    fn take_due(&mut self, now: Tick) -> Vec<u32> {
        let now = now.as_ms() / self.tick_ms;
        let (due, later) = std::mem::take(&mut self.due).into_iter().partition(|row| row.1 <= now);
        self.due = later;
        let due: BTreeMap<u32, u64> = due;
        due.into_keys().collect()
    }

    /// The moment at which the next one is due.
    fn next_due(&self) -> Option<Tick> {
        self.due.values().min().map(|tick| Tick::from_ms(tick * self.tick_ms))
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Arm {
        key: u32,
        in_ms: u64,
    },
    /// Thousands on one tick.
    ArmMany {
        first: u32,
        count: u32,
        in_ms: u64,
    },
    ArmPast {
        key: u32,
        ago_ms: u64,
    },
    Disarm {
        key: u32,
    },
    /// Time passes, and everything that is due is taken; `rearm` is armed anew while taking it.
    Pass {
        ms: u64,
        rearm: Option<u64>,
    },
    /// Time passes, and only so many may be looked at.
    PassWithBudget {
        ms: u64,
        budget: u32,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    // Within a round, just around one round of 4,096 ticks, and far beyond.
    let in_ms = || prop_oneof![0..200_u64, 3_900..4_300_u64, 30_000..45_000_u64, 0..1_u64 << 40];
    let passes = || prop_oneof![0..50_u64, 0..5_000_u64, 30_000..90_000_u64];
    prop_oneof![
        6 => (0..64_u32, in_ms()).prop_map(|(key, in_ms)| Operation::Arm { key, in_ms }),
        1 => (0..100_u32, 1..3_000_u32, in_ms())
            .prop_map(|(first, count, in_ms)| Operation::ArmMany { first, count, in_ms }),
        1 => (0..64_u32, 0..100_000_u64)
            .prop_map(|(key, ago_ms)| Operation::ArmPast { key, ago_ms }),
        3 => (0..3_100_u32).prop_map(|key| Operation::Disarm { key }),
        4 => (passes(), prop::option::of(in_ms()))
            .prop_map(|(ms, rearm)| Operation::Pass { ms, rearm }),
        2 => (passes(), 1..40_u32)
            .prop_map(|(ms, budget)| Operation::PassWithBudget { ms, budget }),
    ]
}

struct Pair {
    wheel: TimerWheel,
    model: Model,
    now: Tick,
}

impl Pair {
    fn run(&mut self, operation: &Operation) {
        match *operation {
            Operation::Arm { key, in_ms } => self.arm(key, self.now.after(in_ms)),
            Operation::ArmMany { first, count, in_ms } => {
                (first..first + count).for_each(|key| self.arm(key, self.now.after(in_ms)));
            }
            Operation::ArmPast { key, ago_ms } => {
                self.arm(key, Tick::from_ms(self.now.as_ms().saturating_sub(ago_ms)));
            }
            Operation::Disarm { key } => {
                self.wheel.disarm(key);
                self.model.due.remove(&key);
            }
            Operation::Pass { ms, rearm } => self.pass(ms, rearm),
            Operation::PassWithBudget { ms, budget } => self.pass_with_budget(ms, budget),
        }
        assert_eq!(self.wheel.len(), self.model.due.len());
        assert!(self.model.due.keys().all(|&key| self.wheel.is_armed(key)));
        self.check_next_due();
    }

    fn arm(&mut self, key: u32, deadline: Tick) {
        self.wheel.arm(key, deadline);
        self.model.arm(key, deadline);
    }

    fn pass(&mut self, ms: u64, rearm: Option<u64>) {
        self.now = self.now.after(ms);
        let expected = self.model.take_due(self.now);
        let mut budget = u32::MAX;
        let mut taken = Vec::new();
        while let Some(key) = self.wheel.pop_due(self.now, &mut budget) {
            taken.push(key);
            if let Some(in_ms) = rearm {
                self.arm(key, self.now.after(in_ms));
            }
        }
        taken.sort_unstable();
        assert_eq!(taken, expected);
        self.model.taken = self.now.as_ms() / self.model.tick_ms;
    }

    fn pass_with_budget(&mut self, ms: u64, budget: u32) {
        self.now = self.now.after(ms);
        let mut left = budget;
        let now = self.now.as_ms() / self.model.tick_ms;
        while let Some(key) = self.wheel.pop_due(self.now, &mut left) {
            let due = self.model.due.remove(&key).expect("it was armed");
            assert!(due <= now, "early");
        }
        let overdue = self.model.due.values().any(|&due| due <= now);
        assert!(!overdue || left == 0, "it stopped with budget left and keys due");
    }

    /// Exact, unless something was armed more than a round ahead.
    fn check_next_due(&self) {
        let far = self.model.far.iter().any(|key| self.model.due.contains_key(key));
        match (self.wheel.next_due(), self.model.next_due()) {
            (None, None) => {}
            (Some(wheel), Some(model)) if model <= self.now => assert!(wheel <= self.now),
            (Some(wheel), Some(model)) if far => assert!(wheel <= model, "it sleeps too long"),
            (wheel, model) => assert_eq!(wheel, model),
        }
    }
}

proptest! {
    // 500 runs of at least 200 operations: 100,000 and more.
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_wheel_agrees_with_a_map(
        tick_ms in 1..=10_u64,
        start_ms in prop_oneof![Just(0), Just((1 << 32) - 5), Just((1 << 36) + 3), 0..1_u64 << 41],
        operations in prop::collection::vec(operation(), 200..300),
    ) {
        let now = Tick::from_ms(start_ms);
        let wheel = TimerWheel::new(tick_ms, 0, now);
        let mut pair = Pair { wheel, model: Model::new(tick_ms, now), now };
        operations.iter().for_each(|operation| pair.run(operation));
    }
}

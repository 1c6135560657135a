//! The timer wheel beside a map from key to deadline: both run the same operations and must agree
//! after each. Tests choose operations of their own, fuzzers theirs.

use std::collections::{BTreeMap, BTreeSet};

use closecall::machine::tick::Tick;
use closecall::machine::wheel::TimerWheel;

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

    /// Rounded up, and one tick more, where there is one.
    fn arm(&mut self, key: u32, deadline: Tick) {
        self.due.remove(&key);
        self.far.remove(&key);
        if deadline == Tick::NEVER {
            return;
        }
        let due = (deadline.as_ms().div_ceil(self.tick_ms) + 1).min(u64::MAX - 1);
        self.due.insert(key, due);
        if due >= self.taken.saturating_add(4_096) {
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
        self.due.values().min().map(|tick| Tick::from_ms(tick.saturating_mul(self.tick_ms)))
    }
}

/// What both are made to do.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
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
    /// Time passes, and the wheel is told of it before anything is taken.
    #[allow(dead_code)] // the fuzzer's operations keep their numbers
    Skip {
        ms: u64,
    },
    /// Time passes, and only so many may be looked at.
    PassWithBudget {
        ms: u64,
        budget: u32,
    },
}

/// Both, and the time by which they live.
pub(crate) struct Pair {
    wheel: TimerWheel,
    model: Model,
    now: Tick,
}

impl Pair {
    /// Both of them empty at `now`.
    pub(crate) fn new(tick_ms: u64, now: Tick) -> Pair {
        let wheel = TimerWheel::new(tick_ms, 0, now);
        Pair { wheel, model: Model::new(tick_ms, now), now }
    }

    /// Runs one operation on both; they must agree on what it gives and on what is left.
    pub(crate) fn run(&mut self, operation: &Operation) {
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
            Operation::Skip { ms } => {
                self.now = self.now.after(ms);
                self.wheel.skip_to(self.now);
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

//! The timer wheel beside a map from key to deadline: both run the same operations and must agree
//! after each. Tests choose operations of their own, fuzzers theirs.

use closecall::machine::time::Moment;
use closecall::machine::wheel::TimerWheel;

/// The simplest wheel, without regard for speed: a tick for each key, and a look at all of them.
/// Keys are small, so a list is enough; a tree costs ten times as much as the wheel.
struct Model {
    tick_ms: u64,
    /// The tick of each key; `UNARMED` if it has none.
    due: Vec<u64>,
    armed: usize,
    /// The tick up to which everything due was taken.
    taken: u64,
    /// Whether each key was armed more than a round ahead: the wheel may look at it on the way.
    is_far: Vec<bool>,
    /// How many of those are armed still.
    far: usize,
}

const UNARMED: u64 = u64::MAX;

impl Model {
    fn new(tick_ms: u64, now: Moment) -> Model {
        let taken = now.as_ms() / tick_ms;
        Model { tick_ms, due: Vec::new(), armed: 0, taken, is_far: Vec::new(), far: 0 }
    }

    /// Rounded up, and one tick more, where there is one.
    fn arm(&mut self, key: u32, deadline: Moment) {
        self.disarm(key);
        if deadline == Moment::NEVER {
            return;
        }
        if self.due.len() <= key as usize {
            self.due.resize(key as usize + 1, UNARMED);
            self.is_far.resize(key as usize + 1, false);
        }
        let due = (deadline.as_ms().div_ceil(self.tick_ms) + 1).min(UNARMED - 1);
        self.due[key as usize] = due;
        self.armed += 1;
        self.is_far[key as usize] = due >= self.taken.saturating_add(4_096);
        self.far += usize::from(self.is_far[key as usize]);
    }

    /// The tick at which it was due, if it was armed.
    fn disarm(&mut self, key: u32) -> Option<u64> {
        let due = self.due.get_mut(key as usize).filter(|due| **due != UNARMED)?;
        let was = std::mem::replace(due, UNARMED);
        self.armed -= 1;
        self.far -= usize::from(self.is_far[key as usize]);
        Some(was)
    }

    /// Those that are armed for a tick up to this one, in the order of their keys.
    fn due_at(&self, tick: u64) -> impl Iterator<Item = u32> {
        let keys = self.due.iter().enumerate();
        keys.filter(move |row| *row.1 <= tick && *row.1 != UNARMED).map(|row| row.0 as u32)
    }

    fn take_due(&mut self, now: Moment) -> Vec<u32> {
        let keys: Vec<u32> = self.due_at(now.as_ms() / self.tick_ms).collect();
        keys.iter().for_each(|&key| _ = self.disarm(key));
        keys
    }

    /// The moment at which the next one is due.
    fn next_due(&self) -> Option<Moment> {
        let tick = *self.due.iter().min().filter(|tick| **tick != UNARMED)?;
        Some(Moment::from_ms(tick.saturating_mul(self.tick_ms)))
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
    now: Moment,
    operations: u32,
}

/// Each operation compares how many are armed, and each of so many which.
const WHICH_EVERY: u32 = 16;

impl Pair {
    /// Both of them empty at `now`.
    pub(crate) fn new(tick_ms: u64, now: Moment) -> Pair {
        let wheel = TimerWheel::new(tick_ms, 0, now);
        Pair { wheel, model: Model::new(tick_ms, now), now, operations: 0 }
    }

    /// Runs one operation on both; they must agree on what it gives and on what is left.
    pub(crate) fn run(&mut self, operation: &Operation) {
        match *operation {
            Operation::Arm { key, in_ms } => self.arm(key, self.now.after(in_ms)),
            Operation::ArmMany { first, count, in_ms } => {
                (first..first + count).for_each(|key| self.arm(key, self.now.after(in_ms)));
            }
            Operation::ArmPast { key, ago_ms } => {
                self.arm(key, Moment::from_ms(self.now.as_ms().saturating_sub(ago_ms)));
            }
            Operation::Disarm { key } => {
                self.wheel.disarm(key);
                self.model.disarm(key);
                assert!(!self.wheel.is_armed(key));
            }
            Operation::Skip { ms } => {
                self.now = self.now.after(ms);
                self.wheel.skip_to(self.now);
            }
            Operation::Pass { ms, rearm } => self.pass(ms, rearm),
            Operation::PassWithBudget { ms, budget } => self.pass_with_budget(ms, budget),
        }
        assert_eq!(self.wheel.len(), self.model.armed);
        self.operations += 1;
        if self.operations.is_multiple_of(WHICH_EVERY) {
            self.check_keys();
        }
        self.check_next_due();
    }

    /// The same keys are armed in both, if they are as many.
    pub(crate) fn check_keys(&self) {
        let armed = self.model.due_at(UNARMED - 1);
        assert_eq!(armed.filter(|&key| self.wheel.is_armed(key)).count(), self.model.armed);
    }

    fn arm(&mut self, key: u32, deadline: Moment) {
        self.wheel.arm(key, deadline);
        self.model.arm(key, deadline);
        assert_eq!(self.wheel.is_armed(key), deadline != Moment::NEVER);
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
            let due = self.model.disarm(key).expect("it was armed");
            assert!(due <= now, "early");
        }
        let overdue = self.model.due_at(now).next().is_some();
        assert!(!overdue || left == 0, "it stopped with budget left and keys due");
    }

    /// Exact, unless something was armed more than a round ahead.
    fn check_next_due(&self) {
        let far = self.model.far > 0;
        match (self.wheel.next_due(), self.model.next_due()) {
            (None, None) => {}
            (Some(wheel), Some(model)) if model <= self.now => assert!(wheel <= self.now),
            (Some(wheel), Some(model)) if far => assert!(wheel <= model, "it sleeps too long"),
            (wheel, model) => assert_eq!(wheel, model),
        }
    }
}

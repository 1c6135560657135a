//! The timer wheel beside the two obvious alternatives, on the same operations: a `BTreeSet` of
//! deadlines, and a `BinaryHeap` from which a deadline that has moved is dropped when it comes up.
//! Read across the sizes: the wheel's line should stay flat until its entries, 16 bytes each, no
//! longer fit the caches; the others grow with the logarithm in addition.
//!
//! * `day`: a random connection is active and gets a later deadline, about four times in the time
//!   that a deadline lasts; a connection that was silent that long, one in fifty-five, is taken out
//!   and armed anew.
//! * `arm`: the same, but the active connection closes, and a new one gets its place.
//! * `expire`: no connection is active: the next one is taken out and armed anew.

mod common;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use closecall::machine::time::Moment;
use closecall::machine::wheel::TimerWheel;
use closecall::simulation::Choices;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

use common::SIZES;
use common::cpu::{Cpu, criterion};

const DEADLINE_MS: u64 = 10_000;
/// How long a connection is silent, on average.
const SILENCE_MS: u64 = 2_500;

/// What is compared: deadlines by key, in milliseconds.
trait Timers {
    const NAME: &'static str;
    fn new(keys: u32) -> Self;
    /// Arms `key`, or moves it.
    fn arm(&mut self, key: u32, deadline_ms: u64);
    fn disarm(&mut self, key: u32);
    fn pop_due(&mut self, now_ms: u64) -> Option<u32>;
    /// When to look again.
    fn next_due(&mut self) -> Option<u64>;
}

struct Wheel(TimerWheel);

impl Timers for Wheel {
    const NAME: &'static str = "wheel";

    fn new(keys: u32) -> Wheel {
        Wheel(TimerWheel::new(8, keys as usize, Moment::from_ms(0)))
    }

    fn arm(&mut self, key: u32, deadline_ms: u64) {
        self.0.arm(key, Moment::from_ms(deadline_ms));
    }

    fn disarm(&mut self, key: u32) {
        self.0.disarm(key);
    }

    fn pop_due(&mut self, now_ms: u64) -> Option<u32> {
        self.0.pop_due(Moment::from_ms(now_ms), &mut u32::MAX.clone())
    }

    fn next_due(&mut self) -> Option<u64> {
        self.0.next_due().map(Moment::as_ms)
    }
}

/// Not armed.
const NEVER: u64 = u64::MAX;

struct Tree {
    deadlines: Vec<u64>,
    tree: BTreeSet<(u64, u32)>,
}

impl Timers for Tree {
    const NAME: &'static str = "BTreeSet";

    fn new(keys: u32) -> Tree {
        Tree { deadlines: vec![NEVER; keys as usize], tree: BTreeSet::new() }
    }

    fn arm(&mut self, key: u32, deadline_ms: u64) {
        self.disarm(key);
        self.deadlines[key as usize] = deadline_ms;
        self.tree.insert((deadline_ms, key));
    }

    fn disarm(&mut self, key: u32) {
        let deadline_ms = std::mem::replace(&mut self.deadlines[key as usize], NEVER);
        self.tree.remove(&(deadline_ms, key));
    }

    fn pop_due(&mut self, now_ms: u64) -> Option<u32> {
        let &(deadline_ms, key) = self.tree.first().filter(|first| first.0 <= now_ms)?;
        self.tree.remove(&(deadline_ms, key));
        self.deadlines[key as usize] = NEVER;
        Some(key)
    }

    fn next_due(&mut self) -> Option<u64> {
        self.tree.first().map(|first| first.0)
    }
}

struct Heap {
    deadlines: Vec<u64>,
    heap: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Heap {
    /// Drops what has moved since from the top.
    fn tidy(&mut self) -> Option<(u64, u32)> {
        loop {
            let &Reverse((deadline_ms, key)) = self.heap.peek()?;
            if self.deadlines[key as usize] == deadline_ms {
                return Some((deadline_ms, key));
            }
            self.heap.pop();
        }
    }
}

impl Timers for Heap {
    const NAME: &'static str = "BinaryHeap";

    fn new(keys: u32) -> Heap {
        Heap { deadlines: vec![NEVER; keys as usize], heap: BinaryHeap::new() }
    }

    fn arm(&mut self, key: u32, deadline_ms: u64) {
        self.deadlines[key as usize] = deadline_ms;
        self.heap.push(Reverse((deadline_ms, key)));
    }

    fn disarm(&mut self, key: u32) {
        self.deadlines[key as usize] = NEVER;
    }

    fn pop_due(&mut self, now_ms: u64) -> Option<u32> {
        let (_, key) = self.tidy().filter(|top| top.0 <= now_ms)?;
        self.heap.pop();
        self.deadlines[key as usize] = NEVER;
        Some(key)
    }

    fn next_due(&mut self) -> Option<u64> {
        self.tidy().map(|top| top.0)
    }
}

/// A day in the life of this many connections. The operations follow from the seed alone.
struct Day<T> {
    timers: T,
    keys: u32,
    choices: Choices,
    now_us: u64,
}

impl<T: Timers> Day<T> {
    /// All are armed, and the time of two deadlines has passed: a heap keeps moved entries for that
    /// long.
    fn new(keys: u32) -> Day<T> {
        let mut day = Day { timers: T::new(keys), keys, choices: Choices::seeded(7), now_us: 0 };
        (0..keys).for_each(|key| day.timers.arm(key, day.choices.below(DEADLINE_MS)));
        while day.now_us < 2 * DEADLINE_MS * 1_000 {
            day.activity();
        }
        day
    }

    fn deadline(&self) -> u64 {
        self.now_us / 1_000 + DEADLINE_MS
    }

    fn random_key(&mut self) -> u32 {
        self.choices.below(u64::from(self.keys)) as u32
    }

    /// A random connection is active.
    fn activity(&mut self) {
        let key = self.random_key();
        self.timers.arm(key, self.deadline());
        self.pass();
    }

    fn leave_and_come(&mut self) {
        let key = self.random_key();
        self.timers.disarm(key);
        self.timers.arm(key, self.deadline());
        self.pass();
    }

    /// A little time passes. A loop looks once a turn: here, once a millisecond.
    fn pass(&mut self) {
        let before_ms = self.now_us / 1_000;
        self.now_us += (SILENCE_MS * 1_000 / u64::from(self.keys)).max(1);
        if self.now_us / 1_000 > before_ms {
            while let Some(key) = self.timers.pop_due(self.now_us / 1_000) {
                self.timers.arm(key, self.deadline());
            }
        }
    }

    /// All are silent once, so that a heap has nothing left of what was before.
    fn silence(&mut self) {
        (0..self.keys).for_each(|_| self.expire());
    }

    fn expire(&mut self) {
        let key = loop {
            match self.timers.pop_due(self.now_us / 1_000) {
                Some(key) => break key,
                None => self.now_us = self.timers.next_due().expect("all are armed") * 1_000,
            }
        };
        self.timers.arm(key, self.deadline());
    }
}

fn structure<T: Timers>(criterion: &mut Criterion<Cpu>, keys: u32) {
    let mut group = criterion.benchmark_group("wheel");
    let id = |operation: &str| BenchmarkId::new(format!("{operation}/{}", T::NAME), keys);
    let mut day = None; // made when the first of these is asked for
    group.bench_function(id("day"), |bencher| {
        let day = day.get_or_insert_with(|| Day::<T>::new(keys));
        bencher.iter(|| day.activity());
    });
    group.bench_function(id("arm"), |bencher| {
        let day = day.get_or_insert_with(|| Day::<T>::new(keys));
        bencher.iter(|| day.leave_and_come());
    });
    let mut silent = None;
    group.bench_function(id("expire"), |bencher| {
        let day = silent.get_or_insert_with(|| {
            let mut day = day.take().unwrap_or_else(|| Day::<T>::new(keys));
            day.silence();
            day
        });
        bencher.iter(|| day.expire());
    });
}

fn bench(criterion: &mut Criterion<Cpu>) {
    for keys in SIZES {
        structure::<Wheel>(criterion, keys);
        structure::<Tree>(criterion, keys);
        structure::<Heap>(criterion, keys);
    }
}

criterion_group! {
    name = benches;
    config = criterion(20, 800);
    targets = bench
}
criterion_main!(benches);

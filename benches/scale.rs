//! The scale table: what a connection costs when there are a thousand, and when there are a
//! million. The loop is the real one, the kernel a calm one that costs next to nothing, so this is
//! the loop's own part; read each column downwards, and against the walk at its end.
//!
//! ```sh
//! cargo bench --bench scale                   # nine rounds, half a minute
//! cargo bench --bench scale -- --rounds 3 --connections 1000,10000000
//! cargo bench --bench scale -- --test         # two sizes, one round: does it work?
//! ```
//!
//! The walk is the floor that the machine sets: one load after the other, each from the place that
//! the last one named, over as many bytes as the loop has for its connections. All sizes are
//! measured in each round, one after the other, by the CPU time of this thread; the table shows the
//! medians, and the goals compare these.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a table is what it is for

mod common;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

use closecall::simulation::{Choices, Speakers};

use common::SIZES;
use common::cpu::Cpu;
use common::held::Held;

/// The number of active connections at each size.
const ACTIVE: u32 = 1_000;
/// Events, loads or connections in one measurement, at least.
const WORK: u32 = 1_000_000;
/// Bytes that the loop has for a connection: its entry in the table and its place in the wheel.
/// Tests in src/reactor/table.rs and src/machine/wheel.rs hold them to it.
const CONNECTION_BYTES: usize = 104 + 16;

const GOAL_EVENT: f64 = 2.0;
const GOAL_BYTES: f64 = 128.0;

fn main() -> ExitCode {
    let (sizes, rounds) = match arguments(env::args().skip(1)) {
        Ok(Some(chosen)) => chosen,
        Ok(None) => return ExitCode::SUCCESS,
        Err(refusal) => {
            eprintln!("{refusal}");
            return ExitCode::from(2);
        }
    };
    let cpu = Cpu::new();
    let mut sizes: Vec<Size> = sizes.iter().map(|&size| Size::new(size)).collect();
    for round in 0..rounds {
        // Forwards and backwards in turn, so that none is always measured after the largest.
        if round % 2 == 0 {
            sizes.iter_mut().for_each(|size| size.measure(&cpu));
        } else {
            sizes.iter_mut().rev().for_each(|size| size.measure(&cpu));
        }
    }
    print(&sizes, &cpu, rounds);
    ExitCode::SUCCESS
}

/// The largest size that fits the keys of the calm kernel with some room.
const CONNECTIONS_MAX: u32 = 100_000_000;

/// Which sizes and how many rounds; `None` where others are meant. Cargo says `--bench`, and
/// `--test` is criterion's test mode.
fn arguments(mut words: impl Iterator<Item = String>) -> Result<Option<(Vec<u32>, u32)>, String> {
    let (mut sizes, mut rounds) = (SIZES.to_vec(), 9);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--bench" => {}
            "--test" => (sizes, rounds) = (SIZES[..2].to_vec(), 1),
            "--rounds" => rounds = number(&word, &words.next().unwrap_or_default(), 1_000)?,
            "--connections" => {
                let list = words.next().unwrap_or_default();
                sizes = list
                    .split(',')
                    .map(|size| number(&word, size, CONNECTIONS_MAX))
                    .collect::<Result<_, _>>()?;
            }
            other => {
                println!("scale: left out, '{other}' is not about it");
                return Ok(None);
            }
        }
    }
    Ok(Some((sizes, rounds)))
}

fn number(option: &str, value: &str, max: u32) -> Result<u32, String> {
    let number = value.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("{option} '{value}': a whole number from 1 to {max} is needed"))
}

/// What is measured, in nanoseconds of CPU time for one.
#[derive(Clone, Copy)]
enum Column {
    /// A new connection gets its slot and its deadline.
    Accept,
    /// A message of one of 1,000 that are always the same is answered.
    Same,
    /// A message of one of 1,000 that are others in each turn is answered.
    Random,
    /// A load from the array of the same size.
    Walk,
    /// An alarm rings and is moved on, because its connection has spoken since.
    Alarm,
    /// An alarm rings, our FIN goes out, theirs comes, the verdict is found, the slot is free.
    End,
}

const COLUMNS: usize = 6;

/// One size: its loop, its array, and what was measured.
struct Size {
    connections: u32,
    held: Held,
    array: Vec<Place>,
    resident_bytes: f64,
    /// This round so far: time, and for how many.
    round: [(Duration, u64); COLUMNS],
    rounds: [Vec<f64>; COLUMNS],
}

impl Size {
    fn new(connections: u32) -> Size {
        let mut held = Held::new(connections);
        let before = resident_bytes();
        held.accept();
        let growth = resident_bytes().saturating_sub(before);
        held.every_client_sends();
        held.alarms();
        held.end(); // in the order of speaking, so from here on slots are given out in no order
        Size {
            connections,
            held,
            array: array(connections),
            resident_bytes: growth as f64 / f64::from(connections),
            round: Default::default(),
            rounds: Default::default(),
        }
    }

    fn measure(&mut self, cpu: &Cpu) {
        let repeats = (WORK / self.connections).max(1);
        for _ in 1..repeats {
            self.time(cpu, Column::Accept, Held::accept);
            self.time(cpu, Column::End, Held::end);
        }
        self.time(cpu, Column::Accept, Held::accept);
        let turns = WORK / ACTIVE;
        self.time(cpu, Column::Same, |held| held.speak(Speakers::Same(ACTIVE), turns));
        self.time(cpu, Column::Random, |held| held.speak(Speakers::Random(ACTIVE), turns));
        let (time, end) = cpu.of(|| walk(&self.array, WORK));
        black_box(end);
        self.note(Column::Walk, time, u64::from(WORK));
        // The first alarms ring in the order of accept, those after them in that of speaking.
        self.held.every_client_sends();
        self.held.alarms();
        for _ in 0..repeats {
            self.held.every_client_sends();
            self.time(cpu, Column::Alarm, Held::alarms);
        }
        self.time(cpu, Column::End, Held::end);
        for (sum, all) in self.round.iter_mut().zip(&mut self.rounds) {
            let (time, count) = std::mem::take(sum);
            all.push(time.as_nanos() as f64 / count as f64);
        }
    }

    fn time(&mut self, cpu: &Cpu, column: Column, work: impl FnOnce(&mut Held) -> u64) {
        let (time, count) = cpu.of(|| work(&mut self.held));
        self.note(column, time, count);
    }

    fn note(&mut self, column: Column, time: Duration, count: u64) {
        let sum = &mut self.round[column as usize];
        *sum = (sum.0 + time, sum.1 + count);
    }

    fn median(&self, column: Column) -> f64 {
        let mut sorted = self.rounds[column as usize].clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

/// As many bytes as the loop has for a connection, of which the walk needs the first four.
#[derive(Clone, Copy)]
struct Place {
    next: u32,
    _rest: [u8; CONNECTION_BYTES - size_of::<u32>()],
}

/// A walk through all places in no order: one cycle, by Sattolo's algorithm.
fn array(places: u32) -> Vec<Place> {
    let mut choices = Choices::seeded(u64::from(places));
    let mut array: Vec<Place> = (0..places).map(|next| Place { next, _rest: [0; _] }).collect();
    for place in (1..array.len()).rev() {
        let other = choices.below(place as u64) as usize;
        let next = array[place].next;
        array[place].next = array[other].next;
        array[other].next = next;
    }
    array
}

/// So many steps of it, each of which has to wait for the one before.
fn walk(array: &[Place], steps: u32) -> u32 {
    (0..steps).fold(0, |place, _| array[place as usize].next)
}

/// This process's resident memory. Exact, where that of /proc/self/statm is rounded.
fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let rss = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = rss.and_then(|rss| rss.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

// ---- the table --------------------------------------------------------------------------------

fn print(sizes: &[Size], cpu: &Cpu, rounds: u32) {
    let clock = if cpu.is_cpu_time() { "CPU time" } else { "time on the wall" };
    println!(
        "\nNanoseconds of {clock}, medians of {rounds} interleaved rounds, no system calls.\n"
    );
    println!(
        "| connections | bytes each, resident | accept | event, same 1,000 | event, others | walk | alarm | ending |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|");
    for size in sizes {
        let [accept, same, random, walk, alarm, end] = [
            Column::Accept,
            Column::Same,
            Column::Random,
            Column::Walk,
            Column::Alarm,
            Column::End,
        ]
        .map(|column| size.median(column));
        println!(
            "| {} | {:.0} | {accept:.0} | {same:.0} | {random:.0} | {walk:.0} | {alarm:.0} | {end:.0} |",
            thousands(size.connections),
            size.resident_bytes,
        );
    }
    let (Some(first), Some(last)) = (sizes.first(), sizes.last()) else { return };
    let (few, many) = (first.median(Column::Random), last.median(Column::Random));
    let floor = few + last.median(Column::Walk);
    println!(
        "\nAn event of others at {} costs {:.2} times that at {} and a step of the walk (goal: {GOAL_EVENT}).",
        thousands(last.connections),
        many / floor,
        thousands(first.connections),
    );
    println!(
        "A connection is {CONNECTION_BYTES} bytes by its types, {:.1} by resident memory (goal: {GOAL_BYTES}).",
        last.resident_bytes
    );
}

fn thousands(number: u32) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

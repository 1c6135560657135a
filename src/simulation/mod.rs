//! The second [`Kernel`](crate::kernel::Kernel): a seeded world with a clock of its own, in which
//! the real loop serves simulated peers while everything fails that can.
//!
//! ```text
//!   seed ─▶ Choices ─▶ WorldSetting
//!                          │
//!                          ▼
//!   Reactor, ── kernel ─▶ World ◀── outside, program ── peers
//!   the real one           │
//!                          │ owns   Clock     Network    Listeners  Readiness  Sockets  Stopping
//!                          │        TurnLog   Limits     EarlyEnds  Findings   Tally
//!                          ▼
//!                        rules ── after each turn ─▶ Summary, or Failure with its seed
//! ```
//!
//! One seed decides everything: configuration, clock, peers, network, faults. So a failure can be
//! repeated: `run(seed)`. The world knows what really happened and does not help the loop to see
//! it; it only compares. What it holds the loop to is listed at [`Rule`].
//!
//! What it models of TCP is what Linux does as far as a server can see it: windows,
//! acknowledgements, FINs and resets in order, errors returned once, edges, and TCP_INFO. It does
//! not model loss, congestion or time-wait: they change when things happen, not what.
//!
//! Reading order:
//!
//! 1. [`WorldSetting`]: what a world is like; `swarm`: what it leaves out; `faults`: what may fail.
//! 2. [`World`] and its parts. What is simulated: `clock`, `network` with `link`, `pipe`, `peer`
//!    and `agenda`, `listeners`, `readiness`, `sockets`, `stopping`. What the loop does:
//!    `turn_log`, `limits`, `duty` and `model` (both in each link), `findings` with `trace`. What
//!    needs one part only is a method of that part; what needs several is a method of `World`, and
//!    stands in one of the next three.
//! 3. `kernel`: the system calls, by which the loop acts on the world.
//! 4. `outside`: what happens outside the server, and `program`: what the peers' programs do.
//! 5. `rules`: what the loop is held to.
//! 6. `shrink`: a failing world made small; `spelling`: a world as text.
//!
//! Two more kernels stand beside all this. [`Scripted`] is a world in which a test makes the calls:
//! `tests/simulation/differential.rs` compares it with Linux. In [`Calm`] nothing goes wrong: it is
//! for benches, and for the scale table.

mod agenda;
mod calm;
mod choices;
mod clock;
mod duty;
mod faults;
mod findings;
mod kernel;
mod limits;
mod link;
mod listeners;
mod model;
mod network;
mod outside;
mod peer;
mod pipe;
mod program;
mod readiness;
mod rules;
mod scripted;
mod setting;
mod shrink;
mod sockets;
mod spelling;
mod stopping;
mod swarm;
mod trace;
mod turn_log;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use self::calm::{Calm, CalmSocket, MESSAGE, Speakers};
pub use self::choices::Choices;
pub use self::faults::{Fault, Faults};
use self::findings::Violation;
pub use self::kernel::SimSocket;
use self::rules::Judge;
pub use self::rules::Rule;
pub use self::scripted::{Act, Scripted, Sight};
pub use self::setting::WorldSetting;
pub use self::shrink::{Shrunk, shrink};
pub use self::spelling::{read_spelling, spell};
pub use self::world::World;
use crate::config::Config;
use crate::machine::close::{Kind, KindCounts};
use crate::machine::reply::Framing;
use crate::reactor::{Reactor, Stage};

/// What happened in a world that held, or in many.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    /// Worlds.
    pub worlds: u64,
    /// Worlds by framing: chunk, line, raw.
    pub framings: [u64; 3],
    /// Worlds in which a short read says nothing.
    pub without_drain: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// System calls.
    pub calls: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Endings by [`Kind`].
    pub verdicts: KindCounts,
    /// Faults by [`Fault`].
    pub faults: [u64; Fault::COUNT],
    /// Bytes of replies that sockets took.
    pub reply_bytes: u64,
    /// Bytes read after our FIN.
    pub discarded: u64,
    /// Alarms that rang.
    pub alarms: u64,
    /// Alarms that did not end a connection: the deadline had moved.
    pub rearms: u64,
    /// Sends that left something for the outbox.
    pub leftovers: u64,
    /// Waits with timeout zero: a connection was stopped by a budget.
    pub unfinished: u64,
    /// Accepts that were out of files or memory.
    pub pauses: u64,
    /// New connections for which a waiting one made room.
    pub made_room: u64,
    /// Reads that stopped at urgent data.
    pub urgent_splits: u64,
    /// Connections of which more was read than one visit may by default.
    pub bulk: u64,
    /// Jumps of the clock, a process that was stopped for seconds included.
    pub jumps: u64,
    /// Worlds that ended by a second stop.
    pub forced: u64,
    /// Virtual time, in milliseconds.
    pub virtual_ms: u64,
}

impl Summary {
    /// Adds another one to this.
    pub fn add(&mut self, other: &Summary) {
        fn sum<const N: usize>(into: &mut [u64; N], from: &[u64; N]) {
            into.iter_mut().zip(from).for_each(|(into, from)| *into += from);
        }
        sum(&mut self.framings, &other.framings);
        sum(&mut self.verdicts, &other.verdicts);
        sum(&mut self.faults, &other.faults);
        self.worlds += other.worlds;
        self.without_drain += other.without_drain;
        self.turns += other.turns;
        self.calls += other.calls;
        self.accepted += other.accepted;
        self.reply_bytes += other.reply_bytes;
        self.discarded += other.discarded;
        self.alarms += other.alarms;
        self.rearms += other.rearms;
        self.leftovers += other.leftovers;
        self.unfinished += other.unfinished;
        self.pauses += other.pauses;
        self.made_room += other.made_room;
        self.urgent_splits += other.urgent_splits;
        self.bulk += other.bulk;
        self.jumps += other.jumps;
        self.forced += other.forced;
        self.virtual_ms += other.virtual_ms;
    }
}

/// The loop broke a rule.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed, where there was one.
    pub seed: Option<u64>,
    /// Which rule.
    pub rule: Rule,
    /// How.
    pub what: String,
    /// In which turn.
    pub turn: u64,
    /// When, in microseconds from the beginning.
    pub at_us: u64,
    /// The last things that happened to the connection concerned, or to all.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        let (ms, us) = (self.at_us / 1_000, self.at_us % 1_000);
        writeln!(f, "{:?} in turn {}, at {ms}.{us:03} ms: {}", self.rule, self.turn, self.what)?;
        match self.seed {
            None => write!(f, "(no seed: the choices were given as bytes)"),
            Some(seed) => write!(
                f,
                "seed {seed}; replay with: CLOSECALL_SEED={seed} cargo test --test simulation \
                 worlds::replay -- --nocapture"
            ),
        }
    }
}

impl std::error::Error for Failure {}

/// Things that happened, kept for a failure's report.
const TRACE_MAX: usize = 2_000;

/// Runs the world of `seed` until its server has stopped.
///
/// # Errors
/// The loop broke a rule.
pub fn run(seed: u64) -> Result<Summary, Box<Failure>> {
    run_choices(Choices::seeded(seed), TRACE_MAX).0.map_err(|failure| with_seed(failure, seed))
}

/// Runs the world that `bytes` spell.
///
/// # Errors
/// The loop broke a rule.
pub fn run_bytes(bytes: &[u8]) -> Result<Summary, Box<Failure>> {
    run_choices(Choices::from_bytes(bytes), TRACE_MAX).0
}

/// Runs the world that `bytes` spell and returns all that happened in it, a line each.
pub fn replay_bytes(bytes: &[u8]) -> (Result<Summary, Box<Failure>>, Vec<String>) {
    run_choices(Choices::from_bytes(bytes), usize::MAX)
}

/// Runs the world of `seed` and returns all that happened in it, a line each.
pub fn replay(seed: u64) -> (Result<Summary, Box<Failure>>, Vec<String>) {
    let (result, trace) = run_choices(Choices::seeded(seed), usize::MAX);
    (result.map_err(|failure| with_seed(failure, seed)), trace)
}

fn with_seed(mut failure: Box<Failure>, seed: u64) -> Box<Failure> {
    failure.seed = Some(seed);
    failure
}

type Lived = (Result<Summary, Box<Failure>>, Vec<String>);

fn run_choices(mut choices: Choices, trace_max: usize) -> Lived {
    let linux = choices.below(8) < 7;
    let live = || match linux {
        true => live::<true>(choices, trace_max),
        false => live::<false>(choices, trace_max),
    };
    catch_unwind(AssertUnwindSafe(live)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        let what = text.unwrap_or_default();
        let (rule, trace) = (Rule::Panic, Vec::new());
        (Err(Box::new(Failure { seed: None, rule, what, turn: 0, at_us: 0, trace })), Vec::new())
    })
}

/// From the first turn to the last.
fn live<const LINUX: bool>(mut choices: Choices, trace_max: usize) -> Lived {
    let setting = WorldSetting::choose(&mut choices);
    let config = setting.config.clone();
    let world = World::<LINUX>::new(setting, choices, trace_max);
    let mut reactor = Reactor::new(world, config);
    let mut judge = Judge::default();
    loop {
        let turn = reactor.turn();
        let endings: Vec<_> = reactor.endings().collect();
        let world = reactor.kernel();
        let judged = match &turn {
            Ok(turn) => judge.check(world, turn, &endings, reactor.counters()),
            Err(error) => Err((Rule::Liveness, None, error.to_string())),
        };
        let judged = judged.map_err(|(rule, link, what)| {
            let (turn, at_us) = (world.turn.number, world.clock.age_us());
            Violation { rule, link, what, turn, at_us }
        });
        if let Some(violation) = world.findings.violation().cloned().or(judged.err()) {
            return (Err(Box::new(failure(world, violation))), world.findings.trace().lines());
        }
        if let Ok(turn) = turn
            && turn.stage.is_over()
        {
            let forced = turn.stage == Stage::Forced;
            let verdicts = reactor.counters().verdicts;
            // The trace of a world that held is returned only if all of it was asked for.
            let told = trace_max == usize::MAX;
            let lines = if told { world.findings.trace().lines() } else { Vec::new() };
            return (Ok(summarize(world, &judge, verdicts, forced)), lines);
        }
    }
}

fn failure<const LINUX: bool>(world: &World<LINUX>, violation: Violation) -> Failure {
    Failure {
        seed: None,
        rule: violation.rule,
        what: match violation.link {
            None => violation.what,
            Some(link) => format!("[{link}] {}", violation.what),
        },
        turn: violation.turn,
        at_us: violation.at_us,
        trace: world.findings.trace().lines_about(violation.link),
    }
}

fn summarize<const LINUX: bool>(
    world: &World<LINUX>,
    judge: &Judge,
    verdicts: [u64; Kind::COUNT],
    forced: bool,
) -> Summary {
    let framing = world.setting.config.framing;
    let framings =
        [Framing::Chunk, Framing::Line, Framing::Raw].map(|one| u64::from(one == framing));
    let visit_max = Config::default().bytes_per_visit as u64;
    Summary {
        worlds: 1,
        framings,
        without_drain: u64::from(!LINUX),
        turns: world.turn.number,
        calls: world.tally.calls,
        accepted: world.sockets.accepted().len() as u64,
        verdicts: verdicts.into(),
        faults: *world.setting.faults.counts(),
        reply_bytes: world.network.links().iter().map(|link| link.model.tx).sum(),
        discarded: world.tally.discarded,
        alarms: judge.alarms,
        rearms: judge.rearms,
        leftovers: world.tally.leftovers,
        unfinished: world.tally.unfinished,
        pauses: world.tally.pauses,
        made_room: world.tally.made_room,
        urgent_splits: world.tally.urgent_splits,
        bulk: world.network.links().iter().filter(|link| link.model.rx > visit_max).count() as u64,
        jumps: world.tally.jumps,
        forced: u64::from(forced),
        virtual_ms: world.clock.age_us() / 1_000,
    }
}

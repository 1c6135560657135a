//! The world as a whole: its clock, its links, and what is kept about the turn under way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::agenda::{Agenda, Due};
use super::choices::Choices;
use super::faults::{Fault, Numbers};
use super::link::{Hold, Link};
use super::setting::Setting;
use super::trace::{NO_LINK, Trace, What};
use super::{Rule, Violation};
use crate::kernel::Stop;
use crate::machine::errno::System;

/// What a call costs a visit at least, in bytes.
pub(super) const CALL_COSTS_BYTES: usize = 4_096;

/// A listener.
#[derive(Debug)]
pub(super) struct Door {
    /// Those whose handshake is over, in order.
    pub(super) queue: VecDeque<u32>,
    /// Somebody came since the last event.
    pub(super) edge: bool,
    /// The last accept said "would block", or there was no event yet.
    pub(super) quiet: bool,
    /// The last event, or the last accept that failed for another reason than the one in the queue.
    pub(super) since_us: u64,
}

/// What a key is used for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Key {
    pub(super) link: Option<u32>,
    /// The turn in which its last socket was closed.
    pub(super) closed_turn: u64,
}

/// Why the last wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Woke {
    Event,
    Time,
    Interrupted,
}

/// What happened since the last wait.
#[derive(Debug)]
pub(super) struct TurnLog {
    pub(super) number: u64,
    /// When its events were collected, in true time.
    pub(super) began_us: u64,
    pub(super) timeout_ms: Option<u64>,
    pub(super) woke: Woke,
    /// Bytes moved, somebody came or somebody went, or the listeners were closed.
    pub(super) moved: bool,
    pub(super) accept_calls: u32,
    pub(super) closes: u32,
    /// Connections that may have been decided early in it.
    pub(super) given_up: u32,
    /// Links with an event or a call.
    pub(super) touched: Vec<u32>,
    pub(super) calls: u64,
}

/// How far the end of the server has come.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    /// What the server was asked for.
    pub(super) asked: Option<Stop>,
    /// What of that the loop knows.
    pub(super) told: Option<Stop>,
    /// What the loop's clock showed when it heard of it first.
    pub(super) since_us: Option<u64>,
}

/// Counts that no invariant needs; see [`Summary`](super::Summary).
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) calls: u64,
    pub(super) leftovers: u64,
    pub(super) unfinished: u64,
    pub(super) pauses: u64,
    pub(super) made_room: u64,
    pub(super) urgent_splits: u64,
    pub(super) discarded: u64,
    pub(super) jumps: u64,
}

/// A [`Kernel`](crate::kernel::Kernel) that is a world of its own: peers, wires, a clock, and a
/// watchful eye on what the loop does with them.
///
/// With `LINUX` a short read means that nothing is left; without it readiness returns only after
/// "would block", as on Windows, and nothing is told about what is unacknowledged.
///
/// Everything is decided by [`Choices`]; two worlds with the same choices do the same.
#[derive(Debug)]
pub struct World<const LINUX: bool> {
    pub(super) setting: Setting,
    pub(super) choices: Choices,
    /// The true time.
    pub(super) now_us: u64,
    /// The time of what is happening on the wires, which may lag behind a long system call.
    pub(super) moment_us: u64,
    /// The true time at which the loop last looked at the clock: all it can know.
    pub(super) clock_us: u64,
    /// The loop waits.
    pub(super) sleeping: bool,
    /// The longest time between two looks.
    pub(super) gap_us_max: u64,
    /// How long the process stood still, all in all.
    pub(super) frozen_us: u64,
    pub(super) agenda: Agenda,
    pub(super) links: Vec<Link>,
    pub(super) doors: Vec<Door>,
    pub(super) listening: bool,
    /// Links that have an event coming.
    pub(super) ready: VecDeque<u32>,
    pub(super) keys: Vec<Key>,
    /// Open connections by peer machine.
    pub(super) by_machine: [u32; 256],
    /// Links in the order in which they were accepted.
    pub(super) accepted: Vec<u32>,
    pub(super) open: usize,
    /// Until when the loop owes what, the earliest first; entries may be out of date.
    pub(super) limits: BinaryHeap<Reverse<(u64, u32)>>,
    pub(super) stopping: Stopping,
    /// Until when accept is out of files or memory.
    pub(super) exhausted_until_us: u64,
    /// When a slot or a file was last freed.
    pub(super) freed_us: u64,
    /// Before this moment of the loop's clock there is no point in accept, unless a slot is freed.
    pub(super) paused_until_ms: Option<u64>,
    /// The last accept failed.
    pub(super) accept_fails: bool,
    /// Connections that may be decided early, by the turn in which a newcomer was taken although
    /// every slot was in use, or an accept was out of files or memory.
    pub(super) given_up: BTreeMap<u64, u32>,
    pub(super) turn: TurnLog,
    /// The real loop makes the calls, and is held to the rules; else a test makes them.
    pub(super) judged: bool,
    pub(super) trace: Trace,
    pub(super) violation: Option<Violation>,
    pub(super) tally: Tally,
}

/// System calls in one turn; a loop that makes more never ends.
const CALLS_PER_TURN_MAX: u64 = 3_000_000;

/// How long a SIGSTOP lasts.
const FREEZE_US: u64 = 11_000_000;

impl<const LINUX: bool> World<LINUX> {
    /// A world at its beginning, which keeps the last `trace_max` things that happened.
    pub fn new(setting: Setting, mut choices: Choices, trace_max: usize) -> World<LINUX> {
        let mut agenda = Agenda::default();
        for link in 0..setting.peers {
            let at_us = setting.start_us + setting.idle_us + choices.below(setting.arrivals_us);
            agenda.add(at_us, link, Due::Connects);
        }
        agenda.add(setting.start_us + setting.stop_us, NO_LINK, Due::Stop(Stop::Drain));
        if let Some((at_us, by_us)) = setting.jump_us {
            agenda.add(setting.start_us + at_us, NO_LINK, Due::Jump { by_us });
        }
        if let Some(later_us) = setting.second_stop_us {
            let at_us = setting.start_us + setting.stop_us + later_us;
            agenda.add(at_us, NO_LINK, Due::Stop(Stop::Abort));
        }
        let link = |index| Link::new(index, &setting, &mut choices);
        let links = (0..setting.peers).map(link).collect();
        let door = || Door { queue: VecDeque::new(), edge: false, quiet: true, since_us: 0 };
        World {
            now_us: setting.start_us,
            moment_us: setting.start_us,
            clock_us: setting.start_us,
            sleeping: false,
            gap_us_max: 0,
            frozen_us: 0,
            agenda,
            links,
            doors: setting.config.listen.iter().map(|_| door()).collect(),
            listening: true,
            ready: VecDeque::new(),
            keys: Vec::new(),
            by_machine: [0; 256],
            accepted: Vec::new(),
            open: 0,
            limits: BinaryHeap::new(),
            stopping: Stopping::default(),
            exhausted_until_us: 0,
            freed_us: 0,
            paused_until_ms: None,
            accept_fails: false,
            given_up: BTreeMap::new(),
            turn: TurnLog {
                number: 0,
                began_us: setting.start_us,
                timeout_ms: None,
                woke: Woke::Event,
                moved: true,
                accept_calls: 0,
                closes: 0,
                given_up: 0,
                touched: Vec::new(),
                calls: 0,
            },
            judged: true,
            trace: Trace::new(trace_max),
            violation: None,
            tally: Tally::default(),
            setting,
            choices,
        }
    }

    pub(super) const NUMBERS: Numbers =
        Numbers(if LINUX { System::Linux } else { System::Windows });

    pub(super) fn link(&mut self, index: u32) -> &mut Link {
        &mut self.links[index as usize]
    }

    /// Microseconds since the beginning.
    pub(super) fn age_us(&self) -> u64 {
        self.now_us - self.setting.start_us
    }

    pub(super) fn strike(&mut self, fault: Fault) -> bool {
        self.setting.faults.strike(fault, &mut self.choices)
    }

    pub(super) fn note(&mut self, link: u32, what: What) {
        if self.violation.is_some() {
            return; // what led to it is of interest, not what followed
        }
        let start_us = self.setting.start_us;
        let times_us = [self.now_us - start_us, self.clock_us - start_us];
        self.trace.add(self.turn.number, times_us, link, what);
    }

    /// Something that must never happen did. The first one counts.
    pub(super) fn violate(&mut self, rule: Rule, link: Option<u32>, what: impl Into<String>) {
        if self.judged && self.violation.is_none() {
            let (turn, at_us, what) = (self.turn.number, self.age_us(), what.into());
            self.violation = Some(Violation { rule, link, what, turn, at_us });
        }
    }

    // ---- time ---------------------------------------------------------------------------------

    /// A system call begins: it takes its time, and meanwhile the world goes on.
    pub(super) fn spend(&mut self) {
        self.tally.calls += 1;
        self.turn.calls += 1;
        assert!(self.turn.calls < CALLS_PER_TURN_MAX, "a turn that never ends");
        self.now_us += self.setting.call_us;
        if self.strike(Fault::SlowCall) {
            self.now_us += 1_000 * self.choices.magnitude(1, 60);
        }
        if self.strike(Fault::Freeze) {
            self.jumps(FREEZE_US);
        }
        self.run_due();
    }

    /// Time passes in which the process does not run. What is due meanwhile happens when it runs.
    pub(super) fn jumps(&mut self, by_us: u64) {
        self.note(NO_LINK, What::Jump { by_us });
        self.now_us += by_us;
        self.frozen_us += by_us;
        self.tally.jumps += 1;
    }

    /// A system call about `link` begins.
    pub(super) fn call(&mut self, link: u32) {
        self.spend();
        let (clock_us, turn) = (self.clock_us, self.turn.number);
        let duty = &mut self.link(link).duty;
        (duty.touched_us, duty.touched_turn) = (clock_us, turn);
        let owed_until = duty.owed_until.take();
        self.turn.touched.push(link);
        if let Some(until) = owed_until.filter(|&until| until < turn) {
            let what = format!("its visit is {} turns late", turn - until);
            self.violate(Rule::Fair, Some(link), what);
        }
    }

    /// A receive has given `bytes` of `link`: is that the same visit still? A visit ends with the
    /// call that spends its budget. What sending costs is not counted here, so this is no stricter.
    pub(super) fn check_visit(&mut self, index: u32, bytes: usize) {
        let turn = self.turn.number;
        let budget = self.setting.config.bytes_per_visit.max(1);
        let duty = &mut self.links[index as usize].duty;
        if duty.moved_turn != turn {
            (duty.moved_turn, duty.moved_bytes) = (turn, 0);
        }
        let charged = duty.moved_bytes;
        duty.moved_bytes += bytes.max(CALL_COSTS_BYTES);
        if charged >= budget {
            let what = format!("received again after {charged} bytes: two visits in a turn");
            self.violate(Rule::Fair, Some(index), what);
        }
    }

    /// Everything happens whose time has come.
    pub(super) fn run_due(&mut self) {
        while let Some((at_us, link, due)) = self.agenda.take(self.now_us) {
            self.moment_us = at_us;
            self.happen(link, due);
        }
        self.moment_us = self.now_us;
    }

    // ---- who is there -------------------------------------------------------------------------

    /// Whether the server was asked to drain, and knows.
    pub(super) fn is_draining(&self) -> bool {
        self.stopping.told.is_some()
    }

    /// When the drain is over, by the loop's clock.
    pub(super) fn drain_ends_us(&self) -> Option<u64> {
        self.stopping.since_us.map(|since_us| since_us + 1_000 * self.setting.config.drain_ms)
    }

    /// Whether everybody is to be ended at once.
    pub(super) fn is_forced(&self) -> bool {
        self.stopping.told == Some(Stop::Abort)
    }

    /// `link` leaves the hands of the loop.
    pub(super) fn release(&mut self, index: u32) {
        let turn = self.turn.number;
        let link = &mut self.links[index as usize];
        if let Hold::Registered(key) = link.hold {
            self.keys[key as usize] = Key { link: None, closed_turn: turn };
            self.by_machine[link.machine()] -= 1;
            // A slot, a file, memory and a watch are free. A newcomer that was refused gives back
            // only what it had taken itself, and ends no pause.
            self.paused_until_ms = None;
        }
        link.hold = Hold::Closed;
        link.duty.closed_turn = turn;
        self.open -= 1;
        self.turn.closes += 1;
        self.turn.moved = true;
        self.freed_us = self.now_us;
    }
}

//! The world as a whole: its parts, and what takes more than one of them.

use super::Rule;
use super::agenda::{Agenda, Due};
use super::choices::Choices;
use super::clock::Clock;
use super::faults::{ErrorNumbers, Fault};
use super::findings::{Findings, Violation};
use super::limits::Limits;
use super::link::{Hold, Link};
use super::listeners::Listeners;
use super::network::Network;
use super::readiness::Readiness;
use super::setting::WorldSetting;
use super::sockets::Sockets;
use super::stopping::Stopping;
use super::trace::{NO_LINK, What};
use super::turn_log::{EarlyEnds, Tally, TurnLog};
use crate::kernel::Stop;
use crate::machine::errno::System;

/// What a call costs a visit at least, in bytes.
pub(super) const CALL_COSTS_BYTES: usize = 4_096;

/// A [`Kernel`](crate::kernel::Kernel) that is a world of its own: peers, a network and a clock,
/// and an account of what the loop does with them.
///
/// With `LINUX` a short read means that nothing is left; without it readiness returns only after
/// "would block", as on Windows, and nothing is told about what is unacknowledged.
///
/// Everything is decided by [`Choices`]; two worlds with the same choices do the same.
#[derive(Debug)]
pub struct World<const LINUX: bool> {
    pub(super) setting: WorldSetting,
    pub(super) choices: Choices,
    // What is simulated.
    pub(super) clock: Clock,
    pub(super) network: Network,
    pub(super) listeners: Listeners,
    pub(super) readiness: Readiness,
    pub(super) sockets: Sockets,
    pub(super) stopping: Stopping,
    // What the loop does, and what it is held to.
    pub(super) turn: TurnLog,
    pub(super) limits: Limits,
    pub(super) early_ends: EarlyEnds,
    pub(super) findings: Findings,
    pub(super) tally: Tally,
}

/// System calls in one turn; a loop that makes more never ends.
const CALLS_PER_TURN_MAX: u64 = 3_000_000;

/// How long a SIGSTOP lasts.
const FREEZE_US: u64 = 11_000_000;

impl<const LINUX: bool> World<LINUX> {
    /// A world at its beginning, which keeps the last `trace_max` things that happened.
    pub fn new(setting: WorldSetting, mut choices: Choices, trace_max: usize) -> World<LINUX> {
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
        World {
            clock: Clock::new(setting.start_us),
            network: Network::new(setting.start_us, agenda, links),
            listeners: Listeners::new(setting.config.listen.len()),
            readiness: Readiness::default(),
            sockets: Sockets::new(),
            stopping: Stopping::new(1_000 * setting.config.drain_ms),
            turn: TurnLog::first(setting.start_us),
            limits: Limits::default(),
            early_ends: EarlyEnds::default(),
            findings: Findings::new(trace_max),
            tally: Tally::default(),
            setting,
            choices,
        }
    }

    pub(super) const NUMBERS: ErrorNumbers =
        ErrorNumbers(if LINUX { System::Linux } else { System::Windows });

    pub(super) fn link(&mut self, index: u32) -> &mut Link {
        self.network.link_mut(index)
    }

    /// Whether `fault` happens now.
    pub(super) fn injects(&mut self, fault: Fault) -> bool {
        self.setting.faults.inject(fault, &mut self.choices)
    }

    /// Records what happens to `link`.
    pub(super) fn note(&mut self, link: u32, what: What) {
        self.findings.note(self.turn.number, self.clock.ages_us(), link, what);
    }

    /// Something happened that never may.
    pub(super) fn violate(&mut self, rule: Rule, link: Option<u32>, what: impl Into<String>) {
        let (turn, at_us) = (self.turn.number, self.clock.age_us());
        self.findings.violate(|| Violation { rule, link, what: what.into(), turn, at_us });
    }

    /// There will be an event for the server's socket, if it is registered.
    pub(super) fn signal(&mut self, index: u32) {
        self.readiness.signal(index, self.network.link_mut(index));
    }

    /// Something came for the server's socket. There will be an event, unless the last one is still
    /// to be answered with a read, where that is the rule.
    pub(super) fn wake(&mut self, index: u32) {
        if self.network.link(index).armed {
            self.signal(index);
        }
    }

    // ---- time ---------------------------------------------------------------------------------

    /// A system call begins: it takes its time, and meanwhile the world goes on.
    pub(super) fn spend(&mut self) {
        self.tally.calls += 1;
        self.turn.calls += 1;
        assert!(self.turn.calls < CALLS_PER_TURN_MAX, "a turn that never ends");
        self.clock.pass(self.setting.call_us);
        if self.injects(Fault::SlowCall) {
            self.clock.pass(1_000 * self.choices.magnitude(1, 60));
        }
        if self.injects(Fault::Freeze) {
            self.jumps(FREEZE_US);
        }
        self.run_due();
    }

    /// Time passes in which the process does not run. What is due meanwhile happens when it runs.
    pub(super) fn jumps(&mut self, by_us: u64) {
        self.note(NO_LINK, What::Jump { by_us });
        self.clock.freeze(by_us);
        self.tally.jumps += 1;
    }

    /// Everything happens whose time has come.
    pub(super) fn run_due(&mut self) {
        while let Some((link, due)) = self.network.take_due(self.clock.now_us()) {
            self.occurs(link, due);
        }
    }

    // ---- the connections that the server has --------------------------------------------------

    /// Whether every slot of the server is in use.
    pub(super) fn is_full(&self) -> bool {
        self.sockets.open() >= self.setting.config.max_connections
    }

    /// The loop has `link` no more.
    pub(super) fn release(&mut self, index: u32) {
        let turn = self.turn.number;
        let link = self.network.link_mut(index);
        if let Hold::Registered(key) = link.hold {
            self.readiness.release(key, turn);
            self.sockets.unregister(link.machine());
            // A slot, a file, memory and a watch are free. A newcomer that was refused gives back
            // only what it had taken itself, and ends no pause.
            self.listeners.end_pause();
        }
        link.hold = Hold::Closed;
        link.duty.closed_turn = turn;
        self.sockets.close();
        self.turn.closes += 1;
        self.turn.moved = true;
        self.listeners.freed(self.clock.now_us());
    }
}

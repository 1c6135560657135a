//! What must be true after every turn: counts that add up, endings that do not contradict what the
//! world knows, and no turn without a reason.

use super::truth::{contradiction, wrong_evidence};
use crate::config::{Config, LEAVING_MAX};
use crate::kernel::Stop;
use crate::machine::reply::READ_BYTES_MIN;
use crate::reactor::{Counters, Ending, Stage, Turn};
use crate::simulation::Rule;
use crate::simulation::link::Hold;
use crate::simulation::turn_log::Woke;
use crate::simulation::world::{CALL_COSTS_BYTES, World};

/// Turns in a row that may do nothing at all. One connection that was stopped by its budget may
/// turn out to have nothing more to read; a second look at the same is a loop.
const IDLE_TURNS_MAX: u32 = 3;

/// Turns in one world; more of them do not end.
const TURNS_MAX: u64 = 200_000;

/// Slots of the server's timer wheel.
const WHEEL_SLOTS: u64 = 4_096;

/// What is remembered from turn to turn.
#[derive(Debug, Default)]
pub(in crate::simulation) struct Judge {
    accepted_before: usize,
    missed_before: u64,
    idle_turns: u32,
    /// Which connections had their ending, by number.
    reported: Vec<bool>,
    pub(in crate::simulation) alarms: u64,
    pub(in crate::simulation) rearms: u64,
}

type Check = Result<(), (Rule, Option<u32>, String)>;

fn broken(rule: Rule, link: Option<u32>, what: impl Into<String>) -> Check {
    Err((rule, link, what.into()))
}

impl Judge {
    /// Judges the turn that has just ended.
    pub(in crate::simulation) fn check<const LINUX: bool>(
        &mut self,
        world: &World<LINUX>,
        turn: &Turn,
        endings: &[Ending],
        counters: &Counters,
    ) -> Check {
        if turn.stage.is_over() {
            return check_stage(world, turn); // it did nothing more
        }
        if world.turn.number > TURNS_MAX {
            return broken(Rule::Liveness, None, format!("more than {TURNS_MAX} turns"));
        }
        self.check_counts(world, turn, endings, counters)?;
        check_budgets(world, turn)?;
        for ending in endings {
            self.check_ending(world, ending)?;
        }
        self.check_work(world, turn)?;
        check_stage(world, turn)?;
        self.alarms += u64::from(turn.alarms);
        self.rearms += u64::from(turn.alarms.saturating_sub(turn.ended));
        self.accepted_before = world.sockets.accepted().len();
        Ok(())
    }

    fn check_counts<const LINUX: bool>(
        &mut self,
        world: &World<LINUX>,
        turn: &Turn,
        endings: &[Ending],
        counters: &Counters,
    ) -> Check {
        let accepted = world.sockets.accepted().len() as u64;
        if counters.accepted != accepted || counters.open + counters.ended() != accepted {
            return broken(
                Rule::Count,
                None,
                format!("{accepted} were accepted, and the counters say {counters:?}"),
            );
        }
        if counters.open != world.sockets.open() as u64 {
            let what = format!(
                "{} sockets are open, and {} are counted",
                world.sockets.open(),
                counters.open
            );
            return broken(Rule::Count, None, what);
        }
        let limit = world.setting.config.max_per_ip.unwrap_or(u32::MAX);
        let limit = limit.saturating_add(turn.unreaped);
        if let Some(machine) = world.sockets.machine_beyond(limit) {
            let what = format!("more than max_per_ip from 192.0.2.{machine}");
            return broken(Rule::Memory, None, what);
        }
        // Beside them a few that have ended, and are still to be reaped.
        if world.sockets.open() > world.setting.config.max_connections + LEAVING_MAX {
            let what = format!("{} are open, beyond max_connections", world.sockets.open());
            return broken(Rule::Memory, None, what);
        }
        let missed = counters.endings_missed - self.missed_before;
        self.missed_before = counters.endings_missed;
        let reported = endings.len() as u64 + missed;
        if u64::from(world.turn.closes) != reported || turn.ended != world.turn.closes {
            let closes = world.turn.closes;
            let what = format!("{closes} were closed, {reported} reported, {} counted", turn.ended);
            return broken(Rule::Count, None, what);
        }
        if turn.accepted as usize != world.sockets.accepted().len() - self.accepted_before {
            return broken(Rule::Count, None, "the turn miscounts its newcomers");
        }
        Ok(())
    }

    /// One ending: it is about a connection that has just been closed, once, and says nothing that
    /// is not so.
    fn check_ending<const LINUX: bool>(&mut self, world: &World<LINUX>, ending: &Ending) -> Check {
        let place = ending.id.wrapping_sub(1) as usize;
        let Some(&index) = world.sockets.accepted().get(place) else {
            return broken(
                Rule::Count,
                None,
                format!("an ending of no connection: number {}", ending.id),
            );
        };
        self.reported.resize(world.sockets.accepted().len(), false);
        if std::mem::replace(&mut self.reported[place], true) {
            return broken(Rule::Count, Some(index), "reported twice");
        }
        let link = world.network.link(index);
        if link.hold != Hold::Closed || link.duty.closed_turn != world.turn.number {
            return broken(Rule::Count, Some(index), "reported, and not closed in this turn");
        }
        let verdict = ending.verdict.kind.name();
        let wrong = wrong_evidence(link, ending)
            .map(|what| (Rule::Evidence, what))
            .or_else(|| contradiction(world, link, ending).map(|what| (Rule::Verdict, what)));
        match wrong {
            None => Ok(()),
            Some((rule, what)) => {
                let evidence = &ending.evidence;
                broken(rule, Some(index), format!("{verdict}: {what}\n  {evidence:?}"))
            }
        }
    }

    /// No turn without work, unless a timer or the system explains it.
    fn check_work<const LINUX: bool>(&mut self, world: &World<LINUX>, turn: &Turn) -> Check {
        let log = &world.turn;
        let worked = turn.events > 0 || turn.alarms > 0 || log.moved || log.accept_calls > 0;
        if worked || log.woke == Woke::Interrupted {
            self.idle_turns = 0;
            return check_alarms(world, turn);
        }
        self.idle_turns += 1;
        let config = &world.setting.config;
        let far = is_far(config, world.clock.unseen_us_max());
        let full = world.sockets.open() >= config.max_connections;
        if log.timeout_ms != Some(0) && !far && !full {
            return broken(Rule::BusyLoop, None, "woke in time and had nothing to do");
        }
        // Where a turn is worth one visit, each of those that are owed one has a turn of its own.
        let owed = if config.bytes_per_turn < 1 << 20 { world.sockets.open() as u32 } else { 0 };
        // Each deadline that lies rounds of the timer wheel away is moved on once a round. Rounds
        // that pass unseen cost nothing, however many there are.
        let moved_on = if far { (world.sockets.open() as u64 + 1) * rounds(config) } else { 0 };
        let idle_turns_max = IDLE_TURNS_MAX + owed + moved_on as u32;
        if self.idle_turns > idle_turns_max {
            return broken(Rule::BusyLoop, None, format!("{} turns without work", self.idle_turns));
        }
        Ok(())
    }
}

/// Whether some deadline may lie beyond a round of the timer wheel, counted from the last look at
/// it.
fn is_far(config: &Config, behind_us: u64) -> bool {
    longest_ms(config) + behind_us / 1_000 >= config.tick_ms * (WHEEL_SLOTS - 2)
}

/// How many rounds of the timer wheel the longest deadline spans, and one for each look more.
fn rounds(config: &Config) -> u64 {
    longest_ms(config) / (config.tick_ms * (WHEEL_SLOTS - 2)) + 3
}

/// The longest deadline there is, in milliseconds.
fn longest_ms(config: &Config) -> u64 {
    let deadlines = [config.read_deadline_ms, config.write_deadline_ms, config.max_age_ms];
    let others = [Some(config.verdict_wait_ms), Some(config.drain_ms)];
    deadlines.iter().chain(&others).flatten().max().copied().unwrap_or(0)
}

/// A turn is bounded whatever the peers do: each line of those that are owed a visit has a budget,
/// and so have the deadlines; each may be overdrawn by one visit. Output memory has a cap.
fn check_budgets<const LINUX: bool>(world: &World<LINUX>, turn: &Turn) -> Check {
    let config = &world.setting.config;
    // A visit may be made in two parts, before and after what is decided on, and each costs a call.
    let visit = visit_bytes_max(config) + config.read_buffer_bytes + config.prefix.len();
    let visit = (visit + 2 * CALL_COSTS_BYTES) as u64;
    // One budget for sparse flows, one for bulk senders, and one for deadlines if an alarm rang.
    let parts = 2 + u64::from(turn.alarms > 0);
    let decided = u64::from(world.turn.early_ends) * visit;
    let bytes_max = parts * (config.bytes_per_turn.max(1) + visit) + decided;
    if turn.bytes > bytes_max {
        let what = format!("a turn of {} bytes, where {bytes_max} are allowed", turn.bytes);
        return broken(Rule::Fair, None, what);
    }
    let Some(output_max) = config.output_memory_bytes else { return Ok(()) };
    let open = world.network.links().iter().filter(|link| link.is_registered());
    let pending: u64 = open.map(|link| link.model.pending().len() as u64).sum();
    let least = (READ_BYTES_MIN + config.prefix.len()) as u64;
    match pending > output_max + least * world.sockets.open() as u64 {
        true => broken(Rule::Memory, None, format!("{pending} bytes of output are pending")),
        false => Ok(()),
    }
}

/// What a visit may be charged for before its last call, in bytes.
fn visit_bytes_max(config: &Config) -> usize {
    config.bytes_per_visit.max(CALL_COSTS_BYTES)
}

/// A connection's alarm rings a few times in a turn at most, unless the turn is a long one.
fn check_alarms<const LINUX: bool>(world: &World<LINUX>, turn: &Turn) -> Check {
    let there = world.sockets.open() as u64 + u64::from(turn.ended);
    let ticks =
        (world.clock.now_us() - world.turn.began_us) / (1_000 * world.setting.config.tick_ms);
    match u64::from(turn.alarms) > there * (4 + ticks) {
        true => {
            let what = format!("{} alarms rang for {there} connections", turn.alarms);
            broken(Rule::BusyLoop, None, what)
        }
        false => Ok(()),
    }
}

/// When the server says that it is over, it is.
fn check_stage<const LINUX: bool>(world: &World<LINUX>, turn: &Turn) -> Check {
    let expected = match world.stopping.told() {
        None => [Stage::Serving, Stage::Serving],
        Some(Stop::Drain) => [Stage::Draining, Stage::Stopped],
        _ if turn.stage.is_over() => [Stage::Forced, Stage::Stopped],
        _ => [Stage::Draining, Stage::Draining],
    };
    if !expected.contains(&turn.stage) {
        let what = format!("asked for {:?}, it is {:?}", world.stopping.told(), turn.stage);
        return broken(Rule::Stop, None, what);
    }
    if turn.stage.is_over() && (world.sockets.open() > 0 || world.listeners.are_open()) {
        let open = world.sockets.open();
        let what =
            format!("over, with {open} connections and listening: {}", world.listeners.are_open());
        return broken(Rule::Stop, None, what);
    }
    Ok(())
}

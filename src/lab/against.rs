//! Tests of an external server: what a client sees of it, whether it survives each scenario, and
//! its verdicts from its close log. Directly, and through a proxy or balancer.
//!
//! The lab does not run such a server, so it forces only the orders that a client alone can force;
//! the other scenarios are races or are skipped. The server may speak first, never answer, or never
//! close: every act is bounded in time and in bytes.

mod compare;
mod message;
mod played;
pub(super) mod side;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use self::message::Messages;
use self::played::Played;
use self::side::{Look, Side, ours};
use super::capture::{Bytes, End, Expectation};
use super::judge::ServerAccount;
use super::observe::{CloseLog, Ours, Untold};
use super::options::{Error, Options, Target, Tell};
use super::race::Tally;
use super::report::{Row, RowOutcome, ServerRow};
use super::scenario::{Elsewhere, Order, Play, Scenario};
use super::stepped::{receive_buffer, send_buffer};
use super::wire::{self, RACES_SEEN_MAX, Wire};
use crate::client::{Act, Client, Performed, Plan, Way};

/// How long the lab waits for a dead server to be restarted, for example by its supervisor.
const RESTART: Duration = Duration::from_secs(2);

/// How often the lab checks whether the server is back.
const RESTART_LOOK: Duration = Duration::from_millis(50);

/// The path of a client's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Path {
    Direct,
    Through,
}

/// An external server, and the paths to it.
pub(super) struct Against<'a> {
    look: Look<'a>,
    messages: Messages,
    log: Option<CloseLog>,
    wire: Wire<'a>,
    direct: Side,
    via: Option<Side>,
}

impl<'a> Against<'a> {
    /// Connects to the server and to the proxy, and finds that connection in the close log.
    ///
    /// # Errors
    /// The server or the proxy does not accept, the close log is not the server's, or the capture
    /// cannot see them.
    pub(super) fn start(
        options: &'a Options<'a>,
        target: &'a Target,
    ) -> Result<Against<'a>, Error> {
        let Target { server, via, observe, patience, message, .. } = target;
        let not_read = |error| Error::CloseLog(observe.clone().unwrap_or_default(), error);
        let open = |path: &PathBuf| CloseLog::open(path, *patience, options.stop);
        let mut log = observe.as_ref().map(open).transpose().map_err(not_read)?;
        let look = Look { options, target };
        let find = |addresses: &[SocketAddr], or: fn(side::Refusals) -> Error| {
            Side::find(addresses, &look, message).map_err(|refusals| match options.is_stopped() {
                true => Error::Interrupted,
                false => or(refusals),
            })
        };
        let (direct, first) = find(server, Error::NoServer)?;
        if let Some(log) = &mut log {
            log.direct(&first).map_err(|why| match options.is_stopped() {
                true => Error::Interrupted,
                false => not_read(io::Error::other(why.to_string())),
            })?;
        }
        let via = via.as_ref().map(|via| find(via, Error::NoProxy)).transpose()?;
        let via = via.map(|(side, _)| side);
        let wire = Wire::new(options.capture);
        for side in [Some(&direct), via.as_ref()].into_iter().flatten() {
            if options.capture.is_some() && !side.is_here(first.peer) {
                return Err(Error::Unseen(side.address));
            }
            wire.watch(side.address);
        }
        let messages = Messages::new(message);
        Ok(Against { look, messages, log, wire, direct, via })
    }

    /// Plays `scenario` on each path. `tell` gets the number of finished runs of a race.
    pub(super) fn row(&mut self, scenario: &'static Scenario, tell: Tell<'_>) -> Row {
        match (scenario.play, scenario.elsewhere()) {
            (Play::Skip { needs, .. }, _) | (_, Elsewhere::Skip(needs)) => skipped(scenario, needs),
            _ if !self.revives(Path::Direct) => {
                skipped(scenario, &format!("the server: {}", self.direct.says()))
            }
            (Play::Way(way), _) if scenario.order == Order::Race && self.log.is_some() => {
                self.raced(scenario, way, tell)
            }
            (Play::Way(way), _) => self.once(scenario, way),
        }
    }

    /// The final state of the server and the proxy, and the wire.
    pub(super) fn into_parts(mut self) -> (ServerRow, Option<ServerRow>, Wire<'a>) {
        let paths: &[Path] = match self.via {
            Some(_) => &[Path::Direct, Path::Through],
            None => &[Path::Direct],
        };
        for &path in paths {
            let was_well = self.side(path).is_well();
            self.asks(path);
            if was_well && !self.side(path).is_well() {
                self.side(path).found_unwell();
            }
        }
        (self.direct.row(), self.via.as_ref().map(Side::row), self.wire)
    }

    /// The message of the next client: with a close log, one of a different length.
    fn message(&mut self) -> Vec<u8> {
        match &mut self.log {
            None => self.messages.stem(),
            Some(log) => {
                let message = self.messages.next(|length| log.is_of_others(length));
                log.expects(message.len() as u64);
                message
            }
        }
    }

    fn side(&mut self, path: Path) -> &mut Side {
        match &mut self.via {
            Some(via) if path == Path::Through => via,
            _ => &mut self.direct,
        }
    }

    // ---- how the server is ----------------------------------------------------------------------

    /// Checks the server's health on that path.
    fn asks(&mut self, path: Path) {
        let message = self.message();
        // Not by `side`, which would borrow all of `self`.
        let side = match &mut self.via {
            Some(via) if path == Path::Through => via,
            _ => &mut self.direct,
        };
        side.asks(&self.look, message);
    }

    /// Whether the server is healthy on that path, or becomes so after a restart.
    fn revives(&mut self, path: Path) -> bool {
        let Some(wait) = self.side(path).patience_left(RESTART) else { return false };
        let give_up = Instant::now() + wait;
        while !self.side(path).is_well() {
            self.asks(path);
            if Instant::now() > give_up || self.look.options.is_stopped() {
                break;
            }
            thread::sleep(RESTART_LOOK);
        }
        self.side(path).is_well()
    }

    /// The server's account of a connection, which began after all connections up to the number
    /// `before` had ended.
    fn told(
        &mut self,
        path: Path,
        ours: &Ours,
        before: Option<u64>,
    ) -> Option<Result<ServerAccount, Untold>> {
        let log = self.log.as_mut()?;
        if path == Path::Direct {
            return Some(log.direct(ours).map(|(_, told)| told));
        }
        let told = log.through(ours);
        let Err(Untold::NoLineYet(why)) = &told else { return Some(told) };
        let why = why.clone();
        Some(Err(match before.and_then(|before| self.never_accepted(before, ours)) {
            Some(true) => Untold::NeverSeen("the server never accepted the connection".to_owned()),
            _ => Untold::NoLineYet(format!("{why}: the server may still hold the connection open")),
        }))
    }

    /// Whether all connections that the server has accepted since the number `before` are known to
    /// be others. The server numbers its connections, and a new one shows the current number.
    fn never_accepted(&mut self, before: u64, ours: &Ours) -> Option<bool> {
        if self.look.options.is_stopped() {
            return None;
        }
        let message = self.message();
        let plan = self.look.plan(self.direct.address, message);
        let connected = SystemTime::now();
        let (mut client, _) = Client::connect(&plan).ok()?;
        client.play_all(Way::Close.script(), |_, _| ());
        let next = side::ours(&client, connected, plan.message.len());
        let log = self.log.as_mut()?;
        let (next, _) = log.direct(&next).ok()?;
        Some(!log.has_candidate(ours) && log.has_all_between(before, next))
    }

    // ---- one scenario ---------------------------------------------------------------------------

    /// Plays on one path.
    fn plays(&mut self, path: Path, scenario: &Scenario, way: Way) -> Played {
        let address = self.side(path).address;
        let before = self.log.as_mut().and_then(CloseLog::clear);
        let message = self.message();
        let plan = Plan {
            receive_buffer: receive_buffer(way),
            send_buffer: send_buffer(way),
            ..self.look.plan(address, message)
        };
        let connected = SystemTime::now();
        let Ok((mut client, _)) = Client::connect(&plan) else { return Played::default() };
        let mut performed = Vec::new();
        client.play_all(&scenario.script(), |it, _| performed.push(it.clone()));
        let ours = ours(&client, connected, plan.message.len());
        let reply_bytes = self.direct.reply_bytes(ours.sent);
        let told = self.told(path, &ours, before);
        Played { told, ..Played::by(&client, performed, &plan, reply_bytes, ours) }
    }

    /// Adds the captured packets. With an external server only the client's packets are expected,
    /// and only if no act failed.
    fn looks(&mut self, path: Path, scenario: &Scenario, played: &mut Played) {
        let Some(Ours { peer: client, sent, .. }) = played.ours else { return };
        let forced = matches!(scenario.elsewhere(), Elsewhere::Forced(_));
        // If the server never echoed, the client's answers cannot be predicted.
        let echoes =
            self.direct.reply_bytes(1).is_some() && !played.performed.iter().any(Performed::failed);
        let bytes = match scenario.script().contains(&Act::Fill) {
            true => scenario.on_wire.client.bytes,
            false => Bytes::Exactly(sent),
        };
        let client_end = match forced && echoes {
            true => End { bytes, ..scenario.on_wire.client },
            false => End::default(),
        };
        let expected = Expectation { client: client_end, ..Expectation::default() };
        let server = self.side(path).address;
        played.looked = self.wire.seen(&expected, client, server).unwrap_or_else(|error| {
            let complaint = Some(format!("the capture failed: {error}"));
            Some(wire::OnWire { client, packets: Vec::new(), complaint })
        });
    }

    /// Checks the server after a scenario; a note about the server or the proxy if one has failed.
    fn survives(
        &mut self,
        path: Path,
        scenario: &'static Scenario,
        reached: bool,
    ) -> Option<String> {
        self.asks(path);
        // If the server behind the proxy dies, the proxy fails as well: find out which one died.
        if path == Path::Through && !self.side(path).is_well() && self.direct.is_well() {
            self.asks(Path::Direct);
        }
        let blamed = if self.direct.is_well() { path } else { Path::Direct };
        let side = self.side(blamed);
        match reached {
            true => side.played(scenario.id),
            false if !side.is_well() => side.found_unwell(),
            false => {}
        }
        let name = if blamed == Path::Through { "the proxy" } else { "the server" };
        let (fate, says) = (side.fate(), side.says());
        match (self.side(path).is_well(), reached) {
            (true, true) => None,
            (true, false) => Some(format!("the first connect to {name} failed")),
            (false, true) => Some(format!("{name} {fate}: {says}")),
            (false, false) => Some(format!("{name} had failed before this scenario: {says}")),
        }
    }

    fn once(&mut self, scenario: &'static Scenario, way: Way) -> Row {
        let mut direct = self.plays(Path::Direct, scenario, way);
        let dead = self.survives(Path::Direct, scenario, direct.reached());
        direct.seen.serves = self.direct.is_well();
        // Now, because its last packets came before the reply to the health check.
        self.looks(Path::Direct, scenario, &mut direct);
        let (outcome, note) = self.thought(scenario, &direct, dead);
        let ((verdict, evidence), log) = (direct.said(), direct.log());
        let sent = direct.sent();
        let row = Row {
            wire: direct.wire(),
            peer: direct.looked.as_ref().map(|looked| looked.client.to_string()),
            packets: direct.looked.map(|looked| looked.packets),
            verdict,
            evidence,
            log,
            seen: Some(direct.seen),
            outcome,
            note,
            ..row(scenario)
        };
        self.through(scenario, way, row, sent)
    }

    /// The outcome of the direct run, with the reason. The reason of the scenario holds for
    /// closecall's own server only.
    fn thought(
        &self,
        scenario: &Scenario,
        direct: &Played,
        dead: Option<String>,
    ) -> (RowOutcome, String) {
        let complaint = dead.or_else(|| direct.complaint(scenario));
        match (complaint, direct.untold(), &direct.told) {
            (Some(why), ..) if self.look.target.any_reply && direct.is_unfilled() => {
                (RowOutcome::Skipped, format!("needs a server whose buffers can be filled: {why}"))
            }
            (Some(complaint), ..) => (RowOutcome::Failed, complaint),
            (None, Some(untold), _) => (RowOutcome::Skipped, format!("needs a verdict: {untold}")),
            (None, None, Some(Ok(told))) if scenario.verdicts.contains(&told.kind) => {
                (RowOutcome::Ok, scenario.why.to_owned())
            }
            (None, None, _) => (RowOutcome::Ok, String::new()),
        }
    }

    /// Runs a race many times, and counts the server's verdicts.
    fn raced(&mut self, scenario: &'static Scenario, way: Way, tell: Tell<'_>) -> Row {
        let mut tally = Tally::default();
        let mut last = Played::default();
        while tally.goes_on(self.look.options) {
            let mut played = self.runs(Path::Direct, scenario, way, tally.runs());
            if self.look.options.is_stopped() {
                break; // an interrupted run does not count
            }
            let complaint = played.complaint(scenario);
            let told = played.told.as_ref().and_then(|told| told.as_ref().ok()).cloned();
            tally.sees(played.looked.take(), told.as_ref());
            tally.counts(told, complaint);
            tell(tally.runs());
            last = played;
        }
        self.wire.unwatch(self.direct.address);
        self.wire.watch(self.direct.address);
        let dead = self.survives(Path::Direct, scenario, last.reached());
        last.seen.serves = self.direct.is_well();
        let order = Order::Race.how().to_owned();
        let before = Row { order, ..row(scenario) };
        let row = tally.row(scenario, self.look.options.repeat, &before);
        // Without a capture, the last run represents all.
        let wire = if self.look.options.capture.is_some() { row.wire.clone() } else { last.wire() };
        let (sent, log) = (last.sent(), last.log());
        let untold = last.untold().map(|why| format!("needs a verdict: {why}"));
        let row = Row { wire, log, seen: Some(last.seen), ..row };
        let row = match (dead, untold, row.outcome) {
            (Some(note), ..) => Row { outcome: RowOutcome::Failed, note, ..row },
            (None, Some(note), RowOutcome::Ok) => Row { outcome: RowOutcome::Skipped, note, ..row },
            _ => row,
        };
        self.through(scenario, way, row, sent)
    }

    /// One run of a race, captured if it is one of the first.
    fn runs(&mut self, path: Path, scenario: &Scenario, way: Way, before: u32) -> Played {
        let mut played = self.plays(path, scenario, way);
        if before < RACES_SEEN_MAX {
            self.looks(path, scenario, &mut played);
        } else {
            let address = self.side(path).address;
            self.wire.unwatch(address);
        }
        played
    }
}

/// A row before it is played. A scenario whose order cannot be forced is a race.
fn row(scenario: &Scenario) -> Row {
    let (client, order) = match (scenario.play, scenario.elsewhere()) {
        (Play::Way(way), Elsewhere::Race(_)) => {
            (format!("{} (a race)", way.says()), "not forced: both sides run freely, once")
        }
        (Play::Way(way), _) => {
            (way.says().to_owned(), "the client waits for each event that must come first")
        }
        (Play::Skip { client, .. }, _) => (client.to_owned(), ""),
    };
    Row { client, order: order.to_owned(), ..Row::of(scenario) }
}

fn skipped(scenario: &Scenario, needs: &str) -> Row {
    Row { outcome: RowOutcome::Skipped, note: format!("needs {needs}"), ..row(scenario) }
}

//! A server elsewhere: what a client can see of it, whether it survives each scenario, and what it
//! says itself if its close log can be read. Directly, and through a proxy or balancer.
//!
//! Its turns are its own, so that only those orders are forced which a client alone can force; the
//! others are races, or are not played. It may speak first, never answer, never end: every act has
//! an end in time and in bytes.

mod played;
mod side;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use self::played::Played;
use self::side::{Side, plan};
use super::capture::{End, Expectation};
use super::differ::{Chance, change, differences};
use super::judge::Told;
use super::observe::{CloseLog, Untold};
use super::race::Tally;
use super::report::{Change, Outcome, Row, ServerRow, Via};
use super::run::{Error, Options, Tell, blank};
use super::scenario::{Elsewhere, Order, Play, Scenario};
use super::stage::receive_buffer;
use super::wire::{self, RACES_SEEN_MAX, Wire};
use crate::client::{Act, Client, Moment, Plan, Way};
use crate::machine::close::Kind;

/// How long somebody has to start a server again that has died.
const RESTART: Duration = Duration::from_secs(2);

/// How often is looked whether somebody has.
const RESTART_LOOK: Duration = Duration::from_millis(50);

/// How long a close log has to be quiet before lines behind a proxy are taken for ours: longer than
/// balancers wait between two health checks, as a rule.
const QUIET: Duration = Duration::from_millis(2_500);

/// Whom to play against.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server: the first of these that can be connected to.
    pub server: Vec<SocketAddr>,
    /// A proxy or balancer before it, likewise: each scenario is played through that as well.
    pub via: Option<Vec<SocketAddr>>,
    /// The close log of the server, a file here that grows.
    pub observe: Option<PathBuf>,
    /// How long to wait for the server's end; for a reply a quarter of it, or 3 s if that is more.
    pub patience: Duration,
}

/// Which way a client takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Path {
    Direct,
    Through,
}

/// A server elsewhere, and how to get there.
pub(super) struct Against<'a> {
    options: &'a Options<'a>,
    patience: Duration,
    log: Option<CloseLog>,
    wire: Wire<'a>,
    direct: Side,
    via: Option<Side>,
    /// Why lines of the close log are not joined behind the proxy.
    unjoined: Option<String>,
}

impl<'a> Against<'a> {
    /// Sees whether the server is there, and whether the close log is its own.
    ///
    /// # Errors
    /// It is not, or it is not.
    pub(super) fn start(options: &'a Options<'a>, target: &Target) -> Result<Against<'a>, Error> {
        let Target { server, via, observe, patience } = target.clone();
        let not_read = |error| Error::CloseLog(observe.clone().unwrap_or_default(), error);
        let open = |path: &PathBuf| CloseLog::open(path, options.stop);
        let mut log = observe.as_ref().map(open).transpose().map_err(not_read)?;
        let (direct, peer) = Side::find(&server, patience, options)?;
        if let Some(log) = &mut log {
            log.of(peer).map_err(|why| not_read(io::Error::other(why.to_string())))?;
        }
        let via = via.map(|via| Side::find(&via, patience, options)).transpose()?;
        let via = via.map(|(side, _)| side);
        let unjoined = match &mut log {
            Some(log) if via.is_some() => unjoined(log),
            _ => None,
        };
        let wire = Wire::new(options.capture);
        for side in [Some(&direct), via.as_ref()].into_iter().flatten() {
            if options.capture.is_some() && !side.is_here(peer) {
                return Err(Error::Unseen(side.address));
            }
            wire.watch(side.address);
        }
        Ok(Against { options, patience, log, wire, direct, via, unjoined })
    }

    /// Plays `scenario`, on both ways if there are two, and tells how often a race was run.
    pub(super) fn row(&mut self, scenario: &'static Scenario, tell: Tell<'_>) -> Row {
        match (scenario.play, scenario.elsewhere()) {
            (Play::Skip { needs, .. }, _) | (_, Elsewhere::Skip(needs)) => skipped(scenario, needs),
            _ if !self.revives(Path::Direct) => {
                skipped(scenario, &format!("a server: {}", self.direct.says()))
            }
            (Play::Way(way), _) if scenario.order == Order::Race && self.log.is_some() => {
                self.raced(scenario, way, tell)
            }
            (Play::Way(way), _) => self.once(scenario, way),
        }
    }

    /// The server and the proxy as they are at last, and the wire.
    pub(super) fn into_parts(mut self) -> (ServerRow, Option<ServerRow>, Wire<'a>) {
        let paths: &[Path] = match self.via {
            Some(_) => &[Path::Direct, Path::Through],
            None => &[Path::Direct],
        };
        for &path in paths {
            let was_well = self.side(path).is_well();
            self.asks(path);
            if was_well && !self.side(path).is_well() {
                self.side(path).found_dead();
            }
        }
        (self.direct.row(), self.via.as_ref().map(Side::row), self.wire)
    }

    fn plan(&self, server: SocketAddr, way: Way) -> Plan {
        let receive_buffer = receive_buffer(way);
        Plan { receive_buffer, ..plan(server, self.patience, self.options) }
    }

    fn side(&mut self, path: Path) -> &mut Side {
        match &mut self.via {
            Some(via) if path == Path::Through => via,
            _ => &mut self.direct,
        }
    }

    // ---- how the server is ----------------------------------------------------------------------

    /// Asks how it is on that way. The lines that this leaves in the close log are nobody else's.
    fn asks(&mut self, path: Path) {
        let (patience, options) = (self.patience, self.options);
        for peer in self.side(path).asks(patience, options) {
            let _ = self.told(path, peer, u64::MAX);
        }
    }

    /// Whether it is well there, or becomes so: somebody may start it again.
    fn revives(&mut self, path: Path) -> bool {
        let Some(wait) = self.side(path).patience_left(RESTART) else { return false };
        let give_up = Instant::now() + wait;
        while !self.side(path).is_well() {
            self.asks(path);
            if Instant::now() > give_up || self.options.is_stopped() {
                break;
            }
            thread::sleep(RESTART_LOOK);
        }
        self.side(path).is_well()
    }

    /// What the server said of the connection from `peer`, which sent so many bytes.
    fn told(&mut self, path: Path, peer: SocketAddr, sent: u64) -> Option<Result<Told, Untold>> {
        let log = self.log.as_mut()?;
        Some(match (path, &self.unjoined) {
            (Path::Direct, _) => log.of(peer),
            (Path::Through, None) => log.only(sent),
            (Path::Through, Some(why)) => Err(Untold::Unclear(why.clone())),
        })
    }

    // ---- one scenario ---------------------------------------------------------------------------

    /// Plays on one way.
    fn plays(&mut self, path: Path, scenario: &Scenario, way: Way) -> Played {
        let address = self.side(path).address;
        let plan = self.plan(address, way);
        let Ok((mut client, _)) = Client::connect(&plan) else { return Played::default() };
        let mut moments = Vec::new();
        client.play_all(&scenario.script(), |moment, _| moments.push(moment.clone()));
        let reply_bytes = self.direct.reply_bytes(client.sent() as u64);
        let mut played = Played::by(&client, moments, &plan, reply_bytes);
        played.told = self.told(path, client.local(), client.sent() as u64);
        played
    }

    /// What was on the wire. Of a server that is not ours only the client's part is expected, and
    /// only where all went as meant.
    fn looks(&mut self, path: Path, scenario: &Scenario, played: &mut Played) {
        let Some(client) = played.peer else { return };
        let forced = matches!(scenario.elsewhere(), Elsewhere::Forced(_));
        let client_end = match forced && !played.moments.iter().any(Moment::failed) {
            true => scenario.on_wire.client,
            false => End::default(),
        };
        let expected = Expectation { client: client_end, ..Expectation::default() };
        let server = self.side(path).address;
        played.looked = self.wire.seen(&expected, client, server).unwrap_or_else(|error| {
            let complaint = Some(format!("the capture failed: {error}"));
            Some(wire::Seen { client, packets: Vec::new(), complaint })
        });
    }

    /// How the server is after it, and whose death it was if it is not well; `None` if it is.
    fn survives(
        &mut self,
        path: Path,
        scenario: &'static Scenario,
        reached: bool,
    ) -> Option<String> {
        self.asks(path);
        // Who dies behind a proxy takes what the proxy says with it.
        if path == Path::Through && !self.side(path).is_well() && self.direct.is_well() {
            self.asks(Path::Direct);
        }
        let blamed = if self.direct.is_well() { path } else { Path::Direct };
        let side = self.side(blamed);
        match reached {
            true => side.played(scenario.id),
            false if !side.is_well() => side.found_dead(),
            false => {}
        }
        let who = if blamed == Path::Through { "the proxy" } else { "the server" };
        let (fate, says) = (side.fate(), side.says());
        match (self.side(path).is_well(), reached) {
            (true, true) => None,
            (true, false) => Some(format!("{who} could not be connected to at first")),
            (false, true) => Some(format!("{who} {fate}: {says}")),
            (false, false) => Some(format!("{who} was gone before this began: {says}")),
        }
    }

    fn once(&mut self, scenario: &'static Scenario, way: Way) -> Row {
        let mut direct = self.plays(Path::Direct, scenario, way);
        let dead = self.survives(Path::Direct, scenario, direct.reached());
        direct.seen.serves = self.direct.is_well();
        // Now: what was still to come of it came before the answer to a new one.
        self.looks(Path::Direct, scenario, &mut direct);
        let complaint = dead.or_else(|| direct.complaint(scenario));
        let ((verdict, evidence), log) = (direct.said(), direct.log());
        let row = Row {
            wire: direct.wire(),
            peer: direct.looked.as_ref().map(|looked| looked.client.to_string()),
            packets: direct.looked.map(|looked| looked.packets),
            verdict,
            evidence,
            log,
            seen: Some(direct.seen),
            outcome: if complaint.is_some() { Outcome::Failed } else { Outcome::Ok },
            note: complaint.unwrap_or_else(|| scenario.why.to_owned()),
            ..row(scenario)
        };
        self.through(scenario, way, row)
    }

    /// The same through the proxy, held against the direct way.
    fn through(&mut self, scenario: &'static Scenario, way: Way, row: Row) -> Row {
        if self.via.is_none() || !self.direct.is_well() || !self.revives(Path::Through) {
            return row;
        }
        let mut played = self.plays(Path::Through, scenario, way);
        let dead = self.survives(Path::Through, scenario, played.reached());
        played.seen.serves = self.side(Path::Through).is_well();
        self.looks(Path::Through, scenario, &mut played);
        let (wire, log) = (played.wire(), played.log());
        let (verdict, evidence) = played.said();
        let untold = played.told.and_then(Result::err);
        let note = untold.as_ref().map(Untold::to_string);
        let mut via = Via {
            wire,
            seen: played.seen,
            verdict,
            evidence,
            log,
            race: None,
            change: Change::Same,
            differs: Vec::new(),
            note,
        };
        let (chance, right) = chance(scenario);
        via.differs = differences(&row, &via, chance, right);
        // It may never have come to the server at all.
        if let (Some(verdict), Some(Untold::NoLine(why))) = (&row.verdict, untold) {
            via.differs.push(format!("the server says {verdict} → nothing: {why}"));
        }
        via.change = change(&row, &via, chance);
        let row = Row { via: Some(via), ..row };
        match dead {
            Some(note) if row.outcome != Outcome::Failed => {
                Row { outcome: Outcome::Failed, note: format!("through the proxy: {note}"), ..row }
            }
            _ => row,
        }
    }

    /// Runs a race over and over, to count what the server says of it.
    fn raced(&mut self, scenario: &'static Scenario, way: Way, tell: Tell<'_>) -> Row {
        let mut tally = Tally::default();
        let mut last = Played::default();
        while tally.goes_on(self.options) {
            let mut played = self.plays(Path::Direct, scenario, way);
            if self.options.is_stopped() {
                break; // what was broken off does not count
            }
            if tally.runs() < RACES_SEEN_MAX {
                self.looks(Path::Direct, scenario, &mut played);
            } else {
                self.wire.unwatch(self.direct.address);
            }
            let complaint = played.complaint(scenario);
            let told = played.told.take().and_then(Result::ok);
            tally.sees(played.looked.take(), told.as_ref());
            tally.counts(told, complaint);
            tell(tally.runs());
            last = played;
        }
        self.wire.unwatch(self.direct.address);
        self.wire.watch(self.direct.address);
        let dead = self.survives(Path::Direct, scenario, last.reached());
        last.seen.serves = self.direct.is_well();
        let row = tally.row(scenario, self.options.repeat, &row(scenario));
        // Where nobody looks, the last run stands for all.
        let wire = if self.options.capture.is_some() { row.wire.clone() } else { last.wire() };
        let row = Row { wire, seen: Some(last.seen), ..row };
        let row = match dead {
            Some(note) => Row { outcome: Outcome::Failed, note, ..row },
            None => row,
        };
        self.through(scenario, way, row)
    }
}

/// Why lines cannot be joined behind the proxy; `None` if they can. Whoever asks that way has a
/// port of the proxy's, so nothing but the order of the lines tells whose they are.
fn unjoined(log: &mut CloseLog) -> Option<String> {
    if let Err(why) = log.only(u64::MAX) {
        return Some(format!("through the proxy: {why}"));
    }
    log.is_noisy(QUIET).then(|| {
        "others end connections at the server meanwhile, such as health checks of the proxy: whose \
         line is ours cannot be told"
            .to_owned()
    })
}

/// What of it is chance, and which verdicts are right.
fn chance(scenario: &Scenario) -> (Chance, &'static [Kind]) {
    match scenario.elsewhere() {
        Elsewhere::Race(kinds) => (Chance::Race, kinds),
        Elsewhere::Forced(kinds) if scenario.script().contains(&Act::Fill) => {
            (Chance::Bytes, kinds)
        }
        Elsewhere::Forced(kinds) => (Chance::Nothing, kinds),
        Elsewhere::Skip(_) => (Chance::Nothing, &[]),
    }
}

/// A row before it is played: whose order is not ours is a race.
fn row(scenario: &Scenario) -> Row {
    let (client, order) = match (scenario.play, scenario.elsewhere()) {
        (Play::Way(way), Elsewhere::Race(_)) => {
            (format!("{} (a race)", way.says()), Order::Race.how())
        }
        (Play::Way(way), _) => {
            (way.says().to_owned(), "the client waits for what has to come first")
        }
        (Play::Skip { client, .. }, _) => (client.to_owned(), ""),
    };
    Row { client, order: order.to_owned(), ..blank(scenario) }
}

fn skipped(scenario: &Scenario, needs: &str) -> Row {
    Row { outcome: Outcome::Skipped, note: format!("needs {needs}"), ..row(scenario) }
}

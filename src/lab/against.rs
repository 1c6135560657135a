//! A server elsewhere: what a client can see of it, whether it survives each scenario, and what it
//! says itself if its close log can be read. Directly, and through a proxy or balancer.
//!
//! Its turns are its own, so that only those orders are forced which a client alone can force; the
//! others are races, or are not played. It may speak first, never answer, never end: every act has
//! an end in time and in bytes.

mod side;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use self::side::{Side, health, plan, side};
use super::capture::{End, Expectation};
use super::differ::{Chance, differences};
use super::judge::{self, Told};
use super::observe::CloseLog;
use super::race::Tally;
use super::report::{Outcome, Row, Seen, SeenEnd, ServerRow, Via};
use super::run::{Error, Options, blank};
use super::scenario::{Elsewhere, Order, Play, Scenario};
use super::wire::{self, Wire};
use crate::client::{Act, Client, Did, Moment, Plan, ServerEnd, Way};
use crate::machine::close::Kind;
use crate::record::Evidence;

/// Whom to play against.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server: the first of these that can be connected to.
    pub server: Vec<SocketAddr>,
    /// A proxy or balancer before it, likewise: each scenario is played through that as well.
    pub via: Option<Vec<SocketAddr>>,
    /// The close log of the server, a file here that grows.
    pub observe: Option<PathBuf>,
    /// How long to wait for the server's end.
    pub patience: Duration,
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

/// What came of a scenario on one side.
struct Played {
    moments: Vec<Moment>,
    /// What was on the wire, if somebody looked.
    looked: Option<wire::Seen>,
    seen: Seen,
    /// What the server said of it, or why that is not known; nothing without a close log.
    told: Option<Result<Told, String>>,
}

impl<'a> Against<'a> {
    /// Sees whether the server is there, and whether the close log is its own.
    ///
    /// # Errors
    /// It is not, or it is not.
    pub(super) fn start(options: &'a Options<'a>, target: &Target) -> Result<Against<'a>, Error> {
        let Target { server, via, observe, patience } = target.clone();
        let not_read = |error| Error::CloseLog(observe.clone().unwrap_or_default(), error);
        let mut log = observe.as_deref().map(CloseLog::open).transpose().map_err(not_read)?;
        let (direct, peer) = side(&server, patience, options)?;
        if let Some(log) = &mut log {
            log.of(peer).map_err(|why| not_read(io::Error::other(why)))?;
        }
        let (via, unjoined) = match via {
            None => (None, None),
            Some(via) => {
                let (side, _) = side(&via, patience, options)?;
                let joined = log.as_mut().and_then(|log| log.only().err());
                (Some(side), joined.map(|why| format!("through the proxy: {why}")))
            }
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

    /// Plays `scenario`, on both sides if there are two.
    pub(super) fn row(&mut self, scenario: &'static Scenario) -> Row {
        match (scenario.play, scenario.elsewhere()) {
            (Play::Skip { needs, .. }, _) | (_, Elsewhere::Skip(needs)) => skipped(scenario, needs),
            _ if !self.revives(false) => skipped(scenario, "a server; this one is gone"),
            (Play::Way(way), _) if scenario.order == Order::Race && self.log.is_some() => {
                self.raced(scenario, way)
            }
            (Play::Way(way), _) => self.once(scenario, way),
        }
    }

    /// The server and the proxy as they were last, and the wire.
    pub(super) fn into_parts(self) -> (ServerRow, Option<ServerRow>, Wire<'a>) {
        (self.direct.row(), self.via.as_ref().map(Side::row), self.wire)
    }

    fn plan(&self, server: SocketAddr, way: Way) -> Plan {
        let narrow = matches!(way, Way::CloseFull | Way::Stall);
        let receive_buffer = narrow.then_some(1);
        Plan { receive_buffer, ..plan(server, self.patience, self.options) }
    }

    fn side(&mut self, through: bool) -> &mut Side {
        match &mut self.via {
            Some(via) if through => via,
            _ => &mut self.direct,
        }
    }

    /// Whether that side is as healthy as ever: somebody may have started it again.
    fn revives(&mut self, through: bool) -> bool {
        let side = self.side(through);
        if side.health < side.healthy {
            self.checks(through);
        }
        let side = self.side(through);
        side.health >= side.healthy
    }

    /// Asks that side how it is.
    fn checks(&mut self, through: bool) {
        let (address, healthy) = (self.side(through).address, self.side(through).healthy);
        let (health, peer) = health(&self.plan(address, Way::Close), healthy);
        // Who was told to stop did not wait for the answer.
        if self.options.is_stopped() {
            return;
        }
        self.side(through).health = health;
        // Its line shall not be taken for somebody else's.
        if let Some(peer) = peer {
            let _ = self.told(through, peer);
        }
    }

    /// What the server said of the connection from `peer`.
    fn told(&mut self, through: bool, peer: SocketAddr) -> Option<Result<Told, String>> {
        let log = self.log.as_mut()?;
        match (through, &self.unjoined) {
            (false, _) => Some(log.of(peer)),
            (true, None) => Some(log.only()),
            (true, Some(why)) => Some(Err(why.clone())),
        }
    }

    /// Plays on one side, and sees whether it survives.
    fn plays(&mut self, through: bool, scenario: &Scenario, way: Way) -> Played {
        let address = self.side(through).address;
        let plan = self.plan(address, way);
        let (mut moments, mut seen, mut told) = (Vec::new(), Seen::default(), None);
        let mut peer = None;
        match Client::connect(&plan) {
            Err(error) => {
                let did = Did::Failed(error.to_string());
                moments.push(Moment { at: Duration::ZERO, act: None, did });
            }
            Ok((mut client, _)) => {
                client.play_all(&scenario.script(), |moment, _| moments.push(moment.clone()));
                seen = sees(&client, &moments);
                seen.in_vain = no_echo(&client, &moments);
                told = self.told(through, client.local());
                peer = Some(client.local());
            }
        }
        let failed = moments.iter().find(|moment| moment.failed()).map(judge::of_client);
        seen.in_vain = failed.or(seen.in_vain);
        self.checks(through);
        let side = self.side(through);
        seen.serves = side.is_well();
        if !seen.serves {
            side.died_of.push(scenario.id.to_owned());
        }
        // Last: what is still to come of the old connection has come before an answer to a new one.
        let looked = peer.and_then(|peer| self.looks(peer, address, scenario, &moments));
        Played { moments, looked, seen, told }
    }

    /// What was on the wire. Of a server that is not ours only the client's part is expected, and
    /// only where all went as meant.
    fn looks(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
        scenario: &Scenario,
        moments: &[Moment],
    ) -> Option<wire::Seen> {
        let forced = matches!(scenario.elsewhere(), Elsewhere::Forced(_));
        let client_end = match forced && !moments.iter().any(Moment::failed) {
            true => scenario.on_wire.client,
            false => End::default(),
        };
        let expected = Expectation { client: client_end, ..Expectation::default() };
        self.wire.seen(&expected, client, server).unwrap_or_else(|error| {
            let complaint = Some(format!("the capture failed: {error}"));
            Some(wire::Seen { client, packets: Vec::new(), complaint })
        })
    }

    fn once(&mut self, scenario: &'static Scenario, way: Way) -> Row {
        let direct = self.plays(false, scenario, way);
        let complaint = complaint(scenario, &direct);
        let (verdict, evidence) = split(&direct.told);
        let row = Row {
            wire: direct.wire(),
            peer: direct.looked.as_ref().map(|looked| looked.client.to_string()),
            packets: direct.looked.map(|looked| looked.packets),
            verdict,
            evidence,
            seen: Some(direct.seen),
            outcome: match (scenario.same_as, scenario.elsewhere()) {
                (Some(_), Elsewhere::Forced(_)) => Outcome::Same,
                _ => Outcome::Ok,
            },
            note: scenario.why.to_owned(),
            ..row(scenario)
        };
        let row = match complaint {
            Some(note) => Row { outcome: Outcome::Failed, note, ..row },
            None => row,
        };
        self.through(scenario, way, row)
    }

    /// The same through the proxy, held against the direct way.
    fn through(&mut self, scenario: &Scenario, way: Way, row: Row) -> Row {
        if self.via.is_none() || !self.direct.is_well() || !self.revives(true) {
            return row;
        }
        let played = self.plays(true, scenario, way);
        let wire = played.wire();
        let Played { seen, told, .. } = played;
        let (verdict, evidence) = split(&told);
        let note = told.and_then(Result::err);
        let survives = seen.serves;
        let mut via = Via { wire, seen, verdict, evidence, differs: Vec::new(), note };
        let (chance, right) = chance(scenario);
        via.differs = differences(&row, &via, chance, right);
        if let (Some(verdict), Some(why), None) = (&row.verdict, &via.note, &self.unjoined) {
            via.differs.push(format!("the server says {verdict} → nothing: {why}"));
        }
        let row = Row { via: Some(via), ..row };
        match survives || row.outcome == Outcome::Failed {
            true => row,
            false => Row {
                outcome: Outcome::Failed,
                note: "through the proxy nobody serves any more after this".to_owned(),
                ..row
            },
        }
    }

    /// Runs a race over and over, to count what the server says of it.
    fn raced(&mut self, scenario: &'static Scenario, way: Way) -> Row {
        let mut tally = Tally::default();
        let mut last = None;
        while tally.runs() < self.options.repeat && !self.options.is_stopped() && !tally.is_over() {
            let mut played = self.plays(false, scenario, way);
            let complaint = complaint(scenario, &played);
            let told = played.told.take().and_then(Result::ok);
            tally.sees(played.looked.take(), told.as_ref());
            tally.counts(told, complaint);
            last = Some(played);
        }
        let row = tally.row(scenario, self.options.repeat, &row(scenario));
        // Where nobody looks, the last run stands for all.
        let expected = last.as_ref().map(Played::wire).filter(|_| self.options.capture.is_none());
        let wire = expected.unwrap_or_else(|| row.wire.clone());
        let row = Row { wire, seen: last.map(|played| played.seen), ..row };
        self.through(scenario, way, row)
    }
}

impl Played {
    /// What went over the wire, as it was seen there or else as far as the client knows, the
    /// handshake left out.
    fn wire(&self) -> String {
        match &self.looked {
            Some(looked) => looked.wire(),
            None => {
                let texts = self.moments.iter().map(Moment::wire);
                texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
            }
        }
    }
}

/// What the client saw; how the server is afterwards is not known yet.
fn sees(client: &Client, moments: &[Moment]) -> Seen {
    let unread = moments.iter().find_map(|moment| match moment.did {
        Did::Closed { unread, .. } => Some(unread),
        _ => None,
    });
    let end = client.server_end();
    Seen {
        bytes: (client.received() + unread.unwrap_or(0)) as u64,
        end: end.map(|(end, _)| match end {
            ServerEnd::Fin => SeenEnd::Fin,
            ServerEnd::Reset => SeenEnd::Reset,
        }),
        end_us: end.map(|(_, at)| at.as_micros() as u64),
        ..Seen::default()
    }
}

/// Who reads to the end may find that the end came before the reply.
fn no_echo(client: &Client, moments: &[Moment]) -> Option<String> {
    let is_end = |moment: &Moment| moment.act == Some(Act::ReadToEnd) && !moment.failed();
    let bytes = client.received();
    (moments.iter().any(is_end) && !client.is_echoed())
        .then(|| format!("{bytes} bytes came, and they are not the whole echo"))
}

/// What is wrong with it. That a server keeps a silent client for long is its own business.
fn complaint(scenario: &Scenario, played: &Played) -> Option<String> {
    if !played.seen.serves {
        return Some(match played.moments.first() {
            Some(Moment { act: None, .. }) => "the server was gone before this began".to_owned(),
            _ => "the server did not survive this: it serves nobody any more".to_owned(),
        });
    }
    let on_wire = played.looked.as_ref().and_then(|looked| looked.complaint.clone());
    let is_idle = |moment: &Moment| moment.act == Some(Act::AwaitEnd) && moment.did == Did::GaveUp;
    match (&played.seen.in_vain, &played.told) {
        (Some(_), _) if played.moments.iter().any(is_idle) => None,
        (Some(in_vain), _) => Some(in_vain.clone()),
        (None, Some(Err(why))) => Some(why.clone()),
        (None, Some(Ok(told))) => match scenario.elsewhere() {
            Elsewhere::Forced(kinds) | Elsewhere::Race(kinds) => judge::of_kind(kinds, told),
            Elsewhere::Skip(_) => None,
        }
        .or(on_wire),
        (None, None) => on_wire,
    }
}

/// For a row.
fn split(told: &Option<Result<Told, String>>) -> (Option<String>, Option<Evidence>) {
    match told {
        Some(Ok(told)) => (Some(told.kind.name().to_owned()), Some(told.evidence.clone())),
        _ => (None, None),
    }
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

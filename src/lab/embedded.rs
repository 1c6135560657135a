//! Run against the lab's own servers: every order of events is forced, and both sides are recorded.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::judge::{self, ServerAccount};
use super::options::{Options, Tell};
use super::race::Tally;
use super::recv_loop::{LastRecv, RecvLoop};
use super::report::{Row, RowOutcome, ServerRow};
use super::scenario::{Order, Play, Scenario, Setting};
use super::stepped::{
    DEADLINE_MS, FreeServer, MESSAGE, SteppedServer, receive_buffer, send_buffer,
};
use super::wire::{RACES_SEEN_MAX, Wire};
use crate::client::{Act, Client, Did, Performed, Plan, Way};
use crate::machine::close::Kind;

const DEADLINE: Duration = Duration::from_millis(DEADLINE_MS);

/// The timeout of each act of a client.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a client waits for a recv loop that hangs in send.
const HANGS: Duration = Duration::from_millis(DEADLINE_MS + DEADLINE_MS / 4);

/// The recv loop's buffer, as in the article.
const BUFFER_BYTES: usize = 65_535;

/// Closecall's own server and the plain recv loop.
pub(super) struct Embedded<'a> {
    options: &'a Options<'a>,
    /// The server that most scenarios share.
    server: SteppedServer,
    recv_loop: RecvLoop,
    wire: Wire<'a>,
}

/// The result of a scenario against closecall's server.
struct Played {
    /// The client's address.
    peer: SocketAddr,
    performed: Vec<Performed>,
    told: Option<ServerAccount>,
}

impl<'a> Embedded<'a> {
    /// # Errors
    /// The system has no port, no file or no thread for the servers.
    pub(super) fn start(options: &'a Options<'a>) -> io::Result<Embedded<'a>> {
        let server = SteppedServer::new(Setting::Shared)?;
        let recv_loop = RecvLoop::start(DEADLINE, BUFFER_BYTES)?;
        let wire = Wire::new(options.capture);
        wire.watch(server.address());
        Ok(Embedded { options, server, recv_loop, wire })
    }

    pub(super) fn into_wire(self) -> Wire<'a> {
        self.wire
    }

    /// The shared server, and whether it still answers.
    pub(super) fn server(&mut self) -> ServerRow {
        let address = self.server.address();
        let plan = self.plan(address, Way::Close);
        let played = played(&mut self.server, &plan, Order::AsPlayed, Way::Close.script());
        let delivered = |it: ServerAccount| it.kind == Kind::PeerFinDelivered;
        let alive = played.is_ok_and(|played| played.told.is_some_and(delivered));
        ServerRow {
            address: address.to_string(),
            alive,
            echoes: Some(true),
            died_of: Vec::new(),
            hung_in: Vec::new(),
            deadline_ms: Some(DEADLINE_MS),
        }
    }

    fn plan(&self, server: SocketAddr, way: Way) -> Plan {
        Plan {
            message: MESSAGE.to_vec(),
            patience: PATIENCE,
            end_patience: PATIENCE,
            receive_buffer: receive_buffer(way),
            send_buffer: send_buffer(way),
            holder: self.options.holder.clone(),
            ..Plan::new(server)
        }
    }

    /// Plays `scenario` against both servers.
    pub(super) fn row(&mut self, scenario: &'static Scenario, tell: Tell<'_>) -> Row {
        let row = Row::of(scenario);
        let result = match scenario.play {
            Play::Skip { needs, .. } => {
                let note = format!("needs {needs}");
                return Row { outcome: RowOutcome::Skipped, note, ..row };
            }
            Play::Way(_) if self.server.is_over() => {
                Err(io::Error::other("the lab's server has stopped"))
            }
            Play::Way(way) if scenario.order == Order::Race => {
                self.raced(scenario, way, &row, tell)
            }
            Play::Way(way) => self.once(scenario, way, &row),
        };
        // A system error in one scenario need not affect the next.
        result.unwrap_or_else(|error| Row {
            outcome: RowOutcome::Failed,
            note: format!("cannot be played: {error}"),
            ..row
        })
    }

    fn once(&mut self, scenario: &'static Scenario, way: Way, row: &Row) -> io::Result<Row> {
        let script = scenario.script();
        let mut own = match scenario.setting {
            Setting::Shared => None,
            setting => Some(SteppedServer::new(setting)?),
        };
        let address = own.as_ref().unwrap_or(&self.server).address();
        let plan = self.plan(address, way);
        if own.is_some() {
            self.wire.watch(address);
        }
        let server = own.as_mut().unwrap_or(&mut self.server);
        let played = played(server, &plan, scenario.order, &script)?;
        let seen = self.wire.seen(&scenario.on_wire, played.peer, address)?;
        if own.is_some() {
            self.wire.unwatch(address);
        }
        let recv = self.beside_recv_loop(scenario, way, &script)?.map(LastRecv::says);

        let complaint = judge::complaint(scenario, &played.performed, played.told.as_ref());
        let on_wire = seen.as_ref().and_then(|seen| seen.complaint.clone());
        let complaints: Vec<_> = complaint.into_iter().chain(on_wire).collect();
        let (outcome, note) = match (&*complaints, scenario.same_as) {
            ([], Some(_)) => (RowOutcome::Same, scenario.why.to_owned()),
            ([], None) => (RowOutcome::Ok, scenario.why.to_owned()),
            _ => (RowOutcome::Failed, complaints.join("; ")),
        };
        let verdict = played.told.as_ref().map(|told| told.kind.name());
        let article =
            scenario.experiment.map(|it| judge::article(&it, recv.as_ref(), verdict, None));
        let wire = match &seen {
            Some(seen) => seen.wire(),
            None => expected(&played.performed, scenario.then),
        };
        Ok(Row {
            wire,
            peer: seen.as_ref().map(|seen| seen.client.to_string()),
            packets: seen.map(|seen| seen.packets),
            recv_loop: recv,
            verdict: verdict.map(str::to_owned),
            evidence: played.told.map(|told| told.evidence),
            outcome,
            article,
            note,
            ..row.clone()
        })
    }

    /// Plays the scenario against the recv loop, and returns the result of its last recv.
    fn beside_recv_loop(
        &self,
        scenario: &Scenario,
        way: Way,
        script: &[Act],
    ) -> io::Result<Option<LastRecv>> {
        let own = match scenario.setting {
            Setting::Sips => Some(RecvLoop::start(DEADLINE, MESSAGE.len())?),
            _ => None,
        };
        let recv_loop = own.as_ref().unwrap_or(&self.recv_loop);
        let mut plan = self.plan(recv_loop.address(), way);
        if way == Way::Stall {
            plan.end_patience = HANGS;
        }
        let accepted = recv_loop.accepted();
        let (mut client, _) = Client::connect(&plan)?;
        let peer = client.local();
        let mut is_in = scenario.order == Order::AcceptedFirst;
        if is_in {
            recv_loop.let_in();
            recv_loop.wait_accepted(accepted + 1, PATIENCE);
        }
        for &act in script {
            if act.waits_for_server() && !is_in {
                recv_loop.let_in();
                is_in = true;
            }
            let performed = client.play(act);
            if matches!((act, performed.did), (Act::AwaitEnd, Did::GaveUp)) {
                return Ok(recv_loop.last_recv(peer, Duration::ZERO));
            }
        }
        if !is_in {
            recv_loop.let_in();
        }
        Ok(recv_loop.last_recv(peer, PATIENCE))
    }

    /// Runs a race many times against both servers.
    fn raced(
        &mut self,
        scenario: &'static Scenario,
        way: Way,
        row: &Row,
        tell: Tell<'_>,
    ) -> io::Result<Row> {
        let server = FreeServer::start()?;
        self.wire.watch(server.address());
        let ours = self.plan(server.address(), way);
        let theirs = self.plan(self.recv_loop.address(), way);
        let mut tally = Tally::default();
        while tally.goes_on(self.options) {
            let peer = runs(&ours, way)?;
            let told = server.ending_of(peer).as_ref().map(ServerAccount::from);
            if tally.runs() < RACES_SEEN_MAX {
                tally.sees(
                    self.wire.seen(&scenario.on_wire, peer, server.address())?,
                    told.as_ref(),
                );
            } else {
                self.wire.unwatch(server.address());
            }
            let complaint = match &told {
                Some(told) => judge::of_verdict(scenario, told),
                None => judge::complaint(scenario, &[], None),
            };
            tally.counts(told, complaint);
            tell(tally.runs());
            self.recv_loop.let_in();
            let peer = runs(&theirs, way)?;
            tally.hears(self.recv_loop.last_recv(peer, PATIENCE));
        }
        self.wire.unwatch(server.address());
        Ok(tally.row(scenario, self.options.repeat, row))
    }
}

/// Plays `way`, and returns the client's address.
fn runs(plan: &Plan, way: Way) -> io::Result<SocketAddr> {
    let (mut client, _) = Client::connect(plan)?;
    for &act in way.script() {
        client.play(act);
    }
    Ok(client.local())
}

/// Plays a script against a server that acts only while the client waits, and after its last act.
fn played(
    server: &mut SteppedServer,
    plan: &Plan,
    order: Order,
    script: &[Act],
) -> io::Result<Played> {
    server.guarded(|server| {
        let (mut client, _) = Client::connect(plan)?;
        if order == Order::AcceptedFirst {
            server.accepts();
        }
        let mut performed = Vec::new();
        for &act in script {
            if order == Order::ServerFirst && act == Act::AwaitEnd {
                server.drain();
            }
            performed.push(client.play_beside(act, Some(&mut || server.turn())));
            // The acts after a failed one would be another scenario.
            if performed.last().is_some_and(Performed::failed) {
                break;
            }
        }
        let peer = client.local();
        drop(client);
        Ok(Played {
            peer,
            performed,
            told: server.ending_of(peer).as_ref().map(ServerAccount::from),
        })
    })
}

/// The expected sequence on the wire without the handshake.
fn expected(performed: &[Performed], then: &str) -> String {
    let text = |performed: &Performed| match performed.did {
        // The fate of a late reply is in `then`, which has its length.
        Did::Closed { reset: false, fin: true, .. } => "→ FIN".to_owned(),
        Did::Closed { reset: false, .. } => String::new(),
        _ => performed.wire(),
    };
    let mut texts: Vec<_> = performed.iter().map(text).chain([then.to_owned()]).collect();
    texts.retain(|text| !text.is_empty());
    texts.join(" ")
}

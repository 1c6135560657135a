//! Plays the scenarios, one after the other.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::judge;
use super::recv_loop::{LastRecv, RecvLoop};
use super::report::{Evidence, Outcome, Race, Report, Row, ServerRow, WireSource};
use super::scenario::{Order, Play, Scenario, Setting};
use super::stage::{DEADLINE_MS, FreeServer, MESSAGE, Stage};
use crate::client::{Act, Client, Did, Moment, Plan, Way};
use crate::machine::close::Kind;
use crate::reactor::Ending;

const DEADLINE: Duration = Duration::from_millis(DEADLINE_MS);

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a recv loop may keep a client waiting that is to find it hanging.
const HANGS: Duration = Duration::from_millis(DEADLINE_MS + DEADLINE_MS / 4);

/// The recv loop's buffer, as in the article.
const BUFFER_BYTES: usize = 65_535;

/// What to play.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// These, in this order.
    pub scenarios: Vec<&'static Scenario>,
    /// How often a race is run.
    pub repeat: u32,
    /// A command that runs until it is killed, see [`Plan::holder`].
    pub holder: Vec<OsString>,
    /// Set from elsewhere: play no more, and give what there is.
    pub stop: &'a AtomicBool,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is played now.
    pub scenario: &'static Scenario,
    /// Rows that are done.
    pub done: usize,
}

/// Plays everything against servers of its own, and tells `progress` before each scenario.
///
/// # Errors
/// The system has no port, no file or no thread for the servers.
pub fn run(options: &Options<'_>, progress: &mut dyn FnMut(Progress)) -> io::Result<Report> {
    let mut lab = Lab {
        options,
        stage: Stage::new(Setting::Shared)?,
        recv_loop: RecvLoop::start(DEADLINE, BUFFER_BYTES)?,
    };
    let mut rows: Vec<Row> = Vec::new();
    for (done, &scenario) in options.scenarios.iter().enumerate() {
        if lab.is_stopped() {
            break;
        }
        progress(Progress { scenario, done });
        let mut row = lab.row(scenario);
        let first = rows.iter().find(|first| row.same_as.as_ref() == Some(&first.id));
        if let (Outcome::Same, Some(first)) = (row.outcome, first)
            && let Some(difference) = judge::difference(&row, first)
        {
            (row.outcome, row.note) = (Outcome::Failed, difference);
        }
        rows.push(row);
    }
    let server = ServerRow {
        address: lab.stage.address().to_string(),
        alive: lab.is_alive(),
        deadline_ms: Some(DEADLINE_MS),
    };
    Ok(Report { server, wire: WireSource::Expected, rows })
}

struct Lab<'a> {
    options: &'a Options<'a>,
    /// The server that most scenarios share.
    stage: Stage,
    recv_loop: RecvLoop,
}

/// What came of a scenario beside our server.
#[derive(Default)]
struct Played {
    moments: Vec<Moment>,
    ending: Option<Ending>,
}

impl Lab<'_> {
    fn is_stopped(&self) -> bool {
        self.options.stop.load(Ordering::Relaxed)
    }

    /// Whether the shared server still answers.
    fn is_alive(&mut self) -> bool {
        let acts = Way::Close.script();
        let plan = self.plan(self.stage.address(), Way::Close);
        let played = played(&mut self.stage, &plan, Order::AsPlayed, acts);
        let delivered = |it: &Ending| it.verdict.kind == Kind::PeerFinDelivered;
        played.is_ok_and(|played| played.ending.as_ref().is_some_and(delivered))
    }

    fn plan(&self, server: SocketAddr, way: Way) -> Plan {
        // A small window is full soon, and stays so.
        let narrow = matches!(way, Way::CloseFull | Way::Stall);
        Plan {
            message: MESSAGE.to_vec(),
            patience: PATIENCE,
            receive_buffer: narrow.then_some(1),
            holder: self.options.holder.clone(),
            ..Plan::new(server)
        }
    }

    /// Plays `scenario` beside both servers.
    fn row(&mut self, scenario: &'static Scenario) -> Row {
        let row = blank(scenario);
        let result = match scenario.play {
            Play::Skip { needs, .. } => {
                let note = format!("needs {needs}");
                return Row { outcome: Outcome::Skipped, note, ..row };
            }
            Play::Way(_) if self.stage.is_over() => Err(io::Error::other("the server is over")),
            Play::Way(way) if scenario.order == Order::Race => self.raced(scenario, way, &row),
            Play::Way(way) => self.once(scenario, way, &row),
        };
        // What the system refuses in one scenario need not concern the next.
        result.unwrap_or_else(|error| Row {
            outcome: Outcome::Failed,
            note: format!("could not be played: {error}"),
            ..row
        })
    }

    fn once(&mut self, scenario: &'static Scenario, way: Way, row: &Row) -> io::Result<Row> {
        let script = scenario.script();
        let mut own = match scenario.setting {
            Setting::Shared => None,
            setting => Some(Stage::new(setting)?),
        };
        let address = own.as_ref().unwrap_or(&self.stage).address();
        let plan = self.plan(address, way);
        let stage = own.as_mut().unwrap_or(&mut self.stage);
        let played = played(stage, &plan, scenario.order, &script)?;
        let recv = self.beside_recv_loop(scenario, way, &script)?.map(LastRecv::says);

        let complaint = judge::complaint(scenario, &played.moments, played.ending.as_ref());
        let (outcome, note) = match (complaint, scenario.same_as) {
            (Some(complaint), _) => (Outcome::Failed, complaint),
            (None, Some(_)) => (Outcome::Same, scenario.why.to_owned()),
            (None, None) => (Outcome::Ok, scenario.why.to_owned()),
        };
        let verdict = played.ending.as_ref().map(|ending| ending.verdict.kind.name());
        let article =
            scenario.experiment.map(|it| judge::article(&it, recv.as_ref(), verdict, None));
        Ok(Row {
            wire: wire(&played.moments, scenario.then),
            recv_loop: recv,
            verdict: verdict.map(str::to_owned),
            evidence: played.ending.as_ref().map(Evidence::from),
            outcome,
            article,
            note,
            ..row.clone()
        })
    }

    /// Plays the same beside the recv loop, and gives what its last recv returned.
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
            plan.patience = HANGS;
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
            let moment = client.play(act);
            if matches!((act, moment.did), (Act::AwaitEnd, Did::GaveUp)) {
                return Ok(recv_loop.last_recv(peer, Duration::ZERO));
            }
        }
        if !is_in {
            recv_loop.let_in();
        }
        Ok(recv_loop.last_recv(peer, PATIENCE))
    }

    /// Runs a race, against both servers, over and over.
    fn raced(&mut self, scenario: &'static Scenario, way: Way, row: &Row) -> io::Result<Row> {
        let server = FreeServer::start()?;
        let ours = self.plan(server.address(), way);
        let theirs = self.plan(self.recv_loop.address(), way);
        let mut tally = Tally::default();
        while tally.race.runs < self.options.repeat && !self.is_stopped() {
            let peer = runs(&ours, way)?;
            tally.takes(scenario, server.ending_of(peer));
            self.recv_loop.let_in();
            let peer = runs(&theirs, way)?;
            tally.hears(self.recv_loop.last_recv(peer, PATIENCE));
            if tally.lost {
                break;
            }
        }
        if tally.race.runs < self.options.repeat && tally.complaint.is_none() {
            tally.complaint = Some(format!("interrupted after {} runs", tally.race.runs));
        }
        Ok(tally.row(scenario, row))
    }
}

/// The odds of a race so far.
#[derive(Default)]
struct Tally {
    race: Race,
    /// One of each kind that came.
    endings: Vec<Ending>,
    recvs: Vec<LastRecv>,
    complaint: Option<String>,
    /// No verdict came: none will.
    lost: bool,
}

impl Tally {
    fn takes(&mut self, scenario: &Scenario, ending: Option<Ending>) {
        self.race.runs += 1;
        let Some(ending) = ending else {
            self.lost = true;
            self.complaint = judge::complaint(scenario, &[], None);
            return;
        };
        let kind = ending.verdict.kind;
        *self.race.verdicts.entry(kind.name().to_owned()).or_default() += 1;
        if self.endings.iter().all(|known| known.verdict.kind != kind) {
            self.endings.push(ending);
        }
        if self.complaint.is_none() {
            self.complaint = judge::of_ending(scenario, &ending);
        }
    }

    fn hears(&mut self, last: Option<LastRecv>) {
        let name = last.map_or("nothing".to_owned(), LastRecv::name);
        *self.race.recv_loop.entry(name).or_default() += 1;
        if let Some(last) = last.filter(|last| !self.recvs.contains(last)) {
            self.recvs.push(last);
        }
    }

    /// The row: what came most often stands for all.
    fn row(self, scenario: &Scenario, row: &Row) -> Row {
        let verdict = most(&self.race.verdicts);
        let ending =
            self.endings.iter().find(|it| Some(it.verdict.kind.name()) == verdict.as_deref());
        let recv = most(&self.race.recv_loop);
        let recv = self.recvs.iter().find(|it| Some(it.name()) == recv).map(|it| it.says());
        let article = scenario
            .experiment
            .map(|it| judge::article(&it, recv.as_ref(), verdict.as_deref(), Some(&self.race)));
        Row {
            wire: format!("→ 14 bytes → FIN {}; or → 14 bytes ← 37 bytes → RST", scenario.then),
            recv_loop: recv,
            evidence: ending.map(Evidence::from),
            verdict,
            outcome: if self.complaint.is_some() { Outcome::Failed } else { Outcome::Ok },
            article,
            race: Some(self.race),
            note: self.complaint.unwrap_or_else(|| scenario.why.to_owned()),
            ..row.clone()
        }
    }
}

/// The name that was counted most often.
fn most(counts: &BTreeMap<String, u32>) -> Option<String> {
    counts.iter().max_by_key(|(_, count)| **count).map(|(name, _)| name.clone())
}

/// Plays `way` alone, and gives the client's address.
fn runs(plan: &Plan, way: Way) -> io::Result<SocketAddr> {
    let (mut client, _) = Client::connect(plan)?;
    for &act in way.script() {
        client.play(act);
    }
    Ok(client.local())
}

/// Plays a script beside a server that acts only while the client waits, and when it is done.
fn played(stage: &mut Stage, plan: &Plan, order: Order, script: &[Act]) -> io::Result<Played> {
    stage.guarded(|stage| {
        let (mut client, _) = Client::connect(plan)?;
        if order == Order::AcceptedFirst {
            stage.accepts();
        }
        let mut moments = Vec::new();
        for &act in script {
            if order == Order::ServerFirst && act == Act::AwaitEnd {
                stage.drain();
            }
            moments.push(client.play_beside(act, Some(&mut || stage.turn())));
            // What comes after it would be another scenario.
            if moments.last().is_some_and(Moment::failed) {
                break;
            }
        }
        let peer = client.local();
        drop(client);
        Ok(Played { moments, ending: stage.ending_of(peer) })
    })
}

/// What goes over the wire, the handshake left out.
fn wire(moments: &[Moment], then: &str) -> String {
    let text = |moment: &Moment| match moment.did {
        // What a late reply meets is in `then`, which knows the reply.
        Did::Closed { reset: false, fin: true, .. } => "→ FIN".to_owned(),
        Did::Closed { reset: false, .. } => String::new(),
        _ => moment.wire(),
    };
    let mut texts: Vec<_> = moments.iter().map(text).chain([then.to_owned()]).collect();
    texts.retain(|text| !text.is_empty());
    texts.join(" ")
}

/// A row of `scenario` before it is played.
fn blank(scenario: &Scenario) -> Row {
    Row {
        id: scenario.id.to_owned(),
        experiment: scenario.experiment.map(|it| it.number),
        client: scenario.client(),
        order: scenario.order.how().to_owned(),
        wire: String::new(),
        recv_loop: None,
        verdict: None,
        evidence: None,
        outcome: Outcome::Ok,
        same_as: scenario.same_as.map(str::to_owned),
        article: None,
        race: None,
        note: String::new(),
    }
}

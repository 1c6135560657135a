//! What a client knows about its connection after the end, and which verdicts are then allowed: the
//! rules of every race.
#![allow(dead_code, unreachable_pub)] // each race uses its own part of it

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use closecall::client::{Act, Client, Did, Plan, ServerEnd, Way};
use closecall::machine::close::Kind::{self, *};
use closecall::machine::close::{Certainty, Initiator};
use closecall::reactor::Ending;

use super::common::succeeded;

/// Connections of a race that runs freely.
pub const CONNECTIONS: u32 = 5_000;

/// Threads that share them.
pub const THREADS: u32 = 16;

/// Many reads long, and short enough for the buffers: a client that sends all of it before it reads
/// does not wait for itself.
const LONG: usize = 200_000;

/// A receive buffer that takes a long reply in many pieces.
const NARROW: usize = 64 << 10;

/// A way of ending, and what may be said of it.
#[derive(Debug)]
pub struct Row {
    pub way: Way,
    /// Whether the message is a long one, and the client has no room for all of the reply.
    pub long: bool,
    /// Whether its FIN goes out before any reset of its own; `None` if it cannot know.
    sent_fin: Option<bool>,
    pub may_be: &'static [Kind],
}

const fn row(way: Way, sent_fin: Option<bool>, may_be: &'static [Kind]) -> Row {
    Row { way, long: false, sent_fin, may_be }
}

const fn long(way: Way, sent_fin: Option<bool>, may_be: &'static [Kind]) -> Row {
    Row { way, long: true, sent_fin, may_be }
}

/// The reply was in its queue when it closed, or it reset, so it sent a reset and no FIN. With more
/// than one processor the reset can overtake the acknowledgement, and none is sent after it.
const RESETS: &[Kind] = &[PeerResetReplyAcked, PeerResetReplyUndelivered];

/// As for one request; and the reset for the first reply can meet the second at any point.
const MANY: &[Kind] =
    &[PeerFinReplyRefused, PeerResetReplyAcked, PeerResetReplyUndelivered, PeerResetBeforeReply];

/// Its reset came before our FIN, behind the acknowledgement or ahead of it; or it closed behind
/// our FIN, and then there is no reset on the wire (S6c). Delivered for sure is said only if its
/// kernel has taken our FIN as well.
const DISCARDS: &[Kind] =
    &[PeerFinReplyDiscarded, PeerFinReplyRefused, PeerFinHalfCloseServed, PeerFinDelivered];

/// What may be said of each way, and why nothing else.
pub const ROWS: &[Row] = &[
    // All was read before its FIN: there is one order only.
    row(Way::Close, Some(true), &[PeerFinDelivered]),
    row(Way::CloseUnread, Some(false), RESETS),
    row(Way::ShutDownRead, Some(false), RESETS),
    row(Way::CloseHalfRead, Some(false), RESETS),
    row(Way::Reset, Some(false), RESETS),
    // Its FIN was first, and its socket was closed when the reply arrived; or the reply was first,
    // and lay unread.
    row(
        Way::CloseAtOnce,
        None,
        &[PeerFinReplyRefused, PeerResetReplyAcked, PeerResetReplyUndelivered],
    ),
    // The reset came before the reply was sent, when it was under way, or after.
    row(
        Way::ResetAtOnce,
        Some(false),
        &[PeerResetBeforeReply, PeerResetReplyUndelivered, PeerResetReplyAcked],
    ),
    row(Way::CloseAtOnceTwo, None, MANY),
    long(Way::CloseAtOnce, None, MANY),
    // All was read up to our FIN. Its own FIN came before the reply went out, or after.
    row(Way::HalfClose, Some(true), &[PeerFinHalfCloseServed, PeerFinDelivered]),
    long(Way::HalfClose, Some(true), &[PeerFinHalfCloseServed, PeerFinDelivered]),
    row(Way::HalfCloseDiscard, Some(true), DISCARDS),
    row(Way::Probe, Some(true), &[PeerFinProbe]),
    row(Way::ProbeReset, Some(false), &[PeerResetProbe]),
];

/// What is known about a connection after its end. The server echoes what it is sent and nothing
/// else.
#[derive(Debug)]
pub struct Truth {
    row: &'static Row,
    /// The client's address.
    pub client: SocketAddr,
    /// Bytes it sent.
    sent: u64,
    /// Bytes of the reply that it read.
    read: u64,
    /// Whether it read up to the server's FIN.
    saw_fin: bool,
    /// Whether a line in between brought a FIN of the client's to the server, and a reset.
    pub line: Option<(bool, bool)>,
}

impl Row {
    /// The plan of its client.
    pub fn plan(&self, server: SocketAddr) -> Plan {
        let plan = Plan::new(server);
        match self.long {
            true => Plan { message: vec![b'x'; LONG], receive_buffer: Some(NARROW), ..plan },
            false => plan,
        }
    }

    /// Ends `client` in this way. `pause` is the pause in between for clients that have a race to
    /// run.
    #[track_caller]
    pub fn ends(&'static self, mut client: Client, pause: Duration) -> Truth {
        let acts = self.way.script();
        let races = !acts.contains(&Act::Wait); // it ends at once
        let step = pause / acts.len() as u32;
        let mut saw_fin = false;
        for (number, &act) in acts.iter().enumerate() {
            let hurries = matches!(act, Act::ShutDownWrite | Act::Hold);
            if races && number > 0 && !hurries {
                spins(step);
            }
            if self.long && act == Act::ReadToEnd {
                spins(4 * pause); // it looks away, and the rest of the reply stands in line
            }
            // A client that reads is never reset by this server, and one that only writes does not
            // notice a reset.
            match succeeded(client.play(act)) {
                Did::Read(_, end) => saw_fin = end == Some(ServerEnd::Fin),
                Did::Closed { reset, .. } if self.sent_fin == Some(false) => assert!(reset),
                _ => {}
            }
        }
        let (sent, read) = (client.sent() as u64, client.received() as u64);
        Truth { row: self, client: client.local(), sent, read, saw_fin, line: None }
    }
}

/// Where connection number `number` comes from: no other one comes from there.
pub fn source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + number)
}

/// Runs connection number `number` of a race, which ends as this row says.
#[track_caller]
pub fn runs_client(number: u32, row: &'static Row, server: SocketAddr, pause: Duration) -> Truth {
    let plan = Plan { source: Some((source(number), 0).into()), ..row.plan(server) };
    let (client, _) = Client::connect(&plan).expect("the backlog has room");
    row.ends(client, pause)
}

/// Every `THREADS`th connection, from `first` on.
pub fn runs_clients(first: u32, server: SocketAddr) -> Vec<Truth> {
    let numbers = (first..CONNECTIONS).step_by(THREADS as usize);
    let runs = numbers.map(|number| {
        let round = number / THREADS; // so that each thread goes through all ways
        let row = &ROWS[round as usize % ROWS.len()];
        let pause = Duration::from_micros(u64::from(round / ROWS.len() as u32 % 64) * 4);
        runs_client(number, row, server, pause)
    });
    runs.collect()
}

/// Holds what each client knows against the ending of its connection.
#[track_caller]
pub fn nothing_contradicts(known: &[Truth], endings: &[Ending]) {
    let by_client: HashMap<SocketAddr, &Ending> =
        endings.iter().map(|ending| (ending.peer, ending)).collect();
    assert_eq!(by_client.len(), endings.len(), "one ending for each connection");
    assert_eq!(known.len(), endings.len(), "one ending for each connection");
    let wrong: Vec<_> = known
        .iter()
        .map(|truth| (truth, by_client[&truth.client]))
        .filter_map(|(truth, ending)| Some((truth.contradiction(ending)?, truth, ending)))
        .collect();
    assert!(wrong.is_empty(), "{} of them, the first: {:#?}", wrong.len(), wrong[0]);
}

/// Lets time pass without giving up the processor: a sleep is far longer than these races.
fn spins(pause: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < pause {
        std::hint::spin_loop();
    }
}

impl Truth {
    /// What in this ending cannot be, if anything.
    pub fn contradiction(&self, ending: &Ending) -> Option<&'static str> {
        let (verdict, evidence) = (&ending.verdict, &ending.evidence);
        let took_all = matches!(verdict.kind, PeerFinDelivered | PeerFinHalfCloseServed);
        let fin_is_told = evidence.fin_received == Some(true);
        let sent_fin = self.line.map_or(self.row.sent_fin, |(fin, _)| Some(fin));
        let certain = verdict.certainty == Certainty::Certain;
        let loss = matches!(verdict.kind, PeerResetReplyUndelivered | PeerFinReplyRefused);
        // A discarded reply and a reset that meets our FIN look like S1c, and a reset takes
        // acknowledgements with it: likely is all, then.
        let discards = self.row.way == Way::HalfCloseDiscard;
        let met_our_fin = discards && self.line.is_none_or(|(_, reset)| reset);
        let rules = [
            (self.row.may_be.contains(&verdict.kind), "it cannot have ended so"),
            (verdict.status == 1, "the peer ended it"),
            (verdict.kind.initiator() == Initiator::Peer, "the peer ended it"),
            (sent_fin.is_none_or(|sent| sent == fin_is_told), "whether there was a FIN is known"),
            (evidence.rx <= self.sent, "more was read than was sent"),
            (evidence.tx >= self.read, "less was sent than was read"),
            (evidence.tx <= evidence.rx, "more was echoed than was read"),
            (!self.saw_fin || evidence.fin_sent, "our FIN was seen"),
            (!self.saw_fin || self.read == self.sent, "a reply was cut off"),
            (!self.saw_fin || evidence.error.is_none(), "an error in an orderly end"),
            (!took_all || evidence.tx == self.sent, "part of the reply was never sent"),
            (!took_all || evidence.undelivered == Some(0), "part of the reply was not taken"),
            (!took_all || !certain || evidence.fin_acknowledged, "certain, and our FIN is open"),
            (certain || met_our_fin || loss, "it is certain"),
            (!certain || !loss || self.read < self.sent, "a loss of what was read, certain"),
        ];
        let broken = rules.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what);
        broken.or_else(|| self.contradicts_the_line(ending))
    }

    /// The same by what a line in between has seen.
    fn contradicts_the_line(&self, ending: &Ending) -> Option<&'static str> {
        let (_, reset) = self.line?;
        let (verdict, evidence) = (&ending.verdict, &ending.evidence);
        let took_all = matches!(verdict.kind, PeerFinDelivered | PeerFinHalfCloseServed);
        let refused = verdict.kind == PeerFinReplyRefused && self.row.way == Way::CloseAtOnce;
        let certain = verdict.certainty == Certainty::Certain;
        let rules = [
            (evidence.error.is_some() == reset, "whether there was a reset is known"),
            (!refused || evidence.undelivered == Some(self.sent as u32), "all of it is refused"),
            (!took_all || evidence.fin_acknowledged != reset, "a refused FIN is open"),
            (!took_all || certain != reset, "likely after a reset, or else certain"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what)
    }
}

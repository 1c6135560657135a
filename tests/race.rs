//! Promise: whatever the order of events turns out to be, what is said never contradicts what
//! happened.
//!
//! Nothing is forced here: a server runs freely, clients of every kind run against it, and each
//! writes down what it knows to be true. Every connection comes from an address of its own, so that
//! its ending can be held against that.

mod common;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use closecall::kernel::mio::Handle;
use closecall::machine::close::Kind::{self, *};
use closecall::machine::close::{Certainty, Initiator};
use closecall::machine::reply::Framing;
use closecall::reactor::{Ending, Stage};
use common::{Bed, MESSAGE, connects_from, half_close, reset};

const CONNECTIONS: u32 = 5_000;
const THREADS: u32 = 16;

/// Many reads long, and short enough for the buffers: who sends it all before reading does not wait
/// for itself.
const LONG: usize = 200_000;

/// What a client knows about its connection when it is over.
#[derive(Clone, Copy, Debug, Default)]
struct Truth {
    /// Bytes it sent.
    sent: u64,
    /// Bytes of the reply that it read.
    read: u64,
    /// Whether it read up to the server's FIN.
    saw_fin: bool,
    /// Whether its FIN went out before any reset of its own; `None` if it cannot know.
    sent_fin: Option<bool>,
}

/// The ways in which a client ends its connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Way {
    ReadsAndCloses,
    LeavesTheReply,
    ReadsPart,
    ReadsAndResets,
    SendsAndCloses,
    SendsAndResets,
    PipelinesAndCloses,
    FloodsAndCloses,
    HalfClosesAndReads,
    HalfClosesAndReadsSlowly,
    HalfClosesAndDiscards,
    ConnectsAndCloses,
    ConnectsAndResets,
}

use Way::*;

/// What may be said of each way, and why nothing else.
const MAY_BE: &[(Way, &[Kind])] = &[
    // All was read before its FIN: there is one order only.
    (ReadsAndCloses, &[PeerFinDelivered]),
    // The reply was in its queue when it closed, so it sent a reset and no FIN. With more than one
    // processor the reset can overtake the acknowledgement, and nobody acknowledges after it.
    (LeavesTheReply, &[PeerResetReplyAcked, PeerResetReplyUndelivered]),
    (ReadsPart, &[PeerResetReplyAcked, PeerResetReplyUndelivered]),
    (ReadsAndResets, &[PeerResetReplyAcked, PeerResetReplyUndelivered]),
    // Its FIN was first, and the reply met nobody; or the reply was first, and lay unread.
    (SendsAndCloses, &[PeerFinReplyRefused, PeerResetReplyAcked, PeerResetReplyUndelivered]),
    // The reset came before the reply was sent, when it was under way, or after.
    (SendsAndResets, &[PeerResetBeforeReply, PeerResetReplyUndelivered, PeerResetReplyAcked]),
    // As for one request; and the reset for the first reply can meet the second at any point.
    (
        PipelinesAndCloses,
        &[
            PeerFinReplyRefused,
            PeerResetReplyAcked,
            PeerResetReplyUndelivered,
            PeerResetBeforeReply,
        ],
    ),
    // The same, over and over.
    (
        FloodsAndCloses,
        &[
            PeerFinReplyRefused,
            PeerResetReplyAcked,
            PeerResetReplyUndelivered,
            PeerResetBeforeReply,
        ],
    ),
    // All was read up to our FIN. Its own FIN came before the reply went out, or after.
    (HalfClosesAndReads, &[PeerFinHalfCloseServed, PeerFinDelivered]),
    (HalfClosesAndReadsSlowly, &[PeerFinHalfCloseServed, PeerFinDelivered]),
    // Its reset came before our FIN, behind the acknowledgement or ahead of it; or it closed behind
    // our FIN, and then there is no reset on the wire (S6c). Delivered for sure is said only if its
    // kernel has taken our FIN as well.
    (
        HalfClosesAndDiscards,
        &[PeerFinReplyDiscarded, PeerFinReplyRefused, PeerFinHalfCloseServed, PeerFinDelivered],
    ),
    (ConnectsAndCloses, &[PeerFinProbe]),
    (ConnectsAndResets, &[PeerResetProbe]),
];

// ---- the clients --------------------------------------------------------------------------------

impl Way {
    /// Ends `client` in this way. `pause` is how long those wait in between who have a race to run.
    fn end(self, client: TcpStream, pause: Duration) -> std::io::Result<Truth> {
        match self {
            ReadsAndCloses => reads_and_closes(client),
            LeavesTheReply => leaves_the_reply(client),
            ReadsPart => reads_part(client),
            ReadsAndResets => reads_and_resets(client),
            SendsAndCloses => sends_and_closes(client, pause),
            SendsAndResets => sends_and_resets(client, pause),
            PipelinesAndCloses => pipelines_and_closes(client, pause),
            FloodsAndCloses => floods_and_closes(client),
            HalfClosesAndReads => half_closes_and_reads(client),
            HalfClosesAndReadsSlowly => half_closes_and_reads_slowly(client, pause / 4),
            HalfClosesAndDiscards => half_closes_and_discards(client, pause),
            ConnectsAndCloses => connects_and_closes(client),
            ConnectsAndResets => connects_and_resets(client),
        }
    }
}

const REQUEST: u64 = MESSAGE.len() as u64;

fn reads_and_closes(mut client: TcpStream) -> std::io::Result<Truth> {
    client.write_all(MESSAGE)?;
    client.read_exact(&mut [0; MESSAGE.len()])?;
    Ok(Truth { sent: REQUEST, read: REQUEST, saw_fin: false, sent_fin: Some(true) })
}

fn leaves_the_reply(mut client: TcpStream) -> std::io::Result<Truth> {
    client.write_all(MESSAGE)?;
    client.peek(&mut [0; MESSAGE.len()])?;
    Ok(Truth { sent: REQUEST, read: 0, saw_fin: false, sent_fin: Some(false) })
}

fn reads_part(mut client: TcpStream) -> std::io::Result<Truth> {
    client.write_all(MESSAGE)?;
    client.read_exact(&mut [0; 5])?;
    Ok(Truth { sent: REQUEST, read: 5, saw_fin: false, sent_fin: Some(false) })
}

fn reads_and_resets(mut client: TcpStream) -> std::io::Result<Truth> {
    client.write_all(MESSAGE)?;
    client.read_exact(&mut [0; MESSAGE.len()])?;
    reset(client);
    Ok(Truth { sent: REQUEST, read: REQUEST, saw_fin: false, sent_fin: Some(false) })
}

fn sends_and_closes(mut client: TcpStream, pause: Duration) -> std::io::Result<Truth> {
    client.write_all(MESSAGE)?;
    spins(pause);
    Ok(Truth { sent: REQUEST, ..Truth::default() })
}

fn sends_and_resets(mut client: TcpStream, pause: Duration) -> std::io::Result<Truth> {
    client.write_all(MESSAGE)?;
    spins(pause);
    reset(client);
    Ok(Truth { sent: REQUEST, sent_fin: Some(false), ..Truth::default() })
}

fn pipelines_and_closes(mut client: TcpStream, pause: Duration) -> std::io::Result<Truth> {
    client.write_all(MESSAGE)?;
    spins(pause / 2);
    // The reply to the first may be there by now; nobody looks for it.
    client.write_all(MESSAGE)?;
    spins(pause / 2);
    Ok(Truth { sent: 2 * REQUEST, ..Truth::default() })
}

fn floods_and_closes(mut client: TcpStream) -> std::io::Result<Truth> {
    client.write_all(&vec![b'x'; LONG])?;
    Ok(Truth { sent: LONG as u64, ..Truth::default() })
}

fn half_closes_and_reads(mut client: TcpStream) -> std::io::Result<Truth> {
    client.write_all(MESSAGE)?;
    half_close(&client);
    let read = client.read_to_end(&mut Vec::new())? as u64;
    Ok(Truth { sent: REQUEST, read, saw_fin: true, sent_fin: Some(true) })
}

fn half_closes_and_reads_slowly(mut client: TcpStream, pause: Duration) -> std::io::Result<Truth> {
    client.write_all(&vec![b'x'; LONG])?;
    half_close(&client);
    let mut read = 0;
    loop {
        match client.read(&mut [0; LONG / 20])? {
            0 => break,
            bytes => read += bytes as u64,
        }
        spins(pause);
    }
    Ok(Truth { sent: LONG as u64, read, saw_fin: true, sent_fin: Some(true) })
}

fn half_closes_and_discards(mut client: TcpStream, pause: Duration) -> std::io::Result<Truth> {
    client.write_all(MESSAGE)?;
    half_close(&client);
    client.peek(&mut [0; MESSAGE.len()])?;
    spins(pause / 8);
    Ok(Truth { sent: REQUEST, read: 0, saw_fin: false, sent_fin: Some(true) })
}

fn connects_and_closes(client: TcpStream) -> std::io::Result<Truth> {
    client.shutdown(Shutdown::Both)?;
    Ok(Truth { sent_fin: Some(true), ..Truth::default() })
}

fn connects_and_resets(client: TcpStream) -> std::io::Result<Truth> {
    reset(client);
    Ok(Truth { sent_fin: Some(false), ..Truth::default() })
}

/// Waits for nothing: a race that always has the same distance has always the same winner.
fn spins(pause: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < pause {
        std::hint::spin_loop();
    }
}

// ---- the run ------------------------------------------------------------------------------------

/// Where connection number `number` comes from: nobody else comes from there.
fn source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + number)
}

/// Every `THREADS`th connection, from `first` on.
fn runs_clients(first: u32, server: SocketAddr) -> Vec<(IpAddr, Way, Truth)> {
    let mut known = Vec::new();
    for number in (first..CONNECTIONS).step_by(THREADS as usize) {
        let round = number / THREADS; // so that each thread goes through all ways
        let way = MAY_BE[round as usize % MAY_BE.len()].0;
        let pause = Duration::from_micros(u64::from(round / MAY_BE.len() as u32 % 64) * 4);
        let client = connects_from(source(number), server).expect("the backlog has room");
        match way.end(client, pause) {
            Ok(truth) => known.push((source(number).into(), way, truth)),
            // Nobody who reads is reset by this server, and who only writes does not hear of it.
            Err(error) => panic!("{way:?}, connection {number}: {error}"),
        }
    }
    known
}

/// What in this ending cannot be, if anything.
fn contradiction(way: Way, truth: &Truth, ending: &Ending) -> Option<&'static str> {
    let (verdict, evidence) = (&ending.verdict, &ending.evidence);
    let may_be = MAY_BE.iter().find(|row| row.0 == way).expect("a row for each way").1;
    let took_all = matches!(verdict.kind, PeerFinDelivered | PeerFinHalfCloseServed);
    let fin_is_told = evidence.fin_received == Some(true);
    let certain = verdict.certainty == Certainty::Certain;
    let loss = matches!(verdict.kind, PeerResetReplyUndelivered | PeerFinReplyRefused);
    let rules = [
        (may_be.contains(&verdict.kind), "it cannot have ended so"),
        (verdict.status == 1 && verdict.kind.initiator() == Initiator::Peer, "the peer ended it"),
        (truth.sent_fin.is_none_or(|sent| sent == fin_is_told), "whether there was a FIN is known"),
        (evidence.rx <= truth.sent, "more was read than was sent"),
        (evidence.tx >= truth.read, "less was sent than was read"),
        (evidence.tx <= evidence.rx, "more was echoed than was read"),
        (!truth.saw_fin || evidence.fin_sent, "our FIN was seen"),
        (!truth.saw_fin || truth.read == truth.sent, "a reply was cut off"),
        (!truth.saw_fin || evidence.error.is_none(), "an error in an orderly end"),
        (!took_all || evidence.tx == truth.sent, "part of the reply was never sent"),
        (!took_all || evidence.undelivered == Some(0), "part of the reply was not taken"),
        (!took_all || !certain || evidence.fin_acknowledged, "certain, and our FIN is open"),
        // A discarded reply and a reset that meets our FIN look like S1c, and a reset takes
        // acknowledgements with it: likely is all, then.
        (certain || way == HalfClosesAndDiscards || loss, "it is certain"),
        (!certain || !loss || truth.read < truth.sent, "a loss of what was read, certain"),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what)
}

/// Ends the server when a client's thread panics, so that nobody waits for its endings.
struct Ends(Handle);

impl Drop for Ends {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
            self.0.stop();
        }
    }
}

#[test]
fn what_is_said_never_contradicts_what_happened() {
    let mut bed = Bed::with(|config| {
        config.framing = Framing::Raw; // what a client sent is what its reply is
        config.max_connections = 2 * CONNECTIONS as usize;
    });
    let server = bed.address();
    let known = thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS)
            .map(|first| {
                let ends = Ends(bed.server.handle());
                scope.spawn(move || {
                    let _ends = ends;
                    runs_clients(first, server)
                })
            })
            .collect();
        bed.turns_until(|bed| bed.endings.len() >= CONNECTIONS as usize);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let counters = bed.server.counters();
    assert_eq!((counters.accepted, counters.open), (CONNECTIONS.into(), 0));
    let endings: HashMap<IpAddr, &Ending> =
        bed.endings.iter().map(|ending| (ending.peer.ip(), ending)).collect();
    assert_eq!(endings.len(), CONNECTIONS as usize, "one ending for each connection");
    let wrong: Vec<_> = known
        .iter()
        .filter_map(|(source, way, truth)| {
            let ending = endings[source];
            contradiction(*way, truth, ending).map(|what| (what, *way, *truth, *ending))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of them, the first: {:#?}", wrong.len(), wrong[0]);
}

/// S20, not forced: FINs cross. Whoever's was first, everybody read everything and parted politely,
/// so there is no error, and the peer's FIN is there.
#[test]
fn a_stop_while_clients_close() {
    const CLIENTS: usize = 400;
    let mut bed = Bed::new();
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| bed.client()).collect();
    clients.iter_mut().for_each(|client| bed.echoes(client));
    let handle = bed.server.handle();
    let closer = thread::spawn(move || {
        for (number, client) in clients.into_iter().enumerate() {
            if number == CLIENTS / 4 {
                handle.stop();
            }
            drop(client);
        }
    });
    bed.turns_until(|bed| bed.last.stage.is_over());
    closer.join().unwrap();
    assert_eq!((bed.last.stage, bed.endings.len()), (Stage::Stopped, CLIENTS));
    for ending in &bed.endings {
        let (kind, evidence) = (ending.verdict.kind, &ending.evidence);
        assert!(matches!(kind, PeerFinDelivered | LocalDrain), "{ending:#?}");
        assert_eq!(ending.verdict.certainty, Certainty::Certain, "{ending:#?}");
        assert_eq!((evidence.error, evidence.fin_received), (None, Some(true)), "{ending:#?}");
        assert_eq!((evidence.undelivered, evidence.fin_acknowledged), (Some(0), true));
    }
}

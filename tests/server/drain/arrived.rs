//! What lies in the receive queue when the stop is called is answered; what is sent after it is
//! discarded and counted. Linux only: how much lies there is looked up in /proc/net/tcp.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::{Bed, REPLY, half_close, sockets_between};
use closecall::config::Config;
use closecall::machine::close::Kind;
use closecall::machine::reply::Framing;
use closecall::reactor::{Ending, Stage};

/// What a visit may read, in bytes, and a turn in each of its queues.
const VISIT_BYTES: usize = 4096;
const TURN_BYTES: u64 = 2 * VISIT_BYTES as u64;

/// What lies in the receive queue when the stop is called, in bytes: as many visits as 800 KB are
/// with the budgets of the default, and a thousand lines.
const ARRIVED: usize = 50_000;

const PREFIX: &[u8] = b"from server back[rust]:";

/// Bytes of the client's stream: lines of 50 bytes, each another, and nothing like the prefix.
struct Stream(usize);

impl Stream {
    const LINE_BYTES: usize = 50;

    fn byte(at: usize) -> u8 {
        if at % Stream::LINE_BYTES == Stream::LINE_BYTES - 1 {
            return b'\n';
        }
        b'0' + ((at as u32).wrapping_mul(2_654_435_761) >> 24) as u8 % 10
    }

    /// The next of them.
    fn next(&self, count: usize) -> Vec<u8> {
        (self.0..self.0 + count).map(Stream::byte).collect()
    }
}

/// A bulk sender, what it has sent and what came back.
struct Sender {
    client: TcpStream,
    sent: Stream,
    received: Vec<u8>,
}

impl Sender {
    #[track_caller]
    fn connects(bed: &mut Bed) -> Sender {
        let client = bed.client();
        client.set_nonblocking(true).unwrap();
        bed.accepts(1);
        Sender { client, sent: Stream(0), received: Vec::new() }
    }

    /// Writes until there is no room.
    fn fills(&mut self) {
        loop {
            match self.client.write(&self.sent.next(16 << 10)) {
                Ok(count) => self.sent.0 += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "its end is not its fault");
                    return;
                }
            }
        }
    }

    /// Reads what has arrived; returns whether our FIN was in it.
    #[track_caller]
    fn reads(&mut self) -> bool {
        let mut space = vec![0; 256 << 10];
        loop {
            match self.client.read(&mut space) {
                Ok(0) => return true,
                Ok(count) => self.received.extend_from_slice(&space[..count]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "no reset");
                    return false;
                }
            }
        }
    }

    /// How much the server has not read of what arrived, as /proc/net/tcp has it: the FIN counts.
    fn unread(&self, bed: &Bed) -> usize {
        let lines = sockets_between(bed.address(), self.client.local_addr().unwrap());
        let queues = lines[0].split_whitespace().nth(4).unwrap();
        usize::from_str_radix(queues.split_once(':').unwrap().1, 16).unwrap()
    }

    /// Sends until there is no room on either side: more than [`ARRIVED`] bytes lie unread.
    #[track_caller]
    fn queues(bed: &mut Bed) -> Sender {
        let mut sender = Sender::connects(bed);
        // The first bytes open the window; then nothing is read.
        sender.fills();
        bed.turns_until(|bed| bed.last.bytes > 0);
        sender.fills();
        let unread = sender.unread(bed);
        assert!(unread >= ARRIVED, "only {unread} bytes lie there");
        sender
    }

    /// What of its stream came back, without the prefixes, and how many of these there were.
    fn answered(&self) -> (Vec<u8>, usize) {
        let mut rest = self.received.as_slice();
        let (mut bytes, mut prefixes) = (Vec::new(), 0);
        while let Some((&first, others)) = rest.split_first() {
            if let Some(others) = rest.strip_prefix(PREFIX) {
                (prefixes, rest) = (prefixes + 1, others);
            } else {
                bytes.push(first);
                rest = others;
            }
        }
        (bytes, prefixes)
    }
}

const FRAMINGS: [Framing; 3] = [Framing::Chunk, Framing::Line, Framing::Raw];

#[track_caller]
fn bed(framing: Framing) -> Bed {
    Bed::with(|config| {
        config.framing = framing;
        config.read_deadline_ms = None;
        config.drain_ms = 3_600_000;
        config.read_buffer_bytes = VISIT_BYTES;
        config.bytes_per_visit = VISIT_BYTES;
        config.bytes_per_turn = TURN_BYTES;
    })
}

/// It was answered up to `arrived` at least, and what it sent beyond that was counted.
#[track_caller]
fn is_answered(sender: &Sender, ending: &Ending, arrived: usize, framing: Framing) {
    let evidence = &ending.evidence;
    let (bytes, prefixes) = sender.answered();
    let told = format!("{framing:?}: {} of {arrived} that had arrived: {ending:#?}", bytes.len());
    assert!(bytes.len() >= arrived, "{told}");
    assert!(bytes == Stream(0).next(bytes.len()), "other bytes than it sent: {told}");
    if framing == Framing::Line {
        assert_eq!(prefixes, bytes.len().div_ceil(Stream::LINE_BYTES), "{told}");
    }
    assert_eq!(evidence.discarded, evidence.rx - bytes.len() as u64, "{told}");
    assert_eq!((evidence.rx, evidence.tx), (sender.sent.0 as u64, sender.received.len() as u64));
    assert_eq!((evidence.undelivered, evidence.unsent, evidence.error), (Some(0), 0, None));
}

/// Regression: 1.2 to 1.9 MB that lay in the receive queue were never answered, in lines 2,260
/// whole requests, and the drain was over after 40 ms of 5 s.
#[test]
fn all_that_lies_in_the_receive_queue_is_answered() {
    for framing in FRAMINGS {
        let mut bed = bed(framing);
        let mut sender = Sender::queues(&mut bed);
        let arrived = total_arrived(&bed, &sender);
        bed.server.handle().drain();
        bed.turns_until(|_| sender.reads());
        half_close(&sender.client);
        let ending = bed.ends_as(Kind::LocalDrain);
        is_answered(&sender, &ending, arrived, framing);
        assert_eq!((ending.verdict.status, ending.evidence.fin_received), (0, Some(true)));
        assert_eq!(bed.turn().stage, Stage::Stopped);
    }
}

/// How far the client's stream has arrived: what was read, and what lies in the queue.
fn total_arrived(bed: &Bed, sender: &Sender) -> usize {
    sender.answered().0.len() + sender.unread(bed)
}

/// Turns until `ms` milliseconds have passed, and a few more, in each of which the server finds the
/// queue full. By then the connection has ended.
#[track_caller]
fn ends_after(bed: &mut Bed, sender: &mut Sender, ms: u64) {
    let (began, grains_ms) = (Instant::now(), 2 * Config::default().tick_ms);
    let mut turns_left = 4;
    while bed.endings.is_empty() {
        turns_left -= u32::from(began.elapsed() > Duration::from_millis(ms + grains_ms));
        assert!(turns_left > 0, "it lasts as long as the client goes on: {:?}", bed.last);
        let _ = sender.client.read(&mut [0; 64 << 10]); // or it was reset in this turn
        let _ = sender.client.write(&sender.sent.next(16 << 10));
        bed.turn();
    }
}

/// Regression: an alarm that expired in a turn in which the connection was served was put off to
/// the next turn, and a client that sent without a pause was served in each. So it was neither
/// asked to close nor ended by the end of the drain: the server never stopped.
#[test]
fn one_that_goes_on_sending_does_not_outlast_the_drain() {
    let mut bed = Bed::with(|config| {
        config.framing = Framing::Raw;
        config.drain_ms = 300;
    });
    let mut sender = Sender::connects(&mut bed);
    sender.fills();
    bed.server.handle().drain();
    bed.turn();
    ends_after(&mut bed, &mut sender, 300);
    bed.ends_as(Kind::LocalDrain);
    assert_eq!(bed.turn().stage, Stage::Stopped);
}

/// The same after our FIN, where it waits for its evidence: it held its slot.
#[test]
fn one_that_goes_on_sending_after_our_fin_is_decided_in_time() {
    let mut bed = Bed::with(|config| {
        config.framing = Framing::Raw;
        config.read_deadline_ms = Some(100);
        config.verdict_wait_ms = 300;
    });
    let mut sender = Sender::connects(&mut bed);
    bed.turns_until(|_| sender.reads());
    ends_after(&mut bed, &mut sender, 300);
    let ending = bed.ends_as(Kind::TimeoutRead);
    assert!(ending.evidence.discarded > 0, "{ending:#?}");
}

/// A client that never stops by itself. The position at which the answers end is fixed once.
#[test]
fn one_that_goes_on_sending_is_answered_that_far_and_no_farther() {
    for framing in FRAMINGS {
        let mut bed = bed(framing);
        let mut sender = Sender::queues(&mut bed);
        let arrived = total_arrived(&bed, &sender);
        bed.server.handle().drain();
        let mut turns = 0;
        bed.turns_until(|_| {
            turns += 1;
            sender.fills();
            sender.reads() || turns > 10_000
        });
        assert!(turns <= 10_000, "{framing:?}: it goes on for as long as the client does");
        for _ in 0..20 {
            sender.fills();
            bed.turn();
        }
        assert!(sender.reads() && bed.endings.is_empty(), "our FIN, and no reset");
        half_close(&sender.client);
        let ending = bed.ends_as(Kind::LocalDrain);
        is_answered(&sender, &ending, arrived, framing);
        assert!(ending.evidence.discarded > 10 * VISIT_BYTES as u64, "{ending:#?}");
    }
}

/// Its FIN had arrived as well, so the peer was first.
#[test]
fn one_whose_fin_lay_behind_its_data_has_ended_by_itself() {
    for framing in FRAMINGS {
        let mut bed = bed(framing);
        let mut sender = Sender::connects(&mut bed);
        sender.client.write_all(&sender.sent.next(ARRIVED)).unwrap();
        sender.sent.0 += ARRIVED;
        half_close(&sender.client);
        assert_eq!(sender.unread(&bed), ARRIVED + 1, "the FIN as well");
        bed.server.handle().drain();
        bed.turns_until(|_| sender.reads());
        let ending = bed.ends_as(Kind::PeerFinHalfCloseServed);
        is_answered(&sender, &ending, ARRIVED, framing);
        assert_eq!(ending.evidence.discarded, 0);
    }
}

/// Requests in the backlog and in the queues of connections that wait for a slot, as before.
#[test]
fn small_requests_beside_a_bulk_sender_are_answered() {
    let mut bed = bed(Framing::Chunk);
    let mut sender = Sender::queues(&mut bed);
    let arrived = total_arrived(&bed, &sender);
    let mut polite: Vec<TcpStream> = (0..50).map(|_| bed.client()).collect();
    polite.iter_mut().for_each(|client| client.write_all(b"Hi,here is glp").unwrap());
    bed.server.handle().drain();
    for client in &mut polite {
        assert_eq!(bed.reads_to_end(client).unwrap(), REPLY);
    }
    bed.turns_until(|_| sender.reads());
    drop(polite);
    half_close(&sender.client);
    bed.turns_until(|bed| bed.endings.len() == 51);
    let bulk = bed.endings.iter().find(|it| it.evidence.rx >= ARRIVED as u64).unwrap();
    is_answered(&sender, bulk, arrived, Framing::Chunk);
    assert!(bed.endings.iter().all(|ending| ending.verdict.kind == Kind::LocalDrain));
}

//! Scripts: what both worlds are made to do, and which steps can be compared.

use closecall::machine::connection::Goodbye;
use closecall::simulation::{Act, Choices};

/// Connections of one script.
const CONNECTIONS_MAX: usize = 3;

/// Steps of one script.
const STEPS_MAX: u64 = 40;

/// What may lie unread in one direction, in bytes, where exact numbers are compared: far less than
/// any buffer holds.
const UNREAD_MAX: u32 = 12_000;

/// One step. A number that follows it says for which connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// A peer connects.
    Connect,
    /// The server accepts the next connection and registers it.
    Accept,
    /// The server asks for events.
    Wait,
    Recv(usize),
    /// The server receives until there is nothing more.
    RecvAll,
    Send(usize),
    /// The server sends once, more than there is room for.
    SendMuch,
    /// The server sends once, so that less than a third of its buffer is left.
    SendMost,
    /// The server sends until no room is left.
    Fill,
    Shutdown,
    RegisterWritable,
    TakeError,
    ServerCloses(Goodbye),
    Peer(Act),
    /// The peer sends until no room is left.
    Flood,
    /// The peer reads until there is nothing more.
    PeerReadsAll,
}

/// A step, and which connection it is about.
pub(crate) type Line = (Step, usize);

/// How likely each kind of step is against the others, and whether a script may go without it.
const WEIGHTS: [(u64, bool); 22] = [
    (2, false), // Connect
    (6, false), // Accept
    (8, false), // Wait
    (4, true),  // Recv
    (4, true),  // RecvAll
    (5, true),  // Send
    (1, true),  // Fill
    (1, true),  // SendMuch
    (2, true),  // Shutdown
    (1, true),  // RegisterWritable
    (1, true),  // TakeError
    (1, true),  // ServerCloses(Plain)
    (1, true),  // ServerCloses(Reset)
    (6, true),  // Send
    (2, true),  // Urgent
    (3, true),  // Read
    (2, true),  // HalfClose
    (1, true),  // ShutBoth
    (2, true),  // Close
    (2, true),  // Reset
    (2, true),  // Flood and PeerReadsAll
    (1, true),  // SendMost
];

fn step(kind: usize, choices: &mut Choices) -> Step {
    let bytes = choices.magnitude(1, 3_000);
    match kind {
        0 => Step::Connect,
        1 => Step::Accept,
        2 => Step::Wait,
        3 => Step::Recv(bytes as usize),
        4 => Step::RecvAll,
        5 => Step::Send(bytes as usize),
        6 => Step::Fill,
        7 => Step::SendMuch,
        8 => Step::Shutdown,
        9 => Step::RegisterWritable,
        10 => Step::TakeError,
        11 => Step::ServerCloses(Goodbye::Plain),
        12 => Step::ServerCloses(Goodbye::Reset),
        13 => Step::Peer(Act::Send(bytes as u32)),
        14 => Step::Peer(Act::Urgent(bytes as u32)),
        15 => Step::Peer(Act::Read(bytes as u32)),
        16 => Step::Peer(Act::HalfClose),
        17 => Step::Peer(Act::ShutBoth),
        18 => Step::Peer(Act::Close),
        19 => Step::Peer(Act::Reset),
        21 => Step::SendMost,
        _ if choices.below(4) == 0 => Step::Flood,
        _ => Step::PeerReadsAll,
    }
}

/// The script of `seed`. It leaves out about half of the kinds of steps, so that the rest meet more
/// often.
pub(crate) fn script(seed: u64) -> Vec<Line> {
    let mut choices = Choices::seeded(seed);
    let mut weights = WEIGHTS.map(|(weight, optional)| match optional && choices.below(2) == 1 {
        true => 0,
        false => weight,
    });
    let mut lines = vec![(Step::Connect, 0)];
    if choices.below(4) > 0 {
        lines.push((Step::Accept, 0)); // else things happen before it is accepted
    }
    for _ in 0..choices.between(4, STEPS_MAX) {
        let all = weights.iter().sum();
        let mut place = choices.below(all);
        let kind = weights.iter().position(|&weight| {
            let here = place < weight;
            place = place.saturating_sub(weight);
            here
        });
        let kind = kind.expect("the weights add up");
        lines.push((step(kind, &mut choices), choices.below(CONNECTIONS_MAX as u64) as usize));
        if matches!(kind, 11 | 12 | 17..=19) {
            weights[kind] = weights[kind].div_ceil(2); // an end leaves less to do
        }
    }
    lines
}

/// What is known of one connection, to tell which results are exact.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) accepted: bool,
    pub(crate) closed: bool,
    registered_writable: bool,
    peer_shut: bool,
    pub(crate) peer_closed: bool,
    /// The peer's program reads no more: what its system would say is not asked.
    pub(crate) deaf: bool,
    /// The buffers from the server to the peer are full, of a number of bytes that is the system's.
    pub(crate) filled: bool,
    /// The same from the peer to the server; and whether it ever was so.
    pub(crate) flooded: bool,
    pub(crate) ever_flooded: bool,
    /// Events have come that depend on the size of buffers.
    pub(crate) events_vary: bool,
    up_unread: u32,
    down_unread: u32,
}

/// What is known of a script's connections, step by step.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) pages: Vec<Page>,
    accepted: usize,
}

impl Book {
    /// The step that is taken for `line`, and about which connection; `None` if there is none that
    /// can be compared. Nothing depends on the steps that were left out.
    pub(crate) fn admit(&mut self, line: Line) -> Option<Line> {
        let (step, about) = line;
        match step {
            Step::Connect if self.pages.len() < CONNECTIONS_MAX => {
                self.pages.push(Page::default());
                return Some((step, self.pages.len() - 1));
            }
            Step::Accept => {
                let about = self.accepted;
                if let Some(page) = self.pages.get_mut(about) {
                    page.accepted = true;
                    self.accepted += 1;
                }
                return Some((step, about));
            }
            Step::Wait => return Some((step, 0)),
            Step::Connect => return None,
            _ => {}
        }
        let about = about % self.pages.len().max(1);
        let page = self.pages.get_mut(about)?;
        page.admits(step).then_some((step, about))
    }
}

impl Page {
    fn admits(&mut self, step: Step) -> bool {
        let served = self.accepted && !self.closed;
        let may_say = |page: &Page| !(page.peer_closed || page.peer_shut || page.flooded);
        let admitted = match step {
            Step::Connect | Step::Accept | Step::Wait => true,
            Step::Recv(_) | Step::RecvAll | Step::Shutdown | Step::TakeError => served,
            Step::Send(_) => served && !self.filled && self.down_unread < UNREAD_MAX,
            Step::SendMuch => served && !self.filled,
            Step::SendMost => served && !self.filled && self.down_unread == 0,
            Step::Fill | Step::ServerCloses(_) => served,
            Step::RegisterWritable => served && !self.registered_writable,
            Step::Peer(Act::Send(_) | Act::Urgent(_)) => {
                may_say(self) && self.up_unread < UNREAD_MAX
            }
            Step::Flood => may_say(self),
            Step::Peer(Act::Read(_)) => !self.peer_closed && !self.deaf && !self.filled,
            Step::PeerReadsAll => !self.peer_closed && !self.deaf,
            Step::Peer(Act::HalfClose | Act::ShutBoth) => !(self.peer_closed || self.peer_shut),
            Step::Peer(Act::Close | Act::Reset) => !self.peer_closed,
        };
        if admitted {
            self.note(step);
        }
        admitted
    }

    fn note(&mut self, step: Step) {
        match step {
            Step::RecvAll => (self.flooded, self.up_unread) = (false, 0),
            Step::Send(bytes) => self.down_unread += bytes as u32,
            Step::Fill | Step::SendMuch | Step::SendMost => self.filled = true,
            Step::RegisterWritable => self.registered_writable = true,
            Step::ServerCloses(_) => self.closed = true,
            Step::Peer(Act::Send(bytes) | Act::Urgent(bytes)) => self.up_unread += bytes,
            Step::Flood => {
                (self.flooded, self.ever_flooded, self.events_vary) = (true, true, true);
            }
            Step::PeerReadsAll => (self.filled, self.down_unread) = (false, 0),
            Step::Peer(Act::HalfClose) => self.peer_shut = true,
            Step::Peer(Act::ShutBoth) => (self.peer_shut, self.deaf) = (true, true),
            Step::Peer(Act::Close | Act::Reset) => self.peer_closed = true,
            _ => {}
        }
    }
}

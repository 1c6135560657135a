//! The server's part of a script, on either kernel.

use std::collections::BTreeMap;

use closecall::kernel::{Event, Io, Kernel};
use closecall::machine::connection::Hints;
use closecall::machine::errno::Errno;
use closecall::simulation::{Act, Sight};

use super::script::{Line, Page, Step};
use super::side::Side;

/// What a step gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Nothing,
    Bytes(Io<usize>),
    Done(Result<(), Errno>),
    /// What a shutdown gave, and by how much it changed SIOCOUTQ, where something was
    /// unacknowledged.
    Shut(Result<(), Errno>, Option<u32>),
    Error(Option<Errno>),
}

/// What can be seen of a connection without a trace: SIOCOUTQ, SIOCINQ, TCP_INFO, and the peer's
/// side. A number that is the system's own is 1 for anything above 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Look {
    unacked: Option<u32>,
    unread: Option<u32>,
    closed: Option<bool>,
    received: Option<u64>,
    sight: Option<Sight>,
}

/// Events of one wait or more, by key; none is a listener's.
pub(crate) type Heard = BTreeMap<Option<u32>, (bool, bool, bool)>;

/// A kernel, and the sockets that the script has taken from it.
pub(crate) struct Host<S: Side> {
    pub(crate) side: S,
    sockets: Vec<Option<<S::Kernel as Kernel>::Socket>>,
    received: Vec<u64>,
}

/// More bytes than both buffers on the way to a peer hold.
const MUCH: usize = 4 << 20;

/// Bytes that fit into both buffers on the way to a peer and leave less than a third of the send
/// buffer free.
const MOST: usize = 370_000;

/// Sends of one step that fills a connection, and rounds in which it finds more room.
const ROUNDS_MAX: usize = 2_000;

impl<S: Side> Host<S> {
    pub(crate) fn new(side: S) -> Host<S> {
        Host { side, sockets: Vec::new(), received: Vec::new() }
    }

    /// Takes one step.
    pub(crate) fn play(&mut self, (step, about): Line) -> Answer {
        let answer = match step {
            Step::Connect => {
                self.side.connect();
                Answer::Nothing
            }
            Step::Accept => self.accept(),
            Step::Wait | Step::PeerReadsAll => Answer::Nothing,
            Step::Flood => {
                self.side.flood(about);
                Answer::Nothing
            }
            Step::Peer(act) => {
                self.side.act(about, act);
                Answer::Nothing
            }
            _ => self.call(step, about),
        };
        self.side.settle();
        answer
    }

    fn accept(&mut self) -> Answer {
        let taken = self.side.kernel().accept(0);
        let answer = taken.as_ref_done();
        if let Io::Done((mut socket, _)) = taken {
            let key = self.sockets.len() as u32;
            self.side.kernel().register(&mut socket, key).expect("a socket can be registered");
            self.sockets.push(Some(socket));
            self.received.push(0);
        }
        answer
    }

    /// A system call on the server's socket.
    fn call(&mut self, step: Step, about: usize) -> Answer {
        let key = about as u32;
        if let Step::ServerCloses(goodbye) = step {
            let socket = self.sockets[about].take().expect("an open socket");
            self.side.kernel().close(socket, goodbye);
            return Answer::Nothing;
        }
        if let Step::RecvAll = step {
            return self.recv_all(about);
        }
        if let Step::Fill = step {
            return self.fill(about);
        }
        let socket = self.sockets[about].as_mut().expect("an open socket");
        let kernel = self.side.kernel();
        match step {
            Step::Recv(bytes) => {
                let gave = kernel.recv(socket, &mut vec![0; bytes]);
                if let Io::Done(bytes) = gave {
                    self.received[about] += bytes as u64;
                }
                Answer::Bytes(gave)
            }
            Step::Send(bytes) => Answer::Bytes(kernel.send(socket, &vec![b'.'; bytes])),
            Step::SendMuch | Step::SendMost => {
                let bytes = if step == Step::SendMuch { MUCH } else { MOST };
                let took = kernel.send(socket, &vec![b'.'; bytes]);
                Answer::Bytes(took.map(|bytes| bytes.min(1))) // a reset may cut it short
            }
            Step::Shutdown => {
                let before = kernel.unacked(socket).filter(|&bytes| bytes > 0);
                let shut = kernel.shutdown_write(socket);
                let after = before.and_then(|_| kernel.unacked(socket));
                Answer::Shut(shut, after.map(|after| after.abs_diff(before.unwrap_or(0))))
            }
            Step::RegisterWritable => Answer::Done(kernel.register_writable(socket, key)),
            Step::TakeError => Answer::Error(kernel.take_error(socket)),
            _ => unreachable!("{step:?} is no call"),
        }
    }

    /// Receives until 0, an error, or all that the peer's system took.
    fn recv_all(&mut self, about: usize) -> Answer {
        let mut space = vec![0; 1 << 16];
        for _ in 0..ROUNDS_MAX {
            let socket = self.sockets[about].as_mut().expect("an open socket");
            match self.side.kernel().recv(socket, &mut space) {
                Io::Done(bytes @ 1..) => self.received[about] += bytes as u64,
                Io::WouldBlock if self.received[about] < self.side.sent(about) => {}
                end => return Answer::Bytes(end),
            }
            self.side.settle();
        }
        Answer::Nothing
    }

    /// Sends until a send that everything has been acknowledged before takes nothing.
    fn fill(&mut self, about: usize) -> Answer {
        let chunk = vec![b'.'; 1 << 16];
        let mut blocked = 0;
        for _ in 0..ROUNDS_MAX {
            let socket = self.sockets[about].as_mut().expect("an open socket");
            match self.side.kernel().send(socket, &chunk) {
                Io::Done(_) => blocked = 0,
                Io::WouldBlock if blocked < 3 => blocked += 1,
                end => return Answer::Bytes(end),
            }
            self.side.settle();
        }
        Answer::Nothing
    }

    /// The program of a peer reads all that is there.
    pub(crate) fn peer_reads_all(&mut self, about: usize) {
        for _ in 0..ROUNDS_MAX {
            let Sight::Bytes(bytes) = self.side.sight(about) else { return };
            self.side.act(about, Act::Read(bytes));
            self.side.settle();
        }
    }

    /// What can be seen of a connection, as far as it can be compared.
    pub(crate) fn look(&mut self, about: usize, page: &Page) -> Look {
        let some = |varies: bool, number: u32| if varies { number.min(1) } else { number };
        let sight = (!page.peer_closed && !page.deaf).then(|| match self.side.sight(about) {
            Sight::Bytes(bytes) => Sight::Bytes(some(page.filled, bytes)),
            other => other,
        });
        let socket = self.sockets.get_mut(about).and_then(Option::as_mut);
        let Some(socket) = socket else {
            return Look { unacked: None, unread: None, closed: None, received: None, sight };
        };
        let unacked = self.side.kernel().unacked(socket);
        let facts = self.side.kernel().facts(socket);
        let tcp = facts.tcp.expect("TCP_INFO");
        Look {
            unacked: unacked.map(|bytes| some(page.filled, bytes)),
            unread: facts.unread.map(|bytes| some(page.flooded, bytes)),
            closed: Some(tcp.closed),
            received: tcp.bytes_received.filter(|_| !page.ever_flooded),
            sight,
        }
    }

    /// Adds what has happened to `heard`.
    pub(crate) fn hear(&mut self, heard: &mut Heard) {
        let mut events = Vec::new();
        self.side.kernel().wait(Some(0), &mut events).expect("a poll");
        for event in events {
            let (key, hints) = match event {
                Event::Listener(_) => (None, Hints::default()),
                Event::Socket(key, hints) => (Some(key), hints),
                Event::Stop(_) => unreachable!("nothing stops it"),
            };
            let all = heard.entry(key).or_default();
            all.0 |= hints.read_closed;
            all.1 |= hints.priority;
            all.2 |= hints.error;
        }
    }
}

/// What an accept gave, without the socket.
trait Taken {
    fn as_ref_done(&self) -> Answer;
}

impl<T> Taken for Io<T> {
    fn as_ref_done(&self) -> Answer {
        Answer::Bytes(match self {
            Io::Done(_) => Io::Done(1),
            Io::WouldBlock => Io::WouldBlock,
            Io::Failed(errno) => Io::Failed(*errno),
        })
    }
}

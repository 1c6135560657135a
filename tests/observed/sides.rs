//! Three servers that echo each byte, and do so only on command: the reactor's, one of std and one
//! of tokio. Their verdicts on an ending can be compared, because the order of events is the same.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use closecall::machine::close::{Ending, LocalCause};
use closecall::machine::reply::Framing;
use closecall::observed::Observed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};

use crate::common::{Bed, MESSAGE};

/// How long a server waits for its evidence.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much a server reads before the client goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reads {
    /// All that is there, 64 KiB at a time.
    All,
    /// All that is there, a request at a time.
    Requests,
    /// One request, or two.
    Few,
}

impl Reads {
    fn buffer(self) -> Vec<u8> {
        vec![0; if self == Reads::All { 65_536 } else { MESSAGE.len() }]
    }
}

/// An echo server that does something only within [`step`](Side::step).
pub(crate) trait Side: Sized {
    /// A server of one connection. It is told `cause` if it is to end that one itself.
    fn open(reads: Reads, cause: Option<LocalCause>) -> Self;
    fn address(&self) -> SocketAddr;
    /// It looks at everything that there is to do, once.
    fn step(&mut self);
    /// Whether its connection was accepted.
    fn has_accepted(&mut self) -> bool;
    /// In the next step it ends the connection itself.
    fn ends(&mut self);
    /// Steps to the end.
    fn ending(self) -> Ending;
}

// ---- the reactor --------------------------------------------------------------------------------

pub(crate) struct OnReactor {
    bed: Bed,
    cause: Option<LocalCause>,
}

impl Side for OnReactor {
    fn open(reads: Reads, cause: Option<LocalCause>) -> OnReactor {
        let bed = Bed::with(|config| {
            config.framing = Framing::Raw;
            if reads != Reads::All {
                config.read_buffer_bytes = MESSAGE.len();
            }
            if reads == Reads::Few {
                config.bytes_per_visit = 1;
            }
            if cause == Some(LocalCause::ReadDeadline) {
                config.read_deadline_ms = Some(100);
            }
        });
        OnReactor { bed, cause }
    }

    fn address(&self) -> SocketAddr {
        self.bed.address()
    }

    fn step(&mut self) {
        self.bed.turn();
    }

    fn has_accepted(&mut self) -> bool {
        self.bed.server.counters().accepted > 0
    }

    fn ends(&mut self) {
        if self.cause == Some(LocalCause::Drain) {
            self.bed.server.handle().drain();
        } // and its deadline comes by itself
    }

    fn ending(mut self) -> Ending {
        self.bed.ending()
    }
}

// ---- std ----------------------------------------------------------------------------------------

pub(crate) struct OnStd {
    listener: TcpListener,
    reads: Reads,
    cause: Option<LocalCause>,
    is_to_end: bool,
    state: State,
}

#[allow(clippy::large_enum_variant)] // there is one of it
enum State {
    Listening,
    Open { stream: Observed<TcpStream>, pending: Vec<u8> },
    Ending(JoinHandle<Ending>),
}

impl OnStd {
    /// Echoes what there is. Returns whether the connection is to be finished.
    fn echoes(stream: &mut Observed<TcpStream>, pending: &mut Vec<u8>, reads: Reads) -> bool {
        let mut buffer = reads.buffer();
        loop {
            while !pending.is_empty() {
                match stream.write(pending) {
                    Ok(bytes) => drop(pending.drain(..bytes)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                    Err(_) => return true,
                }
                if pending.is_empty() && reads == Reads::Few {
                    return false;
                }
            }
            match stream.read(&mut buffer) {
                Ok(0) => return true,
                Ok(bytes) => pending.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => return true,
            }
        }
    }
}

impl Side for OnStd {
    fn open(reads: Reads, cause: Option<LocalCause>) -> OnStd {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        OnStd { listener, reads, cause, is_to_end: false, state: State::Listening }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    fn step(&mut self) {
        if matches!(self.state, State::Listening) {
            let Ok((stream, peer)) = self.listener.accept() else { return };
            stream.set_nonblocking(true).unwrap();
            let stream = Observed::new(stream, peer);
            self.state = State::Open { stream, pending: Vec::new() };
        }
        if let State::Open { stream, pending } = &mut self.state {
            if self.is_to_end {
                stream.ends(self.cause.expect("a reason"));
            } else if !OnStd::echoes(stream, pending, self.reads) {
                return;
            }
        }
        // `finish` blocks, and the client may have to go on meanwhile.
        self.state = match std::mem::replace(&mut self.state, State::Listening) {
            State::Open { mut stream, .. } => {
                State::Ending(thread::spawn(move || stream.finish(PATIENCE)))
            }
            state => state,
        };
    }

    fn has_accepted(&mut self) -> bool {
        !matches!(self.state, State::Listening)
    }

    fn ends(&mut self) {
        self.is_to_end = true;
    }

    fn ending(mut self) -> Ending {
        loop {
            if let State::Ending(ending) = self.state {
                return ending.join().unwrap();
            }
            self.step();
            thread::yield_now();
        }
    }
}

// ---- tokio --------------------------------------------------------------------------------------

pub(crate) struct OnTokio {
    runtime: Runtime,
    address: SocketAddr,
    accepted: Receiver<()>,
    has_accepted: bool,
    reads: Reads,
    turns: Arc<Semaphore>,
    stop: Option<oneshot::Sender<LocalCause>>,
    cause: Option<LocalCause>,
    ended: Receiver<Ending>,
}

impl Side for OnTokio {
    fn open(reads: Reads, cause: Option<LocalCause>) -> OnTokio {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let turns = Arc::new(Semaphore::new(if reads == Reads::Few { 0 } else { 1 << 20 }));
        let (stop, mut stopped) = oneshot::channel();
        let (has_accepted, accepted) = mpsc::channel();
        let (tell, ended) = mpsc::channel();
        let turn = Arc::clone(&turns);
        runtime.spawn(async move {
            let (stream, peer) = listener.accept().await.expect("a client");
            has_accepted.send(()).expect("the test is there");
            let mut stream = Observed::new(stream, peer);
            tokio::select! {
                biased;
                cause = &mut stopped => stream.ends(cause.expect("the test is there")),
                () = echoes(&mut stream, reads, &turn) => {}
            }
            tell.send(stream.finish(PATIENCE).await).expect("the test waits for it");
        });
        let (stop, has_accepted) = (Some(stop), false);
        OnTokio { runtime, address, accepted, has_accepted, reads, turns, stop, cause, ended }
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    /// A task that yields is continued when the runtime has looked for events: accept, and the
    /// first read, and what is done about it.
    fn step(&mut self) {
        if self.reads == Reads::Few {
            self.turns.add_permits(1);
        }
        self.runtime.block_on(async {
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        });
    }

    fn has_accepted(&mut self) -> bool {
        self.has_accepted |= self.accepted.try_recv().is_ok();
        self.has_accepted
    }

    fn ends(&mut self) {
        let stop = self.stop.take().expect("once");
        stop.send(self.cause.expect("a reason")).expect("its connection is open");
    }

    fn ending(mut self) -> Ending {
        loop {
            if let Ok(ending) = self.ended.try_recv() {
                return ending;
            }
            self.step();
            thread::yield_now();
        }
    }
}

async fn echoes(stream: &mut Observed<tokio::net::TcpStream>, reads: Reads, turns: &Semaphore) {
    let mut buffer = reads.buffer();
    loop {
        turns.acquire().await.expect("it is never closed").forget();
        let Ok(bytes @ 1..) = stream.read(&mut buffer).await else { return };
        if stream.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}

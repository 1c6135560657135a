//! Server of the article: a thread for each connection, a blocking recv with a deadline, and a
//! prefix before each reply. It learns of an end only by the result of its last recv.
//!
//! The results here are from the real system calls. The only difference to the original is a gate
//! before accept, so that a client can finish before it is accepted.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::report::RecvSays;
use crate::machine::errno::{Errno, Meaning, System};

/// The prefix of each reply, as long as that of closecall's server.
const PREFIX: &[u8] = b"from server back[rust]:";

/// The result of a connection's last recv.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastRecv {
    /// 0: the end of the stream.
    Zero,
    /// -1, and this error.
    Error(Errno),
    /// No further recv: the loop hangs in send.
    BlockedInSend,
}

impl LastRecv {
    /// "0", "-1 ECONNRESET".
    pub fn name(self) -> String {
        match self {
            LastRecv::Zero => "0".to_owned(),
            LastRecv::Error(errno) => match errno.name(System::HERE) {
                Some(name) => format!("-1 {name}"),
                None => format!("-1 errno {}", errno.0),
            },
            LastRecv::BlockedInSend => "blocked in send".to_owned(),
        }
    }

    /// The status that the article's final code gives it, without its type assertion, which panics
    /// at an EOF; `None` if it gives none.
    pub fn status(self) -> Option<u8> {
        match self {
            LastRecv::Zero => Some(1),
            LastRecv::Error(errno) => match errno.meaning(System::HERE) {
                // The article matches the text "connection reset by peer". EPIPE has another text.
                Meaning::Reset if errno.name(System::HERE) != Some("EPIPE") => Some(1),
                Meaning::TimedOut => Some(2),
                // The read deadline.
                _ if errno.name(System::HERE) == Some("EAGAIN") => Some(2),
                _ => Some(3),
            },
            LastRecv::BlockedInSend => None,
        }
    }

    /// Both, for a row.
    pub fn says(self) -> RecvSays {
        RecvSays { recv: self.name(), status: self.status() }
    }
}

/// A connection of the loop.
struct Line {
    peer: SocketAddr,
    in_send: bool,
    last: Option<LastRecv>,
}

#[derive(Default)]
struct State {
    /// The number of connections that may still be accepted.
    gate: u32,
    accepted: u64,
    stopping: bool,
    lines: Vec<Line>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `ready` returns a value, up to `patience`.
    fn wait<T>(
        &self,
        patience: Duration,
        mut ready: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut found = None;
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, patience, |state| {
            found = ready(state);
            found.is_none()
        });
        drop(waited);
        found
    }
}

/// A recv loop that serves until it is dropped.
pub struct RecvLoop {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for RecvLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvLoop").field("address", &self.address).finish_non_exhaustive()
    }
}

impl RecvLoop {
    /// Listens on a free port. No connection is accepted before [`let_in`](Self::let_in).
    ///
    /// # Errors
    /// The system has no port, no file or no thread for it.
    pub fn start(deadline: Duration, buffer_bytes: usize) -> io::Result<RecvLoop> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .spawn(move || accepts(&listener, &of_thread, deadline, buffer_bytes))?;
        Ok(RecvLoop { address, shared, thread: Some(thread) })
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens the gate for one more connection.
    pub fn let_in(&self) {
        self.shared.change(|state| state.gate += 1);
    }

    /// The number of connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.lock().accepted
    }

    /// Waits until `count` connections have been accepted in all, up to `patience`.
    pub fn wait_accepted(&self, count: u64, patience: Duration) {
        self.shared.wait(patience, |state| (state.accepted >= count).then_some(()));
    }

    /// Waits up to `patience` until the connection from `peer` has ended, and returns the result of
    /// its last recv, or [`LastRecv::BlockedInSend`] if it hangs in send by then.
    pub fn last_recv(&self, peer: SocketAddr, patience: Duration) -> Option<LastRecv> {
        let of_peer = |state: &mut State| {
            let index = state.lines.iter().position(|line| line.peer == peer)?;
            let last = state.lines[index].last?;
            state.lines.swap_remove(index);
            Some(last)
        };
        self.shared.wait(patience, of_peer).or_else(|| {
            let state = self.shared.lock();
            let in_send = state.lines.iter().any(|line| line.peer == peer && line.in_send);
            in_send.then_some(LastRecv::BlockedInSend)
        })
    }
}

impl Drop for RecvLoop {
    fn drop(&mut self) {
        self.shared.change(|state| state.stopping = true);
        // The thread may be in accept, which only a new connection ends.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Accepts while the gate is open, and gives each connection its thread.
fn accepts(listener: &TcpListener, shared: &Arc<Shared>, deadline: Duration, buffer_bytes: usize) {
    loop {
        let waits = |state: &mut State| state.gate == 0 && !state.stopping;
        let state = shared.changed.wait_while(shared.lock(), waits);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.stopping {
            return;
        }
        state.gate -= 1;
        drop(state);
        let Ok((stream, peer)) = listener.accept() else { continue };
        if shared.lock().stopping {
            return;
        }
        shared.change(|state| {
            state.accepted += 1;
            state.lines.push(Line { peer, in_send: false, last: None });
        });
        let of_thread = Arc::clone(shared);
        // Without a thread the client is reset, and its row has no result of the recv loop.
        let _ = thread::Builder::new().spawn(move || {
            let last = serves(stream, &of_thread, peer, deadline, buffer_bytes);
            tells(&of_thread, peer, |line| line.last = Some(last));
        });
    }
}

fn tells(shared: &Shared, peer: SocketAddr, tell: impl FnOnce(&mut Line)) {
    shared.change(|state| {
        if let Some(line) = state.lines.iter_mut().find(|line| line.peer == peer) {
            tell(line);
        }
    });
}

/// The loop of the server: recv, send, recv, send, …
fn serves(
    mut stream: TcpStream,
    shared: &Shared,
    peer: SocketAddr,
    deadline: Duration,
    buffer_bytes: usize,
) -> LastRecv {
    let _ = stream.set_read_timeout(Some(deadline));
    let _ = stream.set_nodelay(true);
    let mut reply = vec![0; PREFIX.len() + buffer_bytes];
    reply[..PREFIX.len()].copy_from_slice(PREFIX);
    loop {
        match stream.read(&mut reply[PREFIX.len()..]) {
            Ok(0) => return LastRecv::Zero,
            Ok(bytes) => {
                tells(shared, peer, |line| line.in_send = true);
                // As in the article, the result of send is ignored.
                let _ = stream.write_all(&reply[..PREFIX.len() + bytes]);
                tells(shared, peer, |line| line.in_send = false);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return LastRecv::Error(Errno(error.raw_os_error().unwrap_or(0))),
        }
    }
}

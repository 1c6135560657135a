//! A client that plays a script, act by act.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use super::reply::is_whole;
use super::wait::{Pause, Shut, Watch};
use super::{Act, Did, Performed, Plan, ServerEnd};
use crate::socket::source::{ALL_PORTS, bind_source, limit_ports};

/// One client and its connection.
pub struct Client {
    pub(super) plan: Plan,
    pub(super) started: Instant,
    local: SocketAddr,
    pub(super) watch: Watch,
    /// `None` after it is closed.
    pub(super) stream: Option<TcpStream>,
    pub(super) sent: usize,
    pub(super) received: usize,
    pub(super) kept: Vec<u8>,
    /// Messages whose replies have not been read.
    pub(super) owed: usize,
    /// Those replies lie in the receive queue.
    pub(super) held: bool,
    pub(super) shut: Shut,
    pub(super) linger0: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("local", &self.local)
            .field("sent", &self.sent)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// The system's error: refused, unreachable, no such source address, out of files or ports;
    /// [`ErrorKind::TimedOut`] when the patience has passed, [`ErrorKind::Interrupted`] when
    /// [`Plan::stop`] was set meanwhile.
    pub fn connect(plan: &Plan) -> io::Result<(Client, Performed)> {
        let started = Instant::now();
        let mut watch = Watch::new()?; // first: without a file for it, do not connect
        let socket = Socket::new(Domain::for_address(plan.server), Type::STREAM, None)?;
        if let Some(bytes) = plan.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = plan.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(source) = plan.source {
            bind_source(&socket, source)?;
        }
        // Only the cost of a connection depends on it.
        let _ = limit_ports(&socket, &ALL_PORTS);
        let deadline = started + plan.patience;
        let mut pause = Pause { meanwhile: None, deadline, stop: plan.stop };
        watch.connects(&socket, plan.server, &mut pause)?;
        let client = Client::new(plan, watch, socket, started)?;
        let performed = Performed { at: client.started.elapsed(), act: None, did: Did::Connected };
        Ok((client, performed))
    }

    /// Takes over a connection that is already established.
    ///
    /// # Errors
    /// Out of files, or the connection has ended.
    pub fn over(plan: &Plan, stream: std::net::TcpStream) -> io::Result<Client> {
        Client::new(plan, Watch::new()?, stream.into(), Instant::now())
    }

    fn new(plan: &Plan, watch: Watch, socket: Socket, started: Instant) -> io::Result<Client> {
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(socket.into());
        watch.add(&mut stream)?;
        Ok(Client {
            plan: plan.clone(),
            started,
            local: stream.local_addr()?,
            watch,
            stream: Some(stream),
            sent: 0,
            received: 0,
            kept: Vec::new(),
            owed: 0,
            held: false,
            shut: Shut::default(),
            linger0: false,
        })
    }

    /// The client's own address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// What was received so far, or the beginning of it.
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// The number of bytes that were read so far.
    pub fn received(&self) -> usize {
        self.received
    }

    /// The number of bytes that were sent so far.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Whether everything that was read is the complete echo of everything that was sent. For long
    /// ones only the lengths are compared: see [`Plan::kept_bytes_max`]. With [`Plan::any_reply`]
    /// any bytes will do.
    pub fn is_echoed(&self) -> bool {
        if self.plan.any_reply {
            return self.received > 0;
        }
        let long = self.received > self.kept.len();
        let sent = self.sent.min(self.plan.kept_bytes_max);
        let messages = sent.div_ceil(self.plan.message.len().max(1));
        match long {
            true => self.received >= self.sent,
            false => is_whole(&self.plan.message.repeat(messages), &self.kept),
        }
    }

    /// Whether `received` is the reply to what was sent.
    pub(super) fn is_reply(&self, sent: &[u8], received: &[u8]) -> bool {
        match self.plan.any_reply {
            true => !received.is_empty(),
            false => is_whole(sent, received),
        }
    }

    /// The server's FIN or reset, whichever was first, and when it was seen, from the beginning of
    /// connect. It is seen only while the client waits.
    pub fn server_end(&self) -> Option<(ServerEnd, Duration)> {
        self.watch.end.map(|(end, at)| (end, at.saturating_duration_since(self.started)))
    }

    /// Plays a whole script, alone, and passes each result to `told`. After a failure it only does
    /// the last act, which closes, because the others need the server. Returns whether every act
    /// succeeded.
    pub fn play_all(&mut self, script: &[Act], mut told: impl FnMut(&Performed, &Client)) -> bool {
        let Some((last, acts)) = script.split_last() else { return true };
        let mut failed = false;
        for &act in acts {
            let performed = self.play(act);
            told(&performed, self);
            failed = performed.failed();
            if failed {
                break;
            }
        }
        let performed = self.play(*last);
        told(&performed, self);
        !failed && !performed.failed()
    }

    /// Does `act`, alone: what it waits for comes from elsewhere.
    pub fn play(&mut self, act: Act) -> Performed {
        self.play_beside(act, None)
    }

    /// Does `act`, and calls `meanwhile` whenever it must wait, so that the server acts there and
    /// nowhere else.
    pub fn play_beside(&mut self, act: Act, meanwhile: Option<&mut dyn FnMut()>) -> Performed {
        let patience = match act {
            Act::ReadToEnd | Act::AwaitEnd => self.plan.end_patience,
            _ => self.plan.patience,
        };
        let deadline = Instant::now() + patience;
        let mut pause = Pause { meanwhile, deadline, stop: self.plan.stop };
        let did = self.does(act, &mut pause).unwrap_or_else(|error| {
            // An error is reported once: no event reports it afterwards.
            if self.is_the_servers_reset(&error) {
                self.watch.gone = true;
                self.watch.sees(ServerEnd::Reset);
            }
            match error.kind() {
                // The system's own timeout has a number.
                ErrorKind::TimedOut if error.raw_os_error().is_none() => Did::GaveUp,
                _ => Did::Failed(error.to_string()),
            }
        });
        Performed { at: self.started.elapsed(), act: Some(act), did }
    }

    /// Whether this error is a reset by the server. A send after our own FIN is a broken pipe as
    /// well, and after a shutdown of both sides our own kernel resets the connection when a reply
    /// arrives.
    fn is_the_servers_reset(&self, error: &io::Error) -> bool {
        match error.kind() {
            ErrorKind::ConnectionReset => !(self.shut.read && self.shut.write),
            _ => is_reset(error) && !self.shut.write,
        }
    }
}

/// A reset after a FIN is reported as a broken pipe.
pub(super) fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use socket2::SockRef;

    use super::*;

    /// Regression: the call took the error, so no event reported it, and the reset after a
    /// half-close was reported as a FIN.
    #[test]
    fn a_reset_that_a_call_has_taken_is_a_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let plan = Plan::new(listener.local_addr().unwrap());
        let (mut client, _) = Client::connect(&plan).unwrap();
        let (server, _) = listener.accept().unwrap();
        client.play(Act::Send);
        client.play(Act::ShutDownWrite);
        SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
        drop(server); // over the loopback it has arrived when this returns
        assert!(client.play(Act::Hold).failed());
        client.play(Act::AwaitEnd);
        assert_eq!(client.server_end().map(|(end, _)| end), Some(ServerEnd::Reset));
    }

    /// Regression: a reply that arrived in the moment of a Ctrl-C was reported as half a reply.
    #[test]
    fn a_reply_that_is_here_when_the_time_is_up_is_the_reply() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let plan = Plan::new(listener.local_addr().unwrap());
        let (mut client, _) = Client::connect(&plan).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.play(Act::Send);
        server.write_all(&plan.message).unwrap(); // over the loopback it has arrived then
        client.plan.patience = Duration::ZERO;
        let performed = client.play(Act::Read);
        assert!(!performed.failed(), "{performed:?}");
    }
}

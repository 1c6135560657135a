//! [`Observed`] for `std::net::TcpStream`.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::life::DROPPED_BYTES;
use super::life::{self, Life, OnEnding};
use super::{Observed, Stream};
use crate::machine::close::{Ending, Probe};
use crate::socket;

impl Stream for TcpStream {}

impl life::Stream for TcpStream {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    fn local(&self) -> Option<SocketAddr> {
        self.local_addr().ok()
    }

    fn probe(&self) -> impl Probe + '_ {
        self
    }

    fn drop_with(self, mut life: Life, report: OnEnding) {
        life.closes();
        report(life.conclude(&self));
    }
}

impl Observed<TcpStream> {
    /// Sends our FIN, reads and drops further input until the peer's FIN, and waits until the
    /// system has reported what became of the last bytes, for `patience` at most; then the ending
    /// contains what is known, with its certainty. The system's timer for reads is coarse: on Linux
    /// the wait may be longer by two of its ticks, 8 ms where it has 250 in a second.
    ///
    /// The stream is closed when this is dropped. Further calls return the same ending.
    pub fn finish(&mut self, patience: Duration) -> Ending {
        if let Some(ending) = self.life.ending {
            return ending;
        }
        self.part();
        let end = life::end_of(patience);
        while let Some(after) = self.asks(end) {
            self.wait(after);
        }
        self.done()
    }

    /// Shuts down the writing side: our FIN is sent, and reading continues.
    ///
    /// # Errors
    /// The error of shutdown(2): [`ErrorKind::NotConnected`] if a reset arrived first, or if the
    /// connection has ended.
    pub fn shut_down(&mut self) -> io::Result<()> {
        self.looks_before_fin(false);
        let result = self.get_ref().shutdown(Shutdown::Write);
        self.life.shut_down(&result);
        result
    }

    /// Waits for this long, or until something has arrived.
    fn wait(&mut self, after: Duration) {
        let Life { seen, .. } = &self.life;
        if seen.has_fin() || seen.has_error() {
            return thread::sleep(after); // nothing more can be read, and poll would return at once
        }
        let Some(mut stream) = self.stream.as_ref() else { return };
        let mut dropped = [0; DROPPED_BYTES];
        let (before, blocks) = (stream.read_timeout(), blocks(stream));
        let after = after.max(Duration::from_millis(1));
        let result = match stream.set_nonblocking(false).and(stream.set_read_timeout(Some(after))) {
            Ok(()) => stream.read(&mut dropped),
            Err(error) => Err(error),
        };
        // Restores the caller's setting.
        let _ = before.and_then(|before| stream.set_read_timeout(before));
        let _ = stream.set_nonblocking(!blocks);
        match result {
            Ok(bytes @ 1..) => self.life.drops(bytes),
            Err(error) if is_own_timeout(&error) || error.kind() == ErrorKind::Interrupted => {}
            result => {
                self.life.seen.read(&result);
                if !self.life.seen.has_fin() && !self.life.seen.has_error() {
                    thread::sleep(after); // short of memory
                }
            }
        }
    }

    /// Records the result of a read by the caller. On Windows the caller's SO_RCVTIMEO ends a read
    /// with the error number of a connection that timed out.
    fn reads(&mut self, result: &io::Result<usize>) {
        let has_timeout = || matches!(self.get_ref().read_timeout(), Ok(Some(_)));
        match result {
            Err(error) if is_own_timeout(error) && has_timeout() => {}
            result => self.life.read(result),
        }
    }

    /// Whether the peer's FIN is known before something is written.
    fn looks_for_fin(&mut self) {
        if !self.life.seen.has_fin_hint() && socket::is_read_closed(self.get_ref()) {
            self.life.seen.hints_fin();
        }
    }
}

/// Whether this is how the system reports the end of SO_RCVTIMEO. On Unix ETIMEDOUT is the
/// connection's.
fn is_own_timeout(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == ErrorKind::WouldBlock || cfg!(windows) && kind == ErrorKind::TimedOut
}

/// Whether its calls block; `true` on systems that do not report it.
fn blocks(stream: &TcpStream) -> bool {
    #[cfg(unix)]
    let blocks = !SockRef::from(stream).nonblocking().unwrap_or(false);
    #[cfg(not(unix))]
    let blocks = {
        let _ = stream;
        true
    };
    blocks
}

impl Read for Observed<TcpStream> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = Read::read(&mut self.get_ref(), buffer);
        if !buffer.is_empty() {
            self.reads(&result);
        }
        result
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let is_empty = buffers.iter().all(|buffer| buffer.is_empty());
        let result = self.get_ref().read_vectored(buffers);
        if !is_empty {
            self.reads(&result);
        }
        result
    }
}

impl Write for Observed<TcpStream> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.looks_for_fin();
        let result = Write::write(&mut self.get_ref(), buffer);
        self.life.wrote(&result, buffer.len());
        result
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.looks_for_fin();
        let result = self.get_ref().write_vectored(buffers);
        self.life.wrote(&result, buffers.iter().map(|buffer| buffer.len()).sum());
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.get_ref().flush()
    }
}

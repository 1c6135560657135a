//! [`Observed`] for `tokio::net::TcpStream`.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::life::DROPPED_BYTES;
use super::life::{self, Life, OnEnding};
use super::{Observed, Stream};
use crate::machine::close::{Ending, Probe};
use crate::socket;

/// How long a stream that was dropped within a runtime waits for its evidence, in a task of its
/// own: the same as the echo server.
const DROPPED_WAITS: Duration = Duration::from_secs(2);

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
        match Handle::try_current() {
            // A task that is itself dropped, by a runtime that ends or has no timers, is the last.
            Ok(runtime) if !life.is_left => {
                life.is_left = true;
                let mut left =
                    Observed { stream: Some(self), life, report: Mutex::new(Some(report)) };
                runtime.spawn(async move { left.finish(DROPPED_WAITS).await });
            }
            _ => {
                life.closes();
                report(life.conclude(&self));
            }
        }
    }
}

impl Observed<TcpStream> {
    /// Sends our FIN, reads and drops further input until the peer's FIN, and waits until the
    /// system has reported what became of the last bytes, for `patience` at most; then the ending
    /// contains what is known, with its certainty.
    ///
    /// The stream is closed when this is dropped. Further calls return the same ending. It is
    /// cancel safe: if the future is dropped before it is ready, nothing is lost, and it may be
    /// called again.
    ///
    /// ```
    /// use closecall::Observed;
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let address = listener.local_addr()?;
    /// # let mut client = tokio::net::TcpStream::connect(address).await?;
    /// # client.write_all(b"Hi").await?;
    /// let (stream, peer) = listener.accept().await?;
    /// let mut stream = Observed::new(stream, peer);
    /// let mut request = [0; 1024];
    /// let bytes = stream.read(&mut request).await?;
    /// stream.write_all(&request[..bytes]).await?;
    /// # client.read_exact(&mut [0; 2]).await?;
    /// # drop(client);
    /// while stream.read(&mut request).await? > 0 {}
    /// let ending = stream.finish(std::time::Duration::from_secs(2)).await;
    /// assert_eq!(ending.verdict.kind.name(), "peer_fin.delivered");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// As tokio's own timers do: outside a runtime, or if its time driver is not enabled.
    pub async fn finish(&mut self, patience: Duration) -> Ending {
        if let Some(ending) = self.life.ending {
            return ending;
        }
        self.part();
        let end = life::end_of(patience);
        // After the end of file tokio gives no further event: a timer repeats the check.
        while let Some(after) = self.asks(end) {
            let mut sleep = pin!(tokio::time::sleep(after));
            std::future::poll_fn(|context| match self.poll_drop(context) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => sleep.as_mut().poll(context),
            })
            .await;
        }
        self.done()
    }

    /// Reads once and drops what arrived; pending if there is nothing to read, now or later.
    fn poll_drop(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.life.seen.has_fin() || self.life.seen.has_error() {
            return Poll::Pending;
        }
        let mut dropped = [0; DROPPED_BYTES];
        let mut buffer = ReadBuf::new(&mut dropped);
        let before = self.life.seen.rx();
        let polled = Pin::new(&mut *self).poll_read(context, &mut buffer);
        self.life.discarded += self.life.seen.rx() - before;
        match polled {
            Poll::Ready(Err(_)) if !self.life.seen.has_error() => Poll::Pending, // short of memory
            polled => polled.map(|_| ()),
        }
    }

    /// Whether the peer's FIN is known before something is written: the runtime keeps what the last
    /// event reported, and asking for it is no system call. There is usually room to send, so that
    /// the answer is immediate: asked only for what can be read, it would wait in a list of its
    /// own. A stream that was just accepted counts as ready without an event, so before its first
    /// write the system is asked.
    fn looks_for_fin(&mut self) {
        if self.life.seen.has_fin_hint() {
            return;
        }
        let is_read_closed = if self.life.seen.tx() == 0 {
            socket::is_read_closed(self.get_ref())
        } else {
            let ready = pin!(self.get_ref().ready(Interest::READABLE | Interest::WRITABLE));
            let ready = ready.poll(&mut Context::from_waker(Waker::noop()));
            matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
        };
        if is_read_closed {
            self.life.seen.hints_fin();
        }
    }

    /// Records a write of `bytes` bytes. One that is pending took none of them, and its future may
    /// be dropped.
    fn wrote(&mut self, polled: &Poll<io::Result<usize>>, bytes: usize) {
        match polled {
            Poll::Ready(result) => self.life.wrote(result, bytes),
            Poll::Pending => self.life.refuses(bytes),
        }
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.stream.as_mut().expect("it is there until it is dropped"))
    }
}

impl AsyncRead for Observed<TcpStream> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let polled = self.stream().poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        match &polled {
            Poll::Ready(Ok(())) if room > 0 => self.life.read(&Ok(bytes)),
            Poll::Ready(Err(error)) => self.life.seen.read_failed(error),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        polled
    }
}

impl AsyncWrite for Observed<TcpStream> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.looks_for_fin();
        let polled = self.stream().poll_write(context, buffer);
        self.wrote(&polled, buffer.len());
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.looks_for_fin();
        let polled = self.stream().poll_write_vectored(context, buffers);
        self.wrote(&polled, buffers.iter().map(|buffer| buffer.len()).sum());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.looks_before_fin(false);
        let polled = self.stream().poll_shutdown(context);
        if let Poll::Ready(result) = &polled {
            self.life.shut_down(result);
        }
        polled
    }
}

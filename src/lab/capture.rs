//! Packet capture on the loopback device: every TCP packet, as the kernel saw it.
//!
//! A packet socket gets each packet before TCP does. So the packets behind any event, result or
//! error that a program has seen are in the socket already; [`Capture::settle`] waits until the
//! capture has read them as well.
//!
//! A capture needs Linux and CAP_NET_RAW. It sees only the loopback device: both ends of a
//! connection are on this machine.

mod contradiction;
#[cfg(target_os = "linux")]
mod filter;
#[cfg_attr(not(target_os = "linux"), path = "capture/no_tap.rs")]
mod tap;

mod packet;
mod pcap;
mod segment;
#[cfg(test)]
#[path = "../../tests/common/skip.rs"]
pub(super) mod skip;
mod story;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use self::segment::Segment;
use self::tap::{Frame, Tap};

pub use self::contradiction::{Bytes, End, Expectation, First, contradiction};
pub use self::packet::Packet;
pub use self::segment::Flags;
pub use self::story::story;

/// The most bytes of a packet that are kept: all headers, and some of the payload. Lengths are
/// taken from the headers.
const SNAP_BYTES: u32 = 160;

/// The most packets that are kept, about 30 MB. Later packets are only counted.
const PACKETS_MAX: usize = 1 << 17;

/// After this time [`Capture::settle`] sends its mark again, because a full buffer may have dropped
/// it.
const MARK_AGAIN: Duration = Duration::from_millis(100);

/// How long to wait for the kernel's first timestamp. It usually comes within microseconds.
const STAMPS_WAIT: Duration = Duration::from_secs(1);

/// After this time [`Capture::settle`] gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// A capture that runs until it is dropped.
pub struct Capture {
    shared: Arc<Shared>,
    /// A socket that sends marks to itself: see [`Capture::settle`].
    marker: UdpSocket,
    marks: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

/// State shared by the reader thread and the other threads.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when a mark was read, or when the reader has ended.
    marked: Condvar,
    stop: AtomicBool,
}

#[derive(Default)]
struct State {
    seen: Vec<KeptPacket>,
    /// The watched ports; `None`: all.
    watched: Option<Vec<u16>>,
    /// The last mark that was read; 0 is none.
    mark: u64,
    /// Whether that mark had a timestamp of the kernel.
    stamped: bool,
    losses: Losses,
    /// The number of packets that the socket had dropped by the first mark.
    lost_before: u64,
    /// Why the reader thread has ended.
    failed: Option<(io::ErrorKind, String)>,
}

/// A packet that is kept.
#[derive(Clone)]
struct KeptPacket {
    /// Since the epoch.
    at: Duration,
    /// The beginning of the frame.
    bytes: Box<[u8]>,
    segment: Segment,
}

/// Packets that were on the wire and are not in the capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Losses {
    /// Packets that the socket dropped because its buffer was full.
    pub unread: u64,
    /// Packets beyond the number that the capture keeps.
    pub beyond: u64,
    /// Packets that are TCP by their IP header and cannot be parsed.
    pub malformed: u64,
}

impl Losses {
    /// Whether no packet is missing.
    pub fn is_none(self) -> bool {
        self == Losses::default()
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Losses { unread, beyond, malformed } = self;
        write!(
            f,
            "the capture is incomplete: {unread} packets were dropped because its buffer was full, \
             {beyond} were beyond its limit of {PACKETS_MAX}, {malformed} were malformed"
        )
    }
}

impl Capture {
    /// Starts a capture of every TCP packet that is sent on the loopback device from now on.
    ///
    /// # Errors
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) without CAP_NET_RAW,
    /// [`Unsupported`](io::ErrorKind::Unsupported) on other systems than Linux, or another
    /// error of the system, for example without a loopback device or a free file.
    pub fn start() -> io::Result<Capture> {
        let marker = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let own = marker.local_addr()?;
        marker.connect(own)?;
        let tap = Tap::open(own.port(), SNAP_BYTES)?;
        let shared = Arc::new(Shared::default());
        let reader = Arc::clone(&shared);
        let thread =
            thread::Builder::new().name("capture".to_owned()).spawn(move || reader.reads(tap))?;
        let marks = AtomicU64::new(0);
        let capture = Capture { shared, marker, marks, thread: Some(thread) };
        let give_up = Instant::now() + STAMPS_WAIT;
        loop {
            capture.settle()?;
            if capture.shared.lock().stamped || Instant::now() > give_up {
                return Ok(capture);
            }
        }
    }

    /// From now on keeps only packets to or from this port, and those of earlier calls. Without it,
    /// a busy machine fills the capture with unrelated packets.
    pub fn watch(&self, port: u16) {
        self.shared.lock().watched.get_or_insert_default().push(port);
    }

    /// Stops keeping packets to or from this port.
    pub fn unwatch(&self, port: u16) {
        if let Some(watched) = &mut self.shared.lock().watched {
            watched.retain(|&it| it != port);
        }
    }

    /// Waits until the capture has all packets whose effects any local program can have seen before
    /// the call: a reply, an end, an error, or an acknowledgement.
    ///
    /// It sends a mark over the same device and waits for it. A packet that has had no effect yet
    /// may come after the mark.
    ///
    /// # Errors
    /// The capture has ended, or no mark arrives within 5 s.
    pub fn settle(&self) -> io::Result<()> {
        let mark = self.marks.fetch_add(1, Ordering::Relaxed) + 1;
        let give_up = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        while Instant::now() < give_up {
            drop(state);
            self.marker.send(&mark.to_be_bytes())?;
            state = self.shared.lock();
            let waited = self.shared.marked.wait_timeout_while(state, MARK_AGAIN, |state| {
                state.mark < mark && state.failed.is_none()
            });
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.mark >= mark {
                return Ok(());
            }
            if let Some((kind, why)) = &state.failed {
                return Err(io::Error::new(*kind, why.clone()));
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the capture does not receive its own marks"))
    }

    /// The packets of the last connection between these two, in order; empty if its beginning was
    /// not captured.
    pub fn packets(&self, client: SocketAddr, server: SocketAddr) -> Vec<Packet> {
        let state = self.shared.lock();
        let seen = state.seen.iter().map(|seen| (seen.at, &seen.segment));
        packet::connection(seen, client, server)
    }

    /// The missing packets, as of the last [`settle`](Self::settle).
    pub fn losses(&self) -> Losses {
        self.shared.lock().losses
    }

    /// Writes all packets between these pairs as a pcap file, for Wireshark or tcpdump, and returns
    /// their number. Their checksums are wrong, because the kernel computes none on loopback.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, file: impl Write, pairs: &[(SocketAddr, SocketAddr)]) -> io::Result<usize> {
        let between = |segment: &Segment| {
            pairs.iter().any(|&(a, b)| segment.goes(a, b) || segment.goes(b, a))
        };
        // Copied, so that the reader thread is not blocked while the disk writes.
        let state = self.shared.lock();
        let seen: Vec<KeptPacket> =
            state.seen.iter().filter(|seen| between(&seen.segment)).cloned().collect();
        drop(state);
        pcap::write(file, &seen)?;
        Ok(seen.len())
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").finish_non_exhaustive()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // This wakes the thread. If it is lost, the thread checks by itself within a second.
        let _ = self.marker.send(&u64::MAX.to_be_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until `stop` is set or a read fails.
    fn reads(&self, mut tap: Tap) {
        while !self.stop.load(Ordering::Relaxed) {
            match tap.read() {
                Ok(None) => {}
                Ok(Some(frame)) => {
                    if self.lock().takes(&frame) {
                        self.marked.notify_all();
                    }
                }
                Err(error) => {
                    self.lock().failed = Some((error.kind(), error.to_string()));
                    return self.marked.notify_all();
                }
            }
        }
    }
}

impl State {
    /// Keeps a packet or counts it; `true` if it is a mark.
    fn takes(&mut self, frame: &Frame<'_>) -> bool {
        // Packets before the first mark are older than the capture.
        if self.mark == 0 {
            self.lost_before = frame.lost;
        }
        self.losses.unread = frame.lost - self.lost_before;
        if let Some(mark) = frame.mark {
            self.mark = self.mark.max(mark);
            self.stamped = frame.stamped;
            return true;
        }
        if self.mark == 0 {
            return false;
        }
        let Some(segment) = Segment::parse(frame.bytes) else {
            self.losses.malformed += 1;
            return false;
        };
        let is_watched = |port: &u16| [segment.source.1, segment.target.1].contains(port);
        if self.watched.as_ref().is_some_and(|ports| !ports.iter().any(is_watched)) {
            return false;
        }
        if self.seen.len() == PACKETS_MAX {
            self.losses.beyond += 1;
            return false;
        }
        // Two processors may deliver packets in a different order than they stamp them.
        let at = self.seen.last().map_or(frame.at, |last| frame.at.max(last.at));
        self.seen.push(KeptPacket { at, bytes: frame.bytes.into(), segment });
        false
    }
}

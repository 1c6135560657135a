//! What really went over the wire: every TCP packet on the loopback device, as the kernel saw it.
//!
//! A packet socket takes each packet before TCP does. So what a program has been told of, by an
//! event, a result or an error, has been taken before; [`Capture::settle`] waits until it has been
//! read as well.
//!
//! It needs CAP_NET_RAW, and Linux. It sees the loopback device only: both ends are here.

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

/// So much of a packet is kept at most, in bytes: all headers, and some of the payload. The lengths
/// are those of the headers.
const SNAP_BYTES: u32 = 160;

/// So many packets are kept, about 30 MB at most. What comes later is counted.
const PACKETS_MAX: usize = 1 << 17;

/// When [`Capture::settle`] marks again: its first mark met a full buffer.
const MARK_AGAIN: Duration = Duration::from_millis(100);

/// How long the kernel may take to begin with its timestamps. It is a matter of microseconds.
const STAMPS_WAIT: Duration = Duration::from_secs(1);

/// When [`Capture::settle`] gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// A capture that runs, until it is dropped.
pub struct Capture {
    shared: Arc<Shared>,
    /// Sends to itself: see [`Capture::settle`].
    marker: UdpSocket,
    marks: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

/// What the thread that reads and the others share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// A mark was seen, or no more will be.
    marked: Condvar,
    stop: AtomicBool,
}

#[derive(Default)]
struct State {
    seen: Vec<KeptPacket>,
    /// `None`: all are.
    watched: Option<Vec<u16>>,
    /// The last mark that was seen; 0 is none.
    mark: u64,
    /// The kernel said when it saw that.
    stamped: bool,
    losses: Losses,
    /// What the socket had lost by the first mark.
    lost_before: u64,
    /// Why the thread reads no more.
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
    /// Nobody read them in time, and the socket's buffer was full.
    pub unread: u64,
    /// There were more than the capture keeps.
    pub beyond: u64,
    /// TCP by their IP header, and nothing that can be taken apart.
    pub malformed: u64,
}

impl Losses {
    /// Nothing is missing.
    pub fn is_none(self) -> bool {
        self == Losses::default()
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Losses { unread, beyond, malformed } = self;
        write!(
            f,
            "the capture misses {unread} packets that nobody read in time, {beyond} beyond the \
             {PACKETS_MAX} that it keeps, {malformed} malformed ones"
        )
    }
}

impl Capture {
    /// Begins: every TCP packet that is sent on the loopback device after this is seen.
    ///
    /// # Errors
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) without CAP_NET_RAW,
    /// [`Unsupported`](io::ErrorKind::Unsupported) on other systems than Linux, or what the system
    /// says: there is no loopback device, or no file left.
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

    /// From here on keeps only what goes to this port or comes from there. Called again, that port
    /// as well. Without it a busy machine fills the capture with what is not of interest.
    pub fn watch(&self, port: u16) {
        self.shared.lock().watched.get_or_insert_default().push(port);
    }

    /// From here on keeps no more of what goes to this port or comes from there.
    pub fn unwatch(&self, port: u16) {
        if let Some(watched) = &mut self.shared.lock().watched {
            watched.retain(|&it| it != port);
        }
    }

    /// Returns when all is in the capture that any program here can have been told of before the
    /// call: a reply, an end, an error, or that something is acknowledged.
    ///
    /// A marker is sent over the same device, and waited for. What was sent and has had no effect
    /// yet may come behind it.
    ///
    /// # Errors
    /// The capture has ended, or the marker does not get through for 5 s.
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
        Err(io::Error::new(io::ErrorKind::TimedOut, "the capture does not see its own marker"))
    }

    /// What was seen of the last connection between these two, in order; nothing if its beginning
    /// was not seen.
    pub fn packets(&self, client: SocketAddr, server: SocketAddr) -> Vec<Packet> {
        let state = self.shared.lock();
        let seen = state.seen.iter().map(|seen| (seen.at, &seen.segment));
        packet::connection(seen, client, server)
    }

    /// What is missing, as of the last [`settle`](Self::settle).
    pub fn losses(&self) -> Losses {
        self.shared.lock().losses
    }

    /// Writes all packets between these pairs as a pcap file, for Wireshark or tcpdump, and says
    /// how many. Checksums in it are wrong: on the loopback device nobody computes them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, file: impl Write, pairs: &[(SocketAddr, SocketAddr)]) -> io::Result<usize> {
        let between = |segment: &Segment| {
            pairs.iter().any(|&(a, b)| segment.goes(a, b) || segment.goes(b, a))
        };
        // Copied: nobody reads packets while the disk writes, otherwise.
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
        // It wakes the thread. If it is lost, the thread looks by itself within a second.
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

    /// Reads until it is told to stop, or cannot.
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
    /// Keeps a packet, or counts it; `true` if it was a mark.
    fn takes(&mut self, frame: &Frame<'_>) -> bool {
        // What comes before the first mark comes before the capture.
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
        // Two processors may stamp in another order than they deliver.
        let at = self.seen.last().map_or(frame.at, |last| frame.at.max(last.at));
        self.seen.push(KeptPacket { at, bytes: frame.bytes.into(), segment });
        false
    }
}

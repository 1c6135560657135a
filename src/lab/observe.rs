//! Close log of an external server: finds the lines of the lab's own connections.
//!
//! For a direct connection the line has the client's port. Behind a proxy it has a port of the
//! proxy, so other facts must agree: the connection must begin after the client's connect, and have
//! received the number of bytes that the client sent, which no other connection of the lab has. If
//! the length is no evidence, a line counts only if it is the only candidate.
//!
//! Another program, maybe on another machine, writes the log, so each wait for a line is bounded.

mod line;
mod tail;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use std::{fmt, io, thread};

use self::line::Line;
use self::tail::Tail;
use super::judge::ServerAccount;
use super::words::span;
use crate::machine::close::Kind;

/// How often the file is read. There is no portable notification that a file has grown.
const LOOK: Duration = Duration::from_millis(2);

/// The most lines of other connections that are kept, the newest ones: a busy server writes many.
const LINES_MAX: usize = 10_000;

/// After this many direct connections in a row without a line, the lab no longer waits for lines.
const MISSED_MAX: u32 = 2;

/// How much earlier than the client's connect a line may begin: its clock has milliseconds, and the
/// two clocks were compared by a connection that may have been accepted late.
const TOLERANCE: Duration = Duration::from_millis(50);

/// How long after the client's close a proxy may still connect, if nothing else identifies the
/// line; and how long the lab waits for a second candidate.
const LATE: Duration = Duration::from_millis(250);

/// How long the lab watches for lines of other connections before a line counts as the only
/// candidate: longer than the usual time between two health checks of a balancer.
const LOOK_OUT: Duration = Duration::from_millis(2_500);

/// A client that fills buffers sends more bytes than this. No other request of the lab and no
/// health check is that long.
const FILLED_BYTES_MIN: u64 = 4_096;

/// A connection of the lab.
#[derive(Clone, Debug)]
pub(super) struct Ours {
    /// The client's own address.
    pub(super) peer: SocketAddr,
    /// The time before it connected.
    pub(super) connected: SystemTime,
    /// The time after the client's last act.
    pub(super) closed: SystemTime,
    /// The length of its message, in bytes. No other connection at this time has a message of that
    /// length.
    pub(super) message: u64,
    /// The number of bytes that it sent, all messages together.
    pub(super) sent: u64,
}

impl Ours {
    /// Whether `rx` is the number of sent bytes, or of a part in whole messages: then the line
    /// belongs to this connection.
    fn is_length(&self, rx: u64) -> bool {
        let is_part = rx < self.sent && !self.is_filled() && rx.is_multiple_of(self.message.max(1));
        rx > 0 && (rx == self.sent || is_part)
    }

    /// Whether the server may have read `rx` bytes of this connection. Other connections may match
    /// too.
    fn may_be(&self, rx: u64) -> bool {
        match self.is_filled() {
            true => (FILLED_BYTES_MIN..=self.sent).contains(&rx),
            false => rx <= self.sent,
        }
    }

    /// A description of its line.
    fn which(&self) -> String {
        match self.sent {
            0 => "for a connection without data".to_owned(),
            _ if self.is_filled() => "for a client that fills its buffers".to_owned(),
            sent => format!("with the {sent} bytes that were sent"),
        }
    }

    fn is_filled(&self) -> bool {
        self.sent > FILLED_BYTES_MIN && self.sent > 2 * self.message
    }

    /// Whether the length cannot identify the line.
    fn is_nameless(&self) -> bool {
        self.sent == 0 || self.is_filled()
    }
}

/// Why the server's verdict is unknown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Untold {
    /// No line appeared in time: the server may still hold the connection open.
    NoLineYet(String),
    /// The server never accepted the connection.
    NeverSeen(String),
    /// Lines appeared, and it is unknown to which connections they belong, or what they mean.
    Unclear(String),
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Untold::NoLineYet(why) | Untold::NeverSeen(why) | Untold::Unclear(why)) = self;
        f.write_str(why)
    }
}

/// The end of a close log that another program writes.
pub(super) struct CloseLog {
    tail: Tail,
    /// Set by another thread to stop waiting.
    stop: &'static AtomicBool,
    patience: Duration,
    opened: Instant,
    /// Lines that belong to no connection so far.
    lines: Vec<Line>,
    /// The number of lines that are not close log records.
    strange: u64,
    /// The number of direct connections in a row without a line.
    missed: u32,
    /// How much later than this machine's clock the server's clock is, in milliseconds, once known.
    skew_ms: Option<i64>,
    /// The numbers of the connections that have a line, the newest ones.
    ids: BTreeSet<u64>,
    /// Two lines had the same number: several processes write this log, or one was restarted.
    ids_repeat: bool,
    /// Lengths of other connections.
    others: BTreeSet<u64>,
    /// Lengths of the lab's connections.
    own: BTreeSet<u64>,
}

impl CloseLog {
    /// Starts at the end of the file, because older lines are of other connections. `patience`
    /// bounds the wait for a line.
    ///
    /// # Errors
    /// The path is not a regular file, or it cannot be read.
    pub(super) fn open(
        path: &Path,
        patience: Duration,
        stop: &'static AtomicBool,
    ) -> io::Result<CloseLog> {
        Ok(CloseLog {
            tail: Tail::open(path)?,
            stop,
            patience,
            opened: Instant::now(),
            lines: Vec::new(),
            strange: 0,
            missed: 0,
            skew_ms: None,
            ids: BTreeSet::new(),
            ids_repeat: false,
            others: BTreeSet::new(),
            own: BTreeSet::new(),
        })
    }

    /// Whether other connections use messages of this length.
    pub(super) fn is_of_others(&self, message: u64) -> bool {
        self.others.contains(&message)
    }

    /// Announces that a connection of the lab will send this many bytes.
    pub(super) fn expects(&mut self, sent: u64) {
        self.own.insert(sent);
    }

    /// Drops the lines that belong to no connection, and returns the highest number of a connection
    /// with a line. Connections that are accepted from now on have higher numbers.
    pub(super) fn clear(&mut self) -> Option<u64> {
        while self.reads() {}
        for line in self.lines.drain(..) {
            let rx = line.rx();
            if !self.own.contains(&rx) && self.others.len() < LINES_MAX {
                self.others.insert(rx);
            }
        }
        self.ids.last().copied()
    }

    /// The line of a direct connection. It is found by the port, because the address may be
    /// translated on the way.
    pub(super) fn direct(&mut self, ours: &Ours) -> Result<(u64, ServerAccount), Untold> {
        let patience = match self.missed {
            0..MISSED_MAX => self.patience,
            _ => Duration::ZERO,
        };
        let earliest = self.earliest(ours);
        let line = self.waited(patience, |lines| {
            let mine = |line: &Line| {
                let after = earliest.is_none_or(|earliest| line.began() >= earliest);
                line.peer.port() == ours.peer.port() && line.rx() <= ours.sent && after
            };
            let is_exact = |line: &Line| mine(line) && line.peer.ip() == ours.peer.ip();
            let index = lines.iter().position(is_exact).or_else(|| lines.iter().position(mine))?;
            Some(lines.remove(index))
        });
        self.missed = if line.is_some() { 0 } else { self.missed + 1 };
        let Some(line) = line else {
            let port = ours.peer.port();
            return Err(self.missing(&format!("with port {port}"), patience));
        };
        let skew_ms = millis_between(ours.connected, line.began());
        self.skew_ms = Some(self.skew_ms.map_or(skew_ms, |known| known.min(skew_ms)));
        Ok((line.id, told(line)?))
    }

    /// The line of a connection through a proxy, which has its own ports.
    pub(super) fn through(&mut self, ours: &Ours) -> Result<ServerAccount, Untold> {
        let earliest = self.earliest(ours).unwrap_or(SystemTime::UNIX_EPOCH);
        let life = ours.closed.duration_since(ours.connected).unwrap_or_default();
        let window = earliest..=earliest + TOLERANCE + life + LATE;
        let is_exact = |line: &Line| line.began() >= earliest && ours.is_length(line.rx());
        let may_be = |line: &Line| window.contains(&line.began()) && ours.may_be(line.rx());
        let (opened, nameless) = (self.opened, ours.is_nameless());
        let mut first = None;
        let found = self.waited(self.patience, |lines| {
            if let Some(index) = lines.iter().position(is_exact) {
                return Some(index);
            }
            // A single candidate counts once a second one would have appeared.
            let index = lines.iter().position(may_be).filter(|_| nameless)?;
            let seen = *first.get_or_insert_with(Instant::now);
            (opened.elapsed() >= LOOK_OUT && seen.elapsed() >= LATE).then_some(index)
        });
        // The patience may be too short for that.
        let last = || self.lines.iter().position(may_be).filter(|_| nameless);
        let Some(index) = found.or_else(last) else {
            return Err(self.missing(&ours.which(), self.patience));
        };
        if found.is_none() && opened.elapsed() < LOOK_OUT {
            return Err(Untold::Unclear(format!(
                "a close log line may belong to this connection, but a --patience of {} is too \
                 short to exclude other connections",
                span(self.patience)
            )));
        }
        let line = self.lines.remove(index);
        let exact = is_exact(&line);
        let others = self.lines.iter().filter(|other| match exact {
            true => is_exact(other),
            false => ours.may_be(other.rx()),
        });
        match others.count() {
            0 if exact || !self.others.contains(&line.rx()) => told(line),
            0 => Err(Untold::Unclear(
                "other connections, such as the proxy's health checks, send as few bytes: it is \
                 unknown which close log line belongs to this one"
                    .to_owned(),
            )),
            more => Err(Untold::Unclear(format!(
                "{} close log lines may belong to this connection: it is unknown which one does",
                more + 1
            ))),
        }
    }

    /// Whether there is a line that may belong to `ours`, by its length.
    pub(super) fn has_candidate(&self, ours: &Ours) -> bool {
        self.lines.iter().any(|line| ours.may_be(line.rx()))
    }

    /// Whether all connections that were accepted between these two numbers have lines.
    pub(super) fn has_all_between(&self, before: u64, after: u64) -> bool {
        let between = before.saturating_add(1)..after;
        let wanted = after.saturating_sub(before).saturating_sub(1);
        !self.ids_repeat && before < after && self.ids.range(between).count() as u64 == wanted
    }

    /// The earliest time, by the server's clock, at which this connection can have been accepted;
    /// `None` while the difference of the clocks is unknown.
    fn earliest(&self, ours: &Ours) -> Option<SystemTime> {
        let skew = Duration::from_millis(self.skew_ms?.unsigned_abs());
        let connected = match self.skew_ms? < 0 {
            true => ours.connected.checked_sub(skew)?,
            false => ours.connected.checked_add(skew)?,
        };
        connected.checked_sub(TOLERANCE)
    }

    fn missing(&self, which: &str, patience: Duration) -> Untold {
        let strange = match self.strange {
            0 => String::new(),
            strange => format!("; lines that are not close log records: {strange}"),
        };
        Untold::NoLineYet(match self.missed > MISSED_MAX {
            true => format!("the close log no longer has lines of the lab's connections{strange}"),
            false => format!("no close log line {which} within {}{strange}", span(patience)),
        })
    }

    /// Reads lines until `take` returns a value.
    fn waited<T>(
        &mut self,
        patience: Duration,
        mut take: impl FnMut(&mut Vec<Line>) -> Option<T>,
    ) -> Option<T> {
        let give_up = Instant::now() + patience;
        loop {
            self.reads();
            if let Some(taken) = take(&mut self.lines) {
                return Some(taken);
            }
            if Instant::now() > give_up || self.stop.load(Ordering::Relaxed) {
                return None;
            }
            thread::sleep(LOOK);
        }
    }

    /// Reads the new lines; `false` if there are none.
    fn reads(&mut self) -> bool {
        let CloseLog { tail, lines, strange, ids, ids_repeat, .. } = self;
        let more = tail.reads(|text| match Line::parse(text) {
            Some(line) => {
                *ids_repeat |= !ids.insert(line.id);
                lines.push(line);
            }
            None => *strange += 1,
        });
        while ids.len() > LINES_MAX {
            ids.pop_first();
        }
        lines.drain(..lines.len().saturating_sub(LINES_MAX));
        more
    }
}

/// The time from `from` to `to`; negative if `to` is earlier.
fn millis_between(from: SystemTime, to: SystemTime) -> i64 {
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    match to.duration_since(from) {
        Ok(time) => millis(time),
        Err(error) => -millis(error.duration()),
    }
}

fn told(line: Line) -> Result<ServerAccount, Untold> {
    match Kind::named(&line.verdict) {
        Some(kind) => Ok(ServerAccount { kind, evidence: line.evidence }),
        None => Err(Untold::Unclear(format!(
            "the close log has {:?}, which is not a known verdict",
            line.verdict
        ))),
    }
}

#[cfg(test)]
mod tests;

//! The close log of a server elsewhere, read while it grows.
//!
//! It comes from another program and maybe from another machine: nothing of it is trusted, no line
//! is waited for without end, and no text of it is shown that is not one of ours.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use serde::Deserialize;

use super::judge::Told;
use crate::machine::close::Kind;
use crate::record::Evidence;

/// How long a line may take: the server waits for its evidence, and somebody may copy the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the file is looked at. Nothing portable tells that a file has grown.
const LOOK: Duration = Duration::from_millis(2);

/// So many lines of others are kept, the newest: a busy server writes many.
const LINES_MAX: usize = 10_000;

/// So much is read at a look, in bytes: whoever writes faster is caught up with later.
const LOOK_BYTES: u64 = 1 << 20;

/// No line of a close log is longer, in bytes.
const LINE_BYTES_MAX: usize = 1 << 16;

/// So many lines in a row that do not come, and none is waited for any more.
const MISSED_MAX: u32 = 2;

/// What is needed of a line. What else is there may be newer than we are.
#[derive(Deserialize)]
struct Line {
    peer: SocketAddr,
    verdict: String,
    #[serde(flatten)]
    evidence: Evidence,
}

/// Why the server's word is not known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Untold {
    /// No line came in time.
    NoLine(String),
    /// Lines came, and whose they are, or what they say, cannot be told.
    Unclear(String),
    /// Several lines did not come, and no more are waited for.
    Still,
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Untold::NoLine(why) | Untold::Unclear(why) => f.write_str(why),
            Untold::Still => f.write_str("the close log grows no more"),
        }
    }
}

/// The end of a close log that somebody else writes.
pub(super) struct CloseLog {
    path: PathBuf,
    file: File,
    /// Set from elsewhere: nothing more is waited for.
    stop: &'static AtomicBool,
    patience: Duration,
    /// What was read and has no newline yet.
    begun: Vec<u8>,
    /// Lines that nobody has asked for.
    lines: Vec<Line>,
    /// Lines that are none of a close log.
    strange: u64,
    /// Lines in a row that did not come.
    missed: u32,
}

impl CloseLog {
    /// Begins at the end: what is there already is of others.
    ///
    /// # Errors
    /// It is no file, or cannot be read.
    pub(super) fn open(path: &Path, stop: &'static AtomicBool) -> io::Result<CloseLog> {
        // A FIFO that nobody writes to would not even open.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(0))?;
        let (path, patience) = (path.to_owned(), PATIENCE);
        let (begun, lines) = (Vec::new(), Vec::new());
        Ok(CloseLog { path, file, stop, patience, begun, lines, strange: 0, missed: 0 })
    }

    /// The line of the connection from `peer`, by its port, for its address may have been
    /// translated on the way.
    pub(super) fn of(&mut self, peer: SocketAddr) -> Result<Told, Untold> {
        if self.missed >= MISSED_MAX {
            return Err(Untold::Still);
        }
        let line = self.waited(|lines| {
            let mine = |line: &Line| line.peer.port() == peer.port();
            let exactly = lines.iter().position(|line| mine(line) && line.peer.ip() == peer.ip());
            let index = exactly.or_else(|| lines.iter().position(mine))?;
            Some(lines.remove(index))
        });
        self.missed = if line.is_some() { 0 } else { self.missed + 1 };
        let port = peer.port();
        line.ok_or_else(|| self.missing(&format!("with port {port}"))).and_then(told)
    }

    /// The only line that has come of a connection with no more than `sent` bytes, of whatever
    /// port: a proxy has ports of its own.
    pub(super) fn only(&mut self, sent: u64) -> Result<Told, Untold> {
        let mut lines = self
            .waited(|lines| {
                let all = std::mem::take(lines).into_iter();
                let ours: Vec<Line> = all.filter(|line| line.evidence.rx <= sent).collect();
                (!ours.is_empty()).then_some(ours)
            })
            .unwrap_or_default();
        match (lines.pop(), lines.len()) {
            (Some(line), 0) => told(line),
            (Some(_), more) => Err(Untold::Unclear(format!(
                "{} lines of the close log came at once, and which is ours cannot be told",
                more + 1
            ))),
            (None, _) => Err(self.missing("at all")),
        }
    }

    /// Whether a line comes within this time that nobody asked for.
    pub(super) fn is_noisy(&mut self, time: Duration) -> bool {
        let patience = std::mem::replace(&mut self.patience, time);
        let came = self.waited(|lines| (!lines.is_empty()).then(|| lines.clear()));
        self.patience = patience;
        came.is_some()
    }

    fn missing(&self, which: &str) -> Untold {
        let strange = match self.strange {
            0 => String::new(),
            strange => format!(", and {strange} that are none of a close log"),
        };
        let patience = self.patience;
        Untold::NoLine(format!("no line of the close log {which} within {patience:?}{strange}"))
    }

    /// Reads on until `take` gives something.
    fn waited<T>(&mut self, mut take: impl FnMut(&mut Vec<Line>) -> Option<T>) -> Option<T> {
        let give_up = Instant::now() + self.patience;
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

    /// Takes what has been added. A file that cannot be read any more grows no more: whoever waits
    /// for a line is told that none came.
    fn reads(&mut self) {
        self.begins_anew();
        let _ = (&self.file).take(LOOK_BYTES).read_to_end(&mut self.begun);
        let end = self.begun.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        for line in self.begun[..end].split(|&byte| byte == b'\n').filter(|it| !it.is_empty()) {
            match serde_json::from_slice(line).ok().filter(is_ours) {
                Some(line) => self.lines.push(line),
                None => self.strange += 1,
            }
        }
        self.begun.drain(..end);
        if self.begun.len() > LINE_BYTES_MAX {
            self.begun.clear();
            self.strange += 1;
        }
        self.lines.drain(..self.lines.len().saturating_sub(LINES_MAX));
    }

    /// A file that was emptied, or put aside for a new one, is read from its beginning.
    fn begins_anew(&mut self) {
        let (Ok(position), Ok(data)) = (self.file.stream_position(), self.file.metadata()) else {
            return;
        };
        if data.len() > position {
            return; // there is something to read still
        }
        let is_new = fs::metadata(&self.path).is_ok_and(|named| !is_same(&named, &data));
        let emptied = data.len() < position && self.file.rewind().is_ok();
        match File::open(&self.path) {
            Ok(file) if is_new => self.file = file,
            _ if emptied => {}
            _ => return,
        }
        self.begun.clear();
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_one: &Metadata, _other: &Metadata) -> bool {
    true // only an emptied file is noticed
}

/// Whether its words are such as a close log has: they will be shown on a terminal.
fn is_ours(line: &Line) -> bool {
    let Evidence { initiator, certainty, errno, via, .. } = &line.evidence;
    let words = [Some(initiator), Some(certainty), errno.as_ref(), via.as_ref()];
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b' ';
    words.into_iter().flatten().all(|word| word.len() <= 32 && word.bytes().all(is_word))
}

fn told(line: Line) -> Result<Told, Untold> {
    match Kind::named(&line.verdict) {
        Some(kind) => Ok(Told { kind, evidence: line.evidence }),
        None => Err(Untold::Unclear(format!(
            "the close log says {:?}, which is no verdict here",
            line.verdict
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::PathBuf;

    use super::*;

    static NEVER: AtomicBool = AtomicBool::new(false);

    /// A file of this test's own, and its reader, which waits for nothing.
    fn log(name: &str) -> (File, CloseLog) {
        let file = format!("closecall-observe-{name}-{}", std::process::id());
        let path: PathBuf = std::env::temp_dir().join(file);
        fs::write(&path, line(1, "peer_fin.probe")).unwrap();
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        let mut reader = CloseLog::open(&path, &NEVER).unwrap();
        reader.patience = Duration::ZERO;
        fs::remove_file(path).unwrap(); // both have it open
        (writer, reader)
    }

    fn line(port: u16, verdict: &str) -> String {
        format!(
            r#"{{"time":"2026-11-22T19:00:00.123Z","id":1,"peer":"192.0.2.1:{port}","local":null,"verdict":"{verdict}","status":1,"initiator":"peer","certainty":"certain","errno":null,"via":null,"fin_received":true,"fin_sent":true,"rx":14,"discarded":0,"tx":37,"undelivered":0,"unsent":0,"unread":0,"retransmits":0,"probes":0,"duration_ms":12,"verdict_wait_ms":0}}"#
        ) + "\n"
    }

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn only(log: &mut CloseLog) -> String {
        log.only(14).unwrap_err().to_string()
    }

    #[test]
    fn lines_are_joined_by_port_and_each_once_and_old_ones_not_at_all() {
        let (mut file, mut log) = log("port");
        let text = line(7, "peer_fin.delivered") + &line(8, "peer_reset.reply_acked");
        file.write_all(text.as_bytes()).unwrap();
        assert_eq!(log.of(peer(8)).unwrap().kind, Kind::PeerResetReplyAcked);
        assert_eq!(log.of(peer(7)).unwrap().evidence.rx, 14);
        assert!(log.of(peer(1)).is_err(), "it was there before");
        let missing = "no line of the close log with port 7 within 0ns";
        assert_eq!(log.of(peer(7)).unwrap_err().to_string(), missing);
        assert_eq!(log.of(peer(7)), Err(Untold::Still), "nobody waits for a third one");
    }

    #[test]
    fn a_line_counts_when_it_is_whole() {
        let (mut file, mut log) = log("whole");
        let text = line(7, "peer_fin.delivered");
        let (begin, end) = text.split_at(40);
        file.write_all(begin.as_bytes()).unwrap();
        assert!(log.of(peer(7)).is_err());
        file.write_all(end.as_bytes()).unwrap();
        assert!(log.of(peer(7)).is_ok());
    }

    #[test]
    fn an_emptied_file_begins_anew() {
        let (mut file, mut log) = log("emptied");
        file.write_all(line(7, "peer_fin.delivered").as_bytes()).unwrap();
        assert!(log.of(peer(7)).is_ok());
        file.set_len(0).unwrap();
        file.write_all(line(8, "peer_fin.delivered").as_bytes()).unwrap();
        assert!(log.of(peer(8)).is_ok());
    }

    #[test]
    fn the_only_line_is_taken_and_of_two_none() {
        let (mut file, mut log) = log("only");
        file.write_all(line(7, "timeout.read").as_bytes()).unwrap();
        assert_eq!(log.only(14).unwrap().kind, Kind::TimeoutRead);
        let two = line(7, "timeout.read") + &line(8, "timeout.read");
        file.write_all(two.as_bytes()).unwrap();
        assert!(only(&mut log).starts_with("2 lines of the close log came at once"));
        assert!(only(&mut log).starts_with("no line of the close log at all"));
    }

    #[test]
    fn what_is_no_line_of_a_close_log_is_counted_and_a_new_verdict_is_named() {
        let (mut file, mut log) = log("strange");
        let text = "not even JSON\n{}\n".to_owned() + &line(7, "peer_fin.brand_new");
        file.write_all(text.as_bytes()).unwrap();
        assert!(log.of(peer(7)).unwrap_err().to_string().contains("\"peer_fin.brand_new\""));
        assert!(only(&mut log).ends_with("and 2 that are none of a close log"));
    }

    #[test]
    fn a_line_with_more_bytes_than_were_sent_is_somebody_elses() {
        let (mut file, mut log) = log("more");
        let text = line(7, "timeout.read").replace("\"rx\":14", "\"rx\":15");
        file.write_all(text.as_bytes()).unwrap();
        assert!(only(&mut log).starts_with("no line of the close log at all"));
    }

    /// It may come from anywhere, and what it says is shown on a terminal.
    #[test]
    fn words_that_are_none_are_no_line() {
        let (mut file, mut log) = log("escapes");
        let evil = line(7, "timeout.read").replace("certain", "\\u001b[2Jcertain");
        file.write_all(evil.as_bytes()).unwrap();
        assert!(only(&mut log).ends_with("and 1 that are none of a close log"));
    }

    #[test]
    fn a_line_without_an_end_is_dropped() {
        let (mut file, mut log) = log("endless");
        file.write_all(&vec![0; 3 * LINE_BYTES_MAX]).unwrap();
        assert!(log.of(peer(7)).is_err() && log.begun.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_was_put_aside_is_followed_by_its_successor() {
        let (_, mut log) = log("aside");
        fs::write(&log.path, line(8, "timeout.read")).unwrap();
        assert!(log.of(peer(8)).is_ok());
        fs::remove_file(&log.path).unwrap();
    }
}

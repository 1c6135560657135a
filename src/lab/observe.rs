//! The close log of a server elsewhere, read while it grows.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::judge::Told;
use crate::machine::close::Kind;
use crate::record::Evidence;

/// How long a line may take: the server waits for its evidence, and somebody may copy the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the file is looked at. Nothing portable tells that a file has grown.
const LOOK: Duration = Duration::from_millis(5);

/// So many lines of others are kept, the newest: a busy server writes many.
const LINES_MAX: usize = 10_000;

/// What is needed of a line. What else is there may be newer than we are.
#[derive(Deserialize)]
struct Line {
    peer: SocketAddr,
    verdict: String,
    #[serde(flatten)]
    evidence: Evidence,
}

/// The end of a close log that somebody else writes.
pub(super) struct CloseLog {
    file: File,
    patience: Duration,
    /// What was read and has no newline yet.
    begun: Vec<u8>,
    /// Lines that nobody has asked for.
    lines: Vec<Line>,
    /// Lines that are none of a close log.
    strange: u64,
}

impl CloseLog {
    /// Begins at the end: what is there already is of others.
    ///
    /// # Errors
    /// It is no file, or cannot be read.
    pub(super) fn open(path: &Path) -> io::Result<CloseLog> {
        // A FIFO that nobody writes to would not even open.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(CloseLog { file, patience: PATIENCE, begun: Vec::new(), lines: Vec::new(), strange: 0 })
    }

    /// The line of the connection from `peer`, by its port, for its address may have been
    /// translated on the way. Why not, if it does not come.
    pub(super) fn of(&mut self, peer: SocketAddr) -> Result<Told, String> {
        let line = self.waited(|lines| {
            let mine = |line: &Line| line.peer.port() == peer.port();
            let exactly = lines.iter().position(|line| mine(line) && line.peer.ip() == peer.ip());
            let index = exactly.or_else(|| lines.iter().position(mine))?;
            Some(lines.remove(index))
        });
        line.ok_or_else(|| self.missing(&format!("with port {}", peer.port()))).and_then(told)
    }

    /// The only line that has come, of whatever port: a proxy has ports of its own.
    pub(super) fn only(&mut self) -> Result<Told, String> {
        let mut lines = self
            .waited(|lines| (!lines.is_empty()).then(|| std::mem::take(lines)))
            .unwrap_or_default();
        match (lines.pop(), lines.len()) {
            (Some(line), 0) => told(line),
            (Some(_), more) => Err(format!(
                "{} lines of the close log came at once, and which is ours cannot be told",
                more + 1
            )),
            (None, _) => Err(self.missing("at all")),
        }
    }

    fn missing(&self, which: &str) -> String {
        let strange = match self.strange {
            0 => String::new(),
            strange => format!(", and {strange} that are none of a close log"),
        };
        let seconds = self.patience.as_secs();
        format!("no line of the close log {which} within {seconds} s{strange}")
    }

    /// Reads on until `take` gives something.
    fn waited<T>(&mut self, mut take: impl FnMut(&mut Vec<Line>) -> Option<T>) -> Option<T> {
        let give_up = Instant::now() + self.patience;
        loop {
            self.reads();
            if let Some(taken) = take(&mut self.lines) {
                return Some(taken);
            }
            if Instant::now() > give_up {
                return None;
            }
            thread::sleep(LOOK);
        }
    }

    /// Takes what has been added. A file that cannot be read any more grows no more: whoever waits
    /// for a line is told that none came.
    fn reads(&mut self) {
        let position = self.file.stream_position().unwrap_or(0);
        if self.file.metadata().is_ok_and(|data| data.len() < position) {
            // Somebody has emptied it: it begins anew.
            let _ = self.file.rewind();
            self.begun.clear();
        }
        let _ = self.file.read_to_end(&mut self.begun);
        let Some(end) = self.begun.iter().rposition(|&byte| byte == b'\n') else { return };
        for line in self.begun[..end].split(|&byte| byte == b'\n') {
            match serde_json::from_slice(line) {
                Ok(line) => self.lines.push(line),
                Err(_) => self.strange += 1,
            }
        }
        self.begun.drain(..=end);
        self.lines.drain(..self.lines.len().saturating_sub(LINES_MAX));
    }
}

fn told(line: Line) -> Result<Told, String> {
    match Kind::named(&line.verdict) {
        Some(kind) => Ok(Told { kind, evidence: line.evidence }),
        None => Err(format!("the close log says {:?}, which is no verdict here", line.verdict)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::PathBuf;

    use super::*;

    /// A file of this test's own, and its reader, which waits for nothing.
    fn log(name: &str) -> (File, CloseLog) {
        let file = format!("closecall-observe-{name}-{}", std::process::id());
        let path: PathBuf = std::env::temp_dir().join(file);
        fs::write(&path, line(1, "peer_fin.probe")).unwrap();
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        let mut reader = CloseLog::open(&path).unwrap();
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

    #[test]
    fn lines_are_joined_by_port_and_each_once_and_old_ones_not_at_all() {
        let (mut file, mut log) = log("port");
        let text = line(7, "peer_fin.delivered") + &line(8, "peer_reset.reply_acked");
        file.write_all(text.as_bytes()).unwrap();
        assert_eq!(log.of(peer(8)).unwrap().kind, Kind::PeerResetReplyAcked);
        assert_eq!(log.of(peer(7)).unwrap().evidence.rx, 14);
        let missing = "no line of the close log with port 7 within 0 s";
        assert_eq!(log.of(peer(7)).unwrap_err(), missing);
        assert!(log.of(peer(1)).is_err(), "it was there before");
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
        assert_eq!(log.only().unwrap().kind, Kind::TimeoutRead);
        let two = line(7, "timeout.read") + &line(8, "timeout.read");
        file.write_all(two.as_bytes()).unwrap();
        assert!(log.only().unwrap_err().starts_with("2 lines of the close log came at once"));
        assert!(log.only().unwrap_err().starts_with("no line of the close log at all"));
    }

    #[test]
    fn what_is_no_line_of_a_close_log_is_counted_and_a_new_verdict_is_named() {
        let (mut file, mut log) = log("strange");
        let text = "not even JSON\n{}\n".to_owned() + &line(7, "peer_fin.brand_new");
        file.write_all(text.as_bytes()).unwrap();
        assert!(log.of(peer(7)).unwrap_err().contains("\"peer_fin.brand_new\""));
        assert!(log.only().unwrap_err().ends_with("and 2 that are none of a close log"));
    }
}

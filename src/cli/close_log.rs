//! Close log: one JSON object for each ended connection, one per line.
//!
//! The fields, their order and their values are stable, see `docs/close-log.schema.json`: fields
//! may be added, none is renamed. A field that the system does not report is null.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Failure;
use super::sink::{Content, Descriptor, Out, Sink};
use super::words::thousands;
use crate::reactor::Ending;
use crate::record::Record;

/// The most records that wait to be written: about 17 MB.
const RECORDS_MAX: usize = 65_536;

/// An ending and the time of day of its report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported {
    pub(super) time: SystemTime,
    pub(super) ending: Ending,
}

/// Sink of the close log's lines.
pub(super) type RecordSink = Sink<Reported>;

/// Starts a sink of records that begins with the text `preamble`. `path` is the name of the close
/// log in log lines; `None` if this is a stdout without a close log, which only has the preamble.
///
/// # Errors
/// The system has no thread for it.
pub(super) fn start_sink(
    name: &str,
    out: impl Out,
    path: Option<&Path>,
    preamble: String,
) -> io::Result<RecordSink> {
    let records = Records { path: path.map(Path::to_owned) };
    Sink::start(name, out, records, RECORDS_MAX, preamble.into_bytes())
}

/// Opens the file of the close log for appending.
///
/// # Errors
/// The file cannot be opened. The line has the reason.
pub(super) fn open(path: &Path) -> Result<Descriptor, Failure> {
    Descriptor::open(path).map_err(|error| {
        Failure::Refused(format!(
            "--close-log {path:?}: cannot open it: {error}; give a writable file, or - for stdout"
        ))
    })
}

struct Records {
    path: Option<PathBuf>,
}

impl Content for Records {
    type Item = Reported;

    fn render(&mut self, reported: &Reported, into: &mut Vec<u8>) {
        // Writing to memory does not fail, and every field is a number, a text or null.
        let _ = serde_json::to_writer(&mut *into, &Record::new(&reported.ending, reported.time));
        into.push(b'\n');
    }

    fn failed(&mut self, error: &io::Error) {
        match self.path {
            None => log::error!("cannot write to stdout: {error}"),
            Some(_) => log::error!(
                "cannot write the close log: {error}; records are lost until a write succeeds"
            ),
        }
    }

    fn lost(&mut self, lost: u64, _into: &mut Vec<u8>) {
        match self.path {
            None => log::error!("the addresses could not be written to stdout"),
            Some(_) => log::error!("{} close log records were lost", thousands(lost)),
        }
    }

    fn reopened(&mut self, result: io::Result<()>) {
        let path = self.path.as_deref().unwrap_or(Path::new("-"));
        match result {
            Ok(()) => log::info!("reopened the close log {path:?}"),
            Err(error) => log::error!(
                "cannot reopen the close log {path:?}: {error}; the server still writes to the old \
                 file: make {path:?} a writable file, and send SIGHUP again"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::machine::close::{Certainty, Evidence as Facts, FirstError, Kind, Verdict, Via};
    use crate::machine::errno::{Errno, System};

    fn line(change: impl FnOnce(&mut Ending)) -> String {
        let mut ending = Ending {
            id: 1,
            peer: "127.0.0.1:50000".parse().unwrap(),
            local: "127.0.0.1:20003".parse().ok(),
            verdict: Verdict {
                kind: Kind::PeerFinDelivered,
                status: 1,
                certainty: Certainty::Certain,
            },
            evidence: Facts {
                fin_received: Some(true),
                fin_sent: true,
                rx: 14,
                tx: 37,
                undelivered: Some(0),
                unread: Some(0),
                retransmits: Some(0),
                probes: Some(0),
                ..Facts::nothing(System::Linux)
            },
            duration_ms: 12,
            verdict_wait_ms: 0,
        };
        change(&mut ending);
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_374_000_123_999);
        let mut text = Vec::new();
        Records { path: None }.render(&Reported { time, ending }, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_line_is_as_documented() {
        let expected = r#"{"time":"2026-11-22T19:00:00.123Z","id":1,"peer":"127.0.0.1:50000","local":"127.0.0.1:20003","verdict":"peer_fin.delivered","status":1,"initiator":"peer","certainty":"certain","errno":null,"via":null,"fin_received":true,"fin_sent":true,"rx":14,"discarded":0,"tx":37,"undelivered":0,"unsent":0,"unread":0,"retransmits":0,"probes":0,"duration_ms":12,"verdict_wait_ms":0,"seen_by":"socket"}"#;
        assert_eq!(line(|_| {}), format!("{expected}\n"));
        let record: Record = serde_json::from_str(expected).unwrap();
        assert_eq!(
            serde_json::to_string(&record).unwrap(),
            expected,
            "it is read as it was written"
        );
    }

    #[test]
    fn a_line_of_an_older_version_is_read() {
        let line = line(|_| {}).replace(r#","seen_by":"socket""#, "");
        let record: Record = serde_json::from_str(&line).unwrap();
        assert_eq!(record.seen_by, "socket");
    }

    #[test]
    fn an_error_has_its_name_or_else_its_number() {
        let with = |number| {
            line(|e| {
                e.evidence.error = Some(FirstError { errno: Errno(number), via: Via::SoError });
            })
        };
        assert!(with(104).contains(r#""errno":"ECONNRESET","via":"so_error""#));
        assert!(with(4711).contains(r#""errno":"errno 4711","via":"so_error""#));
    }

    #[test]
    fn an_unknown_field_is_null() {
        let line = line(|e| {
            e.local = None;
            e.evidence = Facts::nothing(System::Windows);
        });
        for field in ["local", "fin_received", "undelivered", "unread", "retransmits", "probes"] {
            assert!(line.contains(&format!("\"{field}\":null")), "{field}: {line}");
        }
    }
}

//! Line of a close log that another program writes. It is not trusted, and only known words of it
//! are shown.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::record::EvidenceRecord;

/// The needed fields of a line. Other fields may come from a newer version.
#[derive(Deserialize)]
pub(super) struct Line {
    #[serde(deserialize_with = "time")]
    time: SystemTime,
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    pub(super) verdict: String,
    #[serde(flatten)]
    pub(super) evidence: EvidenceRecord,
}

impl Line {
    /// Parses a line; `None` if it is not a record that a server writes of its own connections.
    pub(super) fn parse(text: &[u8]) -> Option<Line> {
        serde_json::from_slice(text).ok().filter(is_ours)
    }

    /// The number of bytes that the server read. A line without this number is not parsed.
    pub(super) fn rx(&self) -> u64 {
        self.evidence.rx.unwrap_or(0)
    }

    /// When the connection was accepted, by the server's clock, in milliseconds.
    pub(super) fn began(&self) -> SystemTime {
        let life = Duration::from_millis(self.evidence.duration_ms.unwrap_or(0));
        self.time.checked_sub(life).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = Cow::<str>::deserialize(deserializer)?;
    text.parse::<jiff::Timestamp>().map(SystemTime::from).map_err(D::Error::custom)
}

/// Whether its words have the form of close log words, because they are shown on a terminal, and
/// whether it has the numbers by which it is found.
fn is_ours(line: &Line) -> bool {
    let EvidenceRecord { initiator, certainty, errno, via, .. } = &line.evidence;
    let words = [Some(initiator), Some(certainty), errno.as_ref(), via.as_ref()];
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b' ';
    let is_short = |word: &Cow<'_, str>| word.len() <= 32 && word.bytes().all(is_word);
    words.into_iter().flatten().all(is_short) && line.evidence.is_of_socket()
}

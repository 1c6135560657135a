//! Line of a close log that another program writes. It is not trusted, and only known words of it
//! are shown.

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
    /// Parses a line; `None` if it is not a close log record.
    pub(super) fn parse(text: &[u8]) -> Option<Line> {
        serde_json::from_slice(text).ok().filter(is_ours)
    }

    /// When the connection was accepted, by the server's clock, in milliseconds.
    pub(super) fn began(&self) -> SystemTime {
        let life = Duration::from_millis(self.evidence.duration_ms);
        self.time.checked_sub(life).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    text.parse::<jiff::Timestamp>().map(SystemTime::from).map_err(D::Error::custom)
}

/// Whether its words have the form of close log words, because they are shown on a terminal.
fn is_ours(line: &Line) -> bool {
    let EvidenceRecord { initiator, certainty, errno, via, .. } = &line.evidence;
    let words = [Some(initiator), Some(certainty), errno.as_ref(), via.as_ref()];
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b' ';
    words.into_iter().flatten().all(|word| word.len() <= 32 && word.bytes().all(is_word))
}

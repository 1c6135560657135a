//! An ending in the words of the close log: what programs are told of it (feature `serde`).
//!
//! The names of the fields are a promise, see `docs/close-log.schema.json`: fields may be added,
//! none is renamed. What a system does not tell is null.
//!
//! An ending can also be seen from outside the program that had the connection: on the wire, or in
//! the events of the kernel. Such a view does not have every fact, so more fields may be null in
//! its records. They are never null where [`Record::seen_by`] is `socket`. All records that this
//! version writes are of that kind.

mod time;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::machine::close::Ending;
use crate::machine::errno::{Errno, System};

/// How one connection ended, as the close log has it: serialized to JSON it is a line, without the
/// line feed.
///
/// Any serde format will do. Times have milliseconds, in UTC, as RFC 3339 writes them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// When the ending was reported.
    #[serde(with = "time")]
    pub time: SystemTime,
    /// The connection's number, given by the program that had it; `None` only in a view from
    /// outside.
    #[serde(deserialize_with = "Option::deserialize")]
    pub id: Option<u64>,
    /// The peer's address, as accept gave it.
    pub peer: SocketAddr,
    /// Our own, where the system could still tell.
    pub local: Option<SocketAddr>,
    /// The stable name of the verdict, such as `peer_fin.delivered`.
    pub verdict: Cow<'static, str>,
    /// What the verdict rests on. `fin_sent`, `rx`, `discarded`, `tx`, `unsent`, `duration_ms` and
    /// `verdict_wait_ms` are always known to the program that had the connection: `None` is only in
    /// a view from outside.
    #[serde(flatten)]
    pub evidence: EvidenceRecord,
    /// From where the ending was seen: `socket` is the program that had the connection, `kernel`
    /// and `wire` are views from outside.
    #[serde(default = "by_socket")]
    pub seen_by: Cow<'static, str>,
}

impl Record {
    /// The record of an ending that was reported at `time`.
    pub fn new(ending: &Ending, time: SystemTime) -> Record {
        Record {
            time,
            id: Some(ending.id),
            peer: ending.peer,
            local: ending.local,
            verdict: ending.verdict.kind.name().into(),
            evidence: EvidenceRecord::from(ending),
            seen_by: by_socket(),
        }
    }
}

/// The record of an ending that is reported now.
impl From<&Ending> for Record {
    fn from(ending: &Ending) -> Record {
        Record::new(ending, SystemTime::now())
    }
}

/// Every record of this program; older lines do not have the field.
fn by_socket() -> Cow<'static, str> {
    "socket".into()
}

/// The evidence of a verdict, in the order of the close log.
///
/// Fields that only the owner of a socket knows (`fin_sent`, `rx`, `discarded`, `tx`, `unsent` and
/// the two times) are never null where `seen_by` is "socket".
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
// `deserialize_with`: the field may be null, but not missing. `schemars(with)`: the derived schema
// is the lab's, which reads only records of programs that had the connection.
pub struct EvidenceRecord {
    /// 0 normal, 1 closed by the peer, 2 timeout, 3 any other.
    pub status: u8,
    /// The side that moved first: "peer", "local", "network" or "unknown".
    pub initiator: Cow<'static, str>,
    /// "certain", "likely" or "unknown".
    pub certainty: Cow<'static, str>,
    /// The name of the first error, such as "ECONNRESET", or its number; null if there was none.
    pub errno: Option<Cow<'static, str>>,
    /// The call that returned it: "recv", "send" or "so_error".
    pub via: Option<Cow<'static, str>>,
    /// Whether the peer's FIN arrived; null if the system does not report it.
    pub fin_received: Option<bool>,
    /// Whether our FIN was sent.
    #[serde(deserialize_with = "Option::deserialize")]
    #[cfg_attr(test, schemars(with = "bool"))]
    pub fin_sent: Option<bool>,
    /// Bytes read.
    #[serde(deserialize_with = "Option::deserialize")]
    #[cfg_attr(test, schemars(with = "u64"))]
    pub rx: Option<u64>,
    /// Bytes that were read and dropped, because they arrived after our end had begun.
    #[serde(deserialize_with = "Option::deserialize")]
    #[cfg_attr(test, schemars(with = "u64"))]
    pub discarded: Option<u64>,
    /// Bytes that our kernel accepted.
    #[serde(deserialize_with = "Option::deserialize")]
    #[cfg_attr(test, schemars(with = "u64"))]
    pub tx: Option<u64>,
    /// Bytes of `tx` that the peer's TCP has not acknowledged; null if it is unknown.
    pub undelivered: Option<u32>,
    /// Bytes of the reply that our kernel did not accept.
    #[serde(deserialize_with = "Option::deserialize")]
    #[cfg_attr(test, schemars(with = "u64"))]
    pub unsent: Option<u64>,
    /// Bytes that arrived and were not read; null if the system does not report it.
    pub unread: Option<u32>,
    /// Unanswered retransmissions at the end; null if the system does not report it.
    pub retransmits: Option<u8>,
    /// Unanswered probes at the end; null if the system does not report it.
    pub probes: Option<u8>,
    /// From accept or connect to the verdict, in milliseconds.
    #[serde(deserialize_with = "Option::deserialize")]
    #[cfg_attr(test, schemars(with = "u64"))]
    pub duration_ms: Option<u64>,
    /// From our FIN to the verdict, in milliseconds.
    #[serde(deserialize_with = "Option::deserialize")]
    #[cfg_attr(test, schemars(with = "u64"))]
    pub verdict_wait_ms: Option<u64>,
}

impl EvidenceRecord {
    /// Whether everything is there that the program that had the connection knows.
    #[cfg(feature = "cli")]
    pub(crate) const fn is_of_socket(&self) -> bool {
        let counts = [self.rx, self.discarded, self.tx, self.unsent];
        let times = [self.duration_ms, self.verdict_wait_ms];
        let ([Some(_), Some(_), Some(_), Some(_)], [Some(_), Some(_)]) = (counts, times) else {
            return false;
        };
        self.fin_sent.is_some()
    }
}

impl From<&Ending> for EvidenceRecord {
    fn from(ending: &Ending) -> EvidenceRecord {
        let Ending { verdict, evidence, .. } = ending;
        EvidenceRecord {
            status: verdict.status,
            initiator: verdict.kind.initiator().name().into(),
            certainty: verdict.certainty.name().into(),
            errno: evidence.error.map(|error| errno(error.errno, evidence.system)),
            via: evidence.error.map(|error| error.via.name().into()),
            fin_received: evidence.fin_received,
            fin_sent: Some(evidence.fin_sent),
            rx: Some(evidence.rx),
            discarded: Some(evidence.discarded),
            tx: Some(evidence.tx),
            undelivered: evidence.undelivered,
            unsent: Some(evidence.unsent),
            unread: evidence.unread,
            retransmits: evidence.retransmits,
            probes: evidence.probes,
            duration_ms: Some(ending.duration_ms),
            verdict_wait_ms: Some(ending.verdict_wait_ms),
        }
    }
}

/// "ECONNRESET", or "errno 123" where no table knows the number.
fn errno(errno: Errno, system: System) -> Cow<'static, str> {
    match errno.name(system) {
        Some(name) => name.into(),
        None => format!("errno {}", errno.0).into(),
    }
}

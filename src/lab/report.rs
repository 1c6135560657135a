//! What the lab gives: plain rows, as they stand in its JSON.
//!
//! The fields and their names are a promise, see `docs/lab.schema.json`: fields may be added, none
//! is renamed. What is not known, or was not looked at, is null.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::capture::Packet;
use super::scenario::Scenario;
use crate::record::EvidenceRecord;

/// Every way in which a connection can end, played against one server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LabReport {
    /// Against whom.
    pub server: ServerRow,
    /// The proxy or balancer before it, if each scenario was played through one as well.
    pub via: Option<ServerRow>,
    /// Where the column `wire` is from.
    pub wire: WireSource,
    /// How many scenarios were to be played: an interrupt leaves fewer rows. Null in a report that
    /// does not tell.
    pub planned: Option<u32>,
    /// One row a scenario; the article's five experiments stand first.
    pub rows: Vec<Row>,
    /// Each client whose packets were looked at, and its server: what
    /// [`Capture::save`](super::capture::Capture::save) wants to know.
    #[serde(skip)]
    pub connections: Vec<(SocketAddr, SocketAddr)>,
}

impl LabReport {
    /// Whether it was broken off before the last scenario.
    pub fn is_cut_short(&self) -> bool {
        self.planned.is_some_and(|planned| (self.rows.len() as u64) < u64::from(planned))
    }

    /// Whether every row is as it has to be, and the server is still there.
    pub fn is_well(&self) -> bool {
        let servers = [Some(&self.server), self.via.as_ref()];
        let alive = |it: &&ServerRow| it.alive && it.died_of.is_empty() && it.hung_in.is_empty();
        self.rows.iter().all(|row| row.outcome != RowOutcome::Failed)
            && servers.iter().flatten().all(alive)
    }
}

impl LabReport {
    /// The worst of what the proxy changes.
    pub fn change(&self) -> Change {
        let changes = self.rows.iter().filter_map(|row| row.via.as_ref()).map(|via| via.change);
        changes.max().unwrap_or(Change::Same)
    }
}

/// The server that was played against.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServerRow {
    /// Its address.
    pub address: String,
    /// Whether it still answered after everything.
    pub alive: bool,
    /// Whether it echoed in the beginning; if not, it is alive as long as it accepts. Null if an
    /// interrupt came before that was known.
    pub echoes: Option<bool>,
    /// The scenarios after which nobody listened any more.
    #[serde(default)]
    pub died_of: Vec<String>,
    /// The scenarios after which it did not serve the next one in time.
    #[serde(default)]
    pub hung_in: Vec<String>,
    /// Its deadlines, in milliseconds, if they are known.
    pub deadline_ms: Option<u64>,
}

/// Where a description of the wire is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WireSource {
    /// From what both sides did: it is expected, and nobody looked.
    Expected,
    /// From a capture.
    Seen,
}

/// One scenario, and what came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Row {
    /// The scenario: its number in docs/CLOSING.md, and a word where there are several of it.
    pub id: String,
    /// Which of the article's five experiments it is; null beyond them.
    pub experiment: Option<u8>,
    /// What the client does.
    pub client: String,
    /// How the order of events was forced.
    pub order: String,
    /// What goes over the wire: to the server (→) and from it (←), without acknowledgements and
    /// without the handshake. Empty for a row that was skipped. Of a race that was captured: how
    /// often each way was seen.
    pub wire: String,
    /// The packets that were seen, those of the handshake among them, times and numbers from its
    /// beginning; null if nobody looked. Of a race those of one run, of the first that is not
    /// as it has to be, if there is one.
    pub packets: Option<Vec<Packet>>,
    /// The client whose packets these are, to find them in the file of `--pcap`.
    pub peer: Option<String>,
    /// What a bare recv loop beside it was told.
    pub recv_loop: Option<RecvSays>,
    /// Our verdict, one of those of the close log. Of a race the most frequent one.
    pub verdict: Option<String>,
    /// What it rests on, in the fields of the close log.
    pub evidence: Option<EvidenceRecord>,
    /// Whether the server's close log has this connection; null if it is not read.
    pub log: Option<Log>,
    /// What the client saw of a server elsewhere.
    pub seen: Option<ClientView>,
    /// The same through a proxy or balancer.
    pub via: Option<Via>,
    /// What is to be thought of it.
    pub outcome: RowOutcome,
    /// The scenario that looks the same on the wire.
    pub same_as: Option<String>,
    /// What the article found, for its own experiments.
    pub article: Option<Article>,
    /// The odds, for a race.
    pub race: Option<Race>,
    /// Why it is this verdict, or what is wrong, or what is missing.
    pub note: String,
}

impl Row {
    /// The row of `scenario` before it is played.
    pub(super) fn of(scenario: &Scenario) -> Row {
        Row {
            id: scenario.id.to_owned(),
            experiment: scenario.experiment.map(|it| it.number),
            client: scenario.client(),
            order: scenario.order.how().to_owned(),
            wire: String::new(),
            packets: None,
            peer: None,
            recv_loop: None,
            verdict: None,
            evidence: None,
            log: None,
            seen: None,
            via: None,
            outcome: RowOutcome::Ok,
            same_as: scenario.same_as.map(str::to_owned),
            article: None,
            race: None,
            note: String::new(),
        }
    }
}

/// What is to be thought of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RowOutcome {
    /// It is as expected.
    Ok,
    /// It is not.
    Failed,
    /// It was not played: something is missing here.
    Skipped,
    /// It is as expected, and another scenario looks the same on the wire.
    Same,
}

/// What a recv loop was told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecvSays {
    /// What its last recv returned: "0", "-1 ECONNRESET", "-1 EAGAIN" for the deadline. Or
    /// "blocked in send": it was not called again.
    pub recv: String,
    /// The article's status for that: 0 normal, 1 closed by the peer, 2 timeout, 3 any other. Null
    /// if it never says.
    pub status: Option<u8>,
}

/// What a client saw of a server that is not ours.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClientView {
    /// Bytes that came back, read or not.
    pub bytes: u64,
    /// How much of the reply came; null where there is none to expect: nothing was sent, or the
    /// server is none that echoes.
    pub reply: Option<Reply>,
    /// How it ended its side, if the client was still there to see it.
    pub end: Option<SeenEnd>,
    /// When that was seen, in microseconds from the beginning of connect.
    pub end_us: Option<u64>,
    /// What the client waited for in vain, or what failed.
    pub in_vain: Option<String>,
    /// Whether the server serves the next one as it did the first.
    pub serves: bool,
}

/// How much of the reply a client received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reply {
    /// Bytes that this client received, read or not.
    pub got: u64,
    /// Bytes of the whole reply: the prefix once, and all that was sent; or what came, if that is
    /// more because the prefix stands before several pieces.
    pub of: u64,
}

impl Reply {
    /// Bytes of the reply that did not come.
    pub fn missing(self) -> u64 {
        self.of.saturating_sub(self.got)
    }
}

/// Whether a close log has a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// It has its line: see the verdict.
    Line,
    /// No line came in time. The server may hold the connection open still.
    NoLineYet,
    /// The server never accepted the connection: all that it accepted meanwhile are others.
    NeverSeen,
    /// Lines came, and which of them is this connection's cannot be known.
    Unclear,
}

/// How a server ended its side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SeenEnd {
    /// Its FIN.
    Fin,
    /// Its reset.
    Reset,
}

/// A scenario once more, through a proxy or balancer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Via {
    /// What goes over the wire between the client and the proxy.
    #[serde(default)]
    pub wire: String,
    /// What the client saw.
    pub seen: ClientView,
    /// What the server behind it said, if its close log tells.
    pub verdict: Option<String>,
    /// What that rests on.
    pub evidence: Option<EvidenceRecord>,
    /// Whether the server's close log has this connection; null if it is not read.
    pub log: Option<Log>,
    /// The odds, for a race.
    pub race: Option<Race>,
    /// What the proxy changes.
    pub change: Change,
    /// Each difference to the direct way, in words.
    pub differs: Vec<String>,
    /// Why there is no verdict, where one was to be had.
    pub note: Option<String>,
}

/// What a proxy changes, from good to bad.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Nothing.
    Same,
    /// Something, and no byte of a reply.
    Differs,
    /// A reply, or a part of one: the client gets it directly and not through the proxy, or the
    /// server says that it was delivered and the client did not get all of it.
    Lost,
}

/// What the article found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Article {
    /// In its words, about.
    pub found: String,
    /// Whether the recv loop here was told the same.
    pub agrees: Option<bool>,
    /// What was found here.
    pub here: String,
}

/// How often a race ended how.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Race {
    /// How often it was run against each server.
    pub runs: u32,
    /// How often each verdict came.
    pub verdicts: BTreeMap<String, u32>,
    /// How often each last recv came.
    pub recv_loop: BTreeMap<String, u32>,
}

#[cfg(test)]
mod tests {
    use schemars::generate::SchemaSettings;
    use snapbox::{assert_data_eq, file};

    use super::*;

    /// SNAPSHOTS=overwrite writes it anew.
    #[test]
    fn the_schema_in_docs_is_that_of_the_types() {
        let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        let mut schema = generator.into_root_schema_for::<LabReport>();
        schema.insert("title".to_owned(), "closecall lab --format json".into());
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        assert_data_eq!(text, file!["../../docs/lab.schema.json"].raw());
    }
}

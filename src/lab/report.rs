//! Report of the lab: plain rows, with the fields of its JSON.
//!
//! The fields and their names are stable, see `docs/lab.schema.json`: fields may be added, none is
//! renamed. A value that is unknown or was not measured is null.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::capture::Packet;
use super::scenario::Scenario;
use crate::record::EvidenceRecord;

/// Report of a run against one server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LabReport {
    /// The server.
    pub server: ServerRow,
    /// The proxy or balancer before it, if the scenarios were played through one as well.
    pub via: Option<ServerRow>,
    /// The source of the column `wire`.
    pub wire: WireSource,
    /// The number of scenarios that were selected: after an interrupt there are fewer rows. Null if
    /// unknown.
    pub planned: Option<u32>,
    /// One row for each scenario; the article's five experiments come first.
    pub rows: Vec<Row>,
    /// Each client whose packets were captured, and its server, for
    /// [`Capture::save`](super::capture::Capture::save).
    #[serde(skip)]
    pub connections: Vec<(SocketAddr, SocketAddr)>,
}

impl LabReport {
    /// Whether the run was interrupted before the last scenario.
    pub fn is_cut_short(&self) -> bool {
        self.planned.is_some_and(|planned| (self.rows.len() as u64) < u64::from(planned))
    }

    /// Whether no row failed and the servers are still healthy.
    pub fn is_well(&self) -> bool {
        let servers = [Some(&self.server), self.via.as_ref()];
        let alive = |it: &&ServerRow| it.alive && it.died_of.is_empty() && it.hung_in.is_empty();
        self.rows.iter().all(|row| row.outcome != RowOutcome::Failed)
            && servers.iter().flatten().all(alive)
    }
}

impl LabReport {
    /// The worst change by the proxy.
    pub fn change(&self) -> Change {
        let changes = self.rows.iter().filter_map(|row| row.via.as_ref()).map(|via| via.change);
        changes.max().unwrap_or(Change::Same)
    }
}

/// A server or proxy of a run, and its health.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServerRow {
    /// Its address.
    pub address: String,
    /// Whether it still answered after the last scenario.
    pub alive: bool,
    /// Whether it echoed at the beginning; if not, it counts as alive as long as it accepts. Null
    /// if an interrupt came before that was known.
    pub echoes: Option<bool>,
    /// The scenarios after which nothing listened any more.
    #[serde(default)]
    pub died_of: Vec<String>,
    /// The scenarios after which it did not serve the next connection in time.
    #[serde(default)]
    pub hung_in: Vec<String>,
    /// Its deadlines, in milliseconds, if they are known.
    pub deadline_ms: Option<u64>,
}

/// The source of a description of the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WireSource {
    /// Expected from the acts of both sides, without a capture.
    Expected,
    /// From a capture.
    Seen,
}

/// A scenario and its result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Row {
    /// The scenario: its number in docs/CLOSING.md, and a word if several scenarios share it.
    pub id: String,
    /// The number of the article's experiment; null for other scenarios.
    pub experiment: Option<u8>,
    /// What the client does.
    pub client: String,
    /// How the order of events was forced.
    pub order: String,
    /// The sequence on the wire: to the server (→) and from it (←), without acknowledgements and
    /// handshake. Empty for a skipped row. For a captured race: each sequence with its number of
    /// runs.
    pub wire: String,
    /// The captured packets, including the handshake, with times and numbers relative to its
    /// beginning; null without a capture. For a race the packets of one run: the first that is not
    /// as expected, if any.
    pub packets: Option<Vec<Packet>>,
    /// The client whose packets these are, to find them in the file of `--pcap`.
    pub peer: Option<String>,
    /// The result of a plain recv loop in the same scenario.
    pub recv_loop: Option<RecvSays>,
    /// The verdict of closecall, as in the close log. For a race the most frequent one.
    pub verdict: Option<String>,
    /// The evidence for the verdict, with the fields of the close log.
    pub evidence: Option<EvidenceRecord>,
    /// Whether the server's close log has this connection; null without --observe.
    pub log: Option<Log>,
    /// What the client saw of an external server.
    pub seen: Option<ClientView>,
    /// The result through a proxy or balancer.
    pub via: Option<Via>,
    /// The outcome.
    pub outcome: RowOutcome,
    /// The scenario with the same packets.
    pub same_as: Option<String>,
    /// The article's result, for its own experiments.
    pub article: Option<Article>,
    /// The counted results, for a race.
    pub race: Option<Race>,
    /// The reason for the verdict, or what is wrong, or what is missing.
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

/// The outcome of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RowOutcome {
    /// As expected.
    Ok,
    /// Not as expected.
    Failed,
    /// Not played, or without a result: something is missing here.
    Skipped,
    /// As expected, and another scenario has the same packets.
    Same,
}

/// The result of a recv loop.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecvSays {
    /// The result of its last recv: "0", "-1 ECONNRESET", "-1 EAGAIN" for the deadline; or "blocked
    /// in send" if recv was not called again.
    pub recv: String,
    /// The article's status for that: 0 normal, 1 closed by the peer, 2 timeout, 3 any other. Null
    /// if it gives none.
    pub status: Option<u8>,
}

/// What a client saw of an external server.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClientView {
    /// Bytes that came back, read or not.
    pub bytes: u64,
    /// How much of the reply the client received; null if no reply is expected, because the client
    /// sent nothing or the server does not echo.
    pub reply: Option<Reply>,
    /// How the server ended its side, if the client was still connected.
    pub end: Option<SeenEnd>,
    /// When the client saw that, in microseconds from the start of its connect.
    pub end_us: Option<u64>,
    /// The act of the client that failed or timed out.
    pub in_vain: Option<String>,
    /// Whether the server serves the next connection like the first.
    pub serves: bool,
}

/// How much of the reply a client received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reply {
    /// Bytes that this client received, read or not.
    pub got: u64,
    /// Bytes of the whole reply: one prefix and all sent bytes; or the received bytes, if there are
    /// more because several pieces had a prefix.
    pub of: u64,
}

impl Reply {
    /// Bytes of the reply that the client did not receive.
    pub fn missing(self) -> u64 {
        self.of.saturating_sub(self.got)
    }
}

/// Whether a close log has a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// It has a line: see the verdict.
    Line,
    /// No line appeared in time. The server may still hold the connection open.
    NoLineYet,
    /// The server never accepted the connection: all connections that it accepted meanwhile are
    /// others.
    NeverSeen,
    /// Lines appeared, and it is unknown which one belongs to this connection.
    Unclear,
}

/// How a server ended its side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SeenEnd {
    /// With a FIN.
    Fin,
    /// With a reset.
    Reset,
}

/// The result of a scenario through a proxy or balancer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Via {
    /// The sequence on the wire between the client and the proxy.
    #[serde(default)]
    pub wire: String,
    /// What the client saw.
    pub seen: ClientView,
    /// The verdict of the server behind the proxy, if its close log has it.
    pub verdict: Option<String>,
    /// The evidence for that verdict.
    pub evidence: Option<EvidenceRecord>,
    /// Whether the server's close log has this connection; null without --observe.
    pub log: Option<Log>,
    /// The counted results, for a race.
    pub race: Option<Race>,
    /// The change by the proxy.
    pub change: Change,
    /// Each difference from the direct run, in words.
    pub differs: Vec<String>,
    /// Why there is no verdict although a close log is read.
    pub note: Option<String>,
}

/// The change by a proxy, from good to bad.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Nothing.
    Same,
    /// Something, but no byte of a reply is lost.
    Differs,
    /// A reply, or a part of it, is lost: the client gets it directly and not through the proxy, or
    /// the server reports it as delivered and the client did not get all of it.
    Lost,
}

/// The article's result, and the result here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Article {
    /// The article's result, approximately in its words.
    pub found: String,
    /// Whether the recv loop here gave the same result.
    pub agrees: Option<bool>,
    /// The result here.
    pub here: String,
}

/// The counted results of a race.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Race {
    /// The number of runs against each server.
    pub runs: u32,
    /// The number of runs with each verdict.
    pub verdicts: BTreeMap<String, u32>,
    /// The number of runs with each result of the last recv.
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

//! Captured packets of the scenarios, compared with the expected ones.
//!
//! The connections of the recv loop are not captured. The same kernel sends their packets; of that
//! loop only its results are of interest.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use super::capture::{Capture, Expectation, Losses, Packet, contradiction, story};
use super::report::WireSource;

/// The beginning of each story, which is left out.
const HANDSHAKE: &str = "→ SYN ← SYN → ACK";

/// The most runs of a race that are captured: each is looked up among all packets.
pub(super) const RACES_SEEN_MAX: u32 = 1_000;

/// The most sequences of a race that are shown.
const WAYS_MAX: usize = 4;

/// The packets of the played connections, if there is a capture.
pub(super) struct Wire<'a> {
    capture: Option<&'a Capture>,
    /// Each captured client and its server.
    connections: Vec<(SocketAddr, SocketAddr)>,
    losses: Losses,
}

/// The packets of a connection.
pub(super) struct OnWire {
    pub(super) client: SocketAddr,
    pub(super) packets: Vec<Packet>,
    /// What is not as expected, or what is missing.
    pub(super) complaint: Option<String>,
}

impl<'a> Wire<'a> {
    pub(super) fn new(capture: Option<&'a Capture>) -> Wire<'a> {
        Wire { capture, connections: Vec::new(), losses: Losses::default() }
    }

    pub(super) fn source(&self) -> WireSource {
        if self.capture.is_some() { WireSource::Seen } else { WireSource::Expected }
    }

    /// Each captured client and its server.
    pub(super) fn connections(self) -> Vec<(SocketAddr, SocketAddr)> {
        self.connections
    }

    /// Must be called before the first client connects to this server.
    pub(super) fn watch(&self, server: SocketAddr) {
        if let Some(capture) = self.capture {
            capture.watch(server.port());
        }
    }

    /// Must be called after the last connection to that server.
    pub(super) fn unwatch(&self, server: SocketAddr) {
        if let Some(capture) = self.capture {
            capture.unwatch(server.port());
        }
    }

    /// The packets of the connection that just ended; `None` without a capture.
    ///
    /// # Errors
    /// The capture has ended.
    pub(super) fn seen(
        &mut self,
        expected: &Expectation,
        client: SocketAddr,
        server: SocketAddr,
    ) -> io::Result<Option<OnWire>> {
        let Some(capture) = self.capture else { return Ok(None) };
        capture.settle()?;
        self.connections.push((client, server));
        let packets = capture.packets(client, server);
        let losses = capture.losses();
        let complaint = complaint(expected, &packets, self.losses, losses);
        self.losses = losses;
        Ok(Some(OnWire { client, packets, complaint }))
    }
}

/// What is not as expected. If the capture lost packets meanwhile, they may be of this connection.
fn complaint(
    expected: &Expectation,
    packets: &[Packet],
    lost_before: Losses,
    lost: Losses,
) -> Option<String> {
    if lost != lost_before {
        return Some(lost.to_string());
    }
    contradiction(expected, packets).map(|it| format!("on the wire: {it}"))
}

impl OnWire {
    /// The story without the handshake.
    pub(super) fn wire(&self) -> String {
        let story = story(&self.packets);
        match story.strip_prefix(HANDSHAKE) {
            Some(rest) => rest.trim_start().to_owned(),
            None => story,
        }
    }
}

/// The sequences of a race, the most frequent first.
pub(super) fn ways(counts: &BTreeMap<String, u32>) -> String {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(wire, count)| (std::cmp::Reverse(**count), *wire));
    let rest: u32 = counts.iter().skip(WAYS_MAX).map(|(_, count)| **count).sum();
    let shown = counts.iter().take(WAYS_MAX).map(|(wire, count)| format!("{count}: {wire}"));
    let rest = (rest > 0).then(|| format!("{rest}: other sequences"));
    shown.chain(rest).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::lab::capture::{self, End};
    use crate::lab::{self, Options, Row, RowOutcome, Scenario};

    /// Plays `scenario` with a capture; `None` without CAP_NET_RAW, with a line about the skip.
    fn played(scenario: Scenario) -> Option<Row> {
        use io::ErrorKind::{PermissionDenied, Unsupported};
        let capture = match Capture::start() {
            Err(error) if [PermissionDenied, Unsupported].contains(&error.kind()) => {
                capture::skip::skips("CAP_NET_RAW");
                return None;
            }
            capture => capture.unwrap(),
        };
        static STOP: AtomicBool = AtomicBool::new(false);
        let options = Options {
            scenarios: vec![Box::leak(Box::new(scenario))],
            repeat: 3,
            holder: Vec::new(),
            capture: Some(&capture),
            against: None,
            stop: &STOP,
        };
        let report = lab::run(&options, &mut |_| ()).unwrap();
        assert_eq!(report.wire, WireSource::Seen);
        report.rows.into_iter().next()
    }

    fn scenario(id: &str) -> Scenario {
        *lab::all().iter().find(|scenario| scenario.id == id).unwrap()
    }

    /// The verdict is right, and the packets are not as expected.
    #[test]
    fn a_wrong_expectation_fails_its_row() {
        for id in ["S2", "S3 race"] {
            let right = scenario(id);
            let client = End { rst: Some(false), ..right.on_wire.client };
            let wrong = Scenario { on_wire: Expectation { client, ..right.on_wire }, ..right };
            let Some(row) = played(wrong) else { return };
            let says = "on the wire: the client sent an unexpected RST";
            assert_eq!((row.outcome, &*row.note), (RowOutcome::Failed, says), "{id}");
            let packets = row.packets.unwrap();
            assert!(packets.iter().any(|it| it.to_server && it.flags.rst), "{id}: {packets:?}");
        }
        let right = played(scenario("S2")).unwrap();
        assert_eq!((right.outcome, &*right.wire), (RowOutcome::Ok, "→ 14 bytes ← 37 bytes → RST"));
    }

    #[test]
    fn a_gap_in_the_capture_fails_the_row_that_was_played_meanwhile() {
        let before = Losses { unread: 3, ..Losses::default() };
        let after = Losses { unread: 4, ..before };
        let any = Expectation::default();
        let says = complaint(&any, &[], before, after).unwrap();
        assert!(says.contains("is incomplete: 4 packets "), "{says}");
        let says = complaint(&any, &[], before, before).unwrap();
        assert_eq!(says, "on the wire: no packet of the connection was captured");
    }

    #[test]
    fn the_most_frequent_sequence_of_a_race_comes_first_and_rare_ones_are_summed() {
        let counts = [("a", 1), ("b", 7), ("c", 2), ("d", 2), ("e", 1), ("f", 1)];
        let counts = counts.map(|(wire, count)| (wire.to_owned(), count)).into();
        assert_eq!(ways(&counts), "7: b; 2: c; 2: d; 1: a; 2: other sequences");
    }
}

//! The wire beside the scenarios: what was seen there, held against what has to be.
//!
//! The recv loop's connections are not looked at. What its clients put on the wire is the same
//! kernel's doing; of that loop only what it is told is of interest.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use super::capture::{Capture, Expectation, Losses, Packet, contradiction, story};
use super::report::WireSource;

/// How each story begins that nobody needs to read.
const HANDSHAKE: &str = "→ SYN ← SYN → ACK";

/// So many runs of a race are captured: each is looked up among the packets of all.
pub(super) const RACES_SEEN_MAX: u32 = 1_000;

/// So many different ways are shown of a race.
const WAYS_MAX: usize = 4;

/// Looks at the wire, if it is told to.
pub(super) struct Wire<'a> {
    capture: Option<&'a Capture>,
    /// Each client that was looked at, and its server.
    connections: Vec<(SocketAddr, SocketAddr)>,
    losses: Losses,
}

/// What was seen of a connection.
pub(super) struct OnWire {
    pub(super) client: SocketAddr,
    pub(super) packets: Vec<Packet>,
    /// What is not as it has to be, or what is missing.
    pub(super) complaint: Option<String>,
}

impl<'a> Wire<'a> {
    pub(super) fn new(capture: Option<&'a Capture>) -> Wire<'a> {
        Wire { capture, connections: Vec::new(), losses: Losses::default() }
    }

    pub(super) fn source(&self) -> WireSource {
        if self.capture.is_some() { WireSource::Seen } else { WireSource::Expected }
    }

    /// Each client that was looked at, and its server.
    pub(super) fn connections(self) -> Vec<(SocketAddr, SocketAddr)> {
        self.connections
    }

    /// To be called before the first client connects to this server.
    pub(super) fn watch(&self, server: SocketAddr) {
        if let Some(capture) = self.capture {
            capture.watch(server.port());
        }
    }

    /// To be called when there will be no more of that server.
    pub(super) fn unwatch(&self, server: SocketAddr) {
        if let Some(capture) = self.capture {
            capture.unwatch(server.port());
        }
    }

    /// What was seen of the connection that just ended; `None` if nobody looks.
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

/// What is not as it has to be. Of packets that were lost meanwhile nobody knows whose they were.
fn complaint(
    expected: &Expectation,
    packets: &[Packet],
    lost_before: Losses,
    lost: Losses,
) -> Option<String> {
    if lost != lost_before {
        return Some(lost.to_string());
    }
    contradiction(expected, packets).map(|it| format!("on the wire {it}"))
}

impl OnWire {
    /// The story, the handshake left out.
    pub(super) fn wire(&self) -> String {
        let story = story(&self.packets);
        match story.strip_prefix(HANDSHAKE) {
            Some(rest) => rest.trim_start().to_owned(),
            None => story,
        }
    }
}

/// What was seen of a race, the most frequent first.
pub(super) fn ways(counts: &BTreeMap<String, u32>) -> String {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(wire, count)| (std::cmp::Reverse(**count), *wire));
    let rest: u32 = counts.iter().skip(WAYS_MAX).map(|(_, count)| **count).sum();
    let shown = counts.iter().take(WAYS_MAX).map(|(wire, count)| format!("{count}: {wire}"));
    let rest = (rest > 0).then(|| format!("{rest}: in other ways"));
    shown.chain(rest).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::lab::capture::{self, End};
    use crate::lab::{self, Options, Row, RowOutcome, Scenario};

    /// Plays `scenario` before a capture; `None` where this machine does not let us: that is said.
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

    /// The verdict is right, and the wire is not as expected.
    #[test]
    fn a_wrong_expectation_fails_its_row() {
        for id in ["S2", "S3 race"] {
            let right = scenario(id);
            let client = End { rst: Some(false), ..right.on_wire.client };
            let wrong = Scenario { on_wire: Expectation { client, ..right.on_wire }, ..right };
            let Some(row) = played(wrong) else { return };
            let says = "on the wire the client sent a RST, and should not have";
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
        assert!(says.contains("misses 4 packets"), "{says}");
        let says = complaint(&any, &[], before, before).unwrap();
        assert_eq!(says, "on the wire no packet of the connection was seen");
    }

    #[test]
    fn the_most_frequent_way_of_a_race_comes_first_and_the_rare_ones_are_counted() {
        let counts = [("a", 1), ("b", 7), ("c", 2), ("d", 2), ("e", 1), ("f", 1)];
        let counts = counts.map(|(wire, count)| (wire.to_owned(), count)).into();
        assert_eq!(ways(&counts), "7: b; 2: c; 2: d; 1: a; 2: in other ways");
    }
}

//! A connection as a line: for people, and as a record of the close log.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::record::{EvidenceRecord, Record};
use crate::wire::{Direction, Ended, Opening, OutsideVerdict, Role, View};

/// A connection that ended, and what is said about it.
pub(super) struct Connection<'a> {
    pub(super) ended: &'a Ended,
    pub(super) verdict: OutsideVerdict,
    /// The index of our end.
    ours: usize,
    role: Role,
}

impl<'a> Connection<'a> {
    pub(super) fn new(ended: &'a Ended, role: Role, port: Option<u16>) -> Connection<'a> {
        let (ours, _) = ended.flow.end_of(role, port);
        Connection { ended, verdict: ended.verdict(role, port), ours, role }
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.ended.flow.ends()[1 - self.ours]
    }

    fn local(&self) -> SocketAddr {
        self.ended.flow.ends()[self.ours]
    }

    /// What our end sent, and what the peer sent.
    fn directions(&self) -> (&Direction, &Direction) {
        let directions = self.ended.flow.directions();
        (&directions[self.ours], &directions[1 - self.ours])
    }

    /// One line: when, both ends (the client first), the verdict, and what is beside the usual.
    pub(super) fn line(&self) -> String {
        let OutsideVerdict { kind, certainty, initiator, .. } = self.verdict;
        let (client, server) = match self.role {
            Role::Server => (self.peer(), self.local()),
            Role::Client => (self.local(), self.peer()),
        };
        let (ours, peer) = self.directions();
        let ends = format!("{client} > {server}");
        let mut line = format!(
            "{}  {ends:<43}  {:<27} {:<8} {:<8} rx {} tx {}",
            time(self.ended.flow.ended_ns()),
            kind.name(),
            certainty.name(),
            initiator.name(),
            peer.bytes(),
            ours.bytes(),
        );
        let (own, other) = (ours.totals(), peer.totals());
        let extras = [
            ("undelivered", ours.undelivered().unwrap_or(0)),
            ("missing", ours.missing() + peer.missing()),
            ("retransmitted", own.retransmits + other.retransmits),
            ("out of order", own.out_of_order + other.out_of_order),
            ("probes", own.probes + other.probes),
        ];
        for (name, count) in extras.into_iter().filter(|(_, count)| *count > 0) {
            line += &format!(", {count} {name}");
        }
        if let Some(ns) = self.ended.flow.round_trip_ns() {
            line += &format!(", rtt {}.{:03} ms", ns / 1_000_000, ns / 1000 % 1000);
        }
        line.push('\n');
        line
    }

    /// The same with the fields of the close log. What only the program knows is null.
    pub(super) fn record(&self) -> Record {
        let flow = &self.ended.flow;
        let view = View::new(flow, self.ours, self.ended.until_ns);
        let (ours, peer) = self.directions();
        let is_seen = view.opening != Opening::Unseen;
        let duration_ms = flow.ended_ns().saturating_sub(flow.began_ns()) / 1_000_000;
        let small = |count: u32| u8::try_from(count).unwrap_or(u8::MAX);
        Record {
            time: moment(flow.ended_ns()),
            id: None,
            peer: self.peer(),
            local: Some(self.local()),
            verdict: self.verdict.kind.name().into(),
            evidence: EvidenceRecord {
                status: self.verdict.status,
                initiator: self.verdict.initiator.name().into(),
                certainty: self.verdict.certainty.name().into(),
                errno: None,
                via: None,
                fin_received: view.peer.is_seen.then_some(view.peer.fin),
                fin_sent: view.ours.is_seen.then_some(view.ours.fin),
                rx: Some(peer.bytes()),
                discarded: None,
                tx: Some(ours.bytes()),
                undelivered: ours
                    .undelivered()
                    .map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX)),
                unsent: None,
                unread: None,
                retransmits: Some(small(ours.retransmitting())),
                probes: Some(small(ours.probing())),
                duration_ms: is_seen.then_some(duration_ms),
                verdict_wait_ms: None,
            },
            seen_by: Cow::Borrowed("wire"),
        }
    }
}

fn moment(at_ns: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(at_ns)
}

/// A time of day, in UTC, with milliseconds.
fn time(at_ns: u64) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(at_ns) / 1_000_000 * 1_000_000) {
        Ok(time) => format!("{time:.3}"),
        // No 64 bits of nanoseconds are beyond its calendar.
        Err(_) => format!("{at_ns} ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds() {
        assert_eq!(time(1_795_374_000_123_999_999), "2026-11-22T19:00:00.123Z");
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert!(time(u64::MAX).starts_with("2554-07-21T"));
    }
}

//! Summary of a connection's packets in one line.

use std::ops::Range;

use super::packet::Packet;

/// One direction of a connection so far.
#[derive(Default)]
pub(super) struct Stream {
    /// The captured parts of the stream, in order, with gaps between them.
    parts: Vec<Range<u32>>,
    pub(super) fins: u32,
}

impl Stream {
    /// Adds the payload of a packet, and returns the number of new bytes.
    pub(super) fn takes(&mut self, packet: &Packet) -> u64 {
        let begin = packet.seq.wrapping_add(u32::from(packet.flags.syn));
        let mut whole = begin..begin.saturating_add(packet.payload_bytes);
        let before = self.bytes();
        // Parts that it touches are merged with it.
        self.parts.retain(|part| {
            let apart = part.end < whole.start || whole.end < part.start;
            if !apart {
                whole = whole.start.min(part.start)..whole.end.max(part.end);
            }
            apart
        });
        let at = self.parts.partition_point(|part| part.end < whole.start);
        if !whole.is_empty() {
            self.parts.insert(at, whole);
        }
        self.bytes() - before
    }

    /// The number of captured bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.end - part.start)).sum()
    }
}

/// More consecutive steps with data are summed up.
const DATA_STEPS_MAX: usize = 4;

/// A step of the story.
#[derive(PartialEq, Eq)]
enum What {
    Syn,
    Ack,
    Bytes(u64),
    /// Retransmitted bytes.
    Again(u64),
    Fin,
    FinAgain,
    Rst,
}

struct Leg {
    to_server: bool,
    what: What,
    times: u32,
}

/// The connection in one line, in the words of [`Performed::wire`](crate::client::Performed::wire):
/// `→ SYN ← SYN → ACK → 14 bytes ← 37 bytes → FIN ← FIN`. Acknowledgements are left out except the
/// one of the handshake, and consecutive data in one direction is added up. Where both ends send at
/// the same time, it is `→ 9530260 bytes ⇄ ← 8192327 bytes`.
pub fn story(packets: &[Packet]) -> String {
    let mut steps: Vec<Leg> = Vec::new();
    let mut streams = [Stream::default(), Stream::default()];
    for packet in packets {
        let stream = &mut streams[usize::from(packet.to_server)];
        let answered = steps.last().is_some_and(|it| !it.to_server && it.what == What::Syn);
        let mut tell = |what| tell(&mut steps, packet.to_server, what);
        if packet.flags.rst {
            tell(What::Rst);
            continue;
        }
        if packet.flags.syn {
            tell(What::Syn);
        }
        if packet.payload_bytes > 0 {
            let new = stream.takes(packet);
            tell(if new > 0 { What::Bytes(new) } else { What::Again(packet.payload_bytes.into()) });
        }
        if packet.flags.fin {
            stream.fins += 1;
            tell(if stream.fins == 1 { What::Fin } else { What::FinAgain });
        }
        if packet.to_server && answered && packet.is_plain() {
            tell(What::Ack);
        }
    }
    let mut words = Vec::new();
    for run in steps.chunk_by(|a, b| a.is_data() && b.is_data()) {
        match run.len() {
            0..=DATA_STEPS_MAX => words.extend(run.iter().map(Leg::words)),
            _ => words.push(across(run)),
        }
    }
    words.join(" ")
}

/// The sums of both directions, for ends that send at the same time.
fn across(run: &[Leg]) -> String {
    let way = |to_server: bool| {
        let (mut new, mut again) = (0, 0);
        for step in run.iter().filter(|step| step.to_server == to_server) {
            match step.what {
                What::Bytes(bytes) => new += bytes,
                What::Again(bytes) => again += bytes,
                _ => {}
            }
        }
        let arrow = if to_server { '→' } else { '←' };
        match again {
            0 => format!("{arrow} {new} bytes"),
            again => format!("{arrow} {new} bytes, {again} again"),
        }
    };
    let first = run[0].to_server;
    format!("{} ⇄ {}", way(first), way(!first))
}

/// Adds a step, or merges it with the last one if both are of the same kind.
fn tell(steps: &mut Vec<Leg>, to_server: bool, what: What) {
    if let Some(last) = steps.last_mut().filter(|last| last.to_server == to_server) {
        match (&mut last.what, &what) {
            (What::Bytes(sum), What::Bytes(bytes)) | (What::Again(sum), What::Again(bytes)) => {
                *sum += bytes;
                return;
            }
            (same, other) if same == other => {
                last.times += 1;
                return;
            }
            _ => {}
        }
    }
    steps.push(Leg { to_server, what, times: 1 });
}

impl Leg {
    fn is_data(&self) -> bool {
        matches!(self.what, What::Bytes(_) | What::Again(_))
    }

    fn words(&self) -> String {
        let arrow = if self.to_server { '→' } else { '←' };
        let what = match self.what {
            What::Syn => "SYN".to_owned(),
            What::Ack => "ACK".to_owned(),
            What::Bytes(bytes) => format!("{bytes} bytes"),
            What::Again(bytes) => format!("{bytes} bytes again"),
            What::Fin => "FIN".to_owned(),
            What::FinAgain => "FIN again".to_owned(),
            What::Rst => "RST".to_owned(),
        };
        match self.times {
            1 => format!("{arrow} {what}"),
            times => format!("{arrow} {what} ×{times}"),
        }
    }
}

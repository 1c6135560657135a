//! Comparison of captured packets with an expectation.

use super::packet::Packet;
use super::story::Stream;

/// The packets that a scenario expects. A field that is not set is not compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Expectation {
    /// What the client sends.
    pub client: End,
    /// What the server sends.
    pub server: End,
    /// Which packet comes first, if the order is forced.
    pub first: Option<First>,
}

/// The packets that one end is expected to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct End {
    /// Whether it sends a FIN.
    pub fin: Option<bool>,
    /// Whether it sends a reset.
    pub rst: Option<bool>,
    /// The number of bytes; retransmitted bytes count once.
    pub bytes: Bytes,
}

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Bytes {
    /// Any number.
    #[default]
    Any,
    /// This number or more.
    AtLeast(u64),
    /// This number.
    Exactly(u64),
}

/// Which comes first on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum First {
    /// The client's FIN, before any byte of the server's.
    Fin,
    /// The server's first byte, before any FIN of the client's.
    Reply,
}

/// The packets that one end sent.
#[derive(Default)]
struct Sent {
    stream: Stream,
    /// The index of the first FIN, reset and byte in the capture.
    fin: Option<usize>,
    rst: Option<usize>,
    byte: Option<usize>,
    /// The position in the stream that the other end has acknowledged.
    acknowledged: u32,
}

impl Sent {
    /// Bytes that were acknowledged and not captured: the capture has a gap.
    fn missing(&self) -> u64 {
        let marks = 1 + u32::from(self.fin.is_some());
        u64::from(self.acknowledged.saturating_sub(marks)).saturating_sub(self.stream.bytes())
    }
}

/// How `packets` differ from the expectation, in words; `None` if they do not.
pub fn contradiction(expected: &Expectation, packets: &[Packet]) -> Option<String> {
    if packets.is_empty() {
        return Some("no packet of the connection was captured".to_owned());
    }
    let (client, server) = (sent(packets, true), sent(packets, false));
    let mut differences = Vec::new();
    for (name, end, sent) in
        [("the client", &expected.client, &client), ("the server", &expected.server, &server)]
    {
        differences.extend(mark(name, "FIN", end.fin, sent.fin));
        differences.extend(mark(name, "RST", end.rst, sent.rst));
        differences.extend(bytes(name, end.bytes, sent));
    }
    differences.extend(expected.first.and_then(|first| order(first, client.fin, server.byte)));
    (!differences.is_empty()).then(|| differences.join("; "))
}

/// The packets of the client, or of the server.
fn sent(packets: &[Packet], to_server: bool) -> Sent {
    let mut sent = Sent::default();
    for (index, packet) in packets.iter().enumerate() {
        if packet.to_server != to_server {
            sent.acknowledged = sent.acknowledged.max(packet.ack.unwrap_or(0));
            continue;
        }
        if packet.flags.rst {
            sent.rst.get_or_insert(index);
            continue;
        }
        if packet.flags.fin {
            sent.fin.get_or_insert(index);
        }
        if packet.payload_bytes > 0 {
            sent.byte.get_or_insert(index);
            sent.stream.takes(packet);
        }
    }
    sent
}

fn mark(name: &str, what: &str, expected: Option<bool>, at: Option<usize>) -> Option<String> {
    match (expected?, at) {
        (true, None) => Some(format!("{name} sent no {what}")),
        (false, Some(_)) => Some(format!("{name} sent an unexpected {what}")),
        _ => None,
    }
}

fn bytes(name: &str, expected: Bytes, sent: &Sent) -> Option<String> {
    let seen = sent.stream.bytes();
    let wanted = match expected {
        Bytes::AtLeast(bytes) if seen < bytes => format!("at least {bytes}"),
        Bytes::Exactly(bytes) if seen != bytes => bytes.to_string(),
        _ => return None,
    };
    let gap = match sent.missing() {
        0 => String::new(),
        missing => format!(" ({missing} more are missing from the capture)"),
    };
    Some(format!("{name} sent {seen} bytes instead of {wanted}{gap}"))
}

fn order(first: First, fin: Option<usize>, reply: Option<usize>) -> Option<String> {
    let words = match (first, fin, reply) {
        (First::Fin, None, Some(_)) => "the server's reply came without the client's FIN before it",
        (First::Fin, Some(fin), Some(reply)) if reply < fin => {
            "the server's reply came before the client's FIN"
        }
        (First::Reply, Some(_), None) => {
            "the client's FIN came without the server's reply before it"
        }
        (First::Reply, Some(fin), Some(reply)) if fin < reply => {
            "the client's FIN came before the server's reply"
        }
        (_, None, None) => "neither the client's FIN nor the server's reply came",
        _ => return None,
    };
    Some(words.to_owned())
}

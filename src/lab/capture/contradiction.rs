//! What was expected, held against what was seen.

use super::packet::Packet;
use super::story::Stream;

/// What a scenario expects of its connection. What is left out may be as it likes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Expectation {
    /// Of what the client sends.
    pub client: End,
    /// Of what the server sends.
    pub server: End,
    /// Which comes first, where that is forced.
    pub first: Option<First>,
}

/// What one end is expected to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct End {
    /// Whether a FIN.
    pub fin: Option<bool>,
    /// Whether a reset.
    pub rst: Option<bool>,
    /// How many bytes; those that are sent twice count once.
    pub bytes: Bytes,
}

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Bytes {
    /// However many.
    #[default]
    Any,
    /// So many, or more.
    AtLeast(u64),
    /// So many.
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

/// What one end was seen to send.
#[derive(Default)]
struct Sent {
    stream: Stream,
    /// The places of the first of them in the capture.
    fin: Option<usize>,
    rst: Option<usize>,
    byte: Option<usize>,
    /// The place in the stream that the other end has acknowledged.
    acknowledged: u32,
}

impl Sent {
    /// Bytes that have arrived and were not seen: the capture has a gap.
    fn missing(&self) -> u64 {
        let marks = 1 + u32::from(self.fin.is_some());
        u64::from(self.acknowledged.saturating_sub(marks)).saturating_sub(self.stream.bytes())
    }
}

/// Says in words where `packets` are not what was expected; `None` if they are.
pub fn contradiction(expected: &Expectation, packets: &[Packet]) -> Option<String> {
    if packets.is_empty() {
        return Some("no packet of the connection was seen".to_owned());
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

/// What the client sent, or the server.
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
        (false, Some(_)) => Some(format!("{name} sent a {what}, and should not have")),
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
        missing => format!(" ({missing} more are missing in the capture)"),
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

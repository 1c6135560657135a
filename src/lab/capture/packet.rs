//! Packets of one connection, with relative sequence numbers and times.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::segment::{Flags, Segment};

/// The largest window scale, in bits (RFC 7323).
const SCALE_MAX: u8 = 14;

/// A captured packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Packet {
    /// When, from the connection's first SYN; in JSON in microseconds.
    #[serde(rename = "at_us", serialize_with = "microseconds", deserialize_with = "of_us")]
    #[cfg_attr(test, schemars(with = "u64"))]
    pub at: Duration,
    /// Whether it goes from the client to the server.
    pub to_server: bool,
    /// Its flags, such as "FIN ACK".
    #[serde(serialize_with = "words", deserialize_with = "of_words")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub flags: Flags,
    /// Its position in its sender's stream: the SYN is 0, the first byte is 1.
    pub seq: u32,
    /// The next position that its sender expects of the other stream, if the packet has one.
    pub ack: Option<u32>,
    /// Its payload, in bytes.
    #[serde(rename = "bytes")]
    pub payload_bytes: u32,
    /// The receive window of its sender, in bytes from `ack` on.
    pub window: u32,
}

fn microseconds<S: Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(at.as_micros()).unwrap_or(u64::MAX))
}

fn words<S: Serializer>(flags: &Flags, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(flags)
}

fn of_us<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_micros)
}

fn of_words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Flags, D::Error> {
    let words = String::deserialize(deserializer)?;
    let mut flags = Flags::default();
    for word in words.split(' ').filter(|word| *word != "-") {
        *match word {
            "SYN" => &mut flags.syn,
            "ACK" => &mut flags.ack,
            "FIN" => &mut flags.fin,
            "RST" => &mut flags.rst,
            "PSH" => &mut flags.psh,
            "URG" => &mut flags.urg,
            _ => return Err(D::Error::custom(format_args!("{words:?} are no flags of TCP"))),
        } = true;
    }
    Ok(flags)
}

impl Packet {
    /// Whether it is only an acknowledgement.
    pub(super) fn is_plain(&self) -> bool {
        self.flags == Flags { ack: true, ..Flags::default() } && self.payload_bytes == 0
    }
}

/// One line: time, direction, flags, numbers.
impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.at.as_secs_f64() * 1000.0;
        let arrow = if self.to_server { '→' } else { '←' };
        write!(f, "{ms:10.3} ms  {arrow} {:11}  seq {}", self.flags, self.seq)?;
        if let Some(ack) = self.ack {
            write!(f, ", ack {ack}")?;
        }
        if self.payload_bytes > 0 {
            write!(f, ", {} bytes", self.payload_bytes)?;
        }
        write!(f, ", window {}", self.window)
    }
}

/// The last connection between these two: from the client's last SYN on, or from the first copy of
/// a repeated SYN.
pub(super) fn connection<'a>(
    seen: impl Iterator<Item = (Duration, &'a Segment)>,
    client: SocketAddr,
    server: SocketAddr,
) -> Vec<Packet> {
    let theirs: Vec<(Duration, bool, &Segment)> = seen
        .filter_map(|(at, segment)| {
            let to_server = segment.goes(client, server);
            (to_server || segment.goes(server, client)).then_some((at, to_server, segment))
        })
        .collect();
    let opens =
        |to_server: bool, segment: &Segment| to_server && segment.flags.syn && !segment.flags.ack;
    let Some(&(.., last)) = theirs.iter().rfind(|(_, to_server, it)| opens(*to_server, it)) else {
        return Vec::new();
    };
    let first =
        theirs.iter().position(|(_, to_server, it)| opens(*to_server, it) && it.seq == last.seq);
    let theirs = &theirs[first.unwrap_or(0)..];
    let mut numbers = Numbers::new(last.seq);
    let begin = theirs[0].0;
    theirs
        .iter()
        .map(|&(at, to_server, segment)| {
            let (seq, ack, window) = numbers.relative(to_server, segment);
            let payload_bytes = segment.payload_bytes;
            let at = at.saturating_sub(begin);
            Packet { at, to_server, flags: segment.flags, seq, ack, payload_bytes, window }
        })
        .collect()
}

/// The initial numbers of a connection, to which its numbers are relative.
struct Numbers {
    client_isn: u32,
    server_isn: Option<u32>,
    /// The window scale in each SYN, the client's first; `None` before that SYN was captured.
    scales: [Option<Option<u8>>; 2],
}

impl Numbers {
    fn new(client_isn: u32) -> Numbers {
        Numbers { client_isn, server_isn: None, scales: [None; 2] }
    }

    /// Relative sequence number, relative acknowledgement, and window in bytes.
    fn relative(&mut self, to_server: bool, segment: &Segment) -> (u32, Option<u32>, u32) {
        // Without the server's SYN, the client's acknowledgement implies its number.
        let implied = if to_server { segment.ack.wrapping_sub(1) } else { segment.seq };
        if (!to_server || segment.flags.ack) && self.server_isn.is_none() {
            self.server_isn = Some(implied);
        }
        let server_isn = self.server_isn.unwrap_or_default();
        let (own, other) =
            if to_server { (self.client_isn, server_isn) } else { (server_isn, self.client_isn) };
        let side = usize::from(!to_server);
        if segment.flags.syn {
            self.scales[side] = Some(segment.scale);
        }
        // Scaling applies if both SYNs have it; the window of a SYN itself is not scaled.
        let scale = match self.scales {
            [Some(Some(client)), Some(Some(server))] if !segment.flags.syn => {
                [client, server][side].min(SCALE_MAX)
            }
            _ => 0,
        };
        let ack = segment.flags.ack.then(|| segment.ack.wrapping_sub(other));
        (segment.seq.wrapping_sub(own), ack, u32::from(segment.window) << scale)
    }
}

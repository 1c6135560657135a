//! Result of a scenario against an external server.

use crate::client::{Act, Client, Did, Performed, Plan, ServerEnd};
use crate::lab::judge::{self, ServerAccount};
use crate::lab::observe::{Ours, Untold};
use crate::lab::report::{ClientView, Log, Reply, SeenEnd};
use crate::lab::scenario::{Elsewhere, Scenario};
use crate::lab::wire;
use crate::lab::words::{counted, span};
use crate::record::EvidenceRecord;

/// The result of a scenario on one path.
#[derive(Default)]
pub(super) struct Played {
    /// The client's acts and their results.
    pub(super) performed: Vec<Performed>,
    /// The connection, if there was one.
    pub(super) ours: Option<Ours>,
    pub(super) seen: ClientView,
    /// The captured packets, if there is a capture.
    pub(super) looked: Option<wire::OnWire>,
    /// The server's account, or why it is not known; `None` without a close log.
    pub(super) told: Option<Result<ServerAccount, Untold>>,
}

impl Played {
    /// The result of `client`'s acts, for a reply of this length. The server's health afterwards is
    /// not known yet.
    pub(super) fn by(
        client: &Client,
        performed: Vec<Performed>,
        plan: &Plan,
        reply_bytes: Option<u64>,
        ours: Ours,
    ) -> Played {
        let unread = performed.iter().find_map(|performed| match performed.did {
            Did::Closed { unread, .. } => Some(unread),
            _ => None,
        });
        let end = client.server_end();
        let failed = performed.iter().find(|it| it.failed());
        let got = (client.received() + unread.unwrap_or(0)) as u64;
        let seen = ClientView {
            bytes: got,
            reply: reply_bytes.map(|of| Reply { got, of: of.max(got) }),
            end: end.map(|(end, _)| match end {
                ServerEnd::Fin => SeenEnd::Fin,
                ServerEnd::Reset => SeenEnd::Reset,
            }),
            end_us: end.map(|(_, at)| at.as_micros() as u64),
            in_vain: failed.map(|it| in_vain(it, plan)).or_else(|| no_echo(client, &performed)),
            serves: true,
        };
        Played { performed, ours: Some(ours), seen, ..Played::default() }
    }

    /// Whether the client could connect.
    pub(super) fn reached(&self) -> bool {
        self.ours.is_some()
    }

    /// Bytes that the client sent.
    pub(super) fn sent(&self) -> u64 {
        self.ours.as_ref().map_or(0, |ours| ours.sent)
    }

    /// What is wrong with this connection.
    pub(super) fn complaint(&self, scenario: &Scenario) -> Option<String> {
        let on_wire = || self.looked.as_ref().and_then(|looked| looked.complaint.clone());
        match (&self.seen.in_vain, &self.told) {
            // A server may keep a silent client for as long as it likes.
            (Some(_), _) if self.is_only_idle() => None,
            (Some(in_vain), _) => Some(in_vain.clone()),
            (None, Some(Ok(told))) => match scenario.elsewhere() {
                Elsewhere::Forced(kinds) | Elsewhere::Race(kinds) => {
                    judge::of_kind(kinds, told).or_else(on_wire)
                }
                Elsewhere::Skip(_) => None,
            },
            (None, _) => on_wire(),
        }
    }

    /// Why the server's verdict is not known, if there is a close log.
    pub(super) fn untold(&self) -> Option<&Untold> {
        self.told.as_ref().and_then(|told| told.as_ref().err())
    }

    /// Whether the server's buffers could not be filled. A server that does not echo may read
    /// without end, so the scenario does not apply to it.
    pub(super) fn is_unfilled(&self) -> bool {
        self.performed.iter().any(|it| it.act == Some(Act::Fill) && it.failed())
    }

    /// Whether the only failure is that the server did not close a connection whose client side was
    /// still open.
    fn is_only_idle(&self) -> bool {
        let idle = |performed: &Performed| {
            performed.act == Some(Act::AwaitEnd) && performed.did == Did::GaveUp
        };
        let shut = |performed: &Performed| performed.did == Did::SentFin;
        self.performed.iter().any(idle) && !self.performed.iter().any(shut)
    }

    /// The sequence on the wire without the handshake: from the capture, or else as far as the
    /// client knows it.
    pub(super) fn wire(&self) -> String {
        match &self.looked {
            Some(looked) => looked.wire(),
            None => self.expected(),
        }
    }

    /// The sequence as far as the client knows it. Events that it noticed at the end came before
    /// its last act. The fate of a later reply is left out, because an external server may send
    /// none.
    fn expected(&self) -> String {
        let Some((last, acts)) = self.performed.split_last() else { return String::new() };
        let is_fill = |performed: &Performed| performed.act == Some(Act::Fill);
        let wire = |performed: &Performed| match is_fill(performed) && performed.failed() {
            true => format!("→ {} bytes at most", self.sent()),
            false => performed.wire(),
        };
        let mut texts: Vec<String> = acts.iter().map(wire).collect();
        let told: usize = acts.iter().map(bytes).sum();
        if let Some(more @ 1..) = self.seen.bytes.checked_sub(told as u64) {
            texts.push(format!("← {more} bytes"));
        }
        let is_told = |text: &String| text.contains("← FIN") || text.contains("← RST");
        if let Some(end) = self.seen.end.filter(|_| !texts.iter().any(is_told)) {
            texts.push(if end == SeenEnd::Fin { "← FIN" } else { "← RST" }.to_owned());
        }
        texts.push(match last.did {
            Did::Closed { late: true, fin: true, .. } => "→ FIN".to_owned(),
            Did::Closed { late: true, .. } => String::new(),
            _ => last.wire(),
        });
        // The data in full buffers waits until the server reads, and a FIN waits behind it.
        if self.performed.iter().any(is_fill) && self.seen.end.is_none() {
            let fins = texts.iter_mut().filter(|text| *text == "→ FIN");
            fins.for_each(|text| *text = "→ FIN behind them".to_owned());
        }
        texts.retain(|text| !text.is_empty());
        texts.join(" ")
    }

    /// Whether the close log has the connection; `None` without a close log.
    pub(super) fn log(&self) -> Option<Log> {
        self.told.as_ref().map(|told| match told {
            Ok(_) => Log::Line,
            Err(Untold::NoLineYet(_)) => Log::NoLineYet,
            Err(Untold::NeverSeen(_)) => Log::NeverSeen,
            Err(Untold::Unclear(_)) => Log::Unclear,
        })
    }

    /// The verdict and its evidence, for a row.
    pub(super) fn said(&self) -> (Option<String>, Option<EvidenceRecord>) {
        match &self.told {
            Some(Ok(told)) => (Some(told.kind.name().to_owned()), Some(told.evidence.clone())),
            _ => (None, None),
        }
    }
}

/// The bytes that this act received.
fn bytes(performed: &Performed) -> usize {
    match performed.did {
        Did::Holds(bytes) | Did::Read(bytes, _) | Did::ReadPart { of: bytes, .. } => bytes,
        _ => 0,
    }
}

/// The failure of a client, with its timeout.
fn in_vain(performed: &Performed, plan: &Plan) -> String {
    let text = judge::of_client(performed);
    let patience = match performed.act {
        Some(Act::AwaitEnd | Act::ReadToEnd) => plan.end_patience,
        _ => plan.patience,
    };
    if performed.did == Did::GaveUp { format!("{text} within {}", span(patience)) } else { text }
}

/// The failure of a client that read to the end and did not get the whole echo.
fn no_echo(client: &Client, performed: &[Performed]) -> Option<String> {
    let is_end =
        |performed: &Performed| performed.act == Some(Act::ReadToEnd) && !performed.failed();
    let bytes = client.received();
    (performed.iter().any(is_end) && !client.is_echoed()).then(|| {
        format!("the client received {}, not the whole echo", counted(bytes as u64, "byte"))
    })
}

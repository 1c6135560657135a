//! What came of a scenario against a server elsewhere, and what is to be thought of it.

use crate::client::{Act, Client, Did, Performed, Plan, ServerEnd};
use crate::lab::judge::{self, ServerAccount};
use crate::lab::observe::{Ours, Untold};
use crate::lab::report::{ClientView, Log, Reply, SeenEnd};
use crate::lab::scenario::{Elsewhere, Scenario};
use crate::lab::wire;
use crate::lab::words::{counted, span};
use crate::record::EvidenceRecord;

/// What came of a scenario on one side.
#[derive(Default)]
pub(super) struct Played {
    /// What the client did.
    pub(super) performed: Vec<Performed>,
    /// The connection, if there was one.
    pub(super) ours: Option<Ours>,
    pub(super) seen: ClientView,
    /// What was on the wire, if somebody looked.
    pub(super) looked: Option<wire::OnWire>,
    /// What the server said of it, or why that is not known; nothing without a close log.
    pub(super) told: Option<Result<ServerAccount, Untold>>,
}

impl Played {
    /// What `client` did and saw, and how much of a reply of this length came; how the server is
    /// afterwards is not known yet.
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

    /// Whether there was a connection at all.
    pub(super) fn reached(&self) -> bool {
        self.ours.is_some()
    }

    /// Bytes that the client sent.
    pub(super) fn sent(&self) -> u64 {
        self.ours.as_ref().map_or(0, |ours| ours.sent)
    }

    /// What is wrong with it, as far as this one connection goes.
    pub(super) fn complaint(&self, scenario: &Scenario) -> Option<String> {
        let on_wire = || self.looked.as_ref().and_then(|looked| looked.complaint.clone());
        match (&self.seen.in_vain, &self.told) {
            // That a server keeps a silent client for long is its own business.
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

    /// Why the server's verdict is not known, where there is a close log.
    pub(super) fn untold(&self) -> Option<&Untold> {
        self.told.as_ref().and_then(|told| told.as_ref().err())
    }

    /// Whether the server is no echo server and did not let its buffers be filled: then there is
    /// nothing to be seen of that.
    pub(super) fn is_unfilled(&self) -> bool {
        self.performed.iter().any(|it| it.act == Some(Act::Fill) && it.failed())
    }

    /// Waited in vain for the end of a connection of which it had not shut down its own side.
    fn is_only_idle(&self) -> bool {
        let idle = |performed: &Performed| {
            performed.act == Some(Act::AwaitEnd) && performed.did == Did::GaveUp
        };
        let shut = |performed: &Performed| performed.did == Did::SentFin;
        self.performed.iter().any(idle) && !self.performed.iter().any(shut)
    }

    /// What went over the wire, as it was seen there or else as far as the client knows, the
    /// handshake left out.
    pub(super) fn wire(&self) -> String {
        match &self.looked {
            Some(looked) => looked.wire(),
            None => self.expected(),
        }
    }

    /// As far as the client knows. What it noticed on its way out came before its last act. What a
    /// reply meets that comes later is not claimed: a server that is not ours may send none.
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
        // What fills the buffers waits until the server reads, and a FIN waits behind it.
        if self.performed.iter().any(is_fill) && self.seen.end.is_none() {
            let fins = texts.iter_mut().filter(|text| *text == "→ FIN");
            fins.for_each(|text| *text = "→ FIN behind them".to_owned());
        }
        texts.retain(|text| !text.is_empty());
        texts.join(" ")
    }

    /// Whether the close log has it; `None` without one.
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

/// Bytes that came in this moment.
fn bytes(performed: &Performed) -> usize {
    match performed.did {
        Did::Holds(bytes) | Did::Read(bytes, _) | Did::ReadPart { of: bytes, .. } => bytes,
        _ => 0,
    }
}

/// What a client failed in, and how long it waited.
fn in_vain(performed: &Performed, plan: &Plan) -> String {
    let text = judge::of_client(performed);
    let patience = match performed.act {
        Some(Act::AwaitEnd | Act::ReadToEnd) => plan.end_patience,
        _ => plan.patience,
    };
    if performed.did == Did::GaveUp { format!("{text}, {}", span(patience)) } else { text }
}

/// Who reads to the end may find that the end came before the reply.
fn no_echo(client: &Client, performed: &[Performed]) -> Option<String> {
    let is_end =
        |performed: &Performed| performed.act == Some(Act::ReadToEnd) && !performed.failed();
    let bytes = client.received();
    (performed.iter().any(is_end) && !client.is_echoed())
        .then(|| format!("{} came, and not the whole echo", counted(bytes as u64, "byte")))
}

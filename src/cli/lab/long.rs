//! `--long`: all details of each row, as a block of lines.

use super::{Mark, Screen, markdown, text};
use crate::cli::fit::{pad, width};
use crate::lab::{ClientView, LabReport, Row, RowOutcome, WireSource};

/// Of a long connection only the first and the last packets are shown.
const FIRST_PACKETS: usize = 14;
const LAST_PACKETS: usize = 10;

/// A field of a row.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) says: fn(&Row) -> String,
}

const EXPERIMENT: Field = Field {
    name: "experiment",
    says: |row| row.experiment.map(|number| number.to_string()).unwrap_or_default(),
};
const ORDER: Field = Field {
    name: "order",
    says: |row| match row.outcome {
        RowOutcome::Skipped if super::is_left_out(row) => String::new(),
        _ => row.order.clone(),
    },
};
const EXPECTED: Field = Field { name: "wire, expected", says: |row| row.wire.clone() };
const SEEN: Field = Field { name: "wire, seen", says: |row| row.wire.clone() };
const RECV_LOOP: Field = Field {
    name: "bare recv loop",
    says: |row| row.recv_loop.as_ref().map(text::recv).unwrap_or_default(),
};
const VERDICT: Field = Field {
    name: "closecall",
    says: |row| text::verdict(row.verdict.as_deref(), row.evidence.as_ref()),
};
const EVIDENCE: Field = Field {
    name: "evidence",
    says: |row| row.evidence.as_ref().map(text::evidence).unwrap_or_default(),
};
const ODDS: Field =
    Field { name: "odds", says: |row| row.race.as_ref().map(text::odds).unwrap_or_default() };
const ARTICLE: Field = Field {
    name: "the article",
    says: |row| row.article.as_ref().map(|it| it.found.clone()).unwrap_or_default(),
};
const HERE: Field = Field {
    name: "here",
    says: |row| row.article.as_ref().map(|it| it.here.clone()).unwrap_or_default(),
};
/// The reason for a verdict. The reason for a failure or a skip is in the outcome.
const WHY: Field = Field {
    name: "why",
    says: |row| match row.outcome {
        RowOutcome::Ok | RowOutcome::Same => row.note.clone(),
        RowOutcome::Failed | RowOutcome::Skipped => String::new(),
    },
};
const OUTCOME: Field = Field { name: "outcome", says: text::outcome };

/// What a client sees of an external server.
const BACK: Field = Field {
    name: "the client got",
    says: |row| match (&row.seen, row.outcome) {
        // The outcome of a failed row has what is missing.
        (Some(seen), RowOutcome::Failed) => {
            text::back(&ClientView { in_vain: None, ..seen.clone() })
        }
        (Some(seen), _) => text::back(seen),
        (None, _) => String::new(),
    },
};
const VIA: Field = Field {
    name: "proxy: client got",
    says: |row| row.via.as_ref().map(|via| text::back(&via.seen)).unwrap_or_default(),
};
const VIA_WIRE: Field = Field {
    name: "proxy: wire",
    says: |row| row.via.as_ref().map(|via| via.wire.clone()).unwrap_or_default(),
};
const VIA_VERDICT: Field = Field {
    name: "proxy: closecall",
    says: |row| {
        let Some(via) = &row.via else { return String::new() };
        match &via.note {
            Some(why) => why.clone(),
            None => text::verdict(via.verdict.as_deref(), via.evidence.as_ref()),
        }
    },
};
const VIA_EVIDENCE: Field = Field {
    name: "proxy: evidence",
    says: |row| {
        let evidence = row.via.as_ref().and_then(|via| via.evidence.as_ref());
        evidence.map(text::evidence).unwrap_or_default()
    },
};
const VIA_ODDS: Field = Field {
    name: "proxy: odds",
    says: |row| {
        let race = row.via.as_ref().and_then(|via| via.race.as_ref());
        race.map(text::odds).unwrap_or_default()
    },
};
const DIFFERS: Field = Field {
    name: "differs",
    says: |row| match &row.via {
        Some(via) if via.differs.is_empty() => "no".to_owned(),
        Some(via) => via.differs.join("; "),
        None => String::new(),
    },
};

/// The fields that are not empty in every row of `report`.
pub(super) fn fields(report: &LabReport) -> Vec<Field> {
    let wire = match report.wire {
        WireSource::Expected => EXPECTED,
        WireSource::Seen => SEEN,
    };
    let all = [
        EXPERIMENT,
        ARTICLE,
        HERE,
        ORDER,
        wire,
        RECV_LOOP,
        BACK,
        VERDICT,
        EVIDENCE,
        ODDS,
        VIA,
        VIA_WIRE,
        VIA_VERDICT,
        VIA_EVIDENCE,
        VIA_ODDS,
        DIFFERS,
        WHY,
        OUTCOME,
    ];
    let is_said = |field: &Field| report.rows.iter().any(|row| !(field.says)(row).is_empty());
    all.into_iter().filter(is_said).collect()
}

/// A block for each row, with its non-empty fields, wrapped at the width of the screen.
pub(super) fn blocks(report: &LabReport, screen: &Screen) -> String {
    let fields = fields(report);
    let names = fields.iter().map(|field| width(field.name)).max().unwrap_or(0);
    let block = |row: &Row| {
        let mut text = screen.behind(&pad(&row.id, 4), &format!(" {}", row.client), Mark::None);
        for field in &fields {
            let says = (field.says)(row);
            if says.is_empty() {
                continue;
            }
            let is_outcome = field.name == OUTCOME.name;
            let mark = if is_outcome { Mark::of(row, false) } else { Mark::None };
            text += &screen.behind(&format!("     {}  ", pad(field.name, names)), &says, mark);
        }
        text + &packets(row, screen)
    };
    report.rows.iter().map(block).collect::<Vec<_>>().join("\n")
}

/// Marks in descriptions of the wire, and their meanings.
const MARKS: [(&str, &str); 4] = [
    (": →", "A number before a colon counts the runs with that sequence."),
    ("⇄", "⇄: both directions at the same time."),
    (" again", "again: sent again, a retransmission."),
    ("×", "×2: twice in a row."),
];

/// The legend of the blocks.
pub(super) fn legend(report: &LabReport) -> Vec<&'static str> {
    let shown = |mark: &str| report.rows.iter().any(|row| row.wire.contains(mark));
    let marks = MARKS.iter().filter(|(mark, _)| shown(mark)).map(|(_, says)| *says);
    let wire = "→: to the server; ←: from the server; without handshake and acknowledgements.";
    let mut lines: Vec<_> = [wire].into_iter().chain(marks).collect();
    if report.rows.iter().any(|row| row.verdict.is_some()) {
        lines.push("Statuses: 0 normal, 1 closed by the peer, 2 timeout, 3 any other.");
    }
    lines
}

/// The details as a Markdown table, without the packets.
pub(super) fn markdown(report: &LabReport) -> String {
    let fields = fields(report);
    let heads = ["id", "the client"].into_iter().chain(fields.iter().map(|field| field.name));
    let row = |row: &Row| {
        let says = fields.iter().map(|field| (field.says)(row));
        [row.id.clone(), row.client.clone()].into_iter().chain(says).collect()
    };
    let rows: Vec<Vec<String>> = report.rows.iter().map(row).collect();
    markdown::table(&heads.collect::<Vec<_>>(), &rows)
}

fn packets(row: &Row, screen: &Screen) -> String {
    let Some(packets) = row.packets.as_ref().filter(|packets| !packets.is_empty()) else {
        return String::new();
    };
    let shown = FIRST_PACKETS + LAST_PACKETS;
    let left_out = packets.len().saturating_sub(shown);
    let mut text = "     packets\n".to_owned();
    for (index, packet) in packets.iter().enumerate() {
        if left_out > 0 && index == FIRST_PACKETS {
            text += &screen.behind("       ", &format!("… {left_out} more …"), Mark::None);
        }
        if index < FIRST_PACKETS || index >= FIRST_PACKETS + left_out {
            text += &screen.behind("  ", &packet.to_string(), Mark::None);
        }
    }
    text
}

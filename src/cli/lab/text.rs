//! Texts of the cells: short for a line, complete for the details.

use std::fmt::Write;
use std::time::Duration;

use crate::cli::words::bytes;
use crate::lab::words::{counted, span};
use crate::lab::{Change, ClientView, Race, RecvSays, Row, RowOutcome, SeenEnd};
use crate::record::EvidenceRecord;

/// What the client received, how the server ended its side, and when.
pub(super) fn back(seen: &ClientView) -> String {
    let after = match seen.end_us {
        Some(us) => format!(" after {}", span(Duration::from_micros(us))),
        None => String::new(),
    };
    let in_vain = match &seen.in_vain {
        Some(why) => format!("; {why}"),
        None => String::new(),
    };
    format!("{}{after}{in_vain}", back_brief(seen))
}

/// What the client received, and how the server ended its side.
pub(super) fn back_brief(seen: &ClientView) -> String {
    match (seen.end, &seen.in_vain) {
        (None, None) => came(seen),
        _ => format!("{}, {}", came(seen), end(seen)),
    }
}

/// "0 of 37 bytes", or "37 bytes" if nothing is missing.
pub(super) fn came(seen: &ClientView) -> String {
    match seen.reply {
        Some(reply) if reply.missing() > 0 => of_reply(reply.got, reply.of),
        _ => bytes(seen.bytes),
    }
}

/// "0 of 37 bytes"
pub(super) fn of_reply(got: u64, of: u64) -> String {
    match of {
        0..1024 => format!("{got} of {of} bytes"),
        _ => format!("{} of {}", bytes(got), bytes(of)),
    }
}

pub(super) fn end(seen: &ClientView) -> &'static str {
    match seen.end {
        Some(SeenEnd::Fin) => "FIN",
        Some(SeenEnd::Reset) => "RST",
        None => "no end",
    }
}

pub(super) fn verdict(verdict: Option<&str>, evidence: Option<&EvidenceRecord>) -> String {
    match (verdict, evidence) {
        (Some(verdict), Some(EvidenceRecord { status, certainty, .. })) => {
            format!("{verdict}, status {status}, {certainty}")
        }
        _ => String::new(),
    }
}

pub(super) fn recv(says: &RecvSays) -> String {
    match says.status {
        Some(status) => format!("{}, status {status}", says.recv),
        None => says.recv.clone(),
    }
}

/// The same in ten columns, without the -1 that every error has.
pub(super) fn recv_brief(says: &RecvSays) -> &str {
    match says.recv.as_str() {
        "blocked in send" => "blocked",
        recv => recv.strip_prefix("-1 ").unwrap_or(recv),
    }
}

/// The evidence: FIN, error, and numbers of bytes.
pub(super) fn evidence(evidence: &EvidenceRecord) -> String {
    let mut text = match evidence.fin_received {
        Some(true) => "FIN".to_owned(),
        Some(false) => "no FIN".to_owned(),
        None => "FIN unknown".to_owned(),
    };
    // Writing to memory does not fail.
    if let (Some(errno), Some(via)) = (&evidence.errno, &evidence.via) {
        let _ = write!(text, ", {errno} by {via}");
    }
    let _ = write!(text, "; rx {} tx {}", number(evidence.rx), number(evidence.tx));
    if let Some(undelivered) = evidence.undelivered {
        let _ = write!(text, " undelivered {undelivered}");
    }
    if let Some(unsent @ 1..) = evidence.unsent {
        let _ = write!(text, " unsent {unsent}");
    }
    text
}

/// The evidence in few words, beside the columns of the verdict and the lost bytes.
pub(super) fn evidence_brief(evidence: &EvidenceRecord) -> String {
    let mut text = match evidence.certainty.as_ref() {
        "certain" => String::new(),
        certainty => format!("{certainty}; "),
    };
    if let (Some(errno), Some(via)) = (&evidence.errno, &evidence.via) {
        let _ = write!(text, "{errno} by {via}; ");
    }
    let _ = write!(text, "rx {} tx {}", number(evidence.rx), number(evidence.tx));
    text
}

/// A number, or `?` if it is unknown.
fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "?".to_owned(), |number| number.to_string())
}

/// The bytes of the reply that the peer's TCP did not acknowledge; empty if there are none.
pub(super) fn lost(evidence: &EvidenceRecord) -> String {
    match evidence.undelivered.zip(evidence.unsent) {
        None => "?".to_owned(),
        Some((undelivered, unsent)) => match unsent + u64::from(undelivered) {
            0 => String::new(),
            lost @ ..1024 => lost.to_string(),
            lost => bytes(lost),
        },
    }
}

pub(super) fn outcome(row: &Row) -> String {
    let change = row.via.as_ref().map(|via| via.change);
    match (row.outcome, change) {
        (RowOutcome::Failed, _) => format!("FAILED: {}", row.note),
        // A lost reply is reported even if everything else is as expected.
        (_, Some(Change::Lost)) => "a reply is LOST through the proxy".to_owned(),
        (RowOutcome::Skipped, _) => format!("skipped: {}", row.note),
        (_, Some(Change::Differs)) => "differs through the proxy".to_owned(),
        (RowOutcome::Ok, _) => "ok".to_owned(),
        (RowOutcome::Same, _) => format!("same as {}", row.same_as.as_deref().unwrap_or("another")),
    }
}

/// The results of a race, and the number of runs with each.
pub(super) fn odds(race: &Race) -> String {
    let counts = [&race.recv_loop, &race.verdicts].map(|counts| {
        let mut counts: Vec<_> = counts.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        counts.iter().map(|(what, count)| format!("{what} ×{count}")).collect::<Vec<_>>().join(", ")
    });
    let of = counted(race.runs.into(), "run");
    match counts {
        [recv, verdicts] if recv.is_empty() => format!("{of}: {verdicts}"),
        [recv, verdicts] => format!("{of}: recv {recv}; closecall {verdicts}"),
    }
}

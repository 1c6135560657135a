//! Level 7: after SIGTERM the server answers what has arrived, closes each connection, and ends.
//!
//! The process is stopped (SIGSTOP) while the requests arrive, so that none of them is answered
//! before the signal.

use std::time::Instant;

use super::echo::LINE_BYTES;
use super::judge::{Case, Judged, Stop};
use super::link::{Link, Room, Trouble};
use super::process::Process;
use crate::lab::words::span;

/// Clients that have sent a request when the signal comes, and clients that are idle.
const BUSY: usize = 4;
const IDLE: usize = 4;

const CONNECTS: Case = Case {
    what: "A client before SIGTERM",
    change: "Serve every client before there is a signal, as on level 2.",
    replay: "closecall client ADDR",
};
const BUSY_ENDS: Case = Case {
    what: "A client whose request had arrived before SIGTERM",
    change: "Handle SIGTERM: answer what lies in the receive queues, shut down your side of each \
             connection, and close it when the client has closed or after a few seconds.",
    replay: "closecall lab ADDR --grade --pid PID",
};
const IDLE_ENDS: Case = Case { what: "An idle client, after SIGTERM", ..BUSY_ENDS };
const NEWCOMER: Case = Case {
    what: "A new client after SIGTERM",
    change: "Close the listener first when the signal comes, so that new connections are refused.",
    ..BUSY_ENDS
};
const EXITS: Case = Case {
    what: "After SIGTERM",
    change: "Leave the loop and end the process when all connections have ended, or after a few \
             seconds.",
    ..BUSY_ENDS
};

/// Level 7.
pub(super) fn drains(room: &Room, process: Option<Process>) -> Judged {
    let Some(process) = process else { return Err(Stop::Needs("--pid".to_owned())) };
    let server = room.server;
    let mut links = Vec::new();
    for _ in 0..BUSY + IDLE {
        let link = Link::new(room).and_then(|mut link| {
            link.exchanges(LINE_BYTES)?;
            Ok(link)
        });
        links.push(link.map_err(|trouble| CONNECTS.of(trouble, server))?);
    }
    let signal = |result: std::io::Result<()>| {
        result.map_err(|error| Stop::Needs(format!("the right to send signals: {error}")))
    };
    signal(process.stops())?;
    let sent = links[..BUSY].iter_mut().try_for_each(|link| link.sends(LINE_BYTES));
    let told = process.terminates().and(process.goes_on());
    sent.map_err(|trouble| BUSY_ENDS.of(trouble, server))?;
    signal(told)?;
    let begin = Instant::now();

    let mut last = None;
    for (index, mut link) in links.into_iter().enumerate() {
        let case = if index < BUSY { BUSY_ENDS } else { IDLE_ENDS };
        link.reads_to_fin(room.patience).map_err(|trouble| case.of(trouble, server))?;
        // The last one stays open, so that the server still drains when a new client connects.
        last = Some(link);
    }
    comes_late(room)?;
    drop(last);
    while !process.is_gone() {
        if room.is_stopped() {
            return Err(Stop::Interrupted);
        }
        if begin.elapsed() > room.patience {
            let observed =
                format!("The process was still there {} after SIGTERM.", span(room.patience));
            return Err(EXITS.fault(observed, server));
        }
        process.rests();
    }
    Ok(None)
}

/// A client that comes after the signal is refused, or ended without a reply.
fn comes_late(room: &Room) -> Result<(), Stop> {
    let served = match Link::new(room) {
        Ok(mut link) => link.exchanges(LINE_BYTES),
        Err(trouble) => Err(trouble),
    };
    match served {
        Err(Trouble::NoConnection(_) | Trouble::Ended { .. }) => Ok(()),
        Ok(()) => {
            let observed = "A new client was served after SIGTERM.".to_owned();
            Err(NEWCOMER.fault(observed, room.server))
        }
        Err(trouble) => Err(NEWCOMER.of(trouble, room.server)),
    }
}

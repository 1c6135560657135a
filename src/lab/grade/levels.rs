//! Levels 1 to 5: clients that send, close in different ways, and read late.

use std::io::ErrorKind;
use std::time::Duration;

use super::echo::{LINE_BYTES, Lead, Script};
use super::judge::{Case, Judged, Stop};
use super::link::{End, Link, Room, Trouble};
use crate::client::{Client, Plan, Way};
use crate::lab::against::side::{Health, asked};

/// The clients of level 2, the silent one among them.
const MANY: usize = 100;

/// A message that no recv returns at once, in bytes.
const LONG_BYTES: usize = 100 << 10;

/// A message with all bytes there are, in bytes.
const BINARY_BYTES: usize = 64 * LINE_BYTES;

/// Pieces of a line; the last one ends it.
const PIECES: [usize; 3] = [20, 20, LINE_BYTES - 40];

/// What a client sends at most that reads nothing. Linux takes about 10 MiB where the server stops
/// reading; a server that takes all of this keeps it in memory.
const FILL_BYTES_MAX: u64 = 32 << 20;

/// The ways to reset that level 3 plays.
const RESETS: [Way; 5] =
    [Way::CloseUnread, Way::Reset, Way::CloseHalfRead, Way::ProbeReset, Way::ResetAtOnce];

/// One client waits for another.
pub(super) const OTHERS: Case = Case {
    what: "Another client, while one sends and reads nothing",
    change: "Do not wait for one client's socket to take its reply while others are to be \
             served: keep what it does not take, and go on when it is writable.",
    replay: "closecall client ADDR --end close-full --wait 20s & closecall client ADDR",
};

/// Bytes of a long reply are lost.
const LATE: Case = Case {
    what: "A client that sent much and read late",
    change: "Keep what send did not take, send it in the same order when the socket is \
             writable, and read no more from this client meanwhile.",
    replay: "closecall client ADDR --end half-close-full",
};

/// How long a client stays on the line to see whether the server ends a moment later.
const GRACE: Duration = Duration::from_millis(100);

/// The beginning of level 1: learns from two messages what the server sends before its echo.
pub(super) fn learns(mut link: Link, room: &Room) -> Result<Lead, Stop> {
    const FIRST: Case = Case {
        what: "One message of 64 bytes",
        change: "Keep the connection open and send back the bytes that recv returned, unchanged \
                 and all of them; a prefix before them is allowed, text after them is not.",
        replay: "closecall client ADDR",
    };
    const SECOND: Case = Case {
        what: "A second message on the same connection",
        change: "Call recv again after each reply, until it returns 0; the prefix must be the \
                 same each time.",
        replay: "(echo one; sleep 1; echo two; sleep 1) | nc HOST PORT",
    };
    let server = room.server;
    let message = |at: usize| &room.text.from((at * LINE_BYTES) as u64)[..LINE_BYTES];
    let first = link.learns(message(0)).map_err(|trouble| FIRST.of(trouble, server))?;
    let second = link.learns(message(1)).map_err(|trouble| SECOND.of(trouble, server))?;
    Lead::learnt(&first, &second).ok_or_else(|| {
        let observed = "The text before the second reply is not the same as before the first one.";
        SECOND.fault(observed.to_owned(), server)
    })
}

/// Level 1: several messages, in pieces, a long one, and bytes that are no text.
pub(super) fn echoes(room: &Room) -> Judged {
    const SEVERAL: Case = Case {
        what: "Several messages on one connection",
        change: "Call recv again after each reply, until it returns 0.",
        replay: "closecall load echo ADDR -c 1 -d 3s",
    };
    const PIECED: Case = Case {
        what: "A message in three pieces",
        change: "TCP is a stream of bytes: echo what each recv returns, however short it is, and \
                 do not wait for more input.",
        replay: "(printf one; sleep 1; echo two; sleep 1) | nc HOST PORT",
    };
    const LONG: Case = Case {
        what: "A message of 100 KiB",
        change: "Send in a loop: send may take fewer bytes than it is given, and the rest has to \
                 be sent as well; recv returns a long message in many parts.",
        replay: "closecall load echo ADDR -c 1 -d 3s --size 102400",
    };
    const BINARY: Case = Case {
        what: "A message with all bytes from 0 to 255",
        change: "Echo bytes by their number as recv returned it: no strlen, no sprintf with %s, \
                 and no decoding into text.",
        replay: r"closecall client ADDR --message '\x00\xff\x80\n'",
    };
    let server = room.server;
    let mut link = Link::new(room).map_err(|trouble| SEVERAL.of(trouble, server))?;
    for _ in 0..3 {
        link.exchanges(LINE_BYTES).map_err(|trouble| SEVERAL.of(trouble, server))?;
    }
    for (index, bytes) in PIECES.into_iter().enumerate() {
        let is_last = index + 1 == PIECES.len();
        let piece = if is_last { link.exchanges(bytes) } else { link.sends_piece(bytes) };
        piece.map_err(|trouble| PIECED.of(trouble, server))?;
    }
    link.exchanges(LONG_BYTES).map_err(|trouble| LONG.of(trouble, server))?;
    // Two connections at a time are level 2.
    drop(link);
    let mut link = Link::binary(room).map_err(|trouble| BINARY.of(trouble, server))?;
    link.exchanges(BINARY_BYTES).map_err(|trouble| BINARY.of(trouble, server))?;
    Ok(None)
}

/// Level 2: many clients, the first of which is silent.
pub(super) fn many(room: &Room) -> Judged {
    const CONNECTS: Case = Case {
        what: "100 clients at a time, the first of them silent",
        change: "Accept in a loop that never waits for one client: a thread or a task for each \
                 client, or a poll over all of them.",
        replay: "closecall load hold ADDR -c 100 -d 3s",
    };
    const ANSWERS: Case =
        Case { replay: "closecall client ADDR --end silent & closecall client ADDR", ..CONNECTS };
    let server = room.server;
    let mut links = Vec::new();
    for index in 0..MANY {
        let mut link = Link::new(room).map_err(|trouble| CONNECTS.of(trouble, server))?;
        // The first one is silent. The others are not for long: they may have a deadline.
        if index > 0 {
            link.sends(LINE_BYTES).map_err(|trouble| ANSWERS.of(trouble, server))?;
        }
        links.push(link);
    }
    for link in &mut links[1..] {
        link.exchanges(0).map_err(|trouble| ANSWERS.of(trouble, server))?;
    }
    Ok(None)
}

/// Level 3: the server outlives each client that resets.
pub(super) fn resets(room: &Room) -> Judged {
    let server = room.server;
    let plan = Plan {
        message: room.text.from(0)[..LINE_BYTES].to_vec(),
        patience: room.reply,
        end_patience: room.reply,
        stop: Some(room.stop),
        ..Plan::new(server)
    };
    for way in RESETS {
        let case = Case {
            what: "A client that resets its connection",
            change: "A reset is an error of one connection: close that socket, and go on serving \
                     the others and accepting new ones.",
            replay: "closecall lab ADDR --only SCENARIO",
        };
        let fault = |observed| match case.fault(observed, server) {
            Stop::Fault(mut fault) => {
                fault.replay = fault.replay.replace("SCENARIO", way.scenario());
                Stop::Fault(fault)
            }
            stop => stop,
        };
        let (mut client, _) = Client::connect(&plan).map_err(|error| match error.kind() {
            ErrorKind::Interrupted => Stop::Interrupted,
            _ => fault(format!("A client could not connect to reset its connection: {error}.")),
        })?;
        let played = client.play_all(way.script(), |_, _| ());
        let health = healthy(room);
        if room.is_stopped() {
            return Err(Stop::Interrupted);
        }
        let client = format!("{}: the client {}", way.scenario(), way.says());
        match (health, played) {
            (Health::Answers, true) => {}
            (Health::Answers, false) => {
                return Err(fault(format!("{client}; but the reply did not come.")));
            }
            (Health::Gone, _) => {
                return Err(fault(format!("{client}; then nothing listened any more.")));
            }
            (Health::Silent, _) => {
                return Err(fault(format!("{client}; then the next client got no echo.")));
            }
        }
    }
    Ok(None)
}

/// Whether it serves a new client, and goes on doing so for a moment.
pub(super) fn healthy(room: &Room) -> Health {
    let plan = Plan {
        message: room.text.from(0)[..LINE_BYTES].to_vec(),
        patience: room.reply,
        end_patience: GRACE,
        stop: Some(room.stop),
        ..Plan::new(room.server)
    };
    asked(&plan, Health::Answers)
}

/// Level 4: a client that shuts down its side gets the whole reply and a FIN.
pub(super) fn half_closes(room: &Room) -> Judged {
    const SMALL: Case = Case {
        what: "A client that sent 64 bytes and shut down its side",
        change: "recv = 0 means that the client sends no more, and it may still read: send all \
                 that is pending first, and then close.",
        replay: "closecall client ADDR --end half-close",
    };
    const LARGE: Case = Case {
        what: "A client that filled all buffers, shut down its side and then read",
        replay: "closecall client ADDR --end half-close-full",
        ..SMALL
    };
    let server = room.server;
    let small = |room: &Room| -> Result<(), Trouble> {
        let mut link = Link::new(room)?;
        link.sends(LINE_BYTES)?;
        link.half_closes()?;
        link.reads_to_fin(room.reply)
    };
    small(room).map_err(|trouble| SMALL.of(trouble, server))?;
    let large = |room: &Room| -> Result<(), Trouble> {
        let mut link = Link::narrow(room)?;
        link.fills(FILL_BYTES_MAX)?;
        link.half_closes()?;
        link.reads_to_fin(room.reply)
    };
    large(room).map_err(|trouble| match trouble {
        // Lost before the FIN was read: by the server's send, and not by its close.
        Trouble::Wrong { .. } => Case { change: LATE.change, ..LARGE }.of(trouble, server),
        trouble => LARGE.of(trouble, server),
    })?;
    Ok(None)
}

/// Level 5: a client that reads late holds up no other, and gets every byte.
pub(super) fn slow_readers(room: &Room) -> Judged {
    const FILLS: Case = Case {
        what: "A client that sends and reads nothing",
        change: "Stop reading from a client while its replies are pending, and wait until its \
                 socket takes them again: a slow reader is no error.",
        replay: "closecall client ADDR --end close-full",
    };
    let server = room.server;
    let mut before = Link::new(room).map_err(|trouble| OTHERS.of(trouble, server))?;
    before.exchanges(LINE_BYTES).map_err(|trouble| OTHERS.of(trouble, server))?;
    let mut slow = Link::narrow(room).map_err(|trouble| FILLS.of(trouble, server))?;
    let is_full = slow.fills(FILL_BYTES_MAX).map_err(|trouble| FILLS.of(trouble, server))?;
    match before.exchanges(LINE_BYTES) {
        // It was silent for as long as filling took: that may have been its deadline.
        Ok(()) | Err(Trouble::Ended { came: 0, end: End::Fin, .. }) => {}
        Err(trouble) => return Err(OTHERS.of(trouble, server)),
    }
    let newcomer = Link::new(room).and_then(|mut link| link.exchanges(LINE_BYTES));
    newcomer.map_err(|trouble| OTHERS.of(trouble, server))?;
    slow.catches_up().map_err(|trouble| LATE.of(trouble, server))?;
    let took = slow.sent() >> 20;
    Ok((!is_full).then(|| {
        format!(
            "It took {took} MiB from a client that read nothing, and would take more: one client \
             can use all of its memory."
        )
    }))
}

/// The scripts of a run with this lead.
pub(super) fn scripts(lead: &Lead) -> (Script, Script) {
    (Script::text(&lead.prefix), Script::binary(&lead.prefix))
}

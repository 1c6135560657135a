//! Level 6: silence and stalls end in bounded time, and a client that speaks stays.

use std::time::{Duration, Instant};

use super::echo::LINE_BYTES;
use super::judge::{Case, Judged, Stop};
use super::levels::OTHERS;
use super::link::{End, Link, Room, Trouble};
use crate::lab::words::span;

/// A client that speaks does so this many times within the deadline that was observed, ...
const PACE: u32 = 3;

/// ... and this many times in all: twice the deadline.
const SPEAKS: u32 = 2 * PACE;

/// If a pause was longer than this part of the deadline, because this machine is slow, the server
/// may be right to end the client, and a new client tries again.
const PAUSE_MAX: (u32, u32) = (1, 2);

/// Attempts of the client that speaks.
const TRIES_MAX: u32 = 3;

/// Bytes that fill all buffers, at most.
const FILL_BYTES_MAX: u64 = 32 << 20;

/// A FIN behind bytes that were read late is here within this time.
const GRACE: Duration = Duration::from_millis(100);

const SILENT: Case = Case {
    what: "A client that was served and then silent",
    change: "Give each connection a read deadline, a moment that every received byte moves, and \
             end the connection with a close when it has passed.",
    replay: "closecall lab ADDR --only S9",
};
const MUTE: Case = Case {
    what: "A client that connected and sent nothing",
    change: "Start the read deadline when the connection is accepted, and not with its first byte.",
    replay: "sleep 60 | nc HOST PORT",
};
const SPEAKER: Case = Case {
    what: "A client that speaks now and then",
    change: "Move the read deadline with every byte that arrives: it is about silence, and not \
             about the age of a connection.",
    replay: "(for n in $(seq 30); do echo $n; sleep 1; done) | nc HOST PORT",
};
const STALLED: Case = Case {
    what: "A client that sends and never reads",
    change: "Give pending replies a deadline as well: when the socket has taken no byte for that \
             long, end the connection.",
    replay: "closecall lab ADDR --only S17",
};

/// Level 6.
pub(super) fn deadlines(room: &Room) -> Judged {
    let server = room.server;
    // This client comes first: filling may take seconds, and the time until the silent client is
    // ended is measured.
    let mut stalled = Link::narrow(room).map_err(|trouble| STALLED.of(trouble, server))?;
    match stalled.fills(FILL_BYTES_MAX) {
        // An early end is an end.
        Ok(_) | Err(Trouble::Ended { .. }) => {}
        Err(trouble) => return Err(STALLED.of(trouble, server)),
    }
    let full = Instant::now();
    let mut silent = Link::new(room).map_err(|trouble| OTHERS.of(trouble, server))?;
    silent.exchanges(LINE_BYTES).map_err(|trouble| OTHERS.of(trouble, server))?;
    let spoke = Instant::now();
    let mut mute = Link::new(room).map_err(|trouble| MUTE.of(trouble, server))?;
    let connected = Instant::now();
    ends_with_fin(SILENT, &mut silent, room, spoke)?;
    let deadline = spoke.elapsed();
    ends_with_fin(MUTE, &mut mute, room, connected)?;
    speaks(room, deadline)?;
    ends_stalled(&mut stalled, room, full)?;
    Ok(None)
}

/// The server's FIN comes within the patience.
fn ends_with_fin(case: Case, link: &mut Link, room: &Room, since: Instant) -> Result<(), Stop> {
    let end = link.awaits_end(since + room.patience).map_err(|it| case.of(it, room.server))?;
    let observed = match end {
        Some(End::Fin) => return Ok(()),
        Some(End::Reset) => {
            format!("{} was reset after {}, and not closed.", case.what, span(since.elapsed()))
        }
        None => format!("{} was still connected after {}.", case.what, span(room.patience)),
    };
    Err(case.fault(observed, room.server))
}

/// A client that speaks often enough is not ended.
fn speaks(room: &Room, deadline: Duration) -> Result<(), Stop> {
    let pause_max = deadline * PAUSE_MAX.0 / PAUSE_MAX.1;
    for _ in 0..TRIES_MAX {
        let begin = Instant::now();
        let (result, longest) = spoken(room, deadline / PACE);
        match result {
            Ok(()) => return Ok(()),
            Err(trouble @ (Trouble::Stopped | Trouble::Ours(_))) => {
                return Err(SPEAKER.of(trouble, room.server));
            }
            // Not silent for long, and ended all the same.
            Err(Trouble::Ended { .. }) if longest < pause_max => {
                let observed = format!(
                    "{}, with pauses of at most {}, was ended after {}.",
                    SPEAKER.what,
                    span(longest),
                    span(begin.elapsed())
                );
                return Err(SPEAKER.fault(observed, room.server));
            }
            Err(trouble) if longest < pause_max => return Err(SPEAKER.of(trouble, room.server)),
            Err(_) => {}
        }
    }
    Err(Stop::Needs("a machine with time: the client could not speak often enough".to_owned()))
}

/// Speaks at this pace; gives the longest pause as well.
fn spoken(room: &Room, pace: Duration) -> (Result<(), Trouble>, Duration) {
    let mut longest = Duration::ZERO;
    let mut play = || {
        // From before the connect: the server's clock starts in there.
        let mut last = Instant::now();
        let mut link = Link::new(room)?;
        for _ in 0..SPEAKS {
            let end = link.awaits_end(last + pace)?;
            longest = longest.max(last.elapsed());
            last = Instant::now();
            if let Some(end) = end {
                return Err(Trouble::Ended { came: 0, of: 0, end });
            }
            link.exchanges(LINE_BYTES)?;
        }
        Ok(())
    };
    let result = play();
    (result, longest)
}

/// A client that never reads is ended, with a FIN or a reset. The server has twice the patience,
/// because it may look at pending replies only now and then.
fn ends_stalled(stalled: &mut Link, room: &Room, full: Instant) -> Result<(), Stop> {
    let patience = room.patience * 2;
    let of = |trouble| STALLED.of(trouble, room.server);
    if stalled.awaits_end(full + patience).map_err(of)?.is_some() {
        return Ok(());
    }
    // A FIN that waits behind the replies is no event: only reading shows it.
    match stalled.catches_up() {
        Ok(()) => {}
        Err(Trouble::Ended { .. }) => return Ok(()),
        Err(trouble) => return Err(of(trouble)),
    }
    match stalled.awaits_end(Instant::now() + GRACE).map_err(of)? {
        Some(_) => Ok(()),
        None => {
            let what = STALLED.what;
            let observed = format!("{what} was still connected after {}.", span(patience));
            Err(STALLED.fault(observed, room.server))
        }
    }
}

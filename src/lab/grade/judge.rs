//! Judgement of one level: its outcome and the sentences about it, from plain values.

use std::net::SocketAddr;

use super::link::{End, Trouble};
use super::report::{LEVELS, LevelOutcome, LevelRow};
use crate::lab::words::{counted, span};

/// Why a level was failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    /// What was observed, a sentence.
    pub(super) observed: String,
    /// What to change, a sentence.
    pub(super) change: &'static str,
    /// A command that shows it again.
    pub(super) replay: String,
}

/// Why a level has no result, or a bad one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    Fault(Fault),
    /// It cannot be played here: this is needed.
    Needs(String),
    /// The run was interrupted.
    Interrupted,
}

/// What a level gives: nothing, or a remark.
pub(super) type Judged = Result<Option<String>, Stop>;

/// What a fault means: what the client did, what to change, how to replay it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// What the client did, such as "of a message in three pieces".
    pub(super) what: &'static str,
    /// What to change if the reply is not whole, or is late.
    pub(super) change: &'static str,
    /// The options behind `closecall`, with ADDR for the address, or a whole command line.
    pub(super) replay: &'static str,
}

impl Case {
    /// The fault that `trouble` is in this case.
    pub(super) fn of(self, trouble: Trouble, server: SocketAddr) -> Stop {
        let observed = match trouble {
            Trouble::Stopped => return Stop::Interrupted,
            Trouble::Ours(error) => {
                return Stop::Needs(format!("more open files or ports on this machine: {error}"));
            }
            trouble => format!("{}: {}.", self.what, said(&trouble)),
        };
        self.fault(observed, server)
    }

    /// The fault with these words.
    pub(super) fn fault(self, observed: String, server: SocketAddr) -> Stop {
        let replay = replay(self.replay, server);
        Stop::Fault(Fault { observed, change: self.change, replay })
    }
}

/// A command for this server.
fn replay(command: &str, server: SocketAddr) -> String {
    let host = server.ip().to_string();
    let command = command.replace("ADDR", &server.to_string());
    command.replace("HOST", &host).replace("PORT", &server.port().to_string())
}

/// What happened, in words.
fn said(trouble: &Trouble) -> String {
    let end = |end: &End| match end {
        End::Fin => "closed the connection",
        End::Reset => "reset the connection",
    };
    match trouble {
        Trouble::NoConnection(error) => format!("no connection: {error}"),
        Trouble::Silence { came: 0, time, .. } => {
            format!("no byte came back within {}", span(*time))
        }
        Trouble::Silence { came, of, time } if came == of => {
            format!("the whole reply came back, and no FIN within {}", span(*time))
        }
        Trouble::Silence { came, of, time } => {
            format!("{came} of {} came back, then none for {}", counted(*of, "byte"), span(*time))
        }
        Trouble::Ended { came, of, end: how } if came == of => {
            format!("the server {} after the whole reply", end(how))
        }
        Trouble::Ended { came, of, end: how } => {
            format!("the server {} after {came} of {}", end(how), counted(*of, "byte"))
        }
        Trouble::NoEcho { bytes } => {
            let came = counted(*bytes, "byte");
            format!("{came} came back, and they do not end with what was sent")
        }
        Trouble::Wrong { behind } => {
            format!(
                "after {} the next byte is not the one that was sent",
                counted(*behind, "right byte")
            )
        }
        Trouble::Ours(error) => error.to_string(),
        Trouble::Stopped => "interrupted".to_owned(),
    }
}

/// The row of level `level`, counted from 1.
pub(super) fn row(level: u8, stop: Result<Option<String>, Stop>) -> Option<LevelRow> {
    let name = LEVELS[usize::from(level) - 1].to_owned();
    let empty = LevelRow {
        level,
        name,
        outcome: LevelOutcome::Passed,
        observed: None,
        change: None,
        replay: None,
        note: None,
    };
    Some(match stop {
        Ok(note) => LevelRow { note, ..empty },
        Err(Stop::Interrupted) => return None,
        Err(Stop::Needs(needs)) => LevelRow {
            outcome: LevelOutcome::Skipped,
            observed: Some(format!("needs {needs}")),
            ..empty
        },
        Err(Stop::Fault(fault)) => LevelRow {
            outcome: LevelOutcome::Failed,
            observed: Some(fault.observed),
            change: Some(fault.change.to_owned()),
            replay: Some(fault.replay),
            ..empty
        },
    })
}

/// The row of a level that was not played, because of `why`.
pub(super) fn not_played(level: u8, why: &str) -> Option<LevelRow> {
    let played = row(level, Ok(None))?;
    Some(LevelRow { outcome: LevelOutcome::NotPlayed, observed: Some(why.to_owned()), ..played })
}

/// The levels passed in order from the first; one that was skipped is left out of the count.
pub(super) fn grade(rows: &[LevelRow]) -> u8 {
    let counted = rows.iter().filter(|row| row.outcome != LevelOutcome::Skipped);
    counted.take_while(|row| row.outcome == LevelOutcome::Passed).count() as u8
}

/// The grade of a server that passes all levels that were not skipped.
pub(super) fn highest(rows: &[LevelRow]) -> u8 {
    let skipped = rows.iter().filter(|row| row.outcome == LevelOutcome::Skipped).count();
    (LEVELS.len() - skipped) as u8
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;

    const CASE: Case = Case { what: "a long message", change: "Loop.", replay: "client ADDR" };

    fn server() -> SocketAddr {
        "127.0.0.1:7".parse().unwrap()
    }

    fn rows(outcomes: &str) -> Vec<LevelRow> {
        let outcome = |letter| match letter {
            'p' => row(1, Ok(None)),
            'f' => row(1, Err(CASE.fault(String::new(), server()))),
            's' => row(1, Err(Stop::Needs("--pid".to_owned()))),
            _ => not_played(1, "gone"),
        };
        outcomes.chars().map(|letter| outcome(letter).unwrap()).collect()
    }

    #[test]
    fn the_grade_counts_up_to_the_first_level_that_was_not_passed() {
        let grades = ["ppppppp", "fpppppp", "ppfpppp", "ppppppf", "pfnnnnn", "nnnnnnn"];
        assert_eq!(grades.map(|outcomes| grade(&rows(outcomes))), [7, 0, 2, 6, 1, 0]);
        assert_eq!(grades.map(|outcomes| highest(&rows(outcomes))), [7; 6]);
    }

    #[test]
    fn a_skipped_level_neither_counts_nor_ends_the_count() {
        assert_eq!((grade(&rows("pppppps")), highest(&rows("pppppps"))), (6, 6));
        assert_eq!((grade(&rows("pspppps")), highest(&rows("pspppps"))), (5, 5));
        assert_eq!((grade(&rows("pspfpps")), highest(&rows("pspfpps"))), (2, 5));
    }

    #[test]
    fn a_fault_says_what_was_observed_what_to_change_and_how_to_see_it_again() {
        let time = Duration::from_secs(12);
        let observed = |trouble| match CASE.of(trouble, server()) {
            Stop::Fault(fault) => {
                assert_eq!((fault.change, &*fault.replay), ("Loop.", "client 127.0.0.1:7"));
                fault.observed
            }
            stop => panic!("{stop:?}"),
        };
        let silence = |came, of| observed(Trouble::Silence { came, of, time });
        assert_eq!(silence(0, 64), "a long message: no byte came back within 12 s.");
        assert_eq!(silence(1, 64), "a long message: 1 of 64 bytes came back, then none for 12 s.");
        assert!(silence(64, 64).ends_with("the whole reply came back, and no FIN within 12 s."));
        let ended = |came, end| observed(Trouble::Ended { came, of: 64, end });
        assert!(
            ended(1, End::Fin).ends_with("the server closed the connection after 1 of 64 bytes.")
        );
        assert!(ended(64, End::Reset).ends_with("reset the connection after the whole reply."));
        let other = observed(Trouble::NoEcho { bytes: 64 });
        assert!(other.ends_with("64 bytes came back, and they do not end with what was sent."));
        let wrong = observed(Trouble::Wrong { behind: 1 });
        assert!(wrong.ends_with("after 1 right byte the next byte is not the one that was sent."));
    }

    #[test]
    fn what_is_not_the_servers_fault_is_no_fault() {
        assert_eq!(CASE.of(Trouble::Stopped, server()), Stop::Interrupted);
        let ours = CASE.of(Trouble::Ours(io::ErrorKind::OutOfMemory.into()), server());
        assert!(matches!(ours, Stop::Needs(_)), "{ours:?}");
        assert_eq!(row(1, Err(Stop::Interrupted)), None);
    }
}

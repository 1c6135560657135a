//! Scenarios against an external server, which the lab does not run.

use super::{Order, Play, Scenario};
use crate::client::Way;
use crate::machine::close::Kind;

/// How a scenario is played against an external server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Elsewhere {
    /// The client alone forces the order; these verdicts are correct.
    Forced(&'static [Kind]),
    /// Both sides run freely; these verdicts are correct.
    Race(&'static [Kind]),
    /// Not played; what it needs.
    Skip(&'static str),
}

const DELIVERED: &[Kind] = &[Kind::PeerFinDelivered];

/// The reset can come before the acknowledgement of the reply, or carry it.
const RESETS: &[Kind] = &[Kind::PeerResetReplyAcked, Kind::PeerResetReplyUndelivered];

/// The client's FIN can come before the server sends the reply, or after.
const SERVED: &[Kind] = &[Kind::PeerFinHalfCloseServed, Kind::PeerFinDelivered];

/// The client shuts down its side and closes with the reply unread, before the server's FIN or
/// after.
const DISCARDED: &[Kind] = &[
    Kind::PeerFinReplyDiscarded,
    Kind::PeerFinReplyRefused,
    Kind::PeerFinHalfCloseServed,
    Kind::PeerFinDelivered,
];

/// The client has closed before the reply, or the second one, arrives.
const REFUSED: &[Kind] = &[
    Kind::PeerFinReplyRefused,
    Kind::PeerResetReplyAcked,
    Kind::PeerResetReplyUndelivered,
    Kind::PeerResetBeforeReply,
];

/// The client's reset comes before the server sends the reply, while it is in flight, or after.
const RESET_AT_ONCE: &[Kind] =
    &[Kind::PeerResetBeforeReply, Kind::PeerResetReplyUndelivered, Kind::PeerResetReplyAcked];

impl Scenario {
    /// How the scenario is played against an external server.
    pub fn elsewhere(&self) -> Elsewhere {
        let way = match (self.play, self.order) {
            (Play::Skip { needs, .. }, _) => return Elsewhere::Skip(needs),
            (_, Order::ServerFirst) => return Elsewhere::Skip("a server that the lab can stop"),
            (Play::Way(Way::CloseAtOnce), Order::ClientFirst) => {
                return Elsewhere::Skip(
                    "a server that the lab runs itself; S3 race plays it in any order",
                );
            }
            // The client waits for the reply.
            (Play::Way(_), Order::ReplyFirst) => return Elsewhere::Forced(RESETS),
            (Play::Way(way), _) => way,
        };
        match way {
            Way::Close | Way::Killed => Elsewhere::Forced(DELIVERED),
            Way::CloseUnread
            | Way::CloseHalfRead
            | Way::Reset
            | Way::KilledUnread
            | Way::ShutDownRead => Elsewhere::Forced(RESETS),
            Way::CloseAtOnce | Way::CloseAtOnceTwo => Elsewhere::Race(REFUSED),
            Way::ResetAtOnce => Elsewhere::Race(RESET_AT_ONCE),
            Way::HalfClose | Way::HalfCloseDiscardLate | Way::HalfCloseFull => {
                Elsewhere::Forced(SERVED)
            }
            Way::HalfCloseDiscard | Way::ShutDownBoth => Elsewhere::Race(DISCARDED),
            Way::Probe => Elsewhere::Forced(&[Kind::PeerFinProbe]),
            Way::ProbeReset => Elsewhere::Forced(&[Kind::PeerResetProbe]),
            Way::Silent | Way::SilentReset => Elsewhere::Forced(&[Kind::TimeoutRead]),
            Way::CloseFull => Elsewhere::Forced(&[Kind::PeerResetReplyUndelivered]),
            Way::Stall => Elsewhere::Forced(&[Kind::TimeoutWriteStall]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;

    #[test]
    fn a_verdict_of_a_forced_order_is_also_correct_against_an_external_server() {
        for scenario in all() {
            match scenario.elsewhere() {
                Elsewhere::Forced(kinds) | Elsewhere::Race(kinds) => {
                    assert!(
                        scenario.verdicts.iter().all(|it| kinds.contains(it)),
                        "{}",
                        scenario.id
                    );
                }
                Elsewhere::Skip(needs) => assert_ne!(needs, ""),
            }
        }
    }
}

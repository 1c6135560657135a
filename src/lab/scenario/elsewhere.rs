//! What a scenario is against a server whose turns are its own.

use super::{Order, Play, Scenario};
use crate::client::Way;
use crate::machine::close::Kind;

/// How a scenario is played elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Elsewhere {
    /// The client alone forces the order; one of these verdicts is right.
    Forced(&'static [Kind]),
    /// Both run freely; one of these verdicts is right.
    Race(&'static [Kind]),
    /// Not played: what it needs.
    Skip(&'static str),
}

const DELIVERED: &[Kind] = &[Kind::PeerFinDelivered];

/// The reset can overtake the acknowledgement of the reply, or take it along.
const RESETS: &[Kind] = &[Kind::PeerResetReplyAcked, Kind::PeerResetReplyUndelivered];

/// Its FIN can come before the reply goes out, or after.
const SERVED: &[Kind] = &[Kind::PeerFinHalfCloseServed, Kind::PeerFinDelivered];

/// It shuts down its side and closes with the reply unread, in front of our FIN or behind it.
const DISCARDED: &[Kind] = &[
    Kind::PeerFinReplyDiscarded,
    Kind::PeerFinReplyRefused,
    Kind::PeerFinHalfCloseServed,
    Kind::PeerFinDelivered,
];

/// It is gone before the reply, or before the second one, comes.
const REFUSED: &[Kind] = &[
    Kind::PeerFinReplyRefused,
    Kind::PeerResetReplyAcked,
    Kind::PeerResetReplyUndelivered,
    Kind::PeerResetBeforeReply,
];

/// Its reset comes before the reply goes out, when it is under way, or after.
const RESET_AT_ONCE: &[Kind] =
    &[Kind::PeerResetBeforeReply, Kind::PeerResetReplyUndelivered, Kind::PeerResetReplyAcked];

impl Scenario {
    /// How it is played against a server whose turns are not ours.
    pub fn elsewhere(&self) -> Elsewhere {
        let way = match (self.play, self.order) {
            (Play::Skip { needs, .. }, _) => return Elsewhere::Skip(needs),
            (_, Order::ServerFirst) => return Elsewhere::Skip("a server that we can tell to stop"),
            (Play::Way(Way::CloseAtOnce), Order::ClientFirst) => {
                return Elsewhere::Skip("a server whose turns are ours; S3 race plays it freely");
            }
            // The reply is waited for.
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
    fn what_is_right_where_all_is_forced_is_right_elsewhere() {
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

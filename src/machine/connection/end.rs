//! The end of a connection: its evidence, and how its socket is closed.

use super::bits::Bit;
use super::{Connection, Goodbye, Phase};
use crate::machine::close::{Conclusion, Leftover, LocalCause, Observer, Probe};

impl Connection {
    /// Our FIN was sent and the verdict is not decided.
    pub fn is_settling(&self) -> bool {
        self.phase() == Phase::Settling
    }

    /// How its socket is to be closed.
    ///
    /// A reset is for peers from which nothing more is expected: a stalled reader, a connection
    /// beyond a limit, a peer that does not acknowledge our FIN. Elsewhere it could cut off a reply
    /// that a slow peer is still taking. And if output was not sent in full, a plain close would
    /// send a FIN and so claim that the reply was complete.
    pub fn goodbye(&self) -> Goodbye {
        if self.seen.has_error() {
            return Goodbye::Plain;
        }
        if !self.outbox.is_empty() {
            return Goodbye::Reset;
        }
        let Some(cause) = self.seen.cause() else { return Goodbye::Plain };
        let fin_received = self.seen.has_fin();
        // If the system does not report what is acknowledged, there is no reason for a reset.
        let owes_nothing = self.seen.owes_nothing();
        let plain = match cause {
            LocalCause::WriteDeadline | LocalCause::Policy | LocalCause::Resource => false,
            LocalCause::Close => true,
            LocalCause::ReadDeadline | LocalCause::MaxAge => {
                fin_received || owes_nothing || self.bits.has(Bit::MayNotWait)
            }
            LocalCause::Drain | LocalCause::CutOff => {
                fin_received || self.bits.has(Bit::MayNotWait)
            }
        };
        if plain { Goodbye::Plain } else { Goodbye::Reset }
    }

    /// How it ended: asks the system for the last time, in an order in which no evidence is lost.
    pub fn conclude(&mut self, probe: impl Probe) -> Conclusion {
        let leftover = self.leftover();
        self.seen.conclude_with(probe, leftover)
    }

    /// The results of calls and events so far.
    pub fn seen(&self) -> &Observer {
        &self.seen
    }

    pub(super) fn leftover(&self) -> Leftover {
        Leftover {
            unsent: self.outbox.len() as u64,
            reply_untouched: self.bits.has(Bit::ReplyUntouched),
            discarded: self.seen.rx().saturating_sub(self.answer_limit),
        }
    }
}

//! The verdict on a client connection of a run, with the server's classifier.
//!
//! The classifier is the same for both sides of a connection: "reply" is what we sent, a request
//! here. One ending exists only on a client: the connection ended because everything was received,
//! `local.done`.

use super::connection::{ClientConnection, Why};
use crate::machine::close::{Kind, Leftover, LocalCause, Probe};

/// The verdict on a connection that ended for this reason. For [`Why::Done`] the kernel is not
/// asked.
pub(super) fn verdict(connection: &mut ClientConnection, why: Why, probe: impl Probe) -> Kind {
    let cause = match why {
        Why::Done => return Kind::LocalDone,
        Why::Timeout => Some(LocalCause::ReadDeadline),
        Why::Mismatch => Some(LocalCause::Policy),
        Why::Interrupted => Some(LocalCause::Drain),
        Why::Server => None,
    };
    connection.seen.ends(cause);
    let leftover = Leftover {
        unsent: u64::from(connection.unsent),
        reply_untouched: connection.unsent > 0 && !connection.is_partly_sent(),
        discarded: 0,
    };
    connection.seen.conclude_with(probe, leftover).verdict.kind
}

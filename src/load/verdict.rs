//! How a connection of ours ended, in the words that the server has for its own.
//!
//! The classifier sees two ends and a wire between them, and does not care which of the two we are:
//! "reply" is what we sent, a request here. What a server never does is to end a connection because
//! it has all that it came for: that is `local.done`.

use super::connection::{ClientConnection, Why};
use crate::machine::close::{Kind, Leftover, LocalCause, Probe};

/// The verdict on a connection that ended for this reason. The system is not asked about one that
/// ended as it was to.
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

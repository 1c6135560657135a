//! How a connection of ours ended, in the words that the server has for its own.
//!
//! The classifier sees two ends and a wire between them, and does not care which of the two we are:
//! "reply" is what we sent, a request here. What a server never does is to end a connection because
//! it has all that it came for: that is `local.done`.

use super::connection::{Connection, Why};
use crate::machine::close::{Evidence, Kind, LocalCause, SocketFacts, classify};
use crate::machine::errno::System;

/// The verdict on a connection that ended for this reason. `facts` and `unacked` are what the
/// system says of its socket; nobody needs to ask where it ended as it was to.
pub(super) fn verdict(
    connection: &Connection,
    why: Why,
    probe: impl FnOnce() -> (SocketFacts, Option<u32>),
) -> Kind {
    let cause = match why {
        Why::Done => return Kind::LocalDone,
        Why::Timeout => Some(LocalCause::ReadDeadline),
        Why::Mismatch => Some(LocalCause::Policy),
        Why::Interrupted => Some(LocalCause::Drain),
        Why::Server => None,
    };
    let (facts, unacked) = probe();
    let fin_sent = connection.fin_sent;
    let unread = if connection.fin_received { Some(0) } else { facts.unread };
    let counted = facts.tcp.and_then(|tcp| tcp.bytes_received).zip(unread);
    let fin_received = match counted {
        _ if connection.fin_received => Some(true),
        // The FIN takes one place in the sequence, and TCP_INFO counts it as a byte.
        Some((received, unread)) => Some(received > connection.rx + u64::from(unread)),
        None => None,
    };
    let evidence = Evidence {
        cause,
        error: connection.error,
        fin_received,
        fin_sent,
        rx: connection.rx,
        tx: connection.tx,
        undelivered: unacked.map(|bytes| bytes.saturating_sub(u32::from(fin_sent))),
        fin_acknowledged: fin_sent && unacked == Some(0),
        unsent: u64::from(connection.unsent),
        reply_untouched: connection.unsent > 0 && !connection.is_partly_sent(),
        unread,
        retransmits: facts.tcp.map(|tcp| tcp.retransmits),
        probes: facts.tcp.map(|tcp| tcp.probes),
        ..Evidence::nothing(System::HERE)
    };
    classify(&evidence).kind
}

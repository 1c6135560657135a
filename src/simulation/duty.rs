//! What the loop owes one connection, as it can be seen from outside the loop.

use crate::machine::close::LocalCause;

/// The server's own doing, and since when the loop owes this connection what it owes.
#[derive(Debug)]
pub(super) struct Duty {
    /// The beginning of the present deadline, by the loop's own clock: the last look at the clock
    /// before the last byte, or progress, or our FIN.
    pub(super) since_us: u64,
    /// The last progress that the loop can have seen: never later than `since_us`.
    pub(super) progress_us: u64,
    /// When it was accepted, by the loop's clock.
    pub(super) accepted_us: u64,
    /// When our FIN went out, by the loop's clock.
    pub(super) shut_us: Option<u64>,
    /// The last acknowledgement that arrived: in true time if the loop slept, by its clock if it
    /// did not; and whether the loop has asked since.
    pub(super) acked_us: u64,
    pub(super) acks_seen: bool,
    /// The turn of the first send since then that took nothing, 0 for none: what lay in the socket
    /// can have been asked from that moment on.
    pub(super) blocked_turn: u64,
    /// The clock at the last call about this socket while it was alive, and the turn.
    pub(super) touched_us: u64,
    pub(super) touched_turn: u64,
    /// The place in its input at which answers end, once it was asked to leave and SIOCINQ was
    /// asked.
    pub(super) answers_until: Option<u64>,
    /// The place in its input up to which it had arrived when the drain began.
    pub(super) arrived_at_drain: u64,
    /// What the receives of its last turn were charged for, in bytes: something for each call.
    pub(super) moved_turn: u64,
    pub(super) moved_bytes: usize,
    /// The turn in which it is visited at the latest: each turn visits at least the first of each
    /// queue, so this counts the connections before it.
    pub(super) owed_until: Option<u64>,
    /// The evidence is being taken: what is asked now decides nothing.
    pub(super) concluding: bool,
    /// What stands in the queue of limits for it; `u64::MAX` for nothing.
    pub(super) limit_ms: u64,
    /// It was accepted or shut down when there was no room to wait for evidence.
    pub(super) may_not_wait: bool,
    /// Why we ended it, where we did; and whether its read deadline was over then.
    pub(super) cause: Option<LocalCause>,
    pub(super) silent: bool,
    /// Why it was asked to leave, where SIOCINQ was asked for that.
    pub(super) leaving: Option<LocalCause>,
    /// An event has told of its FIN or of an error.
    pub(super) hinted: bool,
    /// An event has told of its FIN, which was there.
    pub(super) fin_hinted: bool,
    /// Its end had begun when its evidence was taken: by its FIN, an error or a FIN of ours.
    pub(super) had_begun: bool,
    /// It was cut off by a second stop or by the end of the drain, and no event had told of an end.
    pub(super) cut_off: bool,
    pub(super) closed_turn: u64,
}

impl Duty {
    pub(super) fn new() -> Duty {
        Duty {
            since_us: 0,
            progress_us: 0,
            accepted_us: 0,
            shut_us: None,
            acked_us: 0,
            acks_seen: true,
            blocked_turn: 0,
            touched_us: 0,
            touched_turn: 0,
            answers_until: None,
            arrived_at_drain: 0,
            moved_turn: 0,
            moved_bytes: 0,
            owed_until: None,
            concluding: false,
            limit_ms: u64::MAX,
            may_not_wait: false,
            cause: None,
            silent: false,
            leaving: None,
            hinted: false,
            fin_hinted: false,
            had_begun: false,
            cut_off: false,
            closed_turn: 0,
        }
    }
}

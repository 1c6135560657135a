//! Table of all scenarios, in the order in which they are played.

use super::shapes::*;
use super::{Experiment, Order, Play, Scenario, Setting};
use crate::client::Way;
use crate::machine::close::Kind;

const fn row(id: &'static str, way: Way, verdicts: &'static [Kind], why: &'static str) -> Scenario {
    Scenario {
        id,
        experiment: None,
        play: Play::Way(way),
        order: Order::AsPlayed,
        setting: Setting::Shared,
        verdicts,
        fin: None,
        lost: Some(false),
        then: "",
        on_wire: ANY,
        why,
        same_as: None,
    }
}

const fn skip(
    id: &'static str,
    client: &'static str,
    needs: &'static str,
    verdicts: &'static [Kind],
    why: &'static str,
) -> Scenario {
    let play = Play::Skip { client, needs };
    Scenario { play, ..row(id, Way::Close, verdicts, why) }
}

const fn experiment(number: u8, found: &'static str, recv: &'static str) -> Option<Experiment> {
    Some(Experiment { number, found, recv })
}

const DELIVERED: &[Kind] = &[Kind::PeerFinDelivered];
const SERVED: &[Kind] = &[Kind::PeerFinHalfCloseServed];
/// Which comes last depends on the kernel: the client's FIN, or the acknowledgement of the reply.
const SERVED_FULL: &[Kind] = &[Kind::PeerFinHalfCloseServed, Kind::PeerFinDelivered];
const REFUSED: &[Kind] = &[Kind::PeerFinReplyRefused];
const ACKED: &[Kind] = &[Kind::PeerResetReplyAcked];
const REPLY_REFUSED: &str = "← 37 bytes → RST";
const RESET: &str = "-1 ECONNRESET";

/// What the lab does not have, and the test that does.
macro_rules! elsewhere {
    ($needs:literal) => {
        concat!($needs, "; `cargo test --test namespace` plays it (root)")
    };
}

const NAMESPACE: &str = elsewhere!("a network namespace");

const UNREAD: &str = "a close with unread bytes sends a reset; the reply had been acknowledged";
const CLOSE_UNREAD: Scenario = Scenario {
    fin: Some(false),
    on_wire: RESET_BEHIND_REPLY,
    ..row("S2", Way::CloseUnread, ACKED, UNREAD)
};
const AT_ONCE: Scenario = Scenario {
    order: Order::ClientFirst,
    fin: Some(true),
    lost: Some(true),
    then: REPLY_REFUSED,
    on_wire: REFUSED_REPLY,
    ..row(
        "S3 FIN first",
        Way::CloseAtOnce,
        REFUSED,
        "the client's FIN came first, and its kernel answered the reply with a reset",
    )
};

pub(super) const ALL: &[Scenario] = &[
    // ---- the article's ----
    Scenario {
        experiment: experiment(
            1,
            "Go on Windows: 'forcibly closed by the remote host', status 3",
            RESET,
        ),
        ..CLOSE_UNREAD
    },
    Scenario {
        id: "S2 recv loop",
        experiment: experiment(2, "C++ on Windows: recv = -1, 10054 (WSAECONNRESET)", RESET),
        same_as: Some("S2"),
        ..CLOSE_UNREAD
    },
    Scenario {
        id: "S2 Linux",
        experiment: experiment(3, "Go on Linux: 'connection reset by peer', status 3", RESET),
        same_as: Some("S2"),
        ..CLOSE_UNREAD
    },
    Scenario {
        experiment: experiment(4, "Go and C++, Linux and Windows: EOF, status 1", "0"),
        fin: Some(true),
        then: "← FIN",
        on_wire: ORDERLY,
        ..row("S1", Way::Close, DELIVERED, "the client sent a FIN, and everything was acknowledged")
    },
    Scenario {
        id: "S3 race",
        experiment: experiment(5, "Go on Linux: always EOF, status 1; on Windows 10053", "0"),
        order: Order::Race,
        setting: Setting::Own,
        verdicts: &[
            Kind::PeerFinReplyRefused,
            Kind::PeerResetReplyAcked,
            Kind::PeerResetReplyUndelivered,
        ],
        fin: None,
        lost: None,
        on_wire: RACED,
        why: "refused if the client's FIN came first, a reset if the reply did; never delivered",
        ..AT_ONCE
    },
    // ---- sends and closes at once, each order ----
    AT_ONCE,
    Scenario {
        order: Order::ReplyFirst,
        same_as: Some("S2"),
        fin: Some(false),
        on_wire: RESET_BEHIND_REPLY,
        ..row("S3 reply first", Way::CloseAtOnce, ACKED, "the reply was unread, as in S2")
    },
    Scenario {
        setting: Setting::Sips,
        order: Order::ClientFirst,
        fin: Some(true),
        lost: Some(true),
        then: REPLY_REFUSED,
        on_wire: REFUSED_REPLY_OF_TWO,
        ..row(
            "S3 pipelined",
            Way::CloseAtOnceTwo,
            REFUSED,
            "the second reply meets the reset that answered the first",
        )
    },
    // ---- resets, half-closes ----
    Scenario {
        same_as: Some("S2"),
        fin: Some(false),
        on_wire: RESET_BEHIND_REPLY,
        ..row("S4", Way::Reset, ACKED, "a reset; it does not show what the client had read")
    },
    Scenario {
        fin: Some(false),
        on_wire: RESET_BEHIND_REPLY,
        ..row("S5", Way::CloseHalfRead, ACKED, UNREAD)
    },
    Scenario {
        fin: Some(true),
        on_wire: SERVED_BEHIND_FIN,
        ..row(
            "S6",
            Way::HalfClose,
            SERVED,
            "the client's FIN came with its request, and the reply was acknowledged",
        )
    },
    Scenario {
        setting: Setting::Sips,
        fin: Some(true),
        on_wire: DISCARDED,
        ..row(
            "S6b",
            Way::HalfCloseDiscard,
            &[Kind::PeerFinReplyDiscarded],
            "a reset after the client's FIN, when the reply had been acknowledged",
        )
    },
    Scenario {
        same_as: Some("S6"),
        fin: Some(true),
        on_wire: SERVED_BEHIND_FIN,
        ..row("S6c", Way::HalfCloseDiscardLate, SERVED, "after both FINs a close sends nothing")
    },
    // ---- nothing is sent ----
    Scenario {
        order: Order::AcceptedFirst,
        fin: Some(true),
        then: "← FIN",
        on_wire: ORDERLY_AND_SILENT,
        ..row("S7", Way::Probe, &[Kind::PeerFinProbe], "a FIN, and no byte before it")
    },
    Scenario {
        order: Order::AcceptedFirst,
        fin: Some(false),
        on_wire: RESET_AND_SILENT,
        ..row("S7b", Way::ProbeReset, &[Kind::PeerResetProbe], "a reset, and no byte before it")
    },
    Scenario {
        order: Order::ClientFirst,
        same_as: Some("S7b"),
        fin: Some(false),
        on_wire: RESET_AND_SILENT,
        ..row(
            "S8",
            Way::ProbeReset,
            &[Kind::PeerResetProbe],
            "accept returns the connection although it is already reset",
        )
    },
    Scenario {
        order: Order::ClientFirst,
        fin: Some(false),
        on_wire: RESET_BEHIND_REQUEST,
        ..row(
            "S8b",
            Way::ResetAtOnce,
            &[Kind::PeerResetBeforeReply],
            "the server reads the request and cannot send the reply",
        )
    },
    Scenario {
        fin: Some(true),
        on_wire: ORDERLY,
        ..row(
            "S9",
            Way::Silent,
            &[Kind::TimeoutRead],
            "the read deadline passed; the server's FIN came first",
        )
    },
    // ---- killed ----
    Scenario {
        same_as: Some("S1"),
        fin: Some(true),
        then: "← FIN",
        on_wire: ORDERLY,
        ..row("S13a", Way::Killed, DELIVERED, "the kernel closes the socket of a killed process")
    },
    Scenario {
        same_as: Some("S2"),
        fin: Some(false),
        on_wire: RESET_BEHIND_REPLY,
        ..row("S13b", Way::KilledUnread, ACKED, "the kernel closes the socket of a killed process")
    },
    // ---- buffers are full ----
    Scenario {
        setting: Setting::Full,
        fin: Some(false),
        lost: Some(true),
        on_wire: FULL_AND_RESET,
        ..row(
            "S15",
            Way::CloseFull,
            &[Kind::PeerResetReplyUndelivered],
            "a reset, with bytes of the reply in flight",
        )
    },
    Scenario {
        setting: Setting::Filled,
        fin: Some(true),
        on_wire: FULL_AND_ORDERLY,
        ..row("S15b", Way::HalfCloseFull, SERVED_FULL, "the client's FIN waits behind its requests")
    },
    Scenario {
        same_as: Some("S2"),
        fin: Some(false),
        on_wire: RESET_BEHIND_REPLY,
        ..row("S16", Way::ShutDownRead, ACKED, "shutdown(SHUT_RD) puts nothing on the wire")
    },
    Scenario {
        order: Order::ClientFirst,
        same_as: Some("S3 FIN first"),
        fin: Some(true),
        lost: Some(true),
        then: REPLY_REFUSED,
        on_wire: REFUSED_REPLY,
        ..row(
            "S16b",
            Way::ShutDownBoth,
            REFUSED,
            "after SHUT_RDWR the client's kernel answers data with a reset",
        )
    },
    Scenario {
        lost: Some(true),
        on_wire: FULL_AND_GIVEN_UP,
        ..row(
            "S17",
            Way::Stall,
            &[Kind::TimeoutWriteStall],
            "the write deadline passed; the client's window stayed at zero",
        )
    },
    // ---- the server closes first ----
    Scenario {
        order: Order::ServerFirst,
        setting: Setting::Own,
        fin: Some(true),
        on_wire: ORDERLY,
        ..row(
            "S20",
            Way::Silent,
            &[Kind::LocalDrain],
            "the server's FIN came first, then the client's",
        )
    },
    Scenario {
        order: Order::ServerFirst,
        setting: Setting::Own,
        fin: Some(false),
        on_wire: RESET_BEHIND_OUR_FIN,
        ..row(
            "S20b",
            Way::SilentReset,
            &[Kind::LocalDrain],
            "the server's FIN came first; the later reset is in the evidence",
        )
    },
    // ---- not played here ----
    skip(
        "S1c",
        "reads the reply, closes; its FIN_WAIT2 ends before the server's FIN",
        elsewhere!("a minute in FIN_WAIT2"),
        DELIVERED,
        "a reset in answer to the server's FIN, when everything else was acknowledged",
    ),
    skip(
        "S10a",
        "vanishes with the reply in flight",
        NAMESPACE,
        &[Kind::TimeoutRetransmit],
        "no acknowledgement until the retransmissions end",
    ),
    skip(
        "S10b",
        "vanishes while idle",
        NAMESPACE,
        &[Kind::TimeoutKeepalive],
        "the keepalive probes are not answered",
    ),
    skip(
        "S10c",
        "restarts, and resets connections that it does not know",
        NAMESPACE,
        &[Kind::PeerResetStale],
        "a reset during retransmissions or probes",
    ),
    skip(
        "S10h",
        "vanishes after its FIN",
        NAMESPACE,
        &[Kind::PeerFinUnconfirmed],
        "a FIN, and the reply is not acknowledged",
    ),
    skip(
        "S11",
        "is unreachable, as a router reports",
        NAMESPACE,
        &[Kind::TimeoutUnreachable],
        "ICMP errors until the retransmissions end",
    ),
    Scenario {
        same_as: Some("S2"),
        ..skip(
            "S12",
            "is reset by a middlebox",
            NAMESPACE,
            ACKED,
            "looks like a reset by the client",
        )
    },
    skip(
        "S21",
        "is connected when a program on this machine runs ss -K",
        elsewhere!("ss -K of iproute2"),
        &[Kind::LocalKilled],
        "ECONNABORTED, and no FIN",
    ),
];

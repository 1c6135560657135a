//! Each row of the table, by a connection that ends so; and what holds for any connection.

use proptest::prelude::*;

use super::super::script::{judged, played};
use super::super::{Flags, Role, Segment, Seq};
use super::*;

const OPENS: &str = ">S <SA >A";

/// A connection to another port goes on for long: the capture does not end with the last segment.
const LATER: &str = "+600000";

fn of(script: &str, role: Role) -> OutsideVerdict {
    let mut seen = played(script);
    if script.ends_with(LATER) {
        let (at_ns, mut other) = *seen.last().unwrap();
        other.source.set_port(1);
        other.target.set_port(2);
        seen.push((at_ns + 600_000_000_000, other));
    }
    judged(&seen, role)[0]
}

#[track_caller]
fn ends(script: &str, name: &str, certainty: Certainty) -> OutsideVerdict {
    let verdict = of(script, Role::Server);
    assert_eq!((verdict.kind.name(), verdict.certainty), (name, certainty), "{script}");
    verdict
}

/// After a handshake.
#[track_caller]
fn goes(script: &str, name: &str, certainty: Certainty) -> OutsideVerdict {
    ends(&format!("{OPENS} {script}"), name, certainty)
}

#[test]
fn a_handshake_that_fails_is_told_by_its_end() {
    let refused = ends(">S <RA", "handshake.refused", Certain);
    assert_eq!((refused.status, refused.initiator), (3, Initiator::Local));
    assert_eq!(of(">S <RA", Role::Client).initiator, Initiator::Peer);
    ends(">S <SA <R", "handshake.refused", Certain);
    let abandoned = ends(">S <SA >r", "handshake.abandoned", Certain);
    assert_eq!((abandoned.status, abandoned.initiator), (1, Initiator::Peer));
    assert_eq!(of(">S <SA >r", Role::Client).initiator, Initiator::Local);
    ends(">S >R", "handshake.abandoned", Certain);
    let unanswered = ends(">#S +1000 >#again +2000 >#again", "handshake.unanswered", Certain);
    assert_eq!((unanswered.status, unanswered.initiator), (2, Initiator::Network));
    ends(&format!(">#S {LATER}"), "handshake.unanswered", Likely);
    let silent = ends(">S <#SA +1000 <#again", "handshake.abandoned", Likely);
    assert_eq!(silent.initiator, Initiator::Unknown);
    ends(&format!(">S <#SA {LATER}"), "handshake.abandoned", Likely);
    ends(">S", "open", Unknown);
    ends(">S <SA", "open", Unknown);
}

/// A reset that does not acknowledge the SYN is none.
#[test]
fn a_forged_refusal_is_not_believed() {
    goes("", "open", Unknown);
    ends(">S <X <SA >A >14 <37 >F <F >A", "peer_fin.delivered", Certain);
}

#[test]
fn our_resets_are_told_by_what_came_before() {
    goes(">A <K +1000 <K +1000 <K +1000 <R", "timeout.keepalive", Likely);
    goes(">14 <37 >A +60000 >14 <r", "local_reset.stale", Likely);
    goes("<R", "local_reset.before_reply", Certain);
    goes(">14 <R", "local_reset.before_reply", Certain);
    goes(">14 <37 >14 <A <R", "local_reset.unread", Likely);
    goes(">14 <37 >'14 <'R", "local_reset.unread", Likely);
    goes(">14 <37 >A <F >14 <r", "local_reset.unread", Likely);
    let aborted = goes(">14 <37 >A <R", "local_reset.aborted", Likely);
    assert_eq!((aborted.status, aborted.initiator), (3, Initiator::Local));
    goes(">14 <37 >F <R", "local_reset.aborted", Likely);
}

#[test]
fn resets_of_the_peer_are_told_by_its_fin_and_by_ours() {
    goes(">14 <37 >A <F >r", "local_fin.refused", Certain);
    goes(">14 <37 >A <F >F >R", "local_fin.refused", Certain);
    goes(">F >r", "peer_fin.probe", Certain);
    goes(">14 <37 >F +70000 <F >r", "peer_fin.delivered", Likely);
    goes(">14 <37 >F <F >r", "peer_fin.reply_discarded", Likely);
    goes(">14F <37 >A +70000 <F >r", "peer_fin.reply_discarded", Likely);
    goes(">14 >F <37 >r", "peer_fin.reply_refused", Certain);
    goes(">14 <37 >14 >F <37 >r", "peer_fin.reply_refused", Likely);
}

#[test]
fn resets_of_the_peer_alone_are_told_by_the_reply() {
    goes(">14 <#37 +200 <again >r", "peer_reset.stale", Likely);
    goes(">14 <37 >A +1000 <K >r", "peer_reset.stale", Likely);
    goes(">R", "peer_reset.probe", Certain);
    goes(">14 <37 >'r", "peer_reset.reply_undelivered", Likely);
    goes(">14 <37 >14 >Z >R", "peer_reset.reply_undelivered", Likely);
    goes(">14 >R", "peer_reset.before_reply", Certain);
    goes(">14 <37 >14 <A >R", "peer_reset.before_reply", Likely);
    goes(">14 <37 >A >R", "peer_reset.reply_acked", Certain);
    goes(">14 <37 >R", "peer_reset.reply_acked", Certain);
}

#[test]
fn two_fins_are_told_by_the_first() {
    goes(">F <F >A", "peer_fin.probe", Certain);
    goes(">14 <37 >F <F >A", "peer_fin.delivered", Certain);
    goes(">14 <37 >F <F", "peer_fin.delivered", Likely);
    goes(">14F <37 >A <F >A", "peer_fin.half_close_served", Certain);
    goes(">14 <37 >'F <F", "peer_fin.unconfirmed", Unknown);
    goes(">14 <37 >A <F >F <A", "local_fin.delivered", Certain);
    goes(">14 <37 >A <F >14 >F <A", "local_fin.half_close_served", Certain);
    goes(">14 <37 >A <F >'14 >F <A", "local_fin.delivered", Certain);
    goes(">14 <37 >A <F >'F <A >A", "local_fin.delivered", Likely);
    goes(">14 <37 >A >F <'F >A <A", "peer_fin.delivered", Likely);
    goes(">14 <37 <F >'F", "local_fin.unconfirmed", Unknown);
}

#[test]
fn one_fin_or_none_is_told_by_what_is_missing() {
    goes(">14 <37 >A <F >A", "local_fin.delivered", Likely);
    goes(">14 <37 >A <F", "local_fin.unconfirmed", Unknown);
    let vanished = format!(">14 <37 >A <#F +200 <again +400 <again {LATER}");
    assert_eq!(goes(&vanished, "local_fin.unconfirmed", Unknown).status, 2);
    let vanished = format!(">14 >F <#37 +200 <again +400 <again {LATER}");
    assert_eq!(goes(&vanished, "peer_fin.unconfirmed", Unknown).status, 2);
    goes(">14 >F <37", "open", Unknown);
    goes(">14 >F <37 >A", "open", Unknown);
    let retransmits = ">14 <#37 +200 <#again +400 <#again";
    goes(retransmits, "open", Unknown);
    goes(&format!("{retransmits} {LATER}"), "timeout.retransmit", Likely);
    goes(&format!(">14 <37 >A +1000 <K +1000 <K {LATER}"), "timeout.keepalive", Likely);
    goes(&format!(">14 <37 >A {LATER}"), "open", Unknown);
    goes("", "open", Unknown);
}

#[test]
fn what_was_seen_in_part_is_likely_at_most() {
    ends(">14 <37 >F <F >A", "peer_fin.delivered", Likely);
    ends(">~S <~SA >~A >14 <37 >F <F >A", "peer_fin.delivered", Likely);
    ends(">~S <SA >A >14 <37 >F <F >A", "peer_fin.delivered", Certain);
    goes(">14 <~37 >F <F >A", "peer_fin.delivered", Likely);
    ends(">S <~SA >A >14 <~37 >F <~F >A", "unseen", Unknown);
    ends("<SA", "unseen", Unknown);
    ends(">~S <~SA >~A >~14 <37 >~A <F", "unseen", Unknown);
    // A reset that its receiver need not accept, and the last word.
    goes(">14 <37 >A >X", "peer_reset.reply_acked", Likely);
    // And one that its receiver did not accept.
    goes(">14 <37 >A >X <A >14 <37 >F <F >A", "peer_fin.delivered", Certain);
}

/// The client's side of the same connections: what is ours there is the peer's here.
#[test]
fn the_other_side_has_the_mirror_image() {
    let client = |script: &str| {
        let verdict = of(&format!("{OPENS} {script}"), Role::Client);
        (verdict.kind.name(), verdict.certainty)
    };
    assert_eq!(client(">14 <37 >F <F >A"), ("local_fin.delivered", Certain));
    assert_eq!(client(">14 <37 >A <F >F <A"), ("peer_fin.delivered", Certain));
    assert_eq!(client(">14 <37 >A >R"), ("local_reset.unread", Likely));
    assert_eq!(client(">14 <R"), ("peer_reset.reply_acked", Certain));
    assert_eq!(client(">14 >F <37 >r"), ("local_reset.unread", Likely));
    assert_eq!(client(">14F <37 >A <F >A"), ("local_fin.half_close_served", Certain));
}

fn words() -> impl Strategy<Value = String> {
    let marks = proptest::sample::select(vec!["", "", "", "'", "#", "~", "'#"]);
    let whats = ["S", "SA", "A", "Z", "F", "14", "1", "14F", "again", "K", "R", "r", "RA", "X"];
    let what = proptest::sample::select(whats.to_vec());
    (any::<bool>(), marks, what).prop_map(|(is_client, marks, what)| {
        format!("{}{marks}{what}", if is_client { ">" } else { "<" })
    })
}

/// Any flags, numbers near to each other.
fn segments() -> impl Strategy<Value = Segment> {
    let number = prop_oneof![0_u32..50, (u32::MAX - 50)..=u32::MAX, any::<u32>()];
    (any::<bool>(), 0_u8..64, number.clone(), number, 0_u32..3000, 0_u16..2).prop_map(
        |(is_client, flags, seq, ack, payload_bytes, window)| {
            let (a, b) = (super::super::script::client(), super::super::script::server());
            let (source, target) = if is_client { (a, b) } else { (b, a) };
            let (seq, ack) = (Seq(seq), Seq(ack));
            let flags = Flags(flags);
            Segment { source, target, flags, seq, ack, window, scale: None, payload_bytes }
        },
    )
}

fn is_about_a_handshake(verdict: &OutsideVerdict) -> bool {
    verdict.kind.name().starts_with("handshake.")
}

proptest! {
    #[test]
    fn any_segments_have_verdicts_and_none_without_a_handshake_is_certain(
        seen in proptest::collection::vec((segments(), 0_u64..4_000_000_000), 0..40),
    ) {
        let mut at_ns = 0;
        let seen: Vec<_> = seen.into_iter().map(|(segment, pause_ns)| {
            at_ns += pause_ns;
            (at_ns, segment)
        }).collect();
        let has_syn_ack = seen.iter().any(|it| it.1.flags.has(Flags::SYN.with(Flags::ACK)));
        for role in [Role::Server, Role::Client] {
            for verdict in judged(&seen, role) {
                let may_be = has_syn_ack || is_about_a_handshake(&verdict);
                prop_assert!(may_be || verdict.certainty < Certain, "{:?}", verdict);
            }
        }
    }

    #[test]
    fn a_connection_in_any_disorder_has_a_verdict(
        words in proptest::collection::vec(words(), 1..30),
    ) {
        // Each end has sent something that it can repeat.
        let script = format!(">S <SA >A >14 <37 {}", words.join(" "));
        let seen = played(&script);
        let verdicts = judged(&seen, Role::Server);
        prop_assert!(!verdicts.is_empty(), "{}", script);
        // Without its beginning nothing of it is certain.
        let rest = played(&format!(">~S <~SA >~A >14 <37 {}", words.join(" ")));
        let is_new = |it: &(u64, Segment)| it.1.flags.has(Flags::SYN);
        for verdict in judged(&rest, Role::Server) {
            let may_be = rest.iter().any(is_new) || is_about_a_handshake(&verdict);
            prop_assert!(may_be || verdict.certainty < Certain, "{} {:?}", script, verdict);
        }
    }
}

//! Promise: a killed process ends its connections as its kernel ends them, and the verdict shows
//! it.
//!
//! These tests run one at a time: a child has, until its exec, a copy of every socket of
//! its parent, and a socket that another test closes in that moment is not closed yet.

use crate::alone;
use crate::common::{Bed, REPLY, error, said, succeeded};
use crate::sides::{OnStd, OnTokio, Reads, Side};
use closecall::client::{Client, Plan, Way};
use closecall::machine::close::{Certainty, Ending, Kind, Via};

#[test]
fn s13a_is_killed_with_nothing_unread() {
    let _alone = alone();
    let mut bed = Bed::new();
    assert_eq!(bed.plays(Way::Killed).kept(), REPLY);
    let ending = bed.ends_as(Kind::PeerFinDelivered);
    assert_eq!((said(&ending), error(&ending)), ((1, Certainty::Certain), None));
    assert_eq!(ending.evidence.fin_received, Some(true));
    assert!(ending.evidence.fin_sent && ending.evidence.fin_acknowledged);
    assert_eq!(ending.evidence.undelivered, Some(0));
}

#[test]
fn s13b_is_killed_with_the_reply_unread() {
    let _alone = alone();
    let mut bed = Bed::new();
    bed.plays(Way::KilledUnread);
    let ending = bed.ends_as(Kind::PeerResetReplyAcked);
    assert_eq!(said(&ending), (1, Certainty::Certain));
    assert_eq!(error(&ending), Some((libc::ECONNRESET, Via::Recv)));
    assert_eq!((ending.evidence.fin_received, ending.evidence.undelivered), (Some(false), Some(0)));
}

/// The ending of a client that is killed, by a server of one's own. It is here and not in the table
/// of `observed`, whose tests run beside each other.
fn kills<S: Side>(way: Way) -> Ending {
    let mut server = S::open(Reads::All, None);
    let holder = vec!["cat".into()];
    let plan = Plan { kept_bytes_max: usize::MAX, holder, ..Plan::new(server.address()) };
    let (mut client, _) = Client::connect(&plan).expect("the backlog has room");
    for &act in way.script() {
        succeeded(client.play_beside(act, Some(&mut || server.step())));
    }
    server.ending()
}

fn tells_of_a_killed_client<S: Side>() {
    let ending = kills::<S>(Way::Killed);
    assert_eq!(ending.verdict.kind, Kind::PeerFinDelivered, "S13a: {ending:#?}");
    assert_eq!((said(&ending), error(&ending)), ((1, Certainty::Certain), None));
    let ending = kills::<S>(Way::KilledUnread);
    assert_eq!(ending.verdict.kind, Kind::PeerResetReplyAcked, "S13b: {ending:#?}");
    assert_eq!(said(&ending), (1, Certainty::Certain));
    assert_eq!(error(&ending), Some((libc::ECONNRESET, Via::Recv)));
}

#[test]
fn s13_is_recognized_by_observed_streams() {
    let _alone = alone();
    tells_of_a_killed_client::<OnStd>();
    tells_of_a_killed_client::<OnTokio>();
}

//! Promise: a killed process ends its connections as its kernel ends them, and that is what is
//! told.
//!
//! These tests run one at a time: a child has, until its exec, a copy of every socket of
//! its parent, and a socket that another test closes in that moment is not closed yet.

use crate::alone;
use crate::common::{Bed, REPLY, error, said};
use closecall::client::Way;
use closecall::machine::close::{Certainty, Kind, Via};

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

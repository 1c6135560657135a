//! Promise: each ending is told apart. The client acts before the server looks, so every order here
//! is forced.

mod common;

use std::io::Write;
use std::net::Shutdown;

use closecall::machine::close::{Certainty, Kind, Via};
use common::{Bed, MESSAGE, REPLY, half_close, reset};

#[test]
fn s1_reads_the_reply_and_closes() {
    let mut bed = Bed::new();
    let mut client = bed.client();
    bed.echoes(&mut client);
    drop(client);
    let ending = bed.ends_as(Kind::PeerFinDelivered);
    assert_eq!((ending.verdict.status, ending.verdict.certainty), (1, Certainty::Certain));
    assert_eq!((ending.evidence.undelivered, ending.evidence.error), (Some(0), None));
    assert!(ending.evidence.fin_sent && ending.evidence.fin_received == Some(true));
}

#[test]
fn s2_closes_with_the_reply_unread() {
    let mut bed = Bed::new();
    let mut client = bed.client();
    client.write_all(MESSAGE).unwrap();
    bed.holds(&client, REPLY.len());
    drop(client);
    let ending = bed.ends_as(Kind::PeerResetReplyAcked);
    let error = ending.evidence.error.unwrap();
    assert_eq!((error.errno.0, error.via), (libc::ECONNRESET, Via::Recv));
    assert_eq!(ending.evidence.fin_received, Some(false));
}

#[test]
fn s3_sends_and_closes_at_once_with_the_fin_first() {
    let mut bed = Bed::new();
    let mut client = bed.client();
    client.write_all(MESSAGE).unwrap();
    drop(client);
    let ending = bed.ends_as(Kind::PeerFinReplyRefused);
    assert_eq!(ending.evidence.undelivered, Some(REPLY.len() as u32));
    assert_eq!(ending.verdict.certainty, Certainty::Certain);
}

#[test]
fn s4_resets_after_reading_everything() {
    let mut bed = Bed::new();
    let mut client = bed.client();
    bed.echoes(&mut client);
    reset(client);
    bed.ends_as(Kind::PeerResetReplyAcked);
}

#[test]
fn s6_half_closes_and_reads_the_rest() {
    let mut bed = Bed::new();
    let mut client = bed.client();
    client.write_all(MESSAGE).unwrap();
    half_close(&client);
    assert_eq!(bed.reads_to_end(&mut client).unwrap(), REPLY);
    drop(client);
    bed.ends_as(Kind::PeerFinHalfCloseServed);
}

#[test]
fn s7_connects_and_closes() {
    let mut bed = Bed::new();
    drop(bed.client());
    bed.ends_as(Kind::PeerFinProbe);
}

#[test]
fn s7b_connects_and_resets() {
    let mut bed = Bed::new();
    let client = bed.client();
    bed.accepts(1);
    reset(client);
    bed.ends_as(Kind::PeerResetProbe);
}

#[test]
fn s8_resets_before_accept() {
    let mut bed = Bed::new();
    let client = bed.client();
    let address = client.local_addr().unwrap();
    reset(client);
    let ending = bed.ends_as(Kind::PeerResetProbe);
    assert_eq!(ending.peer, address, "the address comes from accept: getpeername would fail");
}

#[test]
fn s8b_sends_and_resets_before_accept() {
    let mut bed = Bed::new();
    let mut client = bed.client();
    client.write_all(MESSAGE).unwrap();
    reset(client);
    let ending = bed.ends_as(Kind::PeerResetBeforeReply);
    assert_eq!((ending.evidence.unsent, ending.evidence.tx), (REPLY.len() as u64, 0));
    assert_eq!(ending.evidence.error.unwrap().via, Via::Send);
}

#[test]
fn s16b_shuts_down_both_ways() {
    let mut bed = Bed::new();
    let mut client = bed.client();
    client.write_all(MESSAGE).unwrap();
    client.shutdown(Shutdown::Both).unwrap();
    bed.ends_as(Kind::PeerFinReplyRefused);
}

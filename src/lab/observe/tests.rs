//! Tests of the close log reader: lines are found by port, length, time and number.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use super::tail::LINE_BYTES_MAX;
use super::*;

static NEVER: AtomicBool = AtomicBool::new(false);

/// A file of this test's own, and its reader, which waits for nothing.
fn log(name: &str) -> (File, CloseLog) {
    let file = format!("closecall-observe-{name}-{}", std::process::id());
    let path: PathBuf = std::env::temp_dir().join(file);
    fs::write(&path, line(1, "peer_fin.probe")).unwrap();
    let writer = OpenOptions::new().append(true).open(&path).unwrap();
    let mut reader = CloseLog::open(&path, Duration::ZERO, &NEVER).unwrap();
    reader.opened = reader.opened.checked_sub(2 * LOOK_OUT).unwrap();
    fs::remove_file(path).unwrap(); // both have it open
    (writer, reader)
}

/// What a connection is that has a line.
struct Ended {
    id: u64,
    port: u16,
    verdict: &'static str,
    rx: u64,
    began_ms: u64,
}

/// By the server's clock.
const BEGAN_MS: u64 = 1_795_374_000_000;

impl Ended {
    fn line(&self) -> String {
        let Ended { id, port, verdict, rx, began_ms } = *self;
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(began_ms + 12);
        let time = jiff::Timestamp::try_from(time).unwrap();
        format!(
            r#"{{"time":"{time:.3}","id":{id},"peer":"192.0.2.1:{port}","local":null,"verdict":"{verdict}","status":1,"initiator":"peer","certainty":"certain","errno":null,"via":null,"fin_received":true,"fin_sent":true,"rx":{rx},"discarded":0,"tx":37,"undelivered":0,"unsent":0,"unread":0,"retransmits":0,"probes":0,"duration_ms":12,"verdict_wait_ms":0}}"#
        ) + "\n"
    }
}

fn ended(rx: u64, began_ms: u64) -> Ended {
    Ended { id: rx + 1, port: 7, verdict: "timeout.read", rx, began_ms: BEGAN_MS + began_ms }
}

fn line(port: u16, verdict: &'static str) -> String {
    Ended { id: port.into(), port, verdict, rx: 14, began_ms: BEGAN_MS }.line()
}

fn write(mut file: &File, lines: &[Ended]) {
    let text: String = lines.iter().map(Ended::line).collect();
    file.write_all(text.as_bytes()).unwrap();
}

/// A connection of ours from `port`, which sent one message of `sent` bytes at 0 ms.
fn ours(port: u16, sent: u64) -> Ours {
    let connected = SystemTime::UNIX_EPOCH + Duration::from_millis(BEGAN_MS);
    let peer = SocketAddr::from(([127, 0, 0, 1], port));
    Ours { peer, connected, closed: connected, message: sent.max(14), sent }
}

fn direct(log: &mut CloseLog, port: u16) -> Result<Kind, String> {
    let told = log.direct(&ours(port, 14));
    told.map(|(_, told)| told.kind).map_err(|why| why.to_string())
}

/// The verdict for a connection through a proxy that sent `sent` bytes. The clock is known.
fn through(log: &mut CloseLog, sent: u64) -> Result<u64, Untold> {
    log.skew_ms = Some(0);
    log.through(&ours(7, sent)).map(|told| told.evidence.rx.unwrap())
}

#[track_caller]
fn assert_unclear(told: Result<u64, Untold>) {
    assert!(matches!(told, Err(Untold::Unclear(_))), "{told:?}");
}

#[track_caller]
fn assert_no_line(told: Result<u64, Untold>) {
    assert!(matches!(told, Err(Untold::NoLineYet(_))), "{told:?}");
}

// ---- the direct way -----------------------------------------------------------------------------

#[test]
fn lines_are_joined_by_port_and_each_once_and_old_ones_not_at_all() {
    let (mut file, mut log) = log("port");
    let text = line(7, "peer_fin.delivered") + &line(8, "peer_reset.reply_acked");
    file.write_all(text.as_bytes()).unwrap();
    assert_eq!(direct(&mut log, 8), Ok(Kind::PeerResetReplyAcked));
    assert_eq!(direct(&mut log, 7), Ok(Kind::PeerFinDelivered));
    assert!(direct(&mut log, 1).is_err(), "it was there before");
    let missing = "no close log line with port 7 within 0 ms";
    assert_eq!(direct(&mut log, 7).unwrap_err(), missing);
    let no_more = "the close log no longer has lines of the lab's connections";
    assert_eq!(direct(&mut log, 7).unwrap_err(), no_more, "and a third one is not waited for");
}

/// A close log can also hold what was seen from outside. No connection is found by that.
#[test]
fn a_line_without_the_facts_of_the_program_is_none() {
    for known in ["\"rx\":14", "\"tx\":37", "\"duration_ms\":12", "\"fin_sent\":true"] {
        let (mut file, mut log) = log("outside");
        let text = line(7, "peer_fin.delivered");
        assert!(text.contains(known), "{text}");
        let name = known.split_once(':').unwrap().0;
        file.write_all(text.replace(known, &format!("{name}:null")).as_bytes()).unwrap();
        let untold = direct(&mut log, 7).unwrap_err();
        assert!(untold.contains("lines that are not close log records: 1"), "{untold}");
    }
}

/// Another client can have had the same port a moment ago.
#[test]
fn a_line_with_our_port_that_began_before_our_connect_is_anothers() {
    let (file, mut log) = log("before");
    log.skew_ms = Some(0);
    write(&file, &[ended(14, 0)]);
    let later = SystemTime::UNIX_EPOCH + Duration::from_millis(BEGAN_MS + 1_000);
    let late = Ours { connected: later, closed: later, ..ours(7, 14) };
    assert!(log.direct(&late).is_err());
    assert!(log.direct(&ours(7, 13)).is_err(), "and one with more bytes");
    assert!(log.direct(&ours(7, 14)).is_ok());
}

#[test]
fn the_clock_of_the_server_is_learnt_from_the_direct_way() {
    let (file, mut log) = log("clock");
    // An hour behind.
    let began_ms = BEGAN_MS - 3_600_000;
    write(&file, &[Ended { began_ms, ..ended(14, 0) }]);
    assert!(log.direct(&ours(7, 14)).is_ok());
    write(&file, &[Ended { began_ms, id: 9, ..ended(15, 0) }]);
    assert_eq!(log.through(&ours(7, 15)).unwrap().evidence.rx, Some(15));
}

// ---- behind a proxy -----------------------------------------------------------------------------

#[test]
fn the_line_with_the_length_that_was_sent_is_ours() {
    let (file, mut log) = log("length");
    write(&file, &[ended(18, 1), ended(0, 1), ended(20, 1), ended(19, 1)]);
    assert_eq!(through(&mut log, 20), Ok(20));
    assert_no_line(through(&mut log, 21)); // none of those that sent less
}

/// HAProxy asks its servers every two seconds how they are.
#[test]
fn a_health_check_is_not_taken_for_a_client_that_sends_nothing() {
    let (file, mut log) = log("check");
    write(&file, &[ended(0, 1)]);
    assert_eq!(through(&mut log, 0), Ok(0), "the only one");
    write(&file, &[Ended { id: 2, ..ended(0, 1) }, Ended { id: 3, ..ended(0, 2) }]);
    assert_unclear(through(&mut log, 0));
    log.clear();
    write(&file, &[Ended { id: 4, ..ended(0, 1) }]);
    assert_unclear(through(&mut log, 0)); // others were seen that send as little
}

#[test]
fn a_candidate_outside_of_the_window_is_not_ours() {
    let (file, mut log) = log("window");
    write(&file, &[Ended { began_ms: BEGAN_MS - 1_000, ..ended(20, 0) }, ended(0, 5_000)]);
    assert_no_line(through(&mut log, 20));
    assert_no_line(through(&mut log, 0));
}

#[test]
fn a_line_that_comes_late_does_not_spoil_the_next_row() {
    let (file, mut log) = log("late");
    assert_no_line(through(&mut log, 20));
    write(&file, &[ended(20, 0)]);
    assert_eq!(log.clear(), Some(21));
    write(&file, &[ended(22, 0)]);
    assert_eq!(through(&mut log, 22), Ok(22));
}

#[test]
fn of_a_client_that_fills_buffers_the_only_long_line_is_taken() {
    let (file, mut log) = log("fills");
    let filled = Ours { message: 14, ..ours(7, 1 << 20) };
    log.skew_ms = Some(0);
    write(&file, &[ended(0, 1), ended(18, 1), ended(9_999, 1)]);
    assert_eq!(log.through(&filled).unwrap().evidence.rx, Some(9_999));
    write(&file, &[ended(1 << 20, 1), Ended { id: 5, ..ended(10_000, 1) }]);
    assert_eq!(log.through(&filled).unwrap().evidence.rx, Some(1 << 20), "all of it");
}

#[test]
fn that_all_numbers_have_lines_is_known() {
    let (file, mut log) = log("numbers");
    let [first, second] = [3, 4].map(|id| Ended { id, ..ended(14, 0) });
    write(&file, &[second, Ended { id: 6, ..ended(14, 0) }, first]);
    assert_eq!(log.clear(), Some(6));
    assert!(log.has_all_between(2, 5) && log.has_all_between(3, 4));
    assert!(!log.has_all_between(4, 7) && !log.has_all_between(6, 6));
    write(&file, &[Ended { id: 3, ..ended(14, 0) }]);
    log.clear();
    assert!(!log.has_all_between(2, 5), "the numbers are those of several servers");
}

// ---- what is in the file ------------------------------------------------------------------------

#[test]
fn a_line_counts_when_it_is_whole() {
    let (mut file, mut log) = log("whole");
    let text = line(7, "peer_fin.delivered");
    let (begin, end) = text.split_at(40);
    file.write_all(begin.as_bytes()).unwrap();
    assert!(direct(&mut log, 7).is_err());
    file.write_all(end.as_bytes()).unwrap();
    assert!(direct(&mut log, 7).is_ok());
}

#[test]
fn an_emptied_file_begins_anew() {
    let (mut file, mut log) = log("emptied");
    file.write_all(line(7, "peer_fin.delivered").as_bytes()).unwrap();
    assert!(direct(&mut log, 7).is_ok());
    file.set_len(0).unwrap();
    file.write_all(line(8, "peer_fin.delivered").as_bytes()).unwrap();
    assert!(direct(&mut log, 8).is_ok());
}

#[test]
fn what_is_no_line_of_a_close_log_is_counted_and_a_new_verdict_is_named() {
    let (mut file, mut log) = log("strange");
    let text = "not even JSON\n{}\n".to_owned() + &line(7, "peer_fin.brand_new");
    file.write_all(text.as_bytes()).unwrap();
    assert!(direct(&mut log, 7).unwrap_err().contains("\"peer_fin.brand_new\""));
    assert!(
        direct(&mut log, 7).unwrap_err().ends_with("; lines that are not close log records: 2")
    );
}

/// It may come from anywhere, and what it says is shown on a terminal.
#[test]
fn words_that_are_none_are_no_line() {
    let (mut file, mut log) = log("escapes");
    let evil = line(7, "timeout.read").replace("certain", "\\u001b[2Jcertain");
    file.write_all(evil.as_bytes()).unwrap();
    assert!(
        direct(&mut log, 7).unwrap_err().ends_with("; lines that are not close log records: 1")
    );
}

#[test]
fn a_line_without_an_end_is_dropped() {
    let (mut file, mut log) = log("endless");
    file.write_all(&vec![0; 3 * LINE_BYTES_MAX]).unwrap();
    assert!(direct(&mut log, 7).is_err() && log.tail.begun.is_empty());
}

#[cfg(unix)]
#[test]
fn a_file_that_was_put_aside_is_followed_by_its_successor() {
    let (_, mut log) = log("aside");
    fs::write(&log.tail.path, line(8, "timeout.read")).unwrap();
    assert!(direct(&mut log, 8).is_ok());
    fs::remove_file(&log.tail.path).unwrap();
}

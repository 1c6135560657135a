//! Promise: `closecall client` ends its connection in the chosen way, prints each step and its
//! result, and never hangs.
#![cfg(all(target_os = "linux", feature = "cli"))]

#[path = "../common/mod.rs"]
mod common;
mod others;
#[path = "../common/process.rs"]
mod process;
mod refusals;
#[path = "../common/truth.rs"]
mod truth;

use std::net::SocketAddr;

use closecall::client::Way;
use closecall::machine::close::Kind::{self, *};
use serde_json::Value;

use process::{Process, closecall};

/// A server that writes its close log to stdout.
fn serve(options: &[&str]) -> Process {
    let base = ["serve", "--listen", "127.0.0.1:0", "--close-log", "-"];
    Process::start(closecall(&[&base, options].concat()))
}

/// `closecall client` with this server and these options.
fn client(server: SocketAddr, options: &[&str]) -> Process {
    Process::start(closecall(&[&["client", &server.to_string()], options].concat()))
}

/// What it said on stdout, when it is over and all went well.
#[track_caller]
fn told(mut client: Process) -> String {
    let (code, said, stderr) = (client.exit_code(), client.stdout.text(), client.stderr.text());
    assert_eq!((code, stderr.as_str()), (0, ""), "{said}");
    said
}

/// What it did, line by line, without the times.
fn steps(said: &str) -> Vec<String> {
    let mut times = Vec::new();
    let step = |line: &str| {
        let (time, rest) = line.split_once(" ms ").expect(line);
        times.push(time.trim().parse::<f64>().expect(line));
        rest.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let steps = said.lines().skip(1).map(step).collect();
    assert!(times.is_sorted(), "{said}");
    steps
}

/// The address that it says it is connected from.
fn address(said: &str) -> &str {
    let behind = said.split("connected from ").nth(1).expect(said);
    behind.split_whitespace().next().expect(said)
}

/// The record of the connection from `peer` in the server's close log.
#[track_caller]
fn record(server: &Process, peer: &str) -> Value {
    let peer = format!("\"peer\":\"{peer}\"");
    let log = server.stdout.wait_for(&peer);
    serde_json::from_str(log.lines().find(|line| line.contains(&peer)).unwrap()).unwrap()
}

/// What may be said of the ways that are too slow, or too heavy, for the race in `truth`.
const MORE: &[(Way, &[Kind])] = &[
    (Way::HalfCloseDiscardLate, &[PeerFinHalfCloseServed, PeerFinDelivered]),
    (Way::Silent, &[TimeoutRead]),
    (Way::SilentReset, &[TimeoutRead]),
    (Way::Killed, &[PeerFinDelivered]),
    (Way::KilledUnread, &[PeerResetReplyAcked, PeerResetReplyUndelivered]),
    (Way::CloseFull, &[PeerResetReplyUndelivered]),
    // Its FIN is behind its requests: whether the last reply is out by then is up to the buffers.
    (Way::HalfCloseFull, &[PeerFinHalfCloseServed, PeerFinDelivered]),
    // A race, as for a half-close that discards the reply: the reply can be there before its FIN.
    (
        Way::ShutDownBoth,
        &[PeerFinReplyRefused, PeerFinReplyDiscarded, PeerFinHalfCloseServed, PeerFinDelivered],
    ),
    (Way::Stall, &[TimeoutWriteStall]),
];

fn may_be(way: Way) -> &'static [Kind] {
    let raced = truth::ROWS.iter().filter(|row| !row.long).map(|row| (row.way, row.may_be));
    let mut rows = raced.chain(MORE.iter().copied());
    rows.find(|row| row.0 == way).unwrap_or_else(|| panic!("{way:?} is in no table")).1
}

/// Nothing is forced here: both are programs that run freely. Where that is a race, several
/// verdicts are right.
#[test]
fn each_way_of_ending_is_told_as_what_it_is() {
    let patient = serve(&[]);
    let hasty = serve(&["--read-deadline", "1s", "--write-deadline", "2s"]);
    for way in Way::all() {
        let waits_for_us = matches!(way, Way::Silent | Way::SilentReset | Way::Stall);
        let server = if waits_for_us { &hasty } else { &patient };
        let said = told(client(server.address(), &["--end", way.name()]));
        let opening = format!("{} ({}): {}\n", way.name(), way.scenario(), way.says());
        assert!(said.starts_with(&opening), "{said}");
        let record = record(server, address(&said));
        let verdict = record["verdict"].as_str().unwrap();
        let names: Vec<_> = may_be(way).iter().map(|kind| kind.name()).collect();
        assert!(names.contains(&verdict), "{record}\n{said}");
        // What it expected on the wire is what the server saw.
        let fin = said.contains("→ FIN");
        assert!(record["fin_received"] == fin || is_race(way), "{record}\n{said}");
    }
}

/// What arrives between its last look and its close changes what that puts on the wire.
fn is_race(way: Way) -> bool {
    matches!(way, Way::CloseAtOnce | Way::CloseAtOnceTwo)
}

#[test]
fn a_timeline_tells_what_was_done_and_what_goes_over_the_wire() {
    let server = serve(&[]);
    let said = told(client(server.address(), &[]));
    assert_eq!(
        steps(&said),
        [
            &format!("connected from {} → SYN ← SYN → ACK", address(&said)),
            "sent 14 bytes \"Hi,here is glp\" → 14 bytes",
            "read 37 bytes \"from server back[rust]:Hi,here is glp\" ← 37 bytes",
            "closed → FIN",
        ]
    );
    let said = told(client(server.address(), &["--end", "close-half-read", "--wait", "3ms"]));
    assert_eq!(
        steps(&said)[2..],
        ["read 19 of 37 bytes ← 37 bytes", "waited 3 ms", "closed, 18 bytes unread → RST"]
    );
    let said = told(client(server.address(), &["--end", "half-close"]));
    assert_eq!(
        steps(&said)[2..],
        [
            "shut down the writing side → FIN",
            "read 37 bytes, then the server's FIN ← 37 bytes ← FIN",
            "closed"
        ]
    );
    let said = told(client(server.address(), &["--end", "killed-unread"]));
    assert_eq!(
        steps(&said)[2..],
        ["received the reply, 37 bytes, unread ← 37 bytes", "was killed, 37 bytes unread → RST"]
    );
}

#[test]
fn what_is_sent_and_where_from_is_a_choice() {
    let server = serve(&[]);
    let said = told(client(server.address(), &["--message", "Grüße\n", "--source", "127.0.0.77"]));
    assert!(said.contains("sent 8 bytes \"Gr\\xc3\\xbc\\xc3\\x9fe\\n\""), "{said}");
    assert!(address(&said).starts_with("127.0.0.77:"), "{said}");
    assert_eq!(record(&server, address(&said))["rx"], 8);
}

/// A reply is known as one however the server cuts it.
#[test]
fn a_reply_may_come_in_any_pieces() {
    let long = "0123456789abcdef".repeat(4096);
    for (options, message) in [
        (&["--read-buffer", "7"][..], long.as_str()),
        (&["--read-buffer", "1"], "Hi,here is glp"),
        (&["--framing", "line"], "one\n\ntwo\nthree"),
        (&["--framing", "raw"], &long),
        (&["--prefix", "aa"], "aaa"),
    ] {
        let server = serve(options);
        // A long one does not lie in the queue as a whole.
        let ways = ["close", "close-unread", "half-close-discard-late"];
        for way in &ways[..if options.contains(&"7") { 1 } else { 3 }] {
            let options = ["--message", message, "--end", way];
            let said = told(client(server.address(), &options));
            let tx = record(&server, address(&said))["tx"].as_u64().unwrap();
            let seen = said.lines().find(|line| line.contains("←") && !line.contains("SYN"));
            assert!(seen.unwrap().ends_with(&format!("← {tx} bytes")), "{tx} sent: {said}");
        }
    }
}

#[test]
fn many_are_summed_up() {
    let mut server = serve(&[]);
    let said = told(client(server.address(), &["--count", "25", "--end", "reset"]));
    let (summary, time) = said.rsplit_once("; ").unwrap();
    assert_eq!(
        summary,
        "reset (S4): 25 of 25 connections, 25 as planned, 0 failed; sent 350 bytes, read 925"
    );
    assert!(time.trim_end().strip_suffix(" s").unwrap().parse::<f64>().is_ok(), "{said}");
    server.stdout.wait_until(|log| log.matches('\n').count() == 26);
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    assert!(server.stderr.text().contains("accepted"), "{}", server.stderr.text());
}

#[test]
fn ipv6_is_as_good() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        #[allow(clippy::print_stderr)] // for the person that runs the tests
        let () = eprintln!("skipped: needs IPv6");
        return;
    }
    let server = serve(&["--listen", "[::1]:0"]);
    let said = told(client(server.addresses(2)[1], &["--source", "::1"]));
    assert_eq!(record(&server, address(&said))["verdict"], "peer_fin.delivered");
}

#[test]
fn all_ways_are_listed_with_a_line_each() {
    let list = told(Process::start(closecall(&["client", "--end", "list"])));
    let names: Vec<_> = list.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, Way::all().map(Way::name).collect::<Vec<_>>());
    assert!(list.contains("close-unread             S2    waits, closes with the reply unread\n"));
}

/// It ended the process, and of many connections nothing was told.
#[test]
fn an_interrupt_leaves_what_happened_so_far() {
    let server = serve(&["--read-deadline", "off"]);
    let mut one = client(server.address(), &["--end", "silent"]);
    one.stdout.wait_for("read 37 bytes");
    one.signal("INT");
    assert_eq!(one.exit_code(), 1);
    let said = one.stdout.text();
    assert!(said.contains("wait for the server's end: interrupted"), "{said}");
    assert!(said.trim_end().ends_with("→ FIN"), "it closes: {said}");
    assert_eq!(one.stderr.text(), "closecall: interrupted; the connection is closed\n");

    let mut many = client(server.address(), &["--end", "silent", "--count", "4000000000"]);
    many.wait_for_sigint_handler();
    many.signal("INT");
    assert_eq!(many.exit_code(), 1);
    assert!(many.stderr.text().contains(" of 4,000,000,000 connections"), "{}", many.stderr.text());
    assert!(many.stdout.text().starts_with("silent (S9): "), "{}", many.stdout.text());
}

//! Promise: `closecall read` reports each connection of a capture in each of its formats, and says
//! in one line what it could not read.
#![cfg(all(unix, feature = "cli"))]

use std::fs;
use std::path::PathBuf;

use closecall::Record;
use etherparse::{PacketBuilder, TcpHeader};
use serde_json::Value;

use crate::process::{Process, closecall, closecall_after};
use crate::refusals::{refusal, usage};
use crate::schema::validator;

/// A segment of the story below: from the client or not, flags, place, acknowledgement, bytes.
type Step = (bool, &'static str, u32, u32, usize);

/// A client that has its reply and closes, and the last acknowledgement.
const DELIVERED: [Step; 8] = [
    (true, "S", 0, 0, 0),
    (false, "SA", 0, 1, 0),
    (true, "A", 1, 1, 0),
    (true, "A", 1, 1, 14),
    (false, "A", 1, 15, 37),
    (true, "FA", 15, 38, 0),
    (false, "FA", 38, 16, 0),
    (true, "A", 16, 39, 0),
];

/// No program listens.
const REFUSED: [Step; 2] = [(true, "S", 0, 0, 0), (false, "RA", 0, 1, 0)];

fn frame(client_port: u16, (from_client, flags, seq, ack, bytes): Step) -> Vec<u8> {
    let (client, server) = (([192, 0, 2, 1], client_port), ([192, 0, 2, 2], 80));
    let (source, target) = if from_client { (client, server) } else { (server, client) };
    let mut header = TcpHeader::new(source.1, target.1, seq, 512);
    header.acknowledgment_number = ack;
    let has = |flag| flags.contains(flag);
    (header.syn, header.ack, header.fin, header.rst) = (has('S'), has('A'), has('F'), has('R'));
    let begin = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(source.0, target.0, 64);
    let mut frame = Vec::new();
    begin.tcp_header(header).write(&mut frame, &vec![b'x'; bytes]).unwrap();
    frame
}

/// A capture of both connections, a millisecond between packets.
fn capture(stories: &[(u16, &[Step])]) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend([65_535_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat());
    let mut ms = 0;
    for &(port, story) in stories {
        for &step in story {
            let frame = frame(port, step);
            let length = (frame.len() as u32).to_le_bytes();
            let times = [1_795_374_000_u32.to_le_bytes(), (ms * 1000_u32).to_le_bytes()].concat();
            file.extend([&times[..], &length, &length, &frame].concat());
            ms += 1;
        }
    }
    file
}

fn both() -> Vec<u8> {
    capture(&[(40_001, &DELIVERED), (40_002, &REFUSED)])
}

/// A file of its own, gone with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, bytes: &[u8]) -> File {
        let name = format!("closecall-read-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, bytes).unwrap();
        File(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Exit code, stdout, stderr.
#[track_caller]
fn read(args: &[&str]) -> (i32, String, String) {
    let mut process = Process::start(closecall(&[&["read"], args].concat()));
    let code = process.exit_code();
    (code, process.stdout.text(), process.stderr.text())
}

const LINES: &str = "\
2026-11-22T19:00:00.007Z  192.0.2.1:40001 > 192.0.2.2:80               \
peer_fin.delivered          certain  peer     rx 14 tx 37, rtt 2.000 ms
2026-11-22T19:00:00.009Z  192.0.2.1:40002 > 192.0.2.2:80               \
handshake.refused           certain  local    rx 0 tx 0
";

#[test]
fn each_connection_is_a_line() {
    let file = File::new("lines", &both());
    assert_eq!(read(&[file.path()]), (0, LINES.to_owned(), String::new()));
    let (code, stdout, _) = read(&[file.path(), "--as", "client"]);
    let words: Vec<_> =
        stdout.lines().map(|line| line.split_whitespace().nth(4).unwrap()).collect();
    assert_eq!((code, &words[..]), (0, &["local_fin.delivered", "handshake.refused"][..]));
    let only = |options: &[&str]| read(&[&[file.path()], options].concat()).1.lines().count();
    assert_eq!(only(&["--only", "peer_fin.delivered"]), 1);
    assert_eq!(only(&["--only", "handshake,peer_reset"]), 1);
    assert_eq!(only(&["--only", "timeout"]), 0);
    assert_eq!(only(&["--port", "40002"]), 1);
    assert_eq!(only(&["--port", "80"]), 2);
}

#[test]
fn stdin_is_a_file() {
    let file = File::new("stdin", &both());
    let shell = closecall_after(&format!("exec < {:?}", file.path()), &["read", "-"]);
    let mut process = Process::start(shell);
    assert_eq!((process.exit_code(), process.stdout.text()), (0, LINES.to_owned()));
}

/// One connection whose halves are in two files.
#[test]
fn several_files_are_read_in_the_order_of_time() {
    let whole = both();
    let parts = |from_client: bool| {
        let mut part = whole[..24].to_vec();
        let mut at = 24;
        for step in DELIVERED.iter().chain(&REFUSED) {
            let end = at + 16 + frame(1, *step).len();
            if step.0 == from_client {
                part.extend(&whole[at..end]);
            }
            at = end;
        }
        part
    };
    let (a, b) = (File::new("half-a", &parts(false)), File::new("half-b", &parts(true)));
    assert_eq!(read(&[a.path(), b.path()]), (0, LINES.to_owned(), String::new()));
    let (_, one, _) = read(&[b.path()]);
    assert!(one.contains("unseen"), "{one}");
}

#[test]
fn json_lines_are_records_of_the_close_log() {
    let file = File::new("json", &both());
    let (code, stdout, _) = read(&[file.path(), "--format", "json"]);
    assert_eq!((code, stdout.lines().count()), (0, 2));
    let validator = validator();
    for line in stdout.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let errors: Vec<_> = validator.iter_errors(&value).map(|it| it.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{line}");
        let record: Record = serde_json::from_str(line).unwrap();
        assert_eq!((&*record.seen_by, record.id), ("wire", None));
        assert_eq!(serde_json::to_string(&record).unwrap(), line);
    }
    let first: Value = serde_json::from_str(stdout.lines().next().unwrap()).unwrap();
    let facts = ["rx", "tx", "undelivered", "fin_received", "fin_sent", "unread", "duration_ms"];
    let facts: Vec<String> = facts.iter().map(|name| first[name].to_string()).collect();
    assert_eq!(facts, ["14", "37", "0", "true", "true", "null", "7"]);
}

#[test]
fn a_summary_counts_verdicts_and_peers() {
    let file = File::new("summary", &both());
    let (code, stdout, _) = read(&[file.path(), "--summary"]);
    let expected = "\
verdict             connections
peer_fin.delivered            1
handshake.refused             1
all verdicts                  2

peer                  connections
192.0.2.1                       2
  peer_fin.delivered            1
  handshake.refused             1
";
    assert_eq!((code, &*stdout), (0, expected));
}

#[test]
fn what_cannot_be_read_is_refused_in_one_line() {
    let refused = |args: &[&str], fragment: &str| {
        let line = refusal(closecall(&[&["read"], args].concat()), 3);
        assert!(line.contains(fragment), "{args:?}: {line}");
    };
    let empty = File::new("empty", b"");
    let text = File::new("text", b"GET / HTTP/1.1\r\n\r\n");
    let head = File::new("head", &both()[..20]);
    let folder = std::env::temp_dir();
    refused(&["/no/such/file"], "\"/no/such/file\" cannot be opened: No such file");
    refused(&[folder.to_str().unwrap()], "cannot be read: Is a directory");
    refused(&[empty.path()], "is empty; name a file of pcap or pcapng");
    refused(&[text.path()], "is no capture; name a file of pcap or pcapng");
    refused(&[head.path()], "is cut off in its head");
    // Before anything is printed of the one that is fine.
    let fine = File::new("fine", &both());
    refused(&[fine.path(), text.path()], "is no capture");
}

#[test]
fn what_was_cut_off_is_read_as_far_as_it_goes() {
    let whole = both();
    let file = File::new("cut", &whole[..whole.len() - 60]);
    let (code, stdout, stderr) = read(&[file.path()]);
    let expected = format!(
        "closecall: {:?} is cut off behind packet 9; what came before is reported\n",
        file.path()
    );
    assert_eq!((code, &*stderr), (1, &*expected));
    assert_eq!(stdout.lines().count(), 2);
    assert!(stdout.starts_with(LINES.lines().next().unwrap()), "{stdout}");
}

#[test]
fn what_may_hide_connections_is_counted() {
    let mut whole = capture(&[(40_001, &DELIVERED)]);
    whole[24 + 16 + 12] = 0x88;
    whole[24 + 16 + 13] = 0x47;
    let file = File::new("hidden", &whole);
    let (code, stdout, stderr) = read(&[file.path()]);
    let expected = "closecall: packets that may have TCP in them and were not read: 1 MPLS\n";
    assert_eq!((code, &*stderr, stdout.lines().count()), (0, expected, 1));
}

#[test]
fn wrong_options_are_usage_errors() {
    usage(&["read"], &["FILE is missing; see closecall read --help"]);
    usage(&["read", "x", "--as", "peer"], &["--as 'peer': expected server or client"]);
    usage(&["read", "x", "--port", "0"], &["--port '0': expected a port from 1 to 65535"]);
    usage(&["read", "x", "--only", "peer"], &["--only 'peer': expected the name of a verdict"]);
    usage(&["read", "x", "--max-flows", "0"], &["--max-flows '0': expected a number from 1"]);
    usage(&["read", "x", "--format", "xml"], &["--format 'xml': expected table or json"]);
}

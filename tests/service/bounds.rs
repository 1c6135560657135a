//! Promise: a connection that is too old ends politely, and pending output has a limit in memory
//! that costs no client that reads a byte.
#![cfg(all(target_os = "linux", feature = "cli"))]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use crate::process::PATIENCE;
use crate::service::{
    PREFIX, Seeded, Service, connect, connect_narrow, exchange, hears, hears_fin, parts, reply_to,
    say, seed, serve,
};
use socket2::SockRef;

const LINE: &[u8] = b"Hi,here is glp\n";

/// Lets time pass while the server is stopped: the age of its connections.
fn server_is_stopped_for(duration: Duration) {
    thread::sleep(duration);
}

/// The number behind `field` in a line of JSON.
#[track_caller]
fn number(line: &str, field: &str) -> u64 {
    let (_, rest) = line.split_once(&format!("\"{field}\":")).expect(field);
    rest.split([',', '}']).next().unwrap().parse().expect(line)
}

/// The lines of the close log that have this verdict.
fn records(close_log: &str, verdict: &str) -> Vec<String> {
    let name = format!("\"verdict\":\"{verdict}\"");
    close_log.lines().filter(|line| line.contains(&name)).map(str::to_owned).collect()
}

// ---- --max-age ----------------------------------------------------------------------------------

fn aging(age: &str) -> Service {
    let options = ["--framing", "line", "--close-log", "-", "--read-deadline", "off"];
    Service::of(serve(&[&options[..], &["--max-age", age]].concat()))
}

/// The one record of `local.policy`, which has to be polite and certain.
#[track_caller]
fn policy_record(service: Service) -> String {
    let stdout = service.process.stdout.clone();
    let table = service.stop();
    assert_eq!((table.get("local.policy"), table.get("accepted")), (1, 1), "{table:?}");
    let lines = records(&stdout.text(), "local.policy");
    for part in [
        "\"status\":3",
        "\"initiator\":\"local\"",
        "\"certainty\":\"certain\"",
        "\"errno\":null",
        "\"fin_sent\":true",
        "\"fin_received\":true",
    ] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
    lines[0].clone()
}

/// One that asks again and again never runs into a deadline: its age ends it, with a FIN behind a
/// whole reply.
#[test]
fn a_connection_that_talks_for_too_long_is_sent_a_fin() {
    let service = aging("500ms");
    let mut talks = connect(service.address);
    let replies = loop_until_fin(&mut talks);
    assert!(replies > 0, "it was served while it was young");
    talks.shutdown(Shutdown::Write).unwrap();
    drop(talks);
    let record = policy_record(service);
    let open_ms = number(&record, "duration_ms") - number(&record, "verdict_wait_ms");
    assert!(open_ms >= 450, "no more than a tenth is taken off: {record}");
    let sent = LINE.len() as u64;
    let answered = number(&record, "rx") - number(&record, "discarded");
    assert_eq!((answered, number(&record, "unsent")), (replies * sent, 0), "{record}");
}

/// Asks until the server's FIN comes in the place of a reply, and returns the number of replies.
#[track_caller]
fn loop_until_fin(client: &mut TcpStream) -> u64 {
    let reply = reply_to(LINE);
    let mut heard = vec![0; reply.len()];
    for replies in 0.. {
        client.write_all(LINE).unwrap();
        match client.read(&mut heard[..1]).unwrap() {
            0 => return replies,
            _ => client.read_exact(&mut heard[1..]).unwrap(), // never a part of one
        }
        assert_eq!(heard, reply);
    }
    unreachable!("a FIN comes before 2^64 replies")
}

/// The request has 32,768 lines, whose replies take a dozen visits: it is too old after the first.
#[test]
fn a_request_that_had_arrived_is_answered_before_the_fin() {
    let service = aging("3s");
    let mut asks = connect(service.address);
    exchange(&mut asks, LINE).unwrap();
    service.freeze();
    asks.write_all(&[b'\n'; 32_768]).unwrap();
    server_is_stopped_for(Duration::from_secs(3));
    service.thaw();
    hears(&mut asks, &[PREFIX, b"\n"].concat().repeat(32_768)).unwrap();
    hears_fin(&mut asks).unwrap();
    drop(asks);
    let record = policy_record(service);
    let lengths = (number(&record, "rx"), number(&record, "discarded"));
    assert_eq!(lengths, (32_768 + LINE.len() as u64, 0), "{record}");
}

// ---- --output-memory ----------------------------------------------------------------------------

const CAP: u64 = 1 << 20;
const STALLED: usize = 200;

/// What each of those sends that do not read: its echo does not fit the socket.
const FLOOD: &[u8] = &[b'x'; 65_536];

/// The shortest reply that is made when memory is short, in bytes, with `--framing raw`.
const SHORTEST: u64 = 256;

/// What all pending replies took together when a second signal ended everything, and how many there
/// were. Meanwhile another client reads, and gets each byte of its echo.
fn pending_output(output_memory: &str) -> (u64, usize) {
    let options = ["--framing", "raw", "--close-log", "-", "--output-memory", output_memory];
    let deadlines = ["--read-deadline", "off", "--write-deadline", "off", "--drain", "1h"];
    let mut service = Service::of(serve(&[&options[..], &deadlines].concat()));
    service.freeze();
    let stalled: Vec<TcpStream> = (0..STALLED)
        .map(|_| {
            let mut client = connect_narrow(service.address).unwrap();
            SockRef::from(&client).set_send_buffer_size(4 * FLOOD.len()).unwrap();
            client.write_all(FLOOD).unwrap();
            client
        })
        .collect();
    service.thaw();
    reads_its_echo(connect(service.address), 1 << 20);
    service.process.signal("TERM");
    service.process.stderr.wait_for("draining: ");
    service.process.signal("TERM");
    assert_eq!(service.process.exit_code(), 1, "{}", service.process.stderr.text());
    drop(stalled);
    let lines = records(&service.process.stdout.text(), "local.drain");
    assert_eq!(lines.len(), STALLED);
    let unsent: Vec<u64> = lines.iter().map(|line| number(line, "unsent")).collect();
    (unsent.iter().sum(), unsent.iter().filter(|&&bytes| bytes > 0).count())
}

/// Sends `bytes` bytes of a seed while it reads them back.
#[track_caller]
fn reads_its_echo(mut client: TcpStream, bytes: usize) {
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    let sent = Seeded::new(seed()).line(bytes);
    let (expected, mut writer) = (sent.clone(), client.try_clone().unwrap());
    let writes = thread::spawn(move || writer.write_all(&sent).unwrap());
    hears(&mut client, &expected).unwrap();
    writes.join().unwrap();
    parts(&mut client).unwrap();
}

#[test]
fn those_that_do_not_read_share_the_output_memory_and_one_that_reads_loses_nothing() {
    let (bytes, peers) = pending_output(&CAP.to_string());
    assert!(peers > STALLED / 2, "most of them are stuck: {peers}");
    assert!(bytes <= CAP + STALLED as u64 * SHORTEST, "{bytes} bytes for {peers}");
    let (unbounded, _) = pending_output("off");
    say(format!(
        "{STALLED} that do not read: {bytes} bytes pending with a cap, {unbounded} without"
    ));
    assert!(unbounded > 2 * CAP, "without a cap they would take more: {unbounded}");
}

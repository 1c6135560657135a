//! Promise: at its limit the server sleeps, logs that in one line, and continues as soon as there
//! is room; open connections are served as before.
//!
//! The real program with 500 clients and room for a few. Its share of a CPU is read from /proc over
//! a window in which no client does anything, and must be far from that of a loop that spins.
//! `CLOSECALL_LONG=1` measures for longer.
#![cfg(all(target_os = "linux", feature = "cli"))]

mod limits;

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::service::{
    Service, connect, exchange, has, hears, hears_nothing_for, parts, reply_to, say, serve,
    short_or_long, under,
};

const LINE: &[u8] = b"Hi,here is glp\n";

/// Clients, most of which find no room.
const CLIENTS: usize = 500;

/// A loop that spins takes all of a CPU. One that sleeps takes none to speak of; a fifth is far
/// from both, on any machine.
const SHARE_MAX: f64 = 0.20;

/// Out of files it tries ten times in a second, and sleeps where it only waits for a slot.
const WAKE_UPS_MAX: f64 = 100.0;

/// Without deadlines.
const PATIENT: &[&str] = &["--framing", "line", "--read-deadline", "off"];

fn patient(more: &[&str]) -> Command {
    serve(&[PATIENT, more].concat())
}

/// How much of a CPU the server takes while `idle` hears nothing.
#[track_caller]
fn sleeps(name: &str, service: &Service, idle: &mut TcpStream) {
    let (began, before) = (Instant::now(), (service.cpu(), service.wake_ups()));
    hears_nothing_for(idle, Duration::from_secs(short_or_long(1, 10)));
    let seconds = began.elapsed().as_secs_f64();
    let share = (service.cpu() - before.0).as_secs_f64() / seconds;
    let wake_ups = (service.wake_ups() - before.1) as f64 / seconds;
    say(format!("{name}: {:.1} % of a CPU, {wake_ups:.0} wake-ups a second", share * 100.0));
    assert!(share < SHARE_MAX, "{name}: it spins: {share:.2} of a CPU");
    assert!(wake_ups < WAKE_UPS_MAX, "{name}: {wake_ups:.0} wake-ups a second");
}

/// Clients that have all sent their line.
fn crowd(service: &Service) -> Vec<TcpStream> {
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| connect(service.address)).collect();
    clients.iter_mut().for_each(|client| client.write_all(LINE).unwrap());
    clients
}

/// How many lines of the log have `text` in them.
fn lines_with(stderr: &str, text: &str) -> usize {
    stderr.lines().filter(|line| line.contains(text)).count()
}

/// One client after the other hears its reply and makes room for the next one. Returns how long it
/// took at the most from a client's FIN to the reply of the next one, and the median.
#[track_caller]
fn each_gets_its_turn(clients: Vec<TcpStream>) -> (Duration, Duration) {
    let mut waits = Vec::new();
    let mut freed = Instant::now();
    for mut client in clients {
        hears(&mut client, &reply_to(LINE)).unwrap();
        waits.push(freed.elapsed());
        freed = Instant::now();
        parts(&mut client).unwrap();
    }
    waits.sort_unstable();
    (waits[waits.len() - 1], waits[waits.len() / 2])
}

#[test]
fn with_64_files_the_others_wait_their_turn() {
    if !has("prlimit") {
        return;
    }
    let began = Instant::now();
    let service = Service::of(under(&["prlimit", "--nofile=64"], &patient(&[])));
    let mut clients = crowd(&service);
    hears(&mut clients[0], &reply_to(LINE)).unwrap();
    service.process.stderr.wait_for("43 connections, which is the limit");
    sleeps("64 files, 500 clients", &service, &mut clients[CLIENTS - 1]);
    exchange(&mut clients[0], LINE).unwrap();
    clients[0].write_all(LINE).unwrap(); // every client has a reply to come
    let (longest, median) = each_gets_its_turn(clients);
    say(format!("the next reply came {median:?} after a FIN, {longest:?} at the most"));
    let stderr = service.process.stderr.clone();
    let table = service.stop();
    assert_eq!((table.get("accepted"), table.all_of("peer_fin.")), (500, 500));
    let lines = lines_with(&stderr.text(), "which is the limit");
    let most = 2 + began.elapsed().as_secs() as usize / 10;
    assert!(lines <= most, "one each ten seconds: {}", stderr.text());
}

/// The limit of files falls while it serves, so it is accept that fails.
#[test]
fn out_of_files_it_tries_again_and_sleeps_in_between() {
    if !has("prlimit") {
        return;
    }
    let began = Instant::now();
    let service = Service::of(patient(&[]));
    let mut first = connect(service.address);
    exchange(&mut first, LINE).unwrap();
    limit_files(&service, 1);
    let mut second = connect(service.address);
    second.write_all(LINE).unwrap();
    service.process.stderr.wait_for("EMFILE with 1 connections");
    sleeps("EMFILE", &service, &mut second);
    exchange(&mut first, LINE).unwrap();
    limit_files(&service, 64);
    hears(&mut second, &reply_to(LINE)).unwrap();
    let stderr = service.process.stderr.clone();
    assert_eq!(service.stop().get("accepted"), 2);
    let lines = lines_with(&stderr.text(), "EMFILE");
    let most = 1 + began.elapsed().as_secs() as usize / 10; // a line in ten seconds
    assert!((1..=most).contains(&lines), "{}", stderr.text());
}

#[track_caller]
fn limit_files(service: &Service, files: usize) {
    let pid = service.process.id().to_string();
    let limit = format!("--nofile={files}:");
    let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap();
    assert!(status.success(), "prlimit {limit}");
}

#[test]
fn at_max_connections_the_others_wait_their_turn() {
    let service = Service::of(patient(&["--max-connections", "10"]));
    let mut clients = crowd(&service);
    hears(&mut clients[0], &reply_to(LINE)).unwrap();
    service.process.stderr.wait_for("10 connections, which is the limit");
    sleeps("--max-connections 10", &service, &mut clients[CLIENTS - 1]);
    clients[0].write_all(LINE).unwrap();
    let (longest, median) = each_gets_its_turn(clients);
    say(format!("the next reply came {median:?} after a FIN, {longest:?} at the most"));
    let table = service.stop();
    assert_eq!((table.get("accepted"), table.all_of("peer_fin.")), (500, 500));
}

/// Beyond a limit that resets new connections, each is reset, and the next one is served once there
/// is room.
#[track_caller]
fn sheds(options: &[&str], room: usize) {
    let began = Instant::now();
    let service = Service::of(patient(options));
    let mut inside: Vec<TcpStream> = (0..room).map(|_| connect(service.address)).collect();
    inside.iter_mut().for_each(|client| exchange(client, LINE).unwrap());
    let shed = CLIENTS - room;
    for _ in 0..shed {
        // On a busy machine the reset is there before connect has returned.
        let client = TcpStream::connect(service.address);
        let served = client.is_ok_and(|mut client| exchange(&mut client, LINE).is_ok());
        assert!(!served, "there is no room");
    }
    sleeps(&options.join(" "), &service, &mut inside[0]);
    inside.iter_mut().for_each(|client| exchange(client, LINE).unwrap());
    let files = service.files();
    parts(&mut inside[0]).unwrap();
    service.waits_for_files(files - 1);
    let mut next = connect(service.address);
    exchange(&mut next, LINE).unwrap();
    parts(&mut next).unwrap();
    inside[1..].iter_mut().for_each(|client| parts(client).unwrap());
    let stderr = service.process.stderr.clone();
    let table = service.stop();
    let told = format!("{table:?} {}", stderr.text());
    assert_eq!(table.get("local.policy"), shed as u64, "{told}");
    assert_eq!(table.all_of("peer_fin."), room as u64 + 1, "{told}");
    // Twenty a second, and one that sums up the rest.
    let lines = lines_with(&stderr.text(), "local.policy");
    let most = 21 * (began.elapsed().as_secs() as usize + 2);
    assert!(lines <= most, "{lines} lines for {shed} new connections: {told}");
}

#[test]
fn at_max_connections_the_others_are_shed() {
    sheds(&["--max-connections", "10", "--overload", "shed"], 10);
}

#[test]
fn at_max_per_ip_the_others_are_shed() {
    sheds(&["--max-per-ip", "10"], 10);
}

//! Promise: asked to stop in the middle of everything, the program resets no client that closes in
//! order, serves the backlog, and ends in time; asked twice, it ends at once.
//!
//! The real program and its signals; single steps of a drain are in `tests/server/drain.rs`.
//! `CLOSECALL_LONG=1`: five times as many clients.
#![cfg(all(target_os = "linux", feature = "cli"))]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::service::{
    Service, Table, at, connect, connect_narrow, exchange, hears, hears_fin, pushes, reply_to, say,
    serve_everywhere, short_or_long,
};

const LINE: &[u8] = b"Hi,here is glp\n";

/// In /proc/net/tcp: both sides have parted, and nothing is owed.
const TIME_WAIT: u8 = 6;

const BACKLOG: usize = 50;
const STALLED: usize = 10;

/// They write so often until nothing is taken any more: more than enough.
const STALLED_AFTER: usize = 100;

/// The clients at the moment of the signal; the server is stopped, so that all of them are there.
struct Scene {
    service: Service,
    /// They have said something to which there is no reply yet.
    mid_echo: Vec<TcpStream>,
    /// They are connected as far as they know.
    backlog: Vec<TcpStream>,
    /// They read nothing.
    stalled: Vec<TcpStream>,
}

impl Scene {
    #[track_caller]
    fn set(drain: &str) -> Scene {
        let base = ["--framing", "line", "--drain", drain];
        let patient = ["--read-deadline", "off", "--write-deadline", "off"];
        let service = Service::of(serve_everywhere(&[&base[..], &patient].concat()));
        let address = service.address;
        let count = short_or_long(1_000, 5_000);
        let mut mid_echo: Vec<TcpStream> =
            (0..count).map(|n| connect(at(1 + (n % 4) as u8, address))).collect();
        let mut stalled: Vec<TcpStream> =
            (0..STALLED).map(|_| connect_narrow(address).unwrap()).collect();
        mid_echo.iter_mut().for_each(|client| exchange(client, LINE).unwrap());
        for client in &mut stalled {
            // Until its replies have filled all there is, and nothing of it is read any more.
            for _ in 0..STALLED_AFTER {
                assert_eq!(pushes(client), None);
                exchange(&mut mid_echo[0], LINE).unwrap();
            }
        }
        service.freeze();
        mid_echo.iter_mut().for_each(|client| client.write_all(LINE).unwrap());
        let mut backlog: Vec<TcpStream> = (0..BACKLOG).map(|_| connect(address)).collect();
        backlog.iter_mut().for_each(|client| client.write_all(LINE).unwrap());
        Scene { service, mid_echo, backlog, stalled }
    }

    fn clients(&self) -> u64 {
        (self.mid_echo.len() + self.backlog.len() + self.stalled.len()) as u64
    }
}

#[test]
fn no_connection_in_flight_is_reset_and_the_backlog_is_served() {
    let mut scene = Scene::set("5s");
    let (all, asked) = (scene.clients(), Instant::now());
    scene.service.process.signal("TERM");
    scene.service.thaw();
    for client in scene.mid_echo.iter_mut().chain(&mut scene.backlog) {
        hears(client, &reply_to(LINE)).unwrap();
        hears_fin(client).unwrap();
    }
    drop((scene.mid_echo, scene.backlog));
    let table = scene.service.ended();
    say(format!("drained {all} connections, {STALLED} of them stalled, in {:?}", asked.elapsed()));
    assert_eq!((table.get("accepted"), table.get("local.drain")), (all, all), "{table:?}");
    let states = scene.service.socket_states();
    assert!(states.iter().all(|&state| state == TIME_WAIT), "left behind: {states:?}");
}

#[test]
fn the_second_signal_ends_it_at_once() {
    let mut scene = Scene::set("1h");
    let all = scene.clients();
    scene.service.process.signal("TERM");
    scene.service.thaw();
    scene.service.process.stderr.wait_for("draining: ");
    let asked = Instant::now();
    scene.service.process.signal("TERM");
    assert_eq!(scene.service.process.exit_code(), 1);
    say(format!("ended {all} connections by force in {:?}", asked.elapsed()));
    let stderr = scene.service.process.stderr.text();
    let table = Table::of(&stderr);
    assert_eq!(table.get("open"), 0, "{stderr}");
    let accepted = table.get("accepted");
    assert!((all - BACKLOG as u64..=all).contains(&accepted), "{stderr}");
    // No connection is left without an end of some kind.
    for mut client in scene.mid_echo.into_iter().chain(scene.backlog) {
        while let Ok(1..) = client.read(&mut [0; 1024]) {}
    }
}

//! Clients that send and never read: each holds a reply in the server's memory and a full socket in
//! the kernel, until the write deadline.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::Instant;

use socket2::SockRef;

use super::LINE;
use crate::service::{
    FIN_WAIT_1, Service, at, connect, connect_narrow, exchange, parts, pushes, say,
    serve_everywhere, short_or_long, wait_until,
};

/// What a stubborn one says at once, and goes on: as much as a read takes, so that its reply is as
/// long as they get.
const STUBBORN: &[u8] = &[b'x'; 65_536];

/// What a quiet one says: all of it is read, and more comes back than a socket holds. Where nothing
/// is unread a close makes no reset by itself.
const QUIET: &[u8] = &[b'x'; 50_000];

/// So many come at a time: fewer than a backlog holds.
const GROUP: usize = 1_000;

/// Clients that never read, and how they ended.
#[derive(Default)]
struct Stalled {
    stubborn: Vec<TcpStream>,
    quiet: Vec<TcpStream>,
    ends: Vec<ErrorKind>,
}

impl Stalled {
    /// A group of new connections, all of which have sent everything when the server first reads
    /// from them.
    #[track_caller]
    fn come(&mut self, service: &Service, count: usize) {
        service.freeze();
        for number in 0..count {
            let mut client = connect_narrow(at(1 + (number % 4) as u8, service.address)).unwrap();
            // It reads nothing, but it can say all of it.
            SockRef::from(&client).set_send_buffer_size(4 * STUBBORN.len()).unwrap();
            let (them, says) = match number % 2 {
                0 => (&mut self.stubborn, STUBBORN),
                _ => (&mut self.quiet, QUIET),
            };
            client.write_all(says).unwrap();
            them.push(client);
        }
        service.thaw();
    }

    /// Removes the clients that were ended: continued writing finds out.
    fn sift(&mut self) {
        self.stubborn.retain_mut(|client| {
            let end = pushes(client);
            self.ends.extend(end);
            end.is_none()
        });
    }
}

#[test]
fn clients_that_never_read_cost_a_reply_each_until_the_write_deadline() {
    let count = short_or_long(1_000, 10_000);
    let (limit, deadline) = ((count + 1).to_string(), short_or_long("5s", "20s"));
    let service = Service::of(serve_everywhere(&[
        "--max-connections",
        &limit,
        "--write-deadline",
        deadline,
        "--read-deadline",
        "off",
    ]));
    let mut polite = connect(service.address);
    exchange(&mut polite, LINE).unwrap();
    let (files, before) = (service.files(), service.kilobytes("VmRSS"));

    let began = Instant::now();
    let mut stalled = Stalled::default();
    for group in 1..=count / GROUP {
        stalled.come(&service, GROUP);
        // A backlog has room for some groups, and not for all.
        wait_until("they are accepted", || service.files() >= files + group * GROUP);
        exchange(&mut polite, LINE).unwrap();
    }
    while !stalled.stubborn.is_empty() {
        stalled.sift();
        exchange(&mut polite, LINE).unwrap();
    }
    service.waits_for_files(files);
    let took = began.elapsed();
    let states = service.socket_states();
    assert!(!states.contains(&FIN_WAIT_1), "something goes on offering: {states:?}");
    // Now the quiet ones may find out as well.
    stalled.stubborn.append(&mut stalled.quiet);
    wait_until("the quiet ones have heard of it", || {
        stalled.sift();
        stalled.stubborn.is_empty()
    });
    let is_reset =
        |it: &ErrorKind| [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(it);
    assert_eq!(stalled.ends.len(), count);
    assert!(stalled.ends.iter().all(is_reset), "they are reset, and not kept");
    let grown = service.kilobytes("VmHWM").saturating_sub(before);
    let bound = bound_kilobytes(&service);
    parts(&mut polite).unwrap();
    let table = service.stop();
    assert_eq!(table.get("timeout.write_stall"), count as u64, "{table:?}");
    assert!(grown <= bound, "{grown} KB more than idle, and {bound} KB were announced");
    say(format!("{count} never read: {grown} KB of {bound} KB announced, gone in {took:.1?}"));
}

/// The bound of the memory, as it is announced at the start: "and 62.5 MiB of memory".
#[track_caller]
fn bound_kilobytes(service: &Service) -> u64 {
    let text = service.process.stderr.wait_for(" of memory for pending replies: ");
    let (before, _) = text.split_once(" of memory for pending replies: ").unwrap();
    let words: Vec<&str> = before.rsplit(' ').take(2).collect();
    let unit = match words[0] {
        "KiB" => 1.0,
        "MiB" => 1024.0,
        "GiB" => 1024.0 * 1024.0,
        unit => panic!("{unit} in {before}"),
    };
    (words[1].replace(',', "").parse::<f64>().unwrap() * unit) as u64
}

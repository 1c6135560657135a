//! Unusual clients that are allowed: a byte at a time, half-closed at once, garbage.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::service::{
    Seeded, Service, connect, hears, hears_fin, parts, reply_to, seed, serve, short_or_long,
};

#[test]
fn a_byte_at_a_time_is_a_line_in_the_end() {
    let service = Service::start(&["--framing", "line", "--read-deadline", "off"]);
    let count = short_or_long(100, 1_000);
    let mut clients: Vec<TcpStream> = (0..count).map(|_| connect(service.address)).collect();
    let line = Seeded::new(seed()).line(40);
    for byte in &line {
        for client in &mut clients {
            client.set_nodelay(true).unwrap();
            client.write_all(std::slice::from_ref(byte)).unwrap();
        }
    }
    for client in &mut clients {
        hears(client, &reply_to(&line)).unwrap();
        parts(client).unwrap();
    }
    assert_eq!(service.stop().all_of("peer_fin."), count as u64);
}

#[test]
fn a_client_that_shuts_down_at_once_gets_its_whole_reply() {
    let service = Service::start(&["--framing", "line", "--read-deadline", "off"]);
    let count = short_or_long(200, 2_000);
    let line = Seeded::new(seed()).line(50_000);
    let mut clients: Vec<TcpStream> = (0..count).map(|_| connect(service.address)).collect();
    for client in &mut clients {
        client.write_all(&line).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    }
    for client in &mut clients {
        hears(client, &reply_to(&line)).unwrap();
        hears_fin(client).unwrap();
    }
    assert_eq!(service.stop().all_of("peer_fin."), count as u64);
}

#[test]
fn garbage_reaches_no_log_raw() {
    for framing in ["chunk", "line", "raw"] {
        let mut command = serve(&["--framing", framing]);
        command.env("RUST_LOG", "trace");
        let service = Service::of(command);
        let mut seeded = Seeded::new(seed());
        for number in 0..short_or_long(100, 1_000) {
            let mut client = connect(service.address);
            // Every byte there is, then any; UTF-8 of control characters, and cut in two.
            let mut garbage: Vec<u8> = (0..=255).collect();
            garbage.rotate_left(number % 256);
            garbage.extend("\u{9b}31m\u{85}\u{2028}\u{202e}\r\n\x1b]0;title\x07".bytes());
            garbage.extend((0..seeded.below(2_000)).map(|_| seeded.next() as u8));
            client.write_all(&garbage).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).unwrap();
            assert!(heard.len() >= garbage.len(), "{framing}");
        }
        let stderr = service.process.stderr.clone();
        service.stop();
        let text = stderr.text();
        assert!(text.contains(" closecall::echo: read client ["), "{text}");
        assert_eq!(
            text.find(|c: char| c != '\n' && (c.is_control() || !is_ours(c))),
            None,
            "{text}"
        );
        // Nor did a newline: each line is one of ours.
        let (log, _) = text.rsplit_once("verdict ").unwrap();
        assert!(log.lines().all(|it| it.starts_with("20") || it.starts_with("… ")), "{log}");
        // And it shows 256 bytes, of which none takes more than four characters.
        let longest = log.lines().map(str::len).max();
        assert!(longest < Some(4 * 256 + 150), "{longest:?}");
    }
}

/// What the server itself writes: ASCII, and the ellipsis of what was cut off or dropped.
fn is_ours(character: char) -> bool {
    character.is_ascii() || character == '…'
}

//! The command line is a contract: exit codes, one line for each refusal, what goes to which
//! stream, and that no stream can stop the server.
#![cfg(all(unix, feature = "cli"))]

#[path = "../common/process.rs"]
mod process;

#[path = "../common/skip.rs"]
mod skip;

mod addresses;
mod close_log;
mod read;
mod refusals;
mod schema;
mod streams;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use process::{Process, closecall};

const MESSAGE: &[u8] = b"Hi,here is glp";
const REPLY: &[u8] = b"from server back[rust]:Hi,here is glp";

/// `closecall serve` on a free port, with more options.
fn serve(options: &[&str]) -> Process {
    let base = ["serve", "--listen", "127.0.0.1:0"];
    Process::start(closecall(&[&base, options].concat()))
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(process::PATIENCE)).unwrap();
    client
}

/// Says the article's message and hears the article's reply.
#[track_caller]
fn echo(client: &mut TcpStream) {
    client.write_all(MESSAGE).unwrap();
    let mut reply = [0; REPLY.len()];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(reply, REPLY);
}

/// `count` connections, one after the other, each of which says something, hears the reply, and has
/// seen the server close, too.
#[track_caller]
fn come_and_go(address: SocketAddr, count: usize) {
    for _ in 0..count {
        let mut client = connect(address);
        echo(&mut client);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
}

/// The numbers of the table on exit.
#[track_caller]
fn row(stderr: &str, name: &str) -> Option<u64> {
    let (_, table) = stderr.split_once("verdict ").expect("there is a table");
    let line = table.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("  "))?;
    Some(line.trim().replace(',', "").parse().expect("a count"))
}

/// Ends it with a signal, and gives what it said on stderr.
#[track_caller]
fn stop(server: &mut Process) -> String {
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0, "{}", server.stderr.text());
    server.stderr.text()
}

#[test]
fn serves_and_ends_with_a_table() {
    for signal in ["TERM", "INT"] {
        let mut server = serve(&["--listen", "127.0.0.1:0"]);
        let addresses = server.addresses(2);
        assert_ne!(addresses[0].port(), addresses[1].port());
        come_and_go(addresses[0], 2);
        come_and_go(addresses[1], 1);
        server.signal(signal);
        assert_eq!(server.exit_code(), 0);
        let stderr = server.stderr.text();
        assert!(
            stderr.contains("INFO  closecall::close: peer_fin.delivered 127.0.0.1:"),
            "{stderr}"
        );
        assert!(stderr.contains(" #3 status=1 rx=14 tx=37 "), "{stderr}");
        assert!(!stderr.contains("closecall::echo"), "no echo is logged: {stderr}");
        for name in ["peer_fin.delivered", "all verdicts", "accepted"] {
            assert_eq!(row(&stderr, name), Some(3), "{name}: {stderr}");
        }
        assert_eq!(row(&stderr, "open"), None);
    }
}

#[test]
fn the_first_signal_drains_and_the_second_ends_at_once() {
    let mut server = serve(&["--drain", "1h", "--read-deadline", "off"]);
    let mut stays = connect(server.address());
    echo(&mut stays);
    server.signal("INT");
    server.stderr.wait_for("draining: 1 open, for at most 3600s");
    assert_eq!(stays.read(&mut [0]).unwrap(), 0, "the drain sends our FIN");
    let asked = Instant::now();
    server.signal("INT");
    assert_eq!(server.exit_code(), 1);
    assert!(asked.elapsed() < Duration::from_secs(5));
    let stderr = server.stderr.text();
    assert_eq!((row(&stderr, "local.drain"), row(&stderr, "accepted")), (Some(1), Some(1)));
}

#[test]
fn the_table_comes_even_without_a_log() {
    let mut command = closecall(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("RUST_LOG", "off");
    let mut server = Process::start(command);
    come_and_go(server.address(), 1);
    let stderr = stop(&mut server);
    assert!(stderr.starts_with("verdict "), "{stderr}");
    assert_eq!(row(&stderr, "accepted"), Some(1));
}

#[test]
fn help_and_version_are_on_stdout() {
    for (args, expected) in [
        (&["--version"][..], concat!("closecall ", env!("CARGO_PKG_VERSION"))),
        (&["--help"], "serve"),
        (&["serve", "--help"], "a live peer whose window stays zero"),
        (&["serve", "--help"], "a handshake that"),
        (&["serve", "--help"], "The server answers the data that has"),
        (&["serve", "--help"], "older than this with a FIN"),
        (&["serve", "--help"], "a quarter of the memory of the machine"),
        (&["serve", "--help"], "CLOSECALL_MAX_AGE"),
        (&["serve", "--help"], "CLOSECALL_OUTPUT_MEMORY"),
        (&["serve", "--help"], "CLOSECALL_READ_DEADLINE"),
        (&["serve", "-h"], "--close-log"),
    ] {
        let mut process = Process::start(closecall(args));
        assert_eq!(process.exit_code(), 0);
        assert!(process.stdout.text().contains(expected), "{args:?}");
        assert_eq!(process.stderr.text(), "");
    }
}

/// The commands that this help lists.
fn listed(help: &str) -> Vec<String> {
    let (_, list) = help.split_once("\nCommands:\n").unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    // A text of two lines is indented further.
    let lines = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    lines.filter(|name| !["", "help"].contains(name)).map(str::to_owned).collect()
}

#[test]
fn every_help_text_has_an_example() {
    let mut paths = vec![Vec::<String>::new()];
    let mut shown = 0;
    while let Some(path) = paths.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let mut process = Process::start(closecall(&[&words[..], &["--help"]].concat()));
        assert_eq!(process.exit_code(), 0, "{words:?}");
        let help = process.stdout.text();
        let example = help.split_once("\nExample").map(|(_, example)| example);
        let command = format!("closecall {}", words.join(" "));
        assert!(example.is_some_and(|it| it.contains(command.trim_end())), "{words:?}: {help}");
        shown += 1;
        paths.extend(listed(&help).into_iter().map(|name| [&path[..], &[name]].concat()));
    }
    assert_eq!(shown, 9, "the program, its 4 commands, and the 4 of load");
}

#[test]
fn options_may_come_from_the_environment_and_arguments_come_first() {
    let mut command = closecall(&["serve", "--prefix", "- "]);
    command.env("CLOSECALL_LISTEN", "127.0.0.1:0,127.0.0.1:0");
    command.env("CLOSECALL_PREFIX", "not this");
    command.env("CLOSECALL_REUSE_PORT", "true");
    let mut server = Process::start(command);
    for address in server.addresses(2) {
        let mut client = connect(address);
        client.write_all(b"x").unwrap();
        let mut reply = [0; 3];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"- x");
    }
    stop(&mut server);
}

/// The line at the start has the bound that holds, and the environment sets both limits.
#[test]
fn a_cap_on_output_memory_is_announced() {
    let mut command = closecall(&["serve", "--listen", "127.0.0.1:0", "--max-connections", "1000"]);
    command.env("CLOSECALL_OUTPUT_MEMORY", "1048576");
    command.env("CLOSECALL_MAX_AGE", "500ms");
    let mut server = Process::start(command);
    server.stderr.wait_for(
        " and 1.3 MiB of memory for pending replies: 1.0 MiB in all, and beyond that 279 bytes",
    );
    let mut client = connect(server.address());
    // A signal interrupts a read that has a timeout (signal(7)); this one goes on after it.
    let end = client.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(end, 0, "its age ends it, long before 10 s of silence");
    drop(client);
    let stderr = stop(&mut server);
    assert_eq!(row(&stderr, "local.policy"), Some(1), "{stderr}");
    let off = ["--max-connections", "1000", "--output-memory", "off"];
    let mut server = serve(&off);
    server.stderr.wait_for(" and 62.8 MiB of memory for pending replies: 65,559 bytes for each");
    stop(&mut server);
}

/// How many endings a log accounts for: whole lines, and those that are summed up.
fn logged(stderr: &str) -> (u64, u64) {
    let mut whole = 0;
    let mut summed = 0;
    for line in stderr.lines().filter_map(|line| line.split_once(" closecall::close: ")) {
        match line.1.split_once(": ").and_then(|(_, rest)| rest.split_once(" more in the last")) {
            Some((count, _)) => summed += count.replace(',', "").parse::<u64>().unwrap(),
            None => whole += 1,
        }
    }
    (whole, summed)
}

#[test]
fn twenty_endings_of_a_kind_are_written_in_a_second_and_the_rest_summed_up() {
    const COUNT: usize = 1200;
    let mut server = serve(&[]);
    let began = Instant::now();
    come_and_go(server.address(), COUNT);
    // The last summary comes although the traffic has stopped.
    let all = |text: &str| {
        let (whole, summed) = logged(text);
        whole + summed == COUNT as u64 && text.ends_with('\n')
    };
    let stderr = server.stderr.wait_until(all);
    let seconds = began.elapsed().as_secs() + 2;
    let (whole, summed) = logged(&stderr);
    assert!(whole <= 20 * seconds, "{whole} lines in {seconds} seconds");
    assert!(summed > 0 && stderr.contains(" closecall::close: peer_fin.delivered: "), "{stderr}");
    assert!(stop(&mut server).contains(" 1,200\n"), "the table is grouped, too");
}

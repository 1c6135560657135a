//! `closecall serve` from outside: a process with an address. It prints a table on exit, which must
//! add up whatever was done to it.
//!
//! With CLOSECALL_LONG=1 the same tests run in their long form.
#![allow(dead_code)] // each test uses its own part

mod seeded;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

pub(crate) use self::seeded::{Seeded, seed};
use crate::process::{PATIENCE, Process, closecall};

pub(crate) const PREFIX: &[u8] = b"from server back[rust]:";

/// Whether the long form is requested.
pub(crate) fn is_long() -> bool {
    std::env::var_os("CLOSECALL_LONG").is_some_and(|it| it == "1")
}

/// The parameter of the requested form.
pub(crate) fn short_or_long<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// For the person that runs the tests: what was measured, or why a test was skipped.
#[allow(clippy::print_stderr)]
pub(crate) fn say(text: impl Display) {
    eprintln!("{text}");
}

/// Whether this tool can be run; if not, that is printed.
pub(crate) fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok_and(|it| it.status.success());
    if !found {
        say(format!("skipped: needs {tool}"));
    }
    found
}

/// `closecall serve` on a free port, with more options.
pub(crate) fn serve(options: &[&str]) -> Command {
    closecall(&[&["serve", "--listen", "127.0.0.1:0"], options].concat())
}

/// The same on all addresses, for more clients than one address has ports.
pub(crate) fn serve_everywhere(options: &[&str]) -> Command {
    closecall(&[&["serve", "--listen", "0.0.0.0:0"], options].concat())
}

/// The same command, started by another program: `strace …`, `unshare …`, which become the program
/// itself.
pub(crate) fn under(wrapper: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(wrapper[0]);
    wrapped.args(&wrapper[1..]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped.stdin(std::process::Stdio::null());
    wrapped
}

/// A server that serves.
pub(crate) struct Service {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Service {
    #[track_caller]
    pub(crate) fn start(options: &[&str]) -> Service {
        Service::of(serve(options))
    }

    #[track_caller]
    pub(crate) fn of(command: Command) -> Service {
        match Service::start_or_refusal(command) {
            Ok(service) => service,
            Err((code, stderr)) => panic!("exit code {code}: {stderr}"),
        }
    }

    /// Starts it; `Err` with its exit code and what it said if it did not want to.
    #[track_caller]
    pub(crate) fn start_or_refusal(command: Command) -> Result<Service, (i32, String)> {
        // A file for each client; the default of many systems is 1,024.
        rlimit::increase_nofile_limit(u64::MAX).unwrap();
        let mut process = Process::start(command);
        match process.stdout.first_line() {
            None => Err((process.exit_code(), process.stderr.text())),
            Some(line) => {
                let address = line.strip_prefix("listening on ").expect(&line);
                let address: SocketAddr = address.parse().unwrap();
                Ok(Service { address: at(1, address), process })
            }
        }
    }

    /// Asks it to stop, which it does in order, and returns its table.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Table {
        self.process.signal("TERM");
        self.ended()
    }

    /// Waits for its end, which is in order, and returns its table.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Table {
        let code = self.process.exit_code();
        assert_eq!(code, 0, "{}", self.process.stderr.text());
        Table::of(&self.process.stderr.text())
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.process.id());
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// CPU time since it started, with a grain of 10 ms. Source: proc_pid_stat(5).
    #[track_caller]
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10) // USER_HZ is 100 wherever Linux runs
    }

    /// How often its serving thread has slept and was woken.
    #[track_caller]
    pub(crate) fn wake_ups(&self) -> u64 {
        self.status("voluntary_ctxt_switches")
    }

    /// Its memory by a field of /proc/PID/status: `VmRSS`, `VmHWM`.
    #[track_caller]
    pub(crate) fn kilobytes(&self, field: &str) -> u64 {
        self.status(field)
    }

    #[track_caller]
    fn status(&self, field: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with(field)).expect(field);
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// How many files it has open.
    #[track_caller]
    pub(crate) fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// Stops it as Ctrl-Z does, and waits until it has stopped.
    #[track_caller]
    pub(crate) fn freeze(&self) {
        self.process.signal("STOP");
        let stands_still = || {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
            tasks.flatten().all(|task| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
            })
        };
        wait_until("it stands still", stands_still);
    }

    #[track_caller]
    pub(crate) fn thaw(&self) {
        self.process.signal("CONT");
    }

    /// The states of this system's sockets whose own port is the server's, as /proc/net/tcp has
    /// them: 1 ESTABLISHED, 4 FIN-WAIT-1, 10 LISTEN. One without a file has inode 0.
    pub(crate) fn socket_states(&self) -> Vec<u8> {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let own = format!(":{:04X}", self.address.port());
        let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let own = fields.filter(|fields| fields.get(1).is_some_and(|it| it.ends_with(&own)));
        own.filter_map(|fields| u8::from_str_radix(fields[3], 16).ok()).collect()
    }

    /// Waits until the server has closed all that it accepted.
    #[track_caller]
    pub(crate) fn waits_for_files(&self, files: usize) {
        wait_until("its files are closed", || self.files() <= files);
    }
}

/// FIN-WAIT-1 in /proc/net/tcp.
pub(crate) const FIN_WAIT_1: u8 = 4;

/// Polls a condition that no event reports, until it holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// The numbers of the table on exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table(BTreeMap<String, u64>);

impl Table {
    /// Reads it, and checks that it adds up.
    #[track_caller]
    pub(crate) fn of(stderr: &str) -> Table {
        let (_, rows) = stderr.rsplit_once("verdict ").expect("there is a table");
        let row = |line: &str| {
            let (name, count) = line.trim_end().rsplit_once(' ')?;
            Some((name.trim_end().to_owned(), count.replace(',', "").parse().ok()?))
        };
        let table = Table(rows.lines().skip(1).map_while(row).collect());
        let verdicts: u64 = table.verdicts().map(|(_, count)| count).sum();
        let add_up = (table.get("all verdicts"), table.get("accepted"));
        assert_eq!(add_up, (verdicts, verdicts + table.get("open")), "{stderr}");
        table
    }

    /// A row, or 0.
    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// The rows that are verdicts: those with a dot.
    pub(crate) fn verdicts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().filter(|row| row.0.contains('.')).map(|row| (row.0.as_str(), *row.1))
    }

    /// How many verdicts are of this family: "peer_fin.".
    pub(crate) fn all_of(&self, family: &str) -> u64 {
        self.verdicts().filter(|row| row.0.starts_with(family)).map(|row| row.1).sum()
    }
}

// ---- clients ------------------------------------------------------------------------------------

/// The same server at 127.0.0.`host`, if it listens everywhere: each has client ports of its own.
pub(crate) fn at(host: u8, address: SocketAddr) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 0, host), address.port()).into()
}

#[track_caller]
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// `count` connections, one after the other: each sends a line, reads the reply and closes in
/// order.
#[track_caller]
pub(crate) fn come_and_go(address: SocketAddr, count: usize) {
    for _ in 0..count {
        let mut client = connect(address);
        exchange(&mut client, b"Hi,here is glp\n").unwrap();
        parts(&mut client).unwrap();
    }
}

/// A client with as little room as the system lets it have, on both sides of its connection: a
/// server that sends it something is stuck after some kilobytes.
pub(crate) fn connect_narrow(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(1)?;
    socket.set_send_buffer_size(1)?;
    socket.set_tcp_mss(536)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

/// Writes until there is no room, without waiting; returns the error once it was ended.
pub(crate) fn pushes(mut client: &TcpStream) -> Option<ErrorKind> {
    client.set_nonblocking(true).unwrap();
    let end = loop {
        match client.write(&[b'x'; 1024]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break None,
            Err(error) => break Some(error.kind()),
        }
    };
    client.set_nonblocking(false).unwrap();
    end
}

/// Whether the server has ended it, as far as a client sees that neither reads nor writes.
pub(crate) fn hears_its_end(client: &TcpStream) -> bool {
    client.set_nonblocking(true).unwrap();
    let heard = client.peek(&mut [0]);
    client.set_nonblocking(false).unwrap();
    match heard {
        Ok(count) => count == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Closes with a reset.
pub(crate) fn reset(client: TcpStream) {
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Sends a line; with `--framing line` its reply is [`reply_to`] it, however TCP cuts it.
pub(crate) fn reply_to(line: &[u8]) -> Vec<u8> {
    [PREFIX, line].concat()
}

/// Sends `line` and receives the reply to it, byte for byte.
pub(crate) fn exchange(client: &mut TcpStream, line: &[u8]) -> Result<(), String> {
    client.write_all(line).map_err(|error| format!("write: {error}"))?;
    hears(client, &reply_to(line))
}

/// Receives exactly this.
pub(crate) fn hears(client: &mut TcpStream, expected: &[u8]) -> Result<(), String> {
    let mut heard = vec![0; expected.len()];
    client.read_exact(&mut heard).map_err(|error| format!("read: {error}"))?;
    if heard != expected {
        let at = heard.iter().zip(expected).position(|(a, b)| a != b);
        return Err(format!("another byte at {at:?} of {}", expected.len()));
    }
    Ok(())
}

/// Shuts down its side, and receives the server's FIN and nothing else.
pub(crate) fn parts(client: &mut TcpStream) -> Result<(), String> {
    client.shutdown(Shutdown::Write).map_err(|error| format!("shutdown: {error}"))?;
    hears_fin(client)
}

/// Receives the server's FIN and nothing before it.
pub(crate) fn hears_fin(client: &mut TcpStream) -> Result<(), String> {
    match read_some(client) {
        Ok(0) => Ok(()),
        Ok(count) => Err(format!("{count} bytes that were not asked for")),
        Err(error) => Err(format!("no FIN: {error}")),
    }
}

/// Continues after a signal: a read with a timeout does not do so by itself, see signal(7).
fn read_some(client: &mut TcpStream) -> std::io::Result<usize> {
    std::iter::repeat_with(|| client.read(&mut [0; 64]))
        .find(|read| !matches!(read, Err(error) if error.kind() == ErrorKind::Interrupted))
        .expect("it reads again and again")
}

/// Whether it receives nothing for `window`: time in which the server is not disturbed.
#[track_caller]
pub(crate) fn hears_nothing_for(client: &mut TcpStream, window: Duration) {
    client.set_read_timeout(Some(window)).unwrap();
    let heard = read_some(client).map_err(|error| error.kind());
    assert_eq!(heard, Err(ErrorKind::WouldBlock), "it should still be waiting");
    client.set_read_timeout(Some(PATIENCE)).unwrap();
}

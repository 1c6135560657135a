//! A rung as a process, and clients for it.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))] // the flaws are measured on Linux

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Instant;

use closecall::client::{Act, Client, Did, Plan};

use super::process::{PATIENCE, Process};

pub(crate) const EPOLL: &str = "0_epoll";
pub(crate) const THREADS: &str = "1_threads";
pub(crate) const SPINNING: &str = "2_spinning";
pub(crate) const READINESS: &str = "3_readiness";
pub(crate) const EDGES: &str = "4_edges";
pub(crate) const DEADLINE: &str = "5_deadline";
pub(crate) const VERDICTS: &str = "6_verdicts";
pub(crate) const EMBED: &str = "7_embed";

pub(crate) const RUNGS: &[&str] = &[
    #[cfg(target_os = "linux")]
    EPOLL,
    THREADS,
    SPINNING,
    READINESS,
    EDGES,
    DEADLINE,
    VERDICTS,
    EMBED,
];

pub(crate) const MESSAGE: &[u8] = b"Hi,here is glp";
pub(crate) const REPLY: &[u8] = b"from server back[rust]:Hi,here is glp";

/// A rung that runs, on a free port of the loopback.
pub(crate) struct Rung {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) id: u32,
    /// The last one stops when this ends.
    stdin: ChildStdin,
}

impl Rung {
    #[track_caller]
    pub(crate) fn start(name: &str) -> Rung {
        Rung::run(Command::new(program(name)).arg("127.0.0.1:0"))
    }

    /// With a deadline of so many milliseconds, where the rung has one.
    #[track_caller]
    pub(crate) fn with_deadline(name: &str, ms: u128) -> Rung {
        Rung::run(Command::new(program(name)).args(["127.0.0.1:0", &ms.to_string()]))
    }

    /// Behind a line of shell, such as `ulimit -n 16`. The process is the rung's own.
    #[track_caller]
    pub(crate) fn after(shell: &str, name: &str) -> Rung {
        let script = format!("{shell}; exec \"$0\" 127.0.0.1:0");
        Rung::run(Command::new("sh").arg("-c").arg(script).arg(program(name)))
    }

    #[track_caller]
    fn run(command: &mut Command) -> Rung {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (id, stdin) = (child.id(), child.stdin.take().unwrap());
        let process = Process::of(child);
        Rung { address: process.address(), process, id, stdin }
    }

    /// One of whose output only the address is read, and the rest of that output.
    #[track_caller]
    pub(crate) fn unread(name: &str) -> (Rung, ChildStdout) {
        let mut command = Command::new(program(name));
        command.arg("127.0.0.1:0").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            stdout.read_exact(&mut byte).unwrap();
            line.extend_from_slice(&byte);
        }
        let address = String::from_utf8(line).unwrap();
        let address = address.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        let id = child.id();
        (Rung { address, process: Process::of(child), id, stdin }, stdout)
    }

    /// Keeps it from running until it is sent CONT.
    #[track_caller]
    pub(crate) fn stops(&self) {
        self.process.signal("STOP");
        // Each thread: one that serves a client may run on when the first stands still.
        wait_until(|| {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id)).unwrap();
            tasks.flatten().all(|task| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with('T'))
            })
        });
    }

    /// What the article's client has to know, and everything it gets is kept.
    pub(crate) fn plan(&self) -> Plan {
        Plan {
            kept_bytes_max: usize::MAX,
            holder: vec!["cat".into()],
            patience: PATIENCE,
            end_patience: PATIENCE,
            ..Plan::new(self.address)
        }
    }

    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        self.connects(&self.plan())
    }

    #[track_caller]
    pub(crate) fn connects(&self, plan: &Plan) -> Client {
        Client::connect(plan).expect("the backlog has room").0
    }

    /// A client that has said the article's message, and has heard the reply.
    #[track_caller]
    pub(crate) fn echoes(&self) -> Client {
        let mut client = self.client();
        plays(&mut client, &[Act::Send, Act::Read]);
        assert_eq!(client.kept(), REPLY);
        client
    }

    /// Presses Enter.
    pub(crate) fn enter(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
    }
}

/// Waits until `done`.
#[track_caller]
pub(crate) fn wait_until(mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain");
        thread::yield_now();
    }
}

/// Plays acts all of which have to succeed. Returns the result of the last.
#[track_caller]
pub(crate) fn plays(client: &mut Client, acts: &[Act]) -> Did {
    let mut last = Did::Quiet;
    for &act in acts {
        let moment = client.play(act);
        assert!(!moment.failed(), "{moment:?}");
        last = moment.did;
    }
    last
}

/// Where cargo has put the example: beside the folder of this test.
///
/// `cargo test` builds all examples, `cargo test --test examples` builds none. An old one would
/// pass or fail for reasons that are gone.
#[track_caller]
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let program = profile.join("examples").join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.rs"));
    let changed = |path: &Path| path.metadata().and_then(|it| it.modified()).ok();
    assert!(
        changed(&program) >= changed(&source),
        "{} is missing or older than its source: cargo build --examples",
        program.display()
    );
    program
}

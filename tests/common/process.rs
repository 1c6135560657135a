//! The program as a process: its pipes are read, waiting for it has a time limit, and it is killed
//! when the test drops it.
#![allow(dead_code)] // each test uses its own part

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// Nothing takes this long; a longer wait is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The program with these arguments, and with nothing in its environment that bears on it.
pub(crate) fn closecall(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_closecall"));
    clean(&mut command);
    command.args(args);
    command
}

/// The same behind a line of shell, such as `ulimit -n 64`. The process is the program's own.
pub(crate) fn closecall_after(shell: &str, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    clean(&mut command);
    command.args(["-c", &format!("{shell}; exec \"$0\" \"$@\"")]);
    command.arg(env!("CARGO_BIN_EXE_closecall")).args(args);
    command
}

fn clean(command: &mut Command) {
    command.stdin(Stdio::null()).env_remove("RUST_LOG").env_remove("COLUMNS");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CLOSECALL_") {
            command.env_remove(name);
        }
    }
}

/// What came out of a pipe so far.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<(Mutex<Contents>, Condvar)>);

#[derive(Default)]
struct Contents {
    bytes: Vec<u8>,
    /// There may be more.
    open: bool,
}

impl Output {
    /// Reads `pipe` to its end, in a thread of its own.
    pub(crate) fn of(mut pipe: impl Read + Send + 'static) -> Output {
        let output = Output::default();
        output.0.0.lock().unwrap().open = true;
        let writes = output.clone();
        thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                writes.0.0.lock().unwrap().bytes.extend_from_slice(&buffer[..count]);
                writes.0.1.notify_all();
            }
            writes.0.0.lock().unwrap().open = false;
            writes.0.1.notify_all();
        });
        output
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.0.lock().unwrap().bytes.clone()).expect("output is text")
    }

    /// Waits until what came out is as `expected`, and returns it.
    #[track_caller]
    pub(crate) fn wait_until(&self, expected: impl Fn(&str) -> bool) -> String {
        self.wait(|read| expected(&String::from_utf8_lossy(&read.bytes)))
    }

    /// Waits until a whole line with `text` in it came out, and returns all that did.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(|all| all.rsplit_once('\n').is_some_and(|(whole, _)| whole.contains(text)))
    }

    /// Waits for its first line; `None` if it ends without one.
    #[track_caller]
    pub(crate) fn first_line(&self) -> Option<String> {
        let text = self.wait(|read| !read.open || read.bytes.contains(&b'\n'));
        text.split_once('\n').map(|(line, _)| line.to_owned())
    }

    /// Waits for its end, and returns all of it.
    #[track_caller]
    pub(crate) fn wait_to_end(&self) -> String {
        self.wait(|read| !read.open)
    }

    #[track_caller]
    fn wait(&self, expected: impl Fn(&Contents) -> bool) -> String {
        let (read, more) = &*self.0;
        let waited = more.wait_timeout_while(read.lock().unwrap(), PATIENCE, |r| !expected(r));
        let (read, timeout) = waited.unwrap();
        let text = String::from_utf8_lossy(&read.bytes).into_owned();
        assert!(!timeout.timed_out(), "waited in vain, and got: {text}");
        text
    }
}

/// A process that runs.
pub(crate) struct Process {
    id: u32,
    exit: mpsc::Receiver<ExitStatus>,
    status: Option<ExitStatus>,
    /// Its stdout, if that is a pipe.
    pub(crate) stdout: Output,
    /// Its stderr, if that is a pipe.
    pub(crate) stderr: Output,
}

impl Process {
    /// Starts `command`; stdout and stderr are read.
    pub(crate) fn start(mut command: Command) -> Process {
        Process::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Takes over `child`, and reads those of its pipes that the caller has not taken.
    pub(crate) fn of(mut child: Child) -> Process {
        let stdout = child.stdout.take().map(Output::of).unwrap_or_default();
        let stderr = child.stderr.take().map(Output::of).unwrap_or_default();
        let id = child.id();
        let (tell, exit) = mpsc::channel();
        thread::spawn(move || tell.send(child.wait().unwrap()));
        Process { id, exit, status: None, stdout, stderr }
    }

    /// Its number, which is what /proc calls it.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The addresses on which it reports to listen: the first `count` of them.
    #[track_caller]
    pub(crate) fn addresses(&self, count: usize) -> Vec<SocketAddr> {
        let text = self.stdout.wait_until(|text| text.matches('\n').count() >= count);
        let address = |line: &str| line.strip_prefix("listening on ")?.parse().ok();
        text.lines().take(count).map(|line| address(line).expect(line)).collect()
    }

    /// The address on which it reports to listen.
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses(1)[0]
    }

    /// Waits until the program handles SIGINT: before that it would just be killed.
    pub(crate) fn wait_for_sigint_handler(&self) {
        // Its thread begins when all is set up. The handler alone is there a little earlier, and a
        // signal that comes in between is lost.
        let is_signals = |task: std::io::Result<std::fs::DirEntry>| {
            let name = std::fs::read_to_string(task.unwrap().path().join("comm"));
            name.is_ok_and(|name| name == "signals\n")
        };
        let tasks = format!("/proc/{}/task", self.id);
        while !std::fs::read_dir(&tasks).unwrap().any(is_signals) {
            thread::yield_now();
        }
    }

    /// A line of its `/proc/PID/status` (proc_pid_status(5)), by name.
    #[track_caller]
    pub(crate) fn proc_status(&self, name: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap();
        let named =
            |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
        status.lines().find_map(named).expect(name)
    }

    /// Sends a signal: `TERM`, `INT`, `HUP`.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        assert!(kill(name, self.id), "kill -{name}");
    }

    /// Waits for the end of the process and of what it says, and returns the exit code.
    #[track_caller]
    pub(crate) fn exit_code(&mut self) -> i32 {
        let status = self.exit_status();
        status.code().unwrap_or_else(|| panic!("{status}: {}", self.stderr.text()))
    }

    /// The same, where a signal may have ended it.
    #[track_caller]
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        let status = self.exit.recv_timeout(PATIENCE).expect("it should have ended");
        self.status = Some(status);
        self.stdout.wait_to_end();
        self.stderr.wait_to_end();
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_none() && self.exit.try_recv().is_err() {
            kill("KILL", self.id);
        }
    }
}

fn kill(signal: &str, id: u32) -> bool {
    let status = Command::new("kill").args([&format!("-{signal}"), &id.to_string()]).status();
    status.is_ok_and(|status| status.success())
}

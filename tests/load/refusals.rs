//! Refusals: a wrong command is exit code 2, one that the machine cannot carry out is 3, and each
//! is one line.

use std::process::Command;

use crate::process::{Process, closecall, closecall_after};
use crate::scratch::Scratch;
use crate::serve;
use crate::skip::skips;

/// Runs `command` to its end and returns the one line that it says.
#[track_caller]
fn refusal(command: Command, code: i32) -> String {
    let mut process = Process::start(command);
    let (exit_code, stderr) = (process.exit_code(), process.stderr.text());
    assert_eq!((exit_code, process.stdout.text()), (code, String::new()), "{stderr}");
    let line = stderr.strip_suffix('\n').expect("a whole line");
    assert!(!line.contains(char::is_control), "one line: {line:?}");
    line.strip_prefix("closecall: ").expect(line).to_owned()
}

#[track_caller]
fn refuses(command: Command, code: i32, fragments: &[&str]) {
    let line = refusal(command, code);
    for fragment in fragments {
        assert!(line.contains(fragment), "{fragment}: {line}");
    }
}

/// Nothing has listened on this port for decades.
const NO_SERVER: &str = "127.0.0.1:1";

const BAD: &[(&str, &[&str], &str)] = &[
    ("--connections", &["", "0", "-1", "16777217"], "from 1 to 16777216"),
    ("--duration", &["", "0s", "10", "off", "-1s"], "from 1ms to 8760h"),
    ("--timeout", &["0ms", "off"], "from 1ms to 8760h"),
    ("--every-report", &["9ms", "1", "off"], "from 10ms to 8760h"),
    ("--warmup", &["0s", "5", "off"], "from 1ms to 8760h"),
    ("--ramp", &["0", "-1"], "from 1 to 10000000"),
    ("--size", &["0", "1048577", "1k"], "from 1 to 1048576"),
    ("--processes", &["0", "257"], "from 1 to 256"),
    ("--pid", &["0", "-1", "x"], "a process id"),
    (
        "--source",
        &["", "127.0.0.1/33", "224.0.0.1", "0.0.0.0", "255.255.255.255", "localhost", "127.0.1/24"],
        "127.0.1.0/24",
    ),
    ("--every", &["0s", "5", "never"], "or off for none"),
    ("--format", &["xml", "markdown"], "table or json"),
    ("--fail-if", &["p99", "p99=5ms", ""], "expected one of <, <=, > and >=, as in p99>5ms"),
    ("--fail-if", &["q99>5ms", "p101>5ms"], "is not a metric: expected p50, p99.9 or another"),
    ("--fail-if", &["p99>5", "p99>5ms,max>1s"], "expected a duration in ns, us, ms or s"),
];

const BAD_OF_ECHO: &[(&str, &[&str], &str)] = &[
    ("--rate", &["0", "1.5", "off", "10000001"], "from 1 to 10000000"),
    ("--depth", &["0", "1025"], "from 1 to 1024"),
    ("--find-rate", &["p99>5ms", "p99<5ms,max>=1s"], "expected < or <=, as in p99<5ms"),
    ("--find-rate", &["rate<5", "p99<5ms,rate<=5"], "the rate is the result of the search"),
    ("--find-rate", &["p99<5ms,", ""], "expected one of <"),
    ("--arrivals", &["odd", "Poisson"], "even or poisson"),
];

#[test]
fn a_bad_value_is_named_with_its_option_and_what_is_allowed() {
    for (mode, rows) in [("hold", BAD), ("echo", BAD_OF_ECHO)] {
        for (option, values, allowed) in rows {
            for value in *values {
                let command = closecall(&["load", mode, NO_SERVER, option, value]);
                refuses(command, 2, &[&format!("{option} '{value}': "), allowed]);
            }
        }
    }
    // The short names are the same options.
    for (short, value, long) in [("-c", "0", "--connections"), ("-d", "10", "--duration")] {
        let line = refusal(closecall(&["load", "hold", NO_SERVER, short, value]), 2);
        assert!(line.starts_with(&format!("{long} '{value}': ")), "{line}");
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for (arguments, fragments) in [
        (&["hold", NO_SERVER, "--rate", "5"][..], ["--rate", "echo or churn"]),
        (&["hold", NO_SERVER, "--find-rate", "p99<5ms"], ["--find-rate", "echo or churn"]),
        (
            &["echo", NO_SERVER, "--find-rate", "p99<5ms", "--rate", "5"],
            ["--find-rate and --rate", "cannot be used together"],
        ),
        (&["churn", NO_SERVER, "--hdr", "x", "--find-rate", "p99<5ms"], ["--find-rate", "--hdr"]),
        (&["churn", NO_SERVER, "--every", "5s"], ["--every", "hold or echo"]),
        (&["hold", NO_SERVER, "--arrivals", "even"], ["--arrivals", "echo or churn"]),
        (&["echo", NO_SERVER, "--arrivals", "poisson"], ["--arrivals", "--rate"]),
        (&["churn", NO_SERVER, "--depth", "2"], ["--depth", "is an option of echo;"]),
        (&["echo", NO_SERVER, "-c", "2", "--processes", "3"], ["--processes 3", "-c, which is 2"]),
        (&["echo", NO_SERVER, "--source", "::1"], ["--source", "expected an IPv4"]),
        (&["echo"], ["ADDR is missing", "127.0.0.1:20003"]),
        (&["merge"], ["FILE is missing", "--hdr"]),
        (&[], ["subcommand is missing", "hold, echo, churn, merge;"]),
        (&["hodl"], ["'hodl'", "hold, echo, churn, merge;"]),
        (&["echo", NO_SERVER, "--hdr", ""], ["--hdr ''", "expected a path that is not empty"]),
        (&["echo", NO_SERVER, "--depht", "1"], ["--depht", "did you mean --depth"]),
    ] {
        refuses(closecall(&[&["load"], arguments].concat()), 2, &fragments);
    }
}

/// The help of a mode shows what the mode takes, and how it is used.
#[test]
fn the_help_of_a_mode_has_no_option_that_the_mode_refuses() {
    let options = ["--rate ", "--depth ", "--ramp ", "--every ", "--find-rate ", "--arrivals "];
    for (mode, has) in [
        ("hold", [false, false, true, true, false, false]),
        ("echo", [true; 6]),
        ("churn", [true, false, false, false, true, true]),
    ] {
        let mut process = Process::start(closecall(&["load", mode, "--help"]));
        assert_eq!(process.exit_code(), 0);
        let help = process.stdout.text();
        let is_shown =
            options.map(|option| help.lines().any(|line| line.trim_start().starts_with(option)));
        assert_eq!(is_shown, has, "{mode}: {help}");
        assert!(help.contains(&format!("closecall load {mode} 127.0.0.1:20003")), "{help}");
    }
}

#[test]
fn no_server_is_one_line_with_a_remedy() {
    for mode in ["hold", "echo", "churn"] {
        for options in [&[][..], &["--processes", "2"], &["--prefix", ""]] {
            let command = closecall(&[&["load", mode, NO_SERVER], options].concat());
            refuses(command, 3, &[NO_SERVER, "start `closecall serve`"]);
        }
    }
}

#[test]
fn too_few_files_are_found_before_the_first_connection() {
    let (_server, address) = serve(&[]);
    let address = address.to_string();
    let files = |arguments: &[&str]| {
        closecall_after("ulimit -n 64", &[&["load", "hold", &address], arguments].concat())
    };
    refuses(files(&["-c", "100"]), 3, &["-c 100", "limit of 64", "--processes 3", "ulimit -n 116"]);
    refuses(files(&["-c", "100", "--processes", "2"]), 3, &["48 connections a process"]);
}

#[test]
fn too_few_ports_are_found_before_the_first_connection() {
    let (_server, address) = serve(&[]);
    let address = address.to_string();
    // No range of ports is larger than 65,536.
    let run = ["load", "hold", &address, "-c", "66000", "--processes", "250"];
    let run = [&run[..], &["--source", "127.0.0.1"]].concat();
    refuses(closecall(&run), 3, &["ip_local_port_range", "1 source address ", "--source"]);
}

/// Regression: with --hdr this was a panic, without it the count was too low.
#[test]
fn files_that_count_too_much_together_are_refused() {
    let folder = Scratch::new("too-many");
    let [file, out] = ["many.hdr", "out.hdr"].map(|name| folder.beside(name));
    // 2^63 - 1 latencies of 0 ns: cookie, length, offset, digits, bounds, ratio, ZigZag LEB128.
    let ratio = 1f64.to_be_bytes();
    let head = [&[0x1c, 0x84, 0x93, 0x13, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 3][..]].concat();
    let bounds = [1u64.to_be_bytes(), 3_600_000_000_000u64.to_be_bytes(), ratio].concat();
    let count = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    std::fs::write(&file, [&head[..], &bounds, &count].concat()).unwrap();
    let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
    for more in [&[file][..], &["--hdr", out], &[file, "--hdr", out]] {
        let command = closecall(&[&["load", "merge", file, file], more].concat());
        refuses(command, 3, &[file, "more than 9223372036854775807 latencies"]);
    }
}

/// Regression: a run that was refused left two empty files.
#[test]
fn a_run_that_is_refused_leaves_no_files() {
    let folder = Scratch::new("refused-hdr");
    let [new, old] = ["new.hdr", "old.hdr"].map(|name| folder.beside(name));
    std::fs::write(&old, "old").unwrap();
    for path in [&new, &old] {
        let run = ["load", "echo", NO_SERVER, "--hdr", path.to_str().unwrap()];
        refuses(closecall(&run), 3, &[NO_SERVER]);
    }
    let left: Vec<_> = std::fs::read_dir(folder.beside("")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(std::fs::read_to_string(old).unwrap(), "old");
}

/// Regression: opening a FIFO waits for a process that reads it, and nothing said so.
#[test]
fn a_fifo_that_nothing_reads_is_refused() {
    let folder = Scratch::new("fifo-hdr");
    let fifo = folder.beside("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|it| it.success()));
    let run = ["load", "echo", NO_SERVER, "--hdr", fifo.to_str().unwrap()];
    refuses(closecall(&run), 3, &["--hdr", "no process reads this FIFO"]);
}

#[test]
fn the_text_of_a_histogram_is_not_merged() {
    let folder = Scratch::new("hgrm-merge");
    let [run, text] = ["run.hdr", "run.hdr.hgrm"].map(|name| folder.beside(name));
    std::fs::write(&text, "       Value     Percentile\n").unwrap();
    let (run, text) = (run.to_str().unwrap(), text.to_str().unwrap());
    let merge = ["load", "merge", text];
    refuses(closecall(&merge), 3, &[text, "text form of a histogram", &format!("give {run}")]);
}

/// A user with a limit of processes and threads. Regression test for a panic of `thread::spawn`.
#[test]
fn too_few_threads_are_refused() {
    let (_server, address) = serve(&[]);
    let user = (700_000 + std::process::id()).to_string();
    let limited = |limit: u32, args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "prlimit"]);
        command.arg(format!("--nproc={limit}")).arg(env!("CARGO_BIN_EXE_closecall")).args(args);
        command
    };
    if !limited(50, &["--version"]).output().is_ok_and(|it| it.status.success()) {
        return skips("root, setpriv and prlimit of util-linux, and a program that all may run");
    }
    let run = ["load", "echo", &address.to_string(), "-c1", "-d10ms"];
    let mut limit = 1;
    loop {
        let mut process = Process::start(limited(limit, &run));
        let (code, stderr) = (process.exit_code(), process.stderr.text());
        if code == 0 {
            break;
        }
        assert_eq!((code, stderr.lines().count()), (3, 1), "{limit}: {stderr}");
        assert!(stderr.contains("ulimit -u"), "{limit}: {stderr}");
        limit += 1;
        assert!(limit < 20, "{stderr}");
    }
    assert!(limit > 1, "a run has more than one thread");
}

#[test]
fn what_is_not_there_is_refused() {
    let (_server, address) = serve(&[]);
    let address = address.to_string();
    let echo = |arguments: &[&str]| closecall(&[&["load", "echo", &address], arguments].concat());
    refuses(echo(&["--pid", "4294967295"]), 3, &["--pid 4294967295", "no such process"]);
    // RFC 5737: an address for documentation, which no machine has.
    refuses(echo(&["--source", "192.0.2.7"]), 3, &["192.0.2.7", "addresses of this machine"]);
    refuses(echo(&["--hdr", "/nowhere/at/all"]), 3, &["--hdr", "/nowhere/at/all"]);
    refuses(closecall(&["load", "merge", "/nowhere/at/all"]), 3, &["/nowhere/at/all"]);
    refuses(closecall(&["load", "merge", "Cargo.toml"]), 3, &["Cargo.toml", "not an HdrHistogram"]);
}

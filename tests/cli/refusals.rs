//! Every usage error is exit code 2, every refusal of the machine exit code 3, and each is one
//! line.

use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use crate::process::{Process, closecall, closecall_after};

/// Runs `command` to its end and gives the one line that it says.
#[track_caller]
pub(crate) fn refusal(command: Command, code: i32) -> String {
    let mut process = Process::start(command);
    let (exit_code, stderr) = (process.exit_code(), process.stderr.text());
    assert_eq!(exit_code, code, "{stderr}");
    assert_eq!(process.stdout.text(), "");
    let line = stderr.strip_suffix('\n').expect("a whole line");
    assert!(!line.contains(char::is_control), "one line: {line:?}");
    line.strip_prefix("closecall: ").expect(line).to_owned()
}

#[track_caller]
pub(crate) fn usage(args: &[&str], fragments: &[&str]) {
    let line = refusal(closecall(args), 2);
    for fragment in fragments {
        assert!(line.contains(fragment), "{args:?}: {line}");
    }
}

const DEADLINE: &str = "a duration from 1ms to 8760h, such as 250ms, 10s, 2m or 1h, or off";
const WAIT: &str = "a duration from 0s to 8760h, such as 250ms, 10s, 2m or 1h";

/// Option, values that are none, and what is allowed instead.
const BAD: &[(&str, &[&str], &str)] = &[
    ("--listen", &["", "20003", "127.0.0.1", "::1:1", ":1", "a:b"], "127.0.0.1:20003 or [::1]:0"),
    ("--framing", &["", "Chunk", "lines"], "chunk, line or raw"),
    ("--read-buffer", &["", "0", "-1", "16777217", "64K", "1e3"], "from 1 to 16777216"),
    ("--read-deadline", &["", "0s", "10", "1.5s", "-1s", "1d", "8761h", "never"], DEADLINE),
    ("--write-deadline", &["0ms", "10", "99999999999999999999s"], DEADLINE),
    ("--verdict-wait", &["off", "2", "8761h"], WAIT),
    ("--drain", &["off", "-5s", "8761h"], WAIT),
    ("--max-connections", &["", "0", "-1", "off", "16777217"], "from 1 to 16777216"),
    ("--overload", &["", "drop"], "wait or shed"),
    ("--max-per-ip", &["0", "-1", "none", "4294967296"], "from 1 to 4294967295, or off"),
    ("--max-age", &["", "0s", "99ms", "10", "-1s", "8761h"], "from 100ms to 8760h"),
    (
        "--output-memory",
        &["", "0", "65535", "-1", "1125899906842625", "64M"],
        "a number of bytes from 65536 to 1125899906842624, or off",
    ),
    ("--user-timeout", &["0s", "5", "577h"], "from 1ms to 576h"),
    ("--keepalive", &["999ms", "0s", "10h"], "from 1s to 9h"),
    ("--backlog", &["0", "-1", "2147483648"], "from 1 to 2147483647"),
];

#[test]
fn a_bad_value_is_named_with_its_option_and_what_is_allowed() {
    for (option, values, allowed) in BAD {
        for value in *values {
            usage(&["serve", option, value], &[&format!("{option} '{value}': "), allowed]);
        }
    }
    let long = "x".repeat(4097);
    usage(&["serve", "--prefix", &long], &["--prefix", "at most 4096 bytes, got 4097"]);
    usage(&["serve", "--framing", "a\nb\x1b[31m"], &["--framing", "a\\nb\\u{1b}[31m"]);
}

#[test]
fn a_bad_value_in_the_environment_is_named_with_its_variable() {
    for (option, values, allowed) in BAD {
        let name = option.trim_start_matches('-').to_uppercase().replace('-', "_");
        let variable = format!("CLOSECALL_{name}");
        let mut command = closecall(&["serve"]);
        let value = values.last().unwrap();
        command.env(&variable, value);
        let line = refusal(command, 2);
        let all = [&variable, *option, &format!("'{value}'"), *allowed];
        assert!(all.iter().all(|part| line.contains(part)), "{line}");
    }
    let mut command = closecall(&["serve"]);
    command.env("CLOSECALL_REUSE_PORT", "maybe");
    assert!(refusal(command, 2).contains("CLOSECALL_REUSE_PORT"));
    let mut command = closecall(&["serve"]);
    command.env("CLOSECALL_PREFIX", std::ffi::OsStr::from_bytes(b"\xff"));
    assert!(refusal(command, 2).contains("CLOSECALL_PREFIX"));
}

#[test]
fn a_command_line_that_makes_no_sense_is_a_usage_error() {
    usage(&[], &["subcommand is missing", "serve"]);
    usage(&["serv"], &["'serv'", "expected serve, client, lab, load;"]);
    usage(&["serve", "--close-log", ""], &["--close-log ''", "a path that is not empty"]);
    usage(&["--listen", "127.0.0.1:0"], &["'--listen'", "closecall --help"]);
    usage(&["serve", "--listne", "x"], &["'--listne'", "--listen", "serve --help"]);
    usage(&["serve", "127.0.0.1:0"], &["unexpected", "'127.0.0.1:0'"]);
    usage(&["serve", "--drain"], &["--drain", "needs a value"]);
    usage(&["serve", "--framing"], &["--framing needs a value", "chunk|line|raw"]);
    usage(&["serve", "--framing", "--drain", "5s"], &["--framing needs a value"]);
    usage(&["serve", "--framing="], &["--framing '': expected chunk, line or raw"]);
    usage(&["lab", "--format", "xml"], &["--format 'xml': expected table, json or markdown"]);
    usage(&["serve", "--drain", "1s", "--drain", "2s"], &["--drain", "once"]);
    usage(&["serve", "--reuse-port=yes"], &["--reuse-port", "'yes'"]);
    let twice = ["serve", "--listen", "127.0.0.1:20003", "--listen", "127.0.0.1:20003"];
    usage(&twice, &["--listen", "127.0.0.1:20003", "once"]);
    let mut command = closecall(&["serve"]);
    command.args(["--prefix".as_ref(), std::ffi::OsStr::from_bytes(b"\xff")]);
    assert!(refusal(command, 2).contains("UTF-8"));
}

#[test]
fn an_address_in_use_is_refused() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let line = refusal(closecall(&["serve", "--listen", &address]), 3);
    assert!(line.contains(&address) && line.contains("another port"), "{line}");
}

#[test]
fn an_address_of_another_machine_is_refused() {
    let line = refusal(closecall(&["serve", "--listen", "192.0.2.1:0"]), 3);
    assert!(line.contains("192.0.2.1:0") && line.contains("of this machine"), "{line}");
}

/// Root is without the right to low ports here. Elsewhere a setting may permit them to any user.
#[cfg(target_os = "linux")]
#[test]
#[allow(clippy::print_stderr)]
fn a_port_that_is_not_permitted_is_refused() {
    let setting = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if setting.is_ok_and(|first| first.trim().parse::<u16>().is_ok_and(|first| first <= 1)) {
        eprintln!("skipped: needs net.ipv4.ip_unprivileged_port_start above 1");
        return;
    }
    let args = ["serve", "--listen", "127.0.0.1:1"];
    let mut command = closecall(&args);
    let may = TcpListener::bind("127.0.0.1:1");
    if !may.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied) {
        let drops = "setpriv --bounding-set -net_bind_service --inh-caps -net_bind_service";
        if !Command::new("sh").args(["-c", &format!("{drops} true")]).status().unwrap().success() {
            eprintln!("skipped: needs setpriv (util-linux), or a user other than root");
            return;
        }
        let shell = format!("set -- {drops} \"$0\" \"$@\"; exec \"$@\"");
        command = closecall_after(&shell, &args);
    }
    let line = refusal(command, 3);
    assert!(line.contains("127.0.0.1:1") && line.contains("above 1023"), "{line}");
}

#[test]
fn too_few_files_are_refused_and_few_files_are_enough() {
    let many = ["serve", "--listen", "127.0.0.1:0", "--max-connections", "44"];
    let line = refusal(closecall_after("ulimit -n 64", &many), 3);
    assert!(line.contains("--max-connections 44") && line.contains("allows 43"), "{line}");
    assert!(line.contains("ulimit -n 65") && line.contains("limit of 64"), "{line}");
    let line = refusal(closecall_after("ulimit -n 21", &many[..3]), 3);
    assert!(line.contains("ulimit -n") && line.contains("21"), "{line}");

    let mut server = Process::start(closecall_after("ulimit -n 64", &many[..3]));
    let clients: Vec<_> = (0..43).map(|_| crate::connect(server.address())).collect();
    for mut client in clients {
        crate::echo(&mut client);
    }
    let stderr = crate::stop(&mut server);
    assert!(stderr.contains("at most 43 connections"), "{stderr}");
    assert!(!stderr.contains("EMFILE"), "{stderr}");
    assert_eq!(crate::row(&stderr, "accepted"), Some(43));
}

#[test]
fn a_close_log_that_cannot_be_opened_is_refused() {
    for path in ["/", "/nowhere/close.log", "/dev/null/x"] {
        let args = ["serve", "--listen", "127.0.0.1:0", "--close-log", path];
        let line = refusal(closecall(&args), 3);
        assert!(line.contains("--close-log") && line.contains(path), "{line}");
    }
}

/// A limit of memory ended in an abort, or in a line about signals. The loader needs some memory
/// before there is a program to say anything: that is 127.
#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_is_refused_and_named() {
    let args = ["serve", "--listen", "127.0.0.1:0"];
    let big = ["--framing", "line", "--read-buffer", "16777216"];
    let line = refusal(closecall_after("ulimit -v 30000", &[&args, &big[..]].concat()), 3);
    assert!(line.contains("memory") && line.contains("ulimit -v"), "{line}");
    assert!(line.contains("--read-buffer") && line.contains("--max-connections"), "{line}");
    let lab = ["lab", "--only", "S1", "--repeat", "1"];
    let load = ["load", "echo", "127.0.0.1:1", "-c", "1"];
    let mut named = 0;
    // The loader and Rust's runtime end the process before the program begins. Where they have just
    // enough is not known, and between that and enough for the program is little.
    for kib in (8_000..11_000).step_by(50).chain((11_000..26_000).step_by(1_000)) {
        for args in [&args[..], &lab, &load] {
            let mut process = Process::start(closecall_after(&format!("ulimit -v {kib}"), args));
            if process.stdout.first_line().is_some() {
                continue; // it was enough
            }
            let (status, stderr) = (process.exit_status(), process.stderr.text());
            // Without memory for a page of its stack the process dies of SIGSEGV, without a word.
            let is_before_main = match status.code() {
                Some(code) => code == 127,
                None => stderr.is_empty() || stderr.contains("error: initialization"),
            };
            if is_before_main {
                continue;
            }
            let is_named = status.code() == Some(3)
                && (stderr.contains("memory") && stderr.contains("ulimit -v")
                    || stderr.contains("127.0.0.1:1: ")); // enough memory, and nothing listens
            assert!(is_named, "{kib} KiB: {args:?}: {status}: {stderr}");
            named += u32::from(stderr.contains("ulimit -v"));
        }
    }
    assert!(named > 0, "each limit was enough, or too little for the loader");
}

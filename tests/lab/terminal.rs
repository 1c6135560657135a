//! Promise: on a terminal the lab stays within its width, has colours unless NO_COLOR says no,
//! shows how far it is, and Ctrl-C leaves what was played.
//!
//! The terminal is one of script(1) of util-linux; where there is none, a test says `skipped: needs
//! script`.
#![cfg(all(target_os = "linux", feature = "cli"))]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::process::{self, Process};
use serde_json::Value;

/// A terminal of so many columns, whose stdin we hold; what runs there is a line of shell in which
/// `$CLOSECALL` is the program. What the terminal shows is the process's stdout.
struct Terminal {
    process: Process,
    keys: ChildStdin,
}

impl Terminal {
    /// `None` where there is no script(1); that is said.
    #[track_caller]
    fn open(columns: u16, shell: &str) -> Option<Terminal> {
        let version = Command::new("script").arg("--version").output();
        if !version.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).contains("util-linux")) {
            #[allow(clippy::print_stderr)] // for the person who runs the tests
            let () = eprintln!("skipped: needs script of util-linux");
            return None;
        }
        let shell = format!("stty cols {columns} rows 24 -echo; {shell}");
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &shell, "/dev/null"]);
        command.env("CLOSECALL", env!("CARGO_BIN_EXE_closecall"));
        command.env("SHELL", "/bin/sh").env("TERM", "xterm").env_remove("NO_COLOR");
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child: Child = pipes.spawn().unwrap();
        let keys = child.stdin.take().unwrap();
        Some(Terminal { process: Process::of(child), keys })
    }

    /// What it has shown when all is over and went well.
    #[track_caller]
    fn shown(mut self) -> String {
        let code = self.process.exit_code();
        let text = self.process.stdout.text();
        assert_eq!(code, 0, "{text}");
        text
    }
}

/// Without what is between an escape and its letter: colours and movements of the cursor.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain + part.trim_start_matches(|it: char| !it.is_ascii_alphabetic()).get(1..).unwrap_or("")
    })
}

/// The table and the details of the lab, and the reasons in its list.
#[test]
fn no_line_is_longer_than_the_terminal_is_wide() {
    for columns in [40, 80, 140] {
        for args in ["--only S1,S2,S4,S12 --long", "--only S1,S2,S4,S12", "--list"] {
            let shell = format!("exec $CLOSECALL lab {args} 2>/dev/null");
            let Some(terminal) = Terminal::open(columns, &shell) else { return };
            let text = plain(&terminal.shown());
            let longest = text.lines().max_by_key(|line| line.chars().count()).unwrap();
            assert!(longest.chars().count() <= usize::from(columns), "{columns}: {longest:?}");
            let words: Vec<_> = text.split_whitespace().collect();
            let words = words.join(" ");
            let has_reasons = words.contains("is reset by a middlebox");
            assert_eq!(has_reasons, args.contains("--l"), "{text}");
            let has_evidence = words.contains("rx 14 tx 37");
            let is_wide = columns == 140 && args != "--list";
            assert_eq!(has_evidence, args.contains("--long") || is_wide, "{text}");
        }
    }
}

#[test]
fn outcomes_are_coloured_unless_somebody_wants_none() {
    for (columns, args) in [(80, "--only S1"), (140, "--only S1")] {
        for (setting, coloured) in [("", true), ("NO_COLOR=", true), ("NO_COLOR=1", false)] {
            let shell = format!("{setting} exec $CLOSECALL lab {args} 2>/dev/null");
            let Some(terminal) = Terminal::open(columns, &shell) else { return };
            let text = terminal.shown();
            assert!(plain(&text).contains("1 row: 1 ok"), "{text}");
            assert_eq!(text.contains('\x1b'), coloured, "{columns} {setting:?}: {text:?}");
        }
    }
}

#[test]
fn how_far_it_is_stands_on_stderr_if_that_is_a_terminal() {
    let name = format!("closecall-terminal-{}-stderr", std::process::id());
    let stderr = std::env::temp_dir().join(name);
    let shell = "exec $CLOSECALL lab --only S1,S4 --format json >/dev/null";
    let Some(terminal) = Terminal::open(80, shell) else { return };
    let shown = plain(&terminal.shown());
    assert!(shown.contains("0/2") && shown.contains("S1 reads the reply"), "{shown:?}");
    let shell = format!("exec $CLOSECALL lab --only S1,S4 2>{}", stderr.display());
    let Some(terminal) = Terminal::open(80, &shell) else { return };
    let shown = terminal.shown();
    let said = std::fs::read_to_string(&stderr).unwrap();
    std::fs::remove_file(&stderr).unwrap();
    assert_eq!((said.as_str(), shown.contains("0/2")), ("", false), "{shown:?}");
}

#[test]
fn how_far_a_load_is_comes_from_each_of_its_processes() {
    let server = Process::start(process::closecall(&["serve", "--listen", "127.0.0.1:0"]));
    let run = format!(
        "exec $CLOSECALL load echo {} -c4 -d500ms --processes 2 >/dev/null",
        server.address()
    );
    let Some(terminal) = Terminal::open(80, &run) else { return };
    let shown = plain(&terminal.shown());
    assert!(shown.contains("connecting to 127.0.0.1:"), "{shown:?}");
    assert!(shown.contains("measuring: 4 connections, "), "{shown:?}");
}

#[test]
fn ctrl_c_leaves_what_was_played() {
    let name = format!("closecall-terminal-{}-report", std::process::id());
    let path: PathBuf = std::env::temp_dir().join(name);
    let shell = format!(
        "exec $CLOSECALL lab --only 'S1,S3 race,S9' --repeat 100000 --format json >{}",
        path.display()
    );
    let Some(mut terminal) = Terminal::open(80, &shell) else { return };
    // Rows that are done stand before the slash: S1 is, and its race has been run.
    let is_run = |text: &str| text.contains("1/3") && text.contains(" of 100,000: ");
    terminal.process.stdout.wait_until(is_run);
    terminal.keys.write_all(b"\x03").unwrap();
    let code = terminal.process.exit_code();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let shown = terminal.process.stdout.text();
    assert_eq!(code, 1, "{shown}");
    let report: Value = serde_json::from_str(&text).unwrap();
    let rows = report["rows"].as_array().unwrap();
    assert_eq!((&rows[0]["id"], &rows[0]["outcome"]), (&"S1".into(), &"ok".into()), "{report:#}");
    assert_eq!(rows.len(), 2, "S9 was not played: {report:#}");
    assert!(shown.contains("interrupted after 2 of 3 rows"), "{shown}");
}

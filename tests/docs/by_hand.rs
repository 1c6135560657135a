//! "Each ending, by hand" in docs/CLOSING.md: each command of Python or nc ends its connection as
//! the comment above it says.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::markdown::Document;
use crate::process::{Process, closecall};
use crate::scratch::Scratch;
use crate::skipped;

/// A line of shell, and the verdicts in the comment above it.
fn commands() -> Vec<(String, Vec<String>)> {
    let document = Document::read(Path::new("docs/CLOSING.md"));
    let is_by_hand = |text: &str| text.contains("python3 -c") && text.contains("nc ");
    let block = document.blocks.iter().find(|block| is_by_hand(&block.piece.text));
    let block = block.expect("docs/CLOSING.md has endings by hand");
    let (mut commands, mut verdicts) = (Vec::new(), Vec::new());
    for line in block.piece.text.lines() {
        match line.strip_prefix("# ") {
            Some(comment) => {
                let is_letter = |it: char| it.is_ascii_lowercase() || it == '_' || it == '.';
                let words = comment.split(|it| !is_letter(it));
                // "peer_fin.half_close_served, or delivered if …": the family stands there once.
                verdicts = words.filter(|word| word.len() > 4).map(str::to_owned).collect();
            }
            None => commands.push((line.to_owned(), verdicts.clone())),
        }
    }
    commands
}

fn help_of(program: &str) -> String {
    let output = Command::new(program).arg("-h").stdin(Stdio::null()).output();
    output.map_or_else(|_| String::new(), |it| String::from_utf8_lossy(&it.stderr).into_owned())
}

/// Those for which this machine has the programs: Python, and OpenBSD's nc, which has `-N`.
fn possible() -> Vec<(String, Vec<String>)> {
    let has_python =
        Command::new("python3").arg("-c").arg("").status().is_ok_and(|it| it.success());
    let has_nc = help_of("nc").contains("OpenBSD");
    if !has_python {
        skipped("python3");
    }
    if !has_nc {
        skipped("OpenBSD's nc");
    }
    let is_possible = |line: &str| {
        let needs_python = line.starts_with("python3 ");
        if needs_python { has_python } else { has_nc }
    };
    commands().into_iter().filter(|(line, _)| is_possible(line)).collect()
}

#[test]
fn each_ending_by_hand_is_what_its_comment_says() {
    let scratch = Scratch::new("docs-by-hand");
    let options = ["--read-deadline", "3s", "--close-log", scratch.path()];
    let base = ["serve", "--listen", "127.0.0.1:0"];
    let mut server = Process::start(closecall(&[&base[..], &options].concat()));
    let port = server.address().port().to_string();
    server.wait_for_sigint_handler();
    let commands = possible();
    for (line, _) in &commands {
        let line = line.replace("20003", &port);
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = shell.status().unwrap();
        assert!(status.success(), "{line}");
    }
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    let text = scratch.text();
    let mut records: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // One command after the other, and each is one connection.
    records.sort_by_key(|record| record["id"].as_u64());
    assert_eq!(records.len(), commands.len(), "{text}");
    for ((line, expected), record) in commands.iter().zip(&records) {
        let verdict = record["verdict"].as_str().unwrap();
        let is_said = expected.iter().any(|word| {
            word == verdict || verdict.split_once('.').is_some_and(|(_, name)| name == word)
        });
        assert!(is_said, "{line}: {verdict}, and the comment has {expected:?}");
    }
}

//! Verdicts, scenarios of the lab and options that the documents name are those of the program.

use std::collections::HashSet;
use std::path::Path;

use closecall::machine::close::Kind;

use crate::assert_clean;
use crate::markdown::{self, Document};
use crate::process::closecall;

const FAMILIES: &[&str] =
    &["peer_fin.", "peer_reset.", "timeout.", "local_fin.", "local.", "local_reset.", "handshake."];

fn is_word(name: &str) -> bool {
    name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
}

#[test]
fn verdicts_that_are_named_exist() {
    let (mut broken, mut checked) = (Vec::new(), 0);
    for document in markdown::written() {
        for span in &document.spans {
            let rest = FAMILIES.iter().find_map(|family| span.text.strip_prefix(family));
            // `peer_reset.…` and `peer_fin.*` name a family.
            if rest.is_some_and(is_word) {
                if span.text.parse::<Kind>().is_err() {
                    broken.push(format!("{}: {}", document.at(span), span.text));
                }
                checked += 1;
            }
        }
    }
    assert_clean(&broken);
    assert!(checked > 100, "they were not found: {checked}");
}

/// The names in `closecall lab --list`: those that are played, and those that are not.
fn scenarios() -> HashSet<String> {
    let output = closecall(&["lab", "--list"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        // "   S3 FIN first closes at once  …": the name is what precedes the client's column.
        let name: String = line.strip_prefix("   ")?.chars().take(40).collect();
        name.starts_with('S').then_some(name)
    };
    text.lines().filter_map(line).collect()
}

#[test]
fn scenarios_that_are_named_exist() {
    let known = scenarios();
    let document = Document::read(Path::new("docs/DIAGNOSE.md"));
    let is_scenario = |text: &str| {
        let mut letters = text.chars();
        letters.next() == Some('S') && letters.next().is_some_and(|it| it.is_ascii_digit())
    };
    let named: Vec<_> = document.spans.iter().filter(|span| is_scenario(&span.text)).collect();
    let exists = |name: &str| known.iter().any(|line| line.starts_with(&format!("{name} ")));
    let broken = named.iter().filter(|span| !exists(&span.text));
    let broken: Vec<String> =
        broken.map(|span| format!("{}: {}", document.at(span), span.text)).collect();
    assert_clean(&broken);
    assert!(named.len() > 40, "they were not found: {}", named.len());
}

/// Options of other programs that the documents name.
const OF_OTHERS: &[(&str, &str)] = &[
    ("--anyprot", "sslh"),
    ("--baseline", "cargo bench"),
    ("--example", "cargo"),
    ("--features", "cargo"),
    ("--locked", "cargo"),
    ("--nocapture", "a test program"),
    ("--release", "cargo"),
    ("--sh-exec", "ncat"),
    ("--test", "cargo"),
];

/// Every option that the program has, as its help shows them.
fn options() -> HashSet<String> {
    let commands: &[&[&str]] = &[
        &[],
        &["serve"],
        &["client"],
        &["lab"],
        &["load", "hold"],
        &["load", "echo"],
        &["load", "churn"],
        &["load", "merge"],
    ];
    let help = commands.iter().flat_map(|command| {
        let output = closecall(&[command, &["--help"][..]].concat()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let words = text.split(|it: char| !it.is_ascii_lowercase() && it != '-');
        words.filter(|word| word.starts_with("--")).map(str::to_owned).collect::<Vec<_>>()
    });
    help.collect()
}

/// `--option` in a line of text. Scripts of atlas/ and benches/ have options of their own.
#[test]
fn options_that_are_named_exist() {
    let known = options();
    let is_option =
        |name: &str| known.contains(name) || OF_OTHERS.iter().any(|(other, _)| *other == name);
    let (mut broken, mut checked) = (Vec::new(), 0);
    // A proxy's log has `--` where nothing is to be said.
    let is_named = |text: &str| {
        let letters = text.strip_prefix("--").unwrap_or_default();
        letters.starts_with(|it: char| it.is_ascii_lowercase())
    };
    let is_of_a_script =
        |path: &Path| ["atlas", "benches"].iter().any(|folder| path.starts_with(folder));
    for document in markdown::written().filter(|document| !is_of_a_script(&document.path)) {
        for span in document.spans.iter().filter(|span| is_named(&span.text)) {
            let name = span.text.split([' ', '=', '[']).next().unwrap();
            if !is_option(name) {
                broken.push(format!("{}: {name}", document.at(span)));
            }
            checked += 1;
        }
    }
    assert_clean(&broken);
    assert!(checked > 100, "they were not found: {checked}");
}

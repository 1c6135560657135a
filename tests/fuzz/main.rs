//! Promise: whatever bytes a fuzzer has found, each of its targets holds on them.
//!
//! `make fuzz` looks for more. Here what is in `fuzz/corpus` (inputs that reach every corner) and
//! in `fuzz/found` (inputs that failed once, by what was wrong) is replayed without a fuzzer.

mod classifier;
mod connection;
mod framing;
#[path = "../simulation/classifier/promises.rs"]
mod promises;
mod wheel;
mod world;

use std::panic::catch_unwind;
use std::{fs, io};

use closecall::simulation::Choices;

/// The name of a target, which is that of its corpus, and what is run on the bytes.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 5] = [
    ("classifier", classifier::run),
    ("connection", connection::run),
    ("framing", framing::run),
    ("wheel", wheel::run),
    ("world", world::run),
];

/// The names in a folder, in their order; none where there is no such folder.
fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

#[test]
fn each_target_has_a_corpus_and_is_replayed() {
    let replayed = TARGETS.map(|target| target.0);
    assert_eq!(names("fuzz/targets"), replayed.map(|name| format!("{name}.rs")));
    assert_eq!(names("fuzz/corpus"), replayed);
    assert!(names("fuzz/found").iter().all(|name| replayed.contains(&name.as_str())));
}

#[test]
fn what_was_found_holds() {
    for (target, run) in TARGETS {
        assert!(!names(&format!("fuzz/corpus/{target}")).is_empty(), "{target} has no input");
        for folder in ["fuzz/corpus", "fuzz/found"].map(|folder| format!("{folder}/{target}")) {
            for input in names(&folder) {
                let bytes = fs::read(format!("{folder}/{input}")).unwrap();
                assert!(catch_unwind(|| run(&bytes)).is_ok(), "{folder}/{input} fails");
            }
        }
    }
}

#[test]
fn bytes_at_random_hold() {
    for (target, run) in TARGETS {
        for seed in 0..100 {
            let mut choices = Choices::seeded(seed);
            let length = choices.magnitude(1, 1 << 10);
            let bytes: Vec<u8> = (0..length).map(|_| choices.below(256) as u8).collect();
            assert!(catch_unwind(|| run(&bytes)).is_ok(), "{target} fails on seed {seed}");
        }
    }
}

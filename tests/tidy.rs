//! The rules of the source. A rule that a tool can check is checked here, over the source as text.

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/documents.rs"]
mod documents;

use std::fs;
use std::path::{Path, PathBuf};

/// The layers and what each may import of ours. Imports point towards `machine`, up in this list.
const LAYERS: &[(&str, &[&str])] = &[
    ("machine", &[]),
    ("config", &["machine"]),
    ("socket", &["machine"]),
    ("kernel", &["machine", "socket"]),
    ("reactor", &["machine", "config", "kernel"]),
    ("simulation", &["machine", "config", "kernel", "reactor"]),
    ("server", &["machine", "config", "socket", "kernel", "reactor"]),
    ("observed", &["machine", "socket"]),
    ("record", &["machine"]),
    ("wire", &["machine"]),
    ("client", &["socket"]),
    ("lab", &["machine", "config", "kernel", "reactor", "server", "record", "client"]),
    ("load", &["machine", "socket", "kernel"]),
    (
        "cli",
        &[
            "machine", "config", "kernel", "reactor", "server", "record", "client", "lab", "load",
            "wire",
        ],
    ),
];

/// What no file of a layer may say, and why.
const BANNED: &[(&str, &str, &str)] = &[
    ("machine", "Instant", "time is an argument"),
    ("machine", "SystemTime", "time is an argument"),
    ("machine", "log::", "the machine has nothing to say, it decides"),
    ("machine", "TcpStream", "the machine holds no socket"),
    ("machine", "TcpListener", "the machine holds no socket"),
    ("machine", "mio::", "the machine holds no socket"),
    ("wire", "Instant", "time is that of the packets"),
    ("wire", "SystemTime", "time is that of the packets"),
    ("wire", "std::fs", "files belong to cli"),
    ("wire", "std::io", "files belong to cli"),
    ("wire", "TcpStream", "it looks at connections from outside"),
    ("wire", "log::", "it judges, and has nothing to log"),
    ("reactor", "Instant", "the clock belongs to the kernel"),
    ("reactor", "mio::", "the loop runs on any kernel"),
    ("simulation", "Instant", "its clock is virtual"),
    ("simulation", "std::thread", "a seed decides everything"),
    ("", "println!", "stdout and stderr have their sinks; println! panics on a closed one"),
    ("machine", "thread::sleep", "the machine has no time"),
    ("kernel", "thread::sleep", "nothing waits but `wait`"),
    ("reactor", "thread::sleep", "nothing waits but the kernel"),
    ("server", "thread::sleep", "nothing waits but the kernel"),
    ("", "unimplemented!", "a part that is named works"),
    ("", "todo!", "a part that is named works"),
    ("", "process::exit", "main returns its exit code, and the sinks are flushed"),
    ("", "RefCell", "ownership is a tree"),
    ("", "Rc<", "ownership is a tree"),
    ("", "to_string().contains", "errors are told apart by number"),
];

const LINES_MAX: usize = 400;
const COLUMNS_MAX: usize = 100;

#[derive(Debug)]
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// "machine", "reactor", …: the first folder below src, or the file's own name.
    fn layer(&self) -> String {
        let below = self.path.strip_prefix("src").unwrap();
        let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
        first.trim_end_matches(".rs").to_owned()
    }

    /// The lines of code, with their numbers: no comments, no test modules.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let is_tests = self.path.ends_with("tests.rs");
        self.text[..tests]
            .lines()
            .enumerate()
            .filter(move |_| !is_tests)
            .map(|(number, line)| (number + 1, line.split("//").next().unwrap_or(line)))
    }

    fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }
}

fn sources(folder: &str) -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<Source>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path, text });
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(folder), &mut found);
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

#[track_caller]
fn assert_clean(broken: &[String]) {
    assert!(broken.is_empty(), "\n  {}\n", broken.join("\n  "));
}

#[test]
fn imports_point_towards_the_machine_only() {
    let mut broken = Vec::new();
    for source in sources("src") {
        let layer = source.layer();
        let Some((_, allowed)) = LAYERS.iter().find(|row| row.0 == layer) else { continue };
        for (line, code) in source.code() {
            for target in code.split("crate::").skip(1) {
                let target: String = target
                    .chars()
                    .take_while(|&letter| letter.is_alphanumeric() || letter == '_')
                    .collect();
                if target != layer && !allowed.contains(&target.as_str()) {
                    broken.push(format!("{}: {layer} must not know {target}", source.at(line)));
                }
            }
        }
    }
    assert_clean(&broken);
}

#[test]
fn each_file_belongs_to_a_layer() {
    for source in sources("src") {
        let layer = source.layer();
        let known = LAYERS.iter().any(|row| row.0 == layer) || layer == "lib" || layer == "main";
        assert!(known, "{} belongs to no layer", source.path.display());
    }
}

#[test]
fn what_is_banned_is_absent() {
    let mut broken = Vec::new();
    for source in sources("src") {
        for (line, code) in source.code() {
            for (layer, word, why) in BANNED {
                // `load` has no sinks, and its blocked output ends with the process only.
                let is_last_way =
                    *word == "process::exit" && source.path.ends_with("src/cli/load/interrupts.rs");
                let is_banned = layer.is_empty() || source.layer() == *layer;
                if is_banned && !is_last_way && code.contains(word) {
                    broken.push(format!("{}: `{word}`: {why}", source.at(line)));
                }
            }
        }
    }
    assert_clean(&broken);
}

/// What mio and socket2 do not have: questions about a socket, and the tests' own networks.
#[test]
fn unsafe_code_has_two_rooms() {
    let rooms = ["src/socket/calls.rs", "src/socket/windows.rs", "tests/namespace/room.rs"];
    let mut users: Vec<String> = ["src", "tests"]
        .into_iter()
        .flat_map(sources)
        .filter(|source| !source.path.ends_with("tidy.rs"))
        .filter(|source| {
            source.code().any(|(_, code)| code.contains("unsafe ") || code.contains("(unsafe"))
        })
        .map(|source| source.path.display().to_string())
        .collect();
    users.sort();
    assert_eq!(users, rooms);
}

/// SO_ERROR consumes what recv would have told: it is asked in two places, both after reading.
#[test]
fn so_error_is_asked_by_the_loop_in_two_places() {
    let askers: Vec<String> = sources("src/reactor")
        .iter()
        .flat_map(|source| {
            source
                .code()
                .filter(|(_, code)| code.contains(".take_error("))
                .map(|_| source.path.display().to_string())
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(askers.len(), 2, "{askers:?}");
}

#[test]
fn files_fit_a_head_and_lines_fit_a_screen() {
    let mut broken = Vec::new();
    for folder in ["src", "tests"] {
        for source in sources(folder) {
            let lines = source.text.lines().count();
            // A unit's tests stand below it and do not count: they are read by themselves.
            let tests = source.text.find("#[cfg(test)]\nmod tests {").unwrap_or(source.text.len());
            if source.text[..tests].lines().count() > LINES_MAX {
                broken.push(format!("{}: {lines} lines", source.path.display()));
            }
            for (number, line) in source.text.lines().enumerate() {
                // A table in a comment, or a record in a string, cannot be broken.
                let is_table = line.starts_with("//! |") || line.starts_with("/// |");
                let whole = line.contains("r#\"") || is_table;
                if line.chars().count() > COLUMNS_MAX && !whole {
                    broken.push(format!("{}: {}", source.at(number + 1), line.trim()));
                }
            }
        }
    }
    assert_clean(&broken);
}

#[test]
fn each_file_opens_with_its_purpose() {
    for folder in ["src", "tests"] {
        for source in sources(folder) {
            let opens = source.text.starts_with("//!") || source.text.starts_with("#![doc");
            assert!(opens, "{} does not say what it is for", source.path.display());
        }
    }
}

/// The server stands still; another program takes its time.
const LETS_TIME_PASS: &[&str] = &["fn server_is_stopped_for", "fn takes_its_time_of"];

/// A sleep hides a race. Where a test lets time itself pass, it says so in a function of that name.
#[test]
fn no_test_sleeps_to_synchronise() {
    let mut broken = Vec::new();
    for source in sources("tests") {
        if source.path.ends_with("tidy.rs") {
            continue;
        }
        for (line, code) in source.code() {
            if code.contains("sleep(") && !LETS_TIME_PASS.iter().any(|it| source.text.contains(it))
            {
                broken.push(source.at(line));
            }
        }
    }
    assert_clean(&broken);
}

/// Ports of 32768 to 60999 are the system's to give away; a fixed one fails now and then.
#[test]
fn tests_take_whatever_port_is_free() {
    let mut broken = Vec::new();
    for source in sources("tests") {
        for (line, code) in source.code() {
            let binds = ["127.0.0.1:", "[::1]:", "0.0.0.0:"].iter().any(|host| {
                code.split(host).skip(1).any(|rest| {
                    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    port.parse::<u16>().is_ok_and(|port| (32768..=60999).contains(&port))
                })
            });
            if binds && code.contains("listen") {
                broken.push(source.at(line));
            }
        }
    }
    assert_clean(&broken);
}

#[test]
fn the_bare_library_is_five_crates() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let section = manifest.split("[dependencies]").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let core: Vec<&str> = section
        .lines()
        .filter(|line| line.contains('=') && !line.contains("optional = true"))
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(core, ["log", "mio", "slab", "socket2"], "and libc, on Unix");
}

#[test]
fn main_is_three_lines() {
    assert_eq!(fs::read_to_string("src/main.rs").unwrap().lines().count(), 3);
}

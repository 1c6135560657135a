//! Libraries that stand before libc, `tests/interpose/NAME.c`: built with cc and put before a
//! program. `faults.c` is asked what it did.
#![allow(dead_code)] // each test uses its own part

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::service::{has, say};

/// The library of faults; `None` where it is not available, which is printed.
pub(crate) fn library() -> Option<PathBuf> {
    library_named("faults")
}

/// The library of this name, built once; `None` where that cannot be, which is said.
pub(crate) fn library_named(name: &'static str) -> Option<PathBuf> {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    if !cfg!(target_env = "gnu") {
        say("skipped: needs a program that is linked to glibc");
        return None;
    }
    if !has("cc") {
        return None;
    }
    let mut built = BUILT.lock().unwrap();
    Some(built.entry(name).or_insert_with(|| build(name)).clone())
}

fn build(name: &str) -> PathBuf {
    let path = scratch(name);
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-Wall", "-Wextra", "-O1", "-shared", "-fPIC", "-o"]).arg(&path);
    let output = cc.arg(format!("tests/interpose/{name}.c")).arg("-ldl").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // In its place at once: another test may be using the one before.
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.so"));
    std::fs::rename(path, &place).unwrap();
    place
}

/// A file that no other test has.
pub(crate) fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{count}-{name}", std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// How often each kind of fault struck.
pub(crate) type Struck = BTreeMap<String, u64>;

/// What the library will have done when its program has ended.
pub(crate) struct Report(PathBuf);

/// Puts `library` before `command`: one call in `rate` fails, one in `deadly` for good; 0 is none.
pub(crate) fn stand_before(
    command: &mut Command,
    library: &Path,
    seed: u64,
    rate: u64,
    deadly: u64,
) -> Report {
    let report = scratch("struck");
    command.env("LD_PRELOAD", library).env("INTERPOSE_REPORT", &report);
    command.env("INTERPOSE_SEED", seed.to_string());
    command.env("INTERPOSE_RATE", rate.to_string());
    command.env("INTERPOSE_DEADLY", deadly.to_string());
    Report(report)
}

impl Report {
    /// Once the program has ended.
    #[track_caller]
    pub(crate) fn struck(self) -> Struck {
        let text = std::fs::read_to_string(&self.0).expect("it ended in order");
        std::fs::remove_file(&self.0).ok();
        let line = |it: &str| it.split_once(' ').map(|(k, v)| (k.to_owned(), v.parse().unwrap()));
        text.lines().filter_map(line).collect()
    }
}

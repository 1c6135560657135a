//! Promise: whatever peers, networks and system calls do, in whatever order, the loop keeps its
//! promises.
//!
//! Thousands of worlds, each from one seed: the real loop on a simulated kernel, judged after every
//! turn. See `closecall::simulation` for what it is held to.
//!
//! * `CLOSECALL_SEEDS=n` raises the number of worlds.
//! * `CLOSECALL_SEED=n cargo test --test simulation worlds::replay -- --nocapture` tells one of
//!   them.
//! * `CLOSECALL_WORLD=file` instead tells the world that a file spells.
//!
//! A world that fails is made small, written to a file, and named with the command that replays it.
//! Those in `tests/simulation/` failed once, for the reason that stands in them, and hold now.
#![allow(clippy::print_stderr)] // a replay is there to be read

use std::path::Path;
use std::sync::OnceLock;
use std::thread;
use std::{env, fs};

use closecall::machine::close::Kind;
use closecall::simulation::{
    Failure, Fault, Shrunk, Summary, read_spelling, replay, replay_bytes, run, run_bytes, shrink,
    spell,
};

/// Worlds, unless CLOSECALL_SEEDS asks for more.
const SEEDS: u64 = 12_000;

/// Worlds that are run at the same time.
const CHUNKS: u64 = 4;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a seed is a number"))
}

/// What became of all worlds: all that happened in them, or the first failure.
type All = Result<Summary, Box<Failure>>;

/// Runs every `CHUNKS`th world from `first` on.
fn live(first: u64) -> All {
    let seeds = number("CLOSECALL_SEEDS").unwrap_or(SEEDS);
    (first..seeds).step_by(CHUNKS as usize).try_fold(Summary::default(), |mut all, seed| {
        all.add(&run(seed)?);
        Ok(all)
    })
}

/// All worlds, run once for all tests of this file.
fn all() -> &'static All {
    static ALL: OnceLock<All> = OnceLock::new();
    ALL.get_or_init(|| {
        let chunks: Vec<_> = (0..CHUNKS).map(|first| thread::spawn(move || live(first))).collect();
        chunks.into_iter().try_fold(Summary::default(), |mut all, chunk| {
            all.add(&chunk.join().expect("a world's panic is a failure")?);
            Ok(all)
        })
    })
}

#[test]
fn the_loop_keeps_its_word_in_every_world() {
    if let Err(failure) = all() {
        let small = failure.seed.and_then(shrink).map(|shrunk| kept(failure, &shrunk));
        panic!("\n{failure}\n{}", small.unwrap_or_default());
    }
}

/// Writes the small world to a file, and says how to replay it and where to keep it.
fn kept(failure: &Failure, shrunk: &Shrunk) -> String {
    let name = format!("{:?}-{}.world", failure.rule, failure.seed.unwrap_or(0)).to_lowercase();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
    let Shrunk { bytes, failure, runs } = shrunk;
    let what = failure.what.lines().next().unwrap_or_default();
    let text = format!("# {:?}: {what}\n{}", failure.rule, spell(bytes));
    let written = fs::write(&path, &text).err();
    let path = path.display();
    format!(
        "\nmade small, {} bytes in {runs} runs:\n{failure}\n\n{text}\nreplay it with: \
         CLOSECALL_WORLD={path} cargo test --test simulation worlds::replay -- --nocapture\n\
         keep it as tests/simulation/{name}{}\n",
        bytes.len(),
        written.map(|error| format!(" (it could not be written: {error})")).unwrap_or_default(),
    )
}

/// The worlds in a folder of files that spell them, by name.
fn worlds() -> Vec<(String, Vec<u8>)> {
    let folder = fs::read_dir("tests/simulation").expect("a folder of kept worlds");
    let files = folder.map(|entry| entry.expect("a file").path());
    let files = files.filter(|path| path.extension().is_some_and(|it| it == "world"));
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).expect("a text");
        assert!(text.starts_with("# "), "{}: the first line says what went wrong", path.display());
        (path.display().to_string(), read_spelling(&text).expect("a spelling"))
    };
    files.map(read).collect()
}

#[test]
fn worlds_that_failed_once_hold() {
    let worlds = worlds();
    assert!(!worlds.is_empty());
    for (name, bytes) in worlds {
        match run_bytes(&bytes) {
            Ok(summary) => assert!(summary.accepted > 0, "{name}: nothing happens in it any more"),
            Err(failure) => panic!("\n{name}\n{failure}\n"),
        }
    }
}

/// Worlds in which nothing happens keep every promise, too.
#[test]
fn the_worlds_are_full_of_everything() {
    let all = all().as_ref().expect("the worlds hold");
    if all.worlds < SEEDS {
        eprintln!("{} worlds are too few to have everything in them", all.worlds);
        return;
    }
    // These are endings of programs that close because they have no more to say.
    let of_others = |kind: &Kind| *kind == Kind::LocalDone || kind.name().starts_with("local_fin.");
    for kind in Kind::all().filter(|kind| !of_others(kind) && !kind.is_from_outside()) {
        assert!(all.verdicts[kind as usize] > 0, "no connection ended as {}", kind.name());
    }
    for fault in Fault::ALL {
        assert!(all.faults[fault as usize] > 0, "{fault:?} never struck");
    }
    assert!(all.framings.iter().all(|&worlds| worlds > 0), "{:?}", all.framings);
    let counts = [
        ("worlds whose short reads say nothing", all.without_drain),
        ("alarms", all.alarms),
        ("alarms whose deadline had moved", all.rearms),
        ("sends that left something over", all.leftovers),
        ("waits of no length", all.unfinished),
        ("accepts out of files or memory", all.pauses),
        ("connections that made room", all.made_room),
        ("reads that stopped at urgent data", all.urgent_splits),
        ("bytes dropped after our FIN", all.discarded),
        ("bulk senders", all.bulk),
        ("jumps of the clock", all.jumps),
        ("second stops", all.forced),
    ];
    for (what, count) in counts {
        assert!(count >= 10, "{what}: {count}");
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in [0, 1, 7, 77, 777] {
        let (first, second) = (run(seed).unwrap(), run(seed).unwrap());
        assert_eq!(first, second, "seed {seed}");
        let (told, trace) = replay(seed);
        assert_eq!(told.unwrap(), first, "seed {seed}, told");
        assert_eq!(trace, replay(seed).1, "seed {seed}, told twice");
    }
}

/// A fuzzer's bytes spell worlds, too; when they have run out, nothing more goes wrong.
#[test]
fn bytes_spell_worlds() {
    for length in 0..600_u32 {
        let spell = |at: u32| (at.wrapping_mul(0x9e37_79b9).rotate_left(length % 32) >> 24) as u8;
        let bytes: Vec<u8> = (0..length).map(|at| spell(at ^ length << 16)).collect();
        if let Err(failure) = run_bytes(&bytes) {
            panic!("{bytes:?}\n{failure}\n");
        }
    }
}

/// With CLOSECALL_SEED or CLOSECALL_WORLD: tells that world, and fails if it does.
#[test]
fn replay_one_world() {
    let (result, trace) = match (number("CLOSECALL_SEED"), env::var_os("CLOSECALL_WORLD")) {
        (Some(seed), _) => replay(seed),
        (None, Some(path)) => {
            let text = fs::read_to_string(path).expect("a file that spells a world");
            replay_bytes(&read_spelling(&text).expect("a spelling"))
        }
        (None, None) => {
            eprintln!("neither CLOSECALL_SEED nor CLOSECALL_WORLD is set: nothing to replay");
            return;
        }
    };
    for line in trace {
        eprintln!("{line}");
    }
    match result {
        Ok(summary) => eprintln!("{summary:#?}"),
        Err(failure) => panic!("\n{failure}\n"),
    }
}

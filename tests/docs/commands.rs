//! Every command in a document is one that works. The program itself parses `closecall …`; what
//! takes a moment only is run. All others are in a table, with the reason why they are not run.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use socket2::{Domain, Socket, Type};

use crate::assert_clean;
use crate::markdown::{self, Document, Piece};
use crate::process::{Process, closecall};
use crate::scratch::Scratch;
use crate::shell::{self, Command};

const BY_HAND: &str = "a part of a line in the walk of examples/README.md, which is by hand";

/// What commands begin with that this test does not run, and the reason. A command that is neither
/// here nor `closecall` fails the test, and so does a row that no document needs.
const NOT_RUN: &[(&str, &str)] = &[
    (".ci/run", "it runs this test"),
    ("apt-get", "it changes the machine"),
    ("cargo build", "the test runs with what was built"),
    ("cargo install", "it needs the network"),
    ("cargo run --example", "it would build again; the example exists"),
    ("cargo test", "it runs this test; tests/tidy.rs looks for the programs that are named"),
    ("cargo +nightly", "it needs a nightly toolchain"),
    ("curl", "it needs the server of an example"),
    ("do", BY_HAND),
    ("done", BY_HAND),
    ("export", "nothing to run"),
    ("for", BY_HAND),
    ("head", BY_HAND),
    ("kill", "it needs a server that goes on"),
    ("make", "minutes to hours; the target exists"),
    ("mv", "it needs the files of the example"),
    ("nc", "it is not everywhere; by_hand.rs runs those of docs/CLOSING.md"),
    ("nstat", "it is not everywhere, and its counters are those of the whole machine"),
    ("printf", "it is of no use without nc"),
    ("python3", "its scripts measure for minutes, and exist; for one-liners see by_hand.rs"),
    ("rustup", "it needs the network"),
    ("sleep", BY_HAND),
    ("target/debug/examples/", BY_HAND),
    ("tests/cross.sh", "it builds for other systems; it exists"),
    ("tr", BY_HAND),
    ("ulimit", BY_HAND),
    ("wc", BY_HAND),
    ("yes", BY_HAND),
];

/// Words in capitals stand for what people put there.
const PLACEHOLDERS: &[(&str, &str)] = &[
    ("COMMAND", "serve"),
    ("MODE", "close"),
    ("FILE", "report.json"),
    ("FILES", "report.hdr"),
    ("PATH", "close.log"),
    ("IP", "127.0.0.1"),
    ("N", "5"),
    ("DUR", "1s"),
    ("CONDITION", "p99>5ms"),
    ("OBJECTIVE", "p99<5ms"),
];

/// The arguments of `closecall`, if this is how it is started.
pub(crate) fn ours(command: &Command) -> Option<&[String]> {
    let (program, rest) = command.split_first()?;
    if program == "closecall" || program.ends_with("/closecall") {
        return Some(rest);
    }
    let is_run = program == "cargo" && rest.first().is_some_and(|it| it == "run");
    if !is_run || rest.iter().any(|it| it == "--example") {
        return None;
    }
    Some(rest.iter().position(|it| it == "--").map_or(&[], |at| &rest[at + 1..]))
}

/// Shell commands in the blocks of `document`: of a console what is behind its prompt.
fn typed(document: &Document) -> impl Iterator<Item = (&Piece, Command)> {
    document.blocks.iter().flat_map(|block| {
        let text = match block.language.as_str() {
            "sh" | "bash" | "shell" => block.piece.text.clone(),
            "mermaid" => String::new(),
            _ => {
                let prompts = block.piece.text.lines().filter_map(|line| line.strip_prefix("$ "));
                prompts.collect::<Vec<_>>().join("\n")
            }
        };
        shell::commands(&text).into_iter().map(|command| (&block.piece, command))
    })
}

/// Commands in a line of text, such as `closecall client ADDR --end MODE`.
fn mentioned(document: &Document) -> impl Iterator<Item = (&Piece, Command)> {
    let begins = ["closecall ", "cargo run -- ", "cargo run --release -- "];
    let spans = document
        .spans
        .iter()
        .filter(move |span| begins.iter().any(|begin| span.text.starts_with(begin)));
    spans.flat_map(|span| {
        // Of `hold|echo|churn` one is as good as the other.
        let words = span.text.split(' ').map(|word| word.split('|').next().unwrap());
        let text = words.filter(|word| *word != "…").collect::<Vec<_>>().join(" ");
        shell::commands(&text).into_iter().map(move |command| (span, command))
    })
}

fn is_address(word: &str) -> bool {
    let port = word.rsplit_once(':').map(|(_, port)| port);
    word == "ADDR" || port.is_some_and(|port| port.parse::<u16>().is_ok())
}

/// The arguments with `server` for each address, but `proxy` for that of `--via`.
pub(crate) fn filled_in(
    arguments: &[String],
    server: SocketAddr,
    proxy: SocketAddr,
) -> Vec<String> {
    let mut filled: Vec<String> = Vec::new();
    for word in arguments {
        let is_via = filled.last().is_some_and(|it| it == "--via");
        let placeholder = PLACEHOLDERS.iter().find(|(name, _)| word == name);
        filled.push(match placeholder {
            Some((_, value)) => (*value).to_owned(),
            None if is_address(word) && is_via => proxy.to_string(),
            None if is_address(word) => server.to_string(),
            None if word == "PID" || word.starts_with("$(pidof") => std::process::id().to_string(),
            None => word.clone(),
        });
    }
    filled
}

/// A port that refuses connections as long as this lives: it is bound and does not listen.
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// The exit code and the last line on stderr, in a folder of its own.
fn outcome(arguments: &[String], scratch: &Scratch) -> (i32, String) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let folder = Path::new(scratch.path()).parent().unwrap();
    let output = closecall(&arguments).current_dir(folder).stdout(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), said.lines().last().unwrap_or_default().to_owned())
}

/// What the program has against these arguments, if anything.
fn refusal(arguments: &[String], scratch: &Scratch) -> Option<String> {
    let (_socket, nothing) = refusing();
    let mut arguments = filled_in(arguments, nothing, nothing);
    arguments.retain(|word| word != "--help" && word != "-h");
    // --help is looked at last: what stands before it has been parsed by then, each value as well.
    let help = [arguments.clone(), vec!["--help".to_owned()]].concat();
    let (code, said) = outcome(&help, scratch);
    if code != 0 {
        return Some(said);
    }
    // Then in earnest, with addresses that nothing can be done with: options that contradict each
    // other are found only now.
    match arguments.first().map(String::as_str) {
        Some("serve") => {
            arguments.retain(|word| word != "--listen" && !is_address(word));
            // TEST-NET-1 (RFC 5737): no machine has it.
            arguments.extend(["--listen".to_owned(), "192.0.2.1:0".to_owned()]);
        }
        Some("client" | "lab" | "load") if arguments.iter().any(|word| is_address(word)) => {}
        _ => return None,
    }
    let (code, said) = outcome(&arguments, scratch);
    (code != 3).then(|| format!("exit code {code}: {said}"))
}

#[test]
fn what_is_typed_is_accepted() {
    let scratch = Scratch::new("docs-accepted");
    let (mut broken, mut checked) = (Vec::new(), 0);
    for document in markdown::written() {
        for (piece, command) in typed(&document).chain(mentioned(&document)) {
            let Some(arguments) = ours(&command) else { continue };
            if let Some(refusal) = refusal(arguments, &scratch) {
                broken.push(format!("{}: {}: {refusal}", document.at(piece), command.join(" ")));
            }
            checked += 1;
        }
    }
    assert_clean(&broken);
    assert!(checked > 30, "they were not found: {checked}");
}

#[test]
fn what_is_wrong_is_not_accepted() {
    let scratch = Scratch::new("docs-wrong");
    for wrong in [
        "closecall serve --no-such-option",
        "closecall serve --framing lines",
        "closecall client ADDR --end no-such-mode",
        "closecall client ADDR --wait",
        "closecall lab --only S99",
        "closecall lab ADDR --long --list",
        "closecall load hold ADDR --rate 5",
        "closecall load echo ADDR --rate 5 --find-rate 'p99<5ms'",
        "closecall watch",
        "cargo run --release -- serve --close-logs x",
    ] {
        let commands = shell::commands(wrong);
        assert!(refusal(ours(&commands[0]).unwrap(), &scratch).is_some(), "{wrong}");
    }
}

/// What a command that is not run names and what does not exist: a script, an example, a target.
fn missing(command: &Command, makefile: &str) -> Option<String> {
    let is_script = |word: &&String| {
        let is_ours = word.starts_with(".ci/") || word.ends_with(".py") || word.ends_with(".sh");
        is_ours && !Path::new(word).exists()
    };
    if let Some(script) = command.iter().find(is_script) {
        return Some(format!("there is no {script}"));
    }
    let example = command.iter().skip_while(|word| *word != "--example").nth(1);
    if let Some(name) = example {
        let manifest = std::fs::read_to_string("Cargo.toml").unwrap();
        let is_named = manifest.contains(&format!("[[example]]\nname = \"{name}\""));
        let is_there = is_named || Path::new("examples").join(format!("{name}.rs")).exists();
        return (!is_there).then(|| format!("there is no example {name}"));
    }
    let target = command.get(1).filter(|_| command[0] == "make")?;
    let is_target = target.contains('=') || makefile.contains(&format!("\n{target}:"));
    (!is_target).then(|| format!("make has no target {target}"))
}

/// Nothing is left out without a reason, and no reason is left without a command.
#[test]
fn what_is_not_run_is_in_the_table() {
    let makefile = std::fs::read_to_string("Makefile").unwrap();
    let mut used = vec![false; NOT_RUN.len()];
    let mut broken = Vec::new();
    for document in markdown::written() {
        for (piece, mut command) in typed(&document).filter(|(_, it)| ours(it).is_none()) {
            command.retain(|word| word != "sudo");
            let text = command.join(" ");
            let is_row = |row: &(&str, &str)| {
                let rest = text.strip_prefix(row.0);
                rest.is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with(' ') || row.0.ends_with('/')
                })
            };
            match NOT_RUN.iter().position(is_row) {
                Some(row) => used[row] = true,
                None => broken.push(format!("{}: {text}", document.at(piece))),
            }
            let missing = missing(&command, &makefile);
            broken.extend(missing.map(|what| format!("{}: {text}: {what}", document.at(piece))));
        }
    }
    let rows = NOT_RUN.iter().zip(used).filter(|(_, used)| !used);
    broken.extend(rows.map(|((name, _), _)| format!("no document has the command: {name}")));
    assert_clean(&broken);
}

#[test]
fn what_is_missing_is_found() {
    let makefile = std::fs::read_to_string("Makefile").unwrap();
    let missing = |text: &str| missing(&shell::commands(text)[0], &makefile);
    for good in [
        "make atlas",
        "make",
        "make scale SCALE=1",
        "cargo run --example 7_embed",
        "cargo run --example draw",
    ] {
        assert_eq!(missing(good), None, "{good}");
    }
    for bad in ["make none", "cargo run --example none", "python3 benches/none.py", ".ci/none"] {
        assert!(missing(bad).is_some(), "{bad}");
    }
}

/// Whether a command ends by itself within a second or two.
fn is_short(arguments: &[String]) -> bool {
    let has = |option: &str| arguments.iter().any(|it| it == option);
    match arguments.first().map(String::as_str) {
        Some("serve" | "client") => true,
        Some("lab") => has("--list") || (has("--only") && !has("--via") && !has("--from")),
        _ => false,
    }
}

/// Those in the page that leads from an error to its cause, and in the first page of all.
#[test]
fn what_is_short_works() {
    let scratch = Scratch::new("docs-works");
    let deadlines = ["--read-deadline", "500ms", "--write-deadline", "1s"];
    let base = ["serve", "--listen", "127.0.0.1:0"];
    let server = Process::start(closecall(&[&base[..], &deadlines].concat()));
    let address = server.address();
    let (mut broken, mut ran) = (Vec::new(), 0);
    for page in ["README.md", "docs/DIAGNOSE.md", "docs/CLOSING.md", "docs/README.md"] {
        let document = Document::read(Path::new(page));
        for (piece, command) in typed(&document) {
            let Some(arguments) = ours(&command).filter(|it| is_short(it)) else { continue };
            let at = format!("{}: {}", document.at(piece), command.join(" "));
            if arguments[0] == "serve" {
                serve_and_stop(arguments, &scratch, &at);
            } else {
                let (code, said) = outcome(&filled_in(arguments, address, address), &scratch);
                if code != 0 {
                    broken.push(format!("{at}: exit code {code}: {said}"));
                }
            }
            ran += 1;
        }
    }
    assert_clean(&broken);
    assert!(ran > 6, "they were not found: {ran}");
}

/// Starts a server with these options, on a free port, and asks it to stop.
#[track_caller]
fn serve_and_stop(arguments: &[String], scratch: &Scratch, at: &str) {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut arguments = filled_in(arguments, free, free);
    if !arguments.iter().any(|it| it == "--listen") {
        arguments.extend(["--listen".to_owned(), free.to_string()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = closecall(&arguments);
    command.current_dir(Path::new(scratch.path()).parent().unwrap());
    let mut server = Process::start(command);
    server.address();
    server.wait_for_sigint_handler();
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0, "{at}");
}

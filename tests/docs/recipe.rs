//! The recipe of docs/DIAGNOSE.md, from its server to its report. A small proxy takes the place of
//! HAProxy; HAProxy checks its configuration, if it is installed.

use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::commands::{filled_in, ours};
use crate::markdown::{Block, Document};
use crate::process::{Process, closecall};
use crate::scratch::Scratch;
use crate::shell;
use crate::skipped;

/// Passes bytes and FINs on in both directions, and no reset: as most proxies do.
fn proxy(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let copy = |from: &TcpStream, to: &TcpStream| {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    };
    // It ends with the process: the listener is its own.
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { break };
            let Ok(server) = TcpStream::connect(server) else { break };
            copy(&client, &server);
            copy(&server, &client);
        }
    });
    address
}

fn blocks(language: &str) -> Vec<Block> {
    let document = Document::read(Path::new("docs/DIAGNOSE.md"));
    document.blocks.into_iter().filter(|block| block.language == language).collect()
}

/// The arguments of the command in the page that has all these options.
fn arguments(options: &[&str]) -> Vec<String> {
    let commands = blocks("sh").into_iter().flat_map(|block| shell::commands(&block.piece.text));
    let has_all =
        |command: &Vec<String>| options.iter().all(|option| command.iter().any(|it| it == option));
    let command = commands.into_iter().find(has_all).expect("the page has the command");
    ours(&command).unwrap().to_vec()
}

#[test]
fn the_recipe_shows_what_a_proxy_changes() {
    let scratch = Scratch::new("docs-recipe");
    let folder = Path::new(scratch.path()).parent().unwrap().to_owned();
    let free = SocketAddr::from(([127, 0, 0, 1], 0));

    let serve = filled_in(&arguments(&["serve", "--listen", "--close-log"]), free, free);
    let mut command = closecall(&serve.iter().map(String::as_str).collect::<Vec<_>>());
    command.current_dir(&folder);
    let server = Process::start(command);
    let address = server.address();

    let lab = filled_in(&arguments(&["--via", "--observe"]), address, proxy(address));
    // Fewer races, and without the scenario that fills all buffers: it takes seconds.
    let brief = |word: &String| match word.as_str() {
        "20" => "2".to_owned(),
        word => word.replace(",S15", ""),
    };
    let lab: Vec<String> = lab.iter().map(brief).collect();
    let lab: Vec<&str> = lab.iter().map(String::as_str).collect();
    let output = closecall(&lab).current_dir(&folder).output().unwrap();
    let (report, said) = (String::from_utf8(output.stdout).unwrap(), output.stderr);
    assert_eq!(output.status.code(), Some(0), "{report}{}", String::from_utf8_lossy(&said));
    // This proxy passes no reset on, so every reset of a client arrives as a FIN.
    assert!(report.contains("resets become FINs"), "{report}");
    let s4 = report.lines().find(|line| line.contains(" S4 ")).unwrap();
    assert!(s4.contains("reset.reply_acked") && s4.ends_with("fin.delivered"), "{report}");
}

#[test]
fn haproxy_takes_the_configuration() {
    let [configuration] = &blocks("haproxy")[..] else { panic!("there is one configuration") };
    let scratch = Scratch::new("docs-haproxy");
    let file = scratch.beside("haproxy.cfg");
    fs::write(&file, &configuration.piece.text).unwrap();
    match Command::new("haproxy").arg("-c").arg("-f").arg(&file).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Err(_) => skipped("haproxy"),
    }
}

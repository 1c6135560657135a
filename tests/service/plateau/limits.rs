//! Limits of the system that only a new connection reveals: the log describes what happens, and
//! nothing is logged or given up before a new connection waits.

use std::io::{Read, Write};
use std::net::TcpStream;

use socket2::{Domain, Socket, Type};

use super::{LINE, limit_files, lines_with, patient, sleeps};
use crate::interpose::library_named;
use crate::service::{Service, connect, exchange, has, hears, parts, reply_to, wait_until};

/// Watches that the system has for connections, and clients beyond them.
const WATCHES: usize = 10;
const BEYOND: usize = 300;

/// Watches that the server takes for itself: of its listener and of its waker.
const OWN_WATCHES: usize = 2;

/// Regression: out of watches, each new connection that was reset resumed the listener: some 10,000
/// in a second were accepted and reset, while the log reported that they wait in the backlog. Later
/// one was reset for each watch that became free and for each try.
#[test]
fn out_of_watches_new_connections_wait_in_the_backlog_and_none_is_reset() {
    let Some(library) = library_named("watches") else { return };
    let mut command = patient(&["--close-log", "-"]);
    command.env("LD_PRELOAD", library);
    command.env("WATCHES_MAX", (OWN_WATCHES + WATCHES).to_string());
    let service = Service::of(command);
    let log = service.process.stdout.clone();
    let mut inside: Vec<TcpStream> = (0..WATCHES).map(|_| connect(service.address)).collect();
    inside.iter_mut().for_each(|client| exchange(client, LINE).unwrap());

    let mut beyond: Vec<TcpStream> = (0..BEYOND).map(|_| connect(service.address)).collect();
    beyond.iter_mut().for_each(|client| client.write_all(LINE).unwrap());
    let text = service.process.stderr.wait_for("fs.epoll.max_user_watches");
    assert!(text.contains("ENOSPC") && text.contains("wait in the backlog"), "{text}");
    assert!(text.contains(&format!("with {WATCHES} connections open")), "{text}");
    sleeps("out of watches", &service, &mut inside[0]);
    assert_eq!(lines_with(&log.text(), "local.resource"), 0, "{}", log.text());

    // Those inside leave, and those in the backlog are served in their places.
    inside.iter_mut().for_each(|client| parts(client).unwrap());
    for client in &mut beyond {
        hears(client, &reply_to(LINE)).unwrap();
        parts(client).unwrap();
    }
    let table = service.stop();
    let accepted = (WATCHES + BEYOND) as u64;
    assert_eq!(
        (table.get("accepted"), table.all_of("peer_fin.")),
        (accepted, accepted),
        "{table:?}"
    );
}

/// The same if new connections are to be reset: the log names the limit here as well.
#[test]
fn out_of_watches_new_connections_are_reset_and_the_log_names_the_limit() {
    let Some(library) = library_named("watches") else { return };
    let mut command = patient(&["--overload", "shed"]);
    command.env("LD_PRELOAD", library).env("WATCHES_MAX", (OWN_WATCHES + 1).to_string());
    let service = Service::of(command);
    let mut inside = connect(service.address);
    exchange(&mut inside, LINE).unwrap();
    for _ in 0..3 {
        let mut beyond = connect(service.address);
        assert!(exchange(&mut beyond, LINE).is_err(), "there is no watch for it");
    }
    let text = service.process.stderr.wait_for("fs.epoll.max_user_watches");
    assert!(text.contains("with 1 connections open; new connections are reset"), "{text}");
    exchange(&mut inside, LINE).unwrap();
    parts(&mut inside).unwrap();
    exchange(&mut connect(service.address), LINE).unwrap();
    let table = service.stop();
    assert_eq!((table.get("accepted"), table.get("local.policy")), (5, 3), "{table:?}");
}

/// A client with its reply unread on the server's side, and its FIN sent: it is ended, and the
/// server waits to see what becomes of the reply.
#[track_caller]
fn settles(service: &Service) -> TcpStream {
    const LAST_ACK: u8 = 9;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&service.address.into()).unwrap();
    let mut client = TcpStream::from(socket);
    client.write_all(&[b'x'; 200_000]).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    wait_until("our FIN stands behind the reply", || service.socket_states().contains(&LAST_ACK));
    client
}

/// A server whose log shows what it reads, so that it can be known how far the log has come.
fn talkative(options: &[&str]) -> Service {
    let mut command = patient(options);
    command.env("RUST_LOG", "info,closecall::echo=debug");
    Service::of(command)
}

/// What the server has logged before it served `client` just now.
#[track_caller]
fn log_until_now(service: &Service, client: &mut TcpStream, mark: &str) -> String {
    exchange(client, format!("{mark}\n").as_bytes()).unwrap();
    service.process.stderr.wait_for(mark)
}

/// Room for this many more files.
#[track_caller]
fn leaves_room_for(service: &Service, files: usize) {
    let numbers = std::fs::read_dir(format!("/proc/{}/fd", service.process.id())).unwrap();
    let numbers: Vec<usize> =
        numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // A new file has the lowest number that is free, and all are below the limit.
    let limit = (0..).filter(|number| !numbers.contains(number)).nth(files).unwrap();
    limit_files(service, limit);
}

/// Regression: accept returns EMFILE for an empty backlog too, when the last file is taken. There
/// was a warning about new connections that did not exist, and a connection that waited for its
/// evidence was decided early to make room for them.
#[test]
fn out_of_files_without_a_new_connection_nothing_is_logged_or_given_up() {
    if !has("prlimit") {
        return;
    }
    let service = talkative(&["--verdict-wait", "1h", "--close-log", "-"]);
    let (log, stderr) = (service.process.stdout.clone(), service.process.stderr.clone());
    let slow = settles(&service);
    leaves_room_for(&service, 3);
    let files = service.files();
    let mut clients: Vec<TcpStream> = (0..3).map(|_| connect(service.address)).collect();
    clients.iter_mut().for_each(|client| exchange(client, LINE).unwrap());
    let text = log_until_now(&service, &mut clients[2], "all are in");
    assert_eq!(lines_with(&text, "EMFILE"), 0, "{text}");
    assert_eq!(service.files(), files + 3, "the one that waits has an hour for it");

    // Now there is one, and it has the place of the one that waits.
    let mut newcomer = connect(service.address);
    exchange(&mut newcomer, LINE).unwrap();
    stderr.wait_for("EMFILE with ");
    log.wait_for("peer_fin.unconfirmed");
    clients.iter_mut().for_each(|client| exchange(client, LINE).unwrap());
    assert_eq!(lines_with(&stderr.text(), "EMFILE"), 1, "{}", stderr.text());
    drop((clients, newcomer, slow));
    let table = service.stop();
    assert_eq!((table.get("accepted"), table.get("peer_fin.unconfirmed")), (5, 1), "{table:?}");
}

/// Regression: the warning came with the last free slot, before a new connection needed one.
#[test]
fn a_full_table_is_not_logged_before_a_new_connection_waits() {
    let service = talkative(&["--max-connections", "3"]);
    let stderr = service.process.stderr.clone();
    let mut clients: Vec<TcpStream> = (0..3).map(|_| connect(service.address)).collect();
    clients.iter_mut().for_each(|client| exchange(client, LINE).unwrap());
    let text = log_until_now(&service, &mut clients[2], "all are in");
    assert_eq!(lines_with(&text, "which is the limit"), 0, "{text}");
    let mut newcomer = connect(service.address);
    newcomer.write_all(LINE).unwrap();
    stderr.wait_for("3 connections, which is the limit");
    parts(&mut clients[0]).unwrap();
    hears(&mut newcomer, &reply_to(LINE)).unwrap();
    assert_eq!(lines_with(&stderr.text(), "which is the limit"), 1, "{}", stderr.text());
    drop((clients, newcomer));
    assert_eq!(service.stop().get("accepted"), 4);
}

/// Clients that do not read, each of which leaves a reply of this length in the server's memory.
const HOGS: usize = 2_000;
const REPLY_BYTES: usize = 120 * 1024;

/// What a peak may leave beside a tenth of what there was: pages of the allocator, and the stacks
/// and buffers that were touched for the first time.
const LEFT_KB_MAX: u64 = 4_096;

/// Regression: a peak of 1,187 MB stayed 1,187 MB when its connections had gone.
#[test]
fn memory_of_replies_that_are_gone_is_given_back() {
    if !cfg!(target_env = "gnu") {
        crate::service::say("skipped: needs glibc");
        return;
    }
    // A newline has a reply of 4,097 bytes, so a few of them make one as long as the buffer.
    let prefix = "p".repeat(4096);
    let buffer = REPLY_BYTES.to_string();
    let options = ["--prefix", &prefix, "--read-buffer", &buffer, "--write-deadline", "off"];
    let service = Service::of(patient(&options));
    let lines = [b'\n'; REPLY_BYTES / 4097];
    let mut polite = connect(service.address);
    polite.write_all(LINE).unwrap();
    polite.read_exact(&mut vec![0; 4096 + LINE.len()]).unwrap();
    let before = service.kilobytes("VmRSS");

    let mut hogs: Vec<TcpStream> = (0..HOGS)
        .map(|_| {
            let mut hog = crate::service::connect_narrow(service.address).unwrap();
            hog.write_all(&lines).unwrap();
            hog
        })
        .collect();
    wait_until("there are 100 MB of replies", || service.kilobytes("VmRSS") > before + 102_400);
    // The last one stays: what lies below its reply is not at the end of the heap.
    let last = hogs.pop().unwrap();
    hogs.into_iter().for_each(crate::service::reset);
    let most = before + before / 10 + LEFT_KB_MAX;
    wait_until("they are given back", || service.kilobytes("VmRSS") <= most);
    let (peak, after) = (service.kilobytes("VmHWM"), service.kilobytes("VmRSS"));
    crate::service::say(format!(
        "{before} KB, {peak} KB at the peak, {after} KB when all but one had gone"
    ));
    polite.write_all(LINE).unwrap();
    polite.read_exact(&mut vec![0; 4096 + LINE.len()]).unwrap();
    drop((polite, last));
    assert_eq!(service.stop().get("accepted"), HOGS as u64 + 1);
}

/// Regression: the kernel doubled the table of descriptors while connections arrived, and the loop
/// stopped for 5 to 20 ms each time, because its threads share the table.
#[test]
fn the_table_of_descriptors_has_its_size_before_the_first_connection() {
    let service = Service::of(patient(&["--max-connections", "5000"]));
    let size: usize = service.process.proc_status("FDSize").parse().unwrap();
    assert!(size >= 5000, "it has {size} places");
}

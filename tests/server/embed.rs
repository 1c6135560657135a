//! Promise: a program can embed the server in a loop of its own, and observe it from other threads.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use closecall::{Config, Handle, Server, Stage};

use crate::common::{MESSAGE, REPLY};

/// The longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A listener that is none of the library's making.
fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// The client's connection is echoed, and it closes.
fn comes_and_goes(address: SocketAddr) {
    let mut client = connect(address);
    client.write_all(MESSAGE).unwrap();
    let mut reply = [0; REPLY.len()];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(reply, REPLY);
}

#[test]
fn a_server_moves_to_a_thread_and_its_handle_is_shared() {
    fn moves<T: Send + 'static>() {}
    fn is_shared<T: Send + Sync + Clone + 'static>() {}
    moves::<Server>();
    is_shared::<Handle>();
    is_shared::<closecall::CounterWatch>();
}

/// Both listeners serve, in their order, and with the options that this server sets on its own:
/// urgent data is data.
#[test]
fn listeners_of_the_program_are_served() {
    let listeners = vec![listener(), listener()];
    let expected: Vec<_> = listeners.iter().map(|it| it.local_addr().unwrap()).collect();
    let mut server = Server::from_listeners(listeners, Config::new()).unwrap();
    assert_eq!(server.addresses(), expected);
    let handle = server.handle();
    let serves = std::thread::spawn(move || {
        let mut kinds = Vec::new();
        let last = server.run(|ending| kinds.push(ending.verdict.kind)).unwrap();
        (last.stage, kinds)
    });
    for address in expected {
        comes_and_goes(address);
        let mut client = connect(address);
        let urgent = socket2::SockRef::from(&client).send_out_of_band(b"!").unwrap();
        assert_eq!(urgent, 1);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).unwrap();
        assert_eq!(reply, b"from server back[rust]:!");
    }
    handle.drain();
    let (stage, kinds) = serves.join().unwrap();
    assert_eq!((stage, kinds.len()), (Stage::Stopped, 4), "{kinds:?}");
}

/// Without anything to do a turn would sleep for the read deadline, or indefinitely.
#[test]
fn a_turn_sleeps_no_longer_than_it_is_told() {
    let config = Config::new().read_deadline(None).write_deadline(None);
    let mut server = Server::from_listeners(vec![listener()], config).unwrap();
    assert_eq!(server.timeout(), None, "nothing is due");
    for most in [Duration::ZERO, Duration::from_micros(900), Duration::from_millis(1)] {
        let turn = server.turn_timeout(most).unwrap();
        assert_eq!((turn.stage, turn.events, turn.visits), (Stage::Serving, 0, 0));
    }
    server.handle().abort();
    while !server.turn_timeout(Duration::ZERO).unwrap().stage.is_over() {}
    assert_eq!(server.timeout(), Some(Duration::ZERO), "it says at once that it is over");
}

#[test]
fn counters_of_another_thread_add_up_and_arrive() {
    let mut server = Server::from_listeners(vec![listener()], Config::new()).unwrap();
    let address = server.addresses()[0];
    let (watch, handle) = (server.watch_counters(), server.handle());
    assert_eq!(watch.get(), *server.counters());
    let serves = std::thread::spawn(move || {
        server.run(|_| ()).unwrap();
        server.counters().clone()
    });
    let mut client = connect(address);
    client.write_all(MESSAGE).unwrap();
    client.read_exact(&mut [0; REPLY.len()]).unwrap();
    // The reply of the next one comes from a later turn than that in which the first was accepted.
    for _ in 0..10 {
        comes_and_goes(address);
        let seen = watch.get();
        assert!(seen.accepted >= 1, "{seen:?}");
        assert_eq!(seen.accepted, seen.open + seen.ended());
    }
    drop(client);
    handle.drain();
    let last = serves.join().unwrap();
    assert_eq!(watch.get(), last);
    assert_eq!((last.accepted, last.open, last.ended()), (11, 0, 11));
}

/// Another reactor waits for the server's poll: tokio's, on one thread.
#[cfg(target_os = "linux")]
#[test]
fn a_loop_of_its_own_waits_for_the_polls_descriptor() {
    use std::os::fd::{AsFd, AsRawFd};

    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    let mut server = Server::from_listeners(vec![listener()], Config::new()).unwrap();
    assert_eq!(server.as_fd().as_raw_fd(), server.as_raw_fd());
    let (address, handle) = (server.addresses()[0], server.handle());
    let client = std::thread::spawn(move || {
        comes_and_goes(address);
        handle.drain();
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async {
        let poll = server.as_fd().try_clone_to_owned().unwrap();
        #[allow(deprecated)] // for descriptors that are not owned; this one is
        let poll = AsyncFd::with_interest(poll, Interest::READABLE).unwrap();
        let mut ended = Vec::new();
        loop {
            // What is ready first, and a wait only where that was nothing.
            let turn = server.turn_timeout(Duration::ZERO).unwrap();
            ended.extend(server.endings().map(|ending| ending.verdict.kind));
            if turn.stage.is_over() {
                return ended;
            }
            match server.timeout() {
                Some(Duration::ZERO) => {}
                due => {
                    let most = due.unwrap_or(PATIENCE);
                    match tokio::time::timeout(most, poll.readable()).await {
                        Ok(ready) => ready.unwrap().clear_ready(),
                        Err(_) => assert!(due.is_some(), "it missed an event"),
                    }
                }
            }
        }
    });
    client.join().unwrap();
    assert_eq!(ended.len(), 1, "{ended:?}");
}

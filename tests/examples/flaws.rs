//! The flaws of each rung, measured, beside the rung that does not have them.

use std::fs;
use std::time::{Duration, Instant};

use closecall::client::{Act, Client, Did, Plan};

use super::process::{Output, PATIENCE};
use super::rung::*;

/// How long a client without an answer waits before it reports that. Nothing depends on its length:
/// a longer wait has the same result.
const IN_VAIN: Duration = Duration::from_millis(300);

/// Whether a client got back everything it sent, with a prefix wherever a read began.
fn all_came_back(client: &Client) -> bool {
    let prefix = &REPLY[..REPLY.len() - MESSAGE.len()];
    let mut rest = client.kept();
    let mut message = MESSAGE.iter().cycle();
    let mut bytes = 0;
    while let Some((first, behind)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(prefix) {
            rest = behind;
        } else if message.next() == Some(first) {
            (rest, bytes) = (behind, bytes + 1);
        } else {
            return false;
        }
    }
    bytes == client.sent()
}

// ---- 0: out of descriptors, and awake ---------------------------------------------------------

/// Level-triggered, the listener is reported for as long as a client waits. Edge-triggered, it is
/// reported once: the loop sleeps, and the price is that a free descriptor does not wake it.
#[test]
fn on_epoll_a_client_that_waits_for_a_file_burns_a_core() {
    let epoll = out_of_files(EPOLL, IN_VAIN);
    let readiness = out_of_files(READINESS, IN_VAIN);
    only_one_burns(&epoll.rung, &[readiness.rung]);

    assert_eq!(waits_for_a_file(EPOLL, PATIENCE), Did::Read(REPLY.len(), None));
    assert_eq!(waits_for_a_file(READINESS, IN_VAIN), Did::GaveUp);
}

// ---- 1: a thread for each client --------------------------------------------------------------

/// Memory enough for some thirty threads with stacks as C++ gives them, which is 8 MiB here.
const NARROW: &str =
    "ulimit -v $((256 * 1024)); export RUST_MIN_STACK=$((8 << 20)) MALLOC_ARENA_MAX=1";

#[test]
fn on_threads_one_client_too_many_ends_all_connections() {
    let mut threads = Rung::after(NARROW, THREADS);
    let mut clients: Vec<Client> = Vec::new();
    loop {
        assert!(clients.len() < 100, "it should have run out of memory");
        let Ok((mut client, _)) = Client::connect(&threads.plan()) else { break };
        if client.play(Act::Send).failed() || client.play(Act::Read).failed() {
            break;
        }
        clients.push(client);
    }
    assert!(clients.len() >= 10, "only {} threads", clients.len());
    for client in &mut clients {
        assert!(matches!(client.play(Act::AwaitEnd).did, Did::Saw(_)));
    }
    assert_eq!(threads.process.exit_code(), 1);

    for name in RUNGS.iter().filter(|name| **name != THREADS) {
        let rung = Rung::after(NARROW, name);
        let served: Vec<Client> = (0..5 * clients.len()).map(|_| rung.echoes()).collect();
        assert_eq!(served.len(), 5 * clients.len());
    }
}

// ---- 2: every client is asked, always -----------------------------------------------------------

/// Processor time that a process has used, in ticks of 10 ms: proc_pid_stat(5), utime and stime.
fn cpu_ticks(rung: &Rung) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", rung.id)).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// However much else the machine does: the window is as long as it takes the one to use so much of
/// a processor, and the others lie in the same window.
#[test]
fn on_spinning_idle_clients_use_a_whole_core() {
    let spinning = Rung::start(SPINNING);
    let others = RUNGS.iter().filter(|name| **name != SPINNING);
    let others: Vec<Rung> = others.map(|name| Rung::start(name)).collect();
    let idle: Vec<Client> = others.iter().chain([&spinning]).map(Rung::echoes).collect();

    only_one_burns(&spinning, &others);
    drop(idle);
}

/// Waits until `burns` has used 400 ms of a processor. The others have used next to nothing of it.
#[track_caller]
fn only_one_burns(burns: &Rung, others: &[Rung]) {
    const BURNT: u64 = 40;
    let before: Vec<u64> = others.iter().map(cpu_ticks).collect();
    let burnt_before = cpu_ticks(burns);
    wait_until(|| {
        // The test sleeps, so that the processor is the server's: no client sends anything.
        std::sync::mpsc::channel::<()>().1.recv_timeout(Duration::from_millis(20)).ok();
        cpu_ticks(burns) >= burnt_before + BURNT
    });
    for (rung, before) in others.iter().zip(before) {
        let used = cpu_ticks(rung) - before;
        assert!(20 * used <= BURNT, "{used} ticks of 10 ms, and the one that burns {BURNT}");
    }
}

#[test]
fn on_spinning_a_client_that_does_not_read_blocks_all_others() {
    let rung = Rung::start(SPINNING);
    let mut deaf = rung.client();
    while plays(&mut deaf, &[Act::Fill]) != Did::Sent(0) {} // a busy machine may look full
    let mut other = rung.connects(&Plan { patience: IN_VAIN, ..rung.plan() });
    plays(&mut other, &[Act::Send]);
    assert_eq!(other.play(Act::Read).did, Did::GaveUp);
    plays(&mut deaf, &[Act::ShutDownWrite, Act::ReadToEnd]);
    rung.echoes(); // so the other's reply, which was first in line, is there as well
    plays(&mut other, &[Act::Read]);

    for name in [THREADS, EDGES, DEADLINE, VERDICTS, EMBED] {
        let rung = Rung::start(name);
        let mut deaf = rung.client();
        plays(&mut deaf, &[Act::Fill]);
        rung.echoes();
    }
}

// ---- 3: what the socket does not take is gone -------------------------------------------------

/// More than the buffers of both sides hold: net.ipv4.tcp_rmem and tcp_wmem are 4 to 6 MiB.
const MORE_THAN_FITS: usize = 48 << 20;

#[test]
fn on_readiness_a_slow_reader_loses_bytes() {
    for name in [EPOLL, READINESS] {
        let rung = Rung::start(name);
        let mut deaf = rung.client();
        while deaf.sent() < MORE_THAN_FITS {
            deaf.play(Act::Fill); // it gives up at 64 MiB, and nothing else stops it
        }
        plays(&mut deaf, &[Act::ShutDownWrite, Act::ReadToEnd]);
        let (sent, received) = (deaf.sent(), deaf.received());
        assert!(received < sent / 2, "{name}: of {sent} bytes {received} came back");
    }

    for name in [THREADS, SPINNING, EDGES, DEADLINE, VERDICTS, EMBED] {
        let rung = Rung::start(name);
        let mut deaf = rung.client();
        plays(&mut deaf, &[Act::Fill, Act::ShutDownWrite, Act::ReadToEnd]);
        assert!(
            all_came_back(&deaf),
            "{name}: of {} bytes {} came back",
            deaf.sent(),
            deaf.received()
        );
    }
}

// ---- 4: the silent stay -----------------------------------------------------------------------

const SILENCE: Duration = Duration::from_millis(100);

/// For longer than the deadline. Unless the machine kept the client silent for so long.
#[track_caller]
fn a_client_that_sends_stays_connected(rung: &Rung) {
    let mut client = rung.client();
    let (begin, mut spoke) = (Instant::now(), Instant::now());
    while begin.elapsed() < 3 * SILENCE {
        let before = spoke;
        spoke = Instant::now();
        if client.play(Act::Send).failed() || client.play(Act::Read).failed() {
            assert!(before.elapsed() >= SILENCE, "ended while it spoke");
            return;
        }
    }
}

#[test]
fn on_edges_the_silent_stay_and_a_deadline_ends_them() {
    let edges = Rung::start(EDGES);
    let mut silent = edges.client();
    for name in [DEADLINE, VERDICTS, EMBED] {
        let rung = Rung::with_deadline(name, SILENCE.as_millis());
        let mut clients = [rung.client(), rung.client(), rung.client()];
        for client in &mut clients {
            plays(client, &[Act::AwaitEnd]);
            let (_, after) = client.server_end().unwrap();
            assert!(after >= SILENCE, "{name}: early, {after:?}");
        }
        a_client_that_sends_stays_connected(&rung);
    }
    plays(&mut silent, &[Act::Send, Act::Read]); // longer than all of these, and still there
    assert_eq!(silent.kept(), REPLY);
}

// ---- 5: the same word for opposite things -----------------------------------------------------

/// Two clients that close: one has read its reply, the other has lost it for sure. Returns what the
/// rung says of each, in words.
#[track_caller]
fn says_of_read_and_lost(name: &str) -> (String, String) {
    let rung = Rung::start(name);
    let mut read = rung.echoes();
    plays(&mut read, &[Act::Close]);

    // Its request and its FIN are there before the server can answer: no race.
    let mut lost = rung.echoes();
    rung.stops();
    plays(&mut lost, &[Act::Send, Act::Close]);
    rung.process.signal("CONT");

    let of = |client: &Client| {
        let begin = format!("{}: ", client.local());
        let text = rung.process.stdout.wait_for(&begin);
        let line = text.lines().find_map(|line| line.strip_prefix(&begin)).unwrap();
        line.split([':', ',']).next().unwrap().to_owned()
    };
    (of(&read), of(&lost))
}

#[test]
fn up_to_the_deadline_a_lost_reply_is_called_like_a_read_one() {
    for name in [EPOLL, THREADS, SPINNING, READINESS, EDGES, DEADLINE] {
        let said = says_of_read_and_lost(name);
        assert_eq!(said, ("recv = 0".to_owned(), "recv = 0".to_owned()), "{name}");
    }
    for name in [VERDICTS, EMBED] {
        let said = says_of_read_and_lost(name);
        let expected = ("peer_fin.delivered", "peer_fin.reply_refused");
        assert_eq!((said.0.as_str(), said.1.as_str()), expected, "{name}");
    }
}

// ---- 6: out of files, and deaf ----------------------------------------------------------------

const FILES: usize = 24;

/// Files that the limit counts: the parent of the tests may have left others open, with higher
/// numbers.
fn open_files(rung: &Rung) -> usize {
    let files = fs::read_dir(format!("/proc/{}/fd", rung.id)).unwrap();
    let numbers = files.map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap());
    numbers.filter(|number: &usize| *number < FILES).count()
}

/// More clients than there are files for; then all clients that were served close. Returns what
/// becomes of the first of the waiting ones.
struct OutOfFiles {
    rung: Rung,
    served: Vec<Client>,
    waits: Vec<Client>,
}

#[track_caller]
fn out_of_files(name: &str, patience: Duration) -> OutOfFiles {
    let rung = Rung::after(&format!("ulimit -n {FILES}"), name);
    let mut first = rung.echoes();
    let idle = open_files(&rung) - 1;
    plays(&mut first, &[Act::Close]);
    wait_until(|| open_files(&rung) == idle);
    let plan = Plan { patience, ..rung.plan() };
    let mut served: Vec<Client> = (idle..FILES).map(|_| rung.echoes()).collect();
    let mut waits: Vec<Client> = (0..4).map(|_| rung.connects(&plan)).collect();
    plays(&mut waits[0], &[Act::Send]);
    // With this reply the server has also been notified of the new connections, and has tried to
    // accept them before it receives what follows.
    plays(&mut served[0], &[Act::Send, Act::Read]);
    OutOfFiles { rung, served, waits }
}

/// All clients leave that were served. Returns what becomes of the first of those that wait.
#[track_caller]
fn waits_for_a_file(name: &str, patience: Duration) -> Did {
    let mut out = out_of_files(name, patience);
    out.served.iter_mut().for_each(|client| _ = plays(client, &[Act::Close]));
    out.waits[0].play(Act::Read).did
}

#[test]
fn on_verdicts_a_client_that_waits_for_a_file_waits_indefinitely() {
    assert_eq!(waits_for_a_file(VERDICTS, IN_VAIN), Did::GaveUp);
    assert_eq!(waits_for_a_file(EMBED, PATIENCE), Did::Read(REPLY.len(), None));
}

/// A request is there when it is to stop: one is ended by a signal, the other by Enter.
#[test]
fn on_verdicts_a_stop_cuts_off_a_client_that_is_being_served() {
    let rung = Rung::start(VERDICTS);
    let mut client = rung.echoes();
    rung.stops();
    plays(&mut client, &[Act::Send]);
    rung.process.signal("TERM");
    rung.process.signal("CONT");
    assert!(matches!(client.play(Act::AwaitEnd).did, Did::Saw(_)));
    assert_eq!(client.received(), REPLY.len(), "there is no second reply");

    let mut rung = Rung::start(EMBED);
    let mut client = rung.echoes();
    rung.stops();
    plays(&mut client, &[Act::Send]);
    rung.enter();
    rung.process.signal("CONT");
    plays(&mut client, &[Act::ReadToEnd]);
    assert_eq!(client.received(), 2 * REPLY.len());
}

// ---- 7: the loop also reports ------------------------------------------------------------------

#[test]
fn on_embed_a_report_that_is_not_read_blocks_all_connections() {
    let (rung, stdout) = Rung::unread(EMBED);
    let plan = Plan { patience: Duration::from_secs(2), ..rung.plan() };
    let mut clients = 0;
    let mut held_up = loop {
        let mut client = rung.connects(&plan);
        plays(&mut client, &[Act::Send]);
        if client.play(Act::Read).did == Did::GaveUp {
            break client;
        }
        plays(&mut client, &[Act::Close]);
        clients += 1;
        assert!(clients < 10_000, "a pipe holds 64 KiB");
    };
    assert_eq!(held_up.play(Act::Read).did, Did::GaveUp);
    let _read = Output::of(stdout);
    wait_until(|| held_up.play(Act::Read).did == Did::Read(REPLY.len(), None));
}

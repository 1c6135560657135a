//! Servers with the answers of a test: for each line that arrives, one is sent.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What every reply begins with.
pub(crate) const PREFIX: &str = "from a test:";

/// Says what goes back.
pub(crate) trait Answers: Send + Sync + 'static {
    /// The answer to the line that is the `turn`-th of this connection, counted from 0 as the
    /// connections are; `None` closes it. Connection 0 is the one that learns the prefix.
    fn answer(&self, connection: usize, turn: usize, line: &[u8]) -> Option<Vec<u8>>;

    /// The client's FIN is here. The server's own goes out when this returns.
    fn client_closed(&self, _connection: usize) {}
}

impl<F> Answers for F
where
    F: Fn(usize, usize, &[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
{
    fn answer(&self, connection: usize, turn: usize, line: &[u8]) -> Option<Vec<u8>> {
        self(connection, turn, line)
    }
}

/// The right answer.
pub(crate) fn right(line: &[u8]) -> Vec<u8> {
    [PREFIX.as_bytes(), line].concat()
}

/// Serves in threads that end with the test's process.
pub(crate) fn start(answers: impl Answers) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers = Arc::new(answers);
    thread::spawn(move || {
        for (connection, stream) in listener.incoming().enumerate() {
            let (Ok(mut stream), answers) = (stream, answers.clone()) else { return };
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                let mut line = Vec::new();
                for turn in 0.. {
                    line.clear();
                    let Ok(1..) = lines.read_until(b'\n', &mut line) else {
                        return answers.client_closed(connection);
                    };
                    let Some(answer) = answers.answer(connection, turn, &line) else { return };
                    if stream.write_all(&answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Connection 1 gets no second reply until connection 2 has had `count` more of them.
pub(crate) struct Stall {
    count: usize,
    answered: Mutex<usize>,
    more: Condvar,
}

impl Stall {
    pub(crate) fn new(count: usize) -> Stall {
        Stall { count, answered: Mutex::new(0), more: Condvar::new() }
    }
}

impl Answers for Stall {
    fn answer(&self, connection: usize, turn: usize, line: &[u8]) -> Option<Vec<u8>> {
        let mut answered = self.answered.lock().unwrap();
        match (connection, turn) {
            (2, 1..) => {
                *answered += 1;
                self.more.notify_all();
            }
            (1, 1) => drop(self.more.wait_while(answered, |it| *it < self.count).unwrap()),
            _ => {}
        }
        Some(right(line))
    }
}

/// A server of known capacity: it answers so many requests a second and no more, whatever number
/// of connections they come from, and the others wait for their turn. It costs no processor time.
pub(crate) struct Paced {
    interval: Duration,
    /// When the request that came last has its turn.
    last_turn: Mutex<Instant>,
}

impl Paced {
    /// After an idle time this much of the capacity is left over, so that a server whose thread was
    /// woken late can make up for it. It must be small beside the measured time.
    const SPARE: Duration = Duration::from_millis(5);

    pub(crate) fn new(capacity_per_s: u32) -> Paced {
        let interval = Duration::from_secs(1) / capacity_per_s;
        Paced { interval, last_turn: Mutex::new(Instant::now()) }
    }

    /// The service of one request: it ends when its turn comes.
    fn takes_its_time_of(&self) {
        let now = Instant::now();
        let mut last_turn = self.last_turn.lock().unwrap();
        *last_turn = (*last_turn + self.interval).max(now - Paced::SPARE);
        let wait = last_turn.saturating_duration_since(now);
        drop(last_turn);
        thread::sleep(wait);
    }
}

impl Answers for Paced {
    fn answer(&self, connection: usize, _: usize, line: &[u8]) -> Option<Vec<u8>> {
        if connection > 0 {
            self.takes_its_time_of();
        }
        Some(right(line))
    }
}

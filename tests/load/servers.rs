//! Servers that answer as a test wants them to: a line comes, and something goes back.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

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

//! The real loop over the calm kernel, with this number of connections held.

use closecall::config::Config;
use closecall::reactor::{Reactor, Turn};
use closecall::simulation::{Calm, Speakers};

/// A loop and its connections.
pub(crate) struct Held {
    reactor: Reactor<Calm>,
    connections: u32,
}

/// The number of turns in which every client sends something, and their total time.
const ROUND_TURNS: u32 = 1_000;
const ROUND_MS: u64 = 1_000;

/// Half of the deadline: a client that sends once in it is in time, and after the last alarm.
const PAUSE_MS: u64 = 5_000;

impl Held {
    /// A loop for `connections` connections. None is there before [`accept`](Self::accept).
    pub(crate) fn new(connections: u32) -> Held {
        // Near its limit a loop lets no connection wait for evidence.
        let max_connections = 2 * connections as usize;
        let config = Config {
            max_connections,
            bytes_per_turn: u64::MAX, // all that speak in a turn are served in it
            reaps_per_turn: u32::MAX,
            ..Config::default()
        };
        Held { reactor: Reactor::new(Calm::new(u64::from(connections)), config), connections }
    }

    /// All clients connect. Returns how many.
    pub(crate) fn accept(&mut self) -> u64 {
        self.reactor.kernel().connect(self.connections);
        while self.reactor.kernel().open() < self.connections {
            self.turn();
        }
        // Time passes before any client is to send: see `alarms`.
        self.reactor.kernel().turn_takes(PAUSE_MS);
        self.speak(Speakers::Same(1), 1);
        self.reactor.kernel().turn_takes(0);
        u64::from(self.connections)
    }

    /// Turns with these speakers, in which no time passes. Returns the messages that were answered.
    pub(crate) fn speak(&mut self, speakers: Speakers, turns: u32) -> u64 {
        self.reactor.kernel().speak(speakers);
        let answered = (0..turns).map(|_| u64::from(self.turn().visits)).sum();
        self.reactor.kernel().speak(Speakers::None);
        answered
    }

    /// Every client sends something, one after another, within a second. Returns how many.
    pub(crate) fn every_client_sends(&mut self) -> u64 {
        let each = self.connections.div_ceil(ROUND_TURNS);
        self.reactor.kernel().turn_takes(ROUND_MS / u64::from(ROUND_TURNS));
        let answered = self.speak(Speakers::InTurn(each), self.connections.div_ceil(each));
        self.reactor.kernel().turn_takes(0);
        answered
    }

    /// No client sends anything until every alarm that was set before has expired; the alarms of
    /// those that have sent since have moved. Returns how many expired.
    pub(crate) fn alarms(&mut self) -> u64 {
        let mut rang = 0;
        while rang < u64::from(self.connections) {
            let turn = self.turn();
            assert_eq!(turn.ended, 0, "a client sent too late");
            rang += u64::from(turn.alarms);
        }
        rang
    }

    /// No client sends anything any more, so all connections are ended: alarm, our FIN, the peer's
    /// FIN, verdict. Returns how many ended.
    pub(crate) fn end(&mut self) -> u64 {
        let mut ended = 0;
        while self.reactor.kernel().open() > 0 {
            ended += u64::from(self.turn().ended);
        }
        ended
    }

    fn turn(&mut self) -> Turn {
        let turn = self.reactor.turn().expect("there is always something to wait for");
        self.reactor.endings();
        turn
    }
}

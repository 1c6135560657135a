//! What goes wrong, how often, and how often it did.

use super::choices::Choices;
use crate::machine::errno::{Errno, System, table};

/// Something that the world does to the server. Each kind has a rate of its own in each world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Fault {
    /// A send takes less than there is room for.
    ShortSend,
    /// A send finds no room although there is some; an event follows later.
    SendBlocks,
    /// A receive gives less than there is. Only where a short read says nothing.
    ShortRecv,
    /// ENOBUFS or ENOMEM from a receive.
    RecvNoMemory,
    /// ENOBUFS or ENOMEM from a send.
    SendNoMemory,
    /// The socket dies just before a receive.
    RecvFails,
    /// The socket dies just before a send.
    SendFails,
    /// The socket dies just before its shutdown.
    ShutdownFails,
    /// A newcomer cannot be registered.
    RegisterFails,
    /// A newcomer is lost: ECONNABORTED, EPROTO, EPERM or an error of the network.
    AcceptLoses,
    /// One accept is out of files or memory.
    AcceptExhausted,
    /// Every accept is, for a while.
    AcceptEpisode,
    /// Shedding fails, too: no reserve descriptor.
    ShedFails,
    /// An event for an open connection to which nothing happened.
    SpuriousOpen,
    /// An event for a key that is not in use: its connection was closed, or it never had one.
    SpuriousStale,
    /// An event for a listener whose backlog is empty.
    SpuriousListener,
    /// The same event twice in a batch, as kqueue does for reading and writing.
    Duplicate,
    /// A batch that leaves some of what is ready for the next wait.
    CutBatch,
    /// A wait that ends with nothing: EINTR.
    Interrupted,
    /// A system call that takes milliseconds.
    SlowCall,
    /// The whole process stands still for eleven seconds: SIGSTOP.
    Freeze,
    /// TCP_INFO and SIOCINQ do not answer.
    NoFacts,
}

impl Fault {
    /// How many kinds there are.
    pub const COUNT: usize = Fault::NoFacts as usize + 1;

    /// Every kind, in order.
    pub const ALL: [Fault; Fault::COUNT] = [
        Fault::ShortSend,
        Fault::SendBlocks,
        Fault::ShortRecv,
        Fault::RecvNoMemory,
        Fault::SendNoMemory,
        Fault::RecvFails,
        Fault::SendFails,
        Fault::ShutdownFails,
        Fault::RegisterFails,
        Fault::AcceptLoses,
        Fault::AcceptExhausted,
        Fault::AcceptEpisode,
        Fault::ShedFails,
        Fault::SpuriousOpen,
        Fault::SpuriousStale,
        Fault::SpuriousListener,
        Fault::Duplicate,
        Fault::CutBatch,
        Fault::Interrupted,
        Fault::SlowCall,
        Fault::Freeze,
        Fault::NoFacts,
    ];

    /// How often it may happen in worlds that have it: once in so many opportunities.
    const fn rates(self) -> &'static [u32] {
        match self {
            Fault::Freeze => &[0, 0, 5_000, 500],
            Fault::SlowCall => &[0, 0, 2_000, 200],
            Fault::RecvFails | Fault::SendFails => &[0, 0, 400, 40],
            Fault::AcceptEpisode | Fault::AcceptExhausted => &[0, 0, 40, 8],
            Fault::RegisterFails | Fault::ShutdownFails => &[0, 0, 30, 8],
            Fault::CutBatch | Fault::Duplicate => &[0, 20, 4, 2],
            Fault::ShortSend | Fault::ShortRecv => &[0, 20, 4, 2],
            Fault::NoFacts => &[0, 0, 0, 20],
            Fault::ShedFails => &[0, 0, 4],
            _ => &[0, 200, 30, 8],
        }
    }
}

/// The rates of one world, and the counts.
#[derive(Clone, Debug)]
pub struct Faults {
    rates: [u32; Fault::COUNT],
    counts: [u64; Fault::COUNT],
}

impl Faults {
    /// A world in which nothing goes wrong.
    pub const fn none() -> Faults {
        Faults { rates: [0; Fault::COUNT], counts: [0; Fault::COUNT] }
    }

    /// Rates of their own for a new world; in one of four nothing goes wrong.
    pub fn choose(choices: &mut Choices) -> Faults {
        let mut faults = Faults::none();
        if choices.below(4) > 0 {
            for fault in Fault::ALL {
                faults.rates[fault as usize] = choices.pick(fault.rates());
            }
        }
        faults
    }

    /// The faults of a set, by number, do not happen.
    pub(super) fn leave_out(&mut self, set: u64) {
        for fault in Fault::ALL.into_iter().filter(|&fault| set >> fault as u32 & 1 == 1) {
            self.rates[fault as usize] = 0;
        }
    }

    /// Whether `fault` is to happen now; then it is counted.
    pub(super) fn inject(&mut self, fault: Fault, choices: &mut Choices) -> bool {
        let strikes = choices.one_in(self.rates[fault as usize]);
        self.counts[fault as usize] += u64::from(strikes);
        strikes
    }

    /// How often each kind has happened.
    pub fn counts(&self) -> &[u64; Fault::COUNT] {
        &self.counts
    }
}

/// The error numbers of a system that the world hands out, by name.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorNumbers(pub(super) System);

impl ErrorNumbers {
    fn of(self, names: &[&str]) -> Errno {
        let row = names.iter().find_map(|name| table(self.0).iter().find(|row| row.1 == *name));
        Errno(row.map_or(0, |row| row.0))
    }

    pub(super) fn reset(self) -> Errno {
        self.of(&["ECONNRESET", "WSAECONNRESET"])
    }

    pub(super) fn pipe(self) -> Errno {
        self.of(&["EPIPE", "WSAECONNABORTED"])
    }

    pub(super) fn not_connected(self) -> Errno {
        self.of(&["ENOTCONN", "WSAENOTCONN"])
    }

    pub(super) fn timed_out(self) -> Errno {
        self.of(&["ETIMEDOUT", "WSAETIMEDOUT"])
    }

    pub(super) fn unreachable(self, choices: &mut Choices) -> Errno {
        let name = choices.pick(&["HOSTUNREACH", "NETUNREACH", "CONNREFUSED"]);
        self.of(&[&format!("E{name}"), &format!("WSAE{name}")])
    }

    pub(super) fn no_memory(self, choices: &mut Choices) -> Errno {
        match choices.below(2) {
            0 => self.of(&["ENOBUFS", "WSAENOBUFS"]),
            _ => self.of(&["ENOMEM", "ERROR_NOT_ENOUGH_MEMORY"]),
        }
    }

    pub(super) fn no_files(self, choices: &mut Choices) -> Errno {
        let name = choices.pick(&["EMFILE", "ENFILE"]);
        self.of(&[name, "WSAEMFILE"])
    }

    /// What ends a connection out of the blue.
    pub(super) fn deadly(self, choices: &mut Choices) -> Errno {
        let name = choices.pick(&[
            "CONNRESET",
            "TIMEDOUT",
            "HOSTUNREACH",
            "NETUNREACH",
            "NETDOWN",
            "CONNABORTED",
            "INVAL",
        ]);
        self.of(&[&format!("E{name}"), &format!("WSAE{name}")])
    }

    /// What accept says about a newcomer that is lost, or about the network it came over.
    pub(super) fn lost(self, choices: &mut Choices) -> Errno {
        let name = choices.pick(&[
            "ECONNABORTED",
            "EPROTO",
            "EPERM",
            "ENETDOWN",
            "EHOSTUNREACH",
            "ENETUNREACH",
            "EOPNOTSUPP",
            "ENOPROTOOPT",
        ]);
        self.of(&[name, "WSAECONNRESET"])
    }
}

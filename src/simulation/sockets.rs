//! The connections that the server has, counted by the system.

/// Open and accepted connections.
#[derive(Debug)]
pub(super) struct Sockets {
    /// Links in the order in which they were accepted.
    accepted: Vec<u32>,
    open: usize,
    /// Registered connections by peer machine.
    by_machine: [u32; 256],
}

impl Sockets {
    pub(super) fn new() -> Sockets {
        Sockets { accepted: Vec::new(), open: 0, by_machine: [0; 256] }
    }

    /// `link` is accepted; the number of those that were accepted so far.
    pub(super) fn accept(&mut self, link: u32) -> u64 {
        self.accepted.push(link);
        self.open += 1;
        self.accepted.len() as u64
    }

    /// A connection from `machine` is registered.
    pub(super) fn register(&mut self, machine: usize) {
        self.by_machine[machine] += 1;
    }

    /// A registered connection from `machine` is about to be closed.
    pub(super) fn unregister(&mut self, machine: usize) {
        self.by_machine[machine] -= 1;
    }

    /// A connection is closed.
    pub(super) fn close(&mut self) {
        self.open -= 1;
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// All that were ever accepted, in order.
    pub(super) fn accepted(&self) -> &[u32] {
        &self.accepted
    }

    /// How many are registered from `machine`.
    pub(super) fn of_machine(&self, machine: usize) -> u32 {
        self.by_machine[machine]
    }

    /// A machine with more than `limit` registered connections.
    pub(super) fn machine_beyond(&self, limit: u32) -> Option<usize> {
        self.by_machine.iter().position(|&count| count > limit)
    }
}

//! The end of a client connection, and its counters.

use std::net::Shutdown;

use super::Generator;
use super::stage::RunPhase;
use crate::kernel::mio_kernel::errno;
use crate::load::connection::{Phase, Why};
use crate::load::plan::Mode;
use crate::load::tally::Trouble;
use crate::load::verdict::verdict;
use crate::machine::close::Via;
use crate::machine::errno::{Errno, System};
use crate::machine::time::Moment;

impl Generator {
    /// Sends our FIN, and waits for the server's.
    pub(super) fn shut_down(&mut self, key: usize) {
        let now = self.now();
        let entry = &mut self.slab[key];
        let Some(socket) = &entry.socket else { return };
        let shut = socket.shutdown(Shutdown::Write);
        entry.connection.phase = Phase::Closing;
        entry.connection.seen.shut_down(&shut);
        match shut {
            Ok(()) => {
                if entry.connection.in_flight() == 0 {
                    let noted = self.noted(key, self.slab[key].connection.asked);
                    self.begun_at[noted] = now;
                    self.arm(key, now);
                }
            }
            // A reset arrived first, and the observer asks for it.
            Err(error) => {
                let first = entry.connection.seen.conclude(socket).evidence.error;
                let errno = first.map_or_else(|| errno(&error), |first| first.errno);
                self.note_errno(key, Trouble::of(errno), errno);
                self.end(key, Why::Server);
            }
        }
    }

    pub(super) fn heard_fin(&mut self, key: usize) {
        let (is_churn, now) = (self.is_churn(), self.now());
        let connection = &mut self.slab[key].connection;
        connection.seen.received_fin();
        if connection.phase == Phase::Closing {
            if is_churn {
                let turn = connection.answered;
                connection.answered = turn + 1;
                self.in_flight -= 1;
                self.count(key, turn, now);
            }
            return self.end(key, Why::Done);
        }
        // A connection that waits to be closed has finished its work: the server may close it, too.
        if self.stage != RunPhase::Closing || connection.in_flight() > 0 {
            self.note(key, Trouble::Closed);
        }
        self.end(key, Why::Server);
    }

    /// A call failed: the server or the network ended the connection.
    pub(super) fn failed(&mut self, key: usize, errno: Errno, via: Via) {
        self.slab[key].connection.seen.failed(errno, via);
        self.note_errno(key, Trouble::of(errno), errno);
        self.end(key, Why::Server);
    }

    pub(super) fn too_late(&mut self, key: usize) {
        match self.slab[key].connection.phase {
            Phase::Connecting => {
                self.note(key, Trouble::ConnectTimeout);
                self.never_came(key);
            }
            Phase::Closing => {
                self.note(key, Trouble::NoFin);
                self.end(key, Why::Timeout);
            }
            Phase::Open | Phase::Closed => {
                self.note(key, Trouble::Timeout);
                self.end(key, Why::Timeout);
            }
        }
    }

    pub(super) fn mismatch(&mut self, key: usize, at: usize, bytes: usize) {
        self.tally.mismatches += 1;
        if self.tally.is_first_trouble() {
            let shown = &self.inbox[at..bytes.min(at + SHOWN_BYTES_MAX)];
            self.trouble = Some(format!(
                "connection {}: a wrong reply, which contains \"{}\"",
                self.plan.number(key as u32),
                shown.escape_ascii()
            ));
        }
        self.end(key, Why::Mismatch);
    }

    /// The end of a connection: its verdict is counted, and its place is free, or for the next
    /// cycle.
    pub(super) fn end(&mut self, key: usize, why: Why) {
        self.lose_turns(key);
        let entry = &mut self.slab[key];
        let Some(socket) = entry.socket.take() else { return };
        // A cycle of the warm-up that ended as expected is in no figure.
        let connection = &mut entry.connection;
        let measures = connection.asked.checked_sub(1).is_none_or(|turn| connection.measures(turn));
        if measures || why != Why::Done || self.plan.mode != Mode::Churn {
            self.tally.ended(verdict(connection, why, &socket));
        }
        drop(socket);
        let connection = &mut entry.connection;
        connection.phase = Phase::Closed;
        connection.wakes_at = Moment::NEVER;
        self.closing.under_way -= u32::from(std::mem::take(&mut connection.is_leaving));
        let is_new = connection.is_new;
        if self.reopens() {
            let now = self.now();
            self.reopen(key, now);
        } else {
            self.opening -= u32::from(is_new);
            self.remove(key);
        }
    }

    /// Removes the connection from its place.
    pub(super) fn remove(&mut self, key: usize) {
        self.give_up(key);
        self.wheel.disarm(key as u32);
        self.slab.remove(key);
    }

    /// Drops the turns that are due in this place and have not begun.
    pub(super) fn give_up(&mut self, key: usize) {
        if self.pace.is_none() {
            return;
        }
        let connection = &mut self.slab[key].connection;
        let (owed, warm) = (connection.gives_up(), connection.warm);
        self.owed -= owed.end - owed.start;
        let now = self.now();
        owed.filter(|turn| *turn >= warm).for_each(|turn| self.unanswered(key, turn, now));
    }

    /// A measured turn that will never be answered. It counts with its age, so that lost requests
    /// do not improve the percentiles; but not after an interrupt, which may have cut a quick one
    /// short.
    fn unanswered(&mut self, key: usize, turn: u64, now: u64) {
        self.outcome.unanswered += 1;
        if !self.outcome.interrupted {
            self.record(key, turn, now);
        }
    }

    /// The turns in flight will never be answered.
    pub(super) fn lose_turns(&mut self, key: usize) {
        let measuring = self.is_measuring() || self.stage == RunPhase::Closing;
        let connection = &mut self.slab[key].connection;
        let lost = connection.answered..connection.asked;
        if lost.is_empty() {
            return;
        }
        let measured = connection.warm.max(lost.start)..connection.cool.min(lost.end);
        connection.answered = lost.end;
        self.in_flight -= lost.end - lost.start;
        self.kept_alive -= lost.end.saturating_sub(connection.cool.max(lost.start));
        let now = self.now();
        for turn in measured.filter(|_| measuring) {
            self.unanswered(key, turn, now);
        }
    }

    // ---- errors --------------------------------------------------------------------------------

    pub(super) fn note(&mut self, key: usize, trouble: Trouble) {
        self.tell_first(key, trouble, None);
    }

    pub(super) fn note_errno(&mut self, key: usize, trouble: Trouble, errno: Errno) {
        self.tell_first(key, trouble, Some(errno));
    }

    /// Counts it, and keeps the text of the first one.
    fn tell_first(&mut self, key: usize, trouble: Trouble, errno: Option<Errno>) {
        self.tally.trouble(trouble);
        if !self.tally.is_first_trouble() {
            return;
        }
        let number = self.plan.number(key as u32);
        let errno = match errno.map(|errno| (errno.name(System::HERE), errno.0)) {
            Some((Some(name), _)) => format!(" ({name})"),
            Some((None, number)) => format!(" (error {number})"),
            None => String::new(),
        };
        self.trouble = Some(format!("connection {number}: {}{errno}", trouble.says()));
    }
}

/// The number of bytes of a wrong reply that are shown.
const SHOWN_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use socket2::SockRef;

    use super::*;
    use crate::load::plan::Plan;
    use crate::load::plan::tests::plan;

    /// A reset that lands between two events makes our shutdown fail, with ENOTCONN: that is not
    /// what happened. The reset's own number is handed out once, to the observer, which knows it
    /// for the verdict as well.
    #[test]
    fn a_reset_before_our_fin_is_counted_by_its_own_number() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let plan = Plan { mode: Mode::Hold, server, connections: 1, ..plan() };
        let mut generator = Generator::new(plan).unwrap();
        generator.take_places();
        generator.connect(0, 0);
        let (accepted, _) = listener.accept().unwrap();
        SockRef::from(&accepted).set_linger(Some(Duration::ZERO)).unwrap();
        drop(accepted);

        generator.shut_down(0);
        let told = "connection 0: reset by the server (ECONNRESET)";
        assert_eq!(generator.trouble.as_deref(), Some(told));
        assert_eq!(generator.tally.errors(), [("reset".to_owned(), 1)].into());
        assert_eq!(generator.tally.verdicts(), [("peer_reset.probe".to_owned(), 1)].into());
        assert!(generator.slab.is_empty(), "its place is free");
    }
}

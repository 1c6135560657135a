//! Bounded queue of lines with a writer thread behind it.
//!
//! The serving thread never writes. It [pushes](Sink::push) lines into the queue, which is quick
//! whatever the descriptor does. If the descriptor blocks, is closed or is full, lines are lost and
//! counted, and nothing else happens.
//!
//! ```text
//!   serving thread ──push──▶ [ queue, bounded ] ──batch──▶ writer thread ──write(2)──▶ descriptor
//!                     full: lost += 1                failed: lost += lines not wholly written
//! ```
//!
//! A line is written whole: no other writer of the same pipe or file tears it ([`out`] has the
//! number of bytes for each call), and a file that ends in the middle of a line gets a newline
//! before the next line. Pushed = written + lost + waiting, at every moment; at the end no line is
//! waiting.

mod out;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

pub(super) use self::out::{Descriptor, Out, PIPE_BUF};
use self::writer::{Called, Writer};

/// Splits `text` into pieces that other writers of the same pipe cannot tear: whole lines, up to
/// PIPE_BUF bytes. A longer line is a piece of its own.
pub(super) fn calls(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let newline = |text: &[u8]| text.iter().rposition(|&byte| byte == b'\n').map(|at| at + 1);
    std::iter::from_fn(move || {
        let most = &text[..text.len().min(PIPE_BUF)];
        let first_line = || text.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
        let length = match most.len() == text.len() {
            true => text.len(),
            false => newline(most).or_else(first_line).unwrap_or(text.len()),
        };
        let (piece, rest) = text.split_at(length);
        text = rest;
        (length > 0).then_some(piece)
    })
}

/// The most lines that the writer takes from the queue at a time.
const BATCH_MAX: usize = 256;

/// After a batch the writer waits this long for more lines, so that a busy server does not wake it
/// for each line: a wake-up costs the serving thread a system call.
const GATHER: Duration = Duration::from_millis(5);

/// How long the exit waits for a call that is in progress and depends on no reader.
const LAST_CALL: Duration = Duration::from_secs(1);

/// The items of a sink, and how it reports lost ones. Runs in the writer thread.
pub(super) trait Content: Send + 'static {
    /// The type of the queue's items.
    type Item: Send + 'static;

    /// Adds `item` to `into`, its newline included.
    fn render(&mut self, item: &Self::Item, into: &mut Vec<u8>);

    /// A write failed, for the first time or after a successful one.
    fn failed(&mut self, error: &io::Error);

    /// Since the last report, `lost` items were lost, and now a write succeeded or the sink ends.
    /// Adds a line about it to `into`, or reports it elsewhere.
    fn lost(&mut self, lost: u64, into: &mut Vec<u8>);

    /// The descriptor was reopened, or reopening failed and the old one stays.
    fn reopened(&mut self, _result: io::Result<()>) {}
}

/// A queue with a writer. Cheap to clone; all clones share one queue.
pub(super) struct Sink<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Sink<T> {
    fn clone(&self) -> Sink<T> {
        Sink { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// For the writer: there is something to write, or the sink is closed.
    wake: Condvar,
    /// For the thread that waits in [`Sink::finish`].
    finished: Condvar,
    items_max: usize,
}

struct State<T> {
    queue: VecDeque<T>,
    /// Items that the writer has taken and not written yet.
    in_flight: usize,
    /// Items that were not written and will not be.
    lost: u64,
    /// The writer is in a call that returns at once.
    calling: bool,
    /// The writer must reopen the descriptor.
    reopen: bool,
    /// The writer sleeps and must be woken.
    idle: bool,
    /// No more items will come.
    closed: bool,
    /// The items left are counted as lost: the writer must not write any more.
    given_up: bool,
    /// The writer has ended.
    finished: bool,
}

/// The next step of the writer.
enum Next {
    /// Write a batch of items.
    Batch,
    /// Reopen the descriptor.
    Reopen,
    /// Report the lost items and end: the queue is empty and closed.
    End,
    /// End without another write.
    GivenUp,
}

impl<T: Send + 'static> Sink<T> {
    /// Starts a writer to `out` behind a queue of `items_max` items. It writes `preamble` first.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(super) fn start<C: Content<Item = T>>(
        name: &str,
        out: impl Out,
        content: C,
        items_max: usize,
        preamble: Vec<u8>,
    ) -> io::Result<Sink<T>> {
        let sink = Sink::new(items_max);
        let mut writer = Writer::new(&sink, out, content);
        thread::Builder::new().name(name.to_owned()).spawn(move || writer.run(&preamble))?;
        Ok(sink)
    }

    fn new(items_max: usize) -> Sink<T> {
        let state = State {
            queue: VecDeque::new(),
            in_flight: 0,
            lost: 0,
            calling: false,
            reopen: false,
            idle: false,
            closed: false,
            given_up: false,
            finished: false,
        };
        let shared = Shared {
            state: Mutex::new(state),
            wake: Condvar::new(),
            finished: Condvar::new(),
            items_max,
        };
        Sink { shared: Arc::new(shared) }
    }

    /// Queues an item, or counts it as lost if the queue is full. It never waits for the
    /// descriptor.
    pub(super) fn push(&self, item: T) {
        self.push_up_to(item, self.shared.items_max);
    }

    /// Queues an item even if the queue is full. For the last item, which must not be lost.
    pub(super) fn push_last(&self, item: T) {
        self.push_up_to(item, usize::MAX);
    }

    fn push_up_to(&self, item: T, items_max: usize) {
        let mut state = self.shared.lock();
        if state.queue.len() >= items_max {
            state.lost += 1;
            return;
        }
        state.queue.push_back(item);
        if std::mem::take(&mut state.idle) {
            self.shared.wake.notify_one();
        }
    }

    /// Asks the writer to reopen its descriptor before the next write. Returns at once.
    pub(super) fn reopen(&self) {
        let mut state = self.shared.lock();
        state.reopen = true;
        state.idle = false;
        self.shared.wake.notify_one();
    }

    /// The numbers of items lost so far, and of items that wait to be written.
    pub(super) fn so_far(&self) -> (u64, u64) {
        let state = self.shared.lock();
        (state.lost, (state.queue.len() + state.in_flight) as u64)
    }

    /// Ends the writer, waits for it up to `patience`, and returns the number of lost items,
    /// including those that it could not write in time. After that it writes no more, so that an
    /// item counted as lost never appears. If a call is in progress that depends on no reader, this
    /// waits for it.
    pub(super) fn finish(&self, patience: Duration) -> u64 {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.wake.notify_one();
        let mut state = self.shared.wait(state, patience, |state| !state.finished);
        if !state.finished {
            state.given_up = true;
            state = self.shared.wait(state, LAST_CALL, |state| state.calling);
        }
        state.lost += (state.queue.len() + state.in_flight) as u64;
        state.queue.clear();
        state.in_flight = 0;
        state.lost
    }
}

impl<T> Shared<T> {
    /// The state is consistent whenever the lock is held, so a poisoned lock is safe to use.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the writer while `what` is true, up to `patience`.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State<T>>,
        patience: Duration,
        what: impl Fn(&State<T>) -> bool,
    ) -> MutexGuard<'a, State<T>> {
        let waited = self.finished.wait_timeout_while(state, patience, |state| what(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until there is something to do. Moves a batch of items to `batch`, which must be
    /// empty.
    fn next(&self, batch: &mut Vec<T>) -> Next {
        let mut state = self.lock();
        while state.queue.is_empty() && !state.closed && !state.reopen {
            state.idle = true;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        if state.given_up {
            return Next::GivenUp;
        }
        if std::mem::take(&mut state.reopen) {
            return Next::Reopen;
        }
        let count = state.queue.len().min(BATCH_MAX);
        batch.extend(state.queue.drain(..count));
        state.in_flight = count;
        if count > 0 { Next::Batch } else { Next::End }
    }

    /// Waits for more items, unless there are enough for a batch or the sink is closed.
    fn gather(&self) {
        let state = self.lock();
        let waits =
            |state: &mut State<T>| !state.closed && !state.reopen && state.queue.len() < BATCH_MAX;
        drop(self.wake.wait_timeout_while(state, GATHER, waits));
    }

    /// Must precede each call of the writer. Returns a reason not to call.
    fn begin_call(&self, returns_at_once: bool) -> Option<Called> {
        let mut state = self.lock();
        if state.given_up {
            return Some(Called::GivenUp);
        }
        if std::mem::take(&mut state.reopen) {
            return Some(Called::Reopen);
        }
        state.calling = returns_at_once;
        None
    }

    /// Must follow each call: `whole` more items are written. Items that `finish` has counted
    /// already stay lost.
    fn end_call(&self, whole: usize) {
        let mut state = self.lock();
        state.calling = false;
        state.in_flight = state.in_flight.saturating_sub(whole);
        if state.given_up {
            self.finished.notify_all();
        }
    }

    /// Counts the items in flight as lost.
    fn lose_in_flight(&self) {
        let mut state = self.lock();
        state.lost += std::mem::take(&mut state.in_flight) as u64;
    }

    fn lost(&self) -> u64 {
        self.lock().lost
    }

    /// Marks the writer as ended.
    fn set_finished(&self) {
        self.lock().finished = true;
        self.finished.notify_all();
    }
}

#[cfg(test)]
mod tests;

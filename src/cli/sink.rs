//! Where lines go: a bounded queue, and behind it a thread that writes.
//!
//! Files and terminals never say EAGAIN, and to set O_NONBLOCK on a descriptor that was inherited
//! would set it for the parent, too. So whoever serves never writes: it [pushes](Sink::push), which
//! takes a moment whatever the descriptor does. A stuck, closed or full one costs lines, which are
//! counted, and nothing else.
//!
//! ```text
//!   serving thread ──push──▶ [ queue, bounded ] ──batch──▶ writer thread ──write(2)──▶ descriptor
//!                     full: lost += 1                failed: lost += lines not wholly written
//! ```

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Lines that are written with one call.
const BATCH_MAX: usize = 256;

/// After a batch more is gathered for this long, so that a busy server does not wake the writer for
/// each line: a wake-up costs the serving thread a system call.
const GATHER: Duration = Duration::from_millis(5);

/// When to try again to write to a descriptor that its owner has set to O_NONBLOCK.
const RETRY: Duration = Duration::from_millis(10);

/// What a sink carries, and what it says when some of it was lost. Runs in the writer thread.
pub(super) trait Content: Send + 'static {
    /// What waits in the queue.
    type Item: Send + 'static;

    /// Adds `item` to `into`, its newline included.
    fn render(&mut self, item: &Self::Item, into: &mut Vec<u8>);

    /// A write failed, for the first time or after one that did not.
    fn failed(&mut self, error: &io::Error);

    /// Since this was last said `lost` items were lost, and now something could be written, or it
    /// is the end. Adds a line about it to `into`, or says it elsewhere.
    fn lost(&mut self, lost: u64, into: &mut Vec<u8>);
}

/// A queue with a writer. Cheap to clone; all clones are one.
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
    /// For the writer: there is something to write, or nothing more will come.
    wake: Condvar,
    /// For whoever waits in [`Sink::finish`].
    finished: Condvar,
    items_max: usize,
}

struct State<T> {
    queue: VecDeque<T>,
    /// Items that the writer has taken and not yet written.
    in_flight: usize,
    /// Items that nobody will read.
    lost: u64,
    /// The writer sleeps and wants to be woken.
    idle: bool,
    /// Nothing more will come.
    closed: bool,
    /// The writer is done.
    finished: bool,
}

impl<T: Send + 'static> Sink<T> {
    /// Starts a writer to `out` behind a queue of `items_max`. It begins with `preamble`.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(super) fn start<C: Content<Item = T>>(
        name: &str,
        out: impl Write + Send + 'static,
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
            idle: false,
            closed: false,
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

    /// Queues an item, or counts it as lost if the queue is full. Never waits for the descriptor.
    pub(super) fn push(&self, item: T) {
        self.push_up_to(item, self.shared.items_max);
    }

    /// Queues an item even if the queue is full: for the one that must not be missing, at the end.
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

    /// Lets the writer end, waits for it up to `patience`, and gives the number of items that were
    /// lost, those included that it did not get to.
    pub(super) fn finish(&self, patience: Duration) -> u64 {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.wake.notify_one();
        let waited = self.shared.finished.wait_timeout_while(state, patience, |s| !s.finished);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.lost += (state.queue.len() + state.in_flight) as u64;
        state.queue.clear();
        state.in_flight = 0;
        state.lost
    }
}

impl<T> Shared<T> {
    /// Nothing can be half done under this lock, so a panic under it spoils nothing.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for items and moves a batch of them to `batch`, which is empty. Gives `false` when
    /// there are none and none will come.
    fn next_batch(&self, batch: &mut Vec<T>) -> bool {
        let mut state = self.lock();
        while state.queue.is_empty() && !state.closed {
            state.idle = true;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        let count = state.queue.len().min(BATCH_MAX);
        batch.extend(state.queue.drain(..count));
        state.in_flight = count;
        count > 0
    }

    /// Lets a few items come together, unless there is enough for a batch or it is the end.
    fn gather(&self) {
        let state = self.lock();
        let waits = |state: &mut State<T>| !state.closed && state.queue.len() < BATCH_MAX;
        drop(self.wake.wait_timeout_while(state, GATHER, waits));
    }
}

/// The other end of the queue.
struct Writer<C: Content, W> {
    shared: Arc<Shared<C::Item>>,
    out: W,
    content: C,
    /// The last write ended in the middle of a line.
    torn: bool,
    /// The last write failed.
    failing: bool,
    /// How many lost items were told about.
    told: u64,
}

impl<C: Content, W: Write> Writer<C, W> {
    fn new(sink: &Sink<C::Item>, out: W, content: C) -> Writer<C, W> {
        let shared = Arc::clone(&sink.shared);
        Writer { shared, out, content, torn: false, failing: false, told: 0 }
    }

    fn run(&mut self, preamble: &[u8]) {
        self.write(preamble);
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut buffer = Vec::new();
        let mut ends = Vec::with_capacity(BATCH_MAX);
        while self.shared.next_batch(&mut batch) {
            buffer.clear();
            ends.clear();
            if self.torn {
                buffer.push(b'\n'); // what comes is not the rest of what was cut off
            }
            for item in batch.drain(..) {
                self.content.render(&item, &mut buffer);
                ends.push(buffer.len());
            }
            let written = self.write(&buffer);
            // A line of which only the newline is missing gets it with the next write.
            let whole = ends.partition_point(|end| end - 1 <= written);
            let mut state = self.shared.lock();
            // After the end of its patience `finish` has counted these already.
            if state.in_flight > 0 {
                state.in_flight = 0;
                state.lost += (ends.len() - whole) as u64;
            }
            drop(state);
            if !self.failing {
                self.tell_lost();
            }
            self.shared.gather();
        }
        self.tell_lost();
        self.shared.lock().finished = true;
        self.shared.finished.notify_all();
    }

    /// Says how much was lost since it was last said. If that cannot be written it is said later.
    fn tell_lost(&mut self) {
        let lost = self.shared.lock().lost;
        if lost == self.told {
            return;
        }
        let mut line = Vec::new();
        self.content.lost(lost - self.told, &mut line);
        if self.torn && !line.is_empty() {
            line.insert(0, b'\n');
        }
        if self.write(&line) == line.len() {
            self.told = lost;
        }
    }

    /// Writes `bytes` and gives how many of them were taken: all, unless an error came.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            let error = match self.out.write(&bytes[written..]) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(count) => {
                    written += count;
                    self.failing = false;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(RETRY);
                    continue;
                }
                Err(error) => error,
            };
            if !std::mem::replace(&mut self.failing, true) {
                self.content.failed(&error);
            }
            break;
        }
        if written > 0 {
            self.torn = bytes[written - 1] != b'\n';
        }
        written
    }
}

/// The descriptor behind a standard stream, as a file of its own: unbuffered, unlocked, and honest
/// about errors, none of which the streams of the standard library are.
#[cfg(unix)]
pub(super) fn standard(stream: &impl std::os::fd::AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

/// The handle behind a standard stream, as a file of its own.
#[cfg(windows)]
pub(super) fn standard(stream: &impl std::os::windows::io::AsHandle) -> io::Result<File> {
    stream.as_handle().try_clone_to_owned().map(File::from)
}

#[cfg(test)]
mod tests;

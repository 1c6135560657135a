//! Writer thread of a sink: it writes batches in calls of whole lines, and counts the written lines
//! after each call.
//!
//! ```text
//!   batch   [line][line][line][line]   256 at most
//!   call    [\n]?[line][line]          whole lines, as many as the descriptor takes at once
//!            └ a newline first, if the descriptor ends in the middle of another line
//! ```

use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::{BATCH_MAX, Content, Next, Out, Shared, Sink};

/// The consumer of the queue.
pub(super) struct Writer<C: Content, O> {
    shared: Arc<Shared<C::Item>>,
    pub(super) out: O,
    content: C,
    /// The last write ended in the middle of a line.
    torn: bool,
    /// The last write failed.
    failing: bool,
    /// The number of lost items that were reported.
    told: u64,
}

/// Lines, and the end of each.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Ends the line that was added last.
    fn end_line(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// The beginning of line `index`.
    fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.ends[index - 1] }
    }

    /// The end of as many lines from `index` on as fit into `bytes_max`, at least one: the index
    /// after the last of them.
    fn until(&self, index: usize, bytes_max: usize) -> usize {
        let start = self.start(index);
        let fits = self.ends[index..].partition_point(|end| end - start <= bytes_max);
        index + fits.max(1)
    }
}

/// Why a call ended.
pub(super) enum Called {
    /// Everything is written.
    Done,
    /// The descriptor failed.
    Failed,
    /// The sink must be reopened: lines that were not written whole go to the new file.
    Reopen,
    /// The lines are counted as lost, so they must not be written.
    GivenUp,
}

impl<C: Content, O: Out> Writer<C, O> {
    pub(super) fn new(sink: &Sink<C::Item>, out: O, content: C) -> Writer<C, O> {
        let shared = Arc::clone(&sink.shared);
        Writer { shared, out, content, torn: false, failing: false, told: 0 }
    }

    /// Writes `preamble` and then the queued items, until the sink is closed.
    pub(super) fn run(&mut self, preamble: &[u8]) {
        self.torn = self.out.ends_torn().unwrap_or(false);
        let mut batch = Batch::default();
        for line in preamble.split_inclusive(|&byte| byte == b'\n') {
            batch.bytes.extend_from_slice(line);
            batch.end_line();
        }
        self.write(&batch);
        let mut items = Vec::with_capacity(BATCH_MAX);
        loop {
            match self.shared.next(&mut items) {
                Next::Batch => {}
                Next::Reopen => {
                    self.reopen();
                    continue;
                }
                Next::GivenUp => return,
                Next::End => break,
            }
            batch.clear();
            for item in items.drain(..) {
                self.content.render(&item, &mut batch.bytes);
                batch.end_line();
            }
            self.write(&batch);
            if !self.failing {
                self.tell_lost();
            }
            self.shared.gather();
        }
        self.tell_lost();
        self.shared.set_finished();
    }

    /// Reports the items lost since the last report. If that line cannot be written, it is tried
    /// again later.
    fn tell_lost(&mut self) {
        let lost = self.shared.lost();
        if lost == self.told {
            return;
        }
        let mut batch = Batch::default();
        self.content.lost(lost - self.told, &mut batch.bytes);
        if !batch.bytes.is_empty() {
            batch.end_line();
        }
        if self.write(&batch) {
            self.told = lost;
        }
    }

    /// Writes the lines of `batch`. After an error the unwritten lines are lost.
    fn write(&mut self, batch: &Batch) -> bool {
        let mut next = 0;
        while next < batch.ends.len() {
            let until = batch.until(next, self.out.call_bytes_max().saturating_sub(1));
            match self.call(batch, &mut next, until) {
                Called::Done => {}
                Called::Reopen => self.reopen(),
                Called::Failed => {
                    self.shared.lose_in_flight();
                    return next == batch.ends.len();
                }
                Called::GivenUp => return false,
            }
        }
        true
    }

    /// Writes the lines from `next` to `until` in one call, or in several if the descriptor takes
    /// only a part. Moves `next` behind the last line that is written whole.
    fn call(&mut self, batch: &Batch, next: &mut usize, until: usize) -> Called {
        let begin = batch.start(*next);
        // After a failure the end of the file is read again: the file may have been truncated, or
        // it may end with a torn line of another process.
        let torn = match self.torn || self.failing {
            true => self.out.ends_torn().unwrap_or(self.torn),
            false => false,
        };
        let mut bytes = Vec::new();
        if torn {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(&batch.bytes[begin..batch.ends[until - 1]]);
        let mut written = 0;
        while written < bytes.len() {
            if let Some(called) = self.shared.begin_call(self.out.returns_at_once()) {
                return called;
            }
            let result = self.out.write(&bytes[written..]);
            if let Ok(count @ 1..) = result {
                written += count;
                self.torn = bytes[written - 1] != b'\n';
            }
            // A line of which only the newline is missing gets it with the next write.
            let taken = begin + written.saturating_sub(torn.into());
            let whole = batch.ends[*next..until].partition_point(|end| end - 1 <= taken);
            let whole = if written > usize::from(torn) { whole } else { 0 };
            *next += whole;
            self.shared.end_call(whole);
            match result {
                Ok(1..) => self.failing = false,
                Ok(0) => return self.failed(&ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.out.wait(),
                Err(error) => return self.failed(&error),
            }
        }
        Called::Done
    }

    fn failed(&mut self, error: &io::Error) -> Called {
        if !std::mem::replace(&mut self.failing, true) {
            self.content.failed(error);
        }
        Called::Failed
    }

    fn reopen(&mut self) {
        let result = self.out.reopen();
        if result.is_ok() {
            self.torn = self.out.ends_torn().unwrap_or(false);
            self.failing = false;
        }
        self.content.reopened(result);
    }
}

//! Output during a run: the progress, the intervals, and the first error.
//!
//! A thread of its own writes it. A stopped terminal (Ctrl-S) or a full pipe blocks the thread that
//! writes to it, and the measuring thread must never wait for either.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem::take;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use indicatif::ProgressBar;

use super::text;
use crate::cli::values::Format;
use crate::cli::words::thousands;
use crate::cli::{Failure, say};
use crate::load::{Interval, Plan, Progress};

/// Steps of the bar.
const STEPS: u64 = 1000;

/// The most intervals that wait for the writer thread. Further ones are merged into one.
const INTERVALS_MAX: usize = 16;

/// Handle of the writer thread. Only [`finish`](Self::finish) waits for it.
pub(super) struct Screen {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<Result<(), Failure>>>,
    has_bar: bool,
}

#[derive(Default)]
struct Shared {
    news: Mutex<News>,
    changed: Condvar,
}

/// The output to write next. A newer progress replaces an older one.
#[derive(Default)]
struct News {
    progress: Option<Progress>,
    line: Option<String>,
    intervals: VecDeque<Interval>,
    is_over: bool,
}

impl Screen {
    /// Starts the thread. The bar is on stderr, if that is a terminal.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(super) fn start(plan: &Plan, format: Format) -> io::Result<Screen> {
        let bar = say::bar(STEPS, "{percent}%");
        let bar = bar.with_message(format!("connecting to {}", plan.server));
        let has_bar = !bar.is_hidden();
        let shared = Arc::new(Shared::default());
        let (of_thread, connections) = (shared.clone(), plan.connections);
        let writes = move || of_thread.write(&bar, connections, format);
        let writer = Builder::new().name("progress".to_owned()).spawn(writes)?;
        Ok(Screen { shared, writer: Some(writer), has_bar })
    }

    /// Whether progress is shown.
    pub(super) fn has_bar(&self) -> bool {
        self.has_bar
    }

    /// Shows the progress.
    pub(super) fn shows(&self, progress: &Progress) {
        self.tell(|news| news.progress = Some(*progress));
    }

    /// Writes a line that stays on the screen.
    pub(super) fn says(&self, line: String) {
        self.tell(|news| news.line = Some(line));
    }

    /// Queues an interval if there is room for it, or if it is the last; otherwise returns it.
    pub(super) fn takes(&self, interval: Interval) -> Option<Interval> {
        let news = &mut *self.shared.lock();
        if news.intervals.len() >= INTERVALS_MAX && !interval.is_last {
            return Some(interval);
        }
        news.intervals.push_back(interval);
        self.shared.changed.notify_one();
        None
    }

    /// Waits until everything is written, and removes the bar.
    ///
    /// # Errors
    /// An interval could not be written to stdout.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        self.tell(|news| news.is_over = true);
        // The thread panics only if the bar does, which loses nothing else.
        self.writer.take().and_then(|writer| writer.join().ok()).unwrap_or(Ok(()))
    }

    fn tell(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.shared.lock());
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the output until the run is over.
    fn write(&self, bar: &ProgressBar, connections: u32, format: Format) -> Result<(), Failure> {
        let mut said = Ok(());
        loop {
            let is_none = |news: &mut News| {
                let has_line = news.line.is_some() || !news.intervals.is_empty();
                news.progress.is_none() && !has_line && !news.is_over
            };
            let waits = self.changed.wait_while(self.lock(), is_none);
            let news = take(&mut *waits.unwrap_or_else(PoisonError::into_inner));
            if let Some(line) = news.line {
                bar.suspend(|| say::warn(&line));
            }
            for interval in &news.intervals {
                let written = bar.suspend(|| tell(interval, format));
                said = said.and(written);
            }
            if let Some(progress) = news.progress {
                draw(bar, &progress, connections);
            }
            if news.is_over {
                bar.finish_and_clear();
                return said;
            }
        }
    }
}

/// Writes an interval as one line.
fn tell(interval: &Interval, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return say::say(&say::json_line(&interval.row()));
    }
    // If stderr is closed, the line is lost.
    let _ = io::stderr().write_all(text::interval(interval).as_bytes());
    Ok(())
}

fn draw(bar: &ProgressBar, progress: &Progress, wanted: u32) {
    let done = match progress.done {
        0 => String::new(),
        done => format!(", {} done", thousands(done)),
    };
    let there = progress.connections as f64 / f64::from(wanted);
    let (share, what) = match progress.share {
        _ if progress.is_closing => ((1.0 - there).max(0.0), "closing"),
        Some(share) => (share, "measuring"),
        None => (there, "connecting"),
    };
    bar.set_position((share * STEPS as f64) as u64);
    let connections = thousands(progress.connections);
    bar.set_message(format!("{what}: {connections} connections{done}"));
}

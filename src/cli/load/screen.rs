//! What is shown while a run is under way: how far it is, what each interval gave, and the first
//! thing that goes wrong.
//!
//! A thread of its own writes it. A terminal that is stopped (Ctrl-S) or a pipe that is full blocks
//! the thread that writes to it, and the thread that measures must never wait for either.

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

/// Intervals that wait for the thread that writes. Beyond it they become one.
const INTERVALS_MAX: usize = 16;

/// The way to the thread that writes. No call but [`finish`](Self::finish) waits for it.
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

/// What is to be written. An older progress is not worth waiting for.
#[derive(Default)]
struct News {
    progress: Option<Progress>,
    line: Option<String>,
    intervals: VecDeque<Interval>,
    is_over: bool,
}

impl Screen {
    /// Starts the thread. The bar is on stderr, where that is a terminal.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(super) fn start(plan: &Plan, format: Format) -> io::Result<Screen> {
        let bar = say::bar(STEPS, "{percent}%");
        let bar = bar.with_message(format!("looking at {}", plan.server));
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

    /// How far it is.
    pub(super) fn shows(&self, progress: &Progress) {
        self.tell(|news| news.progress = Some(*progress));
    }

    /// A line that stays.
    pub(super) fn says(&self, line: String) {
        self.tell(|news| news.line = Some(line));
    }

    /// Takes an interval if there is room for it, or if it is the last; else gives it back.
    pub(super) fn takes(&self, interval: Interval) -> Option<Interval> {
        let news = &mut *self.shared.lock();
        if news.intervals.len() >= INTERVALS_MAX && !interval.is_last {
            return Some(interval);
        }
        news.intervals.push_back(interval);
        self.shared.changed.notify_one();
        None
    }

    /// Waits until all is written; the bar goes.
    ///
    /// # Errors
    /// An interval could not be written to stdout.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        self.tell(|news| news.is_over = true);
        // It panics only if the bar does, and nothing is lost with that.
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

    /// Writes what there is, until it is over.
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

/// An interval, on a line.
fn tell(interval: &Interval, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return say::say(&say::json_line(&interval.row()));
    }
    // If stderr is closed, it is lost.
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

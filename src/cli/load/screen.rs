//! What is shown while a run is under way: how far it is, and the first thing that goes wrong.
//!
//! A thread of its own writes it. A terminal that is stopped (Ctrl-S) or a pipe that is full blocks
//! the thread that writes to it, and the thread that measures must never wait for either.

use std::io;
use std::mem::take;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use indicatif::ProgressBar;

use crate::cli::say;
use crate::cli::words::thousands;
use crate::load::{Plan, Progress};

/// Steps of the bar.
const STEPS: u64 = 1000;

/// The way to the thread that writes. No call but [`finish`](Self::finish) waits for it.
pub(super) struct Screen {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
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
    is_over: bool,
}

impl Screen {
    /// Starts the thread. The bar is on stderr, where that is a terminal.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(super) fn start(plan: &Plan) -> io::Result<Screen> {
        let bar = say::bar(STEPS, "{percent}%");
        let bar = bar.with_message(format!("looking at {}", plan.server));
        let has_bar = !bar.is_hidden();
        let shared = Arc::new(Shared::default());
        let (of_thread, connections) = (shared.clone(), plan.connections);
        let writes = move || of_thread.write(&bar, connections);
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

    /// Waits until all is written; the bar goes.
    pub(super) fn finish(&mut self) {
        self.tell(|news| news.is_over = true);
        if let Some(writer) = self.writer.take() {
            // It panics only if the bar does, and nothing is lost with that.
            let _ = writer.join();
        }
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
    fn write(&self, bar: &ProgressBar, connections: u32) {
        loop {
            let is_none =
                |news: &mut News| news.progress.is_none() && news.line.is_none() && !news.is_over;
            let waits = self.changed.wait_while(self.lock(), is_none);
            let news = take(&mut *waits.unwrap_or_else(PoisonError::into_inner));
            if let Some(line) = news.line {
                bar.suspend(|| say::warn(&line));
            }
            if let Some(progress) = news.progress {
                draw(bar, &progress, connections);
            }
            if news.is_over {
                return bar.finish_and_clear();
            }
        }
    }
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

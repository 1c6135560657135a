//! Ctrl-C, from the first look at the server to the last line of output. What is at work is told,
//! and what comes later is told of the interrupts that it missed.

use std::process::exit;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::cli::{EXIT_FAILED, signals};

/// How long the output may take after the second interrupt: as long as the sinks of `serve` have.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(1);

/// This interrupt ends the process in any case.
const LAST: u32 = 3;

/// What an interrupt does to what is at work.
type Tell = Box<dyn Fn() + Send>;

/// How often it came, and who is told. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Interrupts(Arc<Mutex<(u32, Option<Tell>)>>);

impl Interrupts {
    /// Catches Ctrl-C and SIGTERM. Where that cannot be had they leave nothing of a run, and that
    /// is no reason not to begin.
    pub(super) fn caught() -> Interrupts {
        let interrupts = Interrupts::default();
        let catcher = interrupts.clone();
        interrupts.bound_output(); // until there is a run
        let _ = signals::on_interrupt(move || catcher.came());
        interrupts
    }

    fn came(&self) {
        let (count, tell) = &mut *self.lock();
        *count += 1;
        if *count >= LAST {
            exit(EXIT_FAILED.into());
        }
        if let Some(tell) = tell {
            tell();
        }
    }

    /// From now on `tell` is called for each one, and now for each that came before.
    pub(super) fn reach(&self, tell: impl Fn() + Send + 'static) {
        let (count, told) = &mut *self.lock();
        (0..*count).for_each(|_| tell());
        *told = Some(Box::new(tell));
    }

    /// No run is under way, and there may be output. A pipe or a terminal that takes nothing blocks
    /// it without end, so from now on the second interrupt ends the process within
    /// [`OUTPUT_PATIENCE`].
    pub(super) fn bound_output(&self) {
        let count = AtomicU32::new(0);
        self.reach(move || {
            if count.fetch_add(1, Ordering::Relaxed) == 1 {
                let ends = || {
                    thread::sleep(OUTPUT_PATIENCE);
                    exit(EXIT_FAILED.into());
                };
                // Without a thread the next interrupt ends it.
                let _ = thread::Builder::new().name("last".to_owned()).spawn(ends);
            }
        });
    }

    /// Whether there was one.
    pub(super) fn is_one(&self) -> bool {
        self.lock().0 > 0
    }

    fn lock(&self) -> MutexGuard<'_, (u32, Option<Tell>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn whoever_comes_late_hears_what_was_missed_once() {
        let interrupts = Interrupts::default();
        interrupts.came();
        let heard = Arc::new(AtomicU32::new(0));
        let hears = heard.clone();
        interrupts.reach(move || _ = hears.fetch_add(1, Ordering::Relaxed));
        assert_eq!((heard.load(Ordering::Relaxed), interrupts.is_one()), (1, true));
        interrupts.came();
        assert_eq!(heard.load(Ordering::Relaxed), 2);
    }
}

//! Ctrl-C during a load, from the first connection to the last line of output. Each phase registers
//! a handler, which is also called for the interrupts that came before it.

use std::process::exit;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::cli::{EXIT_FAILED, signals};

/// How long the output may take after the second interrupt.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(1);

/// The number of the interrupt that always ends the process.
const LAST: u32 = 3;

/// The effect of an interrupt on the current phase.
type Handler = Box<dyn Fn() + Send>;

/// The number of interrupts so far, and the current handler. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Interrupts(Arc<Mutex<(u32, Option<Handler>)>>);

impl Interrupts {
    /// Catches Ctrl-C and SIGTERM. If that fails, they end the process without a report, which is
    /// acceptable.
    pub(super) fn caught() -> Interrupts {
        let interrupts = Interrupts::default();
        let catcher = interrupts.clone();
        interrupts.bound_output(); // until there is a run
        let _ = signals::on_interrupt(move || catcher.interrupt());
        interrupts
    }

    fn interrupt(&self) {
        let (count, handler) = &mut *self.lock();
        *count += 1;
        if *count >= LAST {
            exit(EXIT_FAILED.into());
        }
        if let Some(handler) = handler {
            handler();
        }
    }

    /// Calls `handler` for each interrupt from now on, and at once for each that came before.
    pub(super) fn reach(&self, handler: impl Fn() + Send + 'static) {
        let (count, current) = &mut *self.lock();
        (0..*count).for_each(|_| handler());
        *current = Some(Box::new(handler));
    }

    /// Bounds the time for output while no run is in progress. A pipe or terminal that takes
    /// nothing would block it indefinitely, so from now on the second interrupt ends the process
    /// within [`OUTPUT_PATIENCE`].
    pub(super) fn bound_output(&self) {
        let count = AtomicU32::new(0);
        self.reach(move || {
            if count.fetch_add(1, Ordering::Relaxed) == 1 {
                let ends = || {
                    thread::sleep(OUTPUT_PATIENCE);
                    exit(EXIT_FAILED.into());
                };
                // Without a thread, the next interrupt ends the process.
                let _ = thread::Builder::new().name("last".to_owned()).spawn(ends);
            }
        });
    }

    /// Whether an interrupt came.
    pub(super) fn is_one(&self) -> bool {
        self.lock().0 > 0
    }

    fn lock(&self) -> MutexGuard<'_, (u32, Option<Handler>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_late_handler_is_called_once_for_each_earlier_interrupt() {
        let interrupts = Interrupts::default();
        interrupts.interrupt();
        let calls = Arc::new(AtomicU32::new(0));
        let counter = calls.clone();
        interrupts.reach(move || _ = counter.fetch_add(1, Ordering::Relaxed));
        assert_eq!((calls.load(Ordering::Relaxed), interrupts.is_one()), (1, true));
        interrupts.interrupt();
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }
}

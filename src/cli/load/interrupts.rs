//! Ctrl-C, from the first look at the server to the last reply: whoever is at work is told, and
//! whoever comes later hears what was missed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cli::signals;

/// What an interrupt does to whoever is at work.
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
        let _ = signals::on_interrupt(move || catcher.came());
        interrupts
    }

    fn came(&self) {
        let (count, tell) = &mut *self.lock();
        *count += 1;
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

//! No deadline is late: by when the loop owes a connection what, and whether it sleeps longer.
//!
//! It is written down as it happens, from the outside: by the bytes that calls handed over and by
//! the clock as the loop last read it. The loop cannot know more than its clock tells. So "early"
//! and "late" are exact here, whatever a system call or a SIGSTOP takes.

use crate::machine::close::LocalCause;
use crate::simulation::Rule;
use crate::simulation::link::Link;
use crate::simulation::world::World;

impl<const LINUX: bool> World<LINUX> {
    /// By when, in milliseconds, the loop must look at a connection; it may be two ticks late.
    ///
    /// ```text
    ///   nothing pending     read deadline since the last byte     drain: at once
    ///   a reply pending     write deadline since the last progress
    ///   our FIN out         verdict wait since then, or since the last progress before a FIN came
    ///   short of memory     the retry
    ///   our FIN not out     the greatest age, unless it was asked to leave already
    ///   in any case         the end of the drain
    /// ```
    fn limit_ms(&self, link: &Link) -> Option<u64> {
        if !link.is_registered() {
            return None;
        }
        let config = &self.setting.config;
        let since_ms = link.duty.since_us / 1_000;
        let after = |ms: Option<u64>| ms.map(|ms| since_ms + ms);
        let drain_ends_ms = self.stopping.ends_us().map(|us| us / 1_000);
        let leaves = link.duty.answers_until.is_some();
        let age_ms = config.max_age_ms.filter(|_| !leaves && !link.down.fin_sent());
        let old_ms = age_ms.map(|ms| link.duty.accepted_us / 1_000 + ms);
        let own = if link.down.fin_sent() {
            match link.duty.cause {
                Some(LocalCause::Drain) => drain_ends_ms,
                _ => after(Some(config.verdict_wait_ms)),
            }
        } else if !link.model.pending().is_empty() {
            after(config.write_deadline_ms)
        } else if leaves && link.told.recv_retries {
            None
        } else if let Some(stopped_us) = self.stopping.since_us() {
            Some(stopped_us.max(link.duty.accepted_us) / 1_000)
        } else {
            after(config.read_deadline_ms)
        };
        let retries = link.told.recv_retries || link.told.send_retries;
        let retry = retries.then(|| link.duty.touched_us / 1_000 + config.retry_ms);
        [own, retry, old_ms, drain_ends_ms].into_iter().flatten().min()
    }

    /// What is owed to `link` has changed.
    pub(in crate::simulation) fn owe(&mut self, index: u32) {
        let limit_ms = self.limit_ms(self.network.link(index)).unwrap_or(u64::MAX);
        let queued_ms = &mut self.network.link_mut(index).duty.limit_ms;
        if limit_ms < *queued_ms {
            *queued_ms = limit_ms;
            self.limits.add(limit_ms, index);
        }
    }

    /// The drain begins, by the loop's clock: each connection is due.
    pub(in crate::simulation) fn begin_drain(&mut self) {
        for index in 0..self.network.links().len() as u32 {
            let link = self.link(index);
            let arrived = link.model.rx + u64::from(link.up.unread);
            // One that was asked to leave before keeps the place at which its answers end.
            link.duty.arrived_at_drain = arrived.min(link.duty.answers_until.unwrap_or(arrived));
            self.owe(index);
        }
    }

    /// The earliest limit of all, and its link.
    fn earliest_limit(&mut self) -> Option<(u64, u32)> {
        loop {
            let (limit_ms, index) = self.limits.earliest()?;
            let now_ms = self.limit_ms(self.network.link(index)).unwrap_or(u64::MAX);
            if now_ms == limit_ms && self.network.link(index).duty.limit_ms == limit_ms {
                return Some((limit_ms, index));
            }
            self.limits.remove_earliest();
            if self.network.link(index).duty.limit_ms == limit_ms {
                self.link(index).duty.limit_ms = u64::MAX;
                self.owe(index);
            }
        }
    }

    /// The loop is about to sleep until `wake_ms` of its clock: no connection may be due before.
    pub(in crate::simulation) fn check_sleep(&mut self, wake_ms: u64) {
        let Some((limit_ms, index)) = self.earliest_limit() else { return };
        let late_ms = limit_ms + 2 * self.setting.config.tick_ms;
        if wake_ms > late_ms {
            let start_ms = self.setting.start_us / 1_000;
            let what = format!(
                "sleeps until {} ms, and {} ms is the latest moment to look at this one",
                if wake_ms == u64::MAX { wake_ms } else { wake_ms - start_ms },
                late_ms.saturating_sub(start_ms),
            );
            self.violate(Rule::Late, Some(index), what);
        }
    }
}

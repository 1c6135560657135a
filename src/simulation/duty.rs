//! What the loop owes each connection, and by when. It is written down here as it happens, from the
//! outside: by the bytes that calls handed over and by the clock as the loop last read it.
//!
//! The loop cannot know more than its clock tells: a moment begins at the last look at it. So
//! "early" and "late" are exact here, whatever a system call or a SIGSTOP takes.

use super::Rule;
use super::link::{Hold, Link};
use super::world::World;
use crate::config::Overload;
use crate::machine::close::LocalCause;
use crate::machine::connection::Goodbye;

impl<const LINUX: bool> World<LINUX> {
    // ---- not late -----------------------------------------------------------------------------

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
    pub(super) fn owe(&mut self, index: u32) {
        let limit_ms = self.limit_ms(self.network.link(index)).unwrap_or(u64::MAX);
        let queued_ms = &mut self.network.link_mut(index).duty.limit_ms;
        if limit_ms < *queued_ms {
            *queued_ms = limit_ms;
            self.limits.add(limit_ms, index);
        }
    }

    /// The drain begins, by the loop's clock: everybody is due.
    pub(super) fn begin_drain(&mut self) {
        for index in 0..self.network.links().len() as u32 {
            let link = self.link(index);
            let arrived = link.model.rx + u64::from(link.up.unread);
            // One that was asked to leave before keeps the place at which its answers end.
            link.duty.arrived_at_drain = arrived.min(link.duty.answers_until.unwrap_or(arrived));
            self.owe(index);
        }
    }

    /// The earliest limit of all, and whose it is.
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

    /// The loop is about to sleep until `wake_ms` of its clock: nobody may be due before.
    pub(super) fn check_sleep(&mut self, wake_ms: u64) {
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

    // ---- not early ----------------------------------------------------------------------------

    /// The loop's clock when it decided what it does to `link` now.
    fn decided_us(&self, link: &Link) -> u64 {
        match link.duty.touched_turn == self.turn.number {
            true => link.duty.touched_us,
            false => self.clock.seen_us(),
        }
    }

    fn is_over(since_us: u64, deadline_ms: Option<u64>, now_us: u64) -> bool {
        deadline_ms.is_some_and(|ms| now_us >= since_us + 1_000 * ms)
    }

    /// The loop shuts down its side: why, and is it time?
    pub(super) fn check_shutdown(&mut self, index: u32) {
        let open = self.sockets.open();
        let clock_us = self.clock.seen_us();
        let config = &self.setting.config;
        let may_not_wait = config.verdict_wait_ms == 0 || open > config.settles_up_to();
        let deadline_ms = config.read_deadline_ms;
        let draining = self.stopping.is_draining();
        let over = self.stopping.ends_us().is_some_and(|ends_us| ends_us <= clock_us);
        let tells = LINUX && self.setting.tells;
        let [may_be_old, is_old] = self.ages(self.network.link(index));
        let link = self.network.link_mut(index);
        link.duty.may_not_wait = may_not_wait;
        if !link.model.pending().is_empty() {
            return self.violate(Rule::Bytes, Some(index), "our FIN before all of the reply");
        }
        if link.told.fin {
            return;
        }
        if let Some(LocalCause::MaxAge) = link.duty.leaving {
            link.duty.cause = link.duty.leaving; // whatever signals came since
            return;
        }
        if draining {
            link.duty.cause = Some(LocalCause::Drain);
            let answered = link.model.rx - link.model.discarded;
            if tells && !over && !link.told.recv_retries && answered < link.duty.arrived_at_drain {
                let left = link.duty.arrived_at_drain - answered;
                let what = format!("{left} bytes had arrived when the drain began: no answer");
                self.violate(Rule::Stop, Some(index), what);
            }
            return;
        }
        let silent = deadline_ms.is_some_and(|ms| clock_us >= link.duty.since_us + 1_000 * ms);
        link.duty.silent = silent;
        link.duty.cause = Some(match is_old || (may_be_old && !silent) {
            true => LocalCause::MaxAge,
            false => LocalCause::ReadDeadline,
        });
        if may_be_old {
            return;
        }
        let until_us = deadline_ms.map_or(u64::MAX, |ms| link.duty.since_us + 1_000 * ms);
        let unread = link.up.unread > 0 && link.unread_us <= until_us;
        let unread_fin = link.up.fin_arrived() && link.fin_us <= until_us;
        let looked = !link.told.recv_retries;
        if clock_us < until_us {
            let early = until_us - clock_us;
            let what = format!("the read deadline is {early} us early");
            self.violate(Rule::Early, Some(index), what);
        } else if looked && (unread || unread_fin) {
            let what = "the read deadline ends it, and its bytes or FIN had come in time";
            self.violate(Rule::InTime, Some(index), what);
        }
    }

    /// Whether a connection may be beyond its greatest age by now, and whether it must be: up to a
    /// tenth is taken off.
    pub(super) fn ages(&self, link: &Link) -> [bool; 2] {
        let age_us = self.clock.seen_us().saturating_sub(link.duty.accepted_us);
        let max_age_us = self.setting.config.max_age_ms.map(|ms| 1_000 * ms);
        let is_beyond = |us: Option<u64>| us.is_some_and(|us| age_us >= us);
        [is_beyond(max_age_us.map(|us| us - us / 10)), is_beyond(max_age_us)]
    }

    /// The loop closes a socket: why, is it time, and in which way?
    pub(super) fn check_close(&mut self, index: u32, goodbye: Goodbye) {
        let now_us = self.decided_us(self.network.link(index));
        let over = self.stopping.ends_us().is_some_and(|ends_us| ends_us <= now_us);
        let cut_off = self.stopping.is_forced() || over;
        let link = self.link(index);
        if link.is_registered() && cut_off && !link.duty.had_begun {
            let cause = link.duty.leaving.unwrap_or(LocalCause::Drain);
            link.duty.cause.get_or_insert(cause);
            link.duty.cut_off = !link.duty.hinted;
        }
        let link = self.network.link(index);
        let verdict = match link.hold {
            Hold::Registered(_) if self.stopping.is_forced() || link.told.dead => Ok(()),
            Hold::Registered(_) if link.down.fin_sent() => {
                match self.check_settled(link, goodbye, false) {
                    // It was given up for a newcomer, or for want of files; each such case is one.
                    Err((Rule::Early, _)) if let Some(turn) = self.given_up_in(link) => {
                        let verdict = self.check_settled(link, goodbye, true);
                        self.early_ends.take(turn);
                        verdict
                    }
                    verdict => verdict,
                }
            }
            Hold::Registered(_) => self.check_stalled(link, goodbye),
            _ => self.check_refusal(link, goodbye),
        };
        if let Err((rule, what)) = verdict {
            self.violate(rule, Some(index), what);
        }
    }

    /// The turn in which `link` may have been given up: that of the last call about it. Without
    /// probes, giving up a connection takes no call, so it may also be any turn after that.
    fn given_up_in(&self, link: &Link) -> Option<u64> {
        let first = link.duty.touched_turn;
        let last = if self.setting.config.asks_kernel { first } else { u64::MAX };
        self.early_ends.left_in(first, last)
    }

    /// A newcomer is turned away: a socket that could not be registered, or too many from one
    /// address.
    fn check_refusal(&self, link: &Link, goodbye: Goodbye) -> Result<(), (Rule, &'static str)> {
        let count = self.sockets.from_machine(link.machine());
        let too_many = self.setting.config.max_per_ip.is_some_and(|limit| count >= limit);
        if link.duty.cause != Some(LocalCause::Resource) && !too_many && !self.stopping.is_forced()
        {
            return Err((Rule::Verdict, "a newcomer is refused for no reason"));
        }
        match goodbye {
            Goodbye::Reset => Ok(()),
            Goodbye::Plain if link.dead => Ok(()),
            Goodbye::Plain => Err((Rule::Goodbye, "a newcomer is refused without a reset")),
        }
    }

    /// Our FIN is out.
    fn check_settled(
        &self,
        link: &Link,
        goodbye: Goodbye,
        given_up: bool,
    ) -> Result<(), (Rule, &'static str)> {
        let now_us = self.decided_us(link);
        let wait_ms = Some(self.setting.config.verdict_wait_ms);
        let settled = link.told.fin && link.told.unacked_alive == Some(0);
        let blind = link.told.fin && link.told.unacked_alive.is_none();
        let hurried = link.duty.may_not_wait || given_up;
        let drained = self.stopping.ends_us().is_some_and(|ends_us| ends_us <= now_us);
        let waited = Self::is_over(link.duty.progress_us, wait_ms, now_us);
        let no_more = link.told.unacked_alive == Some(0);
        let waited_in_vain =
            no_more && Self::is_over(link.duty.shut_us.unwrap_or(0), wait_ms, now_us);
        if !(settled || blind || hurried || drained || waited || waited_in_vain) {
            return Err((Rule::Early, "closed, although its evidence could still come"));
        }
        let deaf = waited && link.told.unacked_alive.is_some_and(|bytes| bytes > 0);
        match (goodbye, link.duty.cause) {
            (Goodbye::Plain, _) => Ok(()),
            (_, Some(LocalCause::Drain | LocalCause::ReadDeadline | LocalCause::MaxAge))
                if drained && !settled =>
            {
                Ok(())
            }
            (_, Some(LocalCause::ReadDeadline | LocalCause::MaxAge))
                if deaf && wait_ms > Some(0) && !link.told.fin =>
            {
                Ok(())
            }
            _ => Err((Rule::Goodbye, "reset, and what it was still to get is lost")),
        }
    }

    /// Our FIN is not out.
    fn check_stalled(&self, link: &Link, goodbye: Goodbye) -> Result<(), (Rule, &'static str)> {
        let now_us = self.decided_us(link);
        let pending = !link.model.pending().is_empty();
        let drained = self.stopping.ends_us().is_some_and(|ends_us| ends_us <= now_us);
        let deadline_ms = self.setting.config.write_deadline_ms;
        let stalled = Self::is_over(link.duty.progress_us, deadline_ms, now_us);
        if !pending {
            return Err((Rule::Early, "closed without a FIN, and nothing was pending"));
        }
        if !(drained || stalled) {
            return Err((Rule::Early, "closed, although there was progress within the deadline"));
        }
        match goodbye {
            Goodbye::Reset => Ok(()),
            Goodbye::Plain => Err((Rule::Goodbye, "closed plainly with output pending")),
        }
    }

    /// SO_ERROR is asked of a socket that is not over yet: not before everything was read that the
    /// loop can know of.
    pub(super) fn check_take_error(&mut self, index: u32) {
        let began_us = self.turn.began_us;
        let link = self.network.link(index);
        let unread = link.up.unread > 0 && link.unread_us < began_us;
        let unread_fin = link.up.fin_arrived() && !link.told.fin && link.fin_us < began_us;
        // Without TCP_INFO to come first, the last look at the end is not told from others.
        let concluding = link.duty.concluding || link.told.dead || !self.setting.config.asks_kernel;
        if (unread || unread_fin) && !concluding && !link.told.recv_retries {
            self.violate(Rule::Evidence, Some(index), "asks SO_ERROR before it has read");
        }
    }

    // ---- accept -------------------------------------------------------------------------------

    /// Whether a newcomer could be taken, or shed, now.
    fn can_accept(&self) -> bool {
        let shed = self.setting.config.overload == Overload::Shed;
        let full = self.is_full();
        (!full || shed) && !self.is_exhausted()
    }

    /// Whether accept would say that files or memory are short.
    pub(super) fn is_exhausted(&self) -> bool {
        self.listeners.are_exhausted(self.clock.now_us())
            || self.sockets.open() >= self.setting.files
    }

    /// The listeners are to be closed: everybody who came before the stop was accepted, unless
    /// there was no way to.
    pub(super) fn check_sweep(&mut self) {
        let Some(stopped_us) = self.stopping.since_us() else { return };
        let over =
            self.stopping.ends_us().is_some_and(|ends_us| ends_us < self.clock.seen_us() + 1_000);
        if self.stopping.is_forced() || over || self.listeners.accept_failed() || !self.can_accept()
        {
            return;
        }
        let came_us = |index| self.network.link(index).came_us;
        let left = self.listeners.heads().map(came_us).min();
        if left.is_some_and(|came_us| came_us < stopped_us) {
            self.violate(Rule::Stop, None, "closes a listener, and somebody is in the backlog");
        }
    }

    /// The loop is about to sleep until `wake_ms`: nobody who could be taken waits for long.
    pub(super) fn check_backlogs(&mut self, wake_ms: u64) {
        const PATIENCE_US: u64 = 200_000;
        if !self.listeners.are_open() || !self.can_accept() {
            return;
        }
        if let Some(listener) = self.listeners.kept_waiting(wake_ms, PATIENCE_US) {
            let what = format!("sleeps on, and a connection waits at listener {listener}");
            self.violate(Rule::Accept, None, what);
        }
    }
}

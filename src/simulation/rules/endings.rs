//! No connection is ended early, or in the wrong way: what is checked when the loop shuts down its
//! side, closes a socket or asks SO_ERROR.

use crate::machine::close::LocalCause;
use crate::machine::connection::Goodbye;
use crate::simulation::Rule;
use crate::simulation::link::{Hold, Link};
use crate::simulation::world::World;

impl<const LINUX: bool> World<LINUX> {
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
    pub(in crate::simulation) fn check_shutdown(&mut self, index: u32) {
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
    pub(in crate::simulation) fn ages(&self, link: &Link) -> [bool; 2] {
        let age_us = self.clock.seen_us().saturating_sub(link.duty.accepted_us);
        let max_age_us = self.setting.config.max_age_ms.map(|ms| 1_000 * ms);
        let is_beyond = |us: Option<u64>| us.is_some_and(|us| age_us >= us);
        [is_beyond(max_age_us.map(|us| us - us / 10)), is_beyond(max_age_us)]
    }

    /// The loop closes a socket: why, is it time, and in which way?
    pub(in crate::simulation) fn check_close(&mut self, index: u32, goodbye: Goodbye) {
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
        let count = self.sockets.of_machine(link.machine());
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
    pub(in crate::simulation) fn check_take_error(&mut self, index: u32) {
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
}

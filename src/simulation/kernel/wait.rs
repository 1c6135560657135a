//! The calls that read the clock and wait: the end of one turn, and the events of the next.

use crate::kernel::Event;
use crate::machine::connection::Hints;
use crate::machine::time::Moment;
use crate::simulation::Rule;
use crate::simulation::faults::Fault;
use crate::simulation::link::Hold;
use crate::simulation::trace::{NO_LINK, What};
use crate::simulation::turn_log::Woke;
use crate::simulation::world::World;

impl<const LINUX: bool> World<LINUX> {
    pub(super) fn sys_now(&mut self) -> Moment {
        self.spend();
        self.clock.look();
        if self.stopping.begins_at(self.clock.seen_us()) {
            self.begin_drain();
        }
        Moment::from_ms(self.clock.now_us() / 1_000)
    }

    pub(super) fn sys_wait(&mut self, timeout_ms: Option<u64>, events: &mut Vec<Event>) {
        self.end_turn(timeout_ms);
        self.clock.set_waiting(true);
        self.spend();
        self.sleep(timeout_ms, events);
        self.clock.set_waiting(false);
    }

    /// The loop waits: what is it leaving behind?
    fn end_turn(&mut self, timeout_ms: Option<u64>) {
        self.note(NO_LINK, What::Wait { timeout_ms });
        let wake_ms = timeout_ms.map_or(u64::MAX, |ms| self.clock.seen_us() / 1_000 + ms);
        let touched = std::mem::take(&mut self.turn.touched);
        let (turn, clock_us) = (self.turn.number, self.clock.seen_us());
        for &index in &touched {
            let duty = &mut self.link(index).duty;
            if duty.touched_turn == turn {
                duty.touched_us = clock_us; // a retry counts from the end of its turn
            }
            self.check_left(index, timeout_ms == Some(0));
        }
        if timeout_ms == Some(0) {
            self.tally.unfinished += 1;
        } else {
            self.check_sleep(wake_ms);
            self.check_backlogs(wake_ms);
        }
        self.check_listeners(timeout_ms);
        self.turn.begin_next(self.clock.now_us(), timeout_ms, touched);
    }

    /// Sleeps until there is an event or `timeout_ms` have passed.
    fn sleep(&mut self, timeout_ms: Option<u64>, events: &mut Vec<Event>) {
        let until_us =
            timeout_ms.map_or(u64::MAX, |ms| self.clock.now_us().saturating_add(1_000 * ms));
        if timeout_ms != Some(0) && self.injects(Fault::Interrupted) {
            let nap_us = self.choices.magnitude(1, 100_000);
            let end_us = until_us.min(self.clock.now_us() + nap_us);
            let next_us = self.network.next_us().unwrap_or(end_us);
            self.clock.pass_until(end_us.min(next_us));
            self.turn.woke = Woke::Interrupted;
            return;
        }
        loop {
            self.run_due();
            self.turn.began_us = self.clock.now_us();
            self.gather(events);
            if !events.is_empty() {
                break;
            }
            if self.clock.now_us() >= until_us {
                self.turn.woke = Woke::Time;
                break;
            }
            let next_us = self.network.next_us().unwrap_or(u64::MAX).min(until_us);
            if next_us == u64::MAX {
                self.violate(Rule::Liveness, None, "sleeps indefinitely");
                break;
            }
            self.clock.pass_until(next_us);
        }
        self.clock.pass(self.choices.below(80));
        self.note(NO_LINK, What::Woke { events: events.len() as u32 });
    }

    /// Collects what is ready, and some things that are not.
    fn gather(&mut self, events: &mut Vec<Event>) {
        for listener in 0..self.listeners.count() {
            if !self.listeners.has_edge(listener)
                || (!events.is_empty() && self.injects(Fault::CutBatch))
            {
                continue;
            }
            if self.listeners.take_edge(listener, self.clock.now_us()) {
                events.push(Event::Listener(listener));
                self.note(NO_LINK, What::ListenerEvent { listener });
            }
        }
        let mut take = self.readiness.ready().min(self.setting.batch_max);
        if take > 1 && self.injects(Fault::CutBatch) {
            take = self.choices.between(1, take as u64 - 1) as usize;
        }
        for index in self.readiness.take(take) {
            self.gather_one(index, events);
        }
        self.gather_spurious(events);
        if events.len() > 1 && self.choices.below(2) == 1 {
            for last in (1..events.len()).rev() {
                events.swap(last, self.choices.below(last as u64 + 1) as usize);
            }
        }
        if let Some(stop) = self.stopping.take_news() {
            events.push(Event::Stop(stop));
            self.note(NO_LINK, What::Stop(stop));
        }
    }

    fn gather_one(&mut self, index: u32, events: &mut Vec<Event>) {
        let link = self.link(index);
        link.ready = false;
        link.no_space |= LINUX && !link.down.fin_sent() && !link.has_room(); // tcp_poll
        let (Hold::Registered(key), Some(mut hints)) = (link.hold, link.poll()) else { return };
        link.armed = LINUX;
        hints.no_room = !LINUX && link.is_full();
        events.push(Event::Socket(key, hints));
        let until = self.turn.number + self.sockets.open() as u64;
        let link = self.link(index);
        if link.model.pending().is_empty() && !link.told.fin {
            link.duty.owed_until.get_or_insert(until); // a receive is what it gets
        }
        self.hint(index, hints);
        self.turn.touched.push(index);
        self.note(index, What::Event(hints));
        if self.injects(Fault::Duplicate) {
            events.push(Event::Socket(key, hints));
        }
    }

    /// An event tells of an end, while it can still bear on what is decided.
    fn hint(&mut self, index: u32, hints: Hints) {
        let tells = (hints.read_closed || hints.error) && !self.stopping.is_forced();
        let link = self.link(index);
        link.duty.hinted |= tells;
        link.duty.fin_hinted |= tells && hints.read_closed && link.up.fin_arrived();
    }

    /// Events that say nothing, as every system gives them now and then.
    fn gather_spurious(&mut self, events: &mut Vec<Event>) {
        if events.is_empty() {
            return; // no wait ends for them alone
        }
        if self.injects(Fault::SpuriousListener) {
            let listener = self.choices.below(self.listeners.count() as u64) as usize;
            self.listeners.spurious_event(listener, self.clock.now_us());
            events.push(Event::Listener(listener));
        }
        let key = self.choices.below(self.readiness.keys() as u64 + 2) as u32;
        match self.readiness.registered(key) {
            Some(index) if self.injects(Fault::SpuriousOpen) => {
                let hints = self.choose_hints(self.network.link(index).soft.is_none());
                events.push(Event::Socket(key, hints));
                self.note(index, What::Spurious(hints));
                self.hint(index, hints);
                self.turn.touched.push(index);
            }
            None if self.injects(Fault::SpuriousStale) => {
                let hints = self.choose_hints(true);
                events.push(Event::Socket(key, hints));
            }
            _ => {}
        }
    }

    /// Any hints. An error is not hinted at where SO_ERROR holds a soft one: that does not happen.
    fn choose_hints(&mut self, may_hint_error: bool) -> Hints {
        let mut hint = || self.choices.below(2) == 1;
        let (read_closed, priority, error) = (hint(), hint(), hint() && may_hint_error);
        Hints { read_closed, priority, error, no_room: false }
    }
}

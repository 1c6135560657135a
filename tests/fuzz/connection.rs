//! A fuzzer's bytes spell one connection's life: whatever its peer, its kernel and the clock do, it
//! does what its contract says, and its evidence is what the test has counted.

use closecall::machine::close::Kind;
use closecall::machine::close::{
    Answers, Certainty, Conclusion, FirstError, LocalCause, SocketFacts, TcpFacts, Via,
};
use closecall::machine::connection::{Connection, Context, Goodbye, Hints, Rules, Step};
use closecall::machine::errno::{Errno, System, table};
use closecall::machine::time::Moment;
use closecall::simulation::Choices;

use crate::promises;

#[path = "connection/steps.rs"]
mod steps;

/// Each act has bytes of its own, so that a change of one leaves the others as they are. They spell
/// what the calls that follow from it come to, too; when they have run out, nothing moves any more.
const ACT_BYTES: usize = 16;

/// Steps of a visit: one for each byte that makes something move, and a few that only ask.
const STEPS_MAX: usize = ACT_BYTES + 12;

/// Times that an alarm may ring at one moment: for its age, for the drain, and at its end.
const RINGS_MAX: u32 = 4;

/// What one read may bring, in bytes.
const SPACE: usize = 64;

pub(crate) fn run(bytes: &[u8]) {
    let mut acts = bytes.chunks(ACT_BYTES).map(Choices::from_bytes);
    let Some(mut setting) = acts.next() else { return };
    let mut life = Life::new(&mut setting);
    for mut choices in acts {
        let was_over = life.is_over();
        life.act(&mut choices);
        match (was_over, life.is_over()) {
            (false, true) => life.conclude(&mut choices),
            (true, over) => assert!(over, "there was an end of it"),
            (false, false) => {}
        }
    }
}

/// A connection, the event that is reported to it, and the result.
struct Life {
    connection: Connection,
    context: Context,
    system: System,
    /// Whether there can be events for room to send.
    registrable: bool,
    accepted_at: Moment,
    /// The position in its input up to which it is answered, once it was asked to leave.
    answer_limit: Option<u64>,
    /// When the loop asks it again.
    alarm: Moment,
    /// By when to try again what the system had no memory for, or no events.
    retry_at: Option<Moment>,
    /// When output was left over, or an alarm last tried to send it: to be done four times in each
    /// write deadline.
    looked_at: Moment,
    // What a bystander has counted.
    rx: u64,
    discarded: u64,
    tx: u64,
    /// Of the last reply, what was not taken.
    owed: Vec<u8>,
    /// When its deadline began: at the last byte either way, or at our FIN.
    since: Moment,
    /// How long it may wait for its evidence, once our FIN is out.
    wait_ms: Option<u64>,
    /// An event said so, and no call has said otherwise: there may be bytes, perhaps the last that
    /// have an edge, or room.
    readable: bool,
    read_until_blocked: bool,
    writable: bool,
    fin_received: bool,
    error: Option<FirstError>,
    ended_by_us: bool,
}

impl Life {
    fn new(choices: &mut Choices) -> Life {
        let mut rules = Rules {
            read_deadline_ms: choices.one_in(2).then(|| choices.magnitude(1, 1 << 20)),
            write_deadline_ms: choices.one_in(2).then(|| choices.magnitude(4, 1 << 20)),
            verdict_wait_ms: choices.magnitude(0, 1 << 20),
            retry_ms: choices.between(1, 100),
            short_read_drains: choices.one_in(2),
            max_age_ms: None,
        };
        let system = choices.pick(&[System::Linux, System::FreeBsd, System::Windows]);
        let now = Moment::from_ms(choices.magnitude(0, 1 << 40));
        let registrable = !choices.one_in(4);
        rules.max_age_ms = choices.one_in(4).then(|| choices.magnitude(1, 1 << 21));
        let peer = std::net::SocketAddr::from(([192, 0, 2, 1], 50_000)).into();
        let context = Context::new(rules, now);
        let connection = Connection::new(1, peer, &context);
        Life {
            alarm: connection.alarm(&context),
            connection,
            context,
            system,
            registrable,
            accepted_at: now,
            answer_limit: None,
            retry_at: None,
            looked_at: now,
            rx: 0,
            discarded: 0,
            tx: 0,
            owed: Vec::new(),
            since: now,
            wait_ms: None,
            readable: false,
            read_until_blocked: false,
            writable: false,
            fin_received: false,
            error: None,
            ended_by_us: false,
        }
    }

    // ---- what happens to it --------------------------------------------------------------------

    fn act(&mut self, choices: &mut Choices) {
        match choices.below(8) {
            0 => self.time_passes(choices),
            1 => self.context.may_wait = !self.context.may_wait,
            2 if self.context.drain_ends.is_none() => {
                self.context.drain_ends =
                    Some(self.context.now.after(choices.magnitude(0, 1 << 20)));
                self.alarm = Moment::from_ms(0);
            }
            3 => {
                let waits = self.wait_ms.is_some();
                self.connection.decide_now();
                self.visit(choices);
                assert!(!waits || self.is_over(), "it was to be decided at once");
            }
            4 if choices.one_in(16) => {
                self.ended_by_us = true;
                self.connection.refuse(LocalCause::Policy);
            }
            _ => {
                let mut hint = || choices.one_in(4);
                let (read_closed, priority, error) = (hint(), hint(), hint());
                let mut hints = Hints::default();
                (hints.read_closed, hints.priority) = (read_closed, priority);
                (hints.error, hints.no_room) = (error, hint());
                self.connection.ready(hints);
                self.readable = true;
                self.writable |= !hints.no_room;
                self.read_until_blocked |= read_closed || priority || error;
                self.visit(choices);
            }
        }
    }

    /// Until its alarm, or not so long.
    fn time_passes(&mut self, choices: &mut Choices) {
        let ms = choices.magnitude(0, 1 << 21);
        self.context.now = self.context.now.after(ms.min(self.alarm.since(self.context.now)));
        let mut rings = 0;
        while self.alarm <= self.context.now && !self.is_over() {
            rings += 1;
            assert!(rings <= RINGS_MAX, "it rings without end");
            self.rings(choices);
        }
        let due = self.connection.is_due(&self.context);
        assert!(!due || self.is_over(), "it is due, and its alarm is not");
    }

    /// As the loop does it: everything is tried once more before anything is decided.
    fn rings(&mut self, choices: &mut Choices) {
        let tries_by = self.tries_by();
        if self.connection.alarm_rang(&self.context) {
            (self.retry_at, self.looked_at) = (None, self.context.now);
            self.visit(choices);
        } else {
            assert!(tries_by > self.context.now, "it was to be tried again");
        }
        if self.connection.is_due(&self.context) {
            self.is_not_early();
            self.ended_by_us = true;
            self.connection.expire(&self.context);
            self.visit(choices);
        }
        self.alarm = self.connection.alarm(&self.context);
    }

    /// By when it is to be tried again, whatever its deadline is.
    fn tries_by(&self) -> Moment {
        let quarter_ms = self.context.rules.write_deadline_ms.filter(|_| !self.owed.is_empty());
        let look = quarter_ms.map(|ms| self.looked_at.after(ms / 4));
        self.retry_at.into_iter().chain(look).min().unwrap_or(Moment::NEVER)
    }

    fn is_over(&self) -> bool {
        self.connection.step() == Step::End
    }

    /// Whether it may have reached its greatest age: up to a tenth is taken off.
    fn is_old(&self) -> bool {
        let age_ms = self.context.now.since(self.accepted_at);
        self.context.rules.max_age_ms.is_some_and(|ms| age_ms >= ms - ms / 10)
    }

    /// A deadline is no moment earlier than it says.
    fn is_not_early(&self) {
        let limit_ms = match self.wait_ms {
            _ if self.context.drain_ends.is_some() || self.answer_limit.is_some() => return,
            None if self.is_old() => return,
            Some(wait_ms) => wait_ms,
            None if self.owed.is_empty() => self.context.rules.read_deadline_ms.unwrap(),
            None => self.context.rules.write_deadline_ms.unwrap(),
        };
        assert!(self.context.now.since(self.since) >= limit_ms, "early");
    }

    fn visit(&mut self, choices: &mut Choices) {
        for _ in 0..STEPS_MAX {
            let step = self.connection.step();
            assert_eq!(step, self.connection.step(), "asking changes nothing");
            assert_eq!(self.connection.pending(), self.owed);
            match step {
                Step::Wait => return self.waits(),
                Step::End => return,
                Step::Receive | Step::Discard => self.receive(step, choices),
                Step::Send => self.send(choices),
                Step::ShutDown => self.shut_down(choices),
                Step::RegisterWritable => self.register_writable(),
                Step::TakeError if choices.one_in(2) => self.fails(Via::SoError, choices),
                Step::TakeError => self.connection.error_taken(None),
                Step::AskUnread => {
                    assert!(self.answer_limit.is_none(), "it was asked to leave once");
                    let unread = choices.one_in(2).then(|| choices.magnitude(0, 200) as u32);
                    self.answer_limit = Some(self.rx + u64::from(unread.unwrap_or(0)));
                    self.connection.unread(unread);
                }
                Step::AskUnacked => {
                    let unacked = self.unacked(choices);
                    self.connection.unacked(unacked, &self.context);
                }
            }
        }
        panic!("no end of steps");
    }

    /// What it waits for will come.
    fn waits(&mut self) {
        assert!(self.error.is_none(), "it has an error and waits");
        let alarm = self.connection.alarm(&self.context);
        let later = self.context.at(self.context.now.after(1 << 20));
        assert_eq!(self.connection.alarm(&later), alarm, "asked later it is another moment");
        assert!(alarm <= self.tries_by(), "it is not tried again in time");
        if self.connection.take_alarm_moved() {
            self.alarm = alarm;
        }
        assert!(self.alarm <= alarm, "it oversleeps");
        assert!(self.wait_ms.is_none() || alarm < Moment::NEVER, "it settles indefinitely");
        let drains = self.context.drain_ends.is_some();
        assert!(self.wait_ms != Some(0) || drains, "it may not wait for evidence");
        match self.owed.is_empty() {
            true => assert!(self.fin_received || !self.readable, "it forgets what came"),
            false => assert!(!self.writable, "it forgets that there is room"),
        }
    }

    // ---- how it ended --------------------------------------------------------------------------

    fn conclude(&mut self, choices: &mut Choices) {
        let seen = *self.connection.seen();
        let settled = seen.is_settled();
        let error = choices.one_in(2).then(|| Errno(choices.pick(table(self.system)).0));
        let (facts, unacked) = (facts(choices), self.unacked(choices));
        let closed = !settled && facts.tcp.is_some_and(|tcp| tcp.closed);
        // SO_ERROR is asked where there is reason to, and only if no call has handed out an error.
        if !seen.has_error() && (seen.is_suspect() || closed) {
            self.error = error.map(|errno| FirstError { errno, via: Via::SoError });
        }
        let mut told = Answers::nothing(self.system);
        (told.unacked, told.facts, told.error) = (unacked, facts, error);
        let Conclusion { verdict, evidence, .. } = self.connection.conclude(told);
        let counted = (self.rx, self.discarded, self.tx, self.owed.len() as u64);
        let told = (evidence.rx, evidence.discarded, evidence.tx, evidence.unsent);
        assert_eq!(told, counted);
        assert_eq!(evidence.error, self.error, "the first error counts");
        assert_eq!(evidence.fin_sent, self.wait_ms.is_some());
        assert!(!self.fin_received || evidence.fin_received == Some(true));
        let more = evidence.undelivered.is_some_and(|bytes| u64::from(bytes) > self.tx);
        assert!(!more, "more is undelivered than was sent");
        assert!(self.ended_by_us || evidence.cause.is_none(), "{evidence:?}");
        promises::hold(&evidence);
        promises::hold_with_less(&evidence);
        let certain = verdict.certainty == Certainty::Certain;
        assert!(!settled || self.fin_received, "settled without a FIN");
        assert!(!settled || certain || self.error.is_some(), "{verdict:?} of {evidence:?}");
        assert!(self.ended_by_us || verdict.kind != Kind::LocalDrain);
        let plain = self.connection.goodbye() == Goodbye::Plain;
        assert!(plain || (self.ended_by_us && self.error.is_none()), "reset, and why?");
    }
}

/// What a system may say of the socket, or not say.
fn facts(choices: &mut Choices) -> SocketFacts {
    let mut facts = SocketFacts::default();
    facts.unread = choices.one_in(2).then(|| choices.magnitude(0, 100) as u32);
    facts.tcp = choices.one_in(2).then(|| {
        let mut tcp = TcpFacts::default();
        tcp.closed = choices.one_in(2);
        tcp.bytes_received = choices.one_in(2).then(|| choices.magnitude(0, u64::MAX));
        tcp.retransmits = Some(choices.below(3) as u8);
        tcp.probes = Some(choices.below(3) as u8);
        tcp.last_ack_ms = choices.one_in(2).then(|| choices.magnitude(0, 100_000) as u32);
        tcp
    });
    facts
}

//! A fuzzer's bytes spell evidence, even evidence that no system returns; its verdict keeps every
//! promise about verdicts.

use closecall::machine::close::{Certainty, Evidence, FirstError, LocalCause, Via};
use closecall::machine::errno::{Errno, System, table};
use closecall::simulation::Choices;

use crate::promises;

pub(crate) fn run(bytes: &[u8]) {
    let evidence = evidence(&mut Choices::from_bytes(bytes));
    promises::hold(&evidence);
    promises::hold_with_less(&evidence);
}

fn evidence(choices: &mut Choices) -> Evidence {
    let system = choices.pick(&[System::Linux, System::FreeBsd, System::Windows]);
    let mut evidence = Evidence::nothing(system);
    evidence.cause = choices.one_in(8).then(|| cause(choices));
    evidence.error = choices.one_in(2).then(|| error(choices, system));
    evidence.fin_received = choices.pick(&[None, Some(false), Some(true)]);
    evidence.fin_sent = choices.one_in(2);
    evidence.sent_after_fin = choices.one_in(2);
    evidence.rx = choices.magnitude(0, u64::MAX);
    evidence.discarded = choices.magnitude(0, u64::MAX);
    evidence.tx = choices.magnitude(0, u64::MAX);
    evidence.undelivered = count(choices, u32::MAX);
    evidence.fin_acknowledged = choices.one_in(2);
    evidence.unsent = choices.magnitude(0, u64::MAX);
    evidence.reply_untouched = choices.one_in(2);
    evidence.unread = count(choices, u32::MAX);
    evidence.retransmits = count(choices, u8::MAX);
    evidence.probes = count(choices, u8::MAX);
    evidence.last_ack_ms = count(choices, u32::MAX);
    evidence.received_after_fin = choices.one_in(2).then(|| choices.pick(&Certainty::ALL));
    evidence
}

fn cause(choices: &mut Choices) -> LocalCause {
    choices.pick(&[
        LocalCause::ReadDeadline,
        LocalCause::WriteDeadline,
        LocalCause::Drain,
        LocalCause::Policy,
        LocalCause::Resource,
        LocalCause::MaxAge,
        LocalCause::CutOff,
        LocalCause::Close,
    ])
}

/// A number that the system knows, or now and then any at all.
fn error(choices: &mut Choices, system: System) -> FirstError {
    let known = choices.pick(table(system)).0;
    let number = if choices.one_in(8) { choices.below(1 << 32) as u32 as i32 } else { known };
    FirstError { errno: Errno(number), via: choices.pick(&[Via::Recv, Via::Send, Via::SoError]) }
}

/// Unknown, nothing or something.
fn count<N: Into<u64> + TryFrom<u64>>(choices: &mut Choices, high: N) -> Option<N> {
    if choices.one_in(2) { choices.magnitude(0, high.into()).try_into().ok() } else { None }
}

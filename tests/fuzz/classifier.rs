//! A fuzzer's bytes spell evidence, such as no system may ever give, too; what is promised of every
//! verdict holds of this one.

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
    Evidence {
        system,
        cause: choices.one_in(8).then(|| cause(choices)),
        error: choices.one_in(2).then(|| error(choices, system)),
        fin_received: choices.pick(&[None, Some(false), Some(true)]),
        fin_sent: choices.one_in(2),
        sent_after_fin: choices.one_in(2),
        rx: choices.magnitude(0, u64::MAX),
        discarded: choices.magnitude(0, u64::MAX),
        tx: choices.magnitude(0, u64::MAX),
        undelivered: count(choices, u32::MAX),
        fin_acknowledged: choices.one_in(2),
        unsent: choices.magnitude(0, u64::MAX),
        reply_untouched: choices.one_in(2),
        unread: count(choices, u32::MAX),
        retransmits: count(choices, u8::MAX),
        probes: count(choices, u8::MAX),
        last_ack_ms: count(choices, u32::MAX),
        received_after_fin: choices.one_in(2).then(|| choices.pick(&Certainty::ALL)),
    }
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

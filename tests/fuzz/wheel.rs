//! A fuzzer's bytes spell operations on the timer wheel; it agrees with a map after each of them.

use closecall::machine::time::Moment;
use closecall::simulation::Choices;

#[path = "../simulation/wheel/model.rs"]
mod model;

use self::model::{Operation, Pair};

/// Each operation has bytes of its own, so that a change of one leaves the others as they are.
const OPERATION_BYTES: usize = 12;

/// The longest step of time, some hundred rounds of the wheel: a deadline that lies further away is
/// looked at once a round, and all of them would take their time.
const PASS_MS_MAX: u64 = 1 << 19;

pub(crate) fn run(bytes: &[u8]) {
    let mut spelt = bytes.chunks(OPERATION_BYTES).map(Choices::from_bytes);
    let Some(mut setting) = spelt.next() else { return };
    let tick_ms = setting.between(1, 10);
    let mut pair = Pair::new(tick_ms, Moment::from_ms(setting.magnitude(0, u64::MAX)));
    for mut choices in spelt {
        pair.run(&operation(&mut choices));
    }
    pair.check_keys();
}

fn operation(choices: &mut Choices) -> Operation {
    let operation = choices.below(7);
    let key = choices.below(64) as u32;
    let (ms, far_ms) = (choices.magnitude(0, PASS_MS_MAX), choices.magnitude(0, u64::MAX));
    match operation {
        0 => Operation::Pass { ms, rearm: None },
        1 => Operation::Pass { ms, rearm: Some(far_ms) },
        2 => Operation::PassWithBudget { ms, budget: key + 1 },
        3 => Operation::Disarm { key },
        4 => Operation::Arm { key, in_ms: far_ms },
        5 => Operation::ArmPast { key, ago_ms: far_ms },
        _ => Operation::ArmMany { first: key, count: 100, in_ms: far_ms },
    }
}

//! Promise: the timer wheel is a map from key to deadline, only faster. Both run the same
//! operations and must agree after each. The map is in `wheel/model.rs`.

mod model;

use closecall::machine::time::Moment;
use model::{Operation, Pair};
use proptest::prelude::*;

fn operation() -> impl Strategy<Value = Operation> {
    // Within a round, just around one round of 4,096 ticks, and far beyond.
    let in_ms = || prop_oneof![0..200_u64, 3_900..4_300_u64, 30_000..45_000_u64, 0..1_u64 << 40];
    // As much time as may pass between two turns: up to ten years, over deadlines and towards them.
    const TEN_YEARS_MS: u64 = 10 * 365 * 24 * 3_600_000;
    let jump = || prop_oneof![90_000..86_400_000_u64, 0..TEN_YEARS_MS];
    let passes = || prop_oneof![0..50_u64, 0..5_000_u64, 30_000..90_000_u64, jump()];
    prop_oneof![
        6 => (0..64_u32, in_ms()).prop_map(|(key, in_ms)| Operation::Arm { key, in_ms }),
        1 => (0..100_u32, 1..3_000_u32, in_ms())
            .prop_map(|(first, count, in_ms)| Operation::ArmMany { first, count, in_ms }),
        1 => (0..64_u32, 0..100_000_u64)
            .prop_map(|(key, ago_ms)| Operation::ArmPast { key, ago_ms }),
        3 => (0..3_100_u32).prop_map(|key| Operation::Disarm { key }),
        4 => (passes(), prop::option::of(in_ms()))
            .prop_map(|(ms, rearm)| Operation::Pass { ms, rearm }),
        2 => passes().prop_map(|ms| Operation::Skip { ms }),
        2 => (passes(), 1..40_u32)
            .prop_map(|(ms, budget)| Operation::PassWithBudget { ms, budget }),
    ]
}

proptest! {
    // 500 runs of at least 200 operations: 100,000 and more.
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_wheel_agrees_with_a_map(
        tick_ms in 1..=10_u64,
        start_ms in prop_oneof![Just(0), Just((1 << 32) - 5), Just((1 << 36) + 3), 0..1_u64 << 41],
        operations in prop::collection::vec(operation(), 200..300),
    ) {
        let mut pair = Pair::new(tick_ms, Moment::from_ms(start_ms));
        operations.iter().for_each(|operation| pair.run(operation));
        pair.check_keys();
    }
}

//! The wheel by itself: what rings, when, and how often it is looked at.

use super::*;

const TICK_MS: u64 = 8;
const ROUND_MS: u64 = SLOTS * TICK_MS;

/// A wheel that begins at an awkward moment, and a clock to go with it.
fn wheel() -> (TimerWheel, Moment) {
    let now = Moment::from_ms((1 << 32) - 3);
    (TimerWheel::new(TICK_MS, 0, now), now)
}

#[track_caller]
fn pop_all(wheel: &mut TimerWheel, now: Moment) -> Vec<u32> {
    let mut budget = u32::MAX;
    std::iter::from_fn(|| wheel.pop_due(now, &mut budget)).collect()
}

#[test]
fn is_never_early_and_at_most_two_ticks_late() {
    for ms in [0, 1, 3, 7, 8, 9, 10_000, ROUND_MS - 1, ROUND_MS, 3 * ROUND_MS + 5] {
        let (mut wheel, start) = wheel();
        let deadline = start.after(ms);
        wheel.arm(0, deadline);
        let mut now = start;
        while pop_all(&mut wheel, now).is_empty() {
            now = wheel.next_due().expect("it is armed still");
        }
        assert!(now > deadline, "{ms} ms: early");
        assert!(now.since(deadline) <= 2 * TICK_MS, "{ms} ms: late by {}", now.since(deadline));
    }
}

#[test]
fn sleeps_until_the_next_deadline_and_no_shorter() {
    let (mut wheel, now) = wheel();
    assert_eq!(wheel.next_due(), None, "an idle wheel asks for no wake-up");
    wheel.arm(3, now.after(10_000));
    let wake = wheel.next_due().unwrap();
    assert!(wake >= now.after(10_000) && wake <= now.after(10_000 + 2 * TICK_MS));
    assert_eq!(pop_all(&mut wheel, Moment::from_ms(wake.as_ms() - 1)), [0u32; 0]);
    assert_eq!(pop_all(&mut wheel, wake), [3]);
    assert_eq!(wheel.next_due(), None);
}

#[test]
fn a_deadline_beyond_the_round_costs_one_look_a_round() {
    let (mut wheel, start) = wheel();
    wheel.arm(0, start.after(10 * ROUND_MS));
    let (mut now, mut looks) = (start, 0);
    while pop_all(&mut wheel, now).is_empty() {
        now = wheel.next_due().unwrap();
        looks += 1;
    }
    assert_eq!(looks, 11);
}

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// Regression: the cursor of an idle wheel stood still, and the first deadlines after 30 idle
/// days were walked to round by round: 79,000 looks each, for 13 seconds.
#[test]
fn an_idle_wheel_skips_the_time_that_passes() {
    for idle_ms in [1_000, 24 * 3_600_000, 30 * 24 * 3_600_000, YEAR_MS, 10 * YEAR_MS] {
        let (mut wheel, start) = wheel();
        wheel.arm(0, start.after(5)); // it has served before
        pop_all(&mut wheel, start.after(100));
        let now = start.after(idle_ms);
        wheel.skip_to(now);
        (0..1_000).for_each(|key| wheel.arm(key, now.after(10_000)));
        let due = wheel.next_due().unwrap();
        assert!(due > now.after(10_000) && due <= now.after(10_000 + 2 * TICK_MS));
        let mut budget = 1_000;
        let popped = std::iter::from_fn(|| wheel.pop_due(due, &mut budget)).count();
        assert_eq!((popped, budget), (1_000, 0), "after {idle_ms} ms: one look each");
    }
}

/// However much time passes while something is armed, it is looked at twice at most.
#[test]
fn a_jump_over_many_rounds_costs_two_looks() {
    for jump_ms in [ROUND_MS + 1, 30 * 24 * 3_600_000, 10 * YEAR_MS] {
        let (mut wheel, start) = wheel();
        let deadline = start.after(jump_ms + 10_000);
        wheel.arm(0, deadline);
        wheel.arm(1, start.after(3 * ROUND_MS / 2).min(start.after(jump_ms)));
        let now = start.after(jump_ms);
        let mut budget = 4;
        assert_eq!(wheel.pop_due(now.after(2 * TICK_MS), &mut budget), Some(1));
        assert!(wheel.next_due().unwrap() <= now.after(2 * TICK_MS), "0 is to be looked at");
        assert_eq!(wheel.pop_due(now.after(2 * TICK_MS), &mut budget), None);
        assert!(budget >= 1, "after {jump_ms} ms: {budget} of four looks are left");
        let due = wheel.next_due().unwrap();
        assert!(due > deadline && due <= deadline.after(2 * TICK_MS));
        assert_eq!(pop_all(&mut wheel, due), [0]);
        assert!(wheel.is_empty() && wheel.next_due().is_none());
    }
}

/// One that lags can be moved and dropped like any other, also when the budget has ended there.
#[test]
fn what_lags_can_be_dropped_and_moved() {
    let (mut wheel, start) = wheel();
    (0..3).for_each(|key| wheel.arm(key, start.after(YEAR_MS)));
    let now = start.after(YEAR_MS / 2);
    assert_eq!(wheel.pop_due(now, &mut 3), None, "each was looked at, and lags");
    wheel.disarm(1);
    wheel.arm(2, now.after(50));
    assert_eq!(pop_all(&mut wheel, now), [0u32; 0]);
    assert_eq!(pop_all(&mut wheel, now.after(50 + 2 * TICK_MS)), [2]);
    assert_eq!(pop_all(&mut wheel, start.after(YEAR_MS + 2 * TICK_MS)), [0]);
    assert!(wheel.is_empty() && wheel.next_due().is_none());
}

#[test]
fn a_spent_budget_leaves_the_rest_due_at_once() {
    let (mut wheel, start) = wheel();
    for key in 0..5_000 {
        wheel.arm(key, start.after(100));
    }
    let now = start.after(200);
    let mut budget = 1_000;
    let first = std::iter::from_fn(|| wheel.pop_due(now, &mut budget)).count();
    assert_eq!((first, wheel.len()), (1_000, 4_000));
    assert!(wheel.next_due().unwrap() <= now);
    assert_eq!(pop_all(&mut wheel, now).len(), 4_000);
}

#[test]
fn rearming_the_key_in_hand_is_safe() {
    let (mut wheel, start) = wheel();
    (0..3).for_each(|key| wheel.arm(key, start.after(50)));
    let now = start.after(100);
    let mut budget = 100;
    let mut seen = Vec::new();
    while let Some(key) = wheel.pop_due(now, &mut budget) {
        seen.push(key);
        wheel.arm(key, now.after(1_000));
    }
    seen.sort_unstable();
    assert_eq!((seen, wheel.len()), (vec![0, 1, 2], 3));
}

#[test]
fn dropping_one_of_a_slot_leaves_the_others() {
    for dropped in 0..3 {
        let (mut wheel, start) = wheel();
        (0..3).for_each(|key| wheel.arm(key, start.after(50)));
        wheel.disarm(dropped);
        let mut left = pop_all(&mut wheel, start.after(100));
        left.sort_unstable();
        assert_eq!(left, [[1, 2], [0, 2], [0, 1]][dropped as usize]);
        assert_eq!(wheel.next_due(), None, "nothing of it is left");
    }
}

#[test]
fn never_is_the_same_as_disarmed() {
    let (mut wheel, now) = wheel();
    wheel.arm(1, now.after(5));
    assert!(!wheel.is_empty() && wheel.is_armed(1));
    wheel.arm(1, Moment::NEVER);
    assert!(wheel.is_empty() && !wheel.is_armed(1) && wheel.next_due().is_none());
}

/// Regression, found by fuzzing: with ticks of a millisecond the tick after the last moment was
/// the mark of a key that is not armed, so a key that was armed again hung in two slots.
#[test]
fn the_last_moment_is_a_deadline_like_any_other() {
    let last = Moment::from_ms(Moment::NEVER.as_ms() - 1);
    let mut wheel = TimerWheel::new(1, 0, last);
    wheel.arm(0, last);
    assert!(wheel.is_armed(0) && wheel.len() == 1);
    wheel.arm(0, last);
    assert_eq!(pop_all(&mut wheel, last), [0]);
    assert!(wheel.is_empty() && wheel.next_due().is_none());
}

#[test]
fn an_entry_takes_sixteen_bytes() {
    assert_eq!(size_of::<Timer>(), 16);
}

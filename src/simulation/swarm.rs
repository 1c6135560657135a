//! What a world does without.
//!
//! A world in which everything can happen rarely shows what takes three rare things at once. So
//! most worlds leave out a random half of the peers, of the faults and of the options, and what is
//! left meets more often (Groce et al., *Swarm Testing*, ISSTA 2012).

use super::choices::Choices;
use super::faults::Fault;
use super::peer::{CHARACTERS, Step};
use super::setting::Setting;
use crate::config::Overload;

/// Puts one option of a world back to what it is in a world without trouble.
type Plain = fn(&mut Setting);

/// The options that can be left out, each with its plain value.
const OPTIONS: &[Plain] = &[
    |it| it.config.read_deadline_ms = Some(10_000),
    |it| it.config.write_deadline_ms = Some(10_000),
    |it| it.config.verdict_wait_ms = 2_000,
    |it| it.config.drain_ms = 5_000,
    |it| it.config.max_connections = 4_096,
    |it| it.config.max_per_ip = None,
    |it| it.config.overload = Overload::Wait,
    |it| it.config.backlog = 4_096,
    |it| it.config.probes = true,
    |it| it.config.accepts_per_turn = 512,
    |it| it.config.bytes_per_visit = 65_536,
    |it| it.config.bytes_per_turn = 1 << 20,
    |it| it.config.max_age_ms = None,
    |it| it.config.output_memory_bytes = None,
    |it| it.config.reaps_per_turn = 1_024,
    |it| it.config.expiries_per_turn = 1_024,
    |it| it.config.clock_interval = 64,
    |it| it.config.endings_max = 1 << 16,
    |it| it.delay_us_max = 0,
    |it| it.all_slow = false,
    |it| it.window_max = 65_536,
    |it| it.send_space_max = 100_000,
    |it| it.second_stop_us = None,
    |it| it.files = usize::MAX,
    |it| it.batch_max = 1_024,
    |it| it.tells = true,
];

/// Sets of what is left out, a bit each, and what only few worlds have.
#[derive(Clone, Debug, Default)]
pub(super) struct Swarm {
    peers: u64,
    faults: u64,
    options: u64,
    /// Its peers send more than a visit may take.
    pub(super) bulk: bool,
    /// Nobody comes for days.
    pub(super) idle: bool,
    /// The clock jumps.
    pub(super) jump: bool,
}

impl Swarm {
    /// What a new world does without: nothing, in one of four.
    pub(super) fn choose(choices: &mut Choices) -> Swarm {
        let bulk = choices.one_in(12);
        let (idle, jump) = (choices.one_in(8), choices.one_in(8));
        let all = Swarm { bulk, idle, jump, ..Swarm::default() };
        if choices.below(4) == 0 {
            return all;
        }
        let mut set = |of: usize| choices.below(1 << of);
        let (peers, faults) = (set(CHARACTERS.len()), set(Fault::COUNT));
        Swarm { peers, faults, options: set(OPTIONS.len()), ..all }
    }

    /// The kinds of peers that are left, by their places in the list of all; all if none would be.
    pub(super) fn kinds(&self) -> Vec<u8> {
        let fits =
            |kind: &u8| !self.bulk || CHARACTERS[usize::from(*kind)].1.contains(&Step::Flood);
        let all = (0..CHARACTERS.len() as u8).filter(fits);
        let left: Vec<u8> = all.clone().filter(|kind| self.peers >> kind & 1 == 0).collect();
        if left.is_empty() { all.collect() } else { left }
    }

    /// Leaves out faults and options.
    pub(super) fn leave_out(&self, setting: &mut Setting) {
        setting.faults.leave_out(self.faults);
        for (bit, plain) in OPTIONS.iter().enumerate() {
            if self.options >> bit & 1 == 1 {
                plain(setting);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_out_where_nothing_is_chosen() {
        let swarm = Swarm::choose(&mut Choices::from_bytes(&[]));
        assert_eq!((swarm.peers, swarm.faults, swarm.options), (0, 0, 0));
        assert_eq!(swarm.kinds().len(), CHARACTERS.len());
    }

    #[test]
    fn somebody_always_lives_there() {
        for bulk in [false, true] {
            let nobody = Swarm { peers: u64::MAX, bulk, ..Swarm::default() };
            assert!(!nobody.kinds().is_empty(), "bulk: {bulk}");
        }
    }

    #[test]
    fn the_sets_have_room_for_all() {
        assert!(CHARACTERS.len() < 64 && Fault::COUNT < 64 && OPTIONS.len() < 64);
    }
}

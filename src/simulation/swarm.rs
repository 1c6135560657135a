//! Swarm testing: what a world leaves out.
//!
//! A world in which everything can happen rarely shows what takes three rare things at once. So
//! most worlds leave out a random half of the peers, of the faults and of the options, and what is
//! left meets more often (Groce et al., *Swarm Testing*, ISSTA 2012).

use super::choices::Choices;
use super::faults::Fault;
use super::peer::{CHARACTERS, Move};

/// Sets of what is left out, a bit each, and what only few worlds have.
#[derive(Clone, Debug, Default)]
pub(super) struct Swarm {
    peers: u64,
    faults: u64,
    options: u64,
    /// Its peers send more than a visit may take.
    pub(super) bulk: bool,
    /// No peer connects for days.
    pub(super) idle: bool,
    /// The clock jumps.
    pub(super) jump: bool,
}

impl Swarm {
    /// What a new world leaves out, of this number of options: nothing, in one of four.
    pub(super) fn choose(choices: &mut Choices, options: usize) -> Swarm {
        let bulk = choices.one_in(12);
        let (idle, jump) = (choices.one_in(8), choices.one_in(8));
        let all = Swarm { bulk, idle, jump, ..Swarm::default() };
        if choices.below(4) == 0 {
            return all;
        }
        let mut set = |of: usize| choices.below(1 << of);
        let (peers, faults) = (set(CHARACTERS.len()), set(Fault::COUNT));
        Swarm { peers, faults, options: set(options), ..all }
    }

    /// The kinds of peers that are left, by their places in the list of all; all if none would be.
    pub(super) fn kinds(&self) -> Vec<u8> {
        let fits =
            |kind: &u8| !self.bulk || CHARACTERS[usize::from(*kind)].1.contains(&Move::Flood);
        let all = (0..CHARACTERS.len() as u8).filter(fits);
        let left: Vec<u8> = all.clone().filter(|kind| self.peers >> kind & 1 == 0).collect();
        if left.is_empty() { all.collect() } else { left }
    }

    /// The faults that are left out, a bit each.
    pub(super) fn faults(&self) -> u64 {
        self.faults
    }

    /// Whether the option of this number is left out.
    pub(super) fn leaves_out(&self, option: usize) -> bool {
        self.options >> option & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_out_where_nothing_is_chosen() {
        let swarm = Swarm::choose(&mut Choices::from_bytes(&[]), 26);
        assert_eq!((swarm.peers, swarm.faults, swarm.options), (0, 0, 0));
        assert_eq!(swarm.kinds().len(), CHARACTERS.len());
    }

    #[test]
    fn each_world_has_a_kind_of_peer() {
        for bulk in [false, true] {
            let swarm = Swarm { peers: u64::MAX, bulk, ..Swarm::default() };
            assert!(!swarm.kinds().is_empty(), "bulk: {bulk}");
        }
    }

    #[test]
    fn the_sets_have_room_for_all() {
        assert!(CHARACTERS.len() < 64 && Fault::COUNT < 64);
    }
}

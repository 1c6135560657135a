//! The source port of each connection.
//!
//! ```text
//!   of each source address       taken: the next 64         taken: the whole range
//!   [ next ]               ──▶   [ next+1 … next+64 ]  ──▶   [ first … last ]  ──▶  no port
//! ```
//!
//! connect(2) searches for a free port, and the fuller the range is, the longer that takes: 3 ms
//! when the half in which the search begins is full. Ports are used in turn here, so the first one
//! that is tried is free, or is the one that has been in TIME_WAIT for longest.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;

/// Ports that are tried before the whole range is searched. A program that holds some ports seldom
/// holds more in a row.
const NEAR: u16 = 64;

/// How long no search follows one that found nothing, in nanoseconds: a search visits every port.
const REST_NS: u64 = 100_000_000;

/// The source ports of each source address.
pub(super) struct Ports {
    /// The range from which connect(2) may choose. `None`: the system chooses.
    range: Option<RangeInclusive<u16>>,
    /// The next port to try, for each source address.
    next: Box<[u16]>,
    /// Whether a connection that found no port is tried again later.
    retries: bool,
    /// No search of the whole range before this time, in nanoseconds.
    rests_until: u64,
}

impl Ports {
    /// The ports of `range` for each of `sources` addresses. The first one is chosen at random,
    /// because other processes, and the run before, used theirs in turn as well.
    pub(super) fn new(range: Option<RangeInclusive<u16>>, sources: u32, retries: bool) -> Ports {
        let random = RandomState::new().build_hasher().finish();
        let first = range
            .as_ref()
            .map_or(0, |range| range.start() + (random % range.len().max(1) as u64) as u16);
        let next = vec![first; sources.max(1) as usize].into_boxed_slice();
        Ports { range, next, retries, rests_until: 0 }
    }

    /// Connects with `attempt`, which gets the ports to choose from, and returns the port if there
    /// was more than one. `number` selects the source address as in
    /// [`Sources::of`](super::plan::Sources::of), `now` is in nanoseconds.
    ///
    /// # Errors
    /// The error of the last attempt; [`ErrorKind::AddrNotAvailable`] if no port is left.
    pub(super) fn connect(
        &mut self,
        number: u32,
        now: u64,
        mut attempt: impl FnMut(Option<&RangeInclusive<u16>>) -> io::Result<Option<u16>>,
    ) -> io::Result<()> {
        let Some(all) = self.range.clone() else { return attempt(None).map(drop) };
        let place = number as usize % self.next.len();
        let next = self.next[place];
        let behind = after(next, &all);
        let near = behind..=behind.saturating_add(NEAR - 1).min(*all.end());
        let mut last = ErrorKind::AddrNotAvailable.into();
        for ports in [next..=next, near, all.clone()] {
            let is_last = ports == all;
            if is_last && self.retries && now < self.rests_until {
                break;
            }
            match attempt(Some(&ports)) {
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => last = error,
                result => {
                    self.next[place] = after(result?.unwrap_or(next), &all);
                    return Ok(());
                }
            }
            if is_last {
                self.rests_until = now + REST_NS;
            }
        }
        Err(last)
    }

    /// From now on the system chooses.
    pub(super) fn leave(&mut self) {
        self.range = None;
    }
}

/// The port after this one, in the range.
fn after(port: u16, range: &RangeInclusive<u16>) -> u16 {
    if port >= *range.end() || port < *range.start() { *range.start() } else { port + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ports of a simulated system, on one address.
    struct System {
        taken: Vec<u16>,
        asked: Vec<RangeInclusive<u16>>,
    }

    impl System {
        fn new(taken: impl IntoIterator<Item = u16>) -> System {
            System { taken: taken.into_iter().collect(), asked: Vec::new() }
        }

        /// Takes the last free port, as connect(2) may do.
        fn connect(&mut self, ports: &mut Ports, number: u32, now: u64) -> io::Result<u16> {
            self.asked.clear();
            let mut got = 0;
            ports.connect(number, now, |range| {
                let range = range.unwrap().clone();
                self.asked.push(range.clone());
                got = range.rev().find(|port| !self.taken.contains(port)).unwrap_or(0);
                let free = (got > 0).then_some(Some(got));
                free.ok_or_else(|| ErrorKind::AddrNotAvailable.into())
            })?;
            self.taken.push(got);
            Ok(got)
        }
    }

    fn ports(range: RangeInclusive<u16>, sources: u32, retries: bool) -> Ports {
        let mut ports = Ports::new(Some(range.clone()), sources, retries);
        assert!(ports.next.iter().all(|next| range.contains(next)), "{:?}", ports.next);
        ports.next.fill(*range.start());
        ports
    }

    /// Regression: beyond half of the range each connect searched the half that was full.
    #[test]
    fn a_connect_tries_one_port_as_long_as_ports_are_free() {
        let mut ports = ports(20_000..=29_999, 1, false);
        let mut system = System::new([]);
        for port in 20_000..=29_999 {
            assert_eq!(system.connect(&mut ports, 7, 0).unwrap(), port);
            assert_eq!(system.asked, [port..=port]);
        }
    }

    #[test]
    fn each_source_has_its_own_ports() {
        let mut ports = ports(100..=199, 2, false);
        let taken = (0..4).map(|number| {
            let mut system = System::new([]);
            system.connect(&mut ports, number, 0).unwrap()
        });
        assert_eq!(taken.collect::<Vec<_>>(), [100, 100, 101, 101]);
    }

    #[test]
    fn ports_that_are_taken_are_passed_over_and_all_are_used() {
        let mut ports = ports(1000..=1999, 1, false);
        // Another program holds 300 in a row.
        let mut system = System::new(1001..=1300);
        let mut got: Vec<u16> = Vec::new();
        for _ in 0..700 {
            got.push(system.connect(&mut ports, 0, 0).unwrap());
        }
        assert_eq!(got[..2], [1000, 1999], "the last of the range, from the whole of it");
        got.sort_unstable();
        got.dedup();
        assert_eq!(got.len(), 700);
        let none = system.connect(&mut ports, 0, 0).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::AddrNotAvailable);
        assert_eq!(system.asked.last(), Some(&(1000..=1999)));
        let again = system.connect(&mut ports, 0, 1).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AddrNotAvailable);
        assert_eq!(system.asked.last(), Some(&(1000..=1999)), "each connection counts");
    }

    #[test]
    fn where_connections_are_tried_again_a_full_range_is_searched_ten_times_a_second() {
        let mut ports = ports(1000..=1999, 1, true);
        let mut system = System::new(1000..=1999);
        let mut searches = 0;
        for ms in 0..1000 {
            assert!(system.connect(&mut ports, 0, ms * 1_000_000).is_err());
            searches += system.asked.iter().filter(|range| range.len() == 1000).count();
        }
        assert_eq!(searches, 10);
        system.taken.retain(|port| *port != 1777);
        assert_eq!(system.connect(&mut ports, 0, 1_000_000_000).unwrap(), 1777);
        assert_eq!(ports.next[0], 1778, "it goes on from there");
    }

    #[test]
    fn an_error_of_another_kind_ends_it() {
        let mut ports = ports(100..=199, 1, false);
        let mut asked = 0;
        let refused = ports.connect(0, 0, |_| {
            asked += 1;
            Err(ErrorKind::ConnectionRefused.into())
        });
        assert_eq!((refused.unwrap_err().kind(), asked), (ErrorKind::ConnectionRefused, 1));
        ports.leave();
        ports.connect(0, 0, |range| Ok(range.map(|_| 1))).unwrap();
    }
}

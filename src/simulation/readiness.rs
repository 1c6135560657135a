//! Readiness, as epoll keeps it: the keys under which sockets are registered, and those with an
//! event to come.

use std::collections::VecDeque;

use super::link::Link;

/// What a key is used for.
#[derive(Clone, Copy, Debug, Default)]
struct Key {
    link: Option<u32>,
    /// The turn in which its last socket was closed.
    closed_turn: u64,
}

/// Keys and edges.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    keys: Vec<Key>,
    /// Links that have an event coming.
    ready: VecDeque<u32>,
}

impl Readiness {
    /// Whether `key` had a socket at any time in this turn.
    pub(super) fn was_used(&self, key: u32, turn: u64) -> bool {
        let key = self.keys.get(key as usize).copied().unwrap_or_default();
        key.link.is_some() || key.closed_turn == turn
    }

    /// `link` gets events under `key`.
    pub(super) fn register(&mut self, key: u32, link: u32) {
        self.make_room(key);
        self.keys[key as usize].link = Some(link);
    }

    /// `key` exists, whether something is registered under it or not.
    pub(super) fn make_room(&mut self, key: u32) {
        if self.keys.len() <= key as usize {
            self.keys.resize(key as usize + 1, Key::default());
        }
    }

    /// The socket under `key` was closed.
    pub(super) fn release(&mut self, key: u32, turn: u64) {
        self.keys[key as usize] = Key { link: None, closed_turn: turn };
    }

    /// Keys that were ever used.
    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// What is registered under `key`.
    pub(super) fn registered(&self, key: u32) -> Option<u32> {
        self.keys.get(key as usize)?.link
    }

    /// There will be an event for the server's socket, if it is registered.
    pub(super) fn signal(&mut self, index: u32, link: &mut Link) {
        if link.is_registered() && !link.ready {
            link.ready = true;
            self.ready.push_back(index);
        }
    }

    /// How many have an event coming.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Takes the first `count` of them, in order.
    pub(super) fn take(&mut self, count: usize) -> Vec<u32> {
        self.ready.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::choices::Choices;
    use super::super::link::Hold;
    use super::super::setting::WorldSetting;
    use super::*;

    #[test]
    fn a_key_stays_in_use_until_its_turn_ends() {
        let mut readiness = Readiness::default();
        readiness.register(2, 7);
        assert_eq!((readiness.registered(2), readiness.registered(0)), (Some(7), None));
        assert!(readiness.was_used(2, 5) && !readiness.was_used(0, 5) && !readiness.was_used(9, 5));
        readiness.release(2, 5);
        assert_eq!((readiness.registered(2), readiness.keys()), (None, 3));
        assert!(readiness.was_used(2, 5) && !readiness.was_used(2, 6));
    }

    #[test]
    fn a_registered_socket_has_one_event_to_come_and_no_other_has_any() {
        let mut quiet = Choices::from_bytes(&[]);
        let setting = WorldSetting::choose(&mut quiet);
        let mut link = Link::new(4, &setting, &mut quiet);
        let mut readiness = Readiness::default();
        readiness.signal(4, &mut link);
        assert_eq!(readiness.ready(), 0);
        link.hold = Hold::Registered(0);
        readiness.signal(4, &mut link);
        readiness.signal(4, &mut link);
        assert_eq!(readiness.take(1), [4]);
        assert_eq!(readiness.ready(), 0);
    }
}

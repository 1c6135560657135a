//! Queue of connections that wait for something, the oldest first.
//!
//! A connection that no longer waits is not removed from its queue at once, because a search takes
//! longer the longer the queue is. It stays until it reaches the front, or until the queue is twice
//! as long as the number of connections and is compacted. So every operation takes constant time on
//! average, even in a storm of resets, and the queue has a bound.

use std::collections::VecDeque;

/// A shorter queue is not compacted.
const COMPACT_LEN_MIN: usize = 64;

/// Keys of connections, each with the connection's number: slots are reused, numbers are not.
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<(u32, u64)>);

impl Queue {
    /// Connection number `id`, in the slot `key`, goes to the end of the queue.
    ///
    /// `waits` returns whether a connection still waits here, and `slots` is the number of
    /// connections, which bounds the queue.
    pub(super) fn push_back(
        &mut self,
        (key, id): (u32, u64),
        slots: usize,
        waits: impl Fn(u32, u64) -> bool,
    ) {
        if self.0.len() >= COMPACT_LEN_MIN + 2 * slots {
            self.0.retain(|&(key, id)| waits(key, id));
        }
        self.0.push_back((key, id));
    }

    /// Connection number `id`, in the slot `key`, goes to the front of the queue.
    pub(super) fn push_front(&mut self, key: u32, id: u64) {
        self.0.push_front((key, id));
    }

    /// Removes and returns the first connection that still waits.
    pub(super) fn pop_front(&mut self, waits: impl Fn(u32, u64) -> bool) -> Option<u32> {
        while let Some((key, id)) = self.0.pop_front() {
            if waits(key, id) {
                return Some(key);
            }
        }
        None
    }

    /// The length of the queue, including connections that no longer wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Frees the memory of a queue that has been longer.
    pub(super) fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_still_waits_comes_first() {
        let mut queue = Queue::default();
        [10, 11, 12].into_iter().for_each(|id| queue.push_back((id as u32, id), 3, |_, _| true));
        assert_eq!(queue.pop_front(|_, id| id != 10), Some(11));
        queue.push_front(11, 11);
        let rest = [(); 3].map(|()| queue.pop_front(|_, _| true));
        assert_eq!(rest, [Some(11), Some(12), None]);
    }

    /// A queue of which nothing is ever taken would grow with each connection there has been.
    #[test]
    fn a_queue_is_compacted_before_it_is_twice_as_long_as_it_can_be() {
        let mut queue = Queue::default();
        let mut longest = 0;
        for id in 0..10_000 {
            queue.push_back((id as u32 % 4, id), 4, |_, other| other + 4 > id);
            longest = longest.max(queue.len());
        }
        assert_eq!(longest, COMPACT_LEN_MIN + 2 * 4);
        assert_eq!(queue.pop_front(|_, id| id >= 9_996), Some(9_996 % 4));
    }
}

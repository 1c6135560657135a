//! Messages of the clients. With a close log each message has a different length and content, so
//! that the server's line identifies its connection.

use std::hash::{BuildHasher, RandomState};

/// The number of different lengths; then they repeat.
const LENGTHS: u64 = 192;

/// The shortest padding, in bytes. It has room for the number of the message.
const ADDED_BYTES_MIN: usize = 8;

/// Source of messages.
#[derive(Debug)]
pub(super) struct Messages {
    stem: Vec<u8>,
    next: u64,
}

impl Messages {
    /// The first length is random, so that two labs that test one server at the same time do not
    /// send the same lengths.
    pub(super) fn new(stem: &[u8]) -> Messages {
        Messages::starting_at(stem, RandomState::new().hash_one(()) % LENGTHS)
    }

    fn starting_at(stem: &[u8], first: u64) -> Messages {
        Messages { stem: stem.to_vec(), next: first }
    }

    /// The message without padding, for a run without a close log.
    pub(super) fn stem(&self) -> Vec<u8> {
        self.stem.clone()
    }

    /// The next message, of another length than the ones before. A length that other connections
    /// use is left out, unless they use all of them.
    pub(super) fn next(&mut self, is_of_others: impl Fn(u64) -> bool) -> Vec<u8> {
        let mut message = self.numbered();
        for _ in 0..LENGTHS {
            if !is_of_others(message.len() as u64) {
                break;
            }
            message = self.numbered();
        }
        message
    }

    /// The number goes before the newline, if the message ends with one.
    fn numbered(&mut self) -> Vec<u8> {
        let added_bytes = ADDED_BYTES_MIN + (self.next % LENGTHS) as usize;
        let mut added = format!(" {:x}", self.next).into_bytes();
        self.next += 1;
        added.resize(added_bytes, b'.');
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let text = self.stem.iter().rposition(|byte| !is_end(byte)).map_or(0, |at| at + 1);
        [&self.stem[..text], &added, &self.stem[text..]].concat()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_message_has_its_own_length_and_content_and_keeps_its_beginning_and_newline() {
        let mut messages = Messages::new(b"PING\r\n");
        let all: Vec<_> = (0..LENGTHS).map(|_| messages.next(|_| false)).collect();
        let lengths: HashSet<_> = all.iter().map(Vec::len).collect();
        assert_eq!(lengths.len() as u64, LENGTHS);
        assert!(all.iter().all(|it| it.starts_with(b"PING ") && it.ends_with(b".\r\n")));
        let again = messages.next(|_| false);
        assert!(again.len() == all[0].len() && again != all[0]);
        assert_eq!(messages.stem(), b"PING\r\n");
    }

    /// Regression: two labs that played against one server sent the same lengths in the same order,
    /// and one took the line of the other.
    #[test]
    fn two_labs_hardly_ever_begin_with_the_same_length() {
        let first = |_| Messages::new(b"Hi").next(|_| false).len();
        let lengths: HashSet<_> = (0..100).map(first).collect();
        assert!(lengths.len() > 10, "{lengths:?}");
    }

    #[test]
    fn a_length_that_other_connections_use_is_left_out() {
        let mut messages = Messages::starting_at(b"Hi", 0);
        assert_eq!(messages.next(|length| length == 10), b"Hi 1.......");
        assert_eq!(messages.next(|_| true).len(), 2 + 8 + 2, "one length must be used");
    }
}

//! What each peer says, and what a server owes it in return: written without a look at the server's
//! own code for it.

use super::choices::spread;
use crate::machine::reply::Framing;

/// Fills `out` with what the peer of `seed` says from `offset` on. Nothing is stored: the bytes
/// follow from their place. Every eight of them are random bytes, or rich in newlines, or a run.
pub(super) fn say(seed: u64, offset: u64, out: &mut [u8]) {
    let mut word = 0;
    for (index, byte) in out.iter_mut().enumerate() {
        let at = offset + index as u64;
        if index == 0 || at.is_multiple_of(8) {
            word = spread(seed ^ (at / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        let letter = (word >> (at % 8 * 8)) as u8;
        *byte = match word % 4 {
            0 if letter & 3 == 0 => b'\n',
            1 => (word >> 32) as u8,
            _ => letter,
        };
    }
}

/// What one connection has received, and the replies that it has coming.
///
/// ```text
///   requests ─▶ rx              replies   │ taken by the socket │ pending │
///                                         └──────── tx ─────────┘
/// ```
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Bytes that receives have handed out.
    pub(super) rx: u64,
    /// Those of them that came after our FIN.
    pub(super) discarded: u64,
    /// Reply bytes that the socket took.
    pub(super) tx: u64,
    reply: Vec<u8>,
    taken: usize,
    inside_line: bool,
}

impl Model {
    /// A receive handed out `bytes`, and their reply is owed from now on.
    pub(super) fn request(&mut self, framing: Framing, prefix: &[u8], bytes: &[u8]) {
        self.rx += bytes.len() as u64;
        match framing {
            Framing::Raw => self.reply.extend_from_slice(bytes),
            Framing::Chunk => {
                self.reply.extend_from_slice(prefix);
                self.reply.extend_from_slice(bytes);
            }
            Framing::Line => {
                for &byte in bytes {
                    if !self.inside_line {
                        self.reply.extend_from_slice(prefix);
                    }
                    self.reply.push(byte);
                    self.inside_line = byte != b'\n';
                }
            }
        }
    }

    /// A receive handed out `bytes` bytes that will not be answered.
    pub(super) fn discard(&mut self, bytes: u64) {
        self.rx += bytes;
        self.discarded += bytes;
    }

    /// What is owed next.
    pub(super) fn pending(&self) -> &[u8] {
        &self.reply[self.taken..]
    }

    /// The socket took the next `bytes` bytes.
    pub(super) fn took(&mut self, bytes: usize) {
        self.tx += bytes as u64;
        self.taken += bytes;
        if self.taken == self.reply.len() {
            self.reply.clear();
            self.taken = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_does_not_depend_on_how_it_is_cut() {
        let mut whole = [0; 100];
        say(3, 0, &mut whole);
        let mut pieces = [0; 100];
        for (start, end) in [(0, 1), (1, 13), (13, 16), (16, 100)] {
            say(3, start as u64, &mut pieces[start..end]);
        }
        assert_eq!(whole, pieces);
        assert!(whole.contains(&b'\n'));
    }

    #[test]
    fn replies_are_owed_until_they_are_taken() {
        let mut model = Model::default();
        model.request(Framing::Line, b">", b"a\n\nb");
        assert_eq!(model.pending(), b">a\n>\n>b");
        model.took(3);
        assert_eq!((model.pending(), model.tx), (&b">\n>b"[..], 3));
        model.took(4);
        model.request(Framing::Line, b">", b"c");
        assert_eq!((model.pending(), model.rx), (&b"c"[..], 5));
    }
}

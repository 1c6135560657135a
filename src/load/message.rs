//! The messages that are sent, and the check that each reply is exactly the expected one.
//!
//! ```text
//!   message   eaaaaaaa baaaaaaa abcdefghijklmnop…  \n
//!             └ turn ┘ └number┘ └─── filler ────┘   └ so that a line server answers as well
//!   reply     prefix message
//! ```
//!
//! Turn and number make every message of a run unique: a reply that belongs to another request or
//! to another connection is detected. They are written in sixteen letters, from one of two
//! alphabets: the one that does not contain the first byte of the prefix. A server that answers
//! each read puts its prefix into the middle of a long message that TCP has split; the prefix and
//! the message cannot be confused there.

/// The longest message, in bytes.
pub const SIZE_MAX: u32 = 1 << 20;

/// TCP never splits a message of this length: the smallest MSS that a host must accept (RFC 9293).
const UNCUT_BYTES: usize = 536;

/// Bytes of an encoded number, a letter for each four bits.
const STAMP: usize = 8;

/// The message, its place in the expected reply, and the rules for comparing.
pub(super) struct Script {
    /// The prefix and the message behind it.
    reply: Box<[u8]>,
    prefix: usize,
    /// `a` or `A`.
    alphabet: u8,
    /// Each message has its prefix, and has it in front: one request is in flight at a time.
    lonely: bool,
    /// The prefix may also stand inside a message.
    may_be_cut: bool,
}

/// How far a reply has been compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cursor {
    /// Bytes of the message so far.
    message: u32,
    /// Bytes of a prefix so far; `NO_PREFIX` outside one.
    prefix: u16,
    /// A prefix has just ended: another one cannot begin here.
    fresh: bool,
}

const NO_PREFIX: u16 = u16::MAX;

/// The result of comparing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// The reply is complete and right; it took this many of the bytes.
    Whole(usize),
    /// It is right so far.
    Part,
    /// It is wrong.
    Wrong,
}

impl Script {
    /// Messages of `size` bytes to a server that puts `prefix`, of 4,096 bytes at most, before its
    /// replies, with `depth` of them in flight.
    pub(super) fn new(size: u32, depth: u32, prefix: &[u8]) -> Script {
        let size = size.clamp(1, SIZE_MAX) as usize;
        let first = prefix.first().copied();
        let alphabet =
            if first.is_some_and(|byte| byte.is_ascii_lowercase()) { b'A' } else { b'a' };
        let end = if first == Some(b'\n') { alphabet } else { b'\n' };
        let mut reply = prefix.to_vec();
        reply.extend((0..size - 1).map(|index| alphabet + (index % 16) as u8));
        reply.push(end);
        Script {
            reply: reply.into_boxed_slice(),
            prefix: prefix.len(),
            alphabet,
            lonely: depth == 1,
            may_be_cut: depth > 1 || size > UNCUT_BYTES,
        }
    }

    /// The message of connection `number` on its `turn`, which has the last 32 bits of the turn.
    pub(super) fn message(&mut self, number: u32, turn: u64) -> &[u8] {
        self.stamp(number, turn);
        &self.reply[self.prefix..]
    }

    /// Where comparing begins. The first reply of a connection always has its prefix.
    pub(super) fn begin(&self, is_first: bool) -> Cursor {
        let prefix = if self.lonely || is_first { self.after_prefix(0) } else { NO_PREFIX };
        Cursor { message: 0, prefix, fresh: prefix == NO_PREFIX && self.lonely }
    }

    /// Compares what arrived with the expected reply.
    pub(super) fn check(
        &mut self,
        (number, turn): (u32, u64),
        cursor: &mut Cursor,
        bytes: &[u8],
    ) -> Heard {
        self.stamp(number, turn);
        let begins = cursor.message == 0 && (cursor.prefix == 0 || self.prefix == 0);
        if begins && bytes.starts_with(&self.reply) {
            return Heard::Whole(self.reply.len());
        }
        self.check_slowly(cursor, bytes)
    }

    /// The same, for a reply that arrives in pieces or has its prefix elsewhere.
    fn check_slowly(&self, cursor: &mut Cursor, bytes: &[u8]) -> Heard {
        let (prefix, message) = self.reply.split_at(self.prefix);
        let mut rest = bytes;
        loop {
            if cursor.prefix != NO_PREFIX {
                let due = &prefix[cursor.prefix as usize..];
                let same = same_bytes(rest, due);
                rest = &rest[same..];
                cursor.prefix = self.after_prefix(cursor.prefix as usize + same);
                cursor.fresh = cursor.prefix == NO_PREFIX;
                match (cursor.fresh, rest.is_empty()) {
                    (true, _) => {}
                    (false, true) => return Heard::Part,
                    (false, false) => return Heard::Wrong,
                }
            }
            let same = same_bytes(rest, &message[cursor.message as usize..]);
            rest = &rest[same..];
            cursor.message += same as u32;
            cursor.fresh &= same == 0;
            if cursor.message as usize == message.len() {
                return Heard::Whole(bytes.len() - rest.len());
            }
            match rest.first() {
                None => return Heard::Part,
                Some(byte) if self.may_be_cut && !cursor.fresh && prefix.first() == Some(byte) => {
                    cursor.prefix = 0;
                }
                Some(_) => return Heard::Wrong,
            }
        }
    }

    /// The position in the prefix after `bytes` of it; none if that was all.
    fn after_prefix(&self, bytes: usize) -> u16 {
        if bytes == self.prefix { NO_PREFIX } else { bytes as u16 }
    }

    fn stamp(&mut self, number: u32, turn: u64) {
        let end = self.reply.len() - 1;
        let stamps = [letters(turn as u32, self.alphabet), letters(number, self.alphabet)];
        let room = &mut self.reply[self.prefix..end];
        match room.get_mut(..2 * STAMP) {
            Some(room) => {
                room[..STAMP].copy_from_slice(&stamps[0]);
                room[STAMP..].copy_from_slice(&stamps[1]);
            }
            None => {
                for (byte, letter) in room.iter_mut().zip(stamps.as_flattened()) {
                    *byte = *letter;
                }
            }
        }
    }
}

/// A number in sixteen letters, the lowest four bits first.
fn letters(number: u32, alphabet: u8) -> [u8; STAMP] {
    // Spreads the eight half bytes over eight bytes, all at once.
    let mut spread = u64::from(number);
    spread = (spread | spread << 16) & 0x0000_FFFF_0000_FFFF;
    spread = (spread | spread << 8) & 0x00FF_00FF_00FF_00FF;
    spread = (spread | spread << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    (spread + u64::from(alphabet) * 0x0101_0101_0101_0101).to_le_bytes()
}

/// The length of the common beginning of the two, in bytes.
fn same_bytes(one: &[u8], other: &[u8]) -> usize {
    let both = one.len().min(other.len());
    if one[..both] == other[..both] {
        return both;
    }
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests;

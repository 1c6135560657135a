//! What a client of the exercise sends, and the comparison of the echo with it, byte by byte.
//!
//! ```text
//!   sent      abcd…p\n  eabb…c\n  …         lines of 64 bytes, one stream for each connection
//!   received  greeting prefix abcd… prefix …\n
//! ```
//!
//! The server may send a greeting once, and a prefix before each piece that it echoes. Where a
//! piece begins is the server's business and TCP's, so no byte of a message is equal to the first
//! byte of the prefix: a prefix is recognised wherever it stands.

use std::sync::Arc;

/// A message is a whole number of lines, so that a server that answers lines answers it as well.
pub(super) const LINE_BYTES: usize = 64;

/// Lines until the stream repeats itself: a prime, so that a piece that is lost or doubled shows.
const LINES: usize = 1021;

/// What the server sends besides the echo.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Lead {
    /// Once, before the first reply.
    pub(super) greeting: Vec<u8>,
    /// Before each piece.
    pub(super) prefix: Vec<u8>,
}

impl Lead {
    /// Learns it from the first two replies of a connection, which end with their messages. `None`
    /// if what stands before the messages is not the same.
    pub(super) fn learnt(first: &[u8], second: &[u8]) -> Option<Lead> {
        let greeting = first.strip_suffix(second)?;
        Some(Lead { greeting: greeting.to_vec(), prefix: second.to_vec() })
    }
}

/// An endless stream of bytes to send.
#[derive(Clone, Debug)]
pub(super) struct Script(Arc<[u8]>);

impl Script {
    /// Letters in lines.
    pub(super) fn text(prefix: &[u8]) -> Script {
        let first = prefix.first().copied();
        let is_small = first.is_some_and(|byte| byte.is_ascii_lowercase());
        let alphabet = if is_small { b'A' } else { b'a' };
        Script::of(first, |random| alphabet + (random % 16) as u8)
    }

    /// All bytes there are, but for the first one of the prefix.
    pub(super) fn binary(prefix: &[u8]) -> Script {
        let first = prefix.first().copied();
        // 0 is the byte on which servers that work with C strings fail.
        let instead = if first == Some(0) { 255 } else { 0 };
        Script::of(first, |random| {
            let byte = (random >> 8) as u8;
            if Some(byte) == first { instead } else { byte }
        })
    }

    fn of(first: Option<u8>, letter: impl Fn(u32) -> u8) -> Script {
        let mut random: u32 = 2_463_534_242;
        let bytes = (0..LINES * LINE_BYTES).map(|at| {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            let is_end = at % LINE_BYTES == LINE_BYTES - 1 && first != Some(b'\n');
            if is_end { b'\n' } else { letter(random) }
        });
        Script(bytes.collect())
    }

    /// The bytes from `at` on, as many as lie together.
    pub(super) fn from(&self, at: u64) -> &[u8] {
        &self.0[(at % self.0.len() as u64) as usize..]
    }

    fn byte(&self, at: u64) -> u8 {
        self.from(at)[0]
    }
}

/// A byte that is not the one that had to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wrong {
    /// Bytes of the messages that were right before it.
    pub(super) behind: u64,
}

/// How far the echo on one connection has been compared.
#[derive(Clone, Debug)]
pub(super) struct Check {
    lead: Lead,
    greeted: usize,
    /// Bytes of a prefix so far, inside of one.
    in_prefix: Option<usize>,
    /// A prefix has just ended: another one cannot begin.
    is_fresh: bool,
    /// Bytes of the messages that came back.
    at: u64,
}

impl Check {
    pub(super) fn new(lead: Lead) -> Check {
        Check { lead, greeted: 0, in_prefix: None, is_fresh: false, at: 0 }
    }

    /// Bytes of the messages that came back.
    pub(super) fn came(&self) -> u64 {
        self.at
    }

    /// Whether the echo of `sent` bytes is here, and no part of anything else.
    pub(super) fn is_whole(&self, sent: u64) -> bool {
        let has_greeting = self.greeted == self.lead.greeting.len();
        self.at == sent && self.in_prefix.is_none() && has_greeting
    }

    /// Compares what came with the echo of the first `sent` bytes of `script`.
    ///
    /// # Errors
    /// A byte is wrong.
    pub(super) fn takes(&mut self, script: &Script, sent: u64, bytes: &[u8]) -> Result<(), Wrong> {
        bytes.iter().try_for_each(|&byte| self.takes_byte(script, sent, byte))
    }

    fn takes_byte(&mut self, script: &Script, sent: u64, byte: u8) -> Result<(), Wrong> {
        let Lead { greeting, prefix } = &self.lead;
        if let Some(&due) = greeting.get(self.greeted) {
            self.greeted += 1;
            return self.is_due(byte == due);
        }
        if let Some(at) = self.in_prefix {
            let is_right = byte == prefix[at];
            self.enters_prefix(at + 1);
            return self.is_due(is_right);
        }
        if !self.is_fresh && prefix.first() == Some(&byte) {
            self.enters_prefix(1);
            return Ok(());
        }
        let is_right = self.at < sent && byte == script.byte(self.at);
        self.is_due(is_right)?;
        self.at += 1;
        self.is_fresh = false;
        Ok(())
    }

    /// The first `bytes` bytes of a prefix are here.
    fn enters_prefix(&mut self, bytes: usize) {
        self.is_fresh = bytes == self.lead.prefix.len();
        self.in_prefix = (!self.is_fresh).then_some(bytes);
    }

    fn is_due(&self, is_right: bool) -> Result<(), Wrong> {
        if is_right { Ok(()) } else { Err(Wrong { behind: self.at }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server with this lead gives for the first `sent` bytes, in pieces of `piece` bytes.
    fn echo(lead: &Lead, script: &Script, sent: u64, piece: usize) -> Vec<u8> {
        let bytes: Vec<u8> = (0..sent).map(|at| script.byte(at)).collect();
        let mut reply = lead.greeting.clone();
        for piece in bytes.chunks(piece) {
            reply.extend_from_slice(&lead.prefix);
            reply.extend_from_slice(piece);
        }
        reply
    }

    fn leads() -> [Lead; 5] {
        let lead = |greeting: &str, prefix: &str| Lead {
            greeting: greeting.into(),
            prefix: prefix.into(),
        };
        [
            lead("", ""),
            lead("", "from server back[rust]:"),
            lead("220 welcome\r\n", ""),
            lead("hello ", "Server:"),
            lead("", "\n"),
        ]
    }

    #[test]
    fn an_echo_is_whole_with_its_last_byte_wherever_the_prefix_stands() {
        for lead in leads() {
            for script in [Script::text(&lead.prefix), Script::binary(&lead.prefix)] {
                for piece in [1, 7, 64, 1000] {
                    let reply = echo(&lead, &script, 300, piece);
                    let mut check = Check::new(lead.clone());
                    for byte in &reply {
                        assert!(!check.is_whole(300), "{lead:?} {piece}");
                        assert_eq!(check.takes(&script, 300, &[*byte]), Ok(()), "{lead:?} {piece}");
                    }
                    assert!(check.is_whole(300), "{lead:?} {piece}");
                }
            }
        }
    }

    #[test]
    fn a_byte_that_is_lost_changed_or_one_too_many_is_found() {
        for lead in leads() {
            let script = Script::text(&lead.prefix);
            let reply = echo(&lead, &script, 300, 64);
            let result = |reply: &[u8]| {
                let mut check = Check::new(lead.clone());
                check.takes(&script, 300, reply).is_ok() && check.is_whole(300)
            };
            for at in 0..reply.len() {
                // A server need not send its prefix before each piece.
                let is_prefix = lead.prefix == [reply[at]];
                let lost = [&reply[..at], &reply[at + 1..]].concat();
                assert_eq!(result(&lost), is_prefix, "{lead:?}, without {at}");
                let mut changed = reply.clone();
                changed[at] ^= 0x80;
                assert!(!result(&changed), "{lead:?}, {at} changed");
            }
            assert!(!result(&[&reply[..], b"?"].concat()), "{lead:?}, one too many");
        }
    }

    #[test]
    fn binary_messages_have_zeros_and_no_message_begins_like_the_prefix() {
        for lead in leads() {
            let first = lead.prefix.first();
            let binary = Script::binary(&lead.prefix);
            assert!(binary.from(0)[..512].contains(&0), "{lead:?}");
            for script in [binary, Script::text(&lead.prefix)] {
                assert!(script.from(0).iter().all(|byte| Some(byte) != first), "{lead:?}");
                let end = script.byte(LINE_BYTES as u64 - 1);
                assert!(end == b'\n' || first == Some(&b'\n'), "{lead:?}");
            }
        }
    }

    #[test]
    fn a_lead_is_learnt_from_two_replies() {
        let learnt = |first: &str, second: &str| Lead::learnt(first.as_bytes(), second.as_bytes());
        let lead = |greeting: &str, prefix: &str| {
            Some(Lead { greeting: greeting.into(), prefix: prefix.into() })
        };
        assert_eq!(learnt("", ""), lead("", ""));
        assert_eq!(learnt("back:", "back:"), lead("", "back:"));
        assert_eq!(learnt("hello\nback:", "back:"), lead("hello\n", "back:"));
        assert_eq!(learnt("1:", "2:"), None);
    }
}

//! Replies: from the bytes of a read to the bytes of its reply.
//!
//! One buffer serves all connections, and contains the prefix already:
//!
//! ```text
//!   ┌─────────────────────────┬────────────────────────────────────┐
//!   │ from server back[rust]: │ Hi,here is glp ·····················│
//!   └─────────────────────────┴────────────────────────────────────┘
//!   ▲                         ▲ a read fills the space from here
//!   └ a reply is sent from here: one system call, no copy
//! ```
//!
//! Only `line` copies, because a prefix goes between the lines of one read.

use std::fmt;

/// The unit of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Framing {
    /// One reply for each read: the prefix, then what was read. The prefixes appear where TCP
    /// splits the stream.
    #[default]
    Chunk,
    /// The prefix is sent with the first byte of each line, then the line as it arrives. However
    /// TCP splits the stream, the reply is the same. A lone newline and an unterminated tail are
    /// lines.
    Line,
    /// The bytes and nothing else: RFC 862.
    Raw,
}

impl Framing {
    /// The longest possible reply, in bytes, with a prefix and a read buffer of these lengths: the
    /// most output that one connection may have.
    ///
    /// ```
    /// # use closecall::machine::reply::Framing;
    /// assert_eq!(Framing::Chunk.reply_bytes_max(23, 65_536), 65_559);
    /// ```
    pub fn reply_bytes_max(self, prefix_bytes: usize, read_buffer_bytes: usize) -> usize {
        self.reply_bytes(prefix_bytes, self.read_bytes_max(prefix_bytes, read_buffer_bytes))
    }

    /// The longest reply to the shortest read, in bytes: the most output that one connection may
    /// have when output memory is short. Arguments as for
    /// [`reply_bytes_max`](Self::reply_bytes_max).
    pub fn reply_bytes_min(self, prefix_bytes: usize, read_buffer_bytes: usize) -> usize {
        let read_bytes_max = self.read_bytes_max(prefix_bytes, read_buffer_bytes);
        self.reply_bytes(prefix_bytes, self.read_bytes_floor(prefix_bytes).min(read_bytes_max))
    }

    /// The longest read: in `line` one whose reply fits the buffer, even if each byte is a line.
    fn read_bytes_max(self, prefix_bytes: usize, read_buffer_bytes: usize) -> usize {
        match self {
            Framing::Chunk | Framing::Raw => read_buffer_bytes.max(1),
            Framing::Line => (read_buffer_bytes / (prefix_bytes + 1)).max(1),
        }
    }

    /// The longest read that is allowed even when output memory is short.
    fn read_bytes_floor(self, prefix_bytes: usize) -> usize {
        match self {
            Framing::Chunk | Framing::Raw => READ_BYTES_MIN,
            Framing::Line => (READ_BYTES_MIN / (prefix_bytes + 1)).max(1),
        }
    }

    /// The longest reply to a read of `read_bytes`.
    fn reply_bytes(self, prefix_bytes: usize, read_bytes: usize) -> usize {
        match self {
            Framing::Chunk => prefix_bytes + read_bytes,
            Framing::Line => read_bytes * (prefix_bytes + 1),
            Framing::Raw => read_bytes,
        }
    }
}

/// The longest prefix that is accepted, in bytes.
pub const PREFIX_BYTES_MAX: usize = 4096;

/// The longest read buffer that is accepted, in bytes: 16 MiB.
pub const READ_BUFFER_BYTES_MAX: usize = 16 << 20;

/// Even when output memory is short, a read may take this much, in bytes, if the buffer and the
/// framing allow it: with less, a server would spend its time on calls.
pub const READ_BYTES_MIN: usize = 256;

/// The shared read buffer and the framing of replies.
///
/// Read into [`space`](Self::space), then take the [`reply`](Self::reply) to the bytes that were
/// read.
///
/// ```
/// use closecall::machine::reply::{Framing, Replier};
///
/// let mut replier = Replier::new(Framing::Chunk, b"back:", 1024);
/// replier.space()[..2].copy_from_slice(b"Hi");
/// assert_eq!(replier.reply(2, &mut false), b"back:Hi");
/// ```
pub struct Replier {
    framing: Framing,
    prefix_bytes: usize,
    /// The prefix, then the space.
    buffer: Box<[u8]>,
    /// Replies of `line`, which are built by copying. Empty in the other framings.
    lines: Vec<u8>,
    /// How much of the space one read may fill.
    read_bytes: usize,
}

impl fmt::Debug for Replier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replier")
            .field("framing", &self.framing)
            .field("prefix_bytes", &self.prefix_bytes)
            .field("read_bytes", &self.read_bytes)
            .finish_non_exhaustive()
    }
}

impl Replier {
    /// A replier that puts `prefix` before each reply and reads at most `read_buffer_bytes` at once
    /// (0 counts as 1).
    ///
    /// In `line` a read takes only as much as has a reply of at most one buffer, even if each byte
    /// is a line of its own.
    pub fn new(framing: Framing, prefix: &[u8], read_buffer_bytes: usize) -> Replier {
        let space_bytes = read_buffer_bytes.max(1);
        let mut buffer = vec![0; prefix.len() + space_bytes];
        buffer[..prefix.len()].copy_from_slice(prefix);
        let read_bytes = framing.read_bytes_max(prefix.len(), space_bytes);
        let lines_bytes = match framing {
            Framing::Chunk | Framing::Raw => 0,
            Framing::Line => framing.reply_bytes(prefix.len(), read_bytes),
        };
        Replier {
            framing,
            prefix_bytes: prefix.len(),
            buffer: buffer.into_boxed_slice(),
            lines: Vec::with_capacity(lines_bytes),
            read_bytes,
        }
    }

    /// The space of the next read, if it may take as much as fits.
    pub fn space(&mut self) -> &mut [u8] {
        self.space_within(u64::MAX, usize::MAX)
    }

    /// The space of the next read: at most `read_bytes`, and less if the reply could be longer than
    /// `reply_bytes`. One byte at least, or [`READ_BYTES_MIN`] if that fits.
    pub fn space_within(&mut self, read_bytes: u64, reply_bytes: usize) -> &mut [u8] {
        let for_reply = match self.framing {
            Framing::Raw => reply_bytes,
            Framing::Chunk => reply_bytes.saturating_sub(self.prefix_bytes),
            Framing::Line => reply_bytes / (self.prefix_bytes + 1),
        };
        let floor = self.framing.read_bytes_floor(self.prefix_bytes);
        let wanted = usize::try_from(read_bytes).unwrap_or(usize::MAX).min(for_reply.max(floor));
        let bytes = wanted.clamp(1, self.read_bytes);
        &mut self.buffer[self.prefix_bytes..][..bytes]
    }

    /// The first `bytes` bytes of the last read.
    pub fn request(&self, bytes: usize) -> &[u8] {
        &self.buffer[self.prefix_bytes..][..bytes]
    }

    /// The reply to the first `bytes` bytes of the space.
    /// `inside_line` is the connection's position in its stream, which this updates: whether the
    /// last byte before these belonged to an unfinished line. Only `line` uses it.
    /// last byte before these belonged to a line that goes on. Only `line` looks at it.
    pub fn reply(&mut self, bytes: usize, inside_line: &mut bool) -> &[u8] {
        let end = self.prefix_bytes + bytes;
        match self.framing {
            Framing::Chunk => &self.buffer[..end],
            Framing::Raw => &self.buffer[self.prefix_bytes..end],
            Framing::Line => {
                let (prefix, request) = self.buffer[..end].split_at(self.prefix_bytes);
                self.lines.clear();
                for piece in request.split_inclusive(|&byte| byte == b'\n') {
                    if !*inside_line {
                        self.lines.extend_from_slice(prefix);
                    }
                    self.lines.extend_from_slice(piece);
                    *inside_line = piece.last() != Some(&b'\n');
                }
                &self.lines
            }
        }
    }

    /// The longest possible reply, in bytes: the most output that one connection may have.
    pub fn reply_bytes_max(&self) -> usize {
        match self.framing {
            Framing::Chunk => self.buffer.len(),
            Framing::Line => self.lines.capacity(),
            Framing::Raw => self.read_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &[u8] = b"from server back[rust]:";

    /// Passes the pieces as separate reads and returns the whole reply stream.
    fn echo(framing: Framing, pieces: &[&str]) -> String {
        let mut replier = Replier::new(framing, PREFIX, 65536);
        let mut inside_line = false;
        let mut out = Vec::new();
        for piece in pieces {
            replier.space()[..piece.len()].copy_from_slice(piece.as_bytes());
            out.extend_from_slice(replier.reply(piece.len(), &mut inside_line));
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_article_s_message_has_a_reply_of_37_bytes() {
        let reply = echo(Framing::Chunk, &["Hi,here is glp"]);
        assert_eq!((reply.as_str(), reply.len()), ("from server back[rust]:Hi,here is glp", 37));
    }

    #[test]
    fn chunk_answers_each_read() {
        let reply = echo(Framing::Chunk, &["a", "b\nc"]);
        assert_eq!(reply, "from server back[rust]:afrom server back[rust]:b\nc");
    }

    #[test]
    fn raw_gives_back_what_came() {
        assert_eq!(echo(Framing::Raw, &["a", "b\n", "c"]), "ab\nc");
    }

    #[test]
    fn line_does_not_care_where_the_stream_was_cut() {
        let whole = echo(Framing::Line, &["one\n\ntwo\ntail"]);
        assert_eq!(whole, echo(Framing::Line, &["o", "ne\n", "\nt", "wo", "\n", "ta", "il"]));
        let expected = ["one\n", "\n", "two\n", "tail"];
        assert_eq!(whole, expected.map(|line| format!("from server back[rust]:{line}")).concat());
    }

    /// For the log: what came, without the prefix that lies before it.
    #[test]
    fn the_request_is_what_was_read() {
        let mut replier = Replier::new(Framing::Chunk, PREFIX, 16);
        replier.space()[..5].copy_from_slice(b"a\nbcd");
        assert_eq!(replier.request(4), b"a\nbc");
    }

    #[test]
    fn the_longest_prefix_and_buffer_are_what_the_manual_says() {
        assert_eq!((PREFIX_BYTES_MAX, READ_BUFFER_BYTES_MAX), (4_096, 16 * 1024 * 1024));
    }

    /// When output memory is short, reads shrink until their replies fit, and never to nothing.
    ///
    /// Regression: in `line` with a read buffer of 512 bytes and a prefix of 63 the shortest reply
    /// was given as 71 bytes, and 256 were made.
    #[test]
    fn a_read_can_be_kept_so_small_that_its_reply_fits() {
        let framings = [Framing::Chunk, Framing::Line, Framing::Raw];
        let prefixes = [0, PREFIX.len(), 63, 300, PREFIX_BYTES_MAX];
        for (framing, prefix_bytes) in framings.into_iter().flat_map(|f| prefixes.map(|p| (f, p))) {
            for buffer_bytes in [65_536, 512, 100, 3] {
                let mut replier = Replier::new(framing, &vec![b'p'; prefix_bytes], buffer_bytes);
                let min = framing.reply_bytes_min(prefix_bytes, buffer_bytes);
                for allowed in [65_536, 10_000, 1_000, 300, 10, 0] {
                    let space = replier.space_within(u64::MAX, allowed);
                    space.fill(b'\n');
                    let bytes = space.len();
                    let reply_bytes = replier.reply(bytes, &mut false).len();
                    assert!(
                        bytes >= 1 && reply_bytes <= allowed.max(min),
                        "{framing:?}, {prefix_bytes}, {buffer_bytes}, {allowed}: {reply_bytes}"
                    );
                }
            }
        }
        let mut replier = Replier::new(Framing::Chunk, PREFIX, 65_536);
        assert_eq!(replier.space_within(3, usize::MAX).len(), 3, "no more than is answered");
    }

    /// What a configuration promises about replies is what a replier does.
    #[test]
    fn the_longest_reply_is_known_without_a_replier() {
        for framing in [Framing::Chunk, Framing::Line, Framing::Raw] {
            for (prefix, buffer_bytes) in [(PREFIX, 65_536), (PREFIX, 1), (b"".as_slice(), 0)] {
                let mut replier = Replier::new(framing, prefix, buffer_bytes);
                replier.space().fill(b'\n');
                let bytes = replier.space().len();
                let longest = replier.reply(bytes, &mut false).len();
                let told = framing.reply_bytes_max(prefix.len(), buffer_bytes);
                assert_eq!((told, replier.reply_bytes_max()), (longest, longest), "{framing:?}");
            }
        }
    }

    #[test]
    fn a_reply_of_lines_fits_one_buffer() {
        let mut replier = Replier::new(Framing::Line, PREFIX, 1000);
        let bytes = replier.space().len();
        replier.space().fill(b'\n');
        let reply_bytes = replier.reply(bytes, &mut false).len();
        assert!(reply_bytes <= 1000 && reply_bytes == replier.reply_bytes_max());
        assert_eq!(Replier::new(Framing::Line, PREFIX, 1).space().len(), 1);
    }
}

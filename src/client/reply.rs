//! Check whether a reply is complete, whatever prefix the server puts before its echo, and how
//! often.

use std::io::{self, ErrorKind};

use super::ServerEnd;

/// The longest prefix of each piece.
const PREFIX_BYTES_MAX: usize = 4096;

/// Whether `received` is exactly `sent`, or ends with all of it, or is `sent` in pieces with the
/// same prefix before each.
pub(super) fn is_whole(sent: &[u8], received: &[u8]) -> bool {
    let Some(more) = received.len().checked_sub(sent.len()) else { return false };
    // Prefixes all have one length, so the length divides the excess.
    let mut lengths =
        (1..=more.min(PREFIX_BYTES_MAX)).filter(|length| more.is_multiple_of(*length));
    received.ends_with(sent) || lengths.any(|length| is_woven(sent, received, length))
}

/// Whether `received` is pieces of `sent`, each with its first `length` bytes before it.
fn is_woven(sent: &[u8], received: &[u8], length: usize) -> bool {
    let (prefix, mut rest) = received.split_at(length);
    let mut sent = sent.iter();
    loop {
        rest = match (rest.strip_prefix(prefix), rest.split_first()) {
            (Some(behind), _) => behind,
            (None, Some((first, behind))) if sent.next() == Some(first) => behind,
            (None, Some(_)) => return false,
            (None, None) => return sent.next().is_none(),
        }
    }
}

/// The reply will never be complete.
pub(super) fn early(end: ServerEnd) -> io::Error {
    io::Error::other(match end {
        ServerEnd::Fin => "the server closed early",
        ServerEnd::Reset => "the server reset the connection early",
    })
}

/// Why the reply is incomplete, if some bytes arrived.
pub(super) fn but_not_whole(error: io::Error, here: usize) -> io::Error {
    match (here, error.kind()) {
        (0, _) => error,
        (_, ErrorKind::TimedOut) => {
            io::Error::other(format!("{here} bytes arrived, which are not the complete echo"))
        }
        _ => {
            io::Error::other(format!("{error}, after {here} bytes that are not the complete echo"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn a_reply_is_whole_with_its_last_byte_and_not_before() {
        for (sent, received) in [
            ("Hi", "Hi"),
            ("Hi", "from server back:Hi"),
            ("HiHi", "p:Hip:Hi"), // one reply each
            ("HiHi", "p:HiHi"),   // one for both
            ("HiHi", "p:Hp:iHi"), // cut anywhere
            ("Hi", "p:Hp:i"),     // and everywhere
            ("one\ntwo", "p:one\np:two"),
            ("p:x", "p:p:x"), // the message looks like the prefix
            ("aa", "banana:abanana:a"),
            ("a\n\nb\n", "[a\n[\n[b\n"),
        ] {
            for end in 0..received.len() {
                let part = &received.as_bytes()[..end];
                assert!(!is_whole(sent.as_bytes(), part), "{sent:?} in {received:?} at {end}");
            }
            assert!(is_whole(sent.as_bytes(), received.as_bytes()), "{sent:?} in {received:?}");
        }
    }

    #[test]
    fn other_bytes_are_no_reply() {
        for received in ["", "no", "HTTP/1.1 400 Bad Request\r\n\r\n", "Hi there", "p:H:pi"] {
            assert!(!is_whole(b"Hi", received.as_bytes()), "{received:?}");
        }
    }
}

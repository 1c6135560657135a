//! Replies split at every position, and replies with every byte changed.

use super::*;

const PREFIX: &[u8] = b"from server back[rust]:";
const NUMBERS: (u32, u64) = (7, 0x0123_4567);

/// The expected reply, and its script.
fn script(size: u32, depth: u32, prefix: &[u8]) -> (Script, Vec<u8>) {
    let mut script = Script::new(size, depth, prefix);
    let message = script.message(NUMBERS.0, NUMBERS.1).to_vec();
    (script, [prefix, &message].concat())
}

/// Passes pieces until the result is not a part.
fn feed(script: &mut Script, pieces: &[&[u8]]) -> Heard {
    let mut cursor = script.begin(true);
    let mut heard = Heard::Part;
    for piece in pieces {
        heard = script.check(NUMBERS, &mut cursor, piece);
        if heard != Heard::Part {
            break;
        }
    }
    heard
}

#[test]
fn a_right_reply_is_right_in_every_cut_and_wrong_with_any_byte_changed() {
    for prefix in [PREFIX, b"", b"\n", b"A"] {
        for size in [1, 2, 9, 16, 17, 18, 64] {
            let (mut script, reply) = script(size, 1, prefix);
            assert_eq!(feed(&mut script, &[&reply]), Heard::Whole(reply.len()));
            for cut in 1..reply.len() {
                let pieces = [&reply[..cut], &reply[cut..]];
                assert_eq!(feed(&mut script, &pieces), Heard::Whole(reply.len() - cut));
                assert_eq!(feed(&mut script, &pieces[..1]), Heard::Part);
            }
            for index in 0..reply.len() {
                let mut wrong = reply.clone();
                wrong[index] ^= 0x80;
                assert_eq!(feed(&mut script, &[&wrong]), Heard::Wrong, "byte {index} of {size}");
            }
        }
    }
}

#[test]
fn a_reply_to_another_request_or_connection_is_wrong() {
    let (mut script, reply) = script(64, 1, PREFIX);
    for numbers in [(8, NUMBERS.1), (7, NUMBERS.1 + 1), (7 << 28, NUMBERS.1)] {
        let mut cursor = script.begin(true);
        assert_eq!(script.check(numbers, &mut cursor, &reply), Heard::Wrong, "{numbers:?}");
    }
}

#[test]
fn a_long_message_may_have_been_cut_on_its_way_and_a_short_one_not() {
    for (size, depth, right) in [(2000, 1, true), (64, 4, true), (64, 1, false)] {
        let (mut script, reply) = script(size, depth, PREFIX);
        let at = PREFIX.len() + 30;
        let cut = [&reply[..at], PREFIX, &reply[at..]].concat();
        assert_eq!(feed(&mut script, &[&cut]) == Heard::Whole(cut.len()), right, "{size} {depth}");
        let twice = [&reply[..at], PREFIX, PREFIX, &reply[at..]].concat();
        assert_eq!(feed(&mut script, &[&twice]), Heard::Wrong, "no read gives nothing");
        assert_eq!(feed(&mut script, &[&reply[PREFIX.len()..]]), Heard::Wrong, "no prefix at all");
    }
}

#[test]
fn replies_that_were_read_together_have_one_prefix() {
    let (mut script, _) = script(64, 2, PREFIX);
    let one = script.message(1, 1).to_vec();
    let two = script.message(1, 2).to_vec();
    let stream = [PREFIX, &one, &two].concat();
    let mut cursor = script.begin(true);
    let Heard::Whole(used) = script.check((1, 1), &mut cursor, &stream) else { panic!() };
    let mut cursor = script.begin(false);
    let heard = script.check((1, 2), &mut cursor, &stream[used..]);
    assert_eq!((used + two.len(), heard), (stream.len(), Heard::Whole(two.len())));
}

#[test]
fn message_and_prefix_share_no_alphabet() {
    for prefix in [&b"abc"[..], b"ABC", b"\n", b"", b"{"] {
        let mut script = Script::new(2000, 1, prefix);
        let message = script.message(u32::MAX, 0x89AB_CDEF).to_vec();
        assert!(prefix.first().is_none_or(|first| !message.contains(first)), "{prefix:?}");
        assert_eq!(message.len(), 2000);
    }
}

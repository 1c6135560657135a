//! A fuzzer's bytes spell a framing, a prefix, a stream and where it is cut; the replies together
//! are those that follow from the whole stream.

use closecall::machine::reply::{Framing, Replier};
use closecall::simulation::Choices;

/// The first bytes spell the choices, the others are the prefix and the stream.
const CHOICES_BYTES: usize = 32;

pub(crate) fn run(bytes: &[u8]) {
    let (choices, bytes) = bytes.split_at(bytes.len().min(CHOICES_BYTES));
    let mut choices = Choices::from_bytes(choices);
    let framing = choices.pick(&[Framing::Chunk, Framing::Line, Framing::Raw]);
    let read_buffer_bytes = choices.magnitude(0, 4096) as usize;
    let prefix_bytes = choices.magnitude(0, 64) as usize;
    let (prefix, stream) = bytes.split_at(bytes.len().min(prefix_bytes));

    let mut replier = Replier::new(framing, prefix, read_buffer_bytes);
    let reply_bytes_max = replier.reply_bytes_max();
    let (mut inside_line, mut rest) = (false, stream);
    let (mut pieces, mut replies) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let space = replier.space();
        // Choices that have run out cut the rest byte by byte.
        let cut = choices.magnitude(1, space.len().min(rest.len()) as u64) as usize;
        let (piece, later) = rest.split_at(cut);
        space[..cut].copy_from_slice(piece);
        assert_eq!(replier.request(cut), piece);
        let reply = replier.reply(cut, &mut inside_line);
        assert!(reply.len() <= reply_bytes_max, "{} bytes are too many", reply.len());
        replies.extend_from_slice(reply);
        pieces.push(piece);
        rest = later;
    }
    assert_eq!(replies, naive(framing, prefix, &pieces), "{framing:?} of {pieces:?}");
    assert_eq!(replier.reply_bytes_max(), reply_bytes_max, "it has grown");
}

/// Only `chunk` looks at where the stream was cut.
fn naive(framing: Framing, prefix: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
    let stream = pieces.concat();
    match framing {
        Framing::Chunk => pieces.iter().flat_map(|piece| [prefix, piece].concat()).collect(),
        Framing::Line => stream
            .split_inclusive(|&byte| byte == b'\n')
            .flat_map(|line| [prefix, line].concat())
            .collect(),
        Framing::Raw => stream,
    }
}

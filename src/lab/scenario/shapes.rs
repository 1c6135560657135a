//! Expected packets of the scenarios, most of which share a few shapes.

use crate::lab::capture::{Bytes, End, Expectation, First};

/// The article's message and its reply.
const REQUEST: Bytes = Bytes::Exactly(14);
const TWO_REQUESTS: Bytes = Bytes::Exactly(28);
const REPLY: Bytes = Bytes::Exactly(37);
const TWO_REPLIES: Bytes = Bytes::Exactly(74);
const NOTHING: Bytes = Bytes::Exactly(0);
/// Less than full buffers, and more than any message.
const MANY: Bytes = Bytes::AtLeast(1 << 16);
/// The content of a full receive buffer: if the buffer is small, only a few replies.
const SOME: Bytes = Bytes::AtLeast(1);

/// These bytes and a FIN.
const fn fin(bytes: Bytes) -> End {
    End { fin: Some(true), rst: Some(false), bytes }
}

/// These bytes and a reset; no FIN went before it.
const fn rst(bytes: Bytes) -> End {
    End { fin: Some(false), rst: Some(true), bytes }
}

/// These bytes, a FIN, and then a reset.
const fn fin_rst(bytes: Bytes) -> End {
    End { fin: Some(true), rst: Some(true), bytes }
}

/// These bytes and no end, because the other side ended the connection first.
const fn open(bytes: Bytes) -> End {
    End { fin: Some(false), rst: Some(false), bytes }
}

const fn shape(client: End, server: End, first: Option<First>) -> Expectation {
    Expectation { client, server, first }
}

const FIN: Option<First> = Some(First::Fin);
const ANSWER: Option<First> = Some(First::Reply);

pub(super) const ORDERLY: Expectation = shape(fin(REQUEST), fin(REPLY), ANSWER);
pub(super) const ORDERLY_AND_SILENT: Expectation = shape(fin(NOTHING), fin(NOTHING), None);
pub(super) const SERVED_BEHIND_FIN: Expectation = shape(fin(REQUEST), fin(REPLY), FIN);
pub(super) const REFUSED_REPLY: Expectation = shape(fin_rst(REQUEST), open(REPLY), FIN);
pub(super) const REFUSED_REPLY_OF_TWO: Expectation = shape(fin_rst(TWO_REQUESTS), open(REPLY), FIN);
pub(super) const DISCARDED: Expectation = shape(fin_rst(TWO_REQUESTS), open(TWO_REPLIES), FIN);
pub(super) const RESET_BEHIND_REPLY: Expectation = shape(rst(REQUEST), open(REPLY), ANSWER);
pub(super) const RESET_BEHIND_OUR_FIN: Expectation = shape(rst(REQUEST), fin(REPLY), ANSWER);
pub(super) const RESET_BEHIND_REQUEST: Expectation = shape(rst(REQUEST), open(NOTHING), None);
pub(super) const RESET_AND_SILENT: Expectation = shape(rst(NOTHING), open(NOTHING), None);
pub(super) const FULL_AND_ORDERLY: Expectation = shape(fin(MANY), fin(MANY), ANSWER);
pub(super) const FULL_AND_RESET: Expectation = shape(rst(MANY), open(SOME), ANSWER);
/// The server resets.
pub(super) const FULL_AND_GIVEN_UP: Expectation = shape(open(MANY), rst(SOME), ANSWER);
/// The client always sends a reset: for a reply that it did not read, or for one that came too
/// late. A FIN of either side may come before it.
pub(super) const RACED: Expectation = Expectation {
    client: End { fin: None, ..rst(REQUEST) },
    server: End { fin: None, ..open(REPLY) },
    first: None,
};
/// For scenarios that are not played here.
const ANYHOW: End = End { fin: None, rst: None, bytes: Bytes::Any };
pub(super) const ANY: Expectation = shape(ANYHOW, ANYHOW, None);

//! Outbox: the rest of a reply that a full socket did not take.
//!
//! Most connections never need one: the reply is sent by the system call that offers it. So an
//! empty outbox is a null pointer, eight bytes, and memory is allocated only for what is left over.
//!
//! ```text
//!   reply    ┌────────────────┬──────────────────────┐
//!            │ taken          │ left over ───────────┼──▶ bytes ┌──────┬─────────┐
//!            └────────────────┴──────────────────────┘          │ sent │ pending │
//!                                                               └──────┴─────────┘
//! ```

/// At most one reply's unsent bytes. Empty, it owns no memory.
#[derive(Default, Debug)]
pub struct Outbox(Option<Box<Leftover>>);

#[derive(Debug)]
struct Leftover {
    bytes: Box<[u8]>,
    sent: usize,
}

impl Outbox {
    /// Keeps a copy of `bytes`. Only an empty outbox is filled: a connection with output pending is
    /// not read, so there is no second reply.
    pub fn fill(&mut self, bytes: &[u8]) {
        debug_assert!(self.is_empty(), "a second reply while the first is pending");
        if !bytes.is_empty() {
            self.0 = Some(Box::new(Leftover { bytes: bytes.into(), sent: 0 }));
        }
    }

    /// What is to be sent next.
    pub fn pending(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |leftover| &leftover.bytes[leftover.sent..])
    }

    /// The socket took `bytes` more. With the last of them the memory is freed.
    pub fn advance(&mut self, bytes: usize) {
        if let Some(leftover) = &mut self.0 {
            leftover.sent += bytes;
            debug_assert!(leftover.sent <= leftover.bytes.len(), "more was sent than pending");
            if leftover.sent >= leftover.bytes.len() {
                self.0 = None;
            }
        }
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The memory that it uses, in bytes: what was put in, until the last of it is sent.
    pub fn held(&self) -> usize {
        self.0.as_ref().map_or(0, |leftover| leftover.bytes.len())
    }

    /// The number of bytes that are pending.
    pub fn len(&self) -> usize {
        self.pending().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_out_what_was_put_in_and_then_its_memory() {
        let mut outbox = Outbox::default();
        outbox.fill(b"left over");
        outbox.advance(5);
        assert_eq!((outbox.pending(), outbox.len(), outbox.held()), (&b"over"[..], 4, 9));
        outbox.advance(4);
        assert!(outbox.is_empty() && outbox.0.is_none() && outbox.held() == 0);
    }

    #[test]
    fn costs_a_pointer_while_it_is_empty() {
        assert_eq!(size_of::<Outbox>(), size_of::<usize>());
        let mut outbox = Outbox::default();
        outbox.fill(b"");
        assert!(outbox.is_empty());
    }
}

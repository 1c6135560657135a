//! TCP connections seen from outside: packets in, a verdict for each connection out.
//!
//! ```text
//! bytes ──▶ frame ──▶ Segment ──▶ Table ──▶ Flow (two Directions) ──▶ View ──▶ judge ──▶ verdict
//! ```
//!
//! Like [`machine`](crate::machine), this layer is pure: no file, no socket, no clock. Time is that
//! of the packets, in nanoseconds since 1970. Memory is bounded, payload is never copied, and no
//! bytes of a packet can cause a panic.
//!
//! Reading order: [`frame`] (what is read of a packet, and what is only counted), [`Segment`],
//! [`Seq`] (arithmetic that wraps), [`Direction`] (what one end sends), [`Flow`] (both, and how
//! they came to an end), [`Table`] (which segment belongs to which), [`View`] (what one end can
//! have seen of it), [`judge`] (the decision table).

mod direction;
mod flow;
pub mod frame;
mod parts;
#[cfg(test)]
mod script;
mod segment;
mod sequence;
mod table;
mod verdict;
mod view;

pub use self::direction::{Direction, Fin, Moment, Totals};
pub use self::flow::{Flow, Handshake, Reset};
pub use self::frame::{Link, Skipped};
pub use self::segment::{Flags, Segment};
pub use self::sequence::Seq;
pub use self::table::{Ended, Table};
pub use self::verdict::{OutsideVerdict, judge};
pub use self::view::{Opening, Role, SeenReset, Sent, Side, View};

impl Ended {
    /// How it ended, from the side of the end that has this role. Where no SYN was seen, the end
    /// with `port` is taken for the server.
    #[must_use]
    pub fn verdict(&self, role: Role, port: Option<u16>) -> OutsideVerdict {
        let (ours, _) = self.flow.end_of(role, port);
        let view = View::new(&self.flow, ours, self.until_ns);
        judge(&View { is_let_go: self.is_let_go, ..view })
    }
}

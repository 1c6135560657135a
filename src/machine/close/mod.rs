//! The close classifier: facts about an ended connection in, a verdict out.
//!
//! ```text
//! calls, events ──▶ Observer ──┐
//!                              ├──▶ Evidence ──▶ classify ──▶ Verdict (name, status, certainty)
//! SocketFacts ◀── Probe ───────┘
//! ```
//!
//! Reading order: [`Observer`] (how evidence is gathered), [`Evidence`] (what can be known, and
//! from where), [`Verdict`] (what can be said), [`classify`](fn@classify) (the decision table
//! between the two).

mod classify;
mod ending;
mod evidence;
mod name;
mod observer;
mod verdict;

pub use classify::classify;
pub use ending::Ending;
pub use evidence::{Evidence, FirstError, LocalCause, SocketFacts, TcpFacts, Via};
pub use name::UnknownName;
pub use observer::{Acknowledged, Conclusion, Leftover, Observer, Probe, Settling, Told};
pub use verdict::{Certainty, Initiator, Kind, Level, Verdict};

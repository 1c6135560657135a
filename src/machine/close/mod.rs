//! The close classifier: facts about an ended connection in, a verdict out.
//!
//! ```text
//! Connection ──┐
//!              ├──▶ Evidence ──▶ classify ──▶ Verdict (name, status, certainty)
//! SocketFacts ─┘
//! ```
//!
//! Reading order: [`Evidence`] (what can be known, and from where), [`Verdict`] (what can be said),
//! [`classify`](fn@classify) (the decision table between the two).

mod classify;
mod evidence;
mod verdict;

pub use classify::classify;
pub use evidence::{Evidence, FirstError, LocalCause, SocketFacts, TcpFacts, Via};
pub use verdict::{Certainty, Initiator, Kind, Level, Verdict};

//! The load generator: many clients in one loop, which measure how fast a server answers and how
//! many connections it holds, and check that each reply is right.
//!
//! ```text
//!   Plan ──▶ Generator ──▶ Outcome ──┐
//!   Plan ──▶ Generator ──▶ Outcome ──┼──▶ LoadReport
//!            a process each          ┘
//! ```
//!
//! A [`Generator`] is one thread with one poll. It opens its connections, reports that they are
//! open, measures on command, reports that everything is answered, and closes them on command. So
//! several processes measure the same period, and the caller can inspect the server at its
//! beginning and at its end, while no request is in flight.
//!
//! Three rules explain most of the code. The generator must not become the bottleneck: an echo is
//! one receive and one send, and allocates nothing. A latency that counts from when a request was
//! sent hides that it was sent late: at a fixed rate it counts from when the request was due. And
//! figures mean nothing if the replies were not compared.

mod arrivals;
mod condition;
mod connection;
mod generator;
mod histogram;
mod interval;
mod link;
mod message;
mod objective;
mod pace;
mod plan;
mod ports;
mod preflight;
mod proc;
mod processes;
mod report;
mod scout;
mod search;
mod steps;
mod tally;
mod verdict;

pub use self::condition::{Condition, Unit};
pub use self::generator::{Conductor, Generator, Handle, Milestone, Progress};
pub use self::histogram::{Latency, Microseconds, NotAHistogram, TooMany};
pub use self::interval::{Interval, IntervalLine, IntervalRow};
pub use self::message::SIZE_MAX;
pub use self::objective::Objective;
pub use self::plan::{Arrivals, Mode, Plan, Sources};
pub use self::preflight::{SCOUTS, Shortage, check, default_sources, ports_return_after};
pub use self::proc::Process;
pub use self::processes::{Fleet, child};
pub use self::report::{BUSY, GeneratorRow, LoadReport, ServerRow};
pub use self::scout::{Lost, scout};
pub use self::search::{CONFIRM_TIMES, Finding, Purpose, RULE, STEPS_MAX, Search, Trial};
pub use self::steps::{FindReport, Limit, RateStep, is_silent};
pub use self::tally::{Outcome, Trouble};

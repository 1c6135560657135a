//! The load: many clients in one loop, which say how fast a server answers, how many it holds, and
//! whether each reply is right.
//!
//! ```text
//!   Plan ──▶ Generator ──▶ Outcome ──┐
//!   Plan ──▶ Generator ──▶ Outcome ──┼──▶ LoadReport
//!            a process each          ┘
//! ```
//!
//! A [`Generator`] is one thread with one poll. It opens its connections, says that they are open,
//! measures when it is told to, says that everything is answered, and closes them when it is told
//! to: so that several processes measure the same stretch of time, and somebody can look at the
//! server at its begin and at its end, while nothing is under way.
//!
//! Three rules explain most of what is here. What measures must not be what is measured: an echo is
//! one receive and one send, and allocates nothing. A latency that counts from when a request was
//! sent hides that it was sent late: at a fixed rate it counts from when it should have been. And a
//! figure about replies that nobody compared is a figure about nothing.

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

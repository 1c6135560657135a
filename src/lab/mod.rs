//! Lab of TCP connection endings: plays each way to end a connection and reports both sides.
//!
//! A [`Scenario`] has the client's acts, the order of events, and the expected result. [`run()`]
//! plays each scenario twice: against closecall's own server, whose turns run on the same thread,
//! so that every order of events is forced; and against a [`recv_loop`], the blocking server of the
//! article, to record what such a server learns. Each scenario gives a [`Row`]. With a [`capture`],
//! the packets on the wire are compared with the expected ones as well.
//!
//! The article's five experiments come first. The fifth is a race: it runs many times without a
//! forced order, and its results are counted.

mod against;
pub mod capture;
mod differ;
mod embedded;
pub mod grade;
mod judge;
mod observe;
mod options;
mod race;
pub mod recv_loop;
mod report;
mod run;
mod scenario;
mod stepped;
pub mod summary;
mod wire;
pub(crate) mod words;

pub use self::options::{Error, Options, Progress, Target};
pub use self::report::{
    Article, Change, ClientView, LabReport, Log, Race, RecvSays, Reply, Row, RowOutcome, SeenEnd,
    ServerRow, Via, WireSource,
};
pub use self::run::run;
pub use self::scenario::{Elsewhere, Experiment, Order, Play, Scenario, Setting, all, named};
pub use self::stepped::MESSAGE;

//! The lab: every way in which a connection can end, played, seen and told.
//!
//! A [`Scenario`] says what the client does, in which order, and what has to come of it. [`run()`]
//! plays each of them twice: beside our own server, whose turns are taken on the same thread, so
//! that every order is forced; and beside a [`recv_loop`], the blocking server of the article, to
//! hear what that would have said. Each gives a [`Row`]. With a [`capture`], what goes over the
//! wire is not only expected but seen, and has to be right as well.
//!
//! The article's five experiments stand first. The fifth is a race, so it is run freely and often,
//! and its odds are told.

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

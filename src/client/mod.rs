//! Scripted clients: every way in which a client can end a connection.
//!
//! A [`Way`] is a script, a short list of [`Act`]s; a [`Client`] plays them one after another and
//! reports the result of each, a [`Performed`]. The `client` command, the lab and the tests play
//! the same scripts.
//!
//! Order matters in most of them. In [`play`](Client::play), a client waits for what it needs and
//! the rest depends on timing: "sends and closes at once" is a race. In
//! [`play_beside`](Client::play_beside), the server takes its turns only while the client waits, so
//! every order is forced.

mod acts;
mod die;
mod plan;
mod play;
mod reply;
mod wait;
mod way;

pub use self::plan::{Did, Performed, Plan, ServerEnd};
pub use self::play::Client;
pub use self::way::{Act, Way};

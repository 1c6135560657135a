//! Plays the other side: a client that ends its connection in one of the ways there are.
//!
//! A [`Way`] is a script, a short list of [`Act`]s; a [`Client`] plays them one after the other and
//! says of each what came of it, a [`Performed`]. The `client` command, the lab and the tests play
//! the same scripts.
//!
//! Order matters in most of them, and there are two ways to have it. Alone, in
//! [`play`](Client::play),
//! a client waits for what it needs and leaves the rest to chance: "sends and closes at once" is a
//! race. Beside a server whose turns are taken only while the client waits
//! ([`play_beside`](Client::play_beside)), every order is forced.

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

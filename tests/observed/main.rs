//! Promise: a stream of any program gets the verdict that the echo server would give, with std and
//! with tokio. The clients play the library's own ways of ending.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/truth.rs"]
mod truth;

mod dropped;
mod ends;
mod forced;
mod half_close;
mod race;
mod sides;

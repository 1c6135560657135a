//! Placeholder for systems without packet sockets: a capture fails with `Unsupported`.

use std::io;
use std::time::Duration;

/// A packet socket, which does not exist on this system.
pub(super) enum Tap {}

/// A packet; see `tap.rs`.
pub(super) struct Frame<'a> {
    pub(super) at: Duration,
    pub(super) stamped: bool,
    pub(super) bytes: &'a [u8],
    pub(super) mark: Option<u64>,
    pub(super) lost: u64,
}

impl Tap {
    pub(super) fn open(_mark_port: u16, _snap_bytes: u32) -> io::Result<Tap> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn read(&mut self) -> io::Result<Option<Frame<'_>>> {
        match *self {}
    }
}

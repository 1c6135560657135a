//! A Unix of which nothing is known but POSIX.

use std::os::fd::BorrowedFd;

use crate::machine::close::TcpFacts;

pub(super) fn tcp(_socket: BorrowedFd<'_>) -> Option<TcpFacts> {
    None
}

pub(super) fn unacked(_socket: BorrowedFd<'_>) -> Option<u32> {
    None
}

//! A process that holds the socket, and is killed.

use std::ffi::OsString;
use std::io;

use mio::net::TcpStream;

/// Passes the socket to a process and kills it, so that the kernel closes the socket.
///
/// Its stdin is a pipe whose other end is ours, so that it exits if this process is killed first.
#[cfg(unix)]
pub(super) fn dies_holding(stream: TcpStream, holder: &[OsString]) -> io::Result<()> {
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};

    let Some((program, arguments)) = holder.split_first() else {
        return Err(io::Error::other("there is no process to kill"));
    };
    // Our own copy of the socket is dropped with the command, at the end of this statement.
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::from(OwnedFd::from(stream)))
        .stderr(Stdio::null())
        .spawn()?;
    child.kill()?;
    child.wait().map(|_| ())
}

#[cfg(not(unix))]
pub(super) fn dies_holding(_stream: TcpStream, _holder: &[OsString]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

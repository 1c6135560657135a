//! A process that holds the socket, and is killed.

use std::ffi::OsString;
use std::io;

use mio::net::TcpStream;

/// Gives the socket to a process and kills that: then nobody but the kernel can close it.
///
/// Its stdin is a pipe whose other end is ours, so that it ends by itself should we be killed
/// first.
#[cfg(unix)]
pub(super) fn dies_holding(stream: TcpStream, holder: &[OsString]) -> io::Result<()> {
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};

    let Some((program, arguments)) = holder.split_first() else {
        return Err(io::Error::other("there is no process to be killed"));
    };
    // Our own copy of the socket goes with the command, at the end of this statement.
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

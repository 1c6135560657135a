//! Descriptor at the end of a sink: how many bytes it takes in one call, whether a call may block,
//! whether it ends in the middle of a line, and how a file is reopened.
//!
//! | descriptor | bytes a call | blocks |
//! |---|---|---|
//! | regular file | a batch: the kernel appends each call whole, beside other processes too | never |
//! | pipe, FIFO, terminal | PIPE_BUF, so that no line is torn by another writer | no, see below |
//! | socket, other devices | PIPE_BUF | if there is less room than poll(2) claims |
//!
//! O_NONBLOCK belongs to the open file description, which an inherited stdout or stderr shares with
//! its parent. On Linux, opening /proc/self/fd/N gives a separate description of the same pipe or
//! terminal, which is made non-blocking. If that is not possible, poll(2) precedes each call.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the writer waits for a descriptor that takes nothing before it checks its state.
pub(in crate::cli) const RETRY: Duration = Duration::from_millis(100);

/// The bytes that a pipe, a FIFO or a terminal takes in one call without tearing.
#[cfg(unix)]
pub(in crate::cli) const PIPE_BUF: usize = libc::PIPE_BUF;
#[cfg(not(unix))]
pub(in crate::cli) const PIPE_BUF: usize = 4096;

/// The end of a sink. Used by its writer thread only.
pub(in crate::cli) trait Out: Send + 'static {
    /// Writes the beginning of `bytes`; `WouldBlock` if the descriptor takes nothing now.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// The most bytes to write in one call.
    fn call_bytes_max(&self) -> usize {
        usize::MAX
    }

    /// Whether a call returns at once, even if no process reads.
    fn returns_at_once(&self) -> bool {
        true
    }

    /// Waits until the descriptor may take more, at most for [`RETRY`].
    fn wait(&mut self) {}

    /// Whether the file ends in the middle of a line; `None` if unknown.
    fn ends_torn(&mut self) -> Option<bool> {
        None
    }

    /// Reopens the file by its name; if that fails, the old file stays open.
    ///
    /// # Errors
    /// The file cannot be opened, or it has no name.
    fn reopen(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A descriptor of the operating system.
pub(in crate::cli) struct Descriptor {
    file: File,
    is_regular: bool,
    never_blocks: bool,
    /// The path of the file, if it has one.
    path: Option<PathBuf>,
}

impl Descriptor {
    /// The descriptor behind a standard stream: unbuffered, without a lock, and with all errors,
    /// unlike the streams of the standard library.
    ///
    /// # Errors
    /// The process has no file descriptor left, or the stream is closed.
    #[cfg(unix)]
    pub(in crate::cli) fn of(stream: &impl std::os::fd::AsFd) -> io::Result<Descriptor> {
        let file = File::from(stream.as_fd().try_clone_to_owned()?);
        Ok(match own_description(&file) {
            Some(own) => Descriptor { never_blocks: true, ..Descriptor::new(own, None) },
            None => Descriptor::new(file, None),
        })
    }

    /// The handle behind a standard stream.
    ///
    /// # Errors
    /// The process has no handle left, or the stream is closed.
    #[cfg(windows)]
    pub(in crate::cli) fn of(
        stream: &impl std::os::windows::io::AsHandle,
    ) -> io::Result<Descriptor> {
        let file = File::from(stream.as_handle().try_clone_to_owned()?);
        Ok(Descriptor::new(file, None))
    }

    /// Opens a file for appending, and creates it if it does not exist.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(in crate::cli) fn open(path: &Path) -> io::Result<Descriptor> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        // With O_NONBLOCK, opening a FIFO without a reader fails instead of blocking the start. The
        // description is not shared, so other programs are not affected; regular files ignore it.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(
            &mut options,
            libc::O_NONBLOCK | libc::O_NOCTTY,
        );
        let opened = Descriptor::new(options.open(path)?, Some(path.to_owned()));
        Ok(Descriptor { never_blocks: opened.is_regular || cfg!(unix), ..opened })
    }

    fn new(file: File, path: Option<PathBuf>) -> Descriptor {
        let is_regular = file.metadata().is_ok_and(|it| it.is_file());
        Descriptor { file, is_regular, never_blocks: is_regular, path }
    }

    /// Whether each write appends (O_APPEND).
    fn appends(&self) -> bool {
        #[cfg(unix)]
        if self.path.is_none() {
            use nix::fcntl::{FcntlArg, OFlag, fcntl};
            let flags = fcntl(&self.file, FcntlArg::F_GETFL).unwrap_or_default();
            return OFlag::from_bits_retain(flags).contains(OFlag::O_APPEND);
        }
        self.path.is_some()
    }

    /// The same file, opened for reading. The descriptor itself is write-only: if this process also
    /// read a FIFO, it would not notice that the last other reader has gone.
    fn reader(&self) -> Option<File> {
        let opened = |path: &Path| {
            let file = File::open(path).ok()?;
            is_same(&file, &self.file).then_some(file)
        };
        let by_number = by_number(&self.file).and_then(|path| opened(&path));
        by_number.or_else(|| opened(self.path.as_deref()?))
    }

    /// Whether a regular file ends without a newline.
    fn last_byte_is_text(&self) -> Option<bool> {
        if !self.is_regular || !self.appends() {
            return None;
        }
        if self.file.metadata().ok()?.len() == 0 {
            return Some(false);
        }
        let mut reader = self.reader()?;
        let mut last = [b'\n'];
        reader.seek(SeekFrom::End(-1)).ok()?;
        reader.read_exact(&mut last).ok()?;
        Some(last != [b'\n'])
    }

    /// Whether poll(2) reports the descriptor as writable. `true` if poll fails.
    #[cfg(unix)]
    fn is_ready_within(&self, time: Duration) -> bool {
        use nix::errno::Errno;
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        let mut asked = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
        !matches!(poll(&mut asked, time), Ok(0) | Err(Errno::EINTR))
    }

    #[cfg(not(unix))]
    fn is_ready_within(&self, _time: Duration) -> bool {
        true
    }
}

impl Out for Descriptor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.never_blocks && !self.is_ready_within(Duration::ZERO) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.file.write(bytes)
    }

    fn call_bytes_max(&self) -> usize {
        if self.is_regular { usize::MAX } else { PIPE_BUF }
    }

    fn returns_at_once(&self) -> bool {
        self.never_blocks
    }

    fn wait(&mut self) {
        let _ = self.is_ready_within(RETRY);
    }

    fn ends_torn(&mut self) -> Option<bool> {
        self.last_byte_is_text()
    }

    fn reopen(&mut self) -> io::Result<()> {
        let path = self.path.as_deref().ok_or(io::ErrorKind::Unsupported)?;
        *self = Descriptor::open(path)?;
        Ok(())
    }
}

/// The path under which the system shows an open file.
#[cfg(target_os = "linux")]
fn by_number(file: &File) -> Option<PathBuf> {
    let number = std::os::fd::AsRawFd::as_raw_fd(file);
    Some(PathBuf::from(format!("/proc/self/fd/{number}")))
}

#[cfg(not(target_os = "linux"))]
fn by_number(_file: &File) -> Option<PathBuf> {
    None
}

/// A separate, non-blocking description of a pipe, a FIFO or a terminal.
#[cfg(unix)]
fn own_description(file: &File) -> Option<File> {
    use std::io::IsTerminal;
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    if !file.is_terminal() && !file.metadata().ok()?.file_type().is_fifo() {
        return None;
    }
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let own = options.open(by_number(file)?).ok()?;
    is_same(&own, file).then_some(own)
}

/// Whether both are the same file.
#[cfg(unix)]
fn is_same(one: &File, other: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |file: &File| file.metadata().map(|it| (it.dev(), it.ino()));
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}

/// Compares lengths only. Only the last byte is needed, and replacing a file takes longer than the
/// time between the two looks.
#[cfg(not(unix))]
fn is_same(one: &File, other: &File) -> bool {
    let length = |file: &File| file.metadata().map(|it| it.len()).ok();
    length(one).is_some() && length(one) == length(other)
}

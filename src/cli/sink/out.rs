//! The descriptor at the end of a sink: how much it takes with one call, whether a call may block,
//! whether it ends in the middle of a line, and how a file is opened anew.
//!
//! | descriptor | bytes a call | blocks |
//! |---|---|---|
//! | regular file | a batch: the kernel appends each call whole, beside other processes too | never |
//! | pipe, FIFO, terminal | PIPE_BUF, so that no line is torn by another writer | no, see below |
//! | socket, other devices | PIPE_BUF | if there is less room than poll(2) claims |
//!
//! O_NONBLOCK belongs to the open file description, which an inherited stdout or stderr shares with
//! its parent. On Linux opening /proc/self/fd/N gives a description of our own for the same pipe or
//! terminal, and that one never blocks. Where it cannot be had, poll(2) is asked before each call.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to wait for a descriptor that takes nothing before the writer looks up.
pub(in crate::cli) const RETRY: Duration = Duration::from_millis(100);

/// What pipes, FIFOs and terminals take with one call.
#[cfg(unix)]
pub(in crate::cli) const PIPE_BUF: usize = libc::PIPE_BUF;
#[cfg(not(unix))]
pub(in crate::cli) const PIPE_BUF: usize = 4096;

/// The end of a sink. Used by its writer thread only.
pub(in crate::cli) trait Out: Send + 'static {
    /// Writes the beginning of `bytes`; `WouldBlock` if nothing is taken at the moment.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// The most bytes to write with one call.
    fn call_bytes_max(&self) -> usize {
        usize::MAX
    }

    /// Whether a call returns at once, even if what is written is not read.
    fn returns_at_once(&self) -> bool {
        true
    }

    /// Waits until it may take more, at most for [`RETRY`].
    fn wait(&mut self) {}

    /// Whether it ends in the middle of a line; `None` if that cannot be known.
    fn ends_torn(&mut self) -> Option<bool> {
        None
    }

    /// Opens it anew by its name; what was open before stays if that fails.
    ///
    /// # Errors
    /// It cannot be opened, or it has no name.
    fn reopen(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A descriptor of the operating system.
pub(in crate::cli) struct Descriptor {
    file: File,
    is_regular: bool,
    never_blocks: bool,
    /// Where the file was opened, if it has a name.
    path: Option<PathBuf>,
}

impl Descriptor {
    /// The descriptor behind a standard stream: unbuffered, unlocked, and honest about errors, none
    /// of which the streams of the standard library are.
    ///
    /// # Errors
    /// There is no file left for it, or the stream is closed.
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
    /// There is no handle left for it, or the stream is closed.
    #[cfg(windows)]
    pub(in crate::cli) fn of(
        stream: &impl std::os::windows::io::AsHandle,
    ) -> io::Result<Descriptor> {
        let file = File::from(stream.as_handle().try_clone_to_owned()?);
        Ok(Descriptor::new(file, None))
    }

    /// A file, opened to be appended to. It is made if it is not there.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(in crate::cli) fn open(path: &Path) -> io::Result<Descriptor> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        // A FIFO that has no reader is an error then, and not a start that never ends. The
        // description is our own, so no other program is affected, and no regular file.
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

    /// Whether it is written at its end, wherever that is by then.
    fn appends(&self) -> bool {
        #[cfg(unix)]
        if self.path.is_none() {
            use nix::fcntl::{FcntlArg, OFlag, fcntl};
            let flags = fcntl(&self.file, FcntlArg::F_GETFL).unwrap_or_default();
            return OFlag::from_bits_retain(flags).contains(OFlag::O_APPEND);
        }
        self.path.is_some()
    }

    /// The same file for reading: it was opened for writing only, because a FIFO that is opened for
    /// both is read by us, and then a reader that leaves is not noticed.
    fn reader(&self) -> Option<File> {
        let opened = |path: &Path| {
            let file = File::open(path).ok()?;
            is_same(&file, &self.file).then_some(file)
        };
        let by_number = by_number(&self.file).and_then(|path| opened(&path));
        by_number.or_else(|| opened(self.path.as_deref()?))
    }

    /// Whether the last byte of a regular file is no newline.
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

    /// Whether poll(2) says that it may be written to. `true` if poll cannot tell.
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

/// A description of our own, which never blocks, for a pipe, a FIFO or a terminal.
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

/// Whether these are the same file.
#[cfg(unix)]
fn is_same(one: &File, other: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |file: &File| file.metadata().map(|it| (it.dev(), it.ino()));
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}

/// By its length: what is asked for is the last byte, and a program that replaces a file takes
/// longer.
#[cfg(not(unix))]
fn is_same(one: &File, other: &File) -> bool {
    let length = |file: &File| file.metadata().map(|it| it.len()).ok();
    length(one).is_some() && length(one) == length(other)
}

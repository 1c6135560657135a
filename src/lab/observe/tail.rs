//! Reader of a growing file, to which another program appends.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The most that is read at a time, in bytes; the rest is read the next time.
const LOOK_BYTES: u64 = 1 << 20;

/// The longest line of a close log, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 1 << 16;

/// The end of a file.
pub(super) struct Tail {
    pub(super) path: PathBuf,
    file: File,
    /// The beginning of a line whose newline was not read yet.
    pub(super) begun: Vec<u8>,
}

impl Tail {
    /// Opens a file and starts at its end.
    ///
    /// # Errors
    /// The path is not a regular file, or it cannot be read.
    pub(super) fn open(path: &Path) -> io::Result<Tail> {
        // Opening a FIFO without a writer would block.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Tail { path: path.to_owned(), file, begun: Vec::new() })
    }

    /// Passes each new line to `takes`, without its newline; `false` if there was nothing to read.
    /// A line that is too long is passed as an empty one. A file that can no longer be read counts
    /// as one that does not grow.
    pub(super) fn reads(&mut self, mut takes: impl FnMut(&[u8])) -> bool {
        self.begins_anew();
        let read = (&self.file).take(LOOK_BYTES).read_to_end(&mut self.begun);
        let end = self.begun.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        self.begun[..end]
            .split(|&byte| byte == b'\n')
            .filter(|it| !it.is_empty())
            .for_each(&mut takes);
        self.begun.drain(..end);
        if self.begun.len() > LINE_BYTES_MAX {
            self.begun.clear();
            takes(&[]);
        }
        read.is_ok_and(|bytes| bytes > 0)
    }

    /// Starts again at the beginning if the file was truncated, or replaced by a new one.
    fn begins_anew(&mut self) {
        let (Ok(position), Ok(data)) = (self.file.stream_position(), self.file.metadata()) else {
            return;
        };
        if data.len() > position {
            return; // there is more to read
        }
        let is_new = fs::metadata(&self.path).is_ok_and(|named| !is_same(&named, &data));
        let emptied = data.len() < position && self.file.rewind().is_ok();
        match File::open(&self.path) {
            Ok(file) if is_new => self.file = file,
            _ if emptied => {}
            _ => return,
        }
        self.begun.clear();
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_one: &Metadata, _other: &Metadata) -> bool {
    true // only an emptied file is noticed
}

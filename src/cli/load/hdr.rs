//! Files of `--hdr`: the histogram in binary form, and its text form beside it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cli::Failure;
use crate::load::Latency;

/// The extension of the text form.
pub(super) const TEXT: &str = "hgrm";

/// The open files. A file that was created here is removed again if nothing was written to it.
pub(super) struct Hdr {
    binary: Option<Named>,
    text: Option<Named>,
}

struct Named {
    file: File,
    path: PathBuf,
    /// The file was created here, and nothing was written to it yet.
    is_new: bool,
}

impl Drop for Named {
    fn drop(&mut self) {
        if self.is_new {
            // If this fails, an empty file stays.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Hdr {
    /// Opens the files of `--hdr` before the run, so that no run is lost because of a file that
    /// cannot be written. Old content stays until there is a histogram to write.
    ///
    /// # Errors
    /// A file cannot be opened.
    pub(super) fn create(path: &Path) -> Result<Hdr, Failure> {
        let named = Named::open(path)?;
        if path.extension().is_some_and(|ending| ending == TEXT) {
            return Ok(Hdr { binary: None, text: Some(named) });
        }
        // A pipe or a device gets no text file beside it.
        let is_file = named.file.metadata().is_ok_and(|metadata| metadata.is_file());
        let text = is_file.then(|| Named::open(&beside(path))).transpose()?;
        Ok(Hdr { binary: Some(named), text })
    }

    /// Replaces the content of the files by the histogram.
    ///
    /// # Errors
    /// A file cannot be written: its name and the reason.
    pub(super) fn save(&mut self, latency: &Latency) -> Result<(), String> {
        if let Some(binary) = &mut self.binary {
            binary.save(&latency.to_bytes())?;
        }
        match &mut self.text {
            Some(text) => text.save(latency.to_hgrm().as_bytes()),
            None => Ok(()),
        }
    }
}

impl Named {
    fn open(path: &Path) -> Result<Named, Failure> {
        let shown = path.display();
        if is_unread_fifo(path) {
            return Err(Failure::Refused(format!(
                "--hdr {shown}: no process reads this FIFO; start its reader first, or give a file"
            )));
        }
        let mut options = OpenOptions::new();
        let mut is_new = true;
        let file = options.write(true).create_new(true).open(path).or_else(|_| {
            is_new = false;
            options.create_new(false).create(true).truncate(false).open(path)
        });
        let file = file.map_err(|error| {
            Failure::Refused(format!("--hdr {shown}: {error}; give a writable file"))
        })?;
        Ok(Named { file, path: path.to_owned(), is_new })
    }

    fn save(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.is_new = false;
        self.replace(bytes).map_err(|error| format!("--hdr {}: {error}", self.path.display()))
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(bytes)
    }
}

/// Whether the path is a FIFO without a reader, whose opening would block (fifo(7)).
#[cfg(unix)]
fn is_unread_fifo(path: &Path) -> bool {
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

    let is_fifo = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NONBLOCK);
    is_fifo && options.open(path).is_err_and(|error| error.raw_os_error() == Some(libc::ENXIO))
}

#[cfg(not(unix))]
fn is_unread_fifo(_path: &Path) -> bool {
    false
}

/// `run.hdr.hgrm` of `run.hdr`.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(TEXT);
    name.into()
}

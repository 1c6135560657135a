//! What `--hdr` writes: the histogram for programs, and as text beside it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cli::Failure;
use crate::load::Latency;

/// The ending of the text.
const TEXT: &str = "hgrm";

/// The files, open.
pub(super) struct Hdr {
    binary: Option<Named>,
    text: Option<Named>,
}

struct Named {
    file: File,
    shown: String,
}

impl Hdr {
    /// Opens what `--hdr` names, so that a run is not lost for a name that cannot be written. What
    /// is in it stays there until there is something to write.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn create(path: &Path) -> Result<Hdr, Failure> {
        let named = Named::open(path)?;
        if path.extension().is_some_and(|ending| ending == TEXT) {
            return Ok(Hdr { binary: None, text: Some(named) });
        }
        // There is no file beside a pipe or a device.
        let is_file = named.file.metadata().is_ok_and(|metadata| metadata.is_file());
        let text = is_file.then(|| Named::open(&beside(path))).transpose()?;
        Ok(Hdr { binary: Some(named), text })
    }

    /// Writes the histogram in place of what was there.
    ///
    /// # Errors
    /// One of the files cannot be written: which, and why.
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
        let shown = path.display().to_string();
        let remedy = |error: io::Error| {
            Failure::Refused(format!("--hdr {shown}: {error}; name a file that can be written"))
        };
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(path).map_err(remedy)?;
        Ok(Named { file, shown })
    }

    fn save(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.replace(bytes).map_err(|error| format!("--hdr {}: {error}", self.shown))
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(bytes)
    }
}

/// `run.hdr.hgrm` of `run.hdr`.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(TEXT);
    name.into()
}

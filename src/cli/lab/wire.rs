//! `--capture` and `--pcap`: the capture, and the file that keeps it.

use std::fs::{self, File};
use std::io::{self, Seek};
use std::net::SocketAddr;
use std::path::{Path, PathBuf, absolute};

use crate::cli::Failure;
use crate::cli::args::LabArgs;
use crate::cli::say::warn;
use crate::lab::capture::Capture;

/// A capture that runs, and where its packets go.
pub(super) struct Wire {
    pub(super) capture: Capture,
    file: Option<(File, PathBuf)>,
}

/// Begins, if that is asked for. The file is opened last, and what is in it stays until there is
/// something to keep: one from an earlier run is as it was where nothing is played.
///
/// # Errors
/// There is no capture, or the file cannot be written, or it is the close log. The line says why.
pub(super) fn open(args: &LabArgs) -> Result<Option<Wire>, Failure> {
    let option = match &args.pcap {
        Some(path) => format!("--pcap {path:?}"),
        None if args.capture => "--capture".to_owned(),
        None => return Ok(None),
    };
    if let (Some(pcap), Some(observe)) = (&args.pcap, &args.observe)
        && is_same(pcap, observe)
    {
        return Err(Failure::Usage(format!(
            "{option}: expected another file than that of --observe, which is only read"
        )));
    }
    let capture = Capture::start().map_err(|error| {
        let remedy = remedy(&error);
        Failure::Refused(format!("{option}: no capture: {error}; {remedy}"))
    })?;
    let file = args.pcap.as_ref().map(|path| match create(path) {
        Ok(file) => Ok((file, path.clone())),
        Err(error) => Err(Failure::Refused(format!(
            "{option} cannot be opened: {error}; name a file that can be written"
        ))),
    });
    Ok(Some(Wire { capture, file: file.transpose()? }))
}

/// Opens a file to write, and leaves in it what there is.
fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(false).open(path)
}

/// Empties what can be emptied: a device or a pipe cannot.
fn empty(mut file: &File) -> io::Result<()> {
    if !file.metadata()?.is_file() {
        return Ok(());
    }
    file.set_len(0)?;
    file.rewind()
}

/// Whether these are one file, be it there or not.
fn is_same(one: &Path, other: &Path) -> bool {
    let is_one_name = || Some(absolute(one).ok()? == absolute(other).ok()?);
    is_one_file(one, other).or_else(is_one_name).unwrap_or(false)
}

/// `None`: they are not both there.
#[cfg(unix)]
fn is_one_file(one: &Path, other: &Path) -> Option<bool> {
    use std::os::unix::fs::MetadataExt;
    let id = |path| fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
    Some(id(one)? == id(other)?)
}

#[cfg(not(unix))]
fn is_one_file(one: &Path, other: &Path) -> Option<bool> {
    Some(fs::canonicalize(one).ok()? == fs::canonicalize(other).ok()?)
}

fn remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let program = std::env::current_exe().unwrap_or_else(|_| "closecall".into());
            format!(
                "it needs CAP_NET_RAW: run it as root, or after `setcap cap_net_raw+ep {}`, or \
                 leave --capture and --pcap out",
                program.display()
            )
        }
        io::ErrorKind::Unsupported => {
            "it needs Linux: leave --capture and --pcap out here".to_owned()
        }
        _ => "is the loopback device up? Or leave --capture and --pcap out".to_owned(),
    }
}

impl Wire {
    /// Keeps the packets of these connections, if that was asked for, and says what is missing.
    /// `false` if anything is.
    pub(super) fn finish(self, connections: &[(SocketAddr, SocketAddr)]) -> bool {
        let losses = self.capture.losses();
        if !losses.is_none() {
            warn(&losses.to_string());
        }
        let Some((file, path)) = self.file else { return losses.is_none() };
        let saved = empty(&file).and_then(|()| self.capture.save(file, connections));
        if let Err(error) = saved {
            warn(&format!("--pcap {path:?} is not complete: {error}"));
            return false;
        }
        losses.is_none()
    }
}

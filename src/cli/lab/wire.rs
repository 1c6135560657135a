//! `--capture` and `--pcap`: packet capture and its file.

use std::fs::{self, File};
use std::io::{self, Seek};
use std::net::SocketAddr;
use std::path::{Path, PathBuf, absolute};

use crate::cli::Failure;
use crate::cli::args::LabArgs;
use crate::cli::say::warn;
use crate::lab::capture::Capture;

/// A running capture, and the file for its packets.
pub(super) struct Wire {
    pub(super) capture: Capture,
    file: Option<(File, PathBuf)>,
}

/// Starts the capture, if the options ask for one. The file is opened last, and its old content
/// stays until there is something to write, so that a run that plays nothing does not destroy it.
///
/// # Errors
/// The capture cannot start, the file cannot be opened, or it is the close log. The line has the
/// reason.
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
            "{option}: give a file other than that of --observe, which is only read"
        )));
    }
    let capture = Capture::start().map_err(|error| {
        let remedy = remedy(&error);
        Failure::Refused(format!("{option}: cannot capture packets: {error}; {remedy}"))
    })?;
    let file = args.pcap.as_ref().map(|path| match create(path) {
        Ok(file) => Ok((file, path.clone())),
        Err(error) => Err(Failure::Refused(format!(
            "{option}: cannot open it: {error}; give a writable file"
        ))),
    });
    Ok(Some(Wire { capture, file: file.transpose()? }))
}

/// Opens a file for writing, without truncating it.
fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(false).open(path)
}

/// Truncates a regular file. A device or a pipe stays as it is.
fn empty(mut file: &File) -> io::Result<()> {
    if !file.metadata()?.is_file() {
        return Ok(());
    }
    file.set_len(0)?;
    file.rewind()
}

/// Whether both paths are the same file, whether it exists or not.
fn is_same(one: &Path, other: &Path) -> bool {
    let is_one_name = || Some(absolute(one).ok()? == absolute(other).ok()?);
    is_one_file(one, other).or_else(is_one_name).unwrap_or(false)
}

/// `None`: at least one of them does not exist.
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
                "it needs CAP_NET_RAW: run closecall as root, or run `setcap cap_net_raw+ep {}` \
                 first, or leave --capture and --pcap out",
                program.display()
            )
        }
        io::ErrorKind::Unsupported => "it needs Linux: leave --capture and --pcap out".to_owned(),
        _ => "check that the loopback device is up, or leave --capture and --pcap out".to_owned(),
    }
}

impl Wire {
    /// Writes the packets of these connections to the file, if there is one, and warns of missing
    /// packets. `false` if any are missing.
    pub(super) fn finish(self, connections: &[(SocketAddr, SocketAddr)]) -> bool {
        let losses = self.capture.losses();
        if !losses.is_none() {
            warn(&losses.to_string());
        }
        let Some((file, path)) = self.file else { return losses.is_none() };
        let saved = empty(&file).and_then(|()| self.capture.save(file, connections));
        if let Err(error) = saved {
            warn(&format!("--pcap {path:?} is incomplete: {error}"));
            return false;
        }
        losses.is_none()
    }
}

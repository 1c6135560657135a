//! `--capture` and `--pcap`: the capture, and the file that keeps it.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::warn;
use crate::cli::Failure;
use crate::cli::args::LabArgs;
use crate::lab::capture::Capture;

/// A capture that runs, and where its packets go.
pub(super) struct Wire {
    pub(super) capture: Capture,
    file: Option<(File, PathBuf)>,
}

/// Begins, if that is asked for. The file is opened last: one from an earlier run stays as it is
/// where there is no capture.
///
/// # Errors
/// There is no capture, or the file cannot be written. The line says why.
pub(super) fn open(args: &LabArgs) -> Result<Option<Wire>, Failure> {
    let option = match &args.pcap {
        Some(path) => format!("--pcap {path:?}"),
        None if args.capture => "--capture".to_owned(),
        None => return Ok(None),
    };
    let capture = Capture::start().map_err(|error| {
        let remedy = remedy(&error);
        Failure::Refused(format!("{option}: no capture: {error}; {remedy}"))
    })?;
    let file = args.pcap.as_ref().map(|path| match File::create(path) {
        Ok(file) => Ok((file, path.clone())),
        Err(error) => Err(Failure::Refused(format!(
            "{option} cannot be opened: {error}; name a file that can be written"
        ))),
    });
    Ok(Some(Wire { capture, file: file.transpose()? }))
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
        if let Err(error) = self.capture.save(file, connections) {
            warn(&format!("--pcap {path:?} is not complete: {error}"));
            return false;
        }
        losses.is_none()
    }
}

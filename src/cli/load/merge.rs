//! `closecall load merge`: several histograms as one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::text;
use crate::cli::args::MergeArgs;
use crate::cli::say::{json, say, warn};
use crate::cli::values::Format;
use crate::cli::{EXIT_FAILED, Failure};
use crate::load::{Latency, Microseconds};

/// No histogram of ours is longer, in bytes: it says so before a disk is read into memory.
const FILE_BYTES_MAX: u64 = 1 << 24;

/// What all of them come to.
#[derive(Serialize)]
struct Merged {
    files: usize,
    count: u64,
    latency_us: Option<Microseconds>,
}

pub(super) fn run(args: &MergeArgs) -> Result<ExitCode, Failure> {
    if args.files.is_empty() {
        return Err(Failure::Usage(
            "FILE is missing: expected files that --hdr wrote; see closecall load merge --help"
                .to_owned(),
        ));
    }
    let mut all = Latency::default();
    for path in &args.files {
        let latency = read(path)?;
        all.add(&latency).map_err(|error| refused(path, &error))?;
    }
    // It may be one of those that were read.
    let mut hdr = args.hdr.as_deref().map(create).transpose()?;
    if let Some((file, path)) = &mut hdr
        && let Err(error) = save(file, &all)
    {
        warn(&format!("--hdr {path}: {error}"));
        return Ok(ExitCode::from(EXIT_FAILED));
    }
    let merged =
        Merged { files: args.files.len(), count: all.count(), latency_us: all.percentiles() };
    say(&match args.format {
        Format::Json => json(&merged),
        _ => text::merged(merged.files, merged.count, merged.latency_us.as_ref()),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<Latency, Failure> {
    // A FIFO may have no end, and a device has none.
    if !fs::metadata(path).map_err(|error| refused(path, &error))?.is_file() {
        return Err(refused(path, &io::Error::other("it is not a regular file")));
    }
    let file = File::open(path).map_err(|error| refused(path, &error))?;
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| refused(path, &error))?;
    match bytes.len() as u64 {
        0..=FILE_BYTES_MAX => Latency::from_bytes(&bytes).map_err(|error| refused(path, &error)),
        _ => Err(refused(path, &crate::load::NotAHistogram)),
    }
}

fn refused(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::Refused(format!("{}: {error}; give files that --hdr wrote", path.display()))
}

/// Opens what `--hdr` names, so that a run is not lost for a name that cannot be written. What is
/// in it stays there until there is something to write.
pub(super) fn create(path: &Path) -> Result<(File, String), Failure> {
    let shown = path.display().to_string();
    let remedy = |error: io::Error| {
        Failure::Refused(format!("--hdr {shown}: {error}; name a file that can be written"))
    };
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(path).map_err(remedy)?;
    Ok((file, shown))
}

/// Writes a histogram in place of what was there.
pub(super) fn save(file: &mut File, latency: &Latency) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(&latency.to_bytes())
}

//! `closecall load merge`: merges several histograms into one.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::hdr::{Hdr, TEXT};
use super::text;
use crate::cli::args::MergeArgs;
use crate::cli::say::{json, say, warn};
use crate::cli::values::Format;
use crate::cli::{EXIT_FAILED, Failure};
use crate::load::{Latency, Microseconds};

/// The longest histogram that `--hdr` writes, in bytes. A longer file is refused before it is read
/// into memory.
const FILE_BYTES_MAX: u64 = 1 << 24;

/// The merged histograms.
#[derive(Serialize)]
struct Merged {
    files: usize,
    count: u64,
    latency_us: Option<Microseconds>,
}

pub(super) fn run(args: &MergeArgs) -> Result<ExitCode, Failure> {
    if args.files.is_empty() {
        return Err(Failure::Usage(
            "FILE is missing: give files that --hdr wrote; see closecall load merge --help"
                .to_owned(),
        ));
    }
    let mut all = Latency::default();
    for path in &args.files {
        let latency = read(path)?;
        all.add(&latency).map_err(|error| refused(path, &error))?;
    }
    // It may be one of the files that were read.
    let mut hdr = args.hdr.as_deref().map(Hdr::create).transpose()?;
    if let Some(hdr) = &mut hdr
        && let Err(error) = hdr.save(&all)
    {
        warn(&error);
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
    // A FIFO may never end, and a device never does.
    if !fs::metadata(path).map_err(|error| refused(path, &error))?.is_file() {
        return Err(refused(path, &io::Error::other("it is not a regular file")));
    }
    let file = File::open(path).map_err(|error| refused(path, &error))?;
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| refused(path, &error))?;
    match bytes.len() as u64 {
        0..=FILE_BYTES_MAX => Latency::from_bytes(&bytes).map_err(|error| match path.extension() {
            Some(ending) if ending == TEXT => {
                let (path, beside) = (path.display(), path.with_extension(""));
                Failure::Refused(format!(
                    "{path}: this is the text form of a histogram; give {} instead",
                    beside.display()
                ))
            }
            _ => refused(path, &error),
        }),
        _ => Err(refused(path, &crate::load::NotAHistogram)),
    }
}

fn refused(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::Refused(format!("{}: {error}; give files that --hdr wrote", path.display()))
}

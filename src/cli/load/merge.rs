//! `closecall load merge`: several histograms as one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::{json, text};
use crate::cli::args::MergeArgs;
use crate::cli::client::say;
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
        && let Err(error) = file.write_all(&all.to_bytes())
    {
        super::complain(&format!("--hdr {path}: {error}"));
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
    let length = fs::metadata(path).map_err(|error| refused(path, &error))?.len();
    if length > FILE_BYTES_MAX {
        return Err(refused(path, &crate::load::NotAHistogram));
    }
    let bytes = fs::read(path).map_err(|error| refused(path, &error))?;
    Latency::from_bytes(&bytes).map_err(|error| refused(path, &error))
}

fn refused(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::Refused(format!("{}: {error}; give files that --hdr wrote", path.display()))
}

/// Opens what `--hdr` names, so that a run is not lost for a name that cannot be written.
pub(super) fn create(path: &Path) -> Result<(File, String), Failure> {
    let shown = path.display().to_string();
    let remedy = |error: io::Error| {
        Failure::Refused(format!("--hdr {shown}: {error}; name a file that can be written"))
    };
    let file = File::create(path).map_err(remedy)?;
    Ok((file, shown))
}

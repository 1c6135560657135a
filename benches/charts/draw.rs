//! Draws the charts in docs/ from the JSON of the measurements.
//!
//! ```text
//! cargo run --example draw -- OUT.svg FILE.json...
//! ```
//!
//! What a file holds decides what is drawn: one report of `make compare`, or any number of reports
//! of `closecall load echo --format json`, in one file or in several. The files are read as they
//! are: whatever is in a chart was measured.

mod compare;
mod latency;
mod style;

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use serde_json::{Deserializer, Value};

use compare::Comparison;
use latency::Run;

const USAGE: &str = "usage: draw OUT.svg FILE.json...";

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What the files hold, and so what is drawn.
enum Chart {
    Compare(Comparison),
    Latency(Vec<Run>),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [out, files @ ..] = &arguments[..] else { return refuse(2, USAGE) };
    if !out.ends_with(".svg") || files.is_empty() {
        return refuse(2, USAGE);
    }
    let drawn = read_all(files).and_then(|values| chart(&values)).and_then(|chart| {
        let command = format!("cargo run --example draw -- {}", arguments.join(" "));
        match chart {
            Chart::Compare(comparison) => compare::draw(&comparison, &command),
            Chart::Latency(runs) => latency::draw(&runs, &command),
        }
    });
    let svg = match drawn {
        Ok(svg) => svg,
        Err(error) => return refuse(3, &error.to_string()),
    };
    match fs::write(Path::new(out), svg) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(3, &format!("{out}: {error}")),
    }
}

fn refuse(code: u8, text: &str) -> ExitCode {
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "draw: {text}");
    ExitCode::from(code)
}

/// Every JSON value in every file, with the name of its file.
fn read_all(files: &[String]) -> Outcome<Vec<(String, Value)>> {
    let mut values = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        let before = values.len();
        for value in Deserializer::from_str(&text).into_iter() {
            let value = value.map_err(|error| format!("{file}: not JSON: {error}"))?;
            values.push((file.clone(), value));
        }
        if values.len() == before {
            return Err(format!("{file}: there is nothing in it").into());
        }
    }
    Ok(values)
}

fn chart(values: &[(String, Value)]) -> Outcome<Chart> {
    let is_comparison = |value: &Value| value["tool"] == "compare";
    match values {
        [(file, value)] if is_comparison(value) => Ok(Chart::Compare(parse(file, value)?)),
        _ => {
            let runs = values.iter().map(|(file, value)| {
                if is_comparison(value) {
                    return Err(format!("{file}: a comparison is drawn by itself").into());
                }
                if value.get("latency_us").is_none() {
                    let known = "neither of `make compare` nor of `closecall load --format json`";
                    return Err(format!("{file}: {known}").into());
                }
                parse(file, value)
            });
            runs.collect::<Outcome<_>>().map(Chart::Latency)
        }
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(file: &str, value: &'a Value) -> Outcome<T> {
    T::deserialize(value).map_err(|error| format!("{file}: {error}").into())
}

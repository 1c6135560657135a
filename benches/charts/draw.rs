//! Draws the charts in docs/ from the JSON of the measurements.
//!
//! ```text
//! cargo run --example draw -- OUT.svg FILE.json...
//! ```
//!
//! What a file holds decides what is drawn: one report of `make compare` or of `make fair`, or any
//! number of reports of `closecall load echo --format json`, in one file or in several. The files
//! are read as they are: whatever is in a chart was measured.

mod compare;
mod fair;
mod latency;
mod style;

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use serde_json::{Deserializer, Value};

use compare::Comparison;
use fair::Fairness;
use latency::Run;

const USAGE: &str = "usage: draw OUT.svg FILE.json...";

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What the files hold, and so what is drawn.
enum Chart {
    Compare(Comparison),
    Fair(Fairness),
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
            Chart::Fair(fairness) => fair::draw(&fairness, &command),
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
    // With a closed stderr this cannot be reported.
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
    let tool = |value: &Value| value["tool"].as_str().map(str::to_owned);
    match values {
        [(file, value)] if tool(value).as_deref() == Some("compare") => {
            Ok(Chart::Compare(parse(file, value)?))
        }
        [(file, value)] if tool(value).as_deref() == Some("fair") => {
            Ok(Chart::Fair(parse(file, value)?))
        }
        _ => {
            let runs = values.iter().map(|(file, value)| {
                if let Some(tool) = tool(value) {
                    return Err(format!("{file}: a report of `{tool}` is drawn by itself").into());
                }
                if value.get("latency_us").is_none() {
                    let known = "no report of `make compare`, `make fair` or `closecall load echo`";
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

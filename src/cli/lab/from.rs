//! `--from`: reads a report that `--format json` wrote.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

use crate::cli::Failure;
use crate::lab::LabReport;

/// The longest report. A report of the whole lab with its packets has a few megabytes.
const BYTES_MAX: u64 = 256 << 20;

/// The report in this file, or on stdin if the path is `-`.
///
/// # Errors
/// The file cannot be read, or it is not a report.
pub(super) fn read(path: &Path) -> Result<LabReport, Failure> {
    let read = match path.to_str() {
        Some("-") => all_of(io::stdin().lock()),
        _ => File::open(path).and_then(all_of),
    };
    let report = match read {
        Ok(bytes) if bytes.len() as u64 > BYTES_MAX => {
            Err(format!("is longer than {} MiB", BYTES_MAX >> 20))
        }
        Ok(bytes) => parsed(&bytes).map_err(|error| format!("is not a report of the lab: {error}")),
        Err(error) => Err(format!("cannot be read: {error}")),
    };
    report.map_err(|why| {
        let remedy = "give a file that closecall lab --format json wrote";
        Failure::Refused(format!("--from {path:?} {why}; {remedy}"))
    })
}

/// Reads the source up to one byte more than is allowed.
fn all_of(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Parses a report. Unknown fields are ignored; fields that an older report lacks are filled in.
fn parsed(bytes: &[u8]) -> Result<LabReport, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(bytes)?;
    clean(&mut value);
    let rows = value.get_mut("rows").and_then(Value::as_array_mut);
    for via in rows.into_iter().flatten().filter_map(|row| row.get_mut("via")) {
        complete(via);
    }
    serde_json::from_value(value)
}

/// Fills in `change` of an older report from its differences.
fn complete(via: &mut Value) {
    let Some(via) = via.as_object_mut().filter(|via| !via.contains_key("change")) else { return };
    let differs = via.get("differs").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
    via.insert("change".to_owned(), if differs { "differs" } else { "same" }.into());
}

/// Replaces control characters: the file may come from anywhere, and a terminal obeys escape
/// sequences. The depth of the recursion is bounded, because serde_json bounds it.
fn clean(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(char::is_control) => {
            *text = text.replace(char::is_control, "\u{fffd}");
        }
        Value::Array(values) => values.iter_mut().for_each(clean),
        Value::Object(fields) => fields.values_mut().for_each(clean),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = r#""server":{"address":"[::1]:1","alive":true,"echoes":true,
        "died_of":[],"hung_in":[],"deadline_ms":null}"#;

    fn report(rows: &str) -> Result<LabReport, String> {
        let text = format!(r#"{{{SERVER},"wire":"expected","rows":[{rows}]}}"#);
        parsed(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn unknown_fields_are_ignored_and_missing_ones_have_their_default() {
        let row = r#"{"id":"S1","client":"c","order":"o","wire":"","outcome":"ok","note":"",
            "of_another_century":{"x":[1]}}"#;
        let report = report(row).unwrap();
        assert_eq!((report.planned, report.rows[0].verdict.as_ref()), (None, None));
    }

    #[test]
    fn a_report_without_change_gets_it_from_its_differences() {
        let seen = r#"{"bytes":0,"end":null,"end_us":null,"in_vain":null,"serves":true}"#;
        let row = |differs: &str| {
            format!(
                r#"{{"id":"S1","client":"","order":"","wire":"","outcome":"ok","note":"",
                "via":{{"wire":"","seen":{seen},"differs":{differs}}}}}"#
            )
        };
        let change =
            |differs: &str| report(&row(differs)).unwrap().rows.remove(0).via.map(|via| via.change);
        assert_eq!(change("[]"), Some(crate::lab::Change::Same));
        assert_eq!(change(r#"["the client gets"]"#), Some(crate::lab::Change::Differs));
    }

    #[test]
    fn a_report_cannot_send_escape_sequences() {
        let row = r#"{"id":"S1\u001b[2J","client":"a\nb","order":"","wire":"","outcome":"ok",
            "note":""}"#;
        let row = report(row).unwrap().rows.remove(0);
        assert_eq!((&*row.id, &*row.client), ("S1\u{fffd}[2J", "a\u{fffd}b"));
    }

    #[test]
    fn the_error_about_an_invalid_report_has_the_reason() {
        let error = |text: &str| parsed(text.as_bytes()).unwrap_err().to_string();
        assert!(error("").contains("EOF"));
        assert!(error("{}").contains("server"));
        assert!(report("{}").unwrap_err().contains("id"));
    }
}

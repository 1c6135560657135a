//! `--from`: a report that `--format json` wrote.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

use crate::cli::Failure;
use crate::lab::LabReport;

/// A whole lab with its packets has some megabytes.
const BYTES_MAX: u64 = 256 << 20;

/// The report in this file, or on stdin if that is `-`.
///
/// # Errors
/// It cannot be read, or it is none.
pub(super) fn read(path: &Path) -> Result<LabReport, Failure> {
    let read = match path.to_str() {
        Some("-") => all_of(io::stdin().lock()),
        _ => File::open(path).and_then(all_of),
    };
    let report = match read {
        Ok(bytes) if bytes.len() as u64 > BYTES_MAX => {
            Err(format!("has more than {} MiB", BYTES_MAX >> 20))
        }
        Ok(bytes) => parsed(&bytes).map_err(|error| format!("is no report of the lab: {error}")),
        Err(error) => Err(format!("cannot be read: {error}")),
    };
    report.map_err(|why| {
        let remedy = "name a file that closecall lab --format json has written";
        Failure::Refused(format!("--from {path:?} {why}; {remedy}"))
    })
}

/// One byte more than there may be, at most.
fn all_of(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What is unknown is ignored. What an older report does not have is filled in.
fn parsed(bytes: &[u8]) -> Result<LabReport, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(bytes)?;
    clean(&mut value);
    let rows = value.get_mut("rows").and_then(Value::as_array_mut);
    for via in rows.into_iter().flatten().filter_map(|row| row.get_mut("via")) {
        complete(via);
    }
    serde_json::from_value(value)
}

/// A report from before there was `change` has the differences.
fn complete(via: &mut Value) {
    let Some(via) = via.as_object_mut().filter(|via| !via.contains_key("change")) else { return };
    let differs = via.get("differs").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
    via.insert("change".to_owned(), if differs { "differs" } else { "same" }.into());
}

/// The file may be anybody's, and a terminal obeys what is behind an escape. The depth of what
/// serde_json reads is bounded.
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
    fn what_is_unknown_is_ignored_and_what_is_missing_has_its_default() {
        let row = r#"{"id":"S1","client":"c","order":"o","wire":"","outcome":"ok","note":"",
            "of_another_century":{"x":[1]}}"#;
        let report = report(row).unwrap();
        assert_eq!((report.planned, report.rows[0].verdict.as_ref()), (None, None));
    }

    #[test]
    fn a_difference_is_one_also_in_a_report_without_its_kind() {
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
    fn a_report_does_not_move_the_cursor() {
        let row = r#"{"id":"S1\u001b[2J","client":"a\nb","order":"","wire":"","outcome":"ok",
            "note":""}"#;
        let row = report(row).unwrap().rows.remove(0);
        assert_eq!((&*row.id, &*row.client), ("S1\u{fffd}[2J", "a\u{fffd}b"));
    }

    #[test]
    fn what_is_no_report_says_what_is_wrong() {
        let error = |text: &str| parsed(text.as_bytes()).unwrap_err().to_string();
        assert!(error("").contains("EOF"));
        assert!(error("{}").contains("server"));
        assert!(report("{}").unwrap_err().contains("id"));
    }
}

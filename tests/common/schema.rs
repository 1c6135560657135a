//! Checks a report against its schema in docs/.

use serde_json::Value;

/// Checks `report` against the text of a schema.
#[track_caller]
pub(crate) fn assert_valid(schema: &str, report: &Value) {
    let validator = jsonschema::options().build(&serde_json::from_str(schema).unwrap()).unwrap();
    let errors: Vec<_> = validator.iter_errors(report).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new(), "{report:#}");
}

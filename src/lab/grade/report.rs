//! The result of the exercise: plain rows, as they stand in its JSON.
//!
//! The fields and their names are a promise, see `docs/grade.schema.json`: fields may be added,
//! none is renamed.

use serde::Serialize;

/// The names of the levels, from the first; docs/GRADE.md says what each asks for.
pub const LEVELS: [&str; 7] = [
    "echoes",
    "many at once",
    "survives resets",
    "half-close",
    "slow readers",
    "deadlines",
    "drain",
];

/// The grade of a server, and why it is not higher.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GradeReport {
    /// The server's address.
    pub server: String,
    /// The number of levels that were passed in order from the first, up to the first that was
    /// not. A skipped level does not count and does not end the count.
    pub grade: u8,
    /// The highest grade that this run could give: the number of levels that were not skipped.
    pub highest: u8,
    /// The text that the server sends before each reply; null if it did not echo.
    pub prefix: Option<String>,
    /// One row for each level. An interrupted run has fewer than seven.
    pub levels: Vec<LevelRow>,
}

impl GradeReport {
    /// Whether every level was passed or skipped.
    pub fn is_passed(&self) -> bool {
        self.grade == self.highest && self.levels.len() == LEVELS.len()
    }
}

/// One level.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LevelRow {
    /// 1 to 7.
    pub level: u8,
    /// Its name.
    pub name: String,
    /// The result.
    pub outcome: LevelOutcome,
    /// What was observed; null for a level that was passed.
    pub observed: Option<String>,
    /// What to change in the server; null unless the level was failed.
    pub change: Option<String>,
    /// A command that shows the fault again; null unless the level was failed.
    pub replay: Option<String>,
    /// A remark on a level that was passed; usually null.
    pub note: Option<String>,
}

/// The result of a level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LevelOutcome {
    /// The server did what the level asks for.
    Passed,
    /// It did not.
    Failed,
    /// The level needs something that this run does not have.
    Skipped,
    /// The server did not echo, or had gone before the level began.
    NotPlayed,
}

impl LevelOutcome {
    /// In words, for the table.
    pub fn name(self) -> &'static str {
        match self {
            LevelOutcome::Passed => "passed",
            LevelOutcome::Failed => "failed",
            LevelOutcome::Skipped => "skipped",
            LevelOutcome::NotPlayed => "not played",
        }
    }
}

#[cfg(test)]
mod tests {
    use schemars::generate::SchemaSettings;
    use snapbox::{assert_data_eq, file};

    use super::*;

    /// SNAPSHOTS=overwrite writes it anew.
    #[test]
    fn the_schema_in_docs_is_that_of_the_types() {
        let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        let mut schema = generator.into_root_schema_for::<GradeReport>();
        schema.insert("title".to_owned(), "closecall lab --grade --format json".into());
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        assert_data_eq!(text, file!["../../../docs/grade.schema.json"].raw());
    }
}

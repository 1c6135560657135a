//! Width and colours of the output.

use std::io::{self, IsTerminal};

use console::Term;

use crate::cli::fit;
use crate::lab::summary::is_compared;
use crate::lab::{Change, Row, RowOutcome};

/// The width without a terminal and without COLUMNS.
const COLUMNS: usize = 80;

/// The bounds of COLUMNS: a narrower table has no room for an id, a wider one is not readable.
const COLUMNS_MIN: usize = 20;
const COLUMNS_MAX: usize = 1000;

/// Properties of the output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    pub(super) columns: usize,
    pub(super) has_colours: bool,
}

impl Screen {
    /// The properties of stdout: the width of its terminal, or of COLUMNS if it is not a terminal.
    pub(super) fn of_stdout() -> Screen {
        let terminal = Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
        let said = || std::env::var("COLUMNS").ok()?.trim().parse().ok();
        let is_usable = |columns: &usize| (COLUMNS_MIN..=COLUMNS_MAX).contains(columns);
        let columns = terminal.filter(|columns| *columns > 0);
        let columns = columns.or_else(|| said().filter(is_usable)).unwrap_or(COLUMNS);
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Screen { columns, has_colours: io::stdout().is_terminal() && !unwanted }
    }

    /// `text` in the colour of `mark`, if colours are on.
    pub(super) fn coloured(&self, mark: Mark, text: &str) -> String {
        match mark.colour().filter(|_| self.has_colours && !text.is_empty()) {
            Some(colour) => format!("\x1b[{colour}m{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }

    /// Text behind `name`, wrapped at the width; each of its lines has the colour.
    pub(super) fn behind(&self, name: &str, text: &str, mark: Mark) -> String {
        let shown = |(before, line): (String, &str)| match line {
            "" => format!("{}\n", before.trim_end()),
            _ => format!("{before}{}\n", self.coloured(mark, line)),
        };
        fit::lines(name, text, self.columns).into_iter().map(shown).collect()
    }
}

/// The mark before a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    None,
    Ok,
    Same,
    Differs,
    Lost,
    Skipped,
    Failed,
}

impl Mark {
    /// The mark of a row: its outcome, or in a run through a proxy the change by the proxy.
    pub(super) fn of(row: &Row, is_behind_proxy: bool) -> Mark {
        let change = row.via.as_ref().map(|via| via.change);
        match (row.outcome, change) {
            (RowOutcome::Failed, _) => Mark::Failed,
            (_, Some(Change::Lost)) => Mark::Lost,
            (RowOutcome::Skipped, _) => Mark::Skipped,
            _ if is_behind_proxy && !is_compared(row) => Mark::Skipped,
            (_, Some(Change::Differs)) => Mark::Differs,
            (_, Some(Change::Same)) if is_behind_proxy => Mark::None,
            (RowOutcome::Same, _) => Mark::Same,
            (RowOutcome::Ok, _) => Mark::Ok,
        }
    }

    /// At most two columns.
    pub(super) fn text(self) -> &'static str {
        match self {
            Mark::None => "",
            Mark::Ok => "ok",
            Mark::Same => "=",
            Mark::Differs => "!",
            Mark::Lost => "!!",
            Mark::Skipped => "-",
            Mark::Failed => "X",
        }
    }

    fn colour(self) -> Option<u8> {
        match self {
            Mark::None => None,
            Mark::Ok => Some(32),
            Mark::Same => Some(36),
            Mark::Differs | Mark::Skipped => Some(33),
            Mark::Lost | Mark::Failed => Some(31),
        }
    }
}

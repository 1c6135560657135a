//! Rows of cells, for a terminal or for an issue.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, Width};

use super::wrap;
use crate::lab::Outcome;

/// The width where there is no terminal.
const WIDTH: u16 = 120;

/// A space on each side of a cell.
const PADDING: u16 = 2;

/// How wide stdout is, if it is a terminal. Elsewhere no line is broken: what reads it there, such
/// as grep, takes lines.
pub(super) fn terminal() -> Option<usize> {
    Table::new().width().map(usize::from)
}

/// A table as wide as the terminal, or blocks where that is too narrow for it. The last cell of a
/// row has the colour of its outcome.
pub(super) fn table(head: &[&str], rows: &[Vec<String>], outcomes: &[Option<Outcome>]) -> String {
    let width = Table::new().width().unwrap_or(WIDTH);
    let colours = super::has_colours();
    let outcomes = if colours { outcomes } else { &[] };
    match columns(head, rows, width) {
        Some(widths) => grid(head, rows, outcomes, (width, &widths)),
        None => blocks(head, rows, outcomes, terminal()),
    }
}

/// Room in each column for its longest word, if there is so much room.
fn columns(head: &[&str], rows: &[Vec<String>], width: u16) -> Option<Vec<u16>> {
    let longest = |column: usize| {
        let cells = rows.iter().map(|row| &*row[column]).chain([head[column]]);
        let words = cells.flat_map(str::split_whitespace).map(|word| word.chars().count());
        u16::try_from(words.max().unwrap_or(0)).unwrap_or(u16::MAX).saturating_add(PADDING)
    };
    let widths: Vec<u16> = (0..head.len()).map(longest).collect();
    // Between two columns there is a space.
    let all = widths.iter().fold(0u16, |sum, width| sum.saturating_add(*width).saturating_add(1));
    (all <= width).then_some(widths)
}

fn grid(
    head: &[&str],
    rows: &[Vec<String>],
    outcomes: &[Option<Outcome>],
    (width, widths): (u16, &[u16]),
) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width);
    if outcomes.is_empty() {
        table.force_no_tty();
    }
    table.set_header(head);
    for (index, row) in rows.iter().enumerate() {
        let outcome = outcomes.get(index).copied().flatten();
        table.add_row(row.iter().enumerate().map(|(column, text)| match outcome {
            Some(outcome) if column + 1 == head.len() => Cell::new(text).fg(colour(outcome)),
            _ => Cell::new(text),
        }));
    }
    for (column, width) in table.column_iter_mut().zip(widths) {
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(*width)));
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    lines.concat()
}

/// A block for each row, a line for each cell that says something, or several within `width`.
fn blocks(
    head: &[&str],
    rows: &[Vec<String>],
    outcomes: &[Option<Outcome>],
    width: Option<usize>,
) -> String {
    let names = head.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        text += if index > 0 { "\n" } else { "" };
        let outcome = outcomes.get(index).copied().flatten();
        for (column, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
            let colour = outcome.filter(|_| column + 1 == head.len()).map(ansi);
            text += &match column {
                0 => wrap::behind("", cell, width),
                _ => coloured(&format!("  {:names$}  ", head[column]), cell, colour, width),
            };
        }
    }
    text
}

/// A cell behind its name. Each of its lines has the colour.
fn coloured(name: &str, cell: &str, colour: Option<&str>, width: Option<usize>) -> String {
    let Some(colour) = colour else { return wrap::behind(name, cell, width) };
    let shown = |(before, line): (String, &str)| match line {
        "" => format!("{}\n", before.trim_end()),
        _ => format!("{before}{colour}{line}\x1b[0m\n"),
    };
    wrap::lines(name, cell, width).into_iter().map(shown).collect()
}

fn ansi(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "\x1b[32m",
        Outcome::Same => "\x1b[36m",
        Outcome::Skipped => "\x1b[33m",
        Outcome::Failed => "\x1b[31m",
    }
}

fn colour(outcome: Outcome) -> Color {
    match outcome {
        Outcome::Ok => Color::Green,
        Outcome::Same => Color::Cyan,
        Outcome::Skipped => Color::Yellow,
        Outcome::Failed => Color::Red,
    }
}

/// The same as Markdown.
pub(super) fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &mut dyn Iterator<Item = String>| {
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let mut text = line(&mut head.iter().map(|cell| escaped(cell)));
    text += &line(&mut head.iter().map(|_| "---".to_owned()));
    for row in rows {
        text += &line(&mut row.iter().map(|cell| escaped(cell)));
    }
    text
}

/// A pipe would end the cell, a newline the row, and a bracket may begin a tag.
fn escaped(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    for letter in cell.chars() {
        match letter {
            '|' => text.push_str("\\|"),
            '\\' => text.push_str("\\\\"),
            '<' => text.push_str("&lt;"),
            '\n' | '\r' => text.push(' '),
            _ => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_gets_blocks_and_no_broken_word() {
        let (head, rows) =
            (["id", "verdict"], [vec!["S1".to_owned(), "peer_fin.delivered".to_owned()]]);
        assert_eq!(columns(&head, &rows, 25), None);
        assert_eq!(columns(&head, &rows, 26), Some(vec![4, 20]));
        assert!(grid(&head, &rows, &[], (26, &[4, 20])).contains(" S1   peer_fin.delivered\n"));
        let whole = "S1\n  verdict  peer_fin.delivered\n";
        assert_eq!(blocks(&head, &rows, &[], Some(29)), whole);
        let green = blocks(&head, &rows, &[Some(Outcome::Ok)], None);
        assert!(green.contains("\x1b[32mpeer_fin.delivered\x1b[0m"), "{green:?}");
    }

    #[test]
    fn a_block_stays_within_the_terminal_and_each_line_has_its_colour() {
        let (head, rows) =
            (["id", "outcome"], [vec!["S10a".to_owned(), "not played here".to_owned()]]);
        let expected = "S10a\n  outcome  not played\n           here\n";
        assert_eq!(blocks(&head, &rows, &[], Some(22)), expected);
        let yellow = blocks(&head, &rows, &[Some(Outcome::Skipped)], Some(22));
        for line in ["  outcome  \x1b[33mnot played\x1b[0m\n", "           \x1b[33mhere\x1b[0m\n"] {
            assert!(yellow.contains(line), "{yellow:?}");
        }
    }

    #[test]
    fn a_cell_of_markdown_stays_in_its_cell() {
        let rows = [vec!["a|b".to_owned(), "c\nd\\<e>".to_owned()]];
        let expected = "| x | y |\n| --- | --- |\n| a\\|b | c d\\\\&lt;e> |\n";
        assert_eq!(markdown(&["x", "y"], &rows), expected);
    }
}

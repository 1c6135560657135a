//! Table layout: one line for each row, with columns that share the width of a terminal.

use super::{Mark, Screen};
use crate::cli::fit::{cut, lines, pad, pad_start, width};

/// The width of an id. The few longer ids shift the text behind them.
const ID_COLUMNS: usize = 4;

/// The least width of id and client together.
const NAME_COLUMNS_MIN: usize = 20;

/// The least width of a column with [`Need::Rest`].
const REST_COLUMNS_MIN: usize = 24;

/// The width of the mark and a space.
const MARK_COLUMNS: usize = 3;

/// The treatment of a column if the width is too small.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// Always shown.
    Shown,
    /// Left out on a narrow terminal, the last such column first.
    Wanted,
    /// Takes the width that the other columns leave.
    Rest,
}

/// A column behind the id and the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) head: &'static str,
    pub(super) need: Need,
    /// Whether the cells are aligned to the right, for numbers.
    pub(super) at_right: bool,
}

impl Column {
    pub(super) const fn new(head: &'static str, need: Need) -> Column {
        Column { head, need, at_right: false }
    }
}

/// A row: a cell for each column.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) mark: Mark,
    pub(super) id: String,
    pub(super) client: String,
    pub(super) cells: Vec<String>,
    /// A line of its own below the row.
    pub(super) below: Option<String>,
}

/// The widths of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Layout {
    id: usize,
    name: usize,
    gap: usize,
    /// The width of each column; `None` for a column that is left out.
    columns: Vec<Option<usize>>,
}

/// The head and all rows, each on a line within the screen.
pub(super) fn table(columns: &[Column], rows: &[Line], screen: &Screen) -> String {
    let layout = layout(columns, rows, screen.columns);
    let heads: Vec<String> = columns.iter().map(|column| column.head.to_owned()).collect();
    let mut text = line(&layout, columns, ["id", "the client"], &heads, Mark::None, screen);
    for row in rows {
        let name = [row.id.as_str(), row.client.as_str()];
        text += &line(&layout, columns, name, &row.cells, row.mark, screen);
        if let Some(below) = &row.below {
            let before = " ".repeat(MARK_COLUMNS + layout.id + 1);
            for (before, line) in lines(&before, below, screen.columns) {
                text += &format!("{before}{}\n", screen.coloured(row.mark, line));
            }
        }
    }
    text
}

fn line(
    layout: &Layout,
    columns: &[Column],
    [id, client]: [&str; 2],
    cells: &[String],
    mark: Mark,
    screen: &Screen,
) -> String {
    let name = format!("{} {client}", pad(id, layout.id));
    let gap = " ".repeat(layout.gap);
    let mut text = pad(&cut(&name, layout.name), layout.name);
    for ((column, width), cell) in columns.iter().zip(&layout.columns).zip(cells) {
        let Some(width) = *width else { continue };
        let cell = cut(cell, width);
        let cell = if column.at_right { pad_start(&cell, width) } else { pad(&cell, width) };
        text += &format!("{gap}{cell}");
    }
    let text = cut(text.trim_end(), screen.columns.saturating_sub(MARK_COLUMNS));
    let spaces = " ".repeat(MARK_COLUMNS - mark.text().len());
    let line = format!("{}{spaces}{text}", screen.coloured(mark, mark.text()));
    line.trim_end().to_owned() + "\n"
}

/// Whether all cells fit without being cut.
pub(super) fn fit(columns: &[Column], rows: &[Line], room: usize) -> bool {
    let layout = layout(columns, rows, room);
    let is_whole = |index: usize| {
        let cells = rows.iter().map(|row| width(&row.cells[index])).max().unwrap_or(0);
        columns[index].need == Need::Rest || layout.columns[index] >= Some(cells)
    };
    layout.gap > 1 && layout.name >= names(rows, layout.id) && (0..columns.len()).all(is_whole)
}

/// The best layout for the width. The last resort cuts texts and leaves columns out.
fn layout(columns: &[Column], rows: &[Line], room: usize) -> Layout {
    let natural = |index: usize| {
        let cells = rows.iter().map(|row| row.cells[index].as_str());
        cells.chain([columns[index].head]).map(width).max().unwrap_or(0)
    };
    let naturals: Vec<usize> = (0..columns.len()).map(natural).collect();
    let is_said = |index: usize| rows.iter().any(|row| !row.cells[index].is_empty());
    let rest = (0..columns.len()).find(|&it| columns[it].need == Need::Rest && is_said(it));
    let with = |id: usize, gap: usize, rest_columns: Option<usize>| {
        let width = |index: usize| match columns[index].need {
            Need::Rest => rest_columns,
            Need::Shown | Need::Wanted => Some(naturals[index]),
        };
        Layout { id, name: names(rows, id), gap, columns: (0..columns.len()).map(width).collect() }
    };
    let ids = rows.iter().map(|row| width(&row.id)).max().unwrap_or(0).max(ID_COLUMNS);
    let whole = rest.map(|index| naturals[index]);
    let candidates = [
        with(ids, 2, whole),
        with(ID_COLUMNS, 2, whole),
        // A cut column of evidence is more useful than aligned ids.
        with(ID_COLUMNS, 2, whole.map(|it| it.min(REST_COLUMNS_MIN))),
        with(ids, 2, None),
        with(ID_COLUMNS, 2, None),
        with(ID_COLUMNS, 1, None),
    ];
    let last = candidates[5].clone();
    let fits = candidates.into_iter().find(|layout| layout.total() <= room);
    let Some(mut layout) = fits else { return narrowed(last, columns, room) };
    let left = room - layout.total();
    if let (Some(rest), Some(whole)) = (rest, whole)
        && let Some(columns) = &mut layout.columns[rest]
    {
        *columns = (*columns + left).min(whole);
    }
    layout
}

/// Cuts the client's description first, then leaves columns out.
fn narrowed(mut layout: Layout, columns: &[Column], room: usize) -> Layout {
    let mut wanted: Vec<usize> = (0..columns.len())
        .filter(|&index| columns[index].need == Need::Wanted)
        .filter(|&index| layout.columns[index].is_some())
        .collect();
    let name = layout.name;
    loop {
        let others = layout.total() - layout.name;
        let left = room.saturating_sub(others);
        if left >= NAME_COLUMNS_MIN.min(name) {
            layout.name = left.min(name);
            return layout;
        }
        layout.name = left.min(name);
        let Some(index) = wanted.pop() else { return layout };
        layout.columns[index] = None;
    }
}

impl Layout {
    fn total(&self) -> usize {
        let columns = self.columns.iter().flatten().map(|width| self.gap + width);
        MARK_COLUMNS + self.name + columns.sum::<usize>()
    }
}

/// The width of the ids and the clients together.
fn names(rows: &[Line], id: usize) -> usize {
    let name = |row: &Line| width(&row.id).max(id) + 1 + width(&row.client);
    rows.iter().map(name).max().unwrap_or(0).max(id + 1 + "the client".len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::new("recv", Need::Wanted),
        Column::new("verdict", Need::Shown),
        Column { head: "lost", need: Need::Wanted, at_right: true },
        Column::new("evidence", Need::Rest),
    ];

    fn line(id: &str, client: &str) -> Line {
        let cells = ["0", "peer_fin.delivered", "37", "no FIN; rx 14 tx 37"].map(str::to_owned);
        let (id, client) = (id.to_owned(), client.to_owned());
        Line { mark: Mark::Ok, id, client, cells: cells.to_vec(), below: None }
    }

    fn shown(columns: usize) -> String {
        let rows = [line("S1", "reads"), line("S3 FIN first", "sends, closes")];
        table(&COLUMNS, &rows, &Screen { columns, has_colours: false })
    }

    #[test]
    fn a_wide_screen_has_a_column_of_ids_and_the_evidence() {
        let expected = "   \
   id           the client     recv  verdict             lost  evidence
ok S1           reads          0     peer_fin.delivered    37  no FIN; rx 14 tx 37
ok S3 FIN first sends, closes  0     peer_fin.delivered    37  no FIN; rx 14 tx 37
";
        assert_eq!(shown(100), expected.trim_start_matches("   \n"));
    }

    #[test]
    fn a_narrow_screen_leaves_out_the_evidence_then_numbers_then_words() {
        let lines = |columns| shown(columns).lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(68)[2], "ok S3 FIN first sends, closes  0     peer_fin.delivered    37");
        assert_eq!(lines(60)[1], "ok S1   reads                 0    peer_fin.delivered   37");
        assert_eq!(lines(56)[2], "ok S3 FIN first sends, clo… 0    peer_fin.delivered   37");
        assert_eq!(lines(50)[2], "ok S3 FIN first sends, cl… 0    peer_fin.delivered");
        assert_eq!(lines(42)[2], "ok S3 FIN first sends,… peer_fin.delivered");
    }

    #[test]
    fn no_line_is_longer_than_the_screen() {
        for columns in 8..120 {
            let text = shown(columns);
            assert!(text.lines().all(|line| width(line) <= columns), "{columns}: {text}");
        }
    }
}

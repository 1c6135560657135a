//! Tables and lists in Markdown, to paste into an issue.

/// A Markdown table.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
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

/// A Markdown list.
pub(super) fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("* {}\n", escaped(line))).collect()
}

/// Escapes a cell: a pipe would end the cell, a newline the row, and a bracket may begin a tag.
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
    fn a_cell_of_markdown_stays_in_its_cell() {
        let rows = [vec!["a|b".to_owned(), "c\nd\\<e>".to_owned()]];
        let expected = "| x | y |\n| --- | --- |\n| a\\|b | c d\\\\&lt;e> |\n";
        assert_eq!(table(&["x", "y"], &rows), expected);
        assert_eq!(list(&["a\nb".to_owned()]), "* a b\n");
    }
}

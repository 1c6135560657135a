//! Text within the width of a terminal. A character counts as one column: what the lab says has
//! none that is wider.

/// A name on a line of its own is this far to the left of what it names.
const INDENT: usize = 4;

/// Each line of `text` within `width`, if there is one, broken at spaces.
pub(super) fn paragraphs(text: &str, width: Option<usize>) -> String {
    text.lines().map(|line| behind("", line, width)).collect()
}

/// `text` behind `name`, and its further lines below its beginning.
pub(super) fn behind(name: &str, text: &str, width: Option<usize>) -> String {
    let whole = |(before, line): (String, &str)| format!("{}\n", (before + line).trim_end());
    lines(name, text, width).into_iter().map(whole).collect()
}

/// The same, a line at a time: what stands before the text, and the text. A name that would take
/// more than half of the width has a line of its own.
pub(super) fn lines<'a>(name: &str, text: &'a str, width: Option<usize>) -> Vec<(String, &'a str)> {
    let taken = name.chars().count();
    let is_alone = width.is_some_and(|width| 2 * taken > width);
    let indent = if is_alone { INDENT } else { taken };
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(indent).max(1));
    let body = broken(text, room).into_iter().map(|line| (" ".repeat(indent), line));
    if is_alone {
        return [(name.to_owned(), "")].into_iter().chain(body).collect();
    }
    let mut lines: Vec<_> = body.collect();
    lines[0].0 = name.to_owned();
    lines
}

/// Lines of at most `room` characters; at least one. A word that is longer is cut.
fn broken(text: &str, room: usize) -> Vec<&str> {
    let (mut lines, mut rest) = (Vec::new(), text);
    while let Some((end, next)) = rest.char_indices().nth(room) {
        // A space may also be the first character that has no room.
        let space = rest[..end + next.len_utf8()].rfind(' ').filter(|space| *space > 0);
        let (line, more) = rest.split_at(space.unwrap_or(end));
        lines.push(line.trim_end());
        rest = more.trim_start();
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_spaces_and_a_long_word_where_it_must_be() {
        assert_eq!(broken("", 5), [""]);
        assert_eq!(broken("ab cd", 5), ["ab cd"]);
        assert_eq!(broken("ab cd ef", 5), ["ab cd", "ef"]);
        assert_eq!(broken("ab cde", 5), ["ab", "cde"]);
        assert_eq!(broken("abcdefgh ij", 5), ["abcde", "fgh", "ij"]);
        assert_eq!(broken("→ 14 bytes ← FIN", 10), ["→ 14 bytes", "← FIN"], "not by bytes");
        assert_eq!(broken("a b", usize::MAX), ["a b"]);
    }

    #[test]
    fn what_is_broken_stands_below_its_beginning_or_below_its_name() {
        assert_eq!(behind("  id  ", "one two", Some(12)), "  id  one\n      two\n");
        assert_eq!(behind("  a long name  ", "one two", Some(12)), "  a long name\n    one two\n");
        assert_eq!(behind("  a long name  ", "one two", None), "  a long name  one two\n");
        assert_eq!(behind("  id  ", "", Some(12)), "  id\n");
    }

    #[test]
    fn lines_that_were_there_are_kept() {
        assert_eq!(paragraphs("one two\nthree\n", Some(5)), "one\ntwo\nthree\n");
        assert_eq!(paragraphs("one two\nthree\n", None), "one two\nthree\n");
        assert_eq!(paragraphs("", Some(5)), "");
    }
}

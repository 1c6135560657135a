//! Text layout: width on a terminal, padding, cutting and wrapping.
//!
//! A width is in columns of a terminal, by the Unicode tables: a Chinese character takes two, a
//! combining accent none.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The indent of a text below a name that has a line of its own.
const INDENT: usize = 4;

/// The number of columns of `text`.
pub(super) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// `text` with spaces behind it, `columns` wide.
pub(super) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// `text` with spaces before it, `columns` wide.
pub(super) fn pad_start(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(text))))
}

/// `text`, or as much of it as fits into `columns`, with an ellipsis if it is cut.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    format!("{}…", text[..fitting(text, room)].trim_end())
}

/// Each line of `text` wrapped at `columns`.
pub(super) fn paragraphs(text: &str, columns: usize) -> String {
    text.lines().map(|line| behind("", line, columns)).collect()
}

/// `text` behind `name`, wrapped, with further lines aligned to its beginning.
pub(super) fn behind(name: &str, text: &str, columns: usize) -> String {
    let whole = |(before, line): (String, &str)| format!("{}\n", (before + line).trim_end());
    lines(name, text, columns).into_iter().map(whole).collect()
}

/// The lines of [`behind`], each as the part before the text and the text. A name that takes more
/// than half of the width has one or more lines of its own.
pub(super) fn lines<'a>(name: &str, text: &'a str, columns: usize) -> Vec<(String, &'a str)> {
    let taken = width(name);
    let is_alone = taken > columns / 2;
    let indent = if is_alone { INDENT } else { taken };
    let room = columns.saturating_sub(indent).max(1);
    let body = broken(text, room).into_iter().map(|line| (" ".repeat(indent), line));
    if is_alone {
        let name =
            broken(name.trim_end(), columns.max(1)).into_iter().map(|line| (line.to_owned(), ""));
        return name.chain(body).collect();
    }
    let mut lines: Vec<_> = body.collect();
    lines[0].0 = name.to_owned();
    lines
}

/// `text` in lines of at most `room` columns; at least one line. A longer word is split.
fn broken(text: &str, room: usize) -> Vec<&str> {
    let (mut lines, mut rest) = (Vec::new(), text);
    while width(rest) > room {
        // A character wider than the room has a line of its own.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let end = fitting(rest, room).max(first);
        let next = rest[end..].chars().next().map_or(0, char::len_utf8);
        // The first character that does not fit may be a space.
        let space = rest[..end + next].rfind(' ').filter(|space| *space > 0);
        let (line, more) = rest.split_at(space.unwrap_or(end));
        lines.push(line.trim_end());
        rest = more.trim_start();
    }
    if lines.is_empty() || !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// The number of bytes of the characters of `text` that fit into `room` columns. It is never too
/// high: a sequence of characters is not wider than the sum of its characters.
fn fitting(text: &str, room: usize) -> usize {
    let mut taken = 0;
    let over = text.char_indices().find(|(_, letter)| {
        taken += letter.width().unwrap_or(1);
        taken > room
    });
    over.map_or(text.len(), |(at, _)| at)
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

    /// A character counted as one column: Chinese text was twice as wide as it should be.
    #[test]
    fn a_width_counts_terminal_columns_and_not_characters() {
        assert_eq!([width("服务器"), width("e\u{301}"), width("→ …")], [6, 1, 3]);
        assert_eq!(pad("服务器", 8), "服务器  ");
        assert_eq!(pad_start("服务器", 8), "  服务器");
        assert_eq!(cut("服务器", 6), "服务器");
        assert_eq!(cut("服务器", 5), "服务…");
        assert_eq!(cut("服务器", 4), "服…", "half a character does not fit");
        assert_eq!([cut("ab", 1), cut("ab", 0)], ["…", ""]);
        assert_eq!(broken("服务器 关闭", 6), ["服务器", "关闭"]);
        assert_eq!(broken("服务器", 1), ["服", "务", "器"], "it goes on");
        assert_eq!(behind("名 ", "服务 关闭", 7), "名 服务\n   关闭\n");
    }

    #[test]
    fn wrapped_text_is_aligned_to_its_beginning_or_below_its_name() {
        assert_eq!(behind("  id  ", "one two", 12), "  id  one\n      two\n");
        assert_eq!(behind("  a long name  ", "one two", 13), "  a long name\n    one two\n");
        assert_eq!(behind("  a long name  ", "one two", 99), "  a long name  one two\n");
        assert_eq!(behind("  a long name  ", "one", 8), "  a long\nname\n    one\n");
        assert_eq!(behind("  id  ", "", 12), "  id\n");
    }

    #[test]
    fn existing_line_breaks_are_kept() {
        assert_eq!(paragraphs("one two\nthree\n", 5), "one\ntwo\nthree\n");
        assert_eq!(paragraphs("one two\nthree\n", 99), "one two\nthree\n");
        assert_eq!(paragraphs("", 5), "");
    }
}

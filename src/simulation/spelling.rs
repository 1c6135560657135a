//! Choices as text that people can keep in a file and read in a diff.
//!
//! ```text
//! # what a line like this one says is for people
//! 07 00*12 a3 ff*3
//! ```
//!
//! Two hexadecimal digits are a byte; `*12` makes it twelve of them.

/// Bytes in a row that one word may stand for: a file that asks for more is broken.
const REPEATED_MAX: usize = 1 << 20;

/// Words in one line.
const WORDS: usize = 20;

/// Spells `bytes`, in lines that end with a newline.
pub fn spell(bytes: &[u8]) -> String {
    let runs: Vec<_> = bytes.chunk_by(|one, next| one == next).collect();
    let mut text = String::new();
    for line in runs.chunks(WORDS) {
        let words: Vec<String> = line.iter().copied().map(word).collect();
        text.push_str(&words.join(" "));
        text.push('\n');
    }
    text
}

/// The word for a run of the same byte, which is not empty.
fn word(run: &[u8]) -> String {
    match run.len() {
        1 => format!("{:02x}", run[0]),
        times => format!("{:02x}*{times}", run[0]),
    }
}

/// Reads what [`spell`] has written. What follows a `#` in a line is skipped.
///
/// # Errors
/// The first word that is none.
pub fn read_spelling(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or(line));
    for word in lines.flat_map(str::split_whitespace) {
        let (byte, times) = word.split_once('*').unwrap_or((word, "1"));
        let is_hex = byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
        let byte = u8::from_str_radix(byte, 16).ok().filter(|_| is_hex);
        let times = times.parse().ok().filter(|times| (1..=REPEATED_MAX).contains(times));
        let (Some(byte), Some(times)) = (byte, times) else {
            return Err(format!("{word:?} is not a byte such as 0a or 0a*12"));
        };
        bytes.extend(std::iter::repeat_n(byte, times));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spelled_is_read() {
        let mut bytes: Vec<u8> = (0..=255).chain([0; 300]).collect();
        bytes.extend([7, 7, 1]);
        assert_eq!(read_spelling(&format!("# a comment 0a\n{}", spell(&bytes))), Ok(bytes));
        assert_eq!(spell(&[10, 0, 0, 0, 255]), "0a 00*3 ff\n");
        assert_eq!(read_spelling(""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_spelling_is_refused() {
        for text in ["a", "0aa", "0a*", "0a*0", "0a*9999999999", "+1", "zz", "0a*-1"] {
            assert!(read_spelling(text).is_err(), "{text}");
        }
    }
}

//! A parser for the parts of a document that the tests need: its headings as anchors, its links,
//! its code.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A piece of a document, and the line on which it begins.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// A fenced block: its language, and its text.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) piece: Piece,
}

#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) path: PathBuf,
    /// What may stand behind `#` in a link to this document.
    pub(crate) anchors: HashSet<String>,
    pub(crate) links: Vec<Piece>,
    pub(crate) blocks: Vec<Block>,
    /// Code in a line of text.
    pub(crate) spans: Vec<Piece>,
}

impl Document {
    pub(crate) fn read(path: &Path) -> Document {
        Document::parse(path, &fs::read_to_string(path).unwrap())
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Document {
        let mut document = Document {
            path: path.to_owned(),
            anchors: HashSet::new(),
            links: Vec::new(),
            blocks: Vec::new(),
            spans: Vec::new(),
        };
        let mut uses: HashMap<String, usize> = HashMap::new();
        let mut heading: Option<String> = None;
        let mut block: Option<Block> = None;
        let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES;
        for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
            let line = 1 + text[..range.start].matches('\n').count();
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let name = anchor(&heading.take().unwrap());
                    let used = uses.entry(name.clone()).or_default();
                    let name = if *used == 0 { name } else { format!("{name}-{used}") };
                    *used += 1;
                    document.anchors.insert(name);
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push(Piece { line, text: dest_url.into_string() });
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    let piece = Piece { line, text: String::new() };
                    block = Some(Block { language: language.into_string(), piece });
                }
                Event::End(TagEnd::CodeBlock) => document.blocks.extend(block.take()),
                Event::Text(text) => match (&mut block, &mut heading) {
                    (Some(block), _) => block.piece.text.push_str(&text),
                    (None, Some(heading)) => heading.push_str(&text),
                    (None, None) => {}
                },
                Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                    document.spans.push(Piece { line, text: text.into_string() });
                }
                _ => {}
            }
        }
        document
    }

    pub(crate) fn at(&self, piece: &Piece) -> String {
        format!("{}:{}", self.path.display(), piece.line)
    }
}

/// GitHub's rule: lower case; letters, digits, `-` and `_` stay, a space becomes `-`.
fn anchor(heading: &str) -> String {
    let stays = |letter: &char| letter.is_alphanumeric() || "-_ ".contains(*letter);
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(stays).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// The documents of this repository. What a run or a build has made is not among them.
pub(crate) fn all() -> Vec<Document> {
    fn walk(folder: &Path, found: &mut Vec<Document>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_dir() {
                let is_made = name == "target" || name == "work" || name == "node_modules";
                if !is_made && (!name.starts_with('.') || name == ".github") {
                    walk(&path, found);
                }
            } else if name.ends_with(".md") {
                found.push(Document::read(path.strip_prefix(".").unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("."), &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// Those that people read to use or to change the program. A report that a test compares with its
/// output is none of them, and neither is a list of changes, which names what there was.
pub(crate) fn written() -> impl Iterator<Item = Document> {
    let is_written = |document: &Document| {
        !document.path.starts_with("tests") && !document.path.ends_with("CHANGELOG.md")
    };
    all().into_iter().filter(is_written)
}

#[test]
fn anchors_follow_the_rule_of_github() {
    let text =
        "# A `recv` loop: what's new?\n## Same\n## Same\n# 从 `recv` 循环到 reactor\n## A_b - c\n";
    let document = Document::parse(Path::new("x.md"), text);
    let mut anchors: Vec<_> = document.anchors.iter().map(String::as_str).collect();
    anchors.sort_unstable();
    let expected = ["a-recv-loop-whats-new", "a_b---c", "same", "same-1", "从-recv-循环到-reactor"];
    assert_eq!(anchors, expected);
}

#[test]
fn a_block_in_a_list_and_a_link_in_a_table_are_found() {
    let text =
        "* a\n\n  ```sh\n  closecall lab\n  ```\n\n| a | b |\n|---|---|\n| [x](y.md#z) | `c d` |\n";
    let document = Document::parse(Path::new("x.md"), text);
    assert_eq!(document.blocks[0].language, "sh");
    assert_eq!(document.blocks[0].piece.text, "closecall lab\n");
    assert_eq!(document.blocks[0].piece.line, 3);
    assert_eq!((document.links[0].line, document.links[0].text.as_str()), (9, "y.md#z"));
    assert_eq!(document.spans[0].text, "c d");
}

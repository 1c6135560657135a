//! Names in documents, comments and scripts exist: tests, their programs, and targets of make.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{assert_clean, sources};

/// Everything that names tests, with its text.
fn texts() -> Vec<(PathBuf, String)> {
    let documents = ["docs", "examples", "."].into_iter().flat_map(|folder| {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "md"))
    });
    let scripts = ["Makefile", "Cargo.toml", ".ci/run", ".cargo/mutants.toml", "tests/cross.sh"];
    let named = documents.chain(scripts.map(PathBuf::from));
    let named = named.map(|path| (path.clone(), fs::read_to_string(path).unwrap()));
    let code = ["src", "tests", "examples"].into_iter().flat_map(sources);
    named.chain(code.map(|source| (source.path, source.text))).collect()
}

/// The words behind each `marker`, as far as they consist of such letters.
fn words<'a>(
    text: &'a str,
    marker: &'a str,
    is_letter: fn(char) -> bool,
) -> impl Iterator<Item = &'a str> {
    text.split(marker).skip(1).map(move |rest| rest.split(|it| !is_letter(it)).next().unwrap())
}

/// The name of a program, or nothing where a marker is followed by something else.
fn is_name(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter == '_'
}

#[test]
fn tests_that_are_named_exist() {
    let (mut broken, mut checked) = (Vec::new(), 0);
    for (path, text) in texts() {
        let programs = words(&text, "--test ", is_name).filter(|name| !name.is_empty());
        for program in programs {
            let places = [format!("tests/{program}.rs"), format!("tests/{program}/main.rs")];
            if !places.iter().any(|place| Path::new(place).exists()) {
                broken.push(format!("{}: --test {program}", path.display()));
            }
            checked += 1;
        }
        let files = words(&text, "tests/", |it| is_name(it) || "/.".contains(it));
        for file in files.filter(|file| file.ends_with(".rs")) {
            // In fuzz/ and src/ there are folders of that name, too.
            if !Path::new("tests").join(file).exists() {
                broken.push(format!("{}: tests/{file}", path.display()));
            }
            checked += 1;
        }
    }
    assert_clean(&broken);
    assert!(checked > 60, "they were not found: {checked}");
}

#[test]
fn targets_that_are_named_exist() {
    let makefile = fs::read_to_string("Makefile").unwrap();
    let (mut broken, mut checked) = (Vec::new(), 0);
    for (path, text) in texts() {
        let is_document = path.extension().is_some_and(|extension| extension == "md");
        let markers = ["`make ", "\nmake "].into_iter().filter(|_| is_document);
        for target in markers.flat_map(|marker| words(&text, marker, is_name)) {
            if !target.is_empty() && !makefile.contains(&format!("\n{target}:")) {
                broken.push(format!("{}: make {target}", path.display()));
            }
            checked += 1;
        }
    }
    assert_clean(&broken);
    assert!(checked > 20, "they were not found: {checked}");
}

/// `make book` needs mdBook, which is not everywhere. Missing pages are found here.
#[test]
fn the_book_has_every_page_of_docs() {
    let summary = fs::read_to_string("book/SUMMARY.md").unwrap();
    let links = words(&summary, "](", |it| it != ')').map(|link| Path::new("book").join(link));
    let listed: Vec<PathBuf> = links.map(|link| fs::canonicalize(&link).unwrap_or(link)).collect();
    let mut broken: Vec<String> = listed
        .iter()
        .filter(|page| !page.exists())
        .map(|page| format!("book/SUMMARY.md lists {}, which does not exist", page.display()))
        .collect();
    for entry in fs::read_dir("docs").unwrap() {
        let page = entry.unwrap().path();
        let name = page.file_name().unwrap().to_string_lossy();
        let is_page = name.ends_with(".md") && !name.ends_with(".template.md");
        if is_page && !listed.contains(&page.canonicalize().unwrap()) {
            broken.push(format!("{} is not in book/SUMMARY.md", page.display()));
        }
    }
    assert_clean(&broken);
    assert!(listed.len() > 15, "they were not found: {listed:?}");
}

/// The table of SECURITY.md names the test of each promise: a file of tests/, or a test by its name
/// or its beginning.
#[test]
fn what_security_names_exists() {
    let security = fs::read_to_string("SECURITY.md").unwrap();
    let tests: String = sources("tests").iter().map(|source| source.text.as_str()).collect();
    let cells = security.lines().filter(|line| line.starts_with("| "));
    let held_by = cells.filter_map(|line| line.trim_end_matches(" |").rsplit(" | ").next());
    let names = held_by.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let mut checked = 0;
    for name in names {
        let exists = match name.strip_suffix(".rs") {
            Some(file) => Path::new("tests")
                .join(file.trim_start_matches("tests/"))
                .with_extension("rs")
                .exists(),
            None => tests.contains(&format!("fn {}", name.trim_end_matches('…'))),
        };
        assert!(exists, "SECURITY.md names `{name}`");
        checked += 1;
    }
    assert!(checked > 20, "the table was not found: {checked}");
}

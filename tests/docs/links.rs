//! Every relative link leads to a file of this repository, and every `#anchor` to a heading there.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use crate::assert_clean;
use crate::markdown::{self, Document};

/// A template's links are read where its text is written to.
const TEMPLATES: &[(&str, &str)] = &[("atlas/PROXIES.template.md", "docs/PROXIES.md")];

/// What is wrong with `link` in the document at `path`, if anything is.
fn fault(path: &Path, link: &str, documents: &HashMap<PathBuf, Document>) -> Option<String> {
    let is_elsewhere = link.contains("://") || link.starts_with("mailto:");
    if is_elsewhere {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, it)| (file, Some(it)));
    let template = TEMPLATES.iter().find(|(from, _)| path == Path::new(from));
    let path = template.map_or(path, |(_, to)| Path::new(to));
    let target = match file {
        "" => path.to_owned(),
        file => path.parent().unwrap().join(file),
    };
    let Some(target) = plain(&target) else {
        return Some("leads out of the repository".to_owned());
    };
    if !target.exists() && target != Path::new("") {
        return Some(format!("there is no {}", target.display()));
    }
    let anchor = anchor?;
    match documents.get(&target) {
        Some(document) if document.anchors.contains(anchor) => None,
        Some(_) => Some(format!("{} has no heading of that name", target.display())),
        None => Some("an anchor in a file that has no headings".to_owned()),
    }
}

/// The path without `.` and `..`; none if it leads out of the repository.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir if !plain.pop() => return None,
            Component::Normal(name) => plain.push(name),
            _ => {}
        }
    }
    Some(plain)
}

fn documents() -> HashMap<PathBuf, Document> {
    markdown::all().into_iter().map(|document| (document.path.clone(), document)).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    let (mut broken, mut checked) = (Vec::new(), 0);
    for document in documents.values() {
        for link in &document.links {
            if let Some(fault) = fault(&document.path, &link.text, &documents) {
                broken.push(format!("{}: {}: {fault}", document.at(link), link.text));
            }
            checked += 1;
        }
    }
    broken.sort();
    assert_clean(&broken);
    assert!(checked > 200, "they were not found: {checked}");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let documents = documents();
    let fault = |link: &str| fault(Path::new("docs/DIAGNOSE.md"), link, &documents);
    for good in
        ["CLOSING.md", "CLOSING.md#the-verdicts", "#a-reset", "../README.md#verdicts", "../src"]
    {
        assert_eq!(fault(good), None, "{good}");
    }
    for bad in ["NONE.md", "CLOSING.md#none", "#none", "../../README.md", "../src/lib.rs#L1"] {
        assert!(fault(bad).is_some(), "{bad}");
    }
}

/// Each page of docs/ has a place in its index.
#[test]
fn the_index_has_every_page() {
    let index = Document::read(Path::new("docs/README.md"));
    let leads_to =
        |page: &str| index.links.iter().any(|link| link.text.split('#').next() == Some(page));
    let pages = std::fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().file_name());
    let pages: Vec<String> = pages.map(|name| name.into_string().unwrap()).collect();
    let is_page = |name: &&String| {
        name.ends_with(".md") && !name.ends_with(".template.md") && name.as_str() != "README.md"
    };
    let missing: Vec<_> =
        pages.iter().filter(is_page).filter(|page| !leads_to(page)).cloned().collect();
    assert_clean(&missing);
}

//! Promise: docs/EXPERIMENTS.md is in step: with its template, with the lab, and with itself. Each
//! scenario has its section, says the verdict that the lab expects, and the diagram above it shows
//! what was seen on the wire.
#![cfg(feature = "cli")]

use crate::process::closecall;
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../docs/EXPERIMENTS.md");
const TEMPLATE: &str = include_str!("../../docs/EXPERIMENTS.template.md");

const REMEDY: &str = "run make experiments";

/// What the lab has: `lab --list --format json`.
fn listed() -> Vec<Value> {
    let output = closecall(&["lab", "--list", "--format", "json"]).output().unwrap();
    serde_json::from_slice::<Value>(&output.stdout).unwrap().as_array().unwrap().clone()
}

/// The template's places, and what stands there in the document. All around them is the same.
#[track_caller]
fn places() -> Vec<(&'static str, &'static str)> {
    let (mut places, mut document) = (Vec::new(), DOCUMENT);
    let mut pieces = TEMPLATE.split("{{");
    document = document.strip_prefix(pieces.next().unwrap()).expect(REMEDY);
    for piece in pieces {
        let (name, behind) = piece.split_once("}}").expect("{{ without }}");
        // The last piece ends the document, any other one is found by its text.
        let end = match behind.trim() {
            "" => document.len() - behind.len(),
            _ => document.find(behind).unwrap_or_else(|| panic!("{name}: {REMEDY}")),
        };
        places.push((name, &document[..end]));
        document = &document[end + behind.len()..];
    }
    assert_eq!(document, "", "{REMEDY}");
    places
}

#[track_caller]
fn place(id: &str) -> &'static str {
    let places = places();
    let mut its = places.iter().filter(|(name, _)| *name == id);
    let (_, text) = its.next().unwrap_or_else(|| panic!("no section for {id}"));
    assert!(its.next().is_none(), "two sections for {id}");
    text
}

/// A line of a section's table.
#[track_caller]
fn line<'a>(section: &'a str, name: &str) -> &'a str {
    let begin = format!("| {name} | ");
    let line = section.lines().find_map(|line| line.strip_prefix(&begin));
    line.unwrap_or_else(|| panic!("no line {name}: {section}")).trim_end_matches(" |")
}

#[test]
fn each_scenario_has_its_section_or_the_reason_why_not() {
    let listed = listed();
    for row in &listed {
        let id = row["id"].as_str().unwrap();
        let Some(needs) = row["needs"].as_str() else {
            let section = place(id);
            assert_eq!(line(section, "the client"), row["client"], "{id}: {REMEDY}");
            assert_eq!(line(section, "how its order is forced"), row["order"], "{id}: {REMEDY}");
            assert_eq!(line(section, "why"), row["why"], "{id}: {REMEDY}");
            assert!(section.contains("```text\n     0.000 ms  → SYN"), "{id}: {section}");
            continue;
        };
        let client = row["client"].as_str().unwrap();
        let expected = format!("* **{id}**: the client {client}; needs {needs}.");
        assert!(place("skipped").lines().any(|line| line == expected), "{expected}: {REMEDY}");
    }
    for (name, _) in places() {
        let known = listed.iter().any(|row| row["id"] == name);
        assert!(known || ["made", "skipped"].contains(&name), "{name} is no scenario");
    }
    assert_eq!(
        place("skipped").lines().count(),
        listed.iter().filter(|it| !it["needs"].is_null()).count()
    );
}

#[test]
fn the_articles_five_stand_first_in_their_order() {
    let listed = listed();
    let sections: Vec<_> =
        places().iter().map(|place| place.0).filter(|it| *it != "made").collect();
    for (index, row) in listed.iter().take(5).enumerate() {
        let id = row["id"].as_str().unwrap();
        assert_eq!((sections[index], row["experiment"].as_u64()), (id, Some(index as u64 + 1)));
        assert!(TEMPLATE.contains(&format!("### Experiment {}: {id}\n", index + 1)), "{id}");
    }
}

#[test]
fn the_verdicts_are_those_that_the_lab_expects() {
    for row in listed().iter().filter(|row| row["needs"].is_null()) {
        let id = row["id"].as_str().unwrap();
        let said = line(place(id), "closecall").split('`').nth(1).unwrap();
        let expected = row["verdicts"].as_array().unwrap();
        assert!(expected.iter().any(|verdict| verdict == said), "{id}: {said}: {REMEDY}");
    }
}

// ---- the diagrams -------------------------------------------------------------------------------

/// A step of a connection: to the server or from it, and FIN, RST or how many bytes. Where a
/// diagram says "many bytes" there is no number to hold against.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Step {
    to_server: bool,
    what: String,
}

/// A connection, step by step.
type Steps = Vec<Step>;

/// What goes the same way without anything between goes in one step.
fn push(steps: &mut Steps, to_server: bool, what: &str) {
    let bytes = |what: &str| what.strip_suffix(" bytes")?.parse::<u64>().ok();
    if let Some(last) = steps.last_mut().filter(|last| last.to_server == to_server)
        && let Some((a, b)) = bytes(&last.what).zip(bytes(what))
    {
        last.what = format!("{} bytes", a + b);
        return;
    }
    steps.push(Step { to_server, what: what.to_owned() });
}

/// The FINs and resets alone: of full buffers the bytes are others each time.
fn ends(steps: &Steps) -> Steps {
    steps.iter().filter(|step| ["FIN", "RST"].contains(&&*step.what)).cloned().collect()
}

/// `→ 14 bytes ← 37 bytes → RST`, as it was seen.
fn of_wire(wire: &str) -> Steps {
    let mut steps = Steps::new();
    let begins: Vec<_> = wire.match_indices(['→', '←']).map(|(at, _)| at).collect();
    for (index, &begin) in begins.iter().enumerate() {
        let end = begins.get(index + 1).copied().unwrap_or(wire.len());
        let what = wire[begin + '→'.len_utf8()..end].trim_matches([' ', '⇄']);
        push(&mut steps, wire[begin..].starts_with('→'), what);
    }
    steps
}

/// What a diagram draws: once, or each of its alternatives.
#[track_caller]
fn drawn(diagram: &str) -> Vec<Steps> {
    let mut lines = diagram.lines();
    let head: Vec<_> = lines.by_ref().take(3).map(str::trim).collect();
    assert_eq!(head, ["sequenceDiagram", "participant C as client", "participant S as server"]);
    let (mut common, mut alternatives) = (Steps::new(), Vec::<Steps>::new());
    let mut is_open = false;
    for line in lines.map(str::trim) {
        // Mermaid takes a semicolon for the end of a line, and a hash for an entity.
        assert!(!line.contains([';', '#']), "{line}");
        let (begin, text) = line.split_once(' ').unwrap_or((line, ""));
        match begin {
            "Note" => assert!(text.contains(": "), "{line}"),
            "alt" | "else" => {
                assert!(!text.is_empty() && (begin == "else") == is_open, "{line}");
                is_open = true;
                alternatives.push(common.clone());
            }
            "end" => is_open = false,
            "C->>S:" | "S->>C:" | "C-xS:" | "S-xC:" => {
                assert_eq!(begin.contains('x'), text == "RST", "{line}");
                assert!(text == "FIN" || text == "RST" || text.ends_with(" bytes"), "{line}");
                push(alternatives.last_mut().unwrap_or(&mut common), begin.starts_with('C'), text);
            }
            _ => panic!("not a line of a diagram: {line}"),
        }
    }
    assert!(!is_open, "alt without end: {diagram}");
    if alternatives.is_empty() { vec![common] } else { alternatives }
}

/// The parts of the template with scenarios in them: the diagram, and whose it is.
fn parts() -> Vec<(&'static str, Vec<&'static str>)> {
    let with_places = |part: &&str| part.contains("\n### ");
    let part = |part: &'static str| {
        let mut blocks = part.split("```mermaid\n").skip(1);
        let diagram = blocks.next().unwrap_or_else(|| panic!("no diagram: {part}"));
        assert!(blocks.next().is_none(), "one diagram is enough: {part}");
        let ids = part.split("{{").skip(1).map(|piece| piece.split("}}").next().unwrap());
        (diagram.split("```").next().unwrap(), ids.collect())
    };
    TEMPLATE.split("\n## ").filter(with_places).map(part).collect()
}

#[test]
fn each_diagram_shows_what_was_seen() {
    let mut compared = 0;
    for (diagram, ids) in parts() {
        let drawn = drawn(diagram);
        for id in ids {
            compared += 1;
            let wire = line(place(id), "on the wire");
            let Some((_, first)) = wire.split_once(": ") else {
                let (seen, [drawn]) = (of_wire(wire), &*drawn) else { panic!("{id}") };
                match drawn.iter().any(|step| step.what.ends_with("many bytes")) {
                    true => assert_eq!(ends(&seen), ends(drawn), "{id}: {wire}"),
                    false => assert_eq!(&seen, drawn, "{id}: {wire}"),
                }
                continue;
            };
            // Of a race the most frequent way stands first, and is drawn.
            let seen = of_wire(first.split("; ").next().unwrap());
            assert!(drawn.len() == 2 && drawn.contains(&seen), "{id}: {wire}: {drawn:?}");
        }
    }
    assert_eq!(compared, places().len() - 2, "all but what is made and what is skipped");
}

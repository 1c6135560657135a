//! `--list`: the scenarios, and why some of them are skipped.

use serde::Serialize;

use super::rows::{self, Column, Line, Need};
use super::{Mark, Screen, brief, markdown};
use crate::cli::say;
use crate::cli::values::Format;
use crate::lab::{Elsewhere, Play, Scenario};

const HEAD: [&str; 6] = ["id", "exp.", "the client", "order", "expected verdict", "why"];

/// A scenario in the list.
#[derive(Serialize)]
struct Listed {
    id: &'static str,
    experiment: Option<u8>,
    client: String,
    order: &'static str,
    verdicts: Vec<&'static str>,
    why: &'static str,
    same_as: Option<&'static str>,
    needs: Option<&'static str>,
}

/// The whole list. Against an external server fewer orders can be forced.
pub(super) fn list(
    scenarios: &[&Scenario],
    is_elsewhere: bool,
    format: Format,
    screen: &Screen,
) -> String {
    let listed: Vec<_> = scenarios.iter().map(|scenario| of(scenario, is_elsewhere)).collect();
    match format {
        Format::Json => say::json(&listed),
        Format::Markdown => markdown::table(&HEAD, &listed.iter().map(cells).collect::<Vec<_>>()),
        Format::Table => table(&listed, screen),
    }
}

fn of(scenario: &Scenario, is_elsewhere: bool) -> Listed {
    let needs = match scenario.elsewhere() {
        Elsewhere::Skip(needs) if is_elsewhere || matches!(scenario.play, Play::Skip { .. }) => {
            Some(needs)
        }
        _ => None,
    };
    Listed {
        id: scenario.id,
        experiment: scenario.experiment.map(|it| it.number),
        client: scenario.client(),
        order: scenario.order.how(),
        verdicts: scenario.verdicts.iter().map(|kind| kind.name()).collect(),
        why: scenario.why,
        same_as: scenario.same_as,
        needs,
    }
}

fn cells(row: &Listed) -> Vec<String> {
    let order = row.needs.map_or(row.order.to_owned(), |needs| format!("not here: needs {needs}"));
    vec![
        row.id.to_owned(),
        row.experiment.map(|number| number.to_string()).unwrap_or_default(),
        row.client.clone(),
        order,
        row.verdicts.join(" or "),
        row.why.to_owned(),
    ]
}

/// One line for each scenario that is played, and the reasons for the others below.
fn table(listed: &[Listed], screen: &Screen) -> String {
    let columns = [
        Column { head: "exp.", need: Need::Wanted, at_right: true },
        Column::new("expected verdict", Need::Shown),
        Column::new("why", Need::Rest),
    ];
    let line = |row: &Listed| Line {
        mark: Mark::None,
        id: row.id.to_owned(),
        client: brief::of(row.id).unwrap_or(&row.client).to_owned(),
        cells: vec![
            row.experiment.map(|number| number.to_string()).unwrap_or_default(),
            match row.verdicts.as_slice() {
                [verdict] => (*verdict).to_owned(),
                [first, others @ ..] => format!("{first} or {} more", others.len()),
                [] => String::new(),
            },
            row.why.to_owned(),
        ],
        below: None,
    };
    let (skipped, played): (Vec<_>, Vec<_>) = listed.iter().partition(|row| row.needs.is_some());
    let mut text = String::new();
    if !played.is_empty() {
        text += &rows::table(&columns, &played.into_iter().map(line).collect::<Vec<_>>(), screen);
    }
    if !skipped.is_empty() {
        text += if text.is_empty() { "" } else { "\n" };
        text += "Not played here:\n";
    }
    for row in skipped {
        let name = format!("   {} ", crate::cli::fit::pad(row.id, 4));
        let says = format!("{}: needs {}", row.client, row.needs.unwrap_or_default());
        text += &screen.behind(&name, &says, Mark::None);
    }
    text
}

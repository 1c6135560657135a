//! What the charts have in common: colours, sizes, numbers as text, and the way to an SVG.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Outcome;

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(crate) const PAPER: RGBColor = RGBColor(255, 255, 255);
pub(crate) const INK: RGBColor = RGBColor(36, 41, 47);
pub(crate) const PALE_INK: RGBColor = RGBColor(96, 103, 112);
pub(crate) const GRID: RGBColor = RGBColor(226, 229, 233);

/// The palette of Okabe and Ito, made to be distinguishable with any kind of colour vision. Without
/// its yellow, which is hard to see on white.
pub(crate) const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// Few, more, many: one hue, from light to dark, which survives a grey printer.
pub(crate) const SHADES: [RGBColor; 4] =
    [RGBColor(158, 202, 225), RGBColor(66, 146, 198), RGBColor(8, 69, 148), RGBColor(4, 30, 70)];

pub(crate) const TITLE: u32 = 24;
pub(crate) const TEXT: u32 = 16;
pub(crate) const SMALL: u32 = 14;

/// Text of `size` in `colour`, placed so that its point is where `across` and `down` say.
pub(crate) fn text(size: u32, colour: RGBColor, across: HPos, down: VPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour).pos(Pos::new(across, down))
}

/// A filled sheet with a title at the top and a caption of one or more lines at the bottom. The
/// paper is filled, so that the ink is readable on a dark page as well.
pub(crate) fn sheet(
    size: (u32, u32),
    title: &str,
    caption: &[String],
    fill: impl FnOnce(Area<'_>) -> Outcome<()>,
) -> Outcome<String> {
    const TOP: u32 = 44;
    const LINE: u32 = 18;
    let mut svg = String::new();
    {
        let sheet = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        sheet.fill(&PAPER)?;
        sheet.draw(&Text::new(
            title.to_owned(),
            (16, 12),
            text(TITLE, INK, HPos::Left, VPos::Top),
        ))?;
        let caption: Vec<&str> = caption.iter().flat_map(|line| wrapped(line)).collect();
        let below = caption.len() as u32 * LINE + 14;
        for (number, line) in caption.iter().enumerate() {
            let y = size.1 - below + number as u32 * LINE + 4;
            let style = text(SMALL, PALE_INK, HPos::Left, VPos::Top);
            sheet.draw(&Text::new(*line, (16, y as i32), style))?;
        }
        fill(sheet.margin(TOP, below, 0, 0))?;
        sheet.present()?;
    }
    Ok(svg)
}

/// At most so many letters in a line, where there is a space to break it at.
fn wrapped(line: &str) -> Vec<&str> {
    const LETTERS: usize = 150;
    let mut rest = line;
    let mut lines = Vec::new();
    while let Some((limit, _)) = rest.char_indices().nth(LETTERS) {
        let Some(space) = rest[..limit].rfind(' ') else { break };
        lines.push(&rest[..space]);
        rest = &rest[space + 1..];
    }
    lines.push(rest);
    lines
}

/// 19000 is "19,000".
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits with a unit, each unit a thousand of the one before.
pub(crate) fn scaled(value: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value >= 999.5 {
        let Some(next) = units.next() else { break };
        value /= 1000.0;
        unit = next;
    }
    let places = if value >= 99.95 || value.fract() == 0.0 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.places$} {unit}")
}

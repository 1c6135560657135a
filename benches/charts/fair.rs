//! `make fair` as a picture: what polite clients wait beside a flood, p50 and p99, on a logarithmic
//! scale, over the number of flooders.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use serde::Deserialize;

use crate::Outcome;
use crate::style::{Area, COLOURS, GRID, INK, PALE_INK, TEXT, grouped, scaled, sheet, text};

const SIZE: (u32, u32) = (1000, 500);
const OURS: &str = "closecall";
const LINE: u32 = 26;

/// The part of the report that is drawn.
#[derive(Deserialize)]
pub(crate) struct Fairness {
    command: String,
    machine: Machine,
    rounds: u32,
    seconds: f64,
    servers: Vec<Server>,
    cells: Vec<Cell>,
}

#[derive(Deserialize)]
struct Machine {
    processor: String,
    system: String,
}

#[derive(Deserialize)]
struct Server {
    key: String,
}

#[derive(Deserialize)]
struct Cell {
    experiment: String,
    size: u64,
    server: String,
    medians: Medians,
}

/// Of other experiments, and of a server that failed, there are none.
#[derive(Deserialize)]
struct Medians {
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

type Pick = fn(&Medians) -> Option<f64>;

impl Fairness {
    fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| cell.experiment == "fair")
    }

    /// At how many flooders it was measured, in ascending order.
    fn sizes(&self) -> Vec<u64> {
        let mut sizes: Vec<u64> = self.cells().map(|cell| cell.size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// A server's figures, each at the place of its size.
    fn curve(&self, server: &str, sizes: &[u64], pick: Pick) -> Vec<(f64, f64)> {
        (0..)
            .map(f64::from)
            .zip(sizes)
            .filter_map(|(place, &size)| {
                let mut cells = self.cells();
                let cell = cells.find(|cell| cell.size == size && cell.server == server)?;
                pick(&cell.medians).filter(|&ms| ms > 0.0).map(|ms| (place, ms))
            })
            .collect()
    }
}

pub(crate) fn draw(fairness: &Fairness, command: &str) -> Outcome<String> {
    let sizes = fairness.sizes();
    let figures = || fairness.cells().flat_map(|cell| [cell.medians.p50_ms, cell.medians.p99_ms]);
    let known = || figures().flatten().filter(|&ms| ms > 0.0);
    if known().next().is_none() {
        return Err("there is no figure of the experiment `fair` in it".into());
    }
    if fairness.servers.len() > COLOURS.len() {
        let (many, most) = (fairness.servers.len(), COLOURS.len());
        return Err(format!("{many} servers; {most} can be drawn").into());
    }
    // Whole decades, one at least.
    let bottom = known().fold(f64::MAX, f64::min).log10().floor();
    let top = known().fold(0.0, f64::max).log10().ceil().max(bottom + 1.0);
    let scale = (10f64.powf(bottom), 10f64.powf(top));

    let Fairness { machine, rounds, seconds, .. } = fairness;
    let caption = [
        format!(
            "{}, {}; medians of {rounds} rounds of {seconds} s, in turns; server and clients on a \
             core each",
            machine.processor, machine.system
        ),
        fairness.command.clone(),
        command.to_owned(),
    ];
    let title = "What established clients wait for a small reply beside a flood";
    sheet(SIZE, title, &caption, |area| {
        draw_legend(&area, &fairness.servers)?;
        let (left, right) = area.margin(LINE, 0, 0, 0).split_horizontally(SIZE.0 / 2);
        draw_panel(&left, fairness, "p50", scale, &sizes, |medians| medians.p50_ms)?;
        draw_panel(&right, fairness, "p99", scale, &sizes, |medians| medians.p99_ms)
    })
}

/// Ours is always the same colour; the others follow in their order.
fn coloured(servers: &[Server]) -> impl Iterator<Item = (&str, RGBColor)> {
    let ours = servers.iter().filter(|server| server.key == OURS);
    let others = servers.iter().filter(|server| server.key != OURS);
    let colours = [COLOURS[1], COLOURS[0]].into_iter().chain(COLOURS.into_iter().skip(2));
    ours.chain(others).map(|server| server.key.as_str()).zip(colours)
}

/// One line above both panels.
fn draw_legend(area: &Area<'_>, servers: &[Server]) -> Outcome<()> {
    const WIDTH: i32 = 150;
    let y = LINE as i32 / 2;
    for ((key, colour), place) in coloured(servers).zip(0..) {
        let x = 18 + place * WIDTH;
        area.draw(&PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)))?;
        let style = text(TEXT, INK, HPos::Left, VPos::Center);
        area.draw(&Text::new(key.to_owned(), (x + 32, y), style))?;
    }
    Ok(())
}

fn draw_panel(
    area: &Area<'_>,
    fairness: &Fairness,
    name: &str,
    (bottom, top): (f64, f64),
    sizes: &[u64],
    pick: Pick,
) -> Outcome<()> {
    let end = sizes.len() as f64 - 0.8;
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .x_label_area_size(50)
        .y_label_area_size(78)
        .build_cartesian_2d(-0.2..end, (bottom..top).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(sizes.len())
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(PALE_INK)
        .x_desc("flooders")
        .y_desc(name)
        .x_label_formatter(&|&place| number_at(sizes, place))
        .y_label_formatter(&|&ms| scaled(ms * 1e3, &["µs", "ms", "s"]))
        .label_style(text(TEXT, INK, HPos::Center, VPos::Top))
        .axis_desc_style(text(TEXT, INK, HPos::Center, VPos::Top))
        .draw()?;
    for (server, colour) in coloured(&fairness.servers) {
        let curve = fairness.curve(server, sizes, pick);
        chart.draw_series(LineSeries::new(curve.iter().copied(), colour.stroke_width(3)))?;
        chart.draw_series(curve.into_iter().map(|at| Circle::new(at, 5, colour.filled())))?;
    }
    Ok(())
}

/// The size at a whole place of the axis; nothing in between.
fn number_at(sizes: &[u64], place: f64) -> String {
    let whole = place.round();
    let size = sizes.get(whole.max(0.0) as usize).filter(|_| (place - whole).abs() < 1e-6);
    size.map_or(String::new(), |&size| grouped(size))
}

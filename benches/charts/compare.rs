//! `make compare` as a picture: processor time per echo as bars beside the C program, which is 1,
//! and the memory of an idle connection as points on a logarithmic scale.

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use serde::Deserialize;

use crate::Outcome;
use crate::style::{
    Area, COLOURS, GRID, INK, PALE_INK, PAPER, SHADES, SMALL, TEXT, grouped, scaled, sheet, text,
};

const YARDSTICK: &str = "c";
const OURS: &str = "closecall";
const SIZE: (u32, u32) = (1000, 520);
const BARS_WIDTH: u32 = 620;

type Plane<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// The part of the report that is drawn.
#[derive(Deserialize)]
pub(crate) struct Comparison {
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
    connections: u64,
    server: String,
    value: Option<f64>,
    ratio: Option<f64>,
    failure: Option<String>,
}

impl Comparison {
    fn cell(&self, experiment: &str, connections: u64, server: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| {
            cell.experiment == experiment
                && cell.connections == connections
                && cell.server == server
        })
    }

    /// At how many connections an experiment was made, in ascending order.
    fn sizes(&self, experiment: &str) -> Vec<u64> {
        let made = self.cells.iter().filter(|cell| cell.experiment == experiment);
        let mut sizes: Vec<u64> = made.map(|cell| cell.connections).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }
}

pub(crate) fn draw(comparison: &Comparison, command: &str) -> Outcome<String> {
    let echo = comparison.sizes("echo");
    let memory = comparison.sizes("memory").last().copied();
    if echo.is_empty() && memory.is_none() {
        return Err("the comparison has neither echo nor memory in it".into());
    }
    if !echo.is_empty() && comparison.cells.iter().all(|cell| cell.ratio.is_none()) {
        return Err("there is no ratio in it: the C program was not measured".into());
    }
    if echo.len() > SHADES.len() {
        return Err(format!("{} sizes of echo; {} can be drawn", echo.len(), SHADES.len()).into());
    }
    let Comparison { machine, rounds, seconds, .. } = comparison;
    let caption = [
        format!(
            "{}, {}; medians of {rounds} rounds of {seconds} s, in turns; server and client on a \
             core each",
            machine.processor, machine.system
        ),
        comparison.command.clone(),
        command.to_owned(),
    ];
    sheet(SIZE, "closecall beside other echo servers", &caption, |area| {
        let (left, right) = area.split_horizontally(match (echo.is_empty(), memory) {
            (true, _) => 0,
            (false, None) => SIZE.0,
            (false, Some(_)) => BARS_WIDTH,
        });
        if !echo.is_empty() {
            draw_bars(&left, comparison, &echo)?;
        }
        memory.map_or(Ok(()), |connections| draw_memory(&right, comparison, connections))
    })
}

// --- processor time ---------------------------------------------------------------------------

fn draw_bars(area: &Area<'_>, comparison: &Comparison, sizes: &[u64]) -> Outcome<()> {
    let servers: Vec<&str> = comparison
        .servers
        .iter()
        .map(|server| server.key.as_str())
        .filter(|&key| key != YARDSTICK)
        .collect();
    let highest = comparison
        .cells
        .iter()
        .filter(|cell| cell.experiment == "echo")
        .filter_map(|cell| cell.ratio)
        .fold(1.0, f64::max);
    let top = highest / (0.9 - 0.07 * sizes.len() as f64); // no bar reaches the legend

    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .x_label_area_size(30)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..servers.len() as f64, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .y_labels(6)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(PALE_INK)
        .y_desc("server CPU time per echo, C program = 1")
        .y_label_formatter(&|ratio| format!("{ratio:.1}"))
        .label_style(text(TEXT, INK, HPos::Left, VPos::Top))
        .axis_desc_style(text(TEXT, INK, HPos::Center, VPos::Top))
        .draw()?;
    for (place, &key) in servers.iter().enumerate() {
        let middle = chart.backend_coord(&(place as f64 + 0.5, 0.0));
        let style = text(TEXT, INK, HPos::Center, VPos::Top);
        area.draw(&Text::new(key.to_owned(), below(area, middle), style))?;
        for (shade, &size) in sizes.iter().enumerate() {
            let width = 0.8 / sizes.len() as f64;
            let from = place as f64 + 0.1 + shade as f64 * width;
            if let Some(cell) = comparison.cell("echo", size, key) {
                draw_bar(&chart, cell, (from, from + width), shade)?;
            }
        }
    }
    draw_yardstick(&chart, servers.len() as f64)?;
    draw_legend(area, comparison, sizes)
}

/// Under the axis: pixels of the sheet as pixels of the area.
fn below(area: &Area<'_>, (x, y): (i32, i32)) -> (i32, i32) {
    let (left, top) = area.get_base_pixel();
    (x - left, y - top + 8)
}

/// A bar with its ratio at its foot, where no line crosses it; where there is none, why.
fn draw_bar(
    chart: &Plane<'_, '_>,
    cell: &Cell,
    (from, to): (f64, f64),
    shade: usize,
) -> Outcome<()> {
    let plane = chart.plotting_area();
    let middle = f64::midpoint(from, to);
    match (cell.ratio, &cell.failure) {
        (_, Some(failure)) => {
            let style =
                text(SMALL, INK, HPos::Left, VPos::Center).transform(FontTransform::Rotate270);
            plane.draw(&Text::new(failure.clone(), (middle, 0.03), style))?;
        }
        (Some(ratio), None) => {
            let gap = (to - from) * 0.04;
            let corners = [(from + gap, 0.0), (to - gap, ratio)];
            plane.draw(&Rectangle::new(corners, SHADES[shade].filled()))?;
            let ink = if shade == 0 { INK } else { PAPER };
            let style = text(SMALL, ink, HPos::Center, VPos::Bottom);
            plane.draw(&Text::new(format!("{ratio:.2}"), (middle, 0.02), style))?;
        }
        (None, None) => (),
    }
    Ok(())
}

fn draw_yardstick(chart: &Plane<'_, '_>, end: f64) -> Outcome<()> {
    let line = PathElement::new([(0.0, 1.0), (end, 1.0)], COLOURS[1].stroke_width(2));
    chart.plotting_area().draw(&line)?;
    Ok(())
}

/// One line for each size, with what the ratio is of.
fn draw_legend(area: &Area<'_>, comparison: &Comparison, sizes: &[u64]) -> Outcome<()> {
    const LEFT: i32 = 92;
    const TOP: i32 = 22;
    const LINE: i32 = 21;
    let style = || text(TEXT, INK, HPos::Left, VPos::Center);
    let behind = [(LEFT - 6, TOP - 12), (LEFT + 260, TOP + 12 + sizes.len() as i32 * LINE)];
    area.draw(&Rectangle::new(behind, PAPER.filled()))?; // over the lines of the mesh
    for (number, &size) in sizes.iter().enumerate() {
        let y = TOP + number as i32 * LINE;
        let swatch = [(LEFT, y - 6), (LEFT + 18, y + 6)];
        area.draw(&Rectangle::new(swatch, SHADES[number].filled()))?;
        let floor = comparison.cell("echo", size, YARDSTICK).and_then(|cell| cell.value);
        let of = floor.map_or(String::new(), |value| format!(" (C: {value:.2} µs)"));
        let label = format!("{} connections{of}", grouped(size));
        area.draw(&Text::new(label, (LEFT + 26, y), style()))?;
    }
    let y = TOP + sizes.len() as i32 * LINE;
    area.draw(&PathElement::new([(LEFT, y), (LEFT + 18, y)], COLOURS[1].stroke_width(2)))?;
    let label = "C, epoll, nothing but the echo = 1".to_owned();
    area.draw(&Text::new(label, (LEFT + 26, y), style()))?;
    Ok(())
}

// --- memory -----------------------------------------------------------------------------------

fn draw_memory(area: &Area<'_>, comparison: &Comparison, connections: u64) -> Outcome<()> {
    const LEAST: f64 = 10.0;
    let values = || comparison.cells.iter().filter(|cell| cell.experiment == "memory");
    let most = values().filter_map(|cell| cell.value).fold(1000.0, f64::max);
    // Room to the right of the last point for its figure.
    let end = 10f64.powf((most * 2.0).log10().ceil() + 0.3);
    let rows = comparison.servers.len() as f64;

    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(76)
        .build_cartesian_2d((LEAST..end).log_scale(), 0.0..rows)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_labels(4)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(PALE_INK)
        .x_desc(format!("resident bytes per idle connection, of {}", grouped(connections)))
        .x_label_formatter(&|bytes| scaled(*bytes, &["B", "kB", "MB"]))
        .label_style(text(TEXT, INK, HPos::Center, VPos::Top))
        .axis_desc_style(text(TEXT, INK, HPos::Center, VPos::Top))
        .draw()?;
    for (place, server) in comparison.servers.iter().enumerate() {
        let Some(cell) = comparison.cell("memory", connections, &server.key) else { continue };
        let y = rows - place as f64 - 0.5;
        let (x, y_pixel) = chart.backend_coord(&(LEAST, y));
        let (left, top) = area.get_base_pixel();
        let at = (x - left - 10, y_pixel - top);
        area.draw(&Text::new(server.key.clone(), at, text(TEXT, INK, HPos::Right, VPos::Center)))?;

        let value = cell.value.unwrap_or(0.0);
        let colour = if server.key == OURS { COLOURS[1] } else { SHADES[2] };
        let plane = chart.plotting_area();
        if value >= LEAST {
            plane.draw(&PathElement::new([(LEAST, y), (value, y)], colour.stroke_width(3)))?;
            plane.draw(&Circle::new((value, y), 6, colour.filled()))?;
        }
        let label = match &cell.failure {
            Some(failure) => failure.clone(),
            None => scaled(value.round(), &["B", "kB", "MB"]),
        };
        let style = text(TEXT, INK, HPos::Left, VPos::Center);
        let label = EmptyElement::at((value.max(LEAST), y)) + Text::new(label, (12, 0), style);
        plane.draw(&label)?;
    }
    Ok(())
}

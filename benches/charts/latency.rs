//! Reports of `closecall load echo` as a picture: how long the replies took, percentile by
//! percentile. Each step to the right is ten times as rare.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use serde::Deserialize;

use crate::Outcome;
use crate::style::{Area, COLOURS, GRID, INK, PALE_INK, TEXT, grouped, scaled, sheet, text};

const SIZE: (u32, u32) = (1000, 480);
const LINE: i32 = 21;
const NAMES: [&str; 6] = ["p50", "p90", "p99", "p99.9", "p99.99", "longest"];

/// The part of a report that is drawn.
#[derive(Deserialize)]
pub(crate) struct Run {
    mode: String,
    connections: u64,
    rate_per_s: f64,
    target_rate_per_s: Option<f64>, // null in the closed loop
    latency_us: Option<Percentiles>,
}

#[derive(Deserialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    p99_99: f64,
    max: f64,
}

impl Run {
    fn label(&self) -> String {
        let Run { mode, connections, rate_per_s, .. } = self;
        let (connections, rate) = (grouped(*connections), grouped(rate_per_s.round() as u64));
        let pace = match self.target_rate_per_s {
            Some(asked) => format!("{}/s asked, {rate}/s answered", grouped(asked.round() as u64)),
            None => format!("closed loop, {rate}/s"),
        };
        format!("{mode}, {connections} connections, {pace}")
    }

    fn points(&self) -> Outcome<[f64; 6]> {
        let Some(p) = &self.latency_us else {
            return Err(format!("{}: no reply, so no latency", self.label()).into());
        };
        let points = [p.p50, p.p90, p.p99, p.p99_9, p.p99_99, p.max];
        if points.iter().any(|&point| !point.is_finite() || point <= 0.0) {
            return Err(format!("{}: a latency that is not above zero", self.label()).into());
        }
        Ok(points)
    }
}

pub(crate) fn draw(runs: &[Run], command: &str) -> Outcome<String> {
    if runs.len() > COLOURS.len() {
        return Err(format!("{} runs; {} can be drawn", runs.len(), COLOURS.len()).into());
    }
    let curves = runs.iter().map(Run::points).collect::<Outcome<Vec<_>>>()?;
    let least = curves.iter().flatten().copied().fold(f64::MAX, f64::min);
    let most = curves.iter().flatten().copied().fold(0.0, f64::max);
    // Whole decades, one at least.
    let bottom = least.log10().floor();
    let top = most.log10().ceil().max(bottom + 1.0);
    let range = 10f64.powf(bottom)..10f64.powf(top);

    let caption = [
        "Latency counts from when a request was due; in a closed loop, where the next one waits \
         for the reply, from when it was sent."
            .to_owned(),
        "closecall load echo --format json".to_owned(),
        command.to_owned(),
    ];
    let legend = 8 + runs.len() as u32 * LINE as u32;
    let size = (SIZE.0, SIZE.1 + legend);
    sheet(size, "closecall: how long the replies took", &caption, |area| {
        draw_legend(&area, runs)?;
        let area = area.margin(legend, 0, 0, 0);
        let mut chart = ChartBuilder::on(&area)
            .margin(16)
            .margin_right(40)
            .x_label_area_size(50)
            .y_label_area_size(86)
            .build_cartesian_2d(-0.2..5.2, range.log_scale())?;
        chart
            .configure_mesh()
            .x_labels(NAMES.len())
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(PALE_INK)
            .x_desc("percentile of the replies")
            .y_desc("latency")
            .x_label_formatter(&|x| percentile(*x))
            .y_label_formatter(&|us| scaled(*us, &["µs", "ms", "s"]))
            .label_style(text(TEXT, INK, HPos::Center, VPos::Top))
            .axis_desc_style(text(TEXT, INK, HPos::Center, VPos::Top))
            .draw()?;
        for (curve, colour) in curves.iter().zip(COLOURS) {
            let points = || (0..).map(f64::from).zip(curve.iter().copied());
            chart.draw_series(LineSeries::new(points(), colour.stroke_width(3)))?;
            chart.draw_series(points().map(|at| Circle::new(at, 5, colour.filled())))?;
        }
        Ok(())
    })
}

/// Above the chart, where no curve can get under it.
fn draw_legend(area: &Area<'_>, runs: &[Run]) -> Outcome<()> {
    for ((run, colour), number) in runs.iter().zip(COLOURS).zip(0..) {
        let y = LINE / 2 + number * LINE;
        area.draw(&PathElement::new([(18, y), (42, y)], colour.stroke_width(3)))?;
        let style = text(TEXT, INK, HPos::Left, VPos::Center);
        area.draw(&Text::new(run.label(), (50, y), style))?;
    }
    Ok(())
}

/// The name at a whole place of the axis; nothing in between.
fn percentile(x: f64) -> String {
    let place = x.round();
    let name = NAMES.get(place.max(0.0) as usize).filter(|_| (x - place).abs() < 1e-6);
    name.map_or(String::new(), |name| (*name).to_owned())
}

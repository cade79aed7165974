//! A chart of one long run, the first: a value over time.

use super::bars::{GROUND, INK};
use super::shape::Lines;
use crate::error::Fallible;
use crate::record::Run;
use plotters::prelude::*;
use std::path::Path;

/// # Errors
/// When the file cannot be written, or no run has the series.
pub fn draw<'a>(path: &Path, chart: &Lines, mut runs: impl Iterator<Item = &'a Run>) -> Fallible {
    let points = runs.find_map(|run| run.series.get(chart.series));
    let points = points.ok_or("no run has the series")?;
    let end = points.last().map_or(1.0, |point| point.0);
    let most = points
        .iter()
        .map(|point| point.1)
        .fold(f64::MIN_POSITIVE, f64::max);
    let root = SVGBackend::new(path, (860, 300)).into_drawing_area();
    root.fill(&GROUND)?;
    let mut axes = ChartBuilder::on(&root)
        .caption(chart.title, ("sans-serif", 18).into_font().color(&INK))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..end, 0.0..most * 1.1)?;
    axes.configure_mesh()
        .light_line_style(GROUND)
        .bold_line_style(INK.mix(0.1))
        .axis_style(INK)
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .x_desc("seconds")
        .y_desc(chart.unit)
        .draw()?;
    let style = RGBColor(14, 116, 144).stroke_width(2);
    axes.draw_series(LineSeries::new(points.iter().copied(), style))?;
    root.present()?;
    Ok(())
}

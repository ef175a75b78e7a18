//! Plots of long runs, as SVG.

use std::path::Path;

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::register_font;

use crate::candidate::Result;
use crate::long_run::LongRun;

/// A line with its name.
type Line = (String, Vec<(f64, f64)>);

/// Registers a font for measuring text, for these plots and those of criterion.
pub fn use_font() {
    let font = dejavu::sans::regular();
    if register_font("sans-serif", FontStyle::Normal, font).is_err() {
        unreachable!("the font is a part of the program");
    }
}

/// Draws speeds by tenths, speeds by number of keys, and memory during a run.
///
/// # Errors
///
/// The files cannot be written.
pub fn draw(folder: &Path, runs: &[LongRun]) -> Result<()> {
    use_font();
    let label = |run: &LongRun| match run.keys {
        1 => "1 key".to_owned(),
        keys => format!("{keys} keys"),
    };
    let tenths = runs.iter().map(|run| {
        let points = run.tenths.iter().enumerate();
        let points = points.map(|(index, speed)| ((index + 1) as f64, *speed));
        (label(run), points.collect())
    });
    let (x, y) = ("tenth of the run", "million records/s");
    let title = "Speed along a long run";
    let lines: Vec<Line> = tenths.collect();
    chart(&folder.join("tenths.svg"), title, (x, y), 1.0..10.0, &lines)?;

    let keys: Vec<_> = runs
        .iter()
        .map(|run| (run.keys as f64, run.speed))
        .collect();
    let most = keys.iter().map(|point| point.0).fold(10.0, f64::max);
    let lines = [("simrecorder, Zarr/LMDB".to_owned(), keys)];
    let (x, title) = ("keys", "Speed with more keys");
    let range = (1.0..most).log_scale();
    chart(&folder.join("keys.svg"), title, (x, y), range, &lines)?;

    let memory = runs.iter().map(|run| (label(run), run.memory.clone()));
    let lines: Vec<Line> = memory.collect();
    let (x, y) = ("part of the time", "anonymous memory, MiB");
    let title = "Memory along a long run";
    chart(&folder.join("memory.svg"), title, (x, y), 0.0..1.0, &lines)
}

fn chart<X>(
    path: &Path,
    title: &str,
    (x_label, y_label): (&str, &str),
    x_range: X,
    lines: &[Line],
) -> Result<()>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let points = lines.iter().flat_map(|line| &line.1);
    let highest = points.map(|point| point.1).fold(0.0, f64::max);
    let root = SVGBackend::new(path, (720, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(x_range, 0.0..highest * 1.1)?;
    chart
        .configure_mesh()
        .x_desc(x_label)
        .y_desc(y_label)
        .max_light_lines(1)
        .draw()?;
    for (index, (name, points)) in lines.iter().enumerate() {
        let color = Palette99::pick(index).stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}

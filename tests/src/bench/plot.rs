//! `--plot`: cost against the number of flows, and packets a second, as SVG.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::{
        BLACK, ChartBuilder, Color as _, DrawingArea, IntoDrawingArea as _, IntoLogRange as _,
        LineSeries, Palette as _, Palette99, PathElement, Rectangle, SVGBackend, WHITE,
    },
};

use crate::{figure::Figure, report::Report};

const SIZE: (u32, u32) = (960, 600);

type Area<'text> = DrawingArea<SVGBackend<'text>, Shift>;

/// Draws what there is to draw into `folder`, which is made. Returns the files.
pub(crate) fn draw(report: &Report, folder: &Path) -> Result<Vec<String>> {
    let shown = folder.display();
    fs::create_dir_all(folder).with_context(|| format!("making {shown}"))?;
    let mut files = Vec::new();
    for bench in ["program", "veth"] {
        let figures: Vec<_> = report.figures.iter().filter(|f| f.bench == bench).collect();
        if figures.is_empty() {
            continue;
        }
        let text = match bench {
            "program" => flows(&figures)?,
            _ => rates(&figures)?,
        };
        let path = folder.join(format!("{bench}.svg"));
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        files.push(path.display().to_string());
    }
    Ok(files)
}

/// Nanoseconds a packet against the number of flows: cases that were measured at more than one.
fn flows(figures: &[&Figure]) -> Result<String> {
    picture(|area| {
        let caption = "nanoseconds a packet (median; bars: minimum to maximum)";
        let mut chart = chart(area, caption)
            .build_cartesian_2d((1.0..2_000_000.0).log_scale(), 0.0..highest(figures))
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .x_desc("flows")
            .y_desc("ns a packet")
            .draw()
            .map_err(drawing)?;
        let mut cases: Vec<_> = figures.iter().map(|f| f.case.as_str()).collect();
        cases.sort_unstable();
        cases.dedup();
        for (index, case) in cases.into_iter().enumerate() {
            let color = Palette99::pick(index).to_rgba();
            let points: Vec<_> = figures
                .iter()
                .filter(|figure| figure.case == case)
                .filter_map(|figure| Some((f64::from(figure.flows?), &figure.total)))
                .collect();
            if points.len() < 2 {
                continue;
            }
            let line = points.iter().map(|(x, total)| (*x, total.median));
            chart
                .draw_series(LineSeries::new(line, color.stroke_width(2)))
                .map_err(drawing)?
                .label(case)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2))
                });
            let bars = points.iter().map(|(x, total)| {
                PathElement::new([(*x, total.minimum), (*x, total.maximum)], color)
            });
            chart.draw_series(bars).map_err(drawing)?;
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()
            .map_err(drawing)?;
        Ok(())
    })
}

/// Packets a second, a bar each.
fn rates(figures: &[&Figure]) -> Result<String> {
    picture(|area| {
        let caption = "millions of packets a second (bar: median; line: minimum to maximum)";
        let mut chart = chart(area, caption)
            .build_cartesian_2d(0.0..figures.len() as f64, 0.0..highest(figures))
            .map_err(drawing)?;
        let name = |x: &f64| {
            let figure = figures.get(x.floor() as usize);
            let half = (x.fract() - 0.5).abs() < 0.01;
            figure
                .filter(|_| half)
                .map_or_else(String::new, |f| f.case.clone())
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(figures.len() * 2 + 1)
            .x_label_formatter(&name)
            .y_desc("Mpps")
            .draw()
            .map_err(drawing)?;
        for (index, figure) in figures.iter().enumerate() {
            let (left, color) = (index as f64, Palette99::pick(index).to_rgba());
            let total = &figure.total;
            let bar = [(left + 0.2, 0.0), (left + 0.8, total.median)];
            chart
                .draw_series([Rectangle::new(bar, color.filled())])
                .map_err(drawing)?;
            let line = [(left + 0.5, total.minimum), (left + 0.5, total.maximum)];
            chart
                .draw_series([PathElement::new(line, BLACK)])
                .map_err(drawing)?;
        }
        Ok(())
    })
}

/// What `draw` draws, as SVG.
fn picture(draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(drawing)?;
        draw(&area)?;
        area.present().map_err(drawing)?;
    }
    Ok(text)
}

/// A chart over the whole picture, without its axes.
fn chart<'a, 'text>(
    area: &'a Area<'text>,
    caption: &str,
) -> ChartBuilder<'a, 'text, SVGBackend<'text>> {
    let mut chart = ChartBuilder::on(area);
    chart
        .caption(caption, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56);
    chart
}

/// Where the axis of values ends.
fn highest(figures: &[&Figure]) -> f64 {
    1.1 * figures.iter().map(|f| f.total.maximum).fold(0.0, f64::max)
}

fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_file_for_each_benchmark_that_ran() {
        let mut report = Report::new(true).unwrap();
        report
            .figures
            .push(Figure::new("veth", "bare relay", "Mpps", &[3.0, 4.0]));
        let folder = tempfile::tempdir().unwrap();
        let files = draw(&report, &folder.path().join("plots")).unwrap();
        assert_eq!(files.len(), 1);
        let text = fs::read_to_string(&files[0]).unwrap();
        assert!(
            text.starts_with("<svg") && text.contains("bare relay"),
            "{text}"
        );
    }
}

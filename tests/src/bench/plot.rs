//! `--plot`: cost against the number of flows, and packets a second, as SVG.
//!
//! The cases of `program` are too many for one picture: each kind of them has its own.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::{
        BLACK, ChartBuilder, Circle, Color as _, DashedLineSeries, DrawingArea,
        IntoDrawingArea as _, LineSeries, PathElement, RGBColor, Rectangle, SVGBackend, Text,
        WHITE,
    },
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    figure::{Figure, Spread},
    program::FLOOR,
    report::{Report, save},
};

const SIZE: (u32, u32) = (1100, 600);

/// What the names of the lines take of it.
const LEGEND: u32 = 350;

/// Colours that those who do not see all of them can tell apart (Okabe and Ito, 2008), yellow, which is
/// hard to see on white, replaced by brown.
pub(crate) const COLORS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    BLACK,
    RGBColor(139, 90, 43),
];
const GREY: RGBColor = RGBColor(130, 130, 130);
const MESH: RGBColor = RGBColor(225, 225, 225);
const FONT: &str = "sans-serif";

type Area<'text> = DrawingArea<SVGBackend<'text>, Shift>;

/// A case at every number of flows that it was measured at.
struct Line<'figures> {
    case: &'figures str,
    /// Flows and values.
    points: Vec<(f64, &'figures Spread)>,
}

/// Makes the folder of the pictures.
///
/// # Errors
/// Where there is something else, or no room.
pub(crate) fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| {
        let shown = folder.display();
        format!("{shown} cannot be made a folder: make room for it, or name another place")
    })
}

/// Draws what there is to draw into `folder`. Returns the files.
pub(crate) fn draw(report: &Report, folder: &Path) -> Result<Vec<String>> {
    let figures = report.figures.iter();
    let mut charts: Vec<_> = figures.clone().filter_map(|f| f.chart.as_deref()).collect();
    charts.sort_unstable();
    charts.dedup();
    let mut pictures = Vec::new();
    for chart in charts {
        let floor = figures.clone().find(|f| f.case == FLOOR);
        let lines = lines(
            figures
                .clone()
                .filter(|f| f.chart.as_deref() == Some(chart)),
        );
        let text = costs(chart, &lines, floor.map(|floor| floor.total.median))?;
        pictures.push((format!("program-{}.svg", chart.replace(' ', "-")), text));
    }
    let veth: Vec<_> = figures.filter(|f| f.bench == "veth").collect();
    if !veth.is_empty() {
        pictures.push(("veth.svg".to_owned(), rates(&veth)?));
    }
    let write = |(name, text): (String, String)| {
        let path = folder.join(name);
        save(&path, &text)?;
        Ok(path.display().to_string())
    };
    pictures.into_iter().map(write).collect()
}

/// The figures of each case as a line, the costliest first.
fn lines<'figures>(figures: impl Iterator<Item = &'figures Figure>) -> Vec<Line<'figures>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for figure in figures {
        let Figure {
            case, flows, total, ..
        } = figure;
        let point = (f64::from(flows.unwrap_or(1)), total);
        match lines.iter_mut().find(|line| line.case == case) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                case,
                points: vec![point],
            }),
        }
    }
    let last = |line: &Line<'_>| line.points.last().map_or(0.0, |(_, total)| total.median);
    lines.sort_by(|a, b| last(b).total_cmp(&last(a)));
    lines
}

/// Nanoseconds a packet against the number of flows.
fn costs(kind: &str, lines: &[Line<'_>], floor: Option<f64>) -> Result<String> {
    picture(|area| {
        let (left, right) = area.split_horizontally(SIZE.0 - LEGEND);
        let values = lines.iter().flat_map(|line| &line.points);
        let caption =
            format!("{kind}: nanoseconds a packet (points: medians; bars: least to most)");
        let mut chart = chart(&left, &caption)
            // The powers of two by their exponents.
            .build_cartesian_2d(-0.5..20.5, 0.0..highest(values.map(|(_, total)| *total)))
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .max_light_lines(0)
            .bold_line_style(MESH)
            .label_style((FONT, 14))
            .x_labels(5)
            .x_label_formatter(&|exponent: &f64| thousands(exponent.exp2()))
            .y_label_formatter(&|value| format!("{value:.0}"))
            .x_desc("flows")
            .y_desc("ns a packet")
            .draw()
            .map_err(drawing)?;
        if let Some(floor) = floor {
            let ends = [(-0.5, floor), (20.5, floor)];
            chart
                .draw_series(DashedLineSeries::new(ends, 6, 4, GREY.into()))
                .map_err(drawing)?;
        }
        for (line, color) in lines.iter().zip(COLORS.iter().cycle()) {
            let points = || {
                line.points
                    .iter()
                    .map(|(flows, total)| (flows.log2(), *total))
            };
            let medians = || points().map(|(x, total)| (x, total.median));
            let bars = points().map(|(x, total)| {
                PathElement::new([(x, total.minimum), (x, total.maximum)], color)
            });
            chart
                .draw_series(LineSeries::new(medians(), color.stroke_width(2)))
                .map_err(drawing)?;
            chart
                .draw_series(medians().map(|point| Circle::new(point, 4, color.filled())))
                .map_err(drawing)?;
            chart.draw_series(bars).map_err(drawing)?;
        }
        legend(&right, lines, floor)
    })
}

/// The lines by their names and values, in the order in which they end, and the floor.
fn legend(area: &Area<'_>, lines: &[Line<'_>], floor: Option<f64>) -> Result<()> {
    let colors = COLORS.iter().cycle().map(|color| color.stroke_width(3));
    let lines = lines.iter().map(|Line { case, points }| {
        let medians: Vec<_> = points.iter().map(|(_, total)| total.median).collect();
        match medians[..] {
            [first, .., last] => format!("{case}: {first:.0} to {last:.0} ns"),
            [one] => format!("{case}: {one:.0} ns"),
            [] => (*case).to_owned(),
        }
    });
    let floor = floor.map(|floor| (format!("{FLOOR}: {floor:.0} ns"), GREY.stroke_width(1)));
    for ((text, style), y) in lines.zip(colors).chain(floor).zip((50..).step_by(26)) {
        let sample: [_; 2] = [(4, y), (28, y)];
        area.draw(&PathElement::new(sample, style))
            .map_err(drawing)?;
        label(area, text, (36, y), HPos::Left)?;
    }
    Ok(())
}

/// Packets a second, a bar each.
fn rates(figures: &[&Figure]) -> Result<String> {
    picture(|area| {
        let caption = "millions of packets a second (bars: medians; lines: least to most)";
        let highest = highest(figures.iter().map(|figure| &figure.total));
        let mut chart = chart(area, caption)
            .build_cartesian_2d(0.0..figures.len() as f64, 0.0..highest)
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
            .max_light_lines(0)
            .bold_line_style(MESH)
            .label_style((FONT, 14))
            .x_labels(figures.len() * 2 + 1)
            .x_label_formatter(&name)
            .y_label_formatter(&|value| format!("{value:.1}"))
            .y_desc("millions of packets a second")
            .draw()
            .map_err(drawing)?;
        for (index, figure) in figures.iter().enumerate() {
            let left = index as f64;
            let total = &figure.total;
            let bar = [(left + 0.2, 0.0), (left + 0.8, total.median)];
            // What others are compared with stands back.
            let color = figure.floor.as_ref().map_or(GREY, |_| COLORS[0]);
            chart
                .draw_series([Rectangle::new(bar, color.filled())])
                .map_err(drawing)?;
            let line = [(left + 0.5, total.minimum), (left + 0.5, total.maximum)];
            chart
                .draw_series([PathElement::new(line, BLACK)])
                .map_err(drawing)?;
            let (x, y) = chart.backend_coord(&(left + 0.5, total.maximum));
            let share = figure
                .relative
                .map(|share| format!(" ({share:.2} of the relay's)"));
            let text = format!("{:.2}{}", total.median, share.unwrap_or_default());
            label(area, text, (x, y - 12), HPos::Center)?;
        }
        Ok(())
    })
}

/// Writes `text` beside a point of the picture, or over it.
fn label(area: &Area<'_>, text: String, at: (i32, i32), beside: HPos) -> Result<()> {
    use plotters::style::IntoTextStyle as _;

    let style = (FONT, 14).into_text_style(area);
    let style = style.pos(Pos::new(beside, VPos::Center));
    area.draw(&Text::new(text, at, style)).map_err(drawing)
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

/// A chart over the whole area, without its axes.
fn chart<'a, 'text>(
    area: &'a Area<'text>,
    caption: &str,
) -> ChartBuilder<'a, 'text, SVGBackend<'text>> {
    let mut chart = ChartBuilder::on(area);
    chart
        .caption(caption, (FONT, 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(60);
    chart
}

/// Where the axis of values ends.
fn highest<'figures>(values: impl Iterator<Item = &'figures Spread>) -> f64 {
    1.1 * values.map(|total| total.maximum).fold(0.0, f64::max)
}

/// 1,048,576.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8_lossy(&groups.join(&b',')).into_owned()
}

fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing: {error}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cases::CASES;

    /// The pictures by their files' names.
    fn drawn(figures: Vec<Figure>) -> BTreeMap<String, String> {
        let mut report = Report::new(true).unwrap();
        report.figures = figures;
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("plots");
        make(&folder).unwrap();
        draw(&report, &folder).unwrap();
        let files = fs::read_dir(&folder).unwrap();
        files
            .map(|file| file.unwrap().path())
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect()
    }

    #[test]
    fn there_is_a_picture_for_each_benchmark_that_ran() {
        let pictures = drawn(vec![Figure::new("veth", "bare relay", "Mpps", &[3.0, 4.0])]);
        assert!(pictures.keys().eq(["veth.svg"]));
        let text = &pictures["veth.svg"];
        assert!(
            text.starts_with("<svg") && text.contains("bare relay"),
            "{text}"
        );
    }

    #[test]
    fn every_case_is_named_in_one_picture_that_has_a_colour_for_it() {
        let figure = |case: &crate::cases::Case, flows: &u32| Figure {
            flows: Some(*flows),
            chart: Some(case.chart().to_owned()),
            ..Figure::new("program", case.name, "ns", &[50.0, 60.0])
        };
        let figures = CASES
            .iter()
            .flat_map(|case| case.flows.iter().map(move |flows| figure(case, flows)));
        let pictures = drawn(figures.collect());
        for case in CASES {
            let named = |text: &&String| text.contains(&format!("\n{}: 55", case.name));
            let count = pictures.values().filter(named).count();
            assert_eq!(count, 1, "{}", case.name);
        }
        for chart in CASES.iter().map(|case| case.chart()) {
            let lines = CASES.iter().filter(|case| case.chart() == chart).count();
            assert!(lines <= COLORS.len(), "{lines} lines in {chart}");
        }
    }

    #[test]
    fn a_file_is_no_folder_for_pictures() {
        let error = format!("{:#}", make(Path::new("/dev/null")).unwrap_err());
        assert!(
            error.starts_with("/dev/null cannot be made a folder: make room"),
            "{error}"
        );
    }

    #[test]
    fn large_numbers_are_read_in_groups() {
        assert_eq!(thousands(1.0), "1");
        assert_eq!(thousands(1_048_576.0), "1,048,576");
    }
}

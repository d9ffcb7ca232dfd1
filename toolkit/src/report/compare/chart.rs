//! A chart of points, their intervals, and lines.

use super::drawing::{Area, Drawing, Drawn, Failed, SCALE, text, width, write};
use super::ink::{INK, LINE, QUIET};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::{ChartBuilder, Circle, PathElement};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor, ShapeStyle};

const WIDTH: i32 = 520;
const HEIGHT: i32 = 380;
/// Of the letters.
const SIZE: i32 = 13;
/// Of the numbers at points.
const SMALL: i32 = 12;

/// A chart.
pub(super) struct Chart {
    pub id: &'static str,
    pub title: String,
    pub description: String,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
    /// Colours, whether it is a ring, and what that stands for.
    pub legend: Vec<(RGBColor, bool, String)>,
}

/// Points of a colour, and a line.
pub(super) struct Series {
    pub colour: RGBColor,
    pub line: Vec<(f64, f64)>,
    pub points: Vec<Point>,
}

/// A point.
pub(super) struct Point {
    pub at: (f64, f64),
    /// The ends of the interval of `y`.
    pub interval: Option<(f64, f64)>,
    /// A ring in place of a disc.
    pub ring: bool,
    /// Stands beside it; may be empty.
    pub label: String,
}

/// An axis with round numbers.
#[derive(Clone)]
pub(super) struct Axis {
    name: &'static str,
    range: (f64, f64),
    ticks: Vec<f64>,
    logarithmic: bool,
    format: fn(f64) -> String,
}

impl Axis {
    /// An axis whose first and last round numbers enclose the values.
    pub(super) fn linear(name: &'static str, values: &[f64], format: fn(f64) -> String) -> Self {
        let (low, high) = ends(values);
        // An interval of nothing has no height of its own.
        let spread = (high - low).max(1e-3);
        let step = (-4..12)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)))
            .find(|step| spread / step <= 6.0)
            .unwrap_or(spread);
        let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
        let ticks: Vec<f64> = (first..=last.max(first + 1)).map(|n| n as f64 * step).collect();
        let range = (ticks[0], ticks[ticks.len() - 1]);
        Axis { name, range, ticks, logarithmic: false, format }
    }

    /// An axis of equal ratios around the values, which are above 0.
    pub(super) fn logarithmic(
        name: &'static str,
        values: &[f64],
        format: fn(f64) -> String,
    ) -> Self {
        let (low, high) = ends(values);
        let (low, high) = (low / 1.25, high * 1.25);
        let digits: &[f64] = if high / low > 300.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all: Vec<f64> = (low.log10().floor() as i32 - 1..=high.log10().ceil() as i32 + 1)
            .flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)))
            .collect();
        // So that two round numbers at least are on it.
        let below = all.iter().rposition(|t| *t <= low).unwrap_or(0);
        let above = all.iter().position(|t| *t >= high).unwrap_or(all.len() - 1);
        let range = if above - below > 2 { (low, high) } else { (all[below], all[above]) };
        let ticks = all.into_iter().filter(|t| (range.0..=range.1).contains(t)).collect();
        Axis { name, range, ticks, logarithmic: true, format }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let place = |value: f64| if self.logarithmic { value.log10() } else { value };
        let (low, high) = (place(self.range.0), place(self.range.1));
        from + (f64::from(to - from) * (place(*value) - low) / (high - low)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.range.0..self.range.1
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        (self.format)(*value)
    }
}

fn ends(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (low, high)
}

impl Chart {
    /// Draws it.
    pub(super) fn draw(self) -> Drawing {
        let words = (self.id, self.title.clone(), self.description.clone());
        Drawing::new(words, (WIDTH, HEIGHT), |area| self.paint(area))
    }

    fn paint(&self, area: &Area) -> Drawn {
        let below_legend = self.paint_legend(area)?;
        let (x, y) = (&self.x, &self.y);
        let mut chart = ChartBuilder::on(area)
            .margin_top(below_legend * SCALE)
            .margin_right(28 * SCALE)
            .margin_bottom(2 * SCALE)
            .margin_left(2 * SCALE)
            .x_label_area_size(44 * SCALE)
            .y_label_area_size(62 * SCALE)
            .build_cartesian_2d(x.clone(), y.clone())?;
        let label = text(SIZE, false, &QUIET, (HPos::Center, VPos::Top));
        chart
            .configure_mesh()
            .bold_line_style(LINE.stroke_width(1))
            .axis_style(QUIET.stroke_width(2))
            .label_style(label.clone())
            .axis_desc_style(label)
            .x_desc(x.name)
            .y_desc(y.name)
            .draw()?;
        for series in &self.series {
            chart.draw_series([PathElement::new(
                series.line.clone(),
                series.colour.mix(0.7).stroke_width(3),
            )])?;
            let bars = series.points.iter().filter_map(|point| {
                let (low, high) = point.interval?;
                let ends = vec![(point.at.0, low), (point.at.0, high)];
                Some(PathElement::new(ends, series.colour.mix(0.35).stroke_width(3)))
            });
            chart.draw_series(bars)?;
        }
        let mut taken = Vec::new();
        for series in &self.series {
            for point in &series.points {
                let style = dot(&series.colour, point.ring);
                chart.draw_series([Circle::new(point.at, 5 * SCALE, style)])?;
                let at = chart.backend_coord(&point.at);
                taken.push(Space::around((at.0 / SCALE, at.1 / SCALE), (12, 12)));
            }
        }
        for point in self.series.iter().flat_map(|s| &s.points) {
            let at = chart.backend_coord(&point.at);
            let at = (at.0 / SCALE, at.1 / SCALE);
            let size = (width(&point.label, SMALL, false) + 2, SMALL);
            let space = Space::free(at, size, &taken);
            let style = text(SMALL, false, &INK, (HPos::Center, VPos::Center));
            write(area, &point.label, space.middle(), style)?;
            taken.push(space);
        }
        Ok(())
    }

    /// Says how high it is.
    fn paint_legend(&self, area: &Area) -> Result<i32, Failed> {
        let (mut x, mut y) = (8, 12);
        for (colour, ring, words) in &self.legend {
            let wide = 24 + width(words, SIZE, false) + 10;
            if x + wide > WIDTH && x > 8 {
                (x, y) = (8, y + 20);
            }
            let middle = ((x + 6) * SCALE, y * SCALE);
            area.draw(&Circle::new(middle, 5 * SCALE, dot(colour, *ring)))?;
            write(area, words, (x + 17, y), text(SIZE, false, &INK, (HPos::Left, VPos::Center)))?;
            x += wide;
        }
        Ok(if self.legend.is_empty() { 10 } else { y + 16 })
    }
}

fn dot(colour: &RGBColor, ring: bool) -> ShapeStyle {
    let style = colour.stroke_width(4);
    if ring { style } else { style.filled() }
}

/// A rectangle in pixels.
#[derive(Clone, Copy)]
struct Space {
    left: i32,
    top: i32,
    width: i32,
    height: i32,
}

impl Space {
    fn around((x, y): (i32, i32), (width, height): (i32, i32)) -> Self {
        Space { left: x - width / 2, top: y - height / 2, width, height }
    }

    fn middle(self) -> (i32, i32) {
        (self.left + self.width / 2, self.top + self.height / 2)
    }

    /// How much of it another one covers.
    fn shared(self, other: Space) -> i32 {
        let along = |a: i32, b: i32, c: i32, d: i32| (a + b).min(c + d) - a.max(c);
        let wide = along(self.left, self.width, other.left, other.width).max(0);
        wide * along(self.top, self.height, other.top, other.height).max(0)
    }

    /// A place for a label of a point, near it, where the least is covered.
    fn free((x, y): (i32, i32), size: (i32, i32), taken: &[Space]) -> Self {
        let places = [0, 8, 18].into_iter().flat_map(|away| {
            let (dx, dy) = (8 + size.0 / 2 + away, 7 + size.1 / 2 + away);
            let around = [(1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1)];
            around.map(|(a, b)| Space::around((x + a * dx, y + b * dy), size))
        });
        let inside = |s: &Space| {
            s.left > 66 && s.left + s.width < WIDTH && s.top > 20 && s.top + s.height < HEIGHT - 46
        };
        let cost = |s: &Space| taken.iter().map(|t| s.shared(*t)).sum::<i32>();
        places.filter(inside).min_by_key(cost).unwrap_or(Space::around((x, y), size))
    }
}

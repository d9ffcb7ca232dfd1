//! A chart of points, their intervals, and lines.

pub mod svg;

use svg::{Drawing, Pair, Svg, width};

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 380.0;
/// Frame of the axes, whose top is below the legend.
const LEFT: f64 = 58.0;
const RIGHT: f64 = WIDTH - 28.0;
const BOTTOM: f64 = HEIGHT - 46.0;
/// Height of a line of texts.
const ROW: f64 = 20.0;

/// A chart.
pub(crate) struct Chart {
    pub id: &'static str,
    pub title: String,
    pub description: String,
    /// True if the title is also drawn, for a picture that has no caption.
    pub headed: bool,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
    /// Meaning of a ring.
    pub ring: &'static str,
}

/// A line and up to two points.
#[derive(Default)]
pub(crate) struct Series {
    /// Entry of the legend, once for all series of this name, and class in `svg.css`.
    pub name: &'static str,
    /// Label beside the points; may be empty.
    pub label: String,
    pub line: Vec<Pair>,
    pub disc: Option<Pair>,
    pub ring: Option<Pair>,
    /// Ends of the disc's interval.
    pub interval: Option<[Pair; 2]>,
}

/// An axis with round numbers.
#[derive(Debug)]
pub(crate) struct Axis {
    pub name: &'static str,
    pub ticks: Vec<f64>,
    range: Pair,
    logarithmic: bool,
    pub format: fn(f64) -> String,
}

impl Axis {
    /// An axis whose first and last round numbers enclose the values, which are 0 or more.
    pub fn linear(name: &'static str, values: &[f64], format: fn(f64) -> String) -> Self {
        let (low, high) = ends(values);
        // Equal values get some space around them, within 0 to 1 for shares.
        let low = low.min(high - 0.01).max(0.0);
        let high = high.max(low + 0.01);
        let step = (-3..12)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)))
            .find(|step| (high - low) / step <= 6.0)
            .unwrap_or(high - low);
        let (first, last) =
            ((low / step + 1e-6).floor() as u64, (high / step - 1e-6).ceil() as u64);
        let ticks: Vec<f64> = (first..=last).map(|n| n as f64 * step).collect();
        let range = (ticks[0], ticks[ticks.len() - 1]);
        Axis { name, ticks, range, logarithmic: false, format }
    }

    /// An axis of equal ratios around the values, which are above 0.
    pub fn logarithmic(name: &'static str, values: &[f64], format: fn(f64) -> String) -> Self {
        let (low, high) = ends(values);
        let (low, high) = (low / 1.25, high * 1.25);
        let digits: &[f64] = if high / low > 300.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all: Vec<f64> = (low.log10().floor() as i32 - 1..=high.log10().ceil() as i32 + 1)
            .flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)))
            .collect();
        // A narrow range grows until it contains two round numbers.
        let below = all.iter().rposition(|t| *t <= low).unwrap_or(0);
        let above = all.iter().position(|t| *t >= high).unwrap_or(all.len() - 1);
        let range = if above - below > 2 { (low, high) } else { (all[below], all[above]) };
        let ticks = all.into_iter().filter(|t| (range.0..=range.1).contains(t)).collect();
        Axis { name, ticks, range, logarithmic: true, format }
    }

    /// Place of a value between the ends of the axis, in pixels.
    fn place(&self, value: f64, (from, to): Pair) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.log10() } else { value };
        let (low, high) = (scale(self.range.0), scale(self.range.1));
        from + (to - from) * (scale(value) - low) / (high - low)
    }
}

fn ends(values: &[f64]) -> Pair {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    (low, values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

impl Chart {
    /// Draws the chart.
    pub fn draw(self) -> Drawing {
        let mut svg = Svg::default();
        let mut top = 12.0;
        if self.headed {
            svg.text((8.0, top), "bold head", &self.title);
            top += ROW;
        }
        top = self.draw_legend(&mut svg, top);
        self.draw_axes(&mut svg, top);
        self.draw_series(&mut svg, top);
        svg.finish(self.id, self.title, self.description, (WIDTH, HEIGHT))
    }

    /// Draws the legend, and returns the top of the axes.
    fn draw_legend(&self, svg: &mut Svg, top: f64) -> f64 {
        let (mut x, mut y) = (8.0, top);
        let mut seen = Vec::new();
        let entries = self.series.iter().map(|s| (s.name, s.name, s.disc.is_none()));
        let has_rings = self.series.iter().any(|s| s.ring.is_some());
        for (name, class, is_line) in
            entries.chain(has_rings.then_some((self.ring, "quiet ring", false)))
        {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            let sign = if is_line { 28.0 } else { 12.0 };
            let wide = sign + 5.0 + width(name, 13.0, false);
            if x + wide > WIDTH {
                (x, y) = (8.0, y + ROW);
            }
            match is_line {
                true => svg.line(&[(x, y), (x + sign, y)], class),
                false => svg.dot((x + sign / 2.0, y), class),
            }
            svg.text((x + sign + 5.0, y), "", name);
            x += wide + 12.0;
        }
        // The name of the y axis follows.
        y + 2.0 * ROW + 4.0
    }

    fn draw_axes(&self, svg: &mut Svg, top: f64) {
        svg.text((2.0, top - 18.0), "quiet", self.y.name);
        svg.text(((LEFT + RIGHT) / 2.0, HEIGHT - 10.0), "quiet middle", self.x.name);
        for tick in &self.y.ticks {
            let y = self.y.place(*tick, (BOTTOM, top));
            svg.line(&[(LEFT, y), (RIGHT, y)], "grid");
            svg.text((LEFT - 6.0, y), "quiet end", &(self.y.format)(*tick));
        }
        for tick in &self.x.ticks {
            let x = self.x.place(*tick, (LEFT, RIGHT));
            svg.line(&[(x, top), (x, BOTTOM)], "grid");
            svg.text((x, BOTTOM + 14.0), "quiet middle", &(self.x.format)(*tick));
        }
        svg.line(&[(LEFT, top), (LEFT, BOTTOM), (RIGHT, BOTTOM)], "quiet");
    }

    fn draw_series(&self, svg: &mut Svg, top: f64) {
        let place = |(x, y): Pair| (self.x.place(x, (LEFT, RIGHT)), self.y.place(y, (BOTTOM, top)));
        for series in self.series.iter().filter(|s| !s.line.is_empty()) {
            let line: Vec<Pair> = series.line.iter().copied().map(place).collect();
            svg.line(&line, series.name);
        }
        let (mut taken, mut labels) = (Vec::new(), Vec::new());
        for Series { name, label, disc, ring, interval, .. } in &self.series {
            if let Some(ends) = interval {
                svg.line(&ends.map(place), &format!("{name} interval"));
            }
            for (at, class) in [(disc, ""), (ring, " ring")] {
                let Some(at) = at.map(place) else { continue };
                svg.dot(at, &format!("{name}{class}"));
                taken.push((at, (12.0, 12.0)));
                labels.push((at, label));
            }
        }
        for (at, label) in labels.into_iter().filter(|(_, label)| !label.is_empty()) {
            let size = (width(label, 12.0, false) + 2.0, 12.0);
            let place = free(at, size, top, &taken);
            svg.text(place, "small middle", label);
            taken.push((place, size));
        }
    }
}

/// A rectangle: its middle, its width and height.
type Space = (Pair, Pair);

/// Area that two rectangles share, about.
fn shared(((x, y), (a, b)): Space, ((u, v), (c, d)): Space) -> f64 {
    let along = |distance: f64, sizes: f64| (sizes / 2.0 - distance.abs()).max(0.0);
    along(x - u, a + c) * along(y - v, b + d)
}

/// Middle of a label near a point, within the axes, where it covers the least of `taken`.
fn free((x, y): Pair, (wide, high): Pair, top: f64, taken: &[Space]) -> Pair {
    let around = [(1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1)];
    let places = [8.0, 16.0, 26.0, 38.0, 52.0].into_iter().flat_map(|away| {
        let (dx, dy) = (away + wide / 2.0, away + high / 2.0);
        around.map(|(a, b)| (x + f64::from(a) * dx, y + f64::from(b) * dy))
    });
    let inside = |(x, y): &Pair| {
        x - wide / 2.0 > LEFT
            && x + wide / 2.0 < WIDTH
            && y - high / 2.0 > top
            && y + high / 2.0 < BOTTOM
    };
    let cost = |at: &Pair| taken.iter().map(|t| shared((*at, (wide, high)), *t)).sum::<f64>();
    places.filter(inside).min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or((x, y))
}

/// A share of 1 in percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", plain(100.0 * share))
}

/// A number with at most two decimal places.
pub(crate) fn plain(value: f64) -> String {
    ((value * 1e2).round() / 1e2).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_enclose() {
        for (low, high) in [(0.0, 1.0), (0.5, 0.93), (0.912, 0.913), (1.0, 1.0), (0.0, 0.0)] {
            let ticks = Axis::linear("", &[high, low], percent).ticks;
            assert!((4..=8).contains(&ticks.len()), "{ticks:?}");
            assert!(ticks[0] <= low + 1e-9 && *ticks.last().unwrap() >= high - 1e-9, "{ticks:?}");
            assert!(ticks[0] >= 0.0 && *ticks.last().unwrap() <= 1.0 + 1e-9, "{ticks:?}");
        }
        for (low, high) in [(1e6, 1e6), (0.8e6, 36e6), (3.0, 4e5)] {
            let axis = Axis::logarithmic("", &[high, low], plain);
            assert!((2..=9).contains(&axis.ticks.len()), "{:?}", axis.ticks);
            let within = |value: &f64| (axis.range.0..=axis.range.1).contains(value);
            assert!([low, high].iter().chain(&axis.ticks).all(within), "{axis:?}");
        }
    }

    #[test]
    fn labels_leave_points_free_where_they_can() {
        let size = (16.0, 12.0);
        let points = [(200.0, 200.0), (215.0, 200.0), (230.0, 204.0)];
        let taken = points.map(|at| (at, (12.0, 12.0)));
        for point in points {
            let label = free(point, size, 60.0, &taken);
            assert!(taken.iter().all(|t| shared((label, size), *t) == 0.0), "{label:?}");
        }
        // In a corner it is within the axes.
        let (x, y) = free((LEFT, BOTTOM), size, 60.0, &[]);
        assert!(x - 8.0 > LEFT && y + 6.0 < BOTTOM, "{x}, {y}");
    }
}

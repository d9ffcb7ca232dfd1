//! The charts of the report.

use super::super::record::{Record, Way};
use super::Report;
use crate::chart::svg::{Drawing, Pair};
use crate::chart::{Axis, Chart, Series, percent, plain};

impl Report {
    /// The charts that the records have figures for.
    pub(super) fn charts(&self) -> Vec<Drawing> {
        let charts = [
            self.by_size(),
            self.by_speed(),
            self.by_exit(),
            self.by_threshold(),
            self.by_sparsity(),
        ];
        charts.into_iter().flatten().collect()
    }

    fn by_size(&self) -> Option<Drawing> {
        let axis = |xs: &[f64]| Axis::logarithmic("size of the file", xs, bytes);
        self.chart("size", "Accuracy against size", axis, |record| {
            Some(full_depth(record, record.bytes? as f64))
        })
    }

    fn by_sparsity(&self) -> Option<Drawing> {
        let some = self.records().iter().any(|record| self.pruned(record) > Some(0.005));
        let name = "weights of the encoder that are zero or gone";
        let axis = |xs: &[f64]| Axis::linear(name, xs, percent);
        self.chart("sparsity", "Accuracy against sparsity", axis, |record| {
            Some(full_depth(record, self.pruned(record).filter(|_| some)?))
        })
    }

    fn by_speed(&self) -> Option<Drawing> {
        let axis = |xs: &[f64]| Axis::logarithmic("sentences a second", xs, plain);
        let place = |way: Way| Some((way.pace?.sentences_per_second, way.accuracy.value));
        self.chart("speed", "Accuracy against speed", axis, |record| {
            let (disc, ring) = (place(record.full_depth()), record.early_exit().and_then(place));
            let line = disc.into_iter().chain(ring).collect();
            Some(Series { line, disc: Some(disc?), ring, ..Series::default() })
        })
    }

    fn by_exit(&self) -> Option<Drawing> {
        let axis = |xs: &[f64]| Axis::linear("layers computed", xs, plain);
        self.chart("exits", "Accuracy of every exit", axis, |record| {
            let measured = &record.measured()?.evaluation;
            let exits = measured.exits.iter().map(|e| (e.layer as f64, e.accuracy.value));
            let mut line: Vec<Pair> = exits.collect();
            line.sort_by(|a, b| a.0.total_cmp(&b.0));
            let disc = line.last().copied().filter(|_| line.len() > 1);
            let place = |way: Way| (way.share * measured.layers as f64, way.accuracy.value);
            let ring = record.early_exit().map(place);
            Some(Series { line, disc: Some(disc?), ring, ..Series::default() })
        })
    }

    fn by_threshold(&self) -> Option<Drawing> {
        let title = "Accuracy as thresholds change, on the sentences that chose them";
        let axis = |xs: &[f64]| Axis::linear("layers computed, as a share of all", xs, percent);
        self.chart("thresholds", title, axis, |record| {
            let curve = record.measured()?.curve.iter();
            let line: Vec<Pair> = curve.map(|p| (p.share, p.accuracy)).collect();
            let disc = line.last().copied().filter(|_| line.len() > 1);
            Some(Series { line, disc: Some(disc?), ..Series::default() })
        })
    }

    /// A chart of the models for which `shown` has figures.
    fn chart(
        &self,
        id: &'static str,
        title: &str,
        axis: impl Fn(&[f64]) -> Axis,
        shown: impl Fn(&Record) -> Option<Series>,
    ) -> Option<Drawing> {
        let shown = |record| Some((record, shown(record)?));
        let shown: Vec<(&Record, Series)> = self.records().iter().filter_map(shown).collect();
        let places = shown.iter().flat_map(|(_, s)| {
            let ends = s.interval.into_iter().flatten();
            s.line.iter().copied().chain(s.disc).chain(s.ring).chain(ends)
        });
        let (xs, ys): (Vec<f64>, Vec<f64>) = places.unzip();
        if xs.is_empty() {
            return None;
        }
        let (x, y) = (axis(&xs), Axis::linear("accuracy", &ys, percent));
        let words = |(record, series): &(&Record, Series)| {
            format!("{}: {}", self.called(record), said(series, &x, &y))
        };
        let words: Vec<String> = shown.iter().map(words).collect();
        let description = format!("Accuracy at {}. {}.", x.name, words.join("; "));
        let named = |(record, series): (&Record, Series)| Series {
            name: record.step.name(),
            label: self.number(record).to_string(),
            ..series
        };
        let series = shown.into_iter().map(named).collect();
        let (title, ring) = (title.into(), "with exits");
        Some(Chart { id, title, description, headed: false, x, y, series, ring }.draw())
    }
}

/// Point of a model at full depth, with the interval of its accuracy.
fn full_depth(record: &Record, x: f64) -> Series {
    let accuracy = record.full_depth().accuracy;
    let interval = Some([(x, accuracy.low), (x, accuracy.high)]);
    Series { disc: Some((x, accuracy.value)), interval, ..Series::default() }
}

/// Places of a series in words: of a long line its ends.
fn said(series: &Series, x: &Axis, y: &Axis) -> String {
    let place = |at: &Pair| format!("{} at {}", (y.format)(at.1), (x.format)(at.0));
    let places = match &series.line[..] {
        [first, .., last] if series.line.len() > 12 => vec![first, last],
        [] => series.disc.iter().collect(),
        line => line.iter().filter(|at| Some(**at) != series.ring).collect(),
    };
    let ring = series.ring.iter().map(|at| format!("with exits {}", place(at)));
    places.into_iter().map(place).chain(ring).collect::<Vec<_>>().join(", ")
}

fn bytes(bytes: f64) -> String {
    let (unit, name) = if bytes < 1e6 { (1e3, "kB") } else { (1e6, "MB") };
    format!("{} {name}", plain(bytes / unit))
}

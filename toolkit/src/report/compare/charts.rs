//! Which charts there are, and what they show.

use super::super::record::{MadeBy, Record};
use super::chart::{Axis, Chart, Point, Series};
use super::drawing::Drawing;
use super::{Report, ink, rows};
use crate::measure::table::percent;

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
        charts.into_iter().flatten().map(Chart::draw).collect()
    }

    fn by_size(&self) -> Option<Chart> {
        let points = self.points(|record| record.bytes.map(|bytes| bytes as f64));
        let x = Axis::logarithmic("size of the file", &xs(&points)?, megabytes);
        Some(self.chart(("size", "Accuracy against size", rows::bytes), x, points))
    }

    fn by_sparsity(&self) -> Option<Chart> {
        let points = self.points(|record| self.pruned(record));
        let xs = xs(&points)?;
        // Models that are all whole have nothing to show.
        xs.iter().find(|x| **x > 0.005)?;
        let x = Axis::linear("weights of the encoder that are zero or gone", &xs, hundredths);
        let said = |record: &Record| self.pruned(record).map(percent);
        Some(self.chart(("sparsity", "Accuracy against sparsity", said), x, points))
    }

    fn by_speed(&self) -> Option<Chart> {
        let mut series = Vec::new();
        for record in self.records() {
            let full = record.full_depth();
            let ways = [Some(full), record.early_exit()].into_iter().flatten().enumerate();
            let points: Vec<Point> = ways
                .filter_map(|(i, way)| {
                    Some(Point {
                        at: (way.pace?.sentences_per_second, way.accuracy.value),
                        interval: None,
                        ring: i == 1,
                        label: self.number(record).to_string(),
                    })
                })
                .collect();
            let line = points.iter().map(|p| p.at).collect();
            series.push((record, Series { colour: ink::of(record.step), line, points }));
        }
        series.retain(|(_, s)| !s.points.is_empty());
        let x = Axis::logarithmic("sentences a second", &xs(&series)?, plain);
        let said = |record: &Record| {
            let pace = |way: super::super::record::Way| {
                Some(format!(
                    "{:.0} a second at {}",
                    way.pace?.sentences_per_second,
                    percent(way.accuracy.value)
                ))
            };
            let full = pace(record.full_depth())?;
            match record.early_exit().and_then(pace) {
                Some(early) => Some(format!("{full}, with exits {early}")),
                None => Some(full),
            }
        };
        Some(self.chart(("speed", "Accuracy against speed", said), x, series))
    }

    fn by_exit(&self) -> Option<Chart> {
        let mut series = Vec::new();
        for record in self.records() {
            let Some(evaluation) = record.measured().map(|m| &m.evaluation) else { continue };
            let mut line: Vec<_> =
                evaluation.exits.iter().map(|e| (e.layer as f64, e.accuracy.value)).collect();
            if line.len() < 2 {
                continue;
            }
            line.sort_by(|a, b| a.0.total_cmp(&b.0));
            let label = self.number(record).to_string();
            let point = |at, ring, label| Point { at, interval: None, ring, label };
            let mut points = vec![point(line[line.len() - 1], false, label.clone())];
            if let Some(early) = record.early_exit() {
                let layers = early.share * evaluation.layers as f64;
                points.push(point((layers, early.accuracy.value), true, label));
            }
            series.push((record, Series { colour: ink::of(record.step), line, points }));
        }
        let x = Axis::linear("layers computed", &xs(&series)?, plain);
        let said = |record: &Record| {
            let exits = record.measured()?.evaluation.exits.iter();
            let each: Vec<String> = exits
                .map(|e| format!("{} after layer {}", percent(e.accuracy.value), e.layer))
                .collect();
            Some(each.join(", "))
        };
        Some(self.chart(("exits", "Accuracy of every exit", said), x, series))
    }

    fn by_threshold(&self) -> Option<Chart> {
        let mut series = Vec::new();
        for record in self.records() {
            let Some(curve) = record.measured().map(|m| &m.curve) else { continue };
            let line: Vec<_> = curve.iter().map(|p| (p.share, p.accuracy)).collect();
            let Some(last) = line.last().filter(|_| line.len() > 1) else { continue };
            let label = self.number(record).to_string();
            let points = vec![Point { at: *last, interval: None, ring: false, label }];
            series.push((record, Series { colour: ink::of(record.step), line, points }));
        }
        let x = Axis::linear("layers computed, as a share of all", &xs(&series)?, hundredths);
        let said = |record: &Record| {
            let curve = &record.measured()?.curve;
            let (first, last) = (curve.first()?, curve.last()?);
            let end = |p: &super::super::record::CurvePoint| {
                format!("{} with {} of the layers", percent(p.accuracy), percent(p.share))
            };
            Some(format!("from {} to {}", end(first), end(last)))
        };
        let title = "Accuracy as thresholds change, on the sentences that chose them";
        Some(self.chart(("thresholds", title, said), x, series))
    }

    /// A point for every model that has such a value.
    fn points(&self, x: impl Fn(&Record) -> Option<f64>) -> Vec<(&Record, Series)> {
        let point = |record| {
            let accuracy = Record::full_depth(record).accuracy;
            let point = Point {
                at: (x(record)?, accuracy.value),
                interval: Some((accuracy.low, accuracy.high)),
                ring: false,
                label: self.number(record).to_string(),
            };
            let colour = ink::of(record.step);
            Some((record, Series { colour, line: Vec::new(), points: vec![point] }))
        };
        self.records().iter().filter_map(point).collect()
    }

    fn chart(
        &self,
        (id, title, said): (&'static str, &str, impl Fn(&Record) -> Option<String>),
        x: Axis,
        series: Vec<(&Record, Series)>,
    ) -> Chart {
        let ys: Vec<f64> = (series.iter())
            .flat_map(|(_, s)| {
                let ends = |p: &Point| p.interval.map_or([p.at.1; 2], |(low, high)| [low, high]);
                s.points.iter().flat_map(ends).chain(s.line.iter().map(|p| p.1))
            })
            .collect();
        let each: Vec<String> = (series.iter())
            .map(|(r, _)| format!("{}: {}", self.called(r), said(r).unwrap_or_default()))
            .collect();
        let mut legend: Vec<_> = (MadeBy::ALL.iter())
            .filter(|step| series.iter().any(|(r, _)| r.step == **step))
            .map(|step| (ink::of(*step), false, step.name().to_string()))
            .collect();
        if series.iter().flat_map(|(_, s)| &s.points).any(|p| p.ring) {
            legend.push((ink::QUIET, true, "with exits".into()));
        }
        Chart {
            id,
            title: title.into(),
            description: format!("{}.", each.join("; ")),
            x,
            y: Axis::linear("accuracy", &ys, hundredths),
            series: series.into_iter().map(|(_, s)| s).collect(),
            legend,
        }
    }
}

/// All places along the x axis, if there are any.
fn xs(series: &[(&Record, Series)]) -> Option<Vec<f64>> {
    let all = series
        .iter()
        .flat_map(|(_, s)| s.points.iter().map(|p| p.at).chain(s.line.iter().copied()));
    let all: Vec<f64> = all.map(|(x, _)| x).collect();
    (!all.is_empty()).then_some(all)
}

fn plain(value: f64) -> String {
    ((value * 1e3).round() / 1e3).to_string()
}

fn megabytes(bytes: f64) -> String {
    format!("{} MB", plain(bytes / 1e6))
}

fn hundredths(share: f64) -> String {
    format!("{} %", plain(100.0 * share))
}

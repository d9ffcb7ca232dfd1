//! Cells of the tables on the page and in Markdown.

use super::super::record::{Figures, Record, Way};
use super::Report;
use crate::measure::table::{accuracy, percent, scaled};

/// Columns of the table of models, after the model's name.
pub(super) const HEAD: [&str; 7] =
    ["parameters", "size", "sentences/s", "p50", "p99", "accuracy (95 %)", "layers"];

/// A line of the table of models.
pub(super) struct Row<'a> {
    pub record: &'a Record,
    /// True if the line shows the model with early exits.
    pub exits: bool,
    pub cells: [String; 7],
}

impl Row<'_> {
    /// Text of the first column.
    pub fn name(&self, report: &Report) -> String {
        if self.exits {
            return "↳ with exits".into();
        }
        let mark = if matches!(self.record.figures, Figures::Stated(_)) { " †" } else { "" };
        format!("{}{mark}", report.called(self.record))
    }
}

/// Lines of the table: one or two for every model.
pub(super) fn models(report: &Report) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for record in report.records() {
        let full = [parameters(record), bytes(record)].map(Option::unwrap_or_default);
        rows.push(Row { record, exits: false, cells: cells(full, record.full_depth()) });
        if let Some(early) = record.early_exit() {
            rows.push(Row { record, exits: true, cells: cells(Default::default(), early) });
        }
    }
    rows
}

fn cells([parameters, size]: [String; 2], way: Way) -> [String; 7] {
    let pace =
        |text: fn(super::super::record::Pace) -> String| way.pace.map_or_else(String::new, text);
    [
        parameters,
        size,
        pace(|p| {
            format!("{:.*}", usize::from(p.sentences_per_second < 99.95), p.sentences_per_second)
        }),
        pace(|p| milliseconds(p.p50_ms)),
        pace(|p| milliseconds(p.p99_ms)),
        accuracy(way.accuracy),
        layers(way),
    ]
}

/// Formats the computed layers as `1.96 of 6`, a mean over the sentences; as a percentage if the
/// number of layers is unknown.
pub(super) fn layers(way: Way) -> String {
    match way.layers {
        None => percent(way.share),
        Some(layers) if way.share == 1.0 => format!("{layers} of {layers}"),
        Some(layers) => format!("{:.2} of {layers}", way.share * layers as f64),
    }
}

fn milliseconds(ms: f64) -> String {
    format!("{ms:.*} ms", if ms < 9.995 { 2 } else { 1 })
}

/// Formats the size as `22.7 MB`.
pub(super) fn bytes(record: &Record) -> Option<String> {
    record.bytes.map(|n| scaled(n, [" B", " kB", " MB", " GB"]))
}

/// Formats the number of parameters as `21.8 M`, with the share of zeros if it is 0.5 % or more.
pub(super) fn parameters(record: &Record) -> Option<String> {
    let p = record.parameters?;
    let all = scaled(p.all, ["", " k", " M", " G"]);
    let zero = 1.0 - p.nonzero as f64 / p.all as f64;
    Some(if zero < 0.005 { all } else { format!("{all}, {:.0} % zero", 100.0 * zero) })
}

/// A model and its cells in every column of the table of exits: accuracy and share.
pub(super) type OfExits<'a> = (&'a Record, Vec<[String; 2]>);

/// Table of exits: the layers before them, and for each model with two or more exits its cells. A
/// cell contains the accuracy in percent and the percentage of sentences that leave there.
pub(super) fn exits(report: &Report) -> (Vec<usize>, Vec<OfExits<'_>>) {
    let all = || report.records().iter().filter_map(|r| Some((r, &r.measured()?.evaluation)));
    let mut layers: Vec<usize> = all().flat_map(|(_, e)| &e.exits).map(|x| x.layer).collect();
    layers.sort_unstable();
    layers.dedup();
    let of = |(record, e): (_, &crate::measure::evaluation::Evaluation)| {
        let cell = |layer: &usize| match e.exits.iter().find(|x| x.layer == *layer) {
            None => Default::default(),
            Some(exit) => [
                format!("{:.2}", 100.0 * exit.accuracy.value),
                format!("{:.1}", 100.0 * exit.leave as f64 / e.sentences as f64),
            ],
        };
        (record, layers.iter().map(cell).collect())
    };
    let rows = all().filter(|(_, e)| e.exits.len() > 1).map(of).collect();
    (layers, rows)
}

/// Sources of the models that were not measured here.
pub(super) fn sources(report: &Report) -> Vec<String> {
    let source = |record: &Record| match &record.figures {
        Figures::Measured(_) => None,
        Figures::Stated(stated) => {
            Some(format!("{} was not measured here. {}", report.called(record), stated.source))
        }
    };
    report.records().iter().filter_map(source).collect()
}

/// Conditions of the measurements, in sentences.
pub(super) fn conditions(report: &Report) -> Vec<String> {
    let data = &report.records()[0].data;
    let mut all = vec![format!(
        "Accuracy on the {} sentences of {} (SHA-256 {}), with the 95 % interval (Wilson).",
        data.sentences, data.name, data.sha256
    )];
    for record in report.records() {
        let Some(speed) = record.measured().and_then(|m| m.speed.as_ref()) else { continue };
        let threads = if speed.threads == 1 { "thread" } else { "threads" };
        let said = format!(
            "Speed on {}, {} {threads}, one sentence after the other, tokenizing included: the \
             median of {} rounds in which the models took turns, {}.",
            speed.processor, speed.threads, speed.rounds, speed.day
        );
        if !all.contains(&said) {
            all.push(said);
        }
    }
    all
}

//! The steps of the compression: a box for each model, to the right of the model it was made from.

use super::super::record::Record;
use super::{Drawing, Report, rows};
use crate::chart::svg::{Pair, Svg, width};

/// Size of a box, and the space between two boxes.
const BOX: Pair = (196.0, 88.0);
const GAP: Pair = (34.0, 14.0);
/// Width of a box's left edge, which has the colour of its step.
const EDGE: f64 = 5.0;
/// Space around all boxes.
const MARGIN: f64 = 2.0;
/// Indentation of boxes below their parents.
const INDENT: f64 = 20.0;

/// A box.
struct Node {
    column: usize,
    row: usize,
    /// Index of the box that the arrow to this box comes from.
    parent: Option<usize>,
    step: &'static str,
    name: String,
    figures: [String; 2],
}

impl Report {
    /// Drawing of the flow, from left to right.
    pub(super) fn flow(&self) -> Drawing {
        self.draw("flow", true)
    }

    /// Drawing of the flow for narrow screens, from top to bottom.
    pub(super) fn narrow_flow(&self) -> Drawing {
        self.draw("narrow-flow", false)
    }

    fn draw(&self, id: &'static str, wide: bool) -> Drawing {
        let nodes = self.nodes();
        let place = |(i, node): (usize, &Node)| {
            let (right, row) = if wide { (BOX.0 + GAP.0, node.row) } else { (INDENT, i) };
            (MARGIN + node.column as f64 * right, MARGIN + row as f64 * (BOX.1 + GAP.1))
        };
        let places: Vec<Pair> = nodes.iter().enumerate().map(place).collect();
        let mut svg = Svg::default();
        for (node, (x, y)) in nodes.iter().zip(&places) {
            let Some((from, z)) = node.parent.map(|parent| places[parent]) else { continue };
            let y = y + BOX.1 / 2.0;
            let (start, bend) = if wide {
                ((from + BOX.0, z + BOX.1 / 2.0), x - GAP.0 / 2.0)
            } else {
                ((from + INDENT / 2.0, z + BOX.1), from + INDENT / 2.0)
            };
            svg.line(&[start, (bend, start.1), (bend, y), (*x, y)], "quiet");
            svg.line(&[(x - 6.0, y - 4.0), (*x, y), (x - 6.0, y + 4.0)], "quiet");
        }
        for (node, place) in nodes.iter().zip(&places) {
            draw_box(&mut svg, node, *place);
        }
        let most = |of: fn(&Pair) -> f64| places.iter().map(of).fold(0.0, f64::max);
        let size = (most(|p| p.0) + BOX.0 + MARGIN, most(|p| p.1) + BOX.1 + MARGIN);
        svg.finish(id, "From model to model".into(), self.said(), size)
    }

    fn said(&self) -> String {
        let each = self.records().iter().map(|record| {
            let from = self.parent(record).map(|parent| format!(" from {}", self.number(parent)));
            let from = from.unwrap_or_default();
            let step = record.step.name();
            let [size, accuracy] = figures(record);
            format!("{}, {step}{from}: {size}, {accuracy}", self.called(record))
        });
        format!("{}.", each.collect::<Vec<_>>().join("; "))
    }

    /// Boxes in the order of the records: the first model made from another one goes on in its row,
    /// all others begin new rows.
    fn nodes(&self) -> Vec<Node> {
        let mut nodes: Vec<Node> = Vec::new();
        let mut at = std::collections::HashMap::new();
        let mut rows = 0;
        for record in self.records() {
            let parent = self.parent(record).and_then(|parent| at.get(parent.id.as_str())).copied();
            let goes_on = parent.is_some_and(|p| p + 1 == nodes.len());
            rows += usize::from(!goes_on);
            let column = parent.map_or(0, |p: usize| nodes[p].column + 1);
            at.insert(record.id.as_str(), nodes.len());
            nodes.push(Node {
                column,
                row: rows - 1,
                parent,
                step: record.step.name(),
                name: self.called(record),
                figures: figures(record),
            });
            let last = !self.records().iter().any(|r| r.from.as_ref() == Some(&record.id));
            if let Some(early) = record.early_exit().filter(|_| last) {
                nodes.push(Node {
                    column: column + 1,
                    row: rows - 1,
                    parent: Some(nodes.len() - 1),
                    step: "exits",
                    name: format!("{}. with exits", self.number(record)),
                    figures: [
                        format!("{} layers", rows::layers(early)),
                        accuracy(early.accuracy.value),
                    ],
                });
            }
        }
        nodes
    }
}

/// Size and accuracy.
fn figures(record: &Record) -> [String; 2] {
    let size: Vec<String> =
        [rows::parameters(record), rows::bytes(record)].into_iter().flatten().collect();
    [size.join(" · "), accuracy(record.full_depth().accuracy.value)]
}

fn accuracy(value: f64) -> String {
    format!("{:.2} % right", 100.0 * value)
}

fn draw_box(svg: &mut Svg, Node { step, name, figures, .. }: &Node, (x, y): Pair) {
    svg.rectangle((x, y), BOX, "box");
    svg.rectangle((x, y), (EDGE, BOX.1), step);
    // A short name leaves its second line free.
    let [first, second] = wrapped(name, BOX.0 - EDGE - 16.0, 13.0);
    let [size, accuracy] = figures;
    for (words, dy, class) in [
        (*step, 13.0, &*format!("{step} bold small")),
        (&first, 31.0, "bold"),
        (&second, 46.0, "bold"),
        (size, 62.0, "quiet small"),
        (accuracy, 77.0, "quiet small"),
    ] {
        svg.text((x + EDGE + 9.0, y + dy), class, words);
    }
}

/// Two lines of a bold text, broken between words where possible; the rest is left out.
fn wrapped(words: &str, wide: f64, size: f64) -> [String; 2] {
    let mut lines = [String::new(), String::new()];
    let mut at = 0;
    for word in words.split_whitespace() {
        let longer = |line: &str| format!("{line}{}{word}", if line.is_empty() { "" } else { " " });
        if at == 0 && !lines[0].is_empty() && width(&longer(&lines[0]), size, true) > wide {
            at = 1;
        }
        lines[at] = longer(&lines[at]);
    }
    lines.map(|line| {
        if width(&line, size, true) <= wide {
            return line;
        }
        let mut short = line;
        while width(&short, size, true) + size > wide && short.pop().is_some() {}
        short.trim_end().to_string() + "…"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_broken_between_words_and_cut_where_they_must() {
        let wrap = |words| wrapped(words, 70.0, 10.0);
        assert_eq!(wrap("1 short"), ["1 short", ""]);
        assert_eq!(wrap("2 MiniLM-L6 in int8"), ["2 MiniLM-L6", "in int8"]);
        let [first, second] = wrap("3 MiniLM with every other layer left out");
        assert_eq!(first, "3 MiniLM");
        assert!(second.starts_with("with ev") && second.ends_with('…'), "{second}");
        let [first, second] = wrap("Donaudampfschifffahrtsgesellschaft");
        assert!(first.ends_with('…') && second.is_empty(), "{first}");
    }
}

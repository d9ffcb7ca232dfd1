//! The way of the compression: a box for every model, drawn to the right of what it was made from.

use super::super::record::Record;
use super::drawing::{Area, Drawing, Drawn, SCALE, text, width, write};
use super::ink::{self, CARD, EXITS, INK, LINE, QUIET};
use super::{Report, rows};
use plotters::prelude::{PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor};

/// Of a box, and the space between two.
const BOX: (i32, i32) = (196, 88);
const GAP: (i32, i32) = (34, 14);
/// The left edge of a box has the colour of its step.
const EDGE: i32 = 5;
/// Around everything.
const MARGIN: i32 = 2;
/// Of the names.
const SIZE: i32 = 13;

/// A box.
struct Node {
    column: i32,
    row: i32,
    /// The box that it hangs on.
    parent: Option<usize>,
    colour: RGBColor,
    /// What was done.
    step: String,
    name: String,
    figures: [String; 2],
}

/// Where boxes are.
struct Layout {
    /// From column to column.
    right: i32,
    /// Whether boxes may share a row; otherwise each stands below the one before.
    rows: bool,
}

impl Layout {
    fn place(&self, nodes: &[Node], node: usize) -> (i32, i32) {
        let row = if self.rows { nodes[node].row } else { node as i32 };
        (MARGIN + nodes[node].column * self.right, MARGIN + row * (BOX.1 + GAP.1))
    }

    /// The corners of the line from a box to one that hangs on it.
    fn way(&self, (from, y): (i32, i32), (to, z): (i32, i32)) -> Vec<(i32, i32)> {
        let end = (to, z + BOX.1 / 2);
        if self.rows {
            let (bend, y) = (to - GAP.0 / 2, y + BOX.1 / 2);
            vec![(from + BOX.0, y), (bend, y), (bend, end.1), end]
        } else {
            let bend = from + self.right / 2;
            vec![(bend, y + BOX.1), (bend, end.1), end]
        }
    }
}

impl Report {
    /// The drawing of the flow, from left to right.
    pub(super) fn flow(&self) -> Drawing {
        self.draw("flow", Layout { right: BOX.0 + GAP.0, rows: true })
    }

    /// The same for narrow screens, from top to bottom.
    pub(super) fn narrow_flow(&self) -> Drawing {
        self.draw("narrow-flow", Layout { right: 20, rows: false })
    }

    fn draw(&self, id: &'static str, layout: Layout) -> Drawing {
        let nodes = self.nodes();
        let most = |of: fn(&(i32, i32)) -> i32| {
            (0..nodes.len()).map(|i| of(&layout.place(&nodes, i))).max().unwrap_or(0)
        };
        let size = (most(|p| p.0) + BOX.0 + MARGIN, most(|p| p.1) + BOX.1 + MARGIN);
        let title = "From model to model".to_string();
        Drawing::new((id, title, self.said()), size, |area| paint(area, &nodes, &layout))
    }

    fn said(&self) -> String {
        let each = self.records().iter().map(|record| {
            let from = match self.parent(record) {
                Some(parent) => format!(" from {}", self.number(parent)),
                None => String::new(),
            };
            let step = record.step.name();
            let [size, accuracy] = figures(record);
            format!("{}, {step}{from}: {size}, {accuracy}", self.called(record))
        });
        format!("{}.", each.collect::<Vec<_>>().join("; "))
    }

    /// The records stand in the order in which their boxes do: the first that was made from a model
    /// goes on in its row, all others begin new ones.
    fn nodes(&self) -> Vec<Node> {
        let mut nodes: Vec<Node> = Vec::new();
        let mut at = std::collections::HashMap::new();
        let mut rows = 0;
        for record in self.records() {
            let parent = self.parent(record).and_then(|parent| at.get(parent.id.as_str())).copied();
            let goes_on = parent.is_some_and(|p| p + 1 == nodes.len());
            rows += i32::from(!goes_on);
            let column = parent.map_or(0, |p: usize| nodes[p].column + 1);
            at.insert(record.id.as_str(), nodes.len());
            nodes.push(Node {
                column,
                row: rows - 1,
                parent,
                colour: ink::of(record.step),
                step: record.step.name().into(),
                name: self.called(record),
                figures: figures(record),
            });
            let last = !self.records().iter().any(|r| r.from.as_ref() == Some(&record.id));
            if let Some(early) = record.early_exit().filter(|_| last) {
                nodes.push(Node {
                    column: column + 1,
                    row: rows - 1,
                    parent: Some(nodes.len() - 1),
                    colour: EXITS,
                    step: "exits".into(),
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

fn paint(area: &Area, nodes: &[Node], layout: &Layout) -> Drawn {
    let pixels = |(x, y): (i32, i32)| (x * SCALE, y * SCALE);
    for (i, node) in nodes.iter().enumerate() {
        let Some(parent) = node.parent else { continue };
        let way = layout.way(layout.place(nodes, parent), layout.place(nodes, i));
        let (to, z) = way[way.len() - 1];
        let way: Vec<_> = way.into_iter().map(pixels).collect();
        area.draw(&PathElement::new(way, QUIET.stroke_width(3)))?;
        let head = [(to - 6, z - 4), (to, z), (to - 6, z + 4)].map(pixels);
        area.draw(&PathElement::new(head.to_vec(), QUIET.stroke_width(3)))?;
    }
    for (i, node) in nodes.iter().enumerate() {
        let (x, y) = layout.place(nodes, i);
        let corner = |dx: i32, dy: i32| pixels((x + dx, y + dy));
        area.draw(&Rectangle::new([corner(0, 0), corner(BOX.0, BOX.1)], CARD.filled()))?;
        let frame =
            [corner(0, 0), corner(BOX.0, 0), corner(BOX.0, BOX.1), corner(0, BOX.1), corner(0, 0)];
        area.draw(&PathElement::new(frame.to_vec(), LINE.stroke_width(3)))?;
        area.draw(&Rectangle::new([corner(0, 0), corner(EDGE, BOX.1)], node.colour.filled()))?;
        let left = x + EDGE + 9;
        let line = |words: &str, dy: i32, size: i32, bold: bool, colour: &RGBColor| {
            write(area, words, (left, y + dy), text(size, bold, colour, (HPos::Left, VPos::Center)))
        };
        line(&node.step, 13, 12, true, &node.colour)?;
        let name = wrapped(&node.name, BOX.0 - EDGE - 16, SIZE);
        line(&name[0], 31, SIZE, true, &INK)?;
        line(&name[1], 46, SIZE, true, &INK)?;
        // A short name leaves the second line free; the figures stay where they are in all boxes.
        line(&node.figures[0], 62, 12, false, &QUIET)?;
        line(&node.figures[1], 77, 12, false, &QUIET)?;
    }
    Ok(())
}

/// Two lines of a bold text that fit, broken between words if it can be; what does not fit is left out.
fn wrapped(words: &str, wide: i32, size: i32) -> [String; 2] {
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
        let wrap = |words| wrapped(words, 70, 10);
        assert_eq!(wrap("1 short"), ["1 short", ""]);
        assert_eq!(wrap("2 MiniLM-L6 in int8"), ["2 MiniLM-L6", "in int8"]);
        let [first, second] = wrap("3 MiniLM with every other layer left out");
        assert_eq!(first, "3 MiniLM");
        assert!(second.starts_with("with ev") && second.ends_with('…'), "{second}");
        let [first, second] = wrap("Donaudampfschifffahrtsgesellschaft");
        assert!(first.ends_with('…') && second.is_empty(), "{first}");
    }
}

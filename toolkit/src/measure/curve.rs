//! Curve of accuracy against computed layers: as CSV, as a chart, and in the terminal.

use super::calibrate::{Calibrated, Choice};
use super::table::{aligned, percent};
use crate::Error;
use crate::chart::{self, Axis, Chart, Series};
use crate::files;
use edge_runtime::{ExitPolicy, Thresholds};
use std::path::Path;

/// Writes `curve.csv` and `curve.svg` into a folder.
///
/// # Errors
/// [`Error::Io`] if they cannot be written.
pub fn save(choice: &Choice, title: &str, folder: &Path) -> Result<(), Error> {
    files::write(&folder.join("curve.csv"), csv(choice))?;
    Ok(files::write(&folder.join("curve.svg"), svg(choice, title))?)
}

/// Formats all curves as CSV: `kind,thresholds,accuracy,share`. The thresholds of the exits are
/// separated by spaces; accuracy and share are 0 to 1.
pub fn csv(choice: &Choice) -> String {
    let mut text = String::from("kind,thresholds,accuracy,share\n");
    for curve in &choice.all {
        for point in &curve.curve {
            let thresholds = thresholds(&point.policy);
            let (kind, accuracy, share) = (curve.kind.name(), point.accuracy, point.share);
            text += &format!("{kind},{thresholds},{accuracy:.6},{share:.6}\n");
        }
    }
    text
}

fn thresholds(policy: &ExitPolicy) -> String {
    match policy {
        ExitPolicy::Confidence { threshold }
        | ExitPolicy::Entropy { threshold }
        | ExitPolicy::Margin { threshold } => match threshold {
            Thresholds::Common(t) => t.to_string(),
            Thresholds::PerExit(ts) => ts.iter().map(f32::to_string).collect::<Vec<_>>().join(" "),
        },
        ExitPolicy::Patience { threshold } => threshold.to_string(),
        // Full depth has no thresholds.
        _ => String::new(),
    }
}

/// Formats the calibrated policies, one per line, and points of the best one's curve, for the
/// terminal.
pub fn text(choice: &Choice) -> String {
    let best = choice.best();
    let head = ["policy", "accuracy", "layers", "expected accuracy", "expected layers"];
    let rows: Vec<[String; 5]> = (choice.all.iter().enumerate())
        .map(|(i, c)| {
            let mark = if i == choice.best { " *" } else { "" };
            [
                format!("{}{mark}", c.kind.name()),
                points(c.accuracy),
                percent(c.share),
                points(c.held_out.accuracy),
                percent(c.held_out.share),
            ]
        })
        .collect();
    let mut text = format!(
        "Budget {} points below full depth ({}). \
         Expected: on sentences that were not used to choose.\n\n{}",
        best.budget_points,
        points(best.full_accuracy),
        aligned(&head.map(String::from), &rows)
    );
    text += &format!("\nThe curve of {}:\n\n", best.kind.name());
    let rows: Vec<[String; 2]> = (1..=10)
        .filter_map(|tenth| {
            // The best accuracy within this share; a share below the first exit has no row.
            let most = tenth as f64 / 10.0;
            let point = best.curve.iter().rev().find(|p| p.share <= most + 1e-9)?;
            Some([format!("{:.0} %", 100.0 * most), points(point.accuracy)])
        })
        .collect();
    text + &aligned(&["layers, at most", "accuracy"].map(String::from), &rows)
}

fn points(accuracy: f64) -> String {
    format!("{:.2} %", 100.0 * accuracy)
}

/// Chart of all curves, a self-contained SVG: a line for each kind of policy, a ring at the best
/// one's point, full depth dashed.
pub fn svg(choice: &Choice, title: &str) -> String {
    let best = choice.best();
    let full = [0.0, 1.0].map(|share| (share, best.full_accuracy)).to_vec();
    let full = Series { name: "full depth", line: full, ..Series::default() };
    let curves = choice.all.iter().map(|curve| Series {
        name: curve.kind.name(),
        line: curve.curve.iter().map(|p| (p.share, p.accuracy)).collect(),
        ring: (curve.kind == best.kind).then_some((best.share, best.accuracy)),
        ..Series::default()
    });
    let series: Vec<Series> = [full].into_iter().chain(curves).collect();
    let places = series.iter().flat_map(|s| s.line.iter().copied().chain(s.ring));
    let (shares, accuracies): (Vec<f64>, Vec<f64>) = places.unzip();
    let chart = Chart {
        id: "curve",
        title: title.into(),
        description: description(best),
        headed: true,
        x: Axis::linear("layers computed, as a share of all", &shares, chart::percent),
        y: Axis::linear("accuracy", &accuracies, chart::percent),
        series,
        ring: "chosen",
    };
    chart.draw().svg + "\n"
}

fn description(best: &Calibrated) -> String {
    format!(
        "Accuracy against the share of layers computed, a line for each kind of exit policy. Full \
         depth is right for {} of the sentences. The chosen policy, {}, is right for {} and \
         computes {} of the layers.",
        points(best.full_accuracy),
        best.kind.name(),
        points(best.accuracy),
        percent(best.share)
    )
}

#[cfg(test)]
mod tests {
    use super::super::calibrate::best;
    use super::super::outcome::tests::random;
    use super::*;

    #[test]
    fn csv_holds_every_point() {
        let choice = best(&random(200, 4, 2, 1), 1.0).unwrap();
        let csv = csv(&choice);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[0], "kind,thresholds,accuracy,share");
        assert_eq!(lines.len() - 1, choice.all.iter().map(|c| c.curve.len()).sum::<usize>());
        for line in &lines[1..] {
            let fields: Vec<&str> = line.split(',').collect();
            let expected = if fields[0] == "patience" { 1 } else { 4 };
            assert_eq!(fields[1].split(' ').count(), expected, "{line}");
            assert!(fields[2..].iter().all(|f| (0.0..=1.0).contains(&f.parse::<f64>().unwrap())));
        }
    }

    #[test]
    fn the_chart_is_well_formed_and_inside_its_frame() {
        let choice = best(&random(200, 4, 3, 2), 1.0).unwrap();
        let svg = svg(&choice, "a < b & c");
        assert!(svg.contains("<title id=\"curve-title\">a &lt; b &amp; c</title>"));
        let svg = roxmltree::Document::parse(&svg).unwrap();
        let lines = |class: &str| -> Vec<Vec<(f64, f64)>> {
            let all = svg.descendants().filter(|n| n.attribute("class") == Some(class));
            let point = |text: &str| {
                let (x, y) = text.split_once(',').unwrap();
                (x.parse().unwrap(), y.parse().unwrap())
            };
            let points = |text: &str| text.split(' ').map(point).collect();
            all.filter_map(|n| n.attribute("points")).map(points).collect()
        };
        let axes = lines("quiet");
        let [(left, top), (_, bottom), (right, _)] = axes[0][..] else { panic!("{axes:?}") };
        assert_eq!(choice.all.len(), 4);
        for calibrated in &choice.all {
            // A line in the legend and the curve.
            let lines = lines(calibrated.kind.name());
            let [legend, curve] = &lines[..] else { panic!("{lines:?}") };
            assert!(legend.iter().all(|(_, y)| *y < top));
            assert_eq!(curve.len(), calibrated.curve.len());
            for (x, y) in curve {
                assert!((left..=right).contains(x) && (top..=bottom).contains(y), "{x},{y}");
            }
        }
        let texts: Vec<&str> = svg.descendants().filter_map(|n| n.text()).collect();
        for name in choice.all.iter().map(|c| c.kind.name()).chain(["full depth", "a < b & c"]) {
            assert!(texts.contains(&name), "{name}");
        }
        // The ring at the chosen point, and the one in the legend.
        assert_eq!(svg.descendants().filter(|n| n.has_tag_name("circle")).count(), 2);
    }

    #[test]
    fn the_terminal_shows_the_best() {
        let choice = best(&random(200, 4, 2, 3), 1.0).unwrap();
        let text = text(&choice);
        assert!(text.contains(&format!("{} *", choice.best().kind.name())), "{text}");
        assert!(text.contains("Budget 1 points") && text.contains("100 %"), "{text}");
        let folder = tempfile::tempdir().unwrap();
        save(&choice, "curve", folder.path()).unwrap();
        assert!(
            folder.path().join("curve.csv").exists() && folder.path().join("curve.svg").exists()
        );
    }
}

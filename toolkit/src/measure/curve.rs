//! Curve of accuracy against computed layers: as CSV, as a chart, and in the terminal.

use super::calibrate::{Calibrated, Choice};
use super::table::{aligned, percent};
use crate::Error;
use crate::files;
use edge_runtime::{ExitPolicy, Thresholds};
use std::fmt::Write;
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

/// Size of the chart and frame of its axes, in pixels.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 385.0;

/// Colours that people with colour blindness can tell apart, on white and on black (Okabe & Ito
/// 2008), and dashes for displays without colour.
const LINES: [(&str, &str); 4] =
    [("#0072b2", "none"), ("#e69f00", "8 4"), ("#009e73", "2 3"), ("#cc79a7", "10 3 2 3")];

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#333}\
    .t{font-size:16px;font-weight:600}.g{stroke:#8884}.a{stroke:#888}\
    .f{stroke:#888;stroke-dasharray:6 4}.l{fill:none;stroke-width:2}\
    .p{fill:none;stroke:#333;stroke-width:2}\
    @media(prefers-color-scheme:dark){text{fill:#ddd}.p{stroke:#ddd}}";

/// Draws all curves as a self-contained SVG: a line for each kind of policy, a circle around the
/// best point, a dashed line for full depth.
pub fn svg(choice: &Choice, title: &str) -> String {
    let best = choice.best();
    let full = best.full_accuracy;
    let all = || choice.all.iter().flat_map(|c| c.curve.iter().map(|p| p.accuracy));
    let ticks = ticks(all().fold(full, f64::min), all().fold(full, f64::max));
    let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
    let x = |share: f64| LEFT + share * (RIGHT - LEFT);
    let y = |accuracy: f64| BOTTOM - (accuracy - low) / (high - low) * (BOTTOM - TOP);

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-labelledby=\"title desc\">\n<title id=\"title\">{title}</title>\n\
         <desc id=\"desc\">{description}</desc>\n<style>{STYLE}</style>\n\
         <text class=\"t\" x=\"{LEFT}\" y=\"28\">{title}</text>\n",
        title = escaped(title),
        description = escaped(&description(best)),
    );
    for tick in &ticks {
        let (y, label) = (y(*tick), 100.0 * tick);
        let digits = if ticks[1] - ticks[0] < 0.0099 { 1 } else { 0 };
        out += &line("g", LEFT, y, RIGHT, y);
        out += &label_at(LEFT - 8.0, y + 4.0, "end", &format!("{label:.digits$} %"));
    }
    for tenth in (0..=10).step_by(2) {
        let x = x(f64::from(tenth) / 10.0);
        out += &line("a", x, BOTTOM, x, BOTTOM + 5.0);
        out += &label_at(x, BOTTOM + 20.0, "middle", &format!("{} %", tenth * 10));
    }
    out += &line("a", LEFT, TOP, LEFT, BOTTOM);
    out += &line("a", LEFT, BOTTOM, RIGHT, BOTTOM);
    out += &label_at((LEFT + RIGHT) / 2.0, BOTTOM + 44.0, "middle", "layers computed");
    let middle = (TOP + BOTTOM) / 2.0;
    let _ = writeln!(
        out,
        "<text transform=\"translate(18 {middle}) rotate(-90)\" text-anchor=\"middle\">accuracy</text>"
    );
    out += &line("f", LEFT, y(full), RIGHT, y(full));
    out += &label_at(LEFT + 6.0, y(full) + 16.0, "start", "full depth");

    for (i, (curve, (colour, dashes))) in choice.all.iter().zip(LINES.iter().cycle()).enumerate() {
        let style = format!("class=\"l\" stroke=\"{colour}\" stroke-dasharray=\"{dashes}\"");
        let points: Vec<String> = (curve.curve.iter())
            .map(|p| format!("{:.1},{:.1}", x(p.share), y(p.accuracy)))
            .collect();
        let _ = writeln!(out, "<polyline {style} points=\"{}\"/>", points.join(" "));
        // The legend is at the bottom right, where no curve goes.
        let at = BOTTOM - 18.0 * (choice.all.len() - i) as f64;
        let _ = writeln!(
            out,
            "<polyline {style} points=\"{},{at} {},{at}\"/>",
            RIGHT - 130.0,
            RIGHT - 90.0
        );
        out += &label_at(RIGHT - 82.0, at + 4.0, "start", curve.kind.name());
    }
    let (cx, cy) = (x(best.share), y(best.accuracy));
    let _ = writeln!(out, "<circle class=\"p\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"6\"/>");
    out + "</svg>\n"
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

fn line(class: &str, x1: f64, y1: f64, x2: f64, y2: f64) -> String {
    format!(
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n"
    )
}

fn label_at(x: f64, y: f64, anchor: &str, text: &str) -> String {
    let text = escaped(text);
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}

fn escaped(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Four to eight round numbers that enclose an interval within 0 to 1.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let steps = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];
    let step = *steps.iter().find(|s| (high - low) / **s <= 6.0).unwrap_or(&0.2);
    let (mut first, mut last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
    // A curve of one point has no height.
    while last - first < 3 {
        first = (first - 1).max(0);
        last = (last + 1).min((1.0 / step).round() as i64);
    }
    (first..=last).map(|n| n as f64 * step).collect()
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
        assert!(svg.contains("<title id=\"title\">a &lt; b &amp; c</title>"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert_eq!(svg.matches("class=\"l\"").count(), 8);
        assert_eq!(svg.matches("<circle").count(), 1);
        for points in svg.split("points=\"").skip(1) {
            for point in points.split('"').next().unwrap().split(' ') {
                let (x, y) = point.split_once(',').unwrap();
                assert!((LEFT..=RIGHT).contains(&x.parse::<f64>().unwrap()), "{point}");
                assert!((TOP..=BOTTOM).contains(&y.parse::<f64>().unwrap()), "{point}");
            }
        }
    }

    #[test]
    fn ticks_enclose() {
        for (low, high) in [(0.0, 1.0), (0.5, 0.93), (0.912, 0.913), (1.0, 1.0), (0.0, 0.0)] {
            let ticks = ticks(low, high);
            assert!((4..=8).contains(&ticks.len()), "{ticks:?}");
            assert!(ticks[0] <= low + 1e-9 && *ticks.last().unwrap() >= high - 1e-9, "{ticks:?}");
            assert!(ticks[0] >= 0.0 && *ticks.last().unwrap() <= 1.0 + 1e-9, "{ticks:?}");
        }
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

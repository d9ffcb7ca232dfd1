//! Comparison table at the end of a run.

use super::metrics::Proportion;
use serde::Serialize;

/// A model in the table. Unknown cells stay empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// The name.
    pub name: String,
    /// Number of parameters.
    pub parameters: Option<u64>,
    /// Size of its file in bytes.
    pub bytes: Option<u64>,
    /// Sentences per second.
    pub sentences_per_second: Option<f64>,
    /// Accuracy, 0 to 1.
    pub accuracy: Option<Proportion>,
    /// The layers computed, as a share of those at full depth, 0 to 1.
    pub share: Option<f64>,
}

/// Formats the table as aligned plain text, which is valid Markdown.
pub fn table(rows: &[Row]) -> String {
    let head = ["model", "parameters", "size", "sentences/s", "accuracy (95 %)", "layers"];
    let cells = rows.iter().map(|row| {
        let cell = |text: Option<String>| text.unwrap_or_default();
        [
            // A bar would end the cell.
            row.name.replace('|', "\\|").replace(['\n', '\r'], " "),
            cell(row.parameters.map(|n| scaled(n, ["", " k", " M", " G"]))),
            cell(row.bytes.map(|n| scaled(n, [" B", " kB", " MB", " GB"]))),
            cell(row.sentences_per_second.map(|s| format!("{s:.*}", usize::from(s < 100.0)))),
            cell(row.accuracy.map(accuracy)),
            cell(row.share.map(percent)),
        ]
    });
    let head = head.map(String::from);
    aligned(&head, &cells.collect::<Vec<_>>())
}

/// Formats a table: the first column is aligned left, all others right. Every row has as many cells
/// as the head.
pub(crate) fn aligned<R: AsRef<[String]>>(head: &[String], rows: &[R]) -> String {
    let all = || std::iter::once(head).chain(rows.iter().map(AsRef::as_ref));
    let width: Vec<usize> = (0..head.len())
        .map(|column| all().map(|r| r[column].chars().count()).max().unwrap_or(0).max(3))
        .collect();
    let line = |cells: &[String]| {
        let mut line = String::from("|");
        for (i, (cell, width)) in cells.iter().zip(&width).enumerate() {
            if i == 0 {
                line += &format!(" {cell:<width$} |");
            } else {
                line += &format!(" {cell:>width$} |");
            }
        }
        line + "\n"
    };
    let rule: Vec<String> = (width.iter().enumerate())
        .map(|(column, width)| match column {
            0 => "-".repeat(*width),
            _ => "-".repeat(width - 1) + ":",
        })
        .collect();
    let mut text = line(head) + &line(&rule);
    rows.iter().for_each(|row| text += &line(row.as_ref()));
    text
}

/// A percentage.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Formats a share as a percentage with its interval.
pub(crate) fn accuracy(p: Proportion) -> String {
    format!("{:.2} % ({:.1}–{:.1})", 100.0 * p.value, 100.0 * p.low, 100.0 * p.high)
}

/// Formats a number with three digits and a unit, by thousands.
pub(crate) fn scaled(n: u64, units: [&str; 4]) -> String {
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [
            Row {
                name: "teacher".into(),
                parameters: Some(109_483_778),
                bytes: Some(437_935_112),
                sentences_per_second: Some(31.25),
                accuracy: Some(Proportion::wilson(924, 1000)),
                share: Some(1.0),
            },
            Row { name: "a|b é".into(), parameters: Some(999), ..Row::default() },
        ];
        let expected = "\
| model   | parameters |   size | sentences/s |     accuracy (95 %) |  layers |
| ------- | ---------: | -----: | ----------: | ------------------: | ------: |
| teacher |      109 M | 438 MB |        31.2 | 92.40 % (90.6–93.9) | 100.0 % |
| a\\|b é  |        999 |        |             |                     |         |
";
        assert_eq!(table(&rows), expected);
        assert_eq!(table(&[]).lines().count(), 2);
    }

    #[test]
    fn sizes_have_three_digits() {
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_999, "10.0 kB"),
            (99_960, "100 kB"),
            (999_600, "1.00 MB"),
            (22_713_216, "22.7 MB"),
            (5_000_000_000_000, "5000 GB"),
        ] {
            assert_eq!(scaled(n, [" B", " kB", " MB", " GB"]), text);
        }
    }
}

//! Reader of TSV and CSV.

use super::columns::{self, Column, Columns};
use super::headless::{self, Places};
use super::raw::{At, Raw, Row, Value};
use crate::Error;
use crate::text_file::text_file;
use std::path::Path;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// TSV of GLUE: a quotation mark is an ordinary character.
    Tsv,
    /// CSV of RFC 4180.
    Csv,
}

pub(super) fn read(
    path: &Path,
    style: Style,
    wanted: &Columns,
    labelled: bool,
) -> Result<Raw, Error> {
    let text = text_file(path)?;
    let mut records = Records::new(path, &text, style);
    let mut head = records.by_ref().take(HEAD).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = head.first() else {
        return Err(Error::data(path, None, "the file is empty"));
    };
    let mut header: Vec<String> = first.fields.iter().map(|name| name.trim().into()).collect();
    let places = match is_by_number(wanted, &header) {
        true => Some(wanted.clone()),
        false => rows_only(path, style, &head, &header, wanted, labelled)?,
    };
    let wanted = places.as_ref().unwrap_or(wanted);
    match places {
        Some(_) => header = (1..=header.len()).map(|n| n.to_string()).collect(),
        None => _ = head.remove(0),
    }
    let first = head.first();
    let columns: Vec<Column> = header
        .into_iter()
        .enumerate()
        .map(|(i, name)| Column { name, is_text: first.is_none_or(|r| r.is_text(i)) })
        .collect();
    let chosen = columns::choose(path, &columns, wanted, labelled)?;
    let mut rows = Vec::new();
    for record in head.into_iter().map(Ok).chain(records) {
        let record = record?;
        let (fields, at) = (&record.fields, At::Line(record.line));
        if fields.len() != columns.len() {
            let (found, named) = (fields.len(), columns.len());
            let hint = match style {
                Style::Tsv => {
                    "a text cannot contain a tab in TSV, but it can in CSV and JSON lines"
                }
                Style::Csv => {
                    "a text with a comma or a line end must be in quotes; is a quote never closed?"
                }
            };
            return Err(at.error(
                path,
                format!("{found} columns, where the first line has {named}; {hint}"),
            ));
        }
        rows.push(Row {
            at,
            text: fields[chosen.text].into(),
            label: chosen.label.map(|i| Value::parse(&fields[i])),
        });
    }
    Ok(Raw {
        format: match (style, &places) {
            (Style::Tsv, None) => "TSV",
            (Style::Tsv, Some(_)) => "TSV without a header",
            (Style::Csv, None) => "CSV",
            (Style::Csv, Some(_)) => "CSV without a header",
        },
        text: columns[chosen.text].name.clone(),
        label: chosen.label.map(|i| columns[i].name.clone()),
        names: None,
        notes: chosen.notes,
        rows,
    })
}

/// True if the columns are named by number, so the file has no header. If the whole first line is
/// numbers, these numbers are names.
fn is_by_number(wanted: &Columns, first: &[String]) -> bool {
    let is_number = |name: &String| name.parse::<i64>().is_ok();
    let is_place =
        |name: &String| name.parse::<usize>().is_ok_and(|n| (1..=first.len()).contains(&n));
    let mut named = [&wanted.text, &wanted.label].into_iter().flatten().peekable();
    named.peek().is_some() && named.all(is_place) && !first.iter().all(is_number)
}

/// Columns by number, if the first line is certainly a row. A first line that may be a row is an
/// error, because as a header it would be lost.
fn rows_only(
    path: &Path,
    style: Style,
    head: &[Record],
    header: &[String],
    wanted: &Columns,
    labelled: bool,
) -> Result<Option<Columns>, Error> {
    let named = |name: &Option<String>| name.as_ref().is_some_and(|n| header.contains(n));
    if named(&wanted.text) || named(&wanted.label) || header.iter().any(|h| columns::is_known(h)) {
        return Ok(None);
    }
    let wrong = |problem: String| Err(Error::data(path, Some(head[0].line), problem));
    if let [only] = header
        && let Some(other) = [';', '\t', ','].into_iter().find(|c| only.contains(*c))
        && head.iter().take(2).all(|record| record.fields[0].contains(other))
    {
        let (name, between) = match style {
            Style::Tsv => ("TSV", "tabs"),
            Style::Csv => ("CSV", "commas"),
        };
        return wrong(format!(
            "there is one column, `{}`, which contains {other:?}; the columns of {name} are separated \
             by {between}",
            headless::shortened(only)
        ));
    }
    let fields: Vec<_> = head.iter().map(|record| &record.fields).collect();
    let Some(Places { text, label, second, is_certain }) = headless::places(&fields) else {
        return Ok(None);
    };
    let by_number = Columns {
        text: Some((text + 1).to_string()),
        label: label.filter(|_| labelled).map(|label| (label + 1).to_string()),
    };
    if is_certain && *wanted == Columns::default() {
        return Ok(Some(by_number));
    }
    let settings = |before: &str, is: &str, between: &str| -> String {
        let named = [("text", &by_number.text), ("label", &by_number.label)];
        let named = named.into_iter().filter_map(|(role, number)| Some((role, number.as_ref()?)));
        named.map(|(role, n)| format!("{before}{role}{is}{n}")).collect::<Vec<_>>().join(between)
    };
    let pair = second.map_or(String::new(), |second| {
        let (a, b) = (text.min(second) + 1, text.max(second) + 1);
        format!("; columns {a} and {b} look like a task of two texts, which is not supported yet")
    });
    let separator = if style == Style::Tsv { "<tab>" } else { "," };
    wrong(format!(
        "this looks like a row, not like a header ({}); put the names of the columns into the first \
         line, as `text{separator}label`, or name the columns by number, as `{}` (in a recipe `{}`){pair}",
        header
            .iter()
            .map(|h| format!("`{}`", headless::shortened(h)))
            .collect::<Vec<_>>()
            .join(", "),
        settings("--", " ", " "),
        settings("data.", " = ", ", "),
    ))
}

/// Number of records from which the columns are guessed.
const HEAD: usize = 1000;

struct Record {
    /// First line of the record.
    line: usize,
    fields: csv::StringRecord,
}

impl Record {
    fn is_text(&self, column: usize) -> bool {
        self.fields.get(column).is_some_and(|field| field.trim().parse::<f64>().is_err())
    }
}

struct Records<'a> {
    path: &'a Path,
    text: &'a str,
    reader: csv::Reader<&'a [u8]>,
    /// Position in the text, and its line.
    counted: (usize, usize),
}

impl<'a> Records<'a> {
    fn new(path: &'a Path, text: &'a str, style: Style) -> Self {
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(if style == Style::Tsv { b'\t' } else { b',' })
            .quoting(style == Style::Csv)
            .from_reader(text.as_bytes());
        Records { path, text, reader, counted: (0, 1) }
    }

    /// Line of the record that begins at this byte or after the line ends there.
    fn line_at(&mut self, byte: usize) -> usize {
        let rest = &self.text[byte..];
        let byte = byte + (rest.len() - rest.trim_start_matches(['\r', '\n']).len());
        let (from, line) = self.counted;
        let line = line + self.text[from..byte].matches('\n').count();
        self.counted = (byte, line);
        line
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.reader.position().byte() as usize;
        let mut fields = csv::StringRecord::new();
        match self.reader.read_record(&mut fields) {
            Ok(false) => None,
            Ok(true) => {
                let line = self.line_at(start);
                let raw = self.text[start..].trim();
                // Only a quoted record spans lines. With an odd number of quotes, one is open, and
                // the rest of the file is part of the last text.
                let at_end = self.reader.position().byte() as usize >= self.text.len();
                if at_end && raw.contains('\n') && raw.matches('"').count() % 2 == 1 {
                    let problem = "a quote is opened and never closed";
                    return Some(Err(Error::data(self.path, Some(line), problem)));
                }
                Some(Ok(Record { line, fields }))
            }
            Err(e) => {
                let line = self.line_at(start);
                Some(Err(Error::data(self.path, Some(line), e.to_string())))
            }
        }
    }
}

//! Report as Markdown, and its table in other files.

use super::{Report, rows};
use crate::Error;
use crate::files;
use crate::measure::table::aligned;
use std::path::Path;

/// Marks around a replaceable table.
const MARKS: [&str; 2] = ["<!-- report:begin -->", "<!-- report:end -->"];

impl Report {
    /// Writes the Markdown, with a file for each drawing beside it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_markdown(&self, target: &Path) -> Result<(), Error> {
        let stem = target.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut pictures = String::new();
        let mut flow = String::new();
        for (i, drawing) in std::iter::once(self.flow()).chain(self.charts()).enumerate() {
            let name = format!("{stem}-{}.svg", drawing.id);
            files::write(&target.with_file_name(&name), drawing.svg.clone() + "\n")?;
            let link = format!("![{}]({})\n\n", drawing.title, linked(&name));
            if i == 0 { flow = link } else { pictures += &link }
        }
        let data = &self.records()[0].data;
        let mut text = format!(
            "# Compression report\n\n{} models on the {} sentences of {}.\n\n{flow}{}\n{pictures}",
            self.records().len(),
            data.sentences,
            escaped(&data.name),
            self.table()
        );
        text += &self.exits_table();
        for said in rows::conditions(self) {
            text += &format!("{}\n\n", escaped(&said));
        }
        Ok(files::write(target, text.trim_end().to_string() + "\n")?)
    }

    /// Formats the table of all models, with the sources of models that were not measured here.
    pub fn table(&self) -> String {
        let head: Vec<String> = ["model"].into_iter().chain(rows::HEAD).map(String::from).collect();
        let rows: Vec<Vec<String>> = rows::models(self)
            .into_iter()
            .map(|row| [escaped(&row.name(self))].into_iter().chain(row.cells).collect())
            .collect();
        let mut text = aligned(&head, &rows);
        for source in rows::sources(self) {
            text += &format!("\n† {}\n", escaped(&source));
        }
        text
    }

    fn exits_table(&self) -> String {
        let (layers, rows) = rows::exits(self);
        if rows.is_empty() {
            return String::new();
        }
        let head: Vec<String> = std::iter::once("layers computed".to_string())
            .chain(layers.iter().map(usize::to_string))
            .collect();
        let lines: Vec<Vec<String>> = (rows.iter())
            .flat_map(|(record, cells)| {
                let name = escaped(&self.called(record));
                let of = |name: String, which: usize| {
                    let cells = cells.iter().map(|cell| cell[which].clone());
                    std::iter::once(name).chain(cells).collect()
                };
                [of(name, 0), of("↳ leave here".into(), 1)]
            })
            .collect();
        format!(
            "Accuracy in percent if every sentence left there, and the percentage that leaves \
             there by the model's own policy:\n\n{}\n",
            aligned(&head, &lines)
        )
    }
}

/// Escapes punctuation that has a meaning in Markdown or HTML.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '&' | '~' => {
                out.extend(['\\', c])
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Encodes a file name as the target of a link.
fn linked(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let mut out = String::new();
    for c in name.chars() {
        if plain(c) {
            out.push(c);
        } else {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes).bytes().for_each(|b| out += &format!("%{b:02X}"));
        }
    }
    out
}

/// Replaces the text between `<!-- report:begin -->` and `<!-- report:end -->` in a file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Data`] unless the file contains each mark once, in this order.
pub fn replace_marked(path: &Path, table: &str) -> Result<(), Error> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let [begin, end] = MARKS;
    let places = MARKS.map(|mark| text.match_indices(mark).map(|(at, _)| at).collect::<Vec<_>>());
    match (places[0].as_slice(), places[1].as_slice()) {
        ([from], [to]) if from < to => {
            let (before, after) = (&text[..from + begin.len()], &text[*to..]);
            Ok(files::write(path, format!("{before}\n\n{table}\n{after}"))?)
        }
        _ => Err(Error::data(
            path,
            None,
            format!(
                "the table goes between the lines `{begin}` and `{end}`; \
                 expected each once, in this order"
            ),
        )),
    }
}

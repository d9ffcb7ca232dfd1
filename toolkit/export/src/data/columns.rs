//! Selection of the columns that contain the text and the label.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Columns to read. An unset column is guessed from the names of the columns.
///
/// In a TSV or CSV file without a header the columns are named by numbers, from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// Column that contains the text.
    pub text: Option<String>,
    /// Column that contains the label.
    pub label: Option<String>,
}

const TEXTS: [&str; 6] = ["text", "sentence", "review", "content", "premise", "utterance"];
const LABELS: [&str; 7] = ["label", "labels", "class", "category", "sentiment", "target", "intent"];
const PAIRS: [[&str; 2]; 6] = [
    ["sentence1", "sentence2"],
    ["premise", "hypothesis"],
    ["question1", "question2"],
    ["question", "sentence"],
    ["text1", "text2"],
    ["text_a", "text_b"],
];

/// A column of a file.
pub(super) struct Column {
    pub name: String,
    /// True if the column contains text, judged by the format or the first row.
    pub is_text: bool,
}

/// Indices of the columns that are read.
pub(super) struct Chosen {
    pub text: usize,
    pub label: Option<usize>,
    /// See [`super::Guess::notes`].
    pub notes: Vec<String>,
}

/// Setting that names a column, for messages. A recipe and the command line have different
/// settings.
pub(super) fn setting(role: &str) -> String {
    format!("`--{role}` (in a recipe `data.{role}`)")
}

/// True if a column may be guessed from this name.
pub(super) fn is_known(name: &str) -> bool {
    is_in(name, &TEXTS) || is_in(name, &LABELS) || is_in(name, PAIRS.as_flattened())
}

fn is_in(name: &str, known: &[&str]) -> bool {
    known.iter().any(|k| name.eq_ignore_ascii_case(k))
}

/// Selects the columns to read; the label only if `labelled`.
pub(super) fn choose(
    path: &Path,
    columns: &[Column],
    wanted: &Columns,
    labelled: bool,
) -> Result<Chosen, Error> {
    let wrong = |problem: String| Error::data(path, None, problem);
    let known = |known: &[&str]| -> Vec<usize> {
        (0..columns.len()).filter(|&i| is_in(&columns[i].name, known)).collect()
    };
    let labels = match &wanted.label {
        Some(name) if labelled => vec![find(columns, name, "label").map_err(wrong)?],
        Some(name) => find(columns, name, "label").into_iter().collect(),
        None => known(&LABELS),
    };
    let texts: Vec<usize> =
        (0..columns.len()).filter(|i| columns[*i].is_text && !labels.contains(i)).collect();
    let mut notes = Vec::new();
    let text = match &wanted.text {
        Some(name) => {
            let text = find(columns, name, "text").map_err(wrong)?;
            if let Some(other) = columns
                .iter()
                .find(|c| is_known_pair(&c.name, name) || is_numbered_pair(&c.name, name))
            {
                notes.push(format!(
                    "`{name}` and `{}` look like a task of two texts, which is not supported yet; \
                     only `{name}` is read",
                    other.name
                ));
            }
            text
        }
        None => {
            let mut candidates = known(&TEXTS);
            candidates.retain(|i| !labels.contains(i));
            let pair = |among: &[usize], is_pair: fn(&str, &str) -> bool| {
                among.iter().find_map(|&a| {
                    let second = |b: &&usize| is_pair(&columns[a].name, &columns[**b].name);
                    among.iter().find(second).map(|&b| (&columns[a].name, &columns[b].name))
                })
            };
            let all: Vec<usize> = (0..columns.len()).collect();
            // Known names take precedence over similar names.
            let pair = pair(&all, is_known_pair)
                .or_else(|| pair(&texts, is_numbered_pair).filter(|_| candidates.is_empty()));
            if let Some((a, b)) = pair {
                return Err(wrong(format!(
                    "the columns `{a}` and `{b}` make a task of two texts; only tasks of one text \
                     are supported; to read one of them alone, name it with {}",
                    setting("text")
                )));
            }
            let candidates = if candidates.is_empty() { &texts } else { &candidates };
            one(columns, candidates, "text").map_err(wrong)?
        }
    };
    let label = match labelled {
        true => Some(one(columns, &labels, "label").map_err(wrong)?),
        false => None,
    };
    if label == Some(text) {
        let name = &columns[text].name;
        return Err(wrong(format!("the column `{name}` cannot be the text and the label at once")));
    }
    Ok(Chosen { text, label, notes })
}

/// Returns true if two names differ only in their number, such as `sentence_A` and `sentence_B`.
fn is_numbered_pair(a: &str, b: &str) -> bool {
    let parts = |name: &str| {
        let mut chars = name.chars();
        let end = chars.next_back().map(|c| c.to_ascii_lowercase());
        (chars.as_str().to_lowercase(), end)
    };
    let ((stem, a), (other, b)) = (parts(a), parts(b));
    // Numbers are the names of columns without names; a trailing letter is a number only after a
    // separator.
    let by_digit = !stem.is_empty() && !stem.ends_with(|c: char| c.is_ascii_digit());
    let by_letter = stem.ends_with(['_', '-', ' ']);
    stem == other
        && match (a, b) {
            (Some('1'), Some('2')) | (Some('2'), Some('1')) => by_digit,
            (Some('a'), Some('b')) | (Some('b'), Some('a')) => by_letter,
            _ => false,
        }
}

fn is_known_pair(a: &str, b: &str) -> bool {
    PAIRS.iter().any(|[x, y]| {
        let is = |x: &str, y: &str| a.eq_ignore_ascii_case(x) && b.eq_ignore_ascii_case(y);
        is(x, y) || is(y, x)
    })
}

fn find(columns: &[Column], name: &str, role: &str) -> Result<usize, String> {
    let exact: Vec<usize> = (0..columns.len()).filter(|&i| columns[i].name == name).collect();
    match exact[..] {
        [i] => Ok(i),
        [] => Err(format!(
            "there is no column `{name}`, which {} names; the columns are {}",
            setting(role),
            list(columns)
        )),
        _ => Err(format!("there are {} columns `{name}`; rename all but one", exact.len())),
    }
}

fn one(columns: &[Column], candidates: &[usize], role: &str) -> Result<usize, String> {
    match candidates {
        [i] => Ok(*i),
        [] => Err(format!(
            "no column is known to be the {role}; name one with {}: {}",
            setting(role),
            list(columns)
        )),
        many => Err(format!(
            "more than one column may be the {role}; name one with {}: {}",
            setting(role),
            list(many.iter().map(|&i| &columns[i]))
        )),
    }
}

/// Quoted names; beyond 20 only their number is given.
fn list<'a>(columns: impl IntoIterator<Item = &'a Column>) -> String {
    const MOST: usize = 20;
    let names: Vec<String> = columns.into_iter().map(|c| format!("`{}`", c.name)).collect();
    match names.len().checked_sub(MOST) {
        Some(more @ 1..) => format!("{} and {more} more", names[..MOST].join(", ")),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], wanted: (&str, &str), labelled: bool) -> Result<String, String> {
        // In these tests a name in capitals is a column of numbers.
        let columns: Vec<Column> = names
            .iter()
            .map(|&n| Column { name: n.into(), is_text: n != n.to_uppercase() })
            .collect();
        let name = |n: &str| (!n.is_empty()).then(|| n.to_string());
        let wanted = Columns { text: name(wanted.0), label: name(wanted.1) };
        let name = |i: usize| columns[i].name.as_str();
        choose(Path::new("d.tsv"), &columns, &wanted, labelled)
            .map(|c| format!("{} {}", name(c.text), c.label.map_or("-", name)))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn columns_are_guessed_from_their_names() {
        assert_eq!(chosen(&["ID", "Sentence", "Label"], ("", ""), true).unwrap(), "Sentence Label");
        assert_eq!(chosen(&["ID", "tweet", "label"], ("", ""), true).unwrap(), "tweet label");
        assert_eq!(chosen(&["tweet", "label"], ("", ""), false).unwrap(), "tweet -");
        assert_eq!(chosen(&["a", "b"], ("b", "a"), true).unwrap(), "b a");
        assert_eq!(chosen(&["text", "label", "label_text"], ("", ""), true).unwrap(), "text label");
    }

    #[test]
    fn what_cannot_be_guessed_is_to_be_named() {
        for (names, wanted, said) in [
            (&["a", "b"][..], ("", ""), "`data.text`): `a`, `b`"),
            (&["text", "x"], ("", ""), "`data.label`): `text`, `x`"),
            (&["text", "review", "label"], ("", ""), "`data.text`): `text`, `review`"),
            (&["text", "class", "label"], ("", ""), "`data.label`): `class`, `label`"),
            (&["ID", "label"], ("", ""), "no column is known to be the text"),
            (&["text", "label"], ("tekst", ""), "no column `tekst`"),
            (&["text", "text", "label"], ("text", ""), "2 columns `text`"),
            (&["text", "label"], ("text", "text"), "at once"),
            (&["sentence1", "sentence2", "label"], ("", ""), "two texts"),
        ] {
            let error = chosen(names, wanted, true).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}

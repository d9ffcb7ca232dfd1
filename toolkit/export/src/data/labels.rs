//! Labels: their values in a file, their names and indices.

use super::raw::{At, Raw, Value};
use crate::Error;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Maximum number of labels; more indicate a wrong column.
const MOST_LABELS: usize = 4096;

/// Boolean value of a word, in any case.
fn flag(word: &str) -> Option<bool> {
    [false, true].into_iter().find(|flag| word.eq_ignore_ascii_case(&flag.to_string()))
}

/// Name without the differences that are ignored: case and the amount of space.
fn folded(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Different labels of a file.
#[derive(Default)]
struct Found<'a> {
    numbers: BTreeSet<i64>,
    flags: BTreeSet<bool>,
    /// Rows of every spelling, by the folded name.
    words: BTreeMap<String, BTreeMap<&'a str, usize>>,
    /// First row with a number or a boolean.
    first: Option<(&'a Path, At, &'a Value)>,
}

/// Finds the names of the labels in the files themselves: numbers by size, words by the alphabet.
/// Of several spellings of a name, the most frequent one is used.
pub(super) fn names(files: &[(PathBuf, Raw)]) -> Result<Vec<String>, Error> {
    if let Some(names) = &files[0].1.names {
        return Ok(names.clone());
    }
    let mut found = Found::default();
    for (path, raw) in files {
        for row in &raw.rows {
            let value = row.label.as_ref().expect("a labelled row");
            found.add(path, row.at, value)?;
            let labels = found.numbers.len() + found.flags.len() + found.words.len();
            if labels > MOST_LABELS {
                let column = raw.label.as_deref().unwrap_or_default();
                return Err(row.at.error(
                    path,
                    format!(
                        "{labels} different labels up to here; is `{column}` the right column? \
                         Name another one in `data.label`"
                    ),
                ));
            }
        }
    }
    let several = |problem| Error::data(&files[0].0, None, problem);
    found.check_several().map_err(several)?;
    let names = found.into_names()?;
    if let [only] = &names[..] {
        return Err(Error::data(
            &files[0].0,
            None,
            format!("every row has the label `{only}`; expected at least two labels"),
        ));
    }
    Ok(names)
}

impl<'a> Found<'a> {
    fn add(&mut self, path: &'a Path, at: At, value: &'a Value) -> Result<(), Error> {
        match value {
            Value::Number(-1) => return Err(at.error(path, HIDDEN)),
            Value::Number(number) => _ = self.numbers.insert(*number),
            Value::Flag(flag) => _ = self.flags.insert(*flag),
            Value::Text(word) => {
                let word = word.trim();
                if word.contains('.') && word.parse::<f64>().is_ok() {
                    return Err(at.error(
                        path,
                        format!(
                            "the label `{word}` is a number with a fraction. That looks like a \
                             score (regression), which is not supported yet; if the numbers are \
                             classes, list them in `data.labels`"
                        ),
                    ));
                }
                *self.words.entry(folded(word)).or_default().entry(word).or_default() += 1;
                return Ok(());
            }
        }
        self.first.get_or_insert((path, at, value));
        Ok(())
    }

    /// Rejects a column whose values are lists of labels.
    fn check_several(&self) -> Result<(), String> {
        let words = self.words.values().map(|spelled| most(spelled).to_string());
        let labels: Vec<String> = self.numbers.iter().map(i64::to_string).chain(words).collect();
        let Some(label) = list_of_labels(&labels) else { return Ok(()) };
        Err(format!(
            "labels such as `{label}` look like several labels a row, which is not supported yet; keep \
             one label a row, or, if each is one class, list all classes in `data.labels`"
        ))
    }

    fn into_names(self) -> Result<Vec<String>, Error> {
        let mut words: Vec<&str> = self.words.values().map(|spelled| most(spelled)).collect();
        let are_flags = words.iter().all(|word| flag(word).is_some());
        words.sort_by_key(|word| (flag(word).filter(|_| are_flags), *word));
        match (self.first, words.first()) {
            // Booleans of two formats, one of which writes them as words.
            (Some(_), Some(_)) if are_flags && self.numbers.is_empty() => {
                let missing =
                    self.flags.iter().filter(|f| words.iter().all(|w| flag(w) != Some(**f)));
                let mut names: Vec<String> = missing.map(bool::to_string).collect();
                names.extend(words.iter().map(|word| word.to_string()));
                names.sort_by_key(|word| flag(word));
                Ok(names)
            }
            (Some((path, at, value)), Some(word)) => {
                let kind = if matches!(value, Value::Flag(_)) { "boolean" } else { "number" };
                Err(at.error(
                    path,
                    format!(
                        "the label is a {kind}, other rows have words, as `{word}`; use one kind"
                    ),
                ))
            }
            _ => {
                let flags = self.flags.iter().map(|flag| i64::from(*flag));
                let numbers: BTreeSet<i64> = self.numbers.iter().copied().chain(flags).collect();
                let numbers = numbers.iter().map(i64::to_string);
                Ok(numbers.chain(words.iter().map(|word| word.to_string())).collect())
            }
        }
    }
}

/// Most frequent spelling; of several, the first by the alphabet.
fn most<'a>(spelled: &BTreeMap<&'a str, usize>) -> &'a str {
    let most = spelled.values().max();
    spelled.iter().find(|(_, rows)| Some(*rows) == most).map_or("", |(word, _)| *word)
}

/// First label that is a list of others. Words between separators are a list if all of them are
/// labels of other rows, or parts of such labels. Without space after the separators one known word
/// is enough.
fn list_of_labels(labels: &[String]) -> Option<&str> {
    if let Some(list) = labels.iter().find(|l| l.starts_with('[') && l.ends_with(']')) {
        return Some(list);
    }
    let single: HashSet<&str> = labels.iter().map(String::as_str).collect();
    [',', ';', '|'].into_iter().find_map(|separator| {
        let lists = || labels.iter().filter(|label| label.contains(separator));
        let parts = |label: &'_ String| -> Vec<String> {
            label.split(separator).map(|part| part.trim().to_string()).collect()
        };
        let mut seen: HashMap<String, usize> = HashMap::new();
        for part in lists().flat_map(parts) {
            *seen.entry(part).or_default() += 1;
        }
        lists().map(String::as_str).find(|label| {
            let parts = parts(&label.to_string());
            let known = |part: &String| single.contains(part.as_str()) || seen[part] > 1;
            let spaced = label.contains(char::is_whitespace);
            parts.iter().all(|part| !part.is_empty())
                && if spaced { parts.iter().all(known) } else { parts.iter().any(known) }
        })
    })
}

const HIDDEN: &str = "the label is -1, which is how GLUE hides the labels of its test sets; use \
                      the dev (validation) set. If -1 is a class of yours, write it as a word";

/// Finds the indices of labels among names, and records the spellings it has seen.
pub(super) struct Lookup<'a> {
    names: &'a [String],
    exact: HashMap<&'a str, usize>,
    folded: HashMap<String, Vec<usize>>,
    /// Indices of names that are numbers.
    numbers: HashMap<i64, usize>,
    /// Rows of every spelling, by the index of the label.
    met: BTreeMap<(usize, String), usize>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(names: &'a [String]) -> Self {
        let mut lookup = Lookup {
            names,
            exact: HashMap::new(),
            folded: HashMap::new(),
            numbers: HashMap::new(),
            met: BTreeMap::new(),
        };
        for (i, name) in names.iter().enumerate() {
            lookup.exact.entry(name).or_insert(i);
            lookup.folded.entry(folded(name)).or_default().push(i);
            if let Value::Number(number) = Value::parse(name) {
                lookup.numbers.entry(number).or_insert(i);
            }
        }
        lookup
    }

    /// Indices of a file's own names among `names`, if all of them exist.
    pub(super) fn places(&self, own: &[String]) -> Option<Vec<usize>> {
        own.iter().map(|name| self.by_name(name).ok().flatten()).collect()
    }

    /// Index of a label. `own` contains the indices of the names that the file has for its numbers.
    pub(super) fn number(&mut self, value: &Value, own: Option<&[usize]>) -> Result<u32, String> {
        let found = match value {
            Value::Text(name) => match self.by_name(name)? {
                None => flag(name.trim()).and_then(|flag| self.by_flag(flag)),
                found => found,
            },
            Value::Flag(flag) => self.by_flag(*flag),
            Value::Number(-1) if !self.numbers.contains_key(&-1) => return Err(HIDDEN.into()),
            // The order of `names` may differ from that of the file, so words take precedence over
            // indices.
            Value::Number(number) => match (usize::try_from(*number), own) {
                (Ok(place), Some(own)) => own.get(place).copied(),
                _ => self.by_number(*number),
            },
        };
        let Some(found) = found else { return Err(self.unknown(value)) };
        if let Value::Text(spelled) = value {
            *self.met.entry((found, spelled.clone())).or_default() += 1;
        }
        Ok(found as u32)
    }

    /// Index of a name as it is written, or else of the only one that differs by case and space.
    fn by_name(&self, name: &str) -> Result<Option<usize>, String> {
        if let Some(found) = self.exact.get(name).or_else(|| self.exact.get(name.trim())) {
            return Ok(Some(*found));
        }
        match self.folded.get(&folded(name)).map(Vec::as_slice) {
            None => Ok(None),
            Some([one]) => Ok(Some(*one)),
            Some(many) => Err(format!(
                "the label `{}` may be {}; write it as one of them",
                name.trim(),
                many.iter()
                    .map(|&i| format!("`{}`", self.names[i]))
                    .collect::<Vec<_>>()
                    .join(" or ")
            )),
        }
    }

    /// Index of the name `true` or `false`, or else 1 or 0 of two labels.
    fn by_flag(&self, flag: bool) -> Option<usize> {
        match self.folded.get(&flag.to_string()).map(Vec::as_slice) {
            Some([one]) => Some(*one),
            _ if self.names.len() == 2 => self.by_place(flag.into()),
            _ => None,
        }
    }

    fn by_number(&self, number: i64) -> Option<usize> {
        if (0..=1).contains(&number) && self.names.iter().all(|name| flag(name).is_some()) {
            return self.by_flag(number == 1);
        }
        self.by_place(number)
    }

    /// Index of the name that is this number, or, if the names are words, the number itself.
    fn by_place(&self, number: i64) -> Option<usize> {
        let place = || {
            usize::try_from(number)
                .ok()
                .filter(|place| self.are_words() && *place < self.names.len())
        };
        let written = self.exact.get(number.to_string().as_str());
        written.or_else(|| self.numbers.get(&number)).copied().or_else(place)
    }

    fn are_words(&self) -> bool {
        let is_number =
            |name: &String| name.parse::<f64>().is_ok() && !name.contains(char::is_alphabetic);
        !self.names.iter().any(is_number)
    }

    fn unknown(&self, value: &Value) -> String {
        let names = self.names;
        let shown: Vec<_> = names.iter().take(20).map(|name| format!("`{name}`")).collect();
        let more = if names.len() > shown.len() { ", …" } else { "" };
        let numbers = match value {
            Value::Number(_) if self.are_words() => {
                format!(", or 0 to {}", names.len().saturating_sub(1))
            }
            _ => String::new(),
        };
        let hint = match value {
            Value::Text(text) if self.is_list(text) => {
                "; it looks like several labels a row, which is not supported yet"
            }
            _ => "",
        };
        let accepted = shown.join(", ");
        format!("the label `{value}` is not known; expected {accepted}{more}{numbers}{hint}")
    }

    fn is_list(&self, text: &str) -> bool {
        let known = |part: &str| match Value::parse(part) {
            Value::Number(number) => self.by_place(number).is_some(),
            _ => self.folded.contains_key(&folded(part)),
        };
        [',', ';', '|'].into_iter().any(|c| text.contains(c) && text.split(c).all(known))
    }

    /// Labels that were read from another spelling, as notes for the user.
    pub(super) fn notes(&self) -> Vec<String> {
        const MOST: usize = 8;
        let met = &self.met;
        let respelled = |((label, spelled), rows): (&(usize, String), &usize)| {
            let name = &self.names[*label];
            // Space around every occurrence of a label is a matter of format, so it is no second
            // spelling.
            let alone = met.keys().filter(|(other, _)| other == label).count() == 1;
            let same = spelled == name || (alone && spelled.trim() == name);
            let s = if *rows == 1 { "" } else { "s" };
            (!same).then(|| format!("`{spelled}` ({rows} row{s}) is read as the label `{name}`"))
        };
        let mut notes: Vec<String> = met.iter().filter_map(respelled).collect();
        if let Some(more @ 1..) = notes.len().checked_sub(MOST) {
            notes.truncate(MOST);
            notes.push(format!("{more} more spellings are read as labels that they resemble"));
        }
        notes
    }
}

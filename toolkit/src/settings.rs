//! Reader of settings in TOML files. Errors name the setting, its line, its value, and the expected
//! values.

use crate::Error;
use edge_export::text_file::text_file;
use serde::de::DeserializeOwned;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// Reads a settings file.
///
/// # Errors
/// [`Error::Io`], and [`Error::Data`] with the line of the fault.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    parse(&text_file(path)?).map_err(|(line, problem)| Error::data(path, line, problem))
}

/// Parses settings; an error is a line and a message.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, (Option<usize>, String)> {
    toml::from_str(text).map_err(|e| {
        let at = e.span().map(|span| span.start.min(text.len()));
        let line = at.map(|at| 1 + text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count());
        // A setting that is missing at the top level has no line.
        let document = DeTable::parse(text).ok();
        let is_whole = document.as_ref().is_some_and(|all| e.span() == Some(all.span()));
        let place = at.filter(|_| !is_whole);
        let setting = document.zip(place).and_then(|(all, at)| setting_at(all.get_ref(), at));
        (line.filter(|_| !is_whole), in_words(e.message(), setting.as_deref()))
    })
}

/// Name of the setting at this byte, such as `data.train` or `data.labels[0]`.
fn setting_at(table: &DeTable, at: usize) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        let inside = match value.get_ref() {
            DeValue::Table(table) => setting_at(table, at).map(|inside| format!(".{inside}")),
            DeValue::Array(items) => {
                items.iter().enumerate().find_map(|(i, item)| match item.get_ref() {
                    DeValue::Table(table) => {
                        setting_at(table, at).map(|inside| format!(".{inside}"))
                    }
                    _ => item.span().contains(&at).then(|| format!("[{i}]")),
                })
            }
            _ => None,
        };
        let is_here = key.span().contains(&at) || value.span().contains(&at);
        inside.or_else(|| is_here.then(String::new)).map(|inside| format!("{name}{inside}"))
    })
}

/// Error of serde or TOML, with the setting's name instead of Rust's types.
fn in_words(message: &str, setting: Option<&str>) -> String {
    let name = setting.unwrap_or("the file");
    let quoted = |text: &str| text.split('`').nth(1).unwrap_or_default().to_string();
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (_, known) = rest.split_once(", ").unwrap_or_default();
        let known = known.trim_start_matches("expected ").trim_start_matches("one of ");
        return format!("there is no setting `{name}`; expected {known}");
    }
    if let Some(field) = message.strip_prefix("missing field ") {
        let missing = setting.map_or(String::new(), |table| format!("{table}."));
        return format!("`{missing}{}` is missing", quoted(field));
    }
    let Some(setting) = setting else { return message.into() };
    if let Some(variant) = message.strip_prefix("unknown variant ") {
        let (_, known) = variant.split_once(", expected ").unwrap_or_default();
        return format!("`{setting}` is \"{}\"; expected {known}", quoted(variant));
    }
    let wrong = ["invalid type: ", "invalid value: ", "invalid length "];
    if let Some(rest) = wrong.iter().find_map(|kind| message.strip_prefix(kind))
        && let Some((found, expected)) = rest.rsplit_once(", expected ")
    {
        return format!("`{setting}` is {}; expected {}", value(found), kind(expected));
    }
    match message {
        "wanted string or table" => format!("`{setting}` is no string; expected a word in quotes"),
        _ => format!("`{setting}`: {message}"),
    }
}

/// TOML form of a value in a message of serde.
fn value(found: &str) -> String {
    let kinds = ["integer ", "floating point ", "boolean "];
    match kinds.iter().find_map(|kind| found.strip_prefix(kind)) {
        Some(plain) => plain.split('`').nth(1).unwrap_or(plain).into(),
        None => match found {
            "sequence" => "a list".into(),
            "map" => "a table".into(),
            _ if found.parse::<usize>().is_ok() => format!("a list of {found}"),
            _ => found.strip_prefix("string ").unwrap_or(found).into(),
        },
    }
}

/// Description of a type that serde expects.
fn kind(expected: &str) -> String {
    match expected {
        "u8" => "a whole number from 0 to 255".into(),
        "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "path string" => "a path in quotes".into(),
        "a sequence" => "a list".into(),
        _ => match expected.strip_prefix("a tuple of size ") {
            Some(size) => format!("a list of {size} numbers"),
            None if expected.starts_with("struct ") => "a table".into(),
            None => expected.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use crate::report::suite::Suite;
    use crate::train::recipe::Recipe;

    #[test]
    fn settings_in_another_encoding_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.toml");
        let utf16 = "[data]\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        std::fs::write(&path, utf16).unwrap();
        let error = super::read::<Recipe>(&path).err().unwrap().to_string();
        assert!(error.contains("recipe.toml: the file is UTF-16; expected UTF-8"), "{error}");
    }

    #[test]
    fn errors_name_the_setting_and_its_line() {
        let least = "[data]\ntrain = 'a.tsv'\n\n[model]\nstart = 'm'\n";
        for (more, line, said) in [
            (
                "[train]\nbatch = 1\nbacth = 1",
                8,
                "there is no setting `train.bacth`; expected `epochs`, ",
            ),
            ("[trian]\nbatch = 1", 6, "there is no setting `trian`; expected `data`, "),
            ("exits = 3", 6, "`model.exits` is 3; expected \"all\", \"last\", \"own\" or a list"),
            ("exits = 'some'", 6, "`model.exits` is \"some\"; expected \"all\", "),
            ("exits = [0, -1]", 6, "`model.exits[1]` is -1; expected a whole number, 0 or more"),
            ("layers = ['a']", 6, "`model.layers[0]` is \"a\"; expected a whole number, 0 or more"),
            ("head_width = 1.5", 6, "`model.head_width` is 1.5; expected a whole number"),
            (
                "architecture = 'gpt'",
                6,
                "`model.architecture` is \"gpt\"; expected `bert` or `distilbert`",
            ),
            ("architecture = 1", 6, "`model.architecture` is 1; expected a string"),
            (
                "[train]\nbetas = [0.9]",
                7,
                "`train.betas` is a list of 1; expected a list of 2 numbers",
            ),
            (
                "[train]\nlearning_rate = '1'",
                7,
                "`train.learning_rate` is \"1\"; expected a number",
            ),
            (
                "[quantize]\nweight_bits = 300",
                7,
                "`quantize.weight_bits` is 300; expected a whole number from",
            ),
            ("[quantize]\nfour_bits = 4", 7, "`quantize.four_bits`: expected \"all\" or a list"),
            ("[teacher]\nmodel = 1", 7, "`teacher.model` is 1; expected a path in quotes"),
            ("losses = 1", 6, "there is no setting `model.losses`"),
            ("[train]\nepochs = 99999999999999999999", 7, "is 99999999999999999999; expected"),
            ("[losses]\nhard = 1\nhard = 2", 8, "duplicate key"),
        ] {
            let (at, error) = super::parse::<Recipe>(&format!("{least}{more}")).unwrap_err();
            assert!(error.contains(said), "{error}");
            assert_eq!(at, Some(line), "{error}");
        }
        let (line, error) = super::parse::<Recipe>("[data]\nlabel = 'a'\n").unwrap_err();
        assert_eq!((line, &*error), (Some(1), "`data.train` is missing"));
        let (line, error) = super::parse::<Recipe>("[data]\ntrain = 'a'\n").unwrap_err();
        assert_eq!((line, &*error), (None, "`model` is missing"));
        let models = "[[models]]\nid = 'a'\nname = 'A'\nstep = 'distil'\n\n[[models]]\nname = 1\n";
        let (line, error) = super::parse::<Suite>(models).unwrap_err();
        assert_eq!((line, &*error), (Some(7), "`models.name` is 1; expected a string"));
    }
}

//! Data of a run: the files, the columns to read, and the held-out rows.

use crate::data::Columns;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// Data of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Training data: a file (`.tsv`, `.csv`, `.jsonl`, `.parquet`), or the split `train` of a data
    /// set on the Hugging Face hub, by name.
    pub train: PathBuf,
    /// File of unlabelled text, which the teacher labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlabelled: Option<PathBuf>,
    /// Column of the text, by its name, or by its number from 1 in a file without a header; guessed
    /// if absent.
    #[serde(default, deserialize_with = "column", skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Column of the label, see `text`; guessed if absent.
    #[serde(default, deserialize_with = "column", skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Names of the labels; by default those of the data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Held-out rows of the training data, for choices and calibration. The value is a number of
    /// rows, or a share of all labelled rows, such as 0.1.
    #[serde(default)]
    pub hold_out: HoldOut,
    /// Minimum number of words of a held-out row.
    #[serde(default = "six")]
    pub hold_out_words: usize,
    /// Seed of the selection of held-out rows.
    #[serde(default = "one")]
    pub hold_out_seed: u64,
    /// Maximum number of tokens; longer texts are truncated.
    #[serde(default = "tokens")]
    pub max_tokens: usize,
}

impl Data {
    /// Columns to read.
    pub fn columns(&self) -> Columns {
        Columns { text: self.text.clone(), label: self.label.clone() }
    }
}

/// Number of rows that are held out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum HoldOut {
    /// Number of rows.
    Rows(usize),
    /// Share of all rows, above 0 and below 1.
    Share(f64),
}

impl HoldOut {
    /// Number of held-out rows of `rows`; for a share, the nearest number, and at least 1.
    pub fn of(self, rows: usize) -> usize {
        match self {
            HoldOut::Rows(n) => n,
            HoldOut::Share(share) => ((share * rows as f64).round() as usize).max(1),
        }
    }
}

impl Default for HoldOut {
    fn default() -> Self {
        HoldOut::Rows(0)
    }
}

impl<'de> Deserialize<'de> for HoldOut {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = HoldOut;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a whole number of rows, or a share above 0 and below 1")
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<HoldOut, E> {
                let wrong = |_| E::invalid_value(de::Unexpected::Signed(n), &self);
                usize::try_from(n).map(HoldOut::Rows).map_err(wrong)
            }

            fn visit_f64<E: de::Error>(self, share: f64) -> Result<HoldOut, E> {
                match share > 0.0 && share < 1.0 {
                    true => Ok(HoldOut::Share(share)),
                    false => Err(E::invalid_value(de::Unexpected::Float(share), &self)),
                }
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// Reads a column by its name or its number.
fn column<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Name;
    impl Visitor<'_> for Name {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("the name of a column in quotes, or its number from 1")
        }

        fn visit_str<E: de::Error>(self, name: &str) -> Result<Option<String>, E> {
            Ok(Some(name.into()))
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Option<String>, E> {
            match number {
                1.. => Ok(Some(number.to_string())),
                _ => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
            }
        }
    }
    deserializer.deserialize_any(Name)
}

fn six() -> usize {
    6
}

fn one() -> u64 {
    1
}

fn tokens() -> usize {
    128
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &str) -> Result<Data, String> {
        crate::settings::parse(&format!("train = 'a.tsv'\n{settings}"))
            .map_err(|(_, problem)| problem)
    }

    #[test]
    fn hold_out_is_a_number_of_rows_or_a_share_of_them() {
        let with = |value: &str| read(&format!("hold_out = {value}")).map(|data| data.hold_out);
        assert_eq!(read("").unwrap().hold_out.of(1000), 0);
        assert_eq!(with("60").unwrap().of(1000), 60);
        assert_eq!(with("1").unwrap().of(1000), 1);
        assert_eq!(with("0.1").unwrap().of(1000), 100);
        assert_eq!(with("0.0001").unwrap().of(1000), 1);
        for wrong in ["-1", "0.0", "1.0", "1.5", "nan", "'0.1'"] {
            let error = with(wrong).unwrap_err();
            let said = "; expected a whole number of rows, or a share above 0 and below 1";
            assert!(error.starts_with("`hold_out` is ") && error.ends_with(said), "{error}");
        }
    }

    #[test]
    fn column_is_named_or_numbered() {
        let with = |value: &str| read(&format!("text = {value}")).map(|data| data.text.unwrap());
        assert_eq!(with("2").unwrap(), "2");
        assert_eq!(with("'body'").unwrap(), "body");
        for wrong in ["0", "1.5", "true"] {
            let error = with(wrong).unwrap_err();
            assert!(error.starts_with("`text` is ") && error.contains("number from 1"), "{error}");
        }
    }
}

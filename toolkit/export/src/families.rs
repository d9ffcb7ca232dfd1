//! Families of encoders: the keys of `config.json` and the module names of each in transformers.
//!
//! A [`Family`] is a table. A new family is a file beside `families/bert.rs` and a row of [`ALL`]; see
//! `docs/adding-a-family.md`.

mod bert;
mod distilbert;
mod family;

pub use bert::BERT;
pub use distilbert::DISTILBERT;
pub use family::{Family, Keys, OwnHead};

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// All families that are read and written.
pub static ALL: [&Family; 2] = [&BERT, &DISTILBERT];

/// Values of `model_type`.
static NAMES: [&str; ALL.len()] = {
    let mut names = [""; ALL.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = ALL[i].model_type;
        i += 1;
    }
    names
};

/// Finds a family by `model_type`.
///
/// # Errors
/// A message with the families that are read.
pub fn find(model_type: Option<&str>) -> Result<&'static Family, String> {
    let found = ALL.into_iter().find(|family| Some(family.model_type) == model_type);
    found.ok_or_else(|| {
        let names: Vec<String> = ALL.iter().map(|f| format!("`{}`", f.model_type)).collect();
        let actual = model_type.map_or("missing".into(), |name| format!("`{name}`"));
        format!("model_type is {actual}; {} are read", names.join(" and "))
    })
}

impl<'de> Deserialize<'de> for &'static Family {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        find(Some(&name)).map_err(|_| D::Error::unknown_variant(&name, &NAMES))
    }
}

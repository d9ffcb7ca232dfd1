//! Reader of JSON lines.

use super::columns::{self, Column, Columns};
use super::raw::{At, Raw, Row, Value};
use crate::Error;
use crate::text_file::text_file;
use serde_json::{Map, Value as Json};
use std::path::Path;

pub(super) fn read(path: &Path, wanted: &Columns, labelled: bool) -> Result<Raw, Error> {
    let text = text_file(path)?;
    let mut lines = text.trim_end().lines().enumerate().map(|(i, line)| {
        let at = At::Line(i + 1);
        object(line).map(|object| (at, object)).map_err(|problem| at.error(path, problem))
    });
    let Some(mut line) = lines.next().transpose()? else {
        return Err(Error::data(path, None, "the file is empty"));
    };
    let columns: Vec<Column> = line
        .1
        .iter()
        .map(|(name, value)| Column { name: name.clone(), is_text: value.is_string() })
        .collect();
    let chosen = columns::choose(path, &columns, wanted, labelled)?;
    let text_name = &columns[chosen.text].name;
    let label_name = chosen.label.map(|i| &columns[i].name);
    let mut rows = Vec::new();
    loop {
        let (at, mut object) = line;
        let text = match object.remove(text_name) {
            Some(Json::String(text)) => text,
            other => return Err(at.error(path, unfit(text_name, other.as_ref(), "a string"))),
        };
        let label = match label_name.map(|name| (name, object.remove(name))) {
            None => None,
            Some((name, value)) => Some(label(value.as_ref()).ok_or_else(|| {
                at.error(path, unfit(name, value.as_ref(), "a string, a whole number or a boolean"))
            })?),
        };
        rows.push(Row { at, text, label });
        match lines.next().transpose()? {
            Some(next) => line = next,
            None => break,
        }
    }
    Ok(Raw {
        format: "JSON lines",
        text: text_name.clone(),
        label: label_name.cloned(),
        names: None,
        notes: chosen.notes,
        rows,
    })
}

fn object(line: &str) -> Result<Map<String, Json>, String> {
    match serde_json::from_str(line) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(other) => Err(format!(
            "found {}; expected an object on each line, such as {{\"text\": \"fine\", \"label\": 1}}",
            kind(&other)
        )),
        Err(_) if line.trim().is_empty() => Err("the line is empty; expected an object".into()),
        Err(_) if ["[", "{", "[{"].contains(&line.trim()) => {
            Err("the JSON spans several lines; expected one object a line. \
                 `jq -c '.[]' file.json > file.jsonl` converts an array"
                .into())
        }
        Err(e) => Err(format!("not JSON, at column {}: {}", e.column(), reason(&e))),
    }
}

/// Message of `serde_json` without its position, which refers to a single line.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.into())
}

fn label(value: Option<&Json>) -> Option<Value> {
    match value? {
        Json::String(text) => Some(Value::Text(text.clone())),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Some(Value::Number(whole)),
            None => Value::float(&number.as_f64()?.to_string()),
        },
        Json::Bool(value) => Some(Value::Flag(*value)),
        _ => None,
    }
}

fn unfit(name: &str, value: Option<&Json>, accepted: &str) -> String {
    match value {
        None => format!("there is no `{name}`; every line needs it"),
        Some(value) => {
            let several = match value {
                Json::Array(_) => " (several labels or texts a row are not supported yet)",
                _ => "",
            };
            format!("`{name}` is {}; expected {accepted}{several}", kind(value))
        }
    }
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

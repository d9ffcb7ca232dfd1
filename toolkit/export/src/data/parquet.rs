//! Reader of Parquet.

use super::columns::{self, Column, Columns};
use super::raw::{At, Raw, Row, Value};
use crate::Error;
use ::parquet::basic::{Compression, ConvertedType, LogicalType, Type as Physical};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{FileMetaData, ParquetMetaData};
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;
use ::parquet::schema::types::Type;
use edge_runtime::lfs;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

pub(super) fn read(path: &Path, wanted: &Columns, labelled: bool) -> Result<Raw, Error> {
    // The library panics on some damaged files.
    std::panic::catch_unwind(|| read_whole(path, wanted, labelled)).unwrap_or_else(|_| {
        Err(Error::data(path, None, "cannot be read as Parquet: the file is damaged"))
    })
}

fn read_whole(path: &Path, wanted: &Columns, labelled: bool) -> Result<Raw, Error> {
    let damaged = |e: ParquetError| {
        let problem = match &e {
            ParquetError::NYI(missing) => format!("uses an unsupported feature: {missing}"),
            _ => {
                format!("cannot be read as Parquet: {e}; check that it is complete and is Parquet")
            }
        };
        Error::data(path, None, problem)
    };
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    if file.metadata().is_ok_and(|m| m.len() == 0) {
        return Err(Error::data(path, None, "the file is empty"));
    }
    let mut start = Vec::new();
    (&file).take(64).read_to_end(&mut start).map_err(|e| Error::io(path, e))?;
    if lfs::is_pointer(&start) {
        return Err(Error::data(path, None, lfs::POINTER));
    }
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let metadata = reader.metadata().file_metadata();
    let fields = metadata.schema().get_fields();
    let columns: Vec<Column> =
        fields.iter().map(|f| Column { name: f.name().into(), is_text: is_text(f) }).collect();
    let chosen = columns::choose(path, &columns, wanted, labelled)?;
    let name = |i: usize| columns[i].name.clone();
    for column in [Some(chosen.text), chosen.label].into_iter().flatten() {
        if let Some(unread) = unread_compression(reader.metadata(), &name(column)) {
            return Err(Error::data(
                path,
                None,
                format!(
                    "the column `{}` is compressed with {unread}; snappy, gzip, brotli, lz4, zstd and \
                     no compression are supported",
                    name(column)
                ),
            ));
        }
    }

    let mut wanted_fields = vec![Arc::clone(&fields[chosen.text])];
    wanted_fields.extend(chosen.label.map(|i| Arc::clone(&fields[i])));
    let projection = Type::group_type_builder(metadata.schema().name())
        .with_fields(wanted_fields)
        .build()
        .map_err(damaged)?;
    let mut rows = Vec::new();
    for (i, row) in reader.get_row_iter(Some(projection)).map_err(damaged)?.enumerate() {
        let (at, row) = (At::Row(i + 1), row.map_err(damaged)?);
        let mut found = row.into_columns().into_iter();
        let mut next = || found.next().map_or(Field::Null, |(_, field)| field);
        let wrong = |i, field: &Field, accepted| {
            let found = match field {
                Field::Null => "missing".into(),
                other => format!("{other}"),
            };
            let several = match field {
                Field::ListInternal(_) => " (several labels or texts a row are not supported yet)",
                _ => "",
            };
            at.error(path, format!("`{}` is {found}; expected {accepted}{several}", name(i)))
        };
        let field = next();
        let text = string(&field).ok_or_else(|| wrong(chosen.text, &field, "a string"))?;
        let label = match chosen.label {
            None => None,
            Some(i) => {
                let field = next();
                let value = label(&field)
                    .ok_or_else(|| wrong(i, &field, "a string, a whole number or a boolean"))?;
                Some(value)
            }
        };
        rows.push(Row { at, text, label });
    }
    Ok(Raw {
        format: "Parquet",
        text: name(chosen.text),
        label: chosen.label.map(name),
        notes: chosen.notes,
        names: chosen.label.and_then(|i| class_names(metadata, &columns[i].name)),
        rows,
    })
}

/// Compression of a column, if it is not supported.
fn unread_compression(metadata: &ParquetMetaData, column: &str) -> Option<Compression> {
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    let own =
        chunks.filter(|chunk| chunk.column_path().parts().first().is_some_and(|p| p == column));
    own.map(|chunk| chunk.compression()).find(|compression| *compression == Compression::LZO)
}

fn is_text(field: &Type) -> bool {
    field.is_primitive()
        && field.get_physical_type() == Physical::BYTE_ARRAY
        && (matches!(field.get_basic_info().logical_type_ref(), Some(LogicalType::String))
            || field.get_basic_info().converted_type() == ConvertedType::UTF8)
}

fn string(field: &Field) -> Option<String> {
    match field {
        Field::Str(text) => Some(text.clone()),
        Field::Bytes(bytes) => String::from_utf8(bytes.data().to_vec()).ok(),
        _ => None,
    }
}

fn label(field: &Field) -> Option<Value> {
    let number = match *field {
        Field::Bool(value) => return Some(Value::Flag(value)),
        Field::Float16(value) => return Value::float(&value.to_string()),
        Field::Float(value) => return Value::float(&value.to_string()),
        Field::Double(value) => return Value::float(&value.to_string()),
        Field::Decimal(_) => return Value::float(&field.to_string()),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) => value.into(),
        Field::Long(value) => value,
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => i64::try_from(value).ok()?,
        _ => return string(field).map(Value::Text),
    };
    Some(Value::Number(number))
}

/// Names of the labels, which Hugging Face's `datasets` library stores in the file.
fn class_names(metadata: &FileMetaData, column: &str) -> Option<Vec<String>> {
    let entries = metadata.key_value_metadata()?;
    let json = entries.iter().find(|e| e.key == "huggingface")?.value.as_ref()?;
    let json: serde_json::Value = serde_json::from_str(json).ok()?;
    let names = json["info"]["features"][column]["names"].as_array()?;
    let names: Option<Vec<String>> = names.iter().map(|n| n.as_str().map(str::to_string)).collect();
    names.filter(|names| !names.is_empty())
}

#[cfg(test)]
mod tests;

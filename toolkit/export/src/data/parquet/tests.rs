use crate::data::dataset::tests::{POINTER, read, rows};
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use std::sync::Arc;

enum Labels<'a> {
    Numbers(&'a [i64]),
    Words(&'a [&'a str]),
    Flags(&'a [bool]),
}

fn parquet_file(texts: &[&str], labels: &Labels, names: Option<&str>) -> Vec<u8> {
    let label = match labels {
        Labels::Numbers(_) => "REQUIRED INT64 label;",
        Labels::Words(_) => "REQUIRED BINARY label (STRING);",
        Labels::Flags(_) => "REQUIRED BOOLEAN label;",
    };
    let schema = format!(
        "message schema {{ REQUIRED INT32 idx; OPTIONAL BINARY sentence (STRING); {label} }}"
    );
    let schema = ::parquet::schema::parser::parse_message_type(&schema).unwrap();
    let metadata = names.map(|names| {
        let json = format!(r#"{{"info": {{"features": {{"label": {{"names": {names}}}}}}}}}"#);
        vec![KeyValue::new("huggingface".into(), json)]
    });
    let properties = WriterProperties::builder()
        .set_compression(::parquet::basic::Compression::SNAPPY)
        .set_key_value_metadata(metadata)
        .build();
    let mut file = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut file, Arc::new(schema), Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let bytes = |words: &[&str]| -> Vec<ByteArray> { words.iter().map(|w| (*w).into()).collect() };
    let mut column = group.next_column().unwrap().unwrap();
    let ids: Vec<i32> = (0..texts.len() as i32).collect();
    column.typed::<::parquet::data_type::Int32Type>().write_batch(&ids, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    // In these tests an empty text is a null.
    let present: Vec<i16> = texts.iter().map(|t| i16::from(!t.is_empty())).collect();
    let some: Vec<&str> = texts.iter().copied().filter(|t| !t.is_empty()).collect();
    column.typed::<ByteArrayType>().write_batch(&bytes(&some), Some(&present), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    match labels {
        Labels::Numbers(n) => column.typed::<Int64Type>().write_batch(n, None, None),
        Labels::Words(w) => column.typed::<ByteArrayType>().write_batch(&bytes(w), None, None),
        Labels::Flags(f) => column.typed::<BoolType>().write_batch(f, None, None),
    }
    .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    file
}

#[test]
fn parquet_tells_the_names_of_its_labels() {
    let numbers = Labels::Numbers(&[1, 0]);
    let file = parquet_file(&["a", "b"], &numbers, Some(r#"["negative", "positive"]"#));
    let (set, guess) = read("d.parquet", &file, &[]).unwrap();
    assert_eq!(set.labels, ["negative", "positive"]);
    assert_eq!(rows(&set), [("a", 1), ("b", 0)]);
    let said = "Parquet, text from `sentence`, labels from `label`: negative, positive";
    assert_eq!(guess.to_string(), said);
    // A checkpoint with another order: labels are found by name.
    let (set, _) = read("d.parquet", &file, &["POSITIVE", "NEGATIVE"]).unwrap();
    assert_eq!(rows(&set), [("a", 0), ("b", 1)]);
    let (set, _) = read("d.parquet", &file, &["LABEL_0", "LABEL_1"]).unwrap();
    assert_eq!(rows(&set), [("a", 1), ("b", 0)]);
}

#[test]
fn parquet_labels_are_of_any_kind() {
    for (labels, names) in [
        (Labels::Numbers(&[1, 0]), ["0", "1"]),
        (Labels::Flags(&[true, false]), ["0", "1"]),
        (Labels::Words(&["y", "n"]), ["n", "y"]),
    ] {
        let (set, _) = read("d.parquet", parquet_file(&["a", "b"], &labels, None), &[]).unwrap();
        assert_eq!(set.labels, names);
        assert_eq!(rows(&set), [("a", 1), ("b", 0)]);
    }
}

#[test]
fn parquet_rows_are_counted_in_errors() {
    let hidden = parquet_file(&["a", "b"], &Labels::Numbers(&[0, -1]), Some(r#"["n", "p"]"#));
    let error = read("d.parquet", &hidden, &[]).unwrap_err();
    assert!(error.contains("row 2: the label is -1"), "{error}");
    let empty = parquet_file(&["a", ""], &Labels::Numbers(&[0, 1]), None);
    let error = read("d.parquet", &empty, &[]).unwrap_err();
    assert!(error.contains("row 2: `sentence` is missing; expected a string"), "{error}");
}

/// Files from pyarrow, with labels of every kind.
#[test]
fn parquet_of_every_compression_is_read() {
    let files: [&[u8]; 4] = [
        include_bytes!("../../../tests/data/gzip.parquet"),
        include_bytes!("../../../tests/data/brotli.parquet"),
        include_bytes!("../../../tests/data/lz4.parquet"),
        include_bytes!("../../../tests/data/zstd.parquet"),
    ];
    for file in files {
        let (set, _) = read("d.parquet", file, &[]).unwrap();
        assert_eq!(set.labels, ["0", "1"]);
        assert_eq!(rows(&set), [("a good film", 1), ("a dull film", 0), ("fine", 1)]);
    }
    // Number of one column's compression: LZO instead of gzip.
    let mut file = files[0].to_vec();
    let column = b"\x18\x04text\x15\x04\x16";
    let at = file.windows(column.len()).position(|bytes| bytes == column).unwrap();
    file[at + 7] = 6;
    let error = read("d.parquet", file, &[]).unwrap_err();
    let said = "the column `text` is compressed with LZO; snappy, gzip, brotli, lz4, zstd and";
    assert!(error.contains(said), "{error}");
}

#[test]
fn damaged_parquet_is_an_error() {
    let file = parquet_file(&["a", "b"], &Labels::Numbers(&[0, 1]), None);
    for length in (0..file.len()).step_by(3) {
        assert!(read("d.parquet", &file[..length], &[]).is_err());
    }
    // Some of these are other valid files; none may panic.
    for place in (0..file.len()).step_by(5) {
        let mut file = file.clone();
        file[place] ^= 1 << (place % 8);
        _ = read("d.parquet", &file, &[]);
    }
}

#[test]
fn files_that_are_not_parquet_are_rejected() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "the file is empty"),
        (POINTER, "is a Git LFS pointer"),
        (b"PAR1 and so on", "cannot be read as Parquet"),
    ];
    for (file, said) in cases {
        let error = read("d.parquet", file, &[]).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

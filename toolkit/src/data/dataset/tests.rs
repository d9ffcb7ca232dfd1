use super::*;
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use std::sync::Arc;

fn read(name: &str, bytes: impl AsRef<[u8]>, labels: &[&str]) -> Result<(Dataset, Guess), String> {
    read_with(name, bytes, &Columns::default(), labels)
}

fn read_with(
    name: &str,
    bytes: impl AsRef<[u8]>,
    columns: &Columns,
    labels: &[&str],
) -> Result<(Dataset, Guess), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let labels: Vec<String> = labels.iter().map(|l| l.to_string()).collect();
    let labels = (!labels.is_empty()).then_some(&labels[..]);
    Dataset::read(&path, columns, labels)
        .map_err(|e| e.to_string().replace(&*folder.path().to_string_lossy(), ""))
}

fn rows(set: &Dataset) -> Vec<(&str, u32)> {
    set.examples.iter().map(|e| (e.text.as_str(), e.label.unwrap())).collect()
}

fn columns(text: &str, label: &str) -> Columns {
    Columns { text: Some(text.into()), label: Some(label.into()) }
}

#[test]
fn tsv_has_no_quotes() {
    let (set, guess) = read("d.tsv", "sentence\tlabel\na \"b\t0\n\"c\" d\t1\n", &[]).unwrap();
    assert_eq!(rows(&set), [("a \"b", 0), ("\"c\" d", 1)]);
    assert_eq!(set.labels, ["0", "1"]);
    assert_eq!(guess.to_string(), "TSV, text from `sentence`, labels from `label`: 0, 1");
}

#[test]
fn csv_has_quotes() {
    let file = "\u{feff}label,text\r\npos,\"one, \"\"two\"\"\nthree\"\r\n neg ,four\r\n";
    let (set, _) = read("d.csv", file, &[]).unwrap();
    assert_eq!(set.labels, ["neg", "pos"]);
    assert_eq!(rows(&set), [("one, \"two\"\nthree", 1), ("four", 0)]);
}

#[test]
fn json_lines_have_names() {
    let file =
        "{\"id\": 7, \"text\": \"a\\nb\", \"label\": true}\n{\"text\": \"c\", \"label\": false}\n";
    for name in ["d.jsonl", "d.ndjson", "d.JSON"] {
        let (set, _) = read(name, file, &[]).unwrap();
        assert_eq!(rows(&set), [("a\nb", 1), ("c", 0)]);
    }
}

#[test]
fn labels_are_those_that_are_given() {
    let sst = ["NEGATIVE", "POSITIVE"];
    let (set, _) = read("d.tsv", "text\tlabel\na\t1\nb\tnegative\n", &sst).unwrap();
    assert_eq!(set.labels, sst);
    assert_eq!(rows(&set), [("a", 1), ("b", 0)]);
    let (set, _) = read("d.tsv", "text\tlabel\na\t4\nb\t1\n", &["1", "2", "3", "4"]).unwrap();
    assert_eq!(rows(&set), [("a", 3), ("b", 0)]);
    let (set, _) = read("d.tsv", "text\tlabel\na\t10\nb\t9\n", &[]).unwrap();
    assert_eq!(set.labels, ["9", "10"]);

    let error = read("d.tsv", "text\tlabel\na\t1\nb\t2\n", &sst).unwrap_err();
    assert!(error.contains("line 3: the label `2`") && error.contains("`POSITIVE`, or 0 to 1"));
    let error = read("d.tsv", "text\tlabel\na\tmixed\n", &sst).unwrap_err();
    assert!(error.contains("line 2: the label `mixed`"), "{error}");
    let error = read("d.tsv", "text\tlabel\na\t0\n", &["1", "2"]).unwrap_err();
    assert!(error.contains("there are `1`, `2`"), "{error}");
}

#[test]
fn texts_are_read_without_labels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.tsv");
    for file in ["text\na\nb\n", "text\tlabel\na\t-1\nb\t\n"] {
        std::fs::write(&path, file).unwrap();
        let (set, guess) = Dataset::read_unlabelled(&path, &Columns::default()).unwrap();
        assert_eq!(set.texts(), ["a", "b"]);
        assert!(set.labels.is_empty() && set.examples[0].label.is_none());
        assert_eq!(guess.to_string(), "TSV, text from `text`, no labels");
    }
}

#[test]
fn files_without_a_header_have_numbers() {
    let (set, _) =
        read_with("d.tsv", "fine film\t1\nbad film\t0\n", &columns("1", "2"), &[]).unwrap();
    assert_eq!(rows(&set), [("fine film", 1), ("bad film", 0)]);
}

#[test]
fn a_set_in_pieces_has_one_list_of_labels() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a.tsv", "b.jsonl"].map(|name| folder.path().join(name));
    std::fs::write(&paths[0], "text\tlabel\na\tz\n").unwrap();
    std::fs::write(&paths[1], "{\"text\": \"b\", \"label\": \"y\"}\n").unwrap();
    let (set, _) = Dataset::read_all(&paths, &Columns::default(), None).unwrap();
    assert_eq!(set.labels, ["y", "z"]);
    assert_eq!(rows(&set), [("a", 1), ("b", 0)]);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let long = format!("text\tlabel\n{}\t1\n", "a ".repeat(600_000));
    let cases: &[(&str, &[u8], &str)] = &[
        ("d.txt", b"a", ".tsv, .csv, .jsonl"),
        ("d", b"a", ".tsv, .csv, .jsonl"),
        ("d.tsv", b"", "the file is empty"),
        ("d.csv", b"\n\n", "the file is empty"),
        ("d.jsonl", b"\n", "the file is empty"),
        ("d.parquet", b"", "the file is empty"),
        ("d.tsv", b"text\tlabel\n", "no row"),
        ("d.tsv", b"text\tlabel\na\t1\nb\tc\t1\n", "line 3: 3 columns, where the first line has 2"),
        ("d.tsv", b"text\tlabel\r\na\t1\r\nb\r\n", "line 3: 1 columns"),
        ("d.tsv", b"text\tlabel\n\n\na\t1\n\nb\n", "line 6: 1 columns"),
        ("d.csv", b"text,label\n\"a\nb\",1\n\"c,1\nd,0\n", "line 4: a quote is opened"),
        ("d.csv", b"text,label\na,b,1\n", "line 2: 3 columns"),
        ("d.csv", b"text;label\na;1\n", "separated by commas"),
        ("d.tsv", b"fine film\t1\nbad film\t0\n", "line 1: this looks like a row"),
        ("d.csv", b"fine film,positive\nbad film,negative\n", "line 1: this looks like a row"),
        ("d.tsv", b"text\tlabel\na\t1\n \t1\n", "line 3: the text is empty"),
        ("d.tsv", b"text\tlabel\na\t1\nb\t \n", "line 3: the label is empty"),
        ("d.tsv", b"text\tlabel\na\t-1\n", "line 2: the label is -1"),
        ("d.tsv", b"text\tlabel\na\t1\nb\tgood\n", "line 2: the label is a number, other"),
        ("d.tsv", b"text\tlabel\na\t1\nb\t1\n", "every row has the label `1`"),
        ("d.tsv", b"text\tlabel\na\t1\n\xe9\t1\n", "line 3: this is not UTF-8"),
        ("d.tsv", b"\xff\xfet\0", "UTF-16"),
        ("d.tsv", b"text\tlabel\na\0\t1\n", "line 2: there is a NUL"),
        ("d.jsonl", b"{\"text\": \"a\\u0000\", \"label\": 1}", "line 1: the text has a NUL"),
        ("d.tsv", long.as_bytes(), "line 2: the text has 1200000 bytes"),
        ("d.tsv", b"sentence1\tsentence2\tlabel\na\tb\t1\n", "two texts"),
        ("d.jsonl", b"{\"text\": \"a\", \"label\": 1}\n[1]\n", "line 2: an array, where an object"),
        (
            "d.jsonl",
            b"{\"text\": \"a\", \"label\": 1}\n{\"text\": \"b\"}\n",
            "line 2: there is no `label`",
        ),
        (
            "d.jsonl",
            b"{\"text\": \"a\", \"label\": 1}\n{\"label\": 1}\n",
            "line 2: there is no `text`",
        ),
        (
            "d.jsonl",
            b"{\"text\": \"a\", \"label\": 0.5}\n",
            "line 1: `label` is a number with a fraction",
        ),
        ("d.jsonl", b"{\"text\": \"a\", \"label\": 1}\n{\"text\n", "line 2: not JSON, at column"),
        ("d.jsonl", b"{\"text\": \"a\", \"label\": 1}\n\n{}\n", "line 2: the line is empty"),
        ("d.json", b"[\n{\"text\": \"a\", \"label\": 1}\n]\n", "line 1: this is JSON over several"),
        ("d.parquet", b"PAR1 and so on", "cannot be read as Parquet"),
    ];
    for (name, file, said) in cases {
        let error = read(name, file, &[]).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let error = Dataset::read(Path::new("none.tsv"), &Columns::default(), None).unwrap_err();
    assert!(error.to_string().starts_with("none.tsv: "));
}

#[test]
fn a_column_of_something_else_is_no_label() {
    let file: String = (0..5_000).map(|i| format!("text {i}\t{i}\n")).collect();
    let error = read("d.tsv", format!("text\tlabel\n{file}"), &[]).unwrap_err();
    assert!(error.contains("line 4098: so far 4097 different labels"), "{error}");
}

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
    // A checkpoint with another order: by the names, not by the places.
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
    assert!(error.contains("row 2: `sentence` is missing; it is to be a string"), "{error}");
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

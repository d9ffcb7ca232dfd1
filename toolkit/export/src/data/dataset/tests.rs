use super::*;

pub(in crate::data) fn read(
    name: &str,
    bytes: impl AsRef<[u8]>,
    labels: &[&str],
) -> Result<(Dataset, Guess), String> {
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

pub(in crate::data) fn rows(set: &Dataset) -> Vec<(&str, u32)> {
    set.examples.iter().map(|e| (e.text.as_str(), e.label.unwrap())).collect()
}

fn columns(text: &str, label: &str) -> Columns {
    Columns { text: Some(text.into()), label: Some(label.into()) }
}

pub(in crate::data) const POINTER: &[u8] =
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 267832558\n";

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
    assert!(error.contains("expected `1`, `2`"), "{error}");
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
        ("d.tsv", b"text\tlabel\na\t1\n\xe9\t1\n", "line 3: the file is not UTF-8"),
        ("d.tsv", b"\xff\xfet\0", "UTF-16"),
        ("d.csv", POINTER, "is a Git LFS pointer"),
        ("d.jsonl", POINTER, "is a Git LFS pointer"),
        ("d.csv", b"t\0e\0x\0t\0,\0l\0\n\0", "UTF-16; expected UTF-8"),
        ("d.jsonl", b"\0\0\xfe\xff\0\0\0{", "UTF-32; expected UTF-8"),
        ("d.tsv", b"text\tlabel\na\0\t1\n", "line 2: there is a NUL"),
        ("d.jsonl", b"{\"text\": \"a\\u0000\", \"label\": 1}", "line 1: the text has a NUL"),
        ("d.tsv", long.as_bytes(), "line 2: the text has 1200000 bytes"),
        ("d.tsv", b"sentence1\tsentence2\tlabel\na\tb\t1\n", "two texts"),
        (
            "d.jsonl",
            b"{\"text\": \"a\", \"label\": 1}\n[1]\n",
            "line 2: found an array; expected an object",
        ),
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
            "line 1: the label `0.5` is a number with",
        ),
        (
            "d.jsonl",
            b"{\"text\": \"a\", \"label\": 1e300}\n",
            "line 1: `label` is a number; expected",
        ),
        (
            "d.jsonl",
            b"{\"text\": \"a\", \"label\": [\"x\", \"y\"]}\n",
            "several labels or texts a row",
        ),
        ("d.jsonl", b"{\"text\": \"a\", \"label\": 1}\n{\"text\n", "line 2: not JSON, at column"),
        ("d.jsonl", b"{\"text\": \"a\", \"label\": 1}\n\n{}\n", "line 2: the line is empty"),
        (
            "d.json",
            b"[\n{\"text\": \"a\", \"label\": 1}\n]\n",
            "line 1: the JSON spans several lines",
        ),
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
    assert!(error.contains("line 4098: 4097 different labels up to here"), "{error}");
}

/// Two rows in each of the three text formats; the first row has the label `yes`.
fn in_all_formats(yes: &str, no: &str) -> [(&'static str, String); 3] {
    [
        ("d.csv", format!("text,label\na,{yes}\nb,{no}\n")),
        ("d.tsv", format!("text\tlabel\na\t{yes}\nb\t{no}\n")),
        (
            "d.jsonl",
            format!(
                "{{\"text\": \"a\", \"label\": {}}}\n{{\"text\": \"b\", \"label\": {}}}\n",
                yes.to_lowercase(),
                no.to_lowercase()
            ),
        ),
    ]
}

#[test]
fn booleans_of_every_format_are_the_same_labels() {
    for (yes, no) in [("True", "False"), ("true", "false"), ("TRUE", "FALSE")] {
        for (name, file) in in_all_formats(yes, no) {
            let (set, _) = read(name, &file, &[]).unwrap();
            let names = if name == "d.jsonl" { ["0", "1"] } else { [no, yes] };
            assert_eq!(set.labels, names, "{name}");
            // Names of any format, in any order.
            for names in [["0", "1"], ["False", "True"], ["false", "true"], ["ham", "spam"]] {
                let (set, _) = read(name, &file, &names).unwrap();
                assert_eq!(rows(&set), [("a", 1), ("b", 0)], "{name} {names:?}");
            }
            for names in [["1", "0"], ["true", "false"]] {
                let (set, _) = read(name, &file, &names).unwrap();
                assert_eq!(rows(&set), [("a", 0), ("b", 1)], "{name} {names:?}");
            }
            let error = read(name, &file, &["x", "y", "z"]).unwrap_err();
            assert!(error.to_lowercase().contains("the label `true` is not known"), "{error}");
        }
    }
    // Numbers instead of words for booleans.
    let numbers = "text\tlabel\na\t1\nb\t0\n";
    let (set, _) = read("d.tsv", numbers, &["true", "false"]).unwrap();
    assert_eq!(rows(&set), [("a", 0), ("b", 1)]);
}

#[test]
fn booleans_among_words_are_words() {
    let file = "text,label\na,True\nb,False\nc,maybe\n";
    let (set, guess) = read("d.csv", file, &[]).unwrap();
    assert_eq!(set.labels, ["False", "True", "maybe"]);
    assert_eq!(rows(&set), [("a", 1), ("b", 0), ("c", 2)]);
    assert!(guess.notes.is_empty(), "{guess}");
    let file = "{\"text\": \"a\", \"label\": true}\n{\"text\": \"b\", \"label\": \"maybe\"}\n";
    let error = read("d.jsonl", file, &[]).unwrap_err();
    assert!(error.contains("the label is a boolean, other rows have words, as `maybe`"), "{error}");
}

#[test]
fn booleans_of_a_set_in_pieces_go_together() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a.jsonl", "b.csv"].map(|name| folder.path().join(name));
    std::fs::write(&paths[0], "{\"text\": \"a\", \"label\": true}\n").unwrap();
    std::fs::write(&paths[1], "text,label\nb,False\nc,True\n").unwrap();
    let (set, _) = Dataset::read_all(&paths, &Columns::default(), None).unwrap();
    assert_eq!(set.labels, ["False", "True"]);
    assert_eq!(rows(&set), [("a", 1), ("b", 0), ("c", 1)]);
}

#[test]
fn whole_numbers_with_a_point_are_numbers() {
    for (name, file) in in_all_formats("1.0", "0.0") {
        let (set, _) = read(name, &file, &[]).unwrap();
        assert_eq!(set.labels, ["0", "1"], "{name}");
        for names in [["0", "1"], ["0.0", "1.0"], ["ham", "spam"]] {
            let (set, _) = read(name, &file, &names).unwrap();
            assert_eq!(rows(&set), [("a", 1), ("b", 0)], "{name} {names:?}");
        }
    }
    // A number is no index if another name is a number.
    let error = read("d.tsv", "text\tlabel\na\t0\n", &["1.0", "2.0"]).unwrap_err();
    assert!(error.contains("the label `0` is not known"), "{error}");
    let (set, _) = read("d.tsv", "text\tlabel\na\t007\nb\tv1.0\n", &[]).unwrap();
    assert_eq!(set.labels, ["007", "v1.0"]);
}

#[test]
fn labels_that_differ_by_case_or_space_are_one_and_noted() {
    let file = "text,label\na,Spam\nb,spam\nc, spam\nd,ham\ne,SPAM\n";
    let (set, guess) = read("d.csv", file, &[]).unwrap();
    assert_eq!(set.labels, ["ham", "spam"]);
    assert_eq!(numbers(&set), [1, 1, 1, 0, 1]);
    let said = guess.to_string();
    for note in
        ["one label; to keep them apart", "`Spam` (1 row) is read as the label `spam`", "` spam`"]
    {
        assert!(said.contains(note), "{said}");
    }
    // The same rule applies to given names.
    let (known, guess) = read("d.csv", file, &["ham", "spam"]).unwrap();
    assert_eq!(known, set);
    assert!(guess.to_string().contains("`Spam` (1 row) is read as"), "{guess}");
    // Names that differ by case are kept apart.
    let (set, _) = read("d.csv", file, &["ham", "spam", "Spam", "SPAM"]).unwrap();
    assert_eq!(numbers(&set), [2, 1, 1, 0, 3]);
    let error = read("d.csv", file, &["ham", "sPam", "spaM"]).unwrap_err();
    assert!(error.contains("line 2: the label `Spam` may be `sPam` or `spaM`"), "{error}");
    // Space around all labels is a matter of format.
    let (set, guess) = read("d.csv", "text, label\na, x\nb, y\n", &[]).unwrap();
    assert_eq!((set.labels, guess.notes), (vec!["x".into(), "y".into()], vec![]));
}

fn numbers(set: &Dataset) -> Vec<u32> {
    set.examples.iter().map(|e| e.label.unwrap()).collect()
}

#[test]
fn scores_are_not_classes() {
    for file in ["text,score\na,0.5\nb,1.5\n", "text,score\na,1\nb,3.75\n", "text,score\na,-0.5\n"]
    {
        let error = read_with("d.csv", file, &columns("text", "score"), &[]).unwrap_err();
        assert!(error.contains("score (regression), which is not supported yet"), "{error}");
    }
    // Named labels are classes.
    let (set, _) = read("d.csv", "text,label\na,0.5\nb,1.0\n", &["0.5", "1.0"]).unwrap();
    assert_eq!(rows(&set), [("a", 0), ("b", 1)]);
    let (set, _) = read("d.csv", "text,label\na,1.2.3\nb,inf\n", &[]).unwrap();
    assert_eq!(set.labels, ["1.2.3", "inf"]);
}

#[test]
fn lists_of_labels_are_not_classes() {
    for labels in [
        &["relief", "\"approval,relief\"", "neutral"][..],
        &["27", "\"4,15\"", "4"],
        &["red|green", "green|blue"],
        &["\"red, green\"", "red", "green"],
        &["['red']", "\"['red', 'green']\""],
    ] {
        let file: String = labels.iter().map(|label| format!("a,{label}\n")).collect();
        let error = read("d.csv", format!("text,label\n{file}"), &[]).unwrap_err();
        assert!(error.contains("several labels a row, which is not supported yet"), "{error}");
    }
    let file = "text,label\na,\"Clothing, Shoes & Jewelry\"\nb,Clothing\nc,\"Books, Music\"\n";
    assert_eq!(read("d.csv", file, &[]).unwrap().0.labels.len(), 3);
    let error = read("d.csv", "text,label\na,\"x,y\"\n", &["x", "y"]).unwrap_err();
    assert!(
        error.contains("`x,y` is not known") && error.contains("several labels a row"),
        "{error}"
    );
}

#[test]
fn one_text_of_a_pair_is_noted() {
    let file = "sentence_A\tsentence_B\tlabel\nan apple\ta pear\t1\na b\tc d\t0\n";
    let error = read("d.tsv", file, &[]).unwrap_err();
    assert!(error.contains("`sentence_A` and `sentence_B` make a task of two texts"), "{error}");
    let (_, guess) = read_with("d.tsv", file, &columns("sentence_A", "label"), &[]).unwrap();
    assert!(guess.to_string().contains("not supported yet; only `sentence_A` is read"), "{guess}");
    // A pair whose texts look like numbers in the first row.
    let file = "premise\thypothesis\tlabel\n1\t2\t1\na\tb\t0\n";
    assert!(read("d.tsv", file, &[]).unwrap_err().contains("two texts"));
}

#[test]
fn label_first_needs_no_header() {
    let file =
        "ham\tgo there now\nham\tok then\nspam\tfree entry to win\nham\tu dun say\nspam\tprize\n";
    let (set, guess) = read("d.tsv", file, &[]).unwrap();
    assert_eq!(set.labels, ["ham", "spam"]);
    assert_eq!(rows(&set)[0], ("go there now", 0));
    assert_eq!(set.examples.len(), 5);
    let said = "TSV without a header, text from `2`, labels from `1`: ham, spam";
    assert_eq!(guess.to_string(), said);
    // Three columns must be named, and the number of a comment is not its label.
    let file = "a good day\t27\tid0\nso very bad\t3\tid1\nwhat a day\t27\tid2\n";
    let error = read("d.tsv", file, &[]).unwrap_err();
    let said = "as `--text 1 --label 2` (in a recipe `data.text = 1, data.label = 2`)";
    assert!(error.contains("line 1: this looks like a row") && error.contains(said), "{error}");
}

#[test]
fn texts_without_a_header_are_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.tsv");
    std::fs::write(&path, "this is the first of some texts\nthis is another one\n").unwrap();
    let error = Dataset::read_unlabelled(&path, &Columns::default()).unwrap_err().to_string();
    assert!(error.contains("this looks like a row") && error.contains("`--text 1`"), "{error}");
    let by_number = Columns { text: Some("1".into()), label: None };
    assert_eq!(Dataset::read_unlabelled(&path, &by_number).unwrap().0.examples.len(), 2);
}

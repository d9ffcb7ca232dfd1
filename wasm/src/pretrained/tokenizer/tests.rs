use super::*;
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

const PIECES: &str =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\nGood\n@\nuser\nsee\nnow\n[\nurl\n]\n##s";
/// Number of the pieces.
const N: u32 = 15;

/// Temporary folder, removed when the value is dropped.
struct Folder(PathBuf);

impl Folder {
    fn of(files: &[(&str, Value)]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "edge-pretrained-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).unwrap();
        let model = ("config.json", json!({"model_type": "bert", "vocab_size": N + 2}));
        for (name, content) in [model].iter().chain(files) {
            let text = content.as_str().map_or_else(|| content.to_string(), String::from);
            std::fs::write(folder.0.join(name), text).unwrap();
        }
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Makes a folder with `vocab.txt`.
fn vocabulary(files: &[(&str, Value)]) -> Folder {
    Folder::of(&[&[("vocab.txt", json!(PIECES))], files].concat())
}

/// Makes a `tokenizer.json` that keeps case.
fn cased() -> Value {
    let folder = vocabulary(&[("tokenizer_config.json", json!({"do_lower_case": false}))]);
    serde_json::from_slice(&read(&folder.0).unwrap()).unwrap()
}

fn ids(folder: &Folder, text: &str) -> Vec<u32> {
    let tokenizer = crate::tokenizer::Tokenizer::from_bundle(&read(&folder.0).unwrap(), 64);
    tokenizer.unwrap().encode(text).unwrap().ids
}

/// File and problem of the error for a folder.
fn refused(folder: &Folder) -> (String, String) {
    match read(&folder.0).unwrap_err() {
        Error::File { path, problem } => {
            assert_eq!(path.parent(), Some(folder.0.as_path()));
            (path.file_name().unwrap().to_string_lossy().into(), problem)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn lines_number_the_tokens() {
    assert_eq!(ids(&vocabulary(&[]), "Goods [SEP]"), [2, 5, 14, 3, 3]);
}

#[test]
fn added_tokens_are_found_before_the_text_is_split() {
    let added = ("added_tokens.json", json!({"[url]": N + 1, "@user": N}));
    let folder = vocabulary(&[added]);
    assert_eq!(ids(&folder, "@USER see [url] now"), [2, N, 9, N + 1, 10, 3]);
    assert_eq!(ids(&vocabulary(&[]), "@USER see"), [2, 7, 8, 9, 3]);
}

#[test]
fn objects_of_the_older_file_are_added() {
    let token = json!({"content": "@user", "normalized": false, "lstrip": true});
    let map = ("special_tokens_map.json", json!({"additional_special_tokens": [token]}));
    let folder = vocabulary(&[map]);
    let json: Value = serde_json::from_slice(&read(&folder.0).unwrap()).unwrap();
    let last = json["added_tokens"].as_array().unwrap().last().unwrap().clone();
    let expected = json!({"id": N, "content": "@user", "single_word": false, "lstrip": true,
        "rstrip": false, "normalized": false, "special": true});
    assert_eq!(last, expected);
}

#[test]
fn settings_win_over_the_normalizer_of_tokenizer_json() {
    let file = ("tokenizer.json", cased());
    let [lower, keep] = [json!({}), json!({"do_lower_case": false})];
    let folder = Folder::of(&[file.clone(), ("tokenizer_config.json", lower)]);
    assert_eq!(ids(&folder, "Good"), [2, 5, 3]);
    let folder = Folder::of(&[file, ("tokenizer_config.json", keep)]);
    assert_eq!(ids(&folder, "Good"), [2, 6, 3]);
}

#[test]
fn tokenizer_json_alone_is_returned_as_it_is() {
    let text = format!(" {}\n", cased());
    let folder = Folder::of(&[("tokenizer.json", json!(text))]);
    assert_eq!(read(&folder.0).unwrap(), text.as_bytes());
    // Settings that change nothing leave the bytes as they are.
    let settings = json!({"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": true});
    let folder =
        Folder::of(&[("tokenizer.json", json!(text)), ("tokenizer_config.json", settings)]);
    assert_eq!(read(&folder.0).unwrap(), text.as_bytes());
}

#[test]
fn special_token_that_vocabulary_and_model_lack_is_left_out() {
    let short = PIECES.replace("[MASK]", "masked");
    for (size, last) in [(N + 1, N), (N, 3)] {
        let config = json!({"model_type": "bert", "vocab_size": size});
        let folder = Folder::of(&[("vocab.txt", json!(short)), ("config.json", config)]);
        let json: Value = serde_json::from_slice(&read(&folder.0).unwrap()).unwrap();
        assert_eq!(json["added_tokens"].as_array().unwrap().last().unwrap()["id"], last);
    }
}

#[test]
fn special_tokens_that_a_text_needs_must_be_there() {
    for (token, setting) in [("[UNK]", "unk_token"), ("[CLS]", "cls_token"), ("[SEP]", "sep_token")]
    {
        let short = PIECES.replace(token, "gone");
        let folder = Folder::of(&[("vocab.txt", json!(short))]);
        assert_eq!(refused(&folder), ("vocab.txt".into(), format!("the token {token} is missing")));
        let folder = vocabulary(&[("special_tokens_map.json", json!({setting: null}))]);
        assert!(refused(&folder).1.contains(setting));
    }
}

#[test]
fn classes_are_refused_by_name() {
    let config = |class: &str| ("tokenizer_config.json", json!({"tokenizer_class": class}));
    for class in
        ["BertJapaneseTokenizer", "XLNetTokenizer", "PreTrainedTokenizerFast", "KoBertTokenizer"]
    {
        let (file, problem) = refused(&vocabulary(&[config(class)]));
        assert_eq!(file, "tokenizer_config.json");
        assert!(problem.contains(class.trim_end_matches("Fast")), "{problem}");
    }
    for (class, name) in
        [("BertJapaneseTokenizer", "tokenizer_config.json"), ("XLNetTokenizer", "tokenizer.json")]
    {
        let (file, problem) = refused(&Folder::of(&[("tokenizer.json", cased()), config(class)]));
        assert_eq!(file, name);
        assert!(problem.contains(class), "{problem}");
    }
    // The class in config.json is used if the other file has none.
    let model = json!({"model_type": "bert", "tokenizer_class": "BertJapaneseTokenizer"});
    assert_eq!(refused(&vocabulary(&[("config.json", model)])).0, "config.json");
    let model = json!({"model_type": "roberta"});
    assert!(refused(&vocabulary(&[("config.json", model)])).1.contains("roberta"));
}

#[test]
fn files_that_contradict_each_other_are_refused() {
    let added = json!({"additional_special_tokens": ["@user"]});
    let other = json!({"additional_special_tokens": ["[url]"]});
    let folder =
        vocabulary(&[("tokenizer_config.json", added), ("special_tokens_map.json", other)]);
    assert_eq!(refused(&folder).0, "special_tokens_map.json");

    let mut file = cased();
    let user = json!({"id": N, "content": "@user", "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": true, "special": false});
    file["added_tokens"].as_array_mut().unwrap().push(user);
    let decoder = json!({"added_tokens_decoder": {"0": {"content": "[PAD]", "special": true}}});
    let folder = Folder::of(&[("tokenizer.json", file), ("tokenizer_config.json", decoder)]);
    assert!(refused(&folder).1.contains("`@user`"));

    let file = json!({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}});
    let settings = json!({"tokenizer_class": "RobertaTokenizerFast", "add_prefix_space": true});
    let folder = Folder::of(&[("tokenizer.json", file), ("tokenizer_config.json", settings)]);
    assert!(refused(&folder).1.contains("add_prefix_space"));
}

#[test]
fn parts_that_versions_of_transformers_read_differently_are_refused() {
    let config = ("tokenizer_config.json", json!({"tokenizer_class": "BertTokenizer"}));
    for (pointer, other) in [
        ("/normalizer/clean_text", json!(false)),
        ("/normalizer/type", json!("Lowercase")),
        ("/pre_tokenizer", json!({"type": "WhitespaceSplit"})),
        ("/model/unk_token", json!("good")),
        ("/model/continuing_subword_prefix", json!("@@")),
        ("/model/max_input_chars_per_word", json!(9)),
        ("/post_processor", Value::Null),
        ("/post_processor/cls", json!(["good", 5])),
        ("/post_processor/cls/1", json!(5)),
    ] {
        let mut file = cased();
        *file.pointer_mut(pointer).unwrap() = other;
        let (name, problem) = refused(&Folder::of(&[("tokenizer.json", file), config.clone()]));
        assert_eq!(name, "tokenizer.json", "{pointer}");
        assert!(problem.contains("PreTrainedTokenizerFast"), "{problem}");
    }
}

#[test]
fn settings_without_an_equal_here_are_refused_by_name() {
    for (name, value) in [
        ("split_special_tokens", json!(true)),
        ("split_special_tokens", json!("yes")),
        ("truncation_side", json!("left")),
        ("auto_map", json!({"AutoTokenizer": ["code.Tokenizer", null]})),
        ("init_inputs", json!(["vocab.txt"])),
        ("fast_tokenizer_files", json!(["tokenizer.json", "tokenizer.4.0.0.json"])),
        ("do_lower_case", json!(null)),
        ("strip_accents", json!("yes")),
        ("tokenize_chinese_chars", json!(1)),
        ("additional_special_tokens", json!(5)),
        ("additional_special_tokens", json!([5])),
        ("additional_special_tokens", json!([{"content": "x", "lstrip": 1}])),
        ("added_tokens_decoder", json!([])),
        ("added_tokens_decoder", json!({"x": {"content": "x"}})),
        ("added_tokens_decoder", json!({"15": 15})),
        ("cls_token", json!(5)),
    ] {
        let folder = vocabulary(&[("tokenizer_config.json", json!({name: value}))]);
        let (file, problem) = refused(&folder);
        assert_eq!(file, "tokenizer_config.json", "{name}");
        assert!(problem.contains(name), "{name}: {problem}");
    }
    let mut file = cased();
    file["truncation"] =
        json!({"direction": "Left", "max_length": 9, "strategy": "LongestFirst", "stride": 0});
    assert!(refused(&Folder::of(&[("tokenizer.json", file)])).1.contains("Left"));
}

#[test]
fn files_that_are_not_json_are_named() {
    for name in
        ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json"]
    {
        for content in ["{", "[]", "5"] {
            assert_eq!(refused(&vocabulary(&[(name, json!(content))])).0, name);
        }
    }
    assert_eq!(
        refused(&vocabulary(&[("added_tokens.json", json!({"a": "b"}))])).0,
        "added_tokens.json"
    );
    let config = ("tokenizer_config.json", json!({}));
    for content in [json!("{"), json!([]), json!({}), json!({"model": {"vocab": 5}})] {
        let folder = Folder::of(&[("tokenizer.json", content), config.clone()]);
        assert_eq!(refused(&folder).0, "tokenizer.json");
    }
    assert_eq!(refused(&Folder::of(&[])).0, "tokenizer.json");
}

#[test]
fn added_tokens_follow_the_vocabulary_whatever_ids_files_state() {
    let gap = vocabulary(&[("added_tokens.json", json!({"@user": N + 9, "[url]": N + 3}))]);
    assert_eq!(ids(&gap, "@user [url] now"), [2, N + 1, N, 10, 3]);
    // Of two equal lines the last one is used; the first added token has the number of pieces as
    // its id.
    let twice = format!("{PIECES}\ngood\nlast");
    let added = ("added_tokens.json", json!({"@user": N + 2}));
    let folder = Folder::of(&[("vocab.txt", json!(twice)), added]);
    assert_eq!(ids(&folder, "@user good last"), [2, N + 1, N, N + 1, 3]);
}

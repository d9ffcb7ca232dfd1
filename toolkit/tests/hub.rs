//! Fetching from a local server that acts as a hub.

use edge_toolkit::hub::{Hub, Settings};
use sha1::Digest;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Answer of the server.
#[derive(Clone, Default)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Number of bytes after which the answer breaks off, except for a range request.
    cut: Option<usize>,
}

impl Answer {
    fn ok(body: impl Into<Vec<u8>>) -> Self {
        Answer { status: 200, body: body.into(), ..Answer::default() }
    }

    fn status(status: u16) -> Self {
        Answer { status, ..Answer::default() }
    }

    fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// A request: method and path, and the headers that matter here.
#[derive(Clone, Debug, PartialEq)]
struct Request {
    line: String,
    token: Option<String>,
    range: Option<usize>,
}

/// A server on this machine that answers by path until the test ends.
struct Server {
    address: String,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Server { address, answers: Arc::default(), requests: Arc::default() };
        let (answers, requests) = (server.answers.clone(), server.requests.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, requests) = (answers.clone(), requests.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &answers, &requests));
            }
        });
        server
    }

    fn answer(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.into(), answer);
    }

    fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    fn settings(&self, cache: &Path) -> Settings {
        Settings {
            endpoint: self.address.clone(),
            token: Some("secret".into()),
            cache: cache.into(),
            certificates: None,
            offline: false,
            progress: false,
        }
    }

    fn hub(&self, cache: &Path) -> Hub {
        Hub::new(self.settings(cache)).unwrap()
    }

    fn offline(&self, cache: &Path) -> Hub {
        Hub::new(Settings { offline: true, ..self.settings(cache) }).unwrap()
    }

    /// Answers requests for a repository as the hub does. Safetensors and Parquet files are large
    /// files, with their SHA-256.
    fn repository(&self, api: &str, files: &[(&str, &[u8])]) {
        let siblings: Vec<serde_json::Value> = files
            .iter()
            .map(|(name, bytes)| match is_large(name) {
                true => serde_json::json!({"rfilename": name, "lfs": {"sha256": sha256(bytes)}}),
                false => serde_json::json!({"rfilename": name, "blobId": git(bytes)}),
            })
            .collect();
        let listing = serde_json::json!({"sha": COMMIT, "siblings": siblings});
        let path = format!("/api/{api}/revision/main?blobs=true");
        self.answer(&path, Answer::ok(listing.to_string()));
        let name = api.strip_prefix("models/").unwrap_or(api);
        for (file, bytes) in files {
            self.answer(&format!("/{name}/resolve/{COMMIT}/{file}"), Answer::ok(*bytes));
        }
    }
}

fn serve(stream: TcpStream, answers: &Mutex<HashMap<String, Answer>>, log: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        match line.trim() {
            "" => break,
            line => lines.push(line.to_string()),
        }
    }
    let head = |name: &str| {
        lines.iter().find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
        })
    };
    let line = lines[0].trim_end_matches(" HTTP/1.1").to_string();
    let range = head("range")
        .and_then(|r| r.trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().ok());
    let path = line.split(' ').nth(1).unwrap().to_string();
    let is_head = line.starts_with("HEAD");
    log.lock().unwrap().push(Request { line, token: head("authorization"), range });
    let mut answer = answers.lock().unwrap().get(&path).cloned().unwrap_or(Answer::status(404));
    let total = answer.body.len();
    if let Some(from) = range.filter(|_| answer.status == 200) {
        if from >= total {
            answer = Answer::status(416);
        } else {
            answer.status = 206;
            answer.body.drain(..from);
            let range = format!("bytes {from}-{}/{total}", total - 1);
            answer = answer.header("Content-Range", range);
        }
    }
    let cut = answer.cut.filter(|_| range.is_none()).unwrap_or(answer.body.len());
    let mut text = format!("HTTP/1.1 {} -\r\nConnection: close\r\n", answer.status);
    text += &format!("Content-Length: {}\r\n", answer.body.len());
    for (name, value) in &answer.headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    let mut stream = stream;
    _ = stream.write_all(text.as_bytes());
    if !is_head {
        _ = stream.write_all(&answer.body[..cut]);
    }
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const WEIGHTS: &[u8] = b"many numbers, or so it is said";
const CHECKPOINT: [(&str, &[u8]); 5] = [
    ("README.md", b"not wanted"),
    ("config.json", b"{}"),
    ("model.safetensors", WEIGHTS),
    ("tokenizer.json", b"{\"a\": 1}"),
    ("tokenizer_config.json", b"{\"b\": 1}"),
];
const WEIGHTS_PATH: &str =
    "/org/bert/resolve/0123456789abcdef0123456789abcdef01234567/model.safetensors";

fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".parquet")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

fn git(bytes: &[u8]) -> String {
    let mut hasher = sha1::Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hex(&hasher.finalize())
}

/// A hub with a checkpoint, and a cache.
fn with_checkpoint() -> (Server, tempfile::TempDir) {
    let server = Server::start();
    server.repository("models/org/bert", &CHECKPOINT);
    (server, tempfile::tempdir().unwrap())
}

fn snapshot(cache: &Path) -> std::path::PathBuf {
    cache.join("models--org--bert/snapshots").join(COMMIT)
}

#[test]
fn a_checkpoint_is_fetched_once() {
    let (server, cache) = with_checkpoint();
    let hub = server.hub(cache.path());
    let folder = hub.checkpoint("org/bert").unwrap();
    assert_eq!(folder, snapshot(cache.path()));
    for (name, bytes) in &CHECKPOINT[1..] {
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), *bytes);
    }
    assert!(!folder.join("README.md").exists());
    let repository = cache.path().join("models--org--bert");
    assert_eq!(std::fs::read_to_string(repository.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(std::fs::read(repository.join("blobs").join(sha256(WEIGHTS))).unwrap(), WEIGHTS);
    assert_eq!(std::fs::read_dir(repository.join("blobs")).unwrap().count(), 4);
    let requests = server.requests();
    assert_eq!(requests.len(), 5);
    assert!(requests.iter().all(|r| r.token.as_deref() == Some("Bearer secret")));

    assert_eq!(hub.checkpoint("org/bert").unwrap(), folder);
    assert_eq!(server.requests().len(), 1, "only whether there is something new");
}

#[test]
fn without_a_connection_the_cache_is_all_there_is() {
    let (server, cache) = with_checkpoint();
    let offline = server.offline(cache.path());
    let error = offline.checkpoint("org/bert").unwrap_err().to_string();
    assert!(error.contains("HF_HUB_OFFLINE is set"), "{error}");
    let folder = server.hub(cache.path()).checkpoint("org/bert").unwrap();
    server.requests();
    assert_eq!(offline.checkpoint("org/bert").unwrap(), folder);
    std::fs::remove_file(folder.join("model.safetensors")).unwrap();
    let error = offline.checkpoint("org/bert").unwrap_err().to_string();
    assert!(error.contains("there is no model.safetensors"), "{error}");
    assert_eq!(server.requests(), []);

    let nobody =
        Settings { endpoint: "http://127.0.0.1:1".into(), ..server.settings(cache.path()) };
    let error = Hub::new(nobody).unwrap().checkpoint("org/bert").unwrap_err().to_string();
    assert!(error.contains("cannot be reached") && error.contains("HF_HUB_OFFLINE=1"), "{error}");
}

#[test]
fn what_has_another_hash_is_thrown_away() {
    for file in ["model.safetensors", "config.json"] {
        let (server, cache) = with_checkpoint();
        let path = format!("/org/bert/resolve/{COMMIT}/{file}");
        server.answer(&path, Answer::ok("something else"));
        let hub = server.hub(cache.path());
        let error = hub.checkpoint("org/bert").unwrap_err().to_string();
        assert!(error.contains(&format!("org/bert, {file}: the download has the hash")), "{error}");
        assert!(!snapshot(cache.path()).join(file).exists());
        assert!(server.offline(cache.path()).checkpoint("org/bert").is_err());

        server.repository("models/org/bert", &CHECKPOINT);
        hub.checkpoint("org/bert").unwrap();
    }
}

#[test]
fn a_broken_download_goes_on_where_it_ended() {
    let (server, cache) = with_checkpoint();
    server.answer(WEIGHTS_PATH, Answer { cut: Some(10), ..Answer::ok(WEIGHTS) });
    let folder = server.hub(cache.path()).checkpoint("org/bert").unwrap();
    assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), WEIGHTS);
    let ranges: Vec<_> = server
        .requests()
        .into_iter()
        .filter(|r| r.line.ends_with("model.safetensors"))
        .map(|r| r.range)
        .collect();
    assert_eq!(ranges, [None, Some(10)]);
}

#[test]
fn a_download_that_keeps_breaking_leaves_nothing_that_looks_whole() {
    let (server, cache) = with_checkpoint();
    let hub = server.hub(cache.path());
    // The body never arrives.
    server.answer(WEIGHTS_PATH, Answer { cut: Some(0), ..Answer::ok(WEIGHTS) });
    let error = hub.checkpoint("org/bert").unwrap_err().to_string();
    assert!(error.contains("broke off after 0 bytes"), "{error}");
    assert!(!snapshot(cache.path()).join("model.safetensors").exists());
    assert!(!cache.path().join("models--org--bert/blobs").join(sha256(WEIGHTS)).exists());
    server.answer(WEIGHTS_PATH, Answer::ok(WEIGHTS));
    hub.checkpoint("org/bert").unwrap();
}

#[test]
fn what_an_earlier_run_left_is_used_or_replaced() {
    let longer = [WEIGHTS, b" and more"].concat();
    for left in [&WEIGHTS[..7], WEIGHTS, b"of another file", &longer] {
        let (server, cache) = with_checkpoint();
        let blobs = cache.path().join("models--org--bert/blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        let partial = blobs.join(format!("{}.edge-partial", sha256(WEIGHTS)));
        std::fs::write(&partial, left).unwrap();
        let folder = server.hub(cache.path()).checkpoint("org/bert").unwrap();
        assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), WEIGHTS);
        assert!(!partial.exists());
    }
}

#[test]
fn the_token_stays_with_the_endpoint() {
    let (server, cache) = with_checkpoint();
    let elsewhere = Server::start();
    elsewhere.answer("/store/weights?key=1", Answer::ok(WEIGHTS).header("ETag", "\"other\""));
    let to = format!("{}/store/weights?key=1", elsewhere.address);
    server.answer(
        WEIGHTS_PATH,
        Answer::status(302)
            .header("Location", to)
            .header("X-Linked-Etag", format!("\"{}\"", sha256(WEIGHTS))),
    );
    // A hub that lists no hashes gives them with the files.
    let siblings: Vec<_> =
        CHECKPOINT.iter().map(|(name, _)| serde_json::json!({"rfilename": name})).collect();
    let listing = serde_json::json!({"sha": COMMIT, "siblings": siblings}).to_string();
    server.answer("/api/models/org/bert/revision/main?blobs=true", Answer::ok(listing));
    for (name, bytes) in CHECKPOINT.iter().filter(|(name, _)| !is_large(name)) {
        let path = format!("/org/bert/resolve/{COMMIT}/{name}");
        server.answer(&path, Answer::ok(*bytes).header("ETag", format!("W/\"{}\"", git(bytes))));
    }
    let folder = server.hub(cache.path()).checkpoint("org/bert").unwrap();
    assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), WEIGHTS);
    let requests = elsewhere.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].token, None);
    assert!(server.requests().iter().all(|r| r.token.is_some()));
}

#[test]
fn a_renamed_repository_is_found() {
    let (server, cache) = with_checkpoint();
    let to = "/api/models/org/bert/revision/main?blobs=true";
    let from = "/api/models/old/name/revision/main?blobs=true";
    server.answer(from, Answer::status(307).header("Location", to));
    for (file, _) in &CHECKPOINT[1..] {
        let path = |name: &str| format!("/{name}/resolve/{COMMIT}/{file}");
        let answer = Answer::status(307).header("Location", path("org/bert"));
        server.answer(&path("old/name"), answer);
    }
    assert!(server.hub(cache.path()).checkpoint("old/name").is_ok());
    server.answer(from, Answer::status(307).header("Location", from));
    let error = server.hub(cache.path()).checkpoint("old/name").unwrap_err().to_string();
    assert!(error.contains("redirected 8 times"), "{error}");
}

#[test]
fn refusals_say_what_to_do() {
    let (server, cache) = with_checkpoint();
    let path = "/api/models/org/bert/revision/main?blobs=true";
    let anonymous = Settings { token: None, ..server.settings(cache.path()) };
    for (status, with_token, said) in [
        (401, false, "set HF_TOKEN"),
        (401, true, "is not valid"),
        (403, true, "accept its conditions"),
        (404, true, "Check the name"),
        (429, true, "wait a few minutes"),
        (503, true, "try again later"),
        (418, true, "answers 418"),
    ] {
        server.answer(path, Answer::status(status));
        let hub = if with_token {
            server.hub(cache.path())
        } else {
            Hub::new(anonymous.clone()).unwrap()
        };
        let error = hub.checkpoint("org/bert").unwrap_err().to_string();
        assert!(error.starts_with("org/bert: ") && error.contains(said), "{error}");
        assert!(!error.contains("secret"));
    }
    for listing in [
        "<html>",
        "{}",
        r#"{"sha": "../x"}"#,
        r#"{"sha": "a", "siblings": [{"rfilename": "../x"}]}"#,
    ] {
        server.answer(path, Answer::ok(listing));
        let error = server.hub(cache.path()).checkpoint("org/bert").unwrap_err().to_string();
        assert!(error.contains("not a list of files"), "{error}");
    }
}

#[test]
fn a_data_set_comes_in_shards() {
    let server = Server::start();
    let cache = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 4] = [
        ("sst2/train-00000-of-00002.parquet", b"one"),
        ("sst2/train-00001-of-00002.parquet", b"two"),
        ("sst2/test-00000-of-00001.parquet", b"three"),
        ("cola/train-00000-of-00001.parquet", b"four"),
    ];
    server.repository("datasets/org/glue", &files);
    let hub = server.hub(cache.path());
    let paths = hub.resolve_dataset("org/glue/sst2", "train").unwrap();
    let bytes: Vec<_> = paths.iter().map(|p| std::fs::read(p).unwrap()).collect();
    assert_eq!(bytes, [b"one", b"two"]);
    assert!(paths[0].ends_with("sst2/train-00000-of-00002.parquet"));
    let offline = server.offline(cache.path());
    assert_eq!(offline.dataset("org/glue/sst2", "train").unwrap(), paths);
    assert!(offline.dataset("org/glue/sst2", "test").is_err());
    let error = hub.dataset("org/glue", "train").unwrap_err().to_string();
    assert!(error.contains("cola, sst2"), "{error}");
    let error = hub.dataset("org/glue/sst2", "dev").unwrap_err().to_string();
    assert!(error.contains("no file for the split `dev` in sst2/, there are"), "{error}");

    std::fs::remove_file(&paths[1]).unwrap();
    let error = offline.dataset("org/glue/sst2", "train").unwrap_err().to_string();
    assert!(error.contains("of the 2 files"), "{error}");
}

#[test]
fn what_lies_here_is_not_asked_for() {
    let (server, folder) = with_checkpoint();
    let hub = server.hub(folder.path());
    std::fs::write(folder.path().join("train.tsv"), "text\tlabel\n").unwrap();
    let here = folder.path().to_str().unwrap();
    assert_eq!(hub.resolve_checkpoint(here).unwrap(), folder.path());
    let train = folder.path().join("train.tsv");
    assert_eq!(hub.resolve_dataset(here, "train").unwrap(), std::slice::from_ref(&train));
    assert_eq!(hub.resolve_dataset(train.to_str().unwrap(), "dev").unwrap(), [train]);
    assert!(hub.resolve_dataset(here, "dev").is_err());
    assert!(hub.resolve_dataset("data/train.tsv", "train").is_err());
    assert_eq!(server.requests(), []);
}

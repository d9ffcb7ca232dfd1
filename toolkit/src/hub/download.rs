//! Download of a file, complete or not at all.

use super::cache::Repository;
use super::http::{Client, Hash, Listed};
use crate::Error;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::Digest;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use ureq::http::{Response, StatusCode, header};

/// Maximum number of consecutive broken connections without progress.
const ATTEMPTS: usize = 3;

/// Downloads a file into the blobs of its repository, unless it is there.
///
/// The bytes are written to a partial file, which is kept if the connection breaks. The next
/// attempt, or the next run, continues it. A file gets the blob's name only after its hash was
/// checked.
pub(super) fn blob(
    client: &Client,
    repository: &Repository,
    commit: &str,
    file: &Listed,
    progress: bool,
) -> Result<PathBuf, Error> {
    let what = format!("{}, {}", repository.name(), file.name);
    let url = client.address(repository.kind(), repository.name(), commit, &file.name);
    let hash = match &file.hash {
        Some(hash) => hash.clone(),
        None => client.hash(&what, &url)?,
    };
    let blob = repository.blob(hash.hex())?;
    if blob.exists() {
        return Ok(blob);
    }
    let path = blob.with_extension("edge-partial");
    let failed = |e| Error::io(&path, e);
    let mut partial = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    // Another process may be downloading the same file, so this one waits and uses its result.
    partial.lock().map_err(failed)?;
    if blob.exists() {
        return Ok(blob);
    }
    let kept = partial.metadata().map_err(failed)?.len();
    let mut found = digest(&mut partial, &hash).map_err(failed)?;
    if found != hash {
        fetch(client, &what, &url, &mut partial, &path, progress)?;
        found = digest(&mut partial, &hash).map_err(failed)?;
    }
    if found != hash && kept > 0 {
        // The bytes of an earlier run were no beginning of this file.
        partial.set_len(0).map_err(failed)?;
        fetch(client, &what, &url, &mut partial, &path, progress)?;
        found = digest(&mut partial, &hash).map_err(failed)?;
    }
    if found != hash {
        _ = std::fs::remove_file(&path);
        return Err(Error::hub(
            what,
            format!(
                "the download has the hash {}; the hub expects {}. It was damaged or changed on \
                 the way and has been deleted; try again",
                found.hex(),
                hash.hex()
            ),
        ));
    }
    partial.sync_all().and_then(|()| std::fs::rename(&path, &blob)).map_err(failed)?;
    Ok(blob)
}

fn fetch(
    client: &Client,
    what: &str,
    url: &str,
    partial: &mut File,
    path: &Path,
    progress: bool,
) -> Result<(), Error> {
    let bar = if progress { ProgressBar::no_length() } else { ProgressBar::hidden() };
    bar.set_style(
        ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {eta}")
            .expect("a valid template"),
    );
    bar.set_message(what.to_string());
    let mut failures = 0;
    let failed = |e| Error::io(path, e);
    loop {
        let from = partial.seek(SeekFrom::End(0)).map_err(failed)?;
        let response = client.get(what, url, from)?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // The file is shorter than `from`, so the stored bytes belong to another file.
            partial.set_len(0).map_err(failed)?;
            continue;
        }
        let (start, total) = range(&response);
        if start != from {
            // The server sends the whole file.
            partial.set_len(0).map_err(failed)?;
            partial.rewind().map_err(failed)?;
        }
        if let Some(total) = total {
            bar.set_length(total);
        }
        let (end, broken) = copy(response, partial, &bar, start).map_err(failed)?;
        let reason = match (broken, total) {
            (Some(e), _) => e.to_string(),
            (None, Some(total)) if end < total => "the connection was closed".into(),
            (None, _) => break,
        };
        failures = if end > from { 0 } else { failures + 1 };
        if failures == ATTEMPTS {
            return Err(Error::hub(
                what,
                format!(
                    "the download broke off after {end} bytes, several times: {reason}; run \
                     again to continue from there"
                ),
            ));
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// Offset of an answer's body in the file, and the length of the file.
fn range(response: &Response<ureq::Body>) -> (u64, Option<u64>) {
    let head = |name| response.headers().get(name)?.to_str().ok();
    if response.status() == StatusCode::PARTIAL_CONTENT
        && let Some(range) = head(header::CONTENT_RANGE)
        && let Some((range, total)) = range.trim_start_matches("bytes ").split_once('/')
        && let Some(start) = range.split('-').next().and_then(|start| start.parse().ok())
    {
        return (start, total.parse().ok());
    }
    (0, head(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()))
}

/// Appends a body. Returns the new length of the file, and the error that broke the body off, if
/// any. Only errors of the file are returned as errors.
fn copy(
    response: Response<ureq::Body>,
    file: &mut File,
    bar: &ProgressBar,
    start: u64,
) -> std::io::Result<(u64, Option<std::io::Error>)> {
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 18];
    let mut end = start;
    loop {
        bar.set_position(end);
        match body.read(&mut buffer) {
            Ok(0) => return Ok((end, None)),
            Ok(n) => {
                file.write_all(&buffer[..n])?;
                end += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Ok((end, Some(e))),
        }
    }
}

/// Hash of a file, of the same kind as `like`.
fn digest(file: &mut File, like: &Hash) -> std::io::Result<Hash> {
    file.rewind()?;
    match like {
        Hash::Sha256(_) => Ok(Hash::Sha256(hashed(sha2::Sha256::new(), file)?)),
        Hash::Git(_) => {
            let mut hasher = sha1::Sha1::new();
            hasher.update(format!("blob {}\0", file.metadata()?.len()));
            Ok(Hash::Git(hashed(hasher, file)?))
        }
    }
}

fn hashed(mut hasher: impl Digest, file: &mut File) -> std::io::Result<String> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

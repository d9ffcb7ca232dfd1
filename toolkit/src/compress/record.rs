//! Record of trials, one JSON object per line, from which a stopped run continues.

use crate::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// Reads the records; a missing file gives an empty list.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn read<T: DeserializeOwned>(record: &Path) -> Result<Vec<T>, Error> {
    if !record.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(record).map_err(|e| Error::io(record, e))?;
    // Only the last line can be cut off in the middle; it is tried again.
    Ok(text.lines().map_while(|line| serde_json::from_str(line).ok()).collect())
}

/// Writes all records, replacing the file.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn store<T: Serialize>(record: &Path, tried: &[T]) -> Result<(), Error> {
    let lines: Vec<_> =
        tried.iter().map(|t| serde_json::to_string(t).expect("plain JSON") + "\n").collect();
    Ok(crate::files::write(record, lines.concat())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_cut_off_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("tried.jsonl");
        store(&record, &[(1, "one".to_owned()), (2, "two".to_owned())]).unwrap();
        let mut text = std::fs::read_to_string(&record).unwrap();
        text.truncate(text.len() - 5);
        std::fs::write(&record, text).unwrap();
        assert_eq!(read::<(u32, String)>(&record).unwrap(), [(1, "one".into())]);
        assert!(read::<u32>(&folder.path().join("none")).unwrap().is_empty());
    }
}

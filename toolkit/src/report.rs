//! Measuring a classifier, calibrating its exits, and showing both.
//!
//! The way of the data: [`Outcomes`](outcome::Outcomes) (the logits of every exit for every
//! sentence, from one pass at full depth) → [`calibrate`] (choosing the exit policy) →
//! [`evaluation`] (all figures) → [`curve`] and [`table`] (showing them). [`measure`] gets them
//! from a checkpoint or a bundle. Nothing of this runs the
//! network again: what a policy would do follows from the logits.
//!
//! Several models: a [`suite`] of them is measured and timed together, which leaves a
//! [`record`] of each; [`compare`] makes the report of these.

pub mod calibrate;
pub mod compare;
pub mod curve;
pub mod evaluation;
pub mod measure;
pub mod metrics;
pub mod outcome;
pub mod record;
pub mod speed;
pub mod suite;
pub mod table;

use crate::Error;
use std::io::Write;
use std::path::Path;

/// Writes a report beside the target and renames it: a failure leaves an older file as it was.
///
/// # Errors
/// [`Error::Io`] if the target cannot be written.
pub fn write(target: &Path, text: &str) -> Result<(), Error> {
    let io = |e| Error::io(target, e);
    let folder = match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new().prefix(".report-").tempfile_in(folder).map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    // Temporary files are private to their owner, a report is not.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(io)?;
    }
    file.persist(target).map_err(|e| io(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_replaces_the_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("report.csv");
        for text in ["first", "second"] {
            write(&target, text).unwrap();
            assert_eq!(std::fs::read_to_string(&target).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
        let missing = folder.path().join("none").join("report.csv");
        assert!(write(&missing, "").unwrap_err().to_string().contains("report.csv"));
    }
}

//! Measuring a classifier, calibrating its exits, and showing both.
//!
//! The way of the data: [`Outcomes`](outcome::Outcomes) (the logits of every exit for every
//! sentence, from one pass at full depth) → [`calibrate`] (choosing the exit policy) →
//! [`evaluation`] (all figures) → [`curve`] and [`table`] (showing them). Nothing of this runs the
//! network again: what a policy would do follows from the logits.

pub mod calibrate;
pub mod curve;
pub mod evaluation;
pub mod metrics;
pub mod outcome;
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

/// A small deterministic generator (xorshift64*, Vigna 2016): reports must not change from one
/// run to the next.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number below `bound`, which is 1 or more.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((high * bound as u64) >> 32) as usize
    }

    /// The numbers from 0 to `n`, in a random order (Fisher and Yates).
    pub(crate) fn shuffled(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
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

    #[test]
    fn a_shuffle_holds_every_number_once() {
        let order = Random::new(1).shuffled(100);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_ne!(order, sorted);
    }
}

//! Timing of models in turn, so that other load on the machine affects all of them alike.

use super::record::Pace;
use crate::Error;
use edge_runtime::{Classifier, ExitPolicy};
use std::time::{Duration, Instant};

/// A model to be timed, with its exit policy.
pub struct Contestant<'a> {
    /// The model.
    pub classifier: &'a Classifier,
    /// The policy.
    pub policy: ExitPolicy,
}

/// Times every contestant on all texts, one text after the other, tokenizing included. Each round
/// begins with another contestant; a round before them warms up. Returns the medians over the
/// rounds, in the order of the contestants.
///
/// `progress` is called with the number of rounds done and the number of rounds.
///
/// # Errors
/// [`Error::Measure`] if there are no texts or rounds, or if a model fails.
pub fn interleaved(
    contestants: &[Contestant],
    texts: &[String],
    rounds: usize,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Pace>, Error> {
    if texts.is_empty() || rounds == 0 {
        return Err(Error::Measure(format!(
            "{} sentences in {rounds} rounds; expected 1 or more of each",
            texts.len()
        )));
    }
    let mut paces = vec![Vec::new(); contestants.len()];
    for round in 0..=rounds {
        progress(round, rounds + 1);
        for turn in 0..contestants.len() {
            let which = (round + turn) % contestants.len();
            let latencies = latencies(&contestants[which], texts)?;
            if round > 0 {
                paces[which].push(Pace::of(latencies));
            }
        }
    }
    progress(rounds + 1, rounds + 1);
    Ok(paces.iter().map(|rounds| Pace::median(rounds)).collect())
}

fn latencies(contestant: &Contestant, texts: &[String]) -> Result<Vec<Duration>, Error> {
    let Contestant { classifier, policy } = contestant;
    let time = |text: &String| {
        let begun = Instant::now();
        let answer = classifier.classify(&[text.as_str()], policy);
        answer.map_err(|e| Error::Measure(e.to_string()))?;
        Ok(begun.elapsed())
    };
    texts.iter().map(time).collect()
}

impl Pace {
    /// Pace of one or more sentences with these latencies.
    fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let total: Duration = latencies.iter().sum();
        let ms = |percent| percentile(&latencies, percent).as_secs_f64() * 1e3;
        Pace {
            sentences_per_second: latencies.len() as f64 / total.as_secs_f64(),
            p50_ms: ms(50),
            p99_ms: ms(99),
        }
    }

    fn median(rounds: &[Pace]) -> Self {
        let of = |value: fn(&Pace) -> f64| median(rounds.iter().map(value).collect());
        Pace {
            sentences_per_second: of(|p| p.sentences_per_second),
            p50_ms: of(|p| p.p50_ms),
            p99_ms: of(|p| p.p99_ms),
        }
    }
}

/// Percentile of ascending values: the least value that `percent` of them do not exceed (nearest
/// rank).
fn percentile<T: Copy>(ascending: &[T], percent: usize) -> T {
    ascending[(ascending.len() * percent).div_ceil(100).max(1) - 1]
}

/// Median: the middle value, or the mean of the two middle values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// Name of this machine's processor, or its architecture if the system gives no name.
pub fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_string())
    });
    name.unwrap_or_else(|| std::env::consts::ARCH.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand, from the definition of the nearest rank: the ⌈p·n⌉th of n.
    #[test]
    fn percentiles_are_nearest_ranks() {
        let five = [15, 20, 35, 40, 50];
        assert_eq!(
            [1, 30, 40, 50, 99, 100].map(|p| percentile(&five, p)),
            [15, 20, 20, 35, 50, 50]
        );
        let hundred: Vec<u32> = (1..=100).collect();
        assert_eq!([50, 99, 100].map(|p| percentile(&hundred, p)), [50, 99, 100]);
        // 0.99 · 872 = 863.28.
        let dev: Vec<u32> = (1..=872).collect();
        assert_eq!((percentile(&dev, 50), percentile(&dev, 99)), (436, 864));
        assert_eq!(percentile(&[7], 99), 7);
    }

    #[test]
    fn a_pace_is_that_of_the_sentences_and_the_median_of_the_rounds() {
        let ms = |all: &[u64]| Pace::of(all.iter().map(|ms| Duration::from_millis(*ms)).collect());
        let [a, b, c] = [ms(&[4, 1, 2, 3]), ms(&[10, 10]), ms(&[1, 1, 6])];
        assert!((a.sentences_per_second - 400.0).abs() < 1e-9, "4 in 10 ms");
        assert_eq!((a.p50_ms, a.p99_ms), (2.0, 4.0));
        let m = Pace::median(&[a, b, c]);
        // 400, 100 and 375 a second.
        assert!((m.sentences_per_second - 375.0).abs() < 1e-9);
        assert_eq!((m.p50_ms, m.p99_ms), (2.0, 6.0));
        assert_eq!(Pace::median(&[b, a]).p50_ms, 6.0);
    }

    #[test]
    fn nothing_cannot_be_timed() {
        for (texts, rounds) in [(vec![], 3), (vec!["a".to_string()], 0)] {
            let error = interleaved(&[], &texts, rounds, |_, _| {}).unwrap_err().to_string();
            assert!(error.contains("1 or more"), "{error}");
        }
    }
}

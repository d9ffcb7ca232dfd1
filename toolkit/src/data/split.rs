//! The hold-out split.

use crate::Error;
use edge_export::data::words;
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::HashMap;

/// Rows to train on and rows to calibrate on, each ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The rows to train on.
    pub train: Vec<usize>,
    /// The rows that were held out.
    pub held_out: Vec<usize>,
}

/// Holds out `n` rows for calibration.
///
/// Most training rows of SST-2 are phrases of its sentences. If phrases were held out, calibration
/// would see other texts than a user sends; if phrases of a held-out sentence were trained on, the
/// model would be surer of that sentence than of a new one, and the thresholds too hopeful. So:
///
/// * A row is *whole* if it has `min_words` words or more, and neither lies within another row, word
///   by word, nor repeats an earlier one. Words are what is between white space; in scripts without
///   spaces (Chinese, Japanese, Thai) every character is a word.
/// * Held out are the `n` whole rows whose SHA-256 of `"{seed}\t{text}"`, the text trimmed, comes
///   first.
/// * Left out of training are the rows that make up half of a held-out row's words or more, in one
///   piece. The held-out rows and their repetitions are among them. Shorter phrases stay: they are
///   most of the data, and common to many sentences.
///
/// The split depends on the texts and the seed only: not on the order of the rows, except which of
/// two equal rows is the held-out one, and not on a random generator, so that a teacher trained
/// elsewhere can keep the same rows out.
///
/// # Errors
/// [`Error::HoldOut`] if fewer than `n` rows are whole.
pub fn hold_out(texts: &[&str], n: usize, seed: u64, min_words: usize) -> Result<Split, Error> {
    let rows = Rows::new(texts);
    let mut whole = rows.whole(min_words);
    if whole.len() < n {
        return Err(Error::HoldOut { wanted: n, whole: whole.len(), rows: texts.len(), min_words });
    }
    whole.sort_by_cached_key(|&row| {
        <[u8; 32]>::from(Sha256::digest(format!("{seed}\t{}", texts[row].trim())))
    });
    whole.truncate(n);
    whole.sort_unstable();
    let near = rows.near(&whole);
    let train = (0..texts.len()).filter(|&row| !near[rows.first[row]]).collect();
    Ok(Split { train, held_out: whole })
}

/// The texts as sequences of word numbers. Comparing those is exact, and needs no memory for
/// spans, of which a text has as many as the square of its words.
struct Rows {
    words: Vec<Vec<u32>>,
    /// For each row the first one with the same words.
    first: Vec<usize>,
}

impl Rows {
    fn new(texts: &[&str]) -> Self {
        let mut numbers = HashMap::new();
        let words: Vec<Vec<u32>> = texts
            .iter()
            .map(|text| {
                words(text)
                    .map(|word| {
                        let next = numbers.len() as u32;
                        *numbers.entry(word).or_insert(next)
                    })
                    .collect()
            })
            .collect();
        let mut firsts: HashMap<&[u32], usize> = HashMap::new();
        let first = words.iter().enumerate().map(|(i, w)| *firsts.entry(w).or_insert(i)).collect();
        Rows { words, first }
    }

    fn whole(&self, min_words: usize) -> Vec<usize> {
        let index = Index::new(self);
        let mut within = vec![false; self.words.len()];
        for (row, words) in self.words.iter().enumerate() {
            if self.first[row] == row {
                index.rows_within(words, |other| within[other] |= other != row);
            }
        }
        // A row without words would be no text.
        let min_words = min_words.max(1);
        (0..self.words.len())
            .filter(|&i| self.first[i] == i && !within[i] && self.words[i].len() >= min_words)
            .collect()
    }

    /// For each first row whether it is half of a held-out one or more.
    fn near(&self, held_out: &[usize]) -> Vec<bool> {
        let index = Index::new(self);
        let mut near = vec![false; self.words.len()];
        for &row in held_out {
            let words = &self.words[row];
            index.rows_within(words, |other| {
                near[other] |= 2 * self.words[other].len() >= words.len();
            });
        }
        near
    }
}

/// Finds rows by how they begin.
struct Index<'a> {
    rows: &'a Rows,
    /// The first rows by their first `PREFIX` words, or all words of shorter ones.
    by_prefix: HashMap<&'a [u32], Vec<usize>>,
}

/// So many words, and few rows begin alike.
const PREFIX: usize = 6;

impl<'a> Index<'a> {
    fn new(rows: &'a Rows) -> Self {
        let mut by_prefix: HashMap<&[u32], Vec<usize>> = HashMap::new();
        for (row, words) in rows.words.iter().enumerate() {
            if rows.first[row] == row && !words.is_empty() {
                by_prefix.entry(&words[..words.len().min(PREFIX)]).or_default().push(row);
            }
        }
        for rows_alike in by_prefix.values_mut() {
            rows_alike.sort_by_key(|&row| Reverse(rows.words[row].len()));
        }
        Index { rows, by_prefix }
    }

    /// Calls `found` with each first row that is a contiguous piece of `words`, `words` itself
    /// among them.
    fn rows_within(&self, words: &[u32], mut found: impl FnMut(usize)) {
        for start in 0..words.len() {
            let rest = &words[start..];
            for length in 1..=rest.len().min(PREFIX) {
                for &row in self.by_prefix.get(&rest[..length]).into_iter().flatten() {
                    if rest.starts_with(&self.rows.words[row]) {
                        found(row);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 9] = [
        "a film of quiet and lasting beauty",
        "quiet and lasting beauty",
        "lasting beauty",
        " a film  of quiet and lasting beauty ",
        "it never finds its feet after an hour",
        "too short to be whole",
        "never finds its feet after an hour",
        "the best thing about it is the end",
        "beauty",
    ];

    /// The rule as it is told: every span of every row, longest row first.
    fn slowly(texts: &[&str], n: usize, seed: u64, min_words: usize) -> Split {
        use std::collections::HashSet;
        fn spans<'a>(words: &[&'a str]) -> Vec<Vec<&'a str>> {
            let ends = |a: usize| (a + 1..=words.len()).map(move |b| words[a..b].to_vec());
            (0..words.len()).flat_map(ends).collect()
        }
        let words: Vec<Vec<&str>> = texts.iter().map(|t| t.split_whitespace().collect()).collect();
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| (Reverse(words[i].len()), i));
        let (mut seen, mut whole) = (HashSet::new(), Vec::new());
        for i in order {
            if seen.contains(&words[i]) {
                continue;
            }
            if words[i].len() >= min_words {
                whole.push(i);
            }
            seen.extend(spans(&words[i]));
        }
        whole.sort_by_key(|&i| Sha256::digest(format!("{seed}\t{}", texts[i].trim())).to_vec());
        whole.truncate(n);
        whole.sort_unstable();
        let near: HashSet<Vec<&str>> = whole
            .iter()
            .flat_map(|&i| {
                let all = words[i].len();
                spans(&words[i]).into_iter().filter(move |s| 2 * s.len() >= all)
            })
            .collect();
        let train = (0..texts.len()).filter(|&i| !near.contains(&words[i])).collect();
        Split { train, held_out: whole }
    }

    #[test]
    fn whole_sentences_are_held_out_with_their_large_phrases() {
        let split = hold_out(&TEXTS, 3, 1, 6).unwrap();
        assert_eq!(split.held_out, [0, 4, 7]);
        assert_eq!(split.train, [2, 5, 8]);
    }

    #[test]
    fn texts_without_spaces_are_held_out() {
        let texts = [
            "早餐很丰富，服务也热情",
            "服务也热情",
            "很快",
            "这本书的结构颇有特点",
            "とても面白い映画でした",
        ];
        let split = hold_out(&texts, 3, 1, 6).unwrap();
        assert_eq!(split.held_out, [0, 3, 4]);
        // Five of eleven characters are less than half, six are more.
        assert_eq!(split.train, [1, 2]);
        assert_eq!(hold_out(&[&texts[..], &["，服务也热情"]].concat(), 3, 1, 6).unwrap(), split);
        let error = hold_out(&texts, 4, 1, 6).unwrap_err().to_string();
        assert!(
            error.contains("3 of the 5 rows") && error.contains("it is a character"),
            "{error}"
        );
    }

    #[test]
    fn the_seed_chooses() {
        let chosen: std::collections::HashSet<Vec<usize>> =
            (0..20).map(|seed| hold_out(&TEXTS, 1, seed, 6).unwrap().held_out).collect();
        assert_eq!(chosen.len(), 3);
    }

    #[test]
    fn it_is_the_rule() {
        // Few words, so that rows lie within each other in every way.
        let mut rng = crate::rng::Rng::new(&[3]);
        let texts: Vec<String> = (0..300)
            .map(|_| {
                let length = 1 + rng.below(12);
                let words: Vec<_> = (0..length).map(|_| ["a", "b"][rng.below(2)]).collect();
                words.join(" ")
            })
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for (n, seed, min_words) in [(0, 1, 6), (5, 1, 6), (20, 2, 8), (10, 3, 1)] {
            let fast = hold_out(&texts, n, seed, min_words).unwrap();
            assert_eq!(fast, slowly(&texts, n, seed, min_words));
        }
    }

    #[test]
    fn too_few_whole_rows_are_an_error_with_the_number() {
        let error = hold_out(&TEXTS, 4, 1, 6).unwrap_err().to_string();
        assert!(error.contains("hold out 4") && error.contains("only 3 of the 9"), "{error}");
        assert!(hold_out(&[], 1, 1, 6).is_err());
        assert!(hold_out(&["", " "], 0, 1, 0).unwrap().held_out.is_empty());
    }
}

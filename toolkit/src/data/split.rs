//! Split into training rows and held-out rows.

use crate::Error;
use edge_export::data::words;
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::HashMap;

/// Rows for training and rows for calibration, each ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Rows for training.
    pub train: Vec<usize>,
    /// Held-out rows.
    pub held_out: Vec<usize>,
}

/// Holds out `n` rows for calibration.
///
/// Most training rows of SST-2 are phrases of its sentences. With phrases held out, calibration
/// would see other texts than those of users. With phrases of a held-out sentence in training, the
/// model would be surer of that sentence than of a new one. Thresholds would be too optimistic.
/// The rules are therefore:
///
/// * A row is *whole* if it has `min_words` words or more. Pieces of other rows, word by word, and
///   repetitions of earlier rows are excluded. White space separates words; in scripts without
///   spaces (Chinese, Japanese, Thai) every character is a word.
/// * The held-out rows are the first `n` whole rows in the order of the SHA-256 of
///   `"{seed}\t{text}"`, with the text trimmed.
/// * Excluded from training are rows that are a contiguous piece of at least half of a held-out
///   row's words. They include the held-out rows and their repetitions. Shorter phrases stay: they
///   are most of the data, and common to many sentences.
///
/// The split depends only on the texts and the seed, without a random generator. A teacher that was
/// trained elsewhere can therefore hold out the same rows. The order of the rows only decides which
/// of two equal rows is held out.
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

/// Texts as sequences of word numbers. Their comparison is exact, and needs no memory for spans,
/// whose number is quadratic in the number of words.
struct Rows {
    words: Vec<Vec<u32>>,
    /// First row with the same words, for each row.
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
        // A row without words would be an empty text.
        let min_words = min_words.max(1);
        (0..self.words.len())
            .filter(|&i| self.first[i] == i && !within[i] && self.words[i].len() >= min_words)
            .collect()
    }

    /// Flags of the first rows that are at least half of a held-out row.
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

/// Index of rows by their first words.
struct Index<'a> {
    rows: &'a Rows,
    /// First rows, by their first `PREFIX` words, or all words of shorter rows.
    by_prefix: HashMap<&'a [u32], Vec<usize>>,
}

/// Number of words in a prefix; few rows share a prefix of this length.
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

    /// Calls `found` with each first row that is a contiguous piece of `words`, including `words`
    /// itself.
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

    /// Reference form of the rule: every span of every row, longest row first.
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
            error.contains("3 of the 5 rows") && error.contains("every character is a word"),
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
        // Few different words, so that rows contain each other in many ways.
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

//! WordPiece with a small vocabulary that loads quickly.
//!
//! The [`WordPiece`](tokenizers::models::wordpiece::WordPiece) of `tokenizers` has two maps, each
//! with a string for every piece. Loading them took a tenth of the time to the first answer in a
//! browser.

use hashbrown::HashTable;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::path::{Path, PathBuf};
use tokenizers::models::wordpiece::{self, WordPieceTrainer};
use tokenizers::{Model, Token};

/// WordPiece model: splits a word into the longest pieces, from its start (Wu et al. 2016, as in
/// BERT).
#[derive(Debug, Deserialize)]
pub(super) struct WordPiece {
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
    vocab: Vocabulary,
}

impl WordPiece {
    /// Finds the longest piece at the start of a text that is longer than `least` bytes.
    fn longest<'a>(&self, text: &'a str, least: usize) -> Option<(u32, &'a str)> {
        let mut rest = text;
        while rest.len() > least {
            if let Some(id) = self.vocab.id(rest) {
                return Some((id, rest));
            }
            let last = rest.chars().next_back().map_or(1, char::len_utf8);
            rest = &rest[..rest.len() - last];
        }
        None
    }

    /// Pieces of a word; `None` if a part of the word matches no piece.
    fn pieces(&self, word: &str) -> Option<Vec<Token>> {
        let mut tokens = Vec::new();
        let mut start = 0;
        while start < word.len() {
            let prefix = if start > 0 { self.continuing_subword_prefix.as_str() } else { "" };
            let text = [prefix, &word[start..]].concat();
            let (id, piece) = self.longest(&text, prefix.len())?;
            let end = start + piece.len() - prefix.len();
            tokens.push(Token::new(id, piece.into(), (start, end)));
            start = end;
        }
        Some(tokens)
    }
}

impl Model for WordPiece {
    type Trainer = WordPieceTrainer;

    fn tokenize(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        let fits = word.chars().count() <= self.max_input_chars_per_word;
        if let Some(pieces) = fits.then(|| self.pieces(word)).flatten() {
            return Ok(pieces);
        }
        let unknown = self.vocab.id(&self.unk_token);
        let id = unknown.ok_or(wordpiece::Error::MissingUnkToken)?;
        Ok(vec![Token::new(id, self.unk_token.clone(), (0, word.len()))])
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.vocab.id(token)
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        let (piece, _) = self.vocab.iter().find(|(_, i)| *i == id)?;
        Some(piece.into())
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        self.vocab.iter().map(|(piece, id)| (piece.into(), id)).collect()
    }

    fn get_vocab_size(&self) -> usize {
        self.vocab.pieces.len()
    }

    fn save(&self, _: &Path, _: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        Err("a bundle's tokenizer is not saved".into())
    }

    fn get_trainer(&self) -> WordPieceTrainer {
        WordPieceTrainer::default()
    }
}

/// Pieces and their ids.
#[derive(Default)]
struct Vocabulary {
    /// All pieces, joined.
    text: String,
    /// Range of each piece in the text, with its id.
    pieces: HashTable<(Range<usize>, u32)>,
    hasher: RandomState,
}

impl Vocabulary {
    fn id(&self, piece: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(piece);
        let found = self.pieces.find(hash, |(at, _)| &self.text[at.clone()] == piece);
        found.map(|(_, id)| *id)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.pieces.iter().map(|(at, id)| (&self.text[at.clone()], *id))
    }

    /// Adds the piece at the end of the text. If two pieces are equal, the last one is used.
    fn insert(&mut self, at: Range<usize>, id: u32) {
        let Vocabulary { text, pieces, hasher } = self;
        let hash = |at: &Range<usize>| hasher.hash_one(&text[at.clone()]);
        let equal = |(other, _): &(Range<usize>, u32)| text[other.clone()] == text[at.clone()];
        pieces
            .entry(hash(&at), equal, |(at, _)| hash(at))
            .and_modify(|(_, old)| *old = id)
            .or_insert((at.clone(), id));
    }
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pieces", self.pieces.len())
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(Pieces)
    }
}

/// Reads a map from pieces to ids.
struct Pieces;

impl<'de> Visitor<'de> for Pieces {
    type Value = Vocabulary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from pieces to ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
        let mut vocabulary = Vocabulary::default();
        while let Some(at) = map.next_key_seed(Append(&mut vocabulary.text))? {
            let id = map.next_value()?;
            vocabulary.insert(at, id);
        }
        Ok(vocabulary)
    }
}

/// Reads a string and appends it to another string.
struct Append<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = Range<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Range<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Append<'_> {
    type Value = Range<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a piece")
    }

    fn visit_str<E: Error>(self, piece: &str) -> Result<Range<usize>, E> {
        let start = self.0.len();
        self.0.push_str(piece);
        Ok(start..self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::models::wordpiece::WordPiece as Theirs;

    const JSON: &str = r###"{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 9, "vocab": {"[UNK]": 0, "a": 1, "ab": 2, "##a": 3, "##b": 4,
        "é": 5, "##é中": 6, "": 7, "##": 8, "a": 9, "\"": 10, "##c": 4}}"###;

    fn both(json: &str) -> (WordPiece, Theirs) {
        (serde_json::from_str(json).unwrap(), serde_json::from_str(json).unwrap())
    }

    #[test]
    fn pieces_are_those_of_the_library() {
        let (ours, theirs) = both(JSON);
        let letters = ['a', 'b', 'c', 'é', '中', '"', '#'];
        let mut words = vec![String::new()];
        for at in 0.. {
            if words[at].chars().count() == 5 {
                break;
            }
            words.extend(letters.map(|letter| format!("{}{letter}", words[at])));
        }
        words.extend(["ababababa".into(), "ababababab".into(), "é中é中é中é中".into()]);
        let mut known = 0;
        for word in words {
            let pieces = ours.tokenize(&word).unwrap();
            assert_eq!(pieces, theirs.tokenize(&word).unwrap(), "{word}");
            known += usize::from(pieces.iter().any(|p| p.id != 0));
        }
        assert!(known > 100, "{known}");
    }

    #[test]
    fn the_vocabulary_is_that_of_the_library() {
        let (ours, theirs) = both(JSON);
        assert_eq!(ours.get_vocab(), theirs.get_vocab());
        assert_eq!(ours.get_vocab_size(), theirs.get_vocab_size());
        for (piece, id) in theirs.get_vocab() {
            assert_eq!(ours.token_to_id(&piece), Some(id));
        }
        assert_eq!(ours.id_to_token(9), Some("a".into()));
        assert_eq!((ours.token_to_id("x"), ours.id_to_token(11)), (None, None));
    }

    #[test]
    fn an_unknown_word_without_a_piece_for_it_is_an_error() {
        let (ours, theirs) = both(&JSON.replace(r#""[UNK]": 0, "#, ""));
        let [ours, theirs] = [ours.tokenize("x"), theirs.tokenize("x")].map(|r| r.unwrap_err());
        assert_eq!(ours.to_string(), theirs.to_string());
    }
}

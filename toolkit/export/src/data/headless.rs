//! Files without a header: detection of a first row, and the roles of the columns.

use super::words::words;
use csv::StringRecord;
use std::collections::HashSet;

/// Indices of the columns in a file whose first line looks like a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub text: usize,
    pub label: Option<usize>,
    /// Another column that contains texts.
    pub second: Option<usize>,
    /// True if the first line is certainly a row: its label occurs in later rows.
    pub is_certain: bool,
}

/// Guesses the columns; `None` if the first line may be a header.
///
/// The text is the longest column. The label is the other column with the fewest values.
pub(super) fn places(records: &[&StringRecord]) -> Option<Places> {
    let first = records[0];
    let rows: Vec<&StringRecord> =
        records.iter().copied().filter(|record| record.len() == first.len()).collect();
    let length = |column: usize| rows.iter().map(|row| row[column].chars().count()).sum::<usize>();
    let values = |column: usize| rows.iter().map(|row| row[column].trim()).collect::<HashSet<_>>();
    let again =
        |column: usize| rows[1..].iter().any(|row| row[column].trim() == first[column].trim());

    let text = (0..first.len()).rev().max_by_key(|&column| length(column))?;
    let others = (0..first.len()).filter(|&column| column != text);
    let label = others.clone().min_by_key(|&column| (values(column).len(), length(column)));
    let second = others.clone().filter(|&column| Some(column) != label).find(|&column| {
        first[column].trim().contains(char::is_whitespace) && 2 * length(column) >= length(text)
    });

    let of_later_rows = label.is_some_and(again) && is_sentence(&first[text]) && !again(text);
    let last = first[first.len() - 1].trim();
    let looks_like_row = match label {
        None => last.parse::<i64>().is_ok() || words(last).count() >= SENTENCE,
        Some(_) => {
            let sentence = first.iter().any(|field| field.trim().contains(char::is_whitespace));
            last.parse::<i64>().is_ok() || (sentence && !last.contains(char::is_whitespace))
        }
    };
    let is_certain = of_later_rows
        && first.len() == 2
        && label.is_some_and(|label| 2 * values(label).len() <= rows.len());
    (of_later_rows || looks_like_row).then_some(Places { text, label, second, is_certain })
}

/// Number of words from which a text is a sentence instead of a name.
const SENTENCE: usize = 6;

fn is_sentence(text: &str) -> bool {
    text.trim().contains(char::is_whitespace) || words(text).count() >= SENTENCE
}

/// Text, shortened for a message.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    if text.chars().count() <= MOST {
        return text.into();
    }
    text.chars().take(MOST).chain("…".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[&str]) -> Option<(usize, Option<usize>, bool)> {
        let records: Vec<StringRecord> =
            lines.iter().map(|line| line.split('|').collect::<Vec<_>>().into()).collect();
        places(&records.iter().collect::<Vec<_>>()).map(|p| (p.text, p.label, p.is_certain))
    }

    #[test]
    fn label_of_later_rows_makes_the_first_line_a_row() {
        let rows = ["ham|see you at home", "spam|win a prize", "ham|thank you", "spam|free entry"];
        assert_eq!(found(&rows), Some((1, Some(0), true)));
        let header = ["klasse|der text der mail", "spam|win a prize", "ham|thank you"];
        assert_eq!(found(&header), None);
        let chinese = ["好|早餐很丰富，服务也热情", "差|太慢了", "好|很快", "差|不好吃"];
        assert_eq!(found(&chinese), Some((1, Some(0), true)));
    }

    #[test]
    fn label_is_the_column_with_the_fewest_values() {
        let rows = ["a good day|27|id0", "so bad|3|id1", "what a day|27|id2"];
        assert_eq!(found(&rows), Some((0, Some(1), false)));
    }

    #[test]
    fn second_column_of_texts_is_found() {
        let rows = ["3.5|a cat on a tree|a white cat", "1.0|two trains|trains of green", "3.5|a|b"];
        let records: Vec<StringRecord> =
            rows.iter().map(|line| line.split('|').collect::<Vec<_>>().into()).collect();
        let found = places(&records.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!((found.label, found.text.max(found.second.unwrap())), (Some(0), 2));
    }

    #[test]
    fn column_of_sentences_has_no_header() {
        let rows = ["this is not the name of a column", "nor is this"];
        assert_eq!(found(&rows), Some((0, None, false)));
        assert_eq!(found(&["customer comment", "this is a text of many words"]), None);
    }
}

//! Words of a text in any script.

/// Words of a text: runs between white space, and each character of a script that is written
/// without spaces. A single such character within a run, as in an emoticon, is part of the run.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().flat_map(|run| {
        let mut rest = run;
        let is_one = run.chars().filter(|c| is_word(*c)).nth(1).is_none();
        std::iter::from_fn(move || {
            let first = rest.chars().next()?;
            let end = match is_word(first) {
                _ if is_one => rest.len(),
                true => first.len_utf8(),
                false => rest.find(is_word).unwrap_or(rest.len()),
            };
            let (word, more) = rest.split_at(end);
            rest = more;
            Some(word)
        })
    })
}

/// Returns true if a character is a word by itself: the ideographs that BERT's tokenizer separates,
/// kana, Thai, Lao, Tibetan, Burmese and Khmer. `recipes/sst2-minilm/rows.py` has the same ranges.
fn is_word(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0fff}' // Thai, Lao, Tibetan
        | '\u{1000}'..='\u{109f}' // Burmese
        | '\u{1780}'..='\u{17ff}' // Khmer
        | '\u{3040}'..='\u{30ff}' // hiragana, katakana
        | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' // ideographs
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9f}' // katakana of half the width
        | '\u{20000}'..='\u{2a6df}'
        | '\u{2a700}'..='\u{2ceaf}'
        | '\u{2f800}'..='\u{2fa1f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_make_words_where_a_script_has_them() {
        let all = |text| words(text).collect::<Vec<_>>();
        assert_eq!(all(" a  film, of quiet\tbeauty "), ["a", "film,", "of", "quiet", "beauty"]);
        assert_eq!(all("정말 좋은 영화"), ["정말", "좋은", "영화"]);
        assert_eq!(all("oh ¯_(ツ)_/¯ well"), ["oh", "¯_(ツ)_/¯", "well"]);
        assert_eq!(all(""), [""; 0]);
    }

    #[test]
    fn characters_are_words_where_a_script_has_no_spaces() {
        let all = |text| words(text).collect::<Vec<_>>();
        assert_eq!(all("很快，好吃"), ["很", "快", "，", "好", "吃"]);
        assert_eq!(all("iPhone很好 用OK"), ["iPhone", "很", "好", "用OK"]);
        assert_eq!(all("すごいネコ"), ["す", "ご", "い", "ネ", "コ"]);
        assert_eq!(all("ดีมาก").len(), 5);
        assert_eq!(all("𠀀𠀀a"), ["𠀀", "𠀀", "a"]);
    }
}
